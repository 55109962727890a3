"""Reads what GitLab's hooks sent as a list of objects to be read again, each once, by its newest event.

Payloads say little that can be believed (order, fractions of seconds, users), so they only name objects here.
Shapes: https://docs.gitlab.com/user/project/integrations/webhook_events/ and, for system hooks,
https://docs.gitlab.com/administration/system_hooks/
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.text import clean
from gitlab_port_export.gitlab.touched import Touched, What
from gitlab_port_export.live.payload_text import EXPECTED, bytes_of, payloads_of

Payload = Mapping[str, Any]
# Of 40 or, where a repository's objects are named by SHA-256, 64 digits.
NO_COMMIT = re.compile("0+")


@dataclass(frozen=True, slots=True)
class Untold:
    """A payload that names nothing to read: what it was, and why it is ignored."""

    event: str
    why: str


@dataclass(frozen=True, slots=True)
class Intake:
    """The events as a list: the objects to be read again, in order of arrival, and the payloads that name none."""

    touched: tuple[Touched, ...]
    untold: tuple[Untold, ...]
    events: int


def read_events(text: bytes | str, origin: str) -> Intake:
    """Return what a file of payloads names: one JSON, a list, or JSON lines. Raises UsageError.

    Of several, one without what every payload of its kind has is left out, and named.
    A job that a hook's trigger started finds the payload as the text of the file that TRIGGER_PAYLOAD names:
    https://docs.gitlab.com/ci/triggers/#access-webhook-payload
    """
    payloads = list(payloads_of(text, origin))
    touched: list[Touched] = []
    untold: list[Untold] = []
    for number, payload in enumerate(payloads, 1):
        where = f"{origin}: event {number}" if len(payloads) > 1 else origin
        if not isinstance(payload, dict):
            raise UsageError(f"{where}: is no object", hint=f"give {EXPECTED}")
        try:
            found = list(_touched(payload))
        except _Shapeless as missing:
            if len(payloads) > 1:
                untold.append(Untold(event_of(payload), f"event {number} has not {missing}, and is left out"))
                continue
            raise UsageError(
                f"{where}: the payload of kind {clean(event_of(payload))} has not {missing}",
                hint="give GitLab's payload as it came",
            ) from None
        touched += (one for one in found if isinstance(one, Touched))
        untold += (one for one in found if isinstance(one, Untold))
    return Intake(fold(touched), tuple(dict.fromkeys(untold)), len(payloads))


def read_file(file: Path) -> Intake:
    """Return what the payloads of a file name, `-` is standard input. Raises UsageError."""
    return read_events(*bytes_of(file))


def fold(touched: Iterable[Touched]) -> tuple[Touched, ...]:
    """Return each object once, as its newest event has it; where the age is not told the last to arrive counts.

    Files add up: each push names its own.
    """
    found: dict[Any, Touched] = {}
    for one in touched:
        before = found.get(one.identity)
        if before is None:
            found[one.identity] = one
            continue
        newest = before if one.at and before.at and instant(one.at) < instant(before.at) else one
        files = None if one.files is None or before.files is None else one.files | before.files
        found[one.identity] = replace(newest, files=files)
    return tuple(found.values())


def event_of(payload: Payload) -> str:
    """Return what a payload says it is: by its body, as system hooks all have one and the same header."""
    return str(payload.get("object_kind") or payload.get("event_name") or payload.get("event_type") or "nameless")[:60]


# --- payload → what it names


class _Shapeless(Exception):
    """A payload lacks what every payload of its kind has."""


def _touched(payload: Payload) -> Iterator[Touched | Untold]:
    event = event_of(payload)
    read = READERS.get(event)
    if read is None:
        yield Untold(event, "no kind of the mapping is read for it")
        return
    yield from read(payload)


def _part(payload: Payload, name: str) -> Payload:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}


def _list(payload: Payload, name: str) -> list[Any]:
    value = payload.get(name)
    return value if isinstance(value, list) else []


def _number(value: Any) -> int | None:
    """Return a whole number; custom templates write each value as text, and none as an empty one."""
    if type(value) is int:
        return value
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value) else None


def _whole(value: Any, name: str) -> int:
    if (number := _number(value)) is None:
        raise _Shapeless(name)
    return number


def _text(value: Any, name: str) -> str:
    if isinstance(value, str) and value:
        return value
    raise _Shapeless(name)


def _project(payload: Payload) -> tuple[int, str]:
    """Return id and path of the project that an event belongs to."""
    project = _part(payload, "project")
    number = _whole(project.get("id") or payload.get("project_id"), "a project's id")
    return number, str(project.get("path_with_namespace") or payload.get("path_with_namespace") or "")


def _of_project(payload: Payload, what: What, key: int | str | None, **more: Any) -> Touched:
    number, path = _project(payload)
    return Touched(what, number, path, key=key, **({"at": _when(payload), "made": _made(payload)} | more))


def _when(payload: Payload) -> str:
    """Return when the event happened; payloads without a time of their own are as old as they look."""
    attributes = _part(payload, "object_attributes")
    places = (
        *(attributes.get(name) for name in ("updated_at", "finished_at", "created_at")),
        *(payload.get(name) for name in ("status_changed_at", "build_finished_at", "build_started_at")),
        *(payload.get(name) for name in ("build_created_at", "updated_at", "released_at", "created_at")),
    )
    return str(next((place for place in places if place), ""))


def _made(payload: Payload) -> str:
    """Return when the object of an event was made, where the payload has that."""
    attributes = _part(payload, "object_attributes")
    return str(attributes.get("created_at") or payload.get("build_created_at") or payload.get("created_at") or "")


def instant(text: str) -> datetime:
    """Return an instant of a payload, which may be ISO, or `2026-01-16 05:56:22 UTC`, or end in `+0100`."""
    try:
        found = datetime.fromisoformat(text.replace(" UTC", "Z").replace(" +", "+").replace(" -", "-"))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _merge_request(payload: Payload) -> Iterator[Touched]:
    yield replace(_issuable(payload, "merge-request", _part(payload, "object_attributes")), saved=_saved(payload))


def _saved(payload: Payload) -> str:
    return str(_part(payload, "object_attributes").get("updated_at") or "")


def _issue(payload: Payload) -> Iterator[Touched | Untold]:
    attributes = _part(payload, "object_attributes")
    if _part(payload, "project").get("id") or payload.get("project_id"):
        yield replace(_issuable(payload, "issue", attributes), saved=_saved(payload))
    else:
        yield Untold(event_of(payload), "the work item belongs to a group, and only those of projects are read")


def _issuable(payload: Payload, what: What, attributes: Payload) -> Touched:
    return _of_project(payload, what, _whole(attributes.get("iid"), "an iid"))


def _note(payload: Payload) -> Iterator[Touched | Untold]:
    """Yield the object that was commented or reacted to: its row counts comments and reactions."""
    kinds: tuple[tuple[What, str], ...] = (("merge-request", "merge_request"), ("issue", "issue"))
    for what, name in kinds:
        if _number(_part(payload, name).get("iid")) is not None:
            yield _issuable(payload, what, payload[name])
            return
    yield Untold(event_of(payload), "it is about no merge request and no issue")


def _pipeline(payload: Payload) -> Iterator[Touched]:
    """Yield a pipeline, which is read with its jobs."""
    number = _whole(_part(payload, "object_attributes").get("id"), "an id")
    yield _of_project(payload, "pipeline", number)
    request = _part(payload, "merge_request")
    # The row of a merge request may show its pipeline; it belongs to the project that it goes into.
    iid, project = _number(request.get("iid")), _number(request.get("target_project_id"))
    if iid is not None and project is not None:
        yield Touched("merge-request", project, key=iid, at=_when(payload))


def _job(payload: Payload) -> Iterator[Touched]:
    yield _of_project(payload, "job", _whole(payload.get("build_id"), "a job's id"))
    if (pipeline := _number(payload.get("pipeline_id"))) is not None:
        yield _of_project(payload, "pipeline", pipeline)


def _deployment(payload: Payload) -> Iterator[Touched]:
    yield _of_project(payload, "deployment", _whole(payload.get("deployment_id"), "a deployment's id"))
    environment = _number(_part(payload, "environment").get("id") or payload.get("environment_id"))
    if environment is not None:
        yield _of_project(payload, "environment", environment)


def _release(payload: Payload) -> Iterator[Touched]:
    gone = payload.get("action") == "delete"
    yield _of_project(payload, "release", _text(payload.get("tag"), "a tag"), gone=gone)


def _ref(payload: Payload, start: str) -> str:
    """Return the name of a branch or tag, or nothing where the payload's own ref was lost.

    GitLab's pipeline trigger puts the ref that it runs for over that of the payload, without `refs/heads/`:
    https://gitlab.com/gitlab-org/gitlab/-/issues/347707
    """
    ref = _text(payload.get("ref"), "a ref")
    return ref.removeprefix(start) if ref.startswith(start) else ""


LOST_REF = (
    "its branch or tag was lost in GitLab's pipeline trigger; give the hook examples/live/payload-with-names.json"
)


def _tag(payload: Payload) -> Iterator[Touched | Untold]:
    name = _ref(payload, "refs/tags/")
    if not name:
        yield Untold(event_of(payload), LOST_REF)
        return
    yield _of_project(payload, "tag", name, gone=_is_nothing(payload.get("after")), at=_pushed(payload))


def _push(payload: Payload) -> Iterator[Touched | Untold]:
    """Yield the branch and the files of a push; files of the default branch change the project's row too."""
    name = _ref(payload, "refs/heads/")
    if not name:
        yield Untold(event_of(payload), LOST_REF)
        yield _of_project(payload, "project", None, at=_pushed(payload))
        return
    gone, at = _is_nothing(payload.get("after")), _pushed(payload)
    yield _of_project(payload, "branch", name, gone=gone, at=at)
    if gone:
        return
    yield _of_project(payload, "files", name, files=_files(payload), at=at)
    if name == _part(payload, "project").get("default_branch"):
        yield _of_project(payload, "project", None, at=at)


def _is_nothing(commit: Any) -> bool:
    """Say whether a commit stands for none: the branch or tag did not exist before, or does not after."""
    return isinstance(commit, str) and NO_COMMIT.fullmatch(commit) is not None


def _pushed(payload: Payload) -> str:
    """Return when the last commit was made, the only time in a push."""
    times = [str(one.get("timestamp") or "") for one in _list(payload, "commits") if isinstance(one, dict)]
    return max(times, key=instant, default="")


def _files(payload: Payload) -> frozenset[str] | None:
    """Return the paths that a push changed; None where the payload does not name them all.

    GitLab names the newest 20 commits, system hooks name none, and for a new branch there is nothing to compare with:
    https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events
    """
    commits = [one for one in _list(payload, "commits") if isinstance(one, dict)]
    if not commits or payload.get("total_commits_count") != len(commits) or _is_nothing(payload.get("before")):
        return None
    names = ("added", "modified", "removed")
    return frozenset(str(path) for commit in commits for name in names for path in _list(commit, name))


def _repository_update(payload: Payload) -> Iterator[Touched]:
    """Yield the branches and tags of a push as a system hook reports it: which moved, nothing more."""
    for ref in _list(payload, "refs"):
        what: What = "tag" if str(ref).startswith("refs/tags/") else "branch"
        name = str(ref).removeprefix("refs/heads/").removeprefix("refs/tags/")
        yield _of_project(payload, what, name)
        if what == "branch":
            yield _of_project(payload, "files", name, files=None)
    yield _of_project(payload, "project", None)


def _milestone(payload: Payload) -> Iterator[Touched]:
    attributes = _part(payload, "object_attributes")
    number, gone = _whole(attributes.get("id"), "an id"), payload.get("action") == "delete"
    group = _number(attributes.get("group_id"))
    if group is not None and not _part(payload, "project").get("id"):
        yield Touched("milestone", group=group, key=number, gone=gone, at=_when(payload))
    else:
        yield _of_project(payload, "milestone", number, gone=gone)


def _project_event(payload: Payload) -> Iterator[Touched]:
    """Yield a project that was made, moved, renamed, changed or deleted."""
    number = _whole(payload.get("project_id"), "project_id")
    gone = payload.get("event_name") == "project_destroy"
    path = str(payload.get("path_with_namespace") or "")
    yield Touched("project", number, path, gone=gone, at=_when(payload), made=_made(payload))


def _group_event(payload: Payload) -> Iterator[Touched]:
    """Yield a group or subgroup that was made, renamed or deleted."""
    number = _whole(payload.get("group_id"), "group_id")
    gone = payload.get("event_name") in ("group_destroy", "subgroup_destroy")
    path = str(payload.get("full_path") or "")
    yield Touched("group", group=number, group_path=path, gone=gone, at=_when(payload), made=_made(payload))


def _group_member(payload: Payload) -> Iterator[Touched]:
    # `group_path` is the last part of the path alone.
    yield Touched("members", group=_whole(payload.get("group_id"), "group_id"), at=_when(payload))


def _project_member(payload: Payload) -> Iterator[Touched]:
    path = str(payload.get("project_path_with_namespace") or "")
    number = _whole(payload.get("project_id"), "project_id")
    yield Touched("members", number, path, at=_when(payload))


def _user(payload: Payload) -> Iterator[Touched]:
    gone = payload.get("event_name") == "user_destroy"
    yield Touched(
        "user", key=_whole(payload.get("user_id"), "user_id"), gone=gone, at=_when(payload), made=_made(payload)
    )


# What of a payload is read, by what it says it is. All other events name nothing.
READERS: dict[str, Callable[[Payload], Iterator[Touched | Untold]]] = {
    "merge_request": _merge_request,
    "issue": _issue,
    "work_item": _issue,
    "note": _note,
    "emoji": _note,
    "pipeline": _pipeline,
    "build": _job,
    "deployment": _deployment,
    "release": _release,
    "tag_push": _tag,
    "push": _push,
    "repository_update": _repository_update,
    "milestone": _milestone,
    **dict.fromkeys(
        ("project_create", "project_destroy", "project_rename", "project_transfer", "project_update"), _project_event
    ),
    **dict.fromkeys(
        ("subgroup_create", "subgroup_destroy", "group_create", "group_destroy", "group_rename"), _group_event
    ),
    **dict.fromkeys(("user_add_to_group", "user_update_for_group", "user_remove_from_group"), _group_member),
    **dict.fromkeys(("user_add_to_team", "user_update_for_team", "user_remove_from_team"), _project_member),
    **dict.fromkeys(("user_create", "user_destroy", "user_rename"), _user),
}
