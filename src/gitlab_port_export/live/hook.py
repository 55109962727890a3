"""Hooks as values, wanted and found, and the steps that make one the other; pure."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gitlab_port_export.base.jsontext import canonical
from gitlab_port_export.model import Row

Level = Literal["group", "project", "system"]
Action = Literal["create", "update", "wake", "delete", "unchanged"]
# Every flag is sent, as GitLab sets push_events by itself.
SYSTEM_FLAGS = ("push_events", "tag_push_events", "merge_requests_events", "repository_update_events")
PROJECT_FLAGS = (
    "push_events", "tag_push_events", "issues_events", "confidential_issues_events", "merge_requests_events",
    "note_events", "confidential_note_events", "job_events", "pipeline_events", "wiki_page_events",
    "deployment_events", "releases_events", "milestone_events", "emoji_events", "feature_flag_events",
)  # fmt: skip
GROUP_FLAGS = (*PROJECT_FLAGS, "subgroup_events", "member_events", "project_events")
FLAGS: Mapping[Level, tuple[str, ...]] = {"system": SYSTEM_FLAGS, "project": PROJECT_FLAGS, "group": GROUP_FLAGS}


@dataclass(frozen=True)
class Place:
    """Where a hook can be: a group, a project or the whole instance, and the token that manages it there."""

    level: Level
    id: int
    path: str
    token: str

    @property
    def route(self) -> str:
        """The path of its hooks below /api/v4."""
        return "/hooks" if self.level == "system" else f"/{self.level}s/{self.id}/hooks"

    @property
    def shown(self) -> str:
        """The name in messages."""
        return "the instance" if self.level == "system" else f"{self.level} {self.path}"


@dataclass(frozen=True)
class Wanted:
    """A hook as it shall be at a place; `secret` parts are sent with each write and never come back."""

    place: Place
    url: str
    name: str
    flags: frozenset[str]
    token: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    template: str = ""

    @property
    def seal(self) -> str:
        """A digest of the values that GitLab does not show, so that a change of them is noticed; it reveals nothing."""
        secrets = [self.token, dict(self.headers), dict(self.variables)]
        return hmac.new(self.token.encode(), canonical(secrets), hashlib.sha256).hexdigest()[:16]

    def body(self) -> Row:
        """Return what GitLab is sent. All of it each time: it forgets the secrets when the address changes.

        https://docs.gitlab.com/api/project_webhooks/#edit-a-project-webhook
        """
        found: Row = {
            "url": self.url,
            "name": self.name,
            "description": f"made by gitlab-port-export; seal {self.seal}",
            "token": self.token,
            "enable_ssl_verification": True,
            "url_variables": [{"key": key, "value": value} for key, value in self.variables.items()],
            **{flag: flag in self.flags for flag in FLAGS[self.place.level]},
        }
        if self.place.level != "system":
            found["custom_headers"] = [{"key": key, "value": value} for key, value in self.headers.items()]
            found["custom_webhook_template"] = self.template
        return found


@dataclass(frozen=True)
class Found:
    """A hook that GitLab has, as it shows it."""

    id: int
    row: Mapping[str, Any]

    @property
    def url(self) -> str:
        """The address, with `{name}` where a URL variable stands."""
        return str(self.row.get("url") or "")

    @property
    def name(self) -> str:
        """The name, which hooks have since GitLab 17.1."""
        return str(self.row.get("name") or "")

    @property
    def status(self) -> str:
        """Whether GitLab still uses the hook: executable, temporarily_disabled or disabled."""
        return str(self.row.get("alert_status") or "executable")


@dataclass(frozen=True)
class Step:
    """One thing to do at a place, and why; `hook` is the one it is about where there is one."""

    action: Action
    place: Place
    hook: Found | None = None
    wanted: Wanted | None = None
    why: tuple[str, ...] = ()


def is_ours(hook: Found, name: str, url: str) -> bool:
    """Return whether a hook is the exporter's: its name holds the integration; before GitLab 17.1 the address decides.

    A hook that was renamed is not, whatever its address.
    """
    return hook.name == name if hook.name else bool(url) and hook.url == url


def decide(wanted: Sequence[Wanted], found: Mapping[Place, Sequence[Found]], name: str, url: str) -> tuple[Step, ...]:
    """Return what has to be done so that each place has the one hook that is wanted there, or none of ours.

    What goes away comes last: until there is another one, a hook that is not wanted any more is better than none.
    """
    by_place = {one.place: one for one in wanted}
    steps: list[Step] = []
    for place, hooks in found.items():
        ours = sorted((hook for hook in hooks if is_ours(hook, name, url)), key=lambda hook: hook.id)
        steps += _at(place, by_place.get(place), ours)
    return tuple(sorted(steps, key=lambda step: step.action == "delete"))


def _at(place: Place, wanted: Wanted | None, ours: Sequence[Found]) -> Iterator[Step]:
    if wanted is None:
        yield from (Step("delete", place, hook, why=("is not wanted here",)) for hook in ours)
        return
    if not ours:
        yield Step("create", place, wanted=wanted)
        return
    kept, *others = ours
    why = tuple(differences(wanted, kept))
    action: Action = "update" if why else "wake" if kept.status != "executable" else "unchanged"
    yield Step(action, place, kept, wanted, why or ((kept.status,) if action == "wake" else ()))
    yield from (Step("delete", place, hook, why=("is there twice",)) for hook in others)


def differences(wanted: Wanted, found: Found) -> Iterator[str]:
    """Yield the keys in which a hook is not what is wanted; what GitLab does not show is told by the seal."""
    body = wanted.body()
    for key in ("url", "enable_ssl_verification", "custom_webhook_template"):
        if key in body and (found.row.get(key) or "") != (body[key] or ""):
            yield key
    # An older GitLab has neither names nor descriptions.
    for key in ("name", "description"):
        if key in found.row and found.row[key] != body[key]:
            yield {"description": "secrets"}.get(key, key)
    for key in FLAGS[wanted.place.level]:
        # A flag that this GitLab does not have makes no difference where it is not wanted.
        if bool(found.row.get(key)) != body[key]:
            yield key
    for key in ("custom_headers", "url_variables"):
        shown = found.row.get(key) or []
        names = {str(one.get("key")) for one in shown if isinstance(one, dict)}
        if key in body and names != {one["key"] for one in body[key]}:
            yield key
    if found.row.get("token_present") is False:
        yield "token"
