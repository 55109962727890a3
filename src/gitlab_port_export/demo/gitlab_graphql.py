"""The stand-in's GraphQL: projects and groups with what tells of changes in them, within GitLab's limits.

Costs are those of app/graphql/types/base_field.rb and app/graphql/resolvers/base_resolver.rb in GitLab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from gitlab_port_export.demo.gitlab_call import Call, feature, sees_group, sees_project
from gitlab_port_export.demo.gitlab_kinds.environment import environments
from gitlab_port_export.demo.gitlab_kinds.issue import group_issues, project_issues
from gitlab_port_export.demo.gitlab_kinds.job import project_jobs
from gitlab_port_export.demo.gitlab_kinds.merge_request import group_merge_requests, project_merge_requests
from gitlab_port_export.demo.gitlab_kinds.pipeline import pipelines
from gitlab_port_export.demo.gitlab_pages import Listing, RefusedError
from gitlab_port_export.demo.gitlab_query import Field, QueryFault, read_query
from gitlab_port_export.demo.gitlab_rows import Row

GLOBAL_ID = "gid://gitlab/{}/{}"
PROJECT = "gid://gitlab/Project/"
MAX_NODES = 100
MAX_COMPLEXITY = 250
MAX_TEXT = 10_000


@dataclass(frozen=True)
class _Connection:
    """A list below a project or group: the rows' type, the REST list that it agrees with, and what it costs."""

    type: str
    rows: Callable[[Call], Listing]
    arguments: tuple[str, ...] = ("updatedAfter", "updatedBefore")
    cost: int = 1
    only_one: bool = False


_WORK = ("updatedAfter", "updatedBefore", "state")
# A list with a default order costs one more, and so does what asks Gitaly.
_OF_PROJECT = {
    "pipelines": _Connection("Pipeline", pipelines, ("updatedAfter", "updatedBefore", "scope", "status"), 2),
    "mergeRequests": _Connection("MergeRequest", project_merge_requests, _WORK, 2),
    "issues": _Connection("Issue", project_issues, _WORK, 2),
    "jobs": _Connection("CiJob", project_jobs, (), only_one=True),
    "environments": _Connection("Environment", environments, (), only_one=True),
}
_OF_GROUP = {
    "mergeRequests": _Connection("MergeRequest", group_merge_requests, (*_WORK, "includeSubgroups"), 2),
    "issues": _Connection("Issue", group_issues, (*_WORK, "includeSubgroups"), 2),
}
_CONNECTIONS = {"Project": _OF_PROJECT, "Group": _OF_GROUP}
_PLAIN: dict[str, dict[str, str]] = {
    "Project": {"id": "", "fullPath": "path_with_namespace", "archived": "archived", "updatedAt": "updated_at",
                "lastActivityAt": "last_activity_at", "languages": ""},
    "Group": {"id": "", "fullPath": "full_path"},
    "Pipeline": {"id": "", "iid": "iid", "status": "status", "updatedAt": "updated_at"},
    "MergeRequest": {"id": "", "iid": "iid", "updatedAt": "updated_at"},
    "Issue": {"id": "", "iid": "iid", "updatedAt": "updated_at"},
    "CiJob": {"id": "", "status": "status"},
    "Environment": {"id": "", "name": "name", "state": "state"},
}  # fmt: skip


def answer(call: Call, body: Any) -> Row:
    """Return `data`, `errors` or both for a parsed request body; all come with status 200."""
    try:
        query = body.get("query") if isinstance(body, dict) else None
        if not isinstance(query, str) or not query.strip():
            raise QueryFault("No query string was present")
        if len(query) > MAX_TEXT:
            raise QueryFault("Query too large")
        fields = read_query(query, body.get("variables") or {})
        _check_cost(fields)
        return _Answer(call).of_query(fields)
    except QueryFault as fault:
        return {"errors": [{"message": str(fault)}]}


def _check_cost(fields: tuple[Field, ...]) -> None:
    complexity = sum(_cost(one, "Query") for one in fields)
    if complexity > MAX_COMPLEXITY:
        raise QueryFault(f"Query has complexity of {complexity}, which exceeds max complexity of {MAX_COMPLEXITY}")


def _cost(one: Field, owner: str) -> int:
    """What a field costs. Raises QueryFault for one that its owner's type has not, or an argument that it takes not."""
    match owner, one.name:
        case "Query", "projects":
            return _list_cost(one, "Project", ("ids",), 1)
        case "Query", "project" | "group":
            _check_arguments(one, ("fullPath",))
            return 1 + sum(_cost(below, one.name.capitalize()) for below in one.below)
        case _, "languages" if owner == "Project":
            return 2 + len(one.below)  # it asks Gitaly
    if listed := _CONNECTIONS.get(owner, {}).get(one.name):
        return _list_cost(one, listed.type, listed.arguments, listed.cost)
    if one.name not in _PLAIN.get(owner, {}):
        raise QueryFault(f"Field '{one.name}' doesn't exist on type '{owner}'")
    return 1


def _list_cost(one: Field, type: str, arguments: tuple[str, ...], own: int) -> int:
    """A connection costs what one node of it costs, and a hundredth more for each that may come."""
    _check_arguments(one, (*arguments, "first", "after"))
    nodes = one.child("nodes") or Field("nodes", "nodes")
    page = 2 if one.child("pageInfo") else 0
    children = 1 + page + sum(_cost(below, type) for below in nodes.below)
    return int((children + own) * (1 + 0.01 * _first(one)))


def _check_arguments(one: Field, known: tuple[str, ...]) -> None:
    if unknown := set(one.arguments) - set(known):
        raise QueryFault(f"Field '{one.name}' doesn't accept argument '{min(unknown)}'")


def _first(one: Field) -> int:
    return min(int(one.arguments.get("first") or MAX_NODES), MAX_NODES)


@dataclass
class _Answer:
    """The answer to one query, with the errors of single fields."""

    call: Call
    errors: list[Row] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def of_query(self, fields: tuple[Field, ...]) -> Row:
        """Return the whole answer."""
        data = {one.shown: self._top(one) for one in fields}
        return {"data": data} | ({"errors": self.errors} if self.errors else {})

    def _top(self, one: Field) -> Any:
        call = self.call
        if one.name == "projects":
            ids = one.arguments.get("ids") or []
            wanted = [int(id.removeprefix(PROJECT)) for id in ids if str(id).removeprefix(PROJECT).isdecimal()]
            rows = [row for id in wanted if (row := call.world.projects.get(id)) and sees_project(call, row)]
            return self._page(one, rows, "Project")
        key = "full_path" if one.name == "group" else "path_with_namespace"
        row = call.world.paths.get(f"{key}:{one.arguments.get('fullPath')}")
        seen = row and (sees_group(call, row) if one.name == "group" else sees_project(call, row))
        return self._object(one, row, one.name.capitalize()) if row and seen else None

    def _page(self, one: Field, rows: list[Row], type: str) -> Row:
        first = _first(one)
        found: Row = {}
        if nodes := one.child("nodes"):
            found[nodes.shown] = [self._object(nodes, row, type) for row in rows[:first]]
        if page := one.child("pageInfo"):
            found[page.shown] = {"hasNextPage": len(rows) > first, "endCursor": None}
        return found

    def _object(self, one: Field, row: Row, type: str) -> Row:
        return {below.shown: self._field(below, row, type) for below in one.below}

    def _field(self, one: Field, row: Row, type: str) -> Any:
        if one.name == "id":
            return GLOBAL_ID.format("Ci::Pipeline" if type == "Pipeline" else type, row["id"])
        if listed := _CONNECTIONS.get(type, {}).get(one.name):
            return self._connection(one, listed, row, type)
        if one.name == "languages":
            return _languages(self.call, row) if feature(self.call, row, "repository") else None
        return row.get(_PLAIN[type][one.name])

    def _connection(self, one: Field, listed: _Connection, row: Row, type: str) -> Row | None:
        """Return a list as REST gives it; null where REST refuses it, or where the world says so of the project."""
        if listed.only_one and one.name in self.asked:
            text = f'"{one.name}" field can be requested only for 1 {type}(s) at a time.'
            self.errors.append({"message": text, "path": [one.shown]})
            return None
        self.asked.add(one.name)
        if type == "Project" and row["id"] in self.call.world.unanswered:
            return None
        call = replace(self.call, ids={"id": str(row["id"])}, params=dict(_params(one)))
        try:
            rows = list(listed.rows(call).rows)
        except RefusedError:
            return None
        if type == "Group" and not one.arguments.get("includeSubgroups"):
            rows = [found for found in rows if found["project_id"] in call.world.projects_in.get(row["id"], ())]
        return self._page(one, rows, listed.type)


def _params(one: Field) -> Iterator[tuple[str, str]]:
    """Yield the parameters of REST that mean the same; nulls ask for nothing."""
    names = {"updatedAfter": "updated_after", "updatedBefore": "updated_before"}
    for name in ("updatedAfter", "updatedBefore", "scope", "status", "state"):
        if value := one.arguments.get(name):
            yield names.get(name, name), value if name in names else str(value).lower()


def _languages(call: Call, project: Row) -> list[Row]:
    shares = call.world.languages.get(project["id"], {})
    return [{"name": language, "share": share} for language, share in shares.items()]
