"""The stand-in GitLab's hooks: their routes for projects, groups and the instance, and what they send when."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal
from urllib.parse import quote, unquote
from uuid import uuid4

import requests

from gitlab_port_export.demo.gitlab_access import MAINTAINER, OWNER, Access, Token
from gitlab_port_export.demo.gitlab_pages import HeaderList, Listing, Params, RefusedError, cut
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_store import World

Level = Literal["project", "group", "system"]
PATH = re.compile(
    r"^(?:/(?P<level>projects|groups)/(?P<place>[^/]+))?/hooks(?:/(?P<hook>\d+))?(?:/(?P<more>events|test/\w+))?$"
)
SYSTEM = ("push_events", "tag_push_events", "merge_requests_events", "repository_update_events")
PROJECT = (
    "push_events", "tag_push_events", "merge_requests_events", "issues_events", "confidential_issues_events",
    "note_events", "confidential_note_events", "job_events", "pipeline_events", "wiki_page_events",
    "deployment_events", "feature_flag_events", "releases_events", "emoji_events", "resource_access_token_events",
)  # fmt: skip
GROUP = (*PROJECT, "subgroup_events", "member_events")
FLAGS: dict[Level, tuple[str, ...]] = {"project": PROJECT, "group": GROUP, "system": SYSTEM}
# Event and the flag that asks for it; system hooks are always told of the others.
FLAG_OF = {
    "merge_request": "merge_requests_events", "pipeline": "pipeline_events", "build": "job_events",
    "push": "push_events", "tag_push": "tag_push_events", "release": "releases_events",
    "deployment": "deployment_events", "note": "note_events", "milestone": "milestone_events",
}  # fmt: skip
HEADERS = {"build": "Job Hook", "tag_push": "Tag Push Hook", "issue": "Issue Hook"}
CUSTOM_SINCE, NAMED_SINCE = (17, 0), (17, 1)
FAILURES_UNTIL_PAUSE, FAILURES_UNTIL_OFF = 4, 40


@dataclass
class Hook:
    """One hook: what was set, what GitLab never shows again, and how its deliveries went."""

    id: int
    level: Level
    place: int
    shown: Row
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    failures: int = 0
    status: Literal["executable", "temporarily_disabled", "disabled"] = "executable"
    events: list[Row] = field(default_factory=list)


@dataclass
class Hooks:
    """All hooks of an instance on `plan`. `version` decides on some keys, `auto_disable` lets failures turn a hook off.

    `ignored` are flags that the API takes and does not keep.
    """

    plan: Literal["free", "premium"] = "premium"
    version: tuple[int, int] = (18, 5)
    auto_disable: bool = True
    ignored: frozenset[str] = frozenset(["project_events"])
    held: dict[int, Hook] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    def at(self, level: Level, place: int = 0) -> list[Hook]:
        """The hooks of a project, a group or the instance, in order of id."""
        return [hook for hook in self.held.values() if (hook.level, hook.place) == (level, place)]


# --- routes


@dataclass(frozen=True)
class Asked:
    """One request about hooks: who sends it, its path, and its parameters and body."""

    hooks: Hooks
    world: World
    token: Token
    access: Access
    method: str
    path: str
    params: Params
    body: Any
    url: str


def answer(asked: Asked) -> tuple[int, Any, HeaderList]:
    """The answer to a request about hooks. Raises RefusedError."""
    found = PATH.match(asked.path)
    if found is None:
        raise RefusedError(404, {"error": "404 Not Found"})
    level: Level = {"projects": "project", "groups": "group"}.get(found["level"] or "", "system")  # type: ignore[assignment]  # one of the three
    place = _allowed(asked, level, unquote(found["place"] or ""))
    if found["hook"] is None:
        return _all(asked, level, place)
    hook = next((one for one in asked.hooks.at(level, place) if one.id == int(found["hook"])), None)
    if hook is None:
        raise RefusedError(404, {"message": "404 Not found"})
    if found["more"] == "events":
        return 200, *cut(Listing(_events(hook, asked.params)), asked.params, asked.url)
    if found["more"] or (level == "system" and asked.method == "POST"):
        return _test(asked, hook)
    return _one(asked, hook)


def _allowed(asked: Asked, level: Level, place: str) -> int:
    """The id of the place; RefusedError for who may not manage its hooks."""
    if asked.method != "GET" and "api" not in asked.token.scopes:
        raise RefusedError(403, {"error": "insufficient_scope", "scope": "api"})
    if level == "system":
        if not asked.access.admin:
            raise RefusedError(403, {"message": "403 Forbidden"})
        return 0
    world = asked.world
    if level == "group":
        try:
            group = world.groups[int(place)] if place.isdigit() else world.group(place)
        except KeyError:
            raise RefusedError(404, {"message": "404 Group Not Found"}) from None
        role, needed, number = asked.access.groups.get(group["id"], 0), OWNER, group["id"]
        if asked.hooks.plan == "free":
            raise RefusedError(404, {"error": "404 Not Found"})
    else:
        number = int(place) if place.isdigit() else world.project_id(place)
        role, needed = asked.access.projects.get(number, 0), MAINTAINER
        if number not in world.projects:
            raise RefusedError(404, {"message": "404 Project Not Found"})
    if role < needed and not asked.access.admin:
        raise RefusedError(403, {"message": "403 Forbidden"})
    return int(number)


def _all(asked: Asked, level: Level, place: int) -> tuple[int, Any, HeaderList]:
    if asked.method == "GET":
        shown = [_shown(asked.hooks, hook) for hook in asked.hooks.at(level, place)]
        return 200, *cut(Listing(shown), asked.params, asked.url)
    if asked.method != "POST":
        raise RefusedError(405, {"error": "405 Not Allowed"})
    if not isinstance(asked.body, dict) or not asked.body.get("url"):
        raise RefusedError(400, {"error": "url is missing"})
    hook = Hook(next(asked.hooks.ids), level, place, {"created_at": stamp(asked.world.now)})
    _set(asked.hooks, hook, {"push_events": True, "enable_ssl_verification": True} | asked.body)
    asked.hooks.held[hook.id] = hook
    return 201, _shown(asked.hooks, hook), []


def _one(asked: Asked, hook: Hook) -> tuple[int, Any, HeaderList]:
    match asked.method:
        case "GET":
            return 200, _shown(asked.hooks, hook), []
        case "PUT" if hook.level == "system" and asked.hooks.version < NAMED_SINCE:
            raise RefusedError(405, {"error": "405 Not Allowed"})
        case "PUT" if isinstance(asked.body, dict):
            if asked.body.get("url", hook.shown["url"]) != hook.shown["url"]:
                # Whoever changes the address shall not be told the old one's secrets.
                hook.token, hook.headers, hook.variables = "", {}, {}
            _set(asked.hooks, hook, asked.body)
            return 200, _shown(asked.hooks, hook), []
        case "DELETE":
            del asked.hooks.held[hook.id]
            return 204, None, []
    raise RefusedError(405, {"error": "405 Not Allowed"})


def _set(hooks: Hooks, hook: Hook, body: Row) -> None:
    url = str(body.get("url", hook.shown.get("url")))
    variables = body.get("url_variables")
    known = {one["key"]: one["value"] for one in variables} if isinstance(variables, list) else hook.variables
    if not re.match(r"https?://", url) or set(re.findall(r"{(\w+)}", url)) - known.keys():
        raise RefusedError(422, {"error": "Invalid url given"})
    hook.variables, hook.token = known, body.get("token", hook.token)
    if hooks.version >= CUSTOM_SINCE and isinstance(body.get("custom_headers"), list):
        hook.headers = {one["key"]: one["value"] for one in body["custom_headers"]}
    texts = ["url", "enable_ssl_verification", "push_events_branch_filter", "branch_filter_strategy"]
    texts += ["custom_webhook_template"] if hook.level != "system" and hooks.version >= CUSTOM_SINCE else []
    texts += ["name", "description"] if hooks.version >= NAMED_SINCE else []
    flags = [flag for flag in _flags(hooks, hook.level) if flag not in hooks.ignored]
    hook.shown |= {name: body[name] for name in (*texts, *flags) if name in body}


def _flags(hooks: Hooks, level: Level) -> tuple[str, ...]:
    flags = FLAGS[level]
    if level != "system" and hooks.version >= (18, 2):
        flags = (*flags, "milestone_events")
    return (*flags, "project_events") if level == "group" and "project_events" not in hooks.ignored else flags


def _shown(hooks: Hooks, hook: Hook) -> Row:
    texts = {"name": None, "description": None} if hooks.version >= NAMED_SINCE else {}
    row: Row = {"id": hook.id, **texts, **dict.fromkeys(_flags(hooks, hook.level), False), **hook.shown}
    row |= {"alert_status": hook.status, "disabled_until": None, "url_variables": [{"key": k} for k in hook.variables]}
    if hook.level != "system":
        row |= {f"{hook.level}_id": hook.place, "custom_headers": [{"key": key} for key in hook.headers]}
    return row | ({"token_present": bool(hook.token)} if hooks.version >= (19, 0) else {})


def _events(hook: Hook, params: Params) -> list[Row]:
    ranges = {"successful": range(200, 400), "client_failure": range(400, 500), "server_failure": range(500, 600)}
    wanted = ranges.get(str(params.get("status")), range(600))
    # No answer at all counts as the server's failure.
    return [event for event in reversed(hook.events) if _status(event) in wanted]


def _status(event: Row) -> int:
    status = str(event["response_status"])
    return int(status) if status.isdecimal() else 500


def _test(asked: Asked, hook: Hook) -> tuple[int, Any, HeaderList]:
    """Send a delivery to test the hook; success turns a disabled hook on again."""
    shapes = Shapes(asked.world, asked.hooks.version[0])
    project = next(iter(asked.world.projects.values()), None)
    if project is None:
        raise RefusedError(422, {"message": "Ensure the project has at least one commit."})
    status = send(asked.hooks, hook, shapes.push(project, asked.token.user))
    if not 200 <= status < 400:
        raise RefusedError(422, {"message": f"Hook executed successfully but returned HTTP {status}"})
    hook.failures, hook.status = 0, "executable"
    return 201, {"message": "201 Created"}, []


# --- deliveries


def fire(hooks: Hooks, world: World, payload: Row) -> int:
    """Send a payload to every hook that asks for it: the project's, its groups' up to the top, the instance's.

    Returns how many deliveries were tried. None is repeated: GitLab sends each once.
    """
    tried = 0
    for hook in list(hooks.held.values()):
        if hook.status == "executable" and _is_meant(hooks, hook, world, payload):
            send(hooks, hook, payload)
            tried += 1
    return tried


def _is_meant(hooks: Hooks, hook: Hook, world: World, payload: Row) -> bool:
    event = payload.get("object_kind") or payload.get("event_name") or ""
    if not _asks(hook, event, payload):
        return False
    number = (payload.get("project") or {}).get("id") or payload.get("project_id")
    if hook.level == "system":
        return event in ("push", "tag_push", "merge_request") or "object_kind" not in payload
    if hook.level == "project":
        return number == hook.place
    project = world.projects.get(number or 0)
    start = project["namespace"]["id"] if project else payload.get("group_id")
    return hooks.plan == "premium" and any(group["id"] == hook.place for group in world.ancestors(start))


def _asks(hook: Hook, event: str, payload: Row) -> bool:
    if event in ("issue", "work_item"):
        is_secret = payload["object_attributes"]["confidential"]
        return bool(hook.shown.get("confidential_issues_events" if is_secret else "issues_events"))
    if event in FLAG_OF:
        return bool(hook.shown.get(FLAG_OF[event]))
    if hook.level == "system":
        return True
    name = "member_events" if event.startswith("user_") else f"{event.partition('_')[0]}_events"
    return bool(hook.shown.get(name))


def send(hooks: Hooks, hook: Hook, payload: Row) -> int:
    """Deliver once and record the result; returns the status, 0 where there was no answer."""
    event = payload.get("object_kind") or payload.get("event_name") or ""
    url = hook.shown["url"]
    for name, value in hook.variables.items():
        url = url.replace(f"{{{name}}}", quote(value, safe=""))
    headers = {
        "Content-Type": "application/json",
        "X-Gitlab-Event": "System Hook" if hook.level == "system" else HEADERS.get(event, f"{event.title()} Hook"),
        "X-Gitlab-Webhook-UUID": str(uuid4()),
        "X-Gitlab-Event-UUID": str(uuid4()),
        **({"Idempotency-Key": str(uuid4())} if hooks.version >= (17, 4) else {}),
        **({"X-Gitlab-Token": hook.token} if hook.token else {}),
        **hook.headers,
    }
    template = hook.shown.get("custom_webhook_template")
    body = filled(template, payload) if template else json.dumps(payload)
    try:
        # GitLab sends the result of a template only if it is JSON.
        json.loads(body)
        answered = requests.post(url, body.encode(), headers=headers, timeout=10, allow_redirects=False)
        status = answered.status_code
    except (ValueError, requests.RequestException):
        status = 0
    hook.events.append({"id": len(hook.events) + 1, "url": hook.shown["url"], "trigger": event} | {
        "response_status": str(status) if status else "internal error", "request_data": payload,
    })  # fmt: skip
    _count(hooks, hook, 200 <= status < 400)
    return status


def _count(hooks: Hooks, hook: Hook, went_well: bool) -> None:
    """Turn a hook off that fails again and again."""
    hook.failures = 0 if went_well else hook.failures + 1
    if hooks.auto_disable and hook.failures >= FAILURES_UNTIL_PAUSE:
        hook.status = "disabled" if hook.failures >= FAILURES_UNTIL_OFF else "temporarily_disabled"


def filled(template: str, payload: Row) -> str:
    """A custom template with its `{{path}}`s filled in; texts are put in as they are, quotes and all."""

    def value(found: re.Match[str]) -> str:
        part: Any = payload
        for name in found[1].strip().split("."):
            part = part.get(name) if isinstance(part, dict) else None
        return "" if part is None else part if isinstance(part, str) else json.dumps(part)

    return re.sub(r"{{([^{}]*)}}", value, template)


@dataclass
class Watch:
    """Compares a world with what it was before, and sends the hooks of GitLab; `actor` made all changes."""

    hooks: Hooks
    world: World
    actor: Row
    zone: float = 0
    _before: dict[str, dict[int, Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._before = self._now()

    def payloads(self) -> list[Row]:
        """The payloads of everything that changed since the last call."""
        shapes = Shapes(self.world, self.hooks.version[0], self.zone)
        before, self._before = self._before, self._now()
        made: list[Row] = []
        for kind, rows in self._before.items():
            for id, row in rows.items():
                old = before[kind].get(id)
                if old != row:
                    made.append(self._payload(shapes, kind, row, old))
        return made

    def fire(self) -> int:
        """Send them to the hooks; returns how many deliveries were tried."""
        return sum(fire(self.hooks, self.world, payload) for payload in self.payloads())

    def _now(self) -> dict[str, dict[int, Row]]:
        lists = {"merge_request": self.world.merge_requests, "issue": self.world.issues}
        lists |= {"pipeline": self.world.pipelines, "job": self.world.jobs}
        return {
            kind: {row["id"]: deepcopy(row) for rows in by_project.values() for row in rows}
            for kind, by_project in lists.items()
        }

    def _payload(self, shapes: Shapes, kind: str, row: Row, old: Row | None) -> Row:
        action = "open" if old is None else "update" if old.get("state") == row.get("state") else _ACTIONS[row["state"]]
        match kind:
            case "merge_request":
                return shapes.merge_request(row, self.actor, action)
            case "issue":
                return shapes.issue(row, self.actor, "reopen" if action == "open" and old else action)
            case "pipeline":
                return shapes.pipeline(row, self.actor)
        return shapes.job(row, self.actor)


_ACTIONS = {"opened": "reopen", "closed": "close", "merged": "merge", "locked": "update"}
