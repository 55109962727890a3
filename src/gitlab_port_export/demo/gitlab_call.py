"""One request to the stand-in GitLab: its parameters, what its token may see, and the common filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gitlab_port_export.demo.gitlab_access import OWNER, PLANNER, REPORTER, Access, Token
from gitlab_port_export.demo.gitlab_pages import Params, RefusedError
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_store import World

Keep = Callable[[Row], bool]


@dataclass(frozen=True)
class Call:
    """One request that passed authentication; `url` is its external address without the query."""

    world: World
    token: Token
    access: Access
    ids: dict[str, str]
    params: Params
    url: str
    query: str = ""

    def flag(self, name: str, default: bool | None = None) -> bool | None:
        """A boolean parameter, in the spellings that the real server takes."""
        value = self.params.get(name)
        if value is None:
            return default
        if str(value).lower() in ("true", "1", "t", "yes", "on"):
            return True
        if str(value).lower() in ("false", "0", "f", "no", "off"):
            return False
        raise RefusedError(400, {"error": f"{name} is invalid"})

    def choice(self, name: str, allowed: Sequence[str], default: str = "") -> str:
        """A parameter with a fixed set of values."""
        value = self.params.get(name, default)
        if value == default or value in allowed:
            return str(value)
        raise RefusedError(400, {"error": f"{name} does not have a valid value"})

    def text(self, name: str) -> str:
        """A free text parameter, empty when absent."""
        return str(self.params.get(name, ""))

    def moment(self, name: str) -> str:
        """A time parameter as a row's timestamp, empty when absent."""
        if not self.params.get(name):
            return ""
        try:
            when = datetime.fromisoformat(self.text(name))
        except ValueError as error:
            raise RefusedError(400, {"error": f"{name} is invalid"}) from error
        return stamp(when if when.tzinfo else when.replace(tzinfo=UTC))


# Who sees what


def _open_to_all(row: Row) -> bool:
    return row["visibility"] in ("public", "internal")


def sees_group(call: Call, group: Row) -> bool:
    """Whether the token may read the group itself."""
    return call.access.admin or group["id"] in call.access.groups or _open_to_all(group)


def sees_project(call: Call, project: Row) -> bool:
    """Whether the token may read the project itself."""
    return call.access.admin or project["id"] in call.access.projects or _open_to_all(project)


def role(call: Call, project: Row) -> int:
    """The token's access level in a project; an administrator may do what an owner may."""
    return OWNER if call.access.admin else call.access.projects.get(project["id"], 0)


def feature(call: Call, project: Row, name: str) -> bool:
    """Whether a feature of the project is on for the token: GitLab's `<name>_access_level`."""
    setting = project[f"{name}_access_level"]
    return bool(setting == "enabled" or (setting == "private" and role(call, project) > 0))


def sees_code(call: Call, project: Row) -> bool:
    """Whether the token may read the project's code, which guests of a private project may not."""
    trusted = project["visibility"] != "private" or role(call, project) >= REPORTER
    return trusted and feature(call, project, "repository")


def sees_merge_requests(call: Call, project: Row) -> bool:
    """Whether the token may list the project's merge requests, which show code."""
    return feature(call, project, "merge_requests") and sees_code(call, project)


def sees_pipelines(call: Call, project: Row) -> bool:
    """Whether the token may list the project's pipelines and jobs."""
    return feature(call, project, "builds") and (project["public_jobs"] or role(call, project) >= REPORTER)


def sees_issue(call: Call, project: Row, issue: Row) -> bool:
    """Whether the token may read this issue of a project it sees."""
    if not issue["confidential"] or role(call, project) >= PLANNER:
        return True
    people = [issue["author"], *issue["assignees"]]
    return any(person["id"] == call.access.user_id for person in people)


def wanted_group(call: Call) -> Row:
    """The group that the path names by id or full path; RefusedError when it is not visible."""
    id = call.ids["id"]
    try:
        group = call.world.groups[int(id)] if id.isdigit() else call.world.group(id)
    except KeyError:
        raise RefusedError(404, {"message": "404 Group Not Found"}) from None
    if not sees_group(call, group):
        raise RefusedError(404, {"message": "404 Group Not Found"})
    return group


def wanted_project(call: Call) -> Row:
    """The project that the path names by id or path; RefusedError when it is not visible or has moved."""
    id = call.ids["id"]
    number = int(id) if id.isdigit() else call.world.project_id(id)
    project = call.world.projects.get(number)
    if not project or not sees_project(call, project):
        raise RefusedError(404, {"message": "404 Project Not Found"})
    if id in call.world.moved:
        raise _moved(call, project)
    return project


def _moved(call: Call, project: Row) -> RefusedError:
    path = re.sub(r"/api/v4/projects/[^/]+", f"/api/v4/projects/{project['id']}", call.url)
    target = f"{path}?{call.query}" if call.query else path
    return RefusedError(301, f"This resource has been moved permanently to {target}", [("Location", target)])


def forbid_unless(allowed: bool) -> None:
    """Refuse with 403 what the token's role or the project's settings do not allow."""
    if not allowed:
        raise RefusedError(403, {"message": "403 Forbidden"})


def only(rows: Iterable[Row], key: str, call: Call) -> Row:
    """The one row that the path's last number names; RefusedError with 404 when there is none."""
    wanted = call.ids["number"]
    found = next((row for row in rows if str(row[key]) == wanted), None)
    if found is None:
        raise RefusedError(404, {"message": "404 Not found"})
    return found


# Filters and orders


def is_active(row: Row) -> bool:
    """What GitLab calls active: neither archived nor marked for deletion."""
    return not row["archived"] and not row["marked_for_deletion_on"]


def period(call: Call, *fields: str) -> Iterator[Keep]:
    """Conditions from `<field>_after` and `<field>_before`, both inclusive."""
    for name in fields:
        if after := call.moment(f"{name}_after"):
            yield _not_before(f"{name}_at", after)
        if before := call.moment(f"{name}_before"):
            yield _not_after(f"{name}_at", before)


def _not_before(key: str, limit: str) -> Keep:
    return lambda row: (row[key] or "") >= limit


def _not_after(key: str, limit: str) -> Keep:
    return lambda row: "" < (row[key] or "") <= limit


def equal(call: Call, *names: str) -> Iterator[Keep]:
    """Conditions from parameters that a field of the same name must equal."""
    return (_has(name, value) for name in names if (value := call.text(name)))


def _has(key: str, wanted: str) -> Keep:
    return lambda row: str(row[key]) == wanted


def numbered(call: Call) -> Iterator[Keep]:
    """The condition of `iids[]`: one of these numbers."""
    found = call.params.get("iids", [])
    if wanted := {found} if isinstance(found, str) else set(found):
        yield lambda row: str(row["iid"]) in wanted


def searched(call: Call, *fields: str) -> Iterator[Keep]:
    """The condition of `search`: found in one of the fields, in any case."""
    if words := call.text("search").casefold():
        yield lambda row: any(words in str(row[name]).casefold() for name in fields)


def labelled(call: Call) -> Iterator[Keep]:
    """The condition of `labels`: all of them, or None, or Any."""
    value = call.params.get("labels", "")
    names = [name for name in value.split(",") if name] if isinstance(value, str) else value
    if [name.lower() for name in names] == ["none"]:
        yield lambda row: not row["labels"]
    elif [name.lower() for name in names] == ["any"]:
        yield lambda row: bool(row["labels"])
    elif names:
        yield lambda row: set(names) <= set(row["labels"])


def mine(call: Call) -> Iterator[Keep]:
    """The condition of `scope`, by default all."""
    scopes = ("created_by_me", "assigned_to_me", "created-by-me", "assigned-to-me", "all")
    me = call.access.user_id
    match call.choice("scope", scopes, "all").replace("-", "_"):
        case "created_by_me":
            yield lambda row: bool(row["author"]["id"] == me)
        case "assigned_to_me":
            yield lambda row: any(person["id"] == me for person in row["assignees"])


def kept(rows: Iterable[Row], *conditions: Iterable[Keep]) -> list[Row]:
    """The rows that meet every condition."""
    keeps = [keep for condition in conditions for keep in condition]
    return [row for row in rows if all(keep(row) for keep in keeps)]


def ordered(call: Call, rows: Iterable[Row], keys: Sequence[str], default: str, sort: str) -> list[Row]:
    """Rows by `order_by` and `sort`, equal ones by id; RefusedError for an unknown key."""
    key = call.choice("order_by", keys, default)
    descending = call.choice("sort", ("asc", "desc"), sort) == "desc"
    return sorted(rows, key=lambda row: (_sortable(row.get(key)), row.get("id", 0)), reverse=descending)


def _sortable(value: object) -> tuple[int, str, int]:
    if isinstance(value, int):
        return (0, "", value)
    # PostgreSQL has null behind every value.
    return (2, "", 0) if value is None else (1, str(value).casefold(), 0)


# What groups and projects, and what merge requests and issues share

ACCESS_LEVELS = ("5", "10", "15", "20", "25", "30", "40", "50")


def least_level(call: Call) -> int:
    """The least role that the request asks for: `owned` or `min_access_level`, 0 for any."""
    if call.flag("owned"):
        return OWNER
    return int(call.choice("min_access_level", ACCESS_LEVELS) or 0)


def when_active(call: Call) -> Iterator[Keep]:
    """The condition of `active`."""
    if (active := call.flag("active")) is not None:
        yield lambda row: is_active(row) == active


def when_archived(call: Call) -> Iterator[Keep]:
    """The condition of `archived`."""
    if (archived := call.flag("archived")) is not None:
        yield lambda row: row["archived"] == archived


def projects_below(call: Call) -> list[Row]:
    """The visible projects of a group and its subgroups; archived ones only when asked for."""
    archived_too = not call.flag("non_archived", True)
    below = call.world.projects_below(wanted_group(call))
    return [row for row in below if sees_project(call, row) and (archived_too or not row["archived"])]


def in_state(call: Call, states: Sequence[str]) -> Iterator[Keep]:
    """The condition of `state`, by default all."""
    state = call.choice("state", states, "all")
    if state != "all":
        yield lambda row: bool(row["state"] == state)


def written_by(call: Call) -> Iterator[Keep]:
    """The conditions of `author_username` and `author_id`."""
    if username := call.text("author_username"):
        yield lambda row: bool(row["author"]["username"] == username)
    if author := call.text("author_id"):
        yield lambda row: str(row["author"]["id"]) == author
