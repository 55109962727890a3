"""Asks GitLab what changed: in a hundred projects, or in the lists of many groups, by one GraphQL query.

GraphQL is a short cut, never a proof: what it leaves out, refuses or answers with null counts as changed, or is asked
over REST.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from gitlab_port_export.base.parallel import All, Job, drive
from gitlab_port_export.gitlab.changes import GoingOn, is_since, text_of
from gitlab_port_export.gitlab.client import Ask, Get, GitLab, Params, ReadFailed, rows_of
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.languages import PROJECT
from gitlab_port_export.gitlab.lists import PER_PAGE
from gitlab_port_export.model import Scope

# How many projects, and how many groups, a query asks about; fewer where GitLab refuses that many. A query may cost
# 250 points: https://docs.gitlab.com/api/graphql/#limits. A hundred projects cost 30, a group about 10.
PROJECTS, GROUPS = (100, 50, 25), (25, 12, 6)
PIPELINES = """query ($ids: [ID!], $first: Int, $since: Time) {
  projects(ids: $ids, first: $first) { nodes { id
    changed: pipelines(first: 1, updatedAfter: $since) { nodes { id } }
    running: pipelines(first: 20, scope: RUNNING) { nodes { id } }
    pending: pipelines(first: 20, scope: PENDING) { nodes { id } } } }
}"""
NEWEST: Params = (("order_by", "updated_at"), ("sort", "desc"), ("per_page", str(PER_PAGE)), ("page", "1"))
# So many pipelines that go on are named; of more the list is asked for.
NAMED = 20
PIPELINE = "gid://gitlab/Ci::Pipeline/"
# Why GitLab may refuse many and answer about few: its limits of time, of points and of size.
TOO_MUCH = ("server", "refused", "too large")
ListKind = Literal["merge-request", "issue"]
LISTS: Mapping[ListKind, str] = {"merge-request": "mergeRequests", "issue": "issues"}

# What one query found of each place.
Found = Mapping[Scope, Any]
Query = Callable[[str, Sequence[Listed]], Generator[Any, Any, Found]]


@dataclass(frozen=True)
class Pipelines:
    """The projects in which pipelines changed or go on, and the pipelines that go on."""

    changed: frozenset[int]
    going_on: Mapping[int, tuple[GoingOn, ...]] = field(default_factory=dict)


def ask(gitlab: GitLab, workers: int, *jobs: Job) -> list[Any]:
    """Return what these jobs return, which run side by side."""
    found: list[Any] = [None] * len(jobs)

    def kept(number: int, job: Job) -> Job:
        found[number] = yield from job

    for _ in drive([kept(number, job) for number, job in enumerate(jobs)], gitlab.answer, (Get, Ask), workers=workers):
        pass
    return found


def changed_pipelines(places: Sequence[Listed], since: datetime) -> Job:
    """Return in which of these projects pipelines changed since an instant, or go on (Pipelines)."""
    found = yield from _asked(places, PROJECTS, partial(_of_pipelines, since))
    others = tuple(place for place in places if place.scope not in found)
    probes = (yield All(tuple(_probed(since, place) for place in others))) if others else ()
    found |= {place.scope: probe for place, probe in zip(others, probes, strict=True)}
    lists = {place.scope.id: found[place.scope] for place in places}
    changed = frozenset(number for number, named in lists.items() if named is not None)
    return Pipelines(changed, {number: named for number, named in lists.items() if named})


def quiet_lists(places: Mapping[ListKind, Iterable[Listed]], since: Mapping[ListKind, datetime]) -> Job:
    """Return by kind the scopes of which GitLab says that nothing of it changed since its instant (a dict of sets)."""
    every = {place.scope: place for some in places.values() for place in some}
    groups = [place for place in every.values() if place.scope.is_group]
    projects = [place for place in every.values() if not place.scope.is_group]
    of_groups, of_projects = partial(_of_groups, since), partial(_of_projects, since)
    both = yield All((_asked(groups, GROUPS, of_groups), _asked(projects, PROJECTS, of_projects)))
    asked = both[0] | both[1]
    return {kind: frozenset(scope for scope, quiet in asked.items() if kind in quiet) for kind in places}


def _asked(places: Sequence[Listed], sizes: Sequence[int], query: Query) -> Job:
    """Return what GraphQL says of these places, by scope; fewer at a time where it refuses many."""
    found: dict[Scope, Any] = {}
    left = list(places)
    for size in sizes if left else ():
        batches = list(_batches(left, size))
        # Where all were refused, one is tried before the others.
        tries = [batches] if found or size == sizes[0] else [batches[:1], batches[1:]]
        failures: list[ReadFailed] = []
        for some in tries:
            jobs = tuple(_told(query, token, batch, failures) for token, batch in some)
            for answered in (yield All(jobs)) if jobs else ():
                found |= answered
            if not found:
                break
        left = [place for place in left if place.scope not in found]
        # What is not allowed at all is not allowed for fewer either.
        if not left or not any(failure.reason in TOO_MUCH for failure in failures):
            break
    return found


def _told(query: Query, token: str, batch: Sequence[Listed], failures: list[ReadFailed]) -> Generator[Any, Any, Found]:
    try:
        return (yield from query(token, batch))
    except ReadFailed as failure:
        failures.append(failure)
        return {}


def _batches(places: Iterable[Listed], size: int) -> Iterator[tuple[str, list[Listed]]]:
    by_token: dict[str, list[Listed]] = {}
    for place in places:
        by_token.setdefault(place.tokens[0], []).append(place)
    for token, some in by_token.items():
        yield from ((token, some[at : at + size]) for at in range(0, len(some), size))


# --- projects


def _of_pipelines(since: datetime, token: str, batch: Sequence[Listed]) -> Generator[Any, Any, Found]:
    """Return which pipelines of a project go on, or None where nothing changed either."""
    nodes = yield from _nodes(token, PIPELINES, {"since": text_of(since)}, batch)
    found: dict[Scope, tuple[GoingOn, ...] | None] = {}
    for scope, node in nodes:
        changed, running, pending = (_nodes_of(node.get(name)) for name in ("changed", "running", "pending"))
        if changed is not None and running is not None and pending is not None:
            named = _going_on("running", running) + _going_on("pending", pending)
            found[scope] = named if changed or named else None
    return found


def _probed(since: datetime, place: Listed) -> Generator[Any, Any, tuple[GoingOn, ...] | None]:
    """Return the same as `_of_pipelines` of one project over REST: its newest page shows what changed and goes on.

    Where a full page reaches back less than a day, others may go on too. One that waits to run is seen when it does.
    """
    try:
        rows = rows_of((yield Get(place.tokens[0], f"/projects/{place.scope.id}/pipelines", NEWEST)))
    except ReadFailed:
        return ("running",)
    named: tuple[GoingOn, ...] = tuple(
        row["id"] for row in rows if row.get("status") in ("running", "pending") and isinstance(row.get("id"), int)
    )
    if len(rows) >= PER_PAGE and is_since(rows[-1].get("updated_at"), since - timedelta(days=1)):
        named += ("running",)
    return named if named or any(is_since(row.get("updated_at"), since) for row in rows) else None


def _going_on(name: Literal["running", "pending"], nodes: Sequence[Any]) -> tuple[GoingOn, ...]:
    """Return the pipelines of a list by their ids, or the list itself where they may be more."""
    ids = [str(node.get("id")).removeprefix(PIPELINE) for node in nodes if isinstance(node, dict)]
    if len(ids) == len(nodes) < NAMED and all(number.isdecimal() for number in ids):
        return tuple(map(int, ids))
    return (name,)


def _of_projects(since: Mapping[ListKind, datetime], token: str, batch: Sequence[Listed]) -> Generator[Any, Any, Found]:
    """Return the kinds of which a project has no changed row."""
    query = f"query ($ids: [ID!], $first: Int, {_instants(since)}) {{\n"
    query += f"  projects(ids: $ids, first: $first) {{ nodes {{ id {_lists(since, '')} }} }}\n}}"
    nodes = yield from _nodes(token, query, _values(since), batch)
    return {scope: _empty_of(node, since) for scope, node in nodes}


def _nodes(
    token: str, query: str, variables: Mapping[str, Any], batch: Sequence[Listed]
) -> Generator[Any, Any, list[tuple[Scope, Mapping[str, Any]]]]:
    """Return what a query that takes `ids` and `first` gives of each project. Raises ReadFailed."""
    scopes = {f"{PROJECT}{place.scope.id}": place.scope for place in batch}
    answer = yield Ask(token, query, {"ids": list(scopes), "first": len(scopes), **variables})
    match answer.data.get("data"):
        case {"projects": {"nodes": [*nodes]}}:
            known = [node for node in nodes if isinstance(node, dict) and node.get("id") in scopes]
            return [(scopes[node["id"]], node) for node in known]
    return []


# --- groups


def _of_groups(since: Mapping[ListKind, datetime], token: str, batch: Sequence[Listed]) -> Generator[Any, Any, Found]:
    """Return the kinds of which a group has no changed row."""
    names = [f"g{number}" for number in range(len(batch))]
    paths = {f"p{number}": place.scope.path for number, place in enumerate(batch)}
    lists = _lists(since, "includeSubgroups: true, ")
    groups = "\n".join(f"  g{number}: group(fullPath: $p{number}) {{ {lists} }}" for number in range(len(batch)))
    variables = ", ".join([_instants(since), *(f"${name}: ID!" for name in paths)])
    answer = yield Ask(token, f"query ({variables}) {{\n{groups}\n}}", {**paths, **_values(since)})
    data = answer.data.get("data")
    found = data if isinstance(data, dict) else {}
    return {place.scope: _empty_of(found.get(name), since) for name, place in zip(names, batch, strict=True)}


# --- what both have


def _instants(since: Iterable[ListKind]) -> str:
    return ", ".join(f"${_instant_name(kind)}: Time" for kind in since)


def _values(since: Mapping[ListKind, datetime]) -> dict[str, str]:
    return {_instant_name(kind): text_of(instant) for kind, instant in since.items()}


def _lists(since: Iterable[ListKind], more: str) -> str:
    return " ".join(
        f"{LISTS[kind]}({more}updatedAfter: ${_instant_name(kind)}, first: 1) {{ nodes {{ id }} }}" for kind in since
    )


def _instant_name(kind: ListKind) -> str:
    return f"since{LISTS[kind][0].upper()}{LISTS[kind][1:]}"


def _empty_of(place: Any, since: Iterable[ListKind]) -> frozenset[ListKind]:
    """Return the kinds of which a group or project has an empty list."""
    lists = {kind: place.get(LISTS[kind]) for kind in since} if isinstance(place, dict) else {}
    return frozenset(kind for kind, found in lists.items() if _nodes_of(found) == [])


def _nodes_of(connection: Any) -> list[Any] | None:
    """Return the rows of a list, None where there is no list."""
    nodes = connection.get("nodes") if isinstance(connection, dict) else None
    return nodes if isinstance(nodes, list) else None
