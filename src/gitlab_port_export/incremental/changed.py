"""Asks GitLab what changed: the pipelines of a hundred projects, or the lists of many groups, by one GraphQL query.

GraphQL is a short cut, never a proof: whatever it leaves out, refuses or answers with null counts as changed.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal

from gitlab_port_export.base.parallel import drive
from gitlab_port_export.gitlab.changes import GoingOn, text_of
from gitlab_port_export.gitlab.client import Ask, Get, GitLab, ReadFailed
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.languages import PROJECT

# How many projects, and how many groups, a query asks about; fewer where GitLab refuses that many. A query may cost
# 250 points: https://docs.gitlab.com/api/graphql/#limits. A hundred projects cost 30, a group about 10.
PROJECTS, GROUPS = (100, 50, 25), (25, 12, 6)
PIPELINES = """query ($ids: [ID!], $first: Int, $since: Time) {
  projects(ids: $ids, first: $first) { nodes { id
    changed: pipelines(first: 1, updatedAfter: $since) { nodes { id } }
    running: pipelines(first: 20, scope: RUNNING) { nodes { id } }
    pending: pipelines(first: 20, scope: PENDING) { nodes { id } } } }
}"""
# So many pipelines that go on are named; of more the list is asked for.
NAMED = 20
PIPELINE = "gid://gitlab/Ci::Pipeline/"
# Why GitLab may refuse many and answer about few: its limits of time, of points and of size.
TOO_MUCH = ("server", "refused", "too large")
UNFINISHED: tuple[Literal["running"], Literal["pending"]] = ("running", "pending")
ListKind = Literal["merge-request", "issue"]
LISTS: Mapping[ListKind, str] = {"merge-request": "mergeRequests", "issue": "issues"}

# What one query found, by id.
Found = Mapping[int, Any]


@dataclass(frozen=True)
class Pipelines:
    """The projects in which pipelines changed or go on, and the pipelines that go on."""

    changed: frozenset[int]
    going_on: Mapping[int, tuple[GoingOn, ...]] = field(default_factory=dict)


def changed_pipelines(gitlab: GitLab, places: Sequence[Listed], since: datetime, workers: int) -> Pipelines:
    """Return in which of these projects pipelines changed since an instant, or go on."""
    found = _asked(gitlab, places, PROJECTS, partial(_of_projects, since), workers)
    # One that waits to run is seen when it does, so of the projects that GraphQL leaves out one list is asked for.
    lists = {place.scope.id: found.get(place.scope.id, ("running",)) for place in places}
    changed = frozenset(number for number, named in lists.items() if named is not None)
    return Pipelines(changed, {number: named for number, named in lists.items() if named})


def quiet_groups(
    gitlab: GitLab, groups: Mapping[ListKind, Sequence[Listed]], since: Mapping[ListKind, datetime], workers: int
) -> dict[str, frozenset[int]]:
    """Return by kind the groups of which GitLab says that nothing of it changed since its instant."""
    places = {place.scope.id: place for some in groups.values() for place in some}
    asked = _asked(gitlab, list(places.values()), GROUPS, partial(_of_groups, since), workers)
    return {kind: frozenset(number for number, quiet in asked.items() if kind in quiet) for kind in groups}


Query = Callable[[str, Sequence[Listed]], Generator[Any, Any, Found]]


def _asked(
    gitlab: GitLab, places: Sequence[Listed], sizes: Sequence[int], query: Query, workers: int
) -> dict[int, Any]:
    """Return what GraphQL says of these places by their id; fewer at a time where it refuses many."""
    found: dict[int, Any] = {}
    left = list(places)
    for size in sizes:
        batches = list(_batches(left, size))
        # Where all were refused, one is tried before the others.
        tries = [batches] if found or size == sizes[0] else [batches[:1], batches[1:]]
        for some in tries:
            failures: list[ReadFailed] = []
            jobs = (_told(query, token, batch, failures) for token, batch in some)
            for answered in drive(jobs, gitlab.answer, (Get, Ask), workers=workers):
                found |= answered
            if not found:
                break
        left = [place for place in left if place.scope.id not in found]
        # What is not allowed at all is not allowed for fewer either.
        if not left or not any(failure.reason in TOO_MUCH for failure in failures):
            break
    return found


def _told(query: Query, token: str, batch: Sequence[Listed], failures: list[ReadFailed]) -> Generator[Any, Any, None]:
    try:
        found = yield from query(token, batch)
    except ReadFailed as failure:
        failures.append(failure)
    else:
        yield found


def _batches(places: Iterable[Listed], size: int) -> Iterator[tuple[str, list[Listed]]]:
    by_token: dict[str, list[Listed]] = {}
    for place in places:
        by_token.setdefault(place.tokens[0], []).append(place)
    for token, some in by_token.items():
        yield from ((token, some[at : at + size]) for at in range(0, len(some), size))


def _of_projects(since: datetime, token: str, batch: Sequence[Listed]) -> Generator[Any, Any, Found]:
    """Return by id which pipelines of a project go on, or None where nothing changed either."""
    ids = [f"{PROJECT}{place.scope.id}" for place in batch]
    answer = yield Ask(token, PIPELINES, {"ids": ids, "first": len(ids), "since": text_of(since)})
    return dict(_known_projects(answer.data.get("data")))


def _known_projects(data: Any) -> Iterator[tuple[int, tuple[GoingOn, ...] | None]]:
    match data:
        case {"projects": {"nodes": [*nodes]}}:
            for node in nodes:
                match node:
                    case {"id": str(id), "changed": {"nodes": [*changed]}} if id.startswith(PROJECT):
                        number = id.removeprefix(PROJECT)
                        lists = {name: node.get(name) for name in UNFINISHED}
                        if number.isdecimal() and all(map(_is_list, lists.values())):
                            named = tuple(one for name in UNFINISHED for one in _going_on(name, lists[name]["nodes"]))
                            yield int(number), named if changed or named else None


def _going_on(name: Literal["running", "pending"], nodes: Sequence[Any]) -> tuple[GoingOn, ...]:
    """Return the pipelines of a list by their ids, or the list itself where they may be more."""
    ids = [str(node.get("id")).removeprefix(PIPELINE) for node in nodes if isinstance(node, dict)]
    whole = len(ids) == len(nodes) < NAMED and all(number.isdecimal() for number in ids)
    return tuple(map(int, ids)) if whole else (name,)


def _is_list(connection: Any) -> bool:
    return isinstance(connection, dict) and isinstance(connection.get("nodes"), list)


def _of_groups(since: Mapping[ListKind, datetime], token: str, batch: Sequence[Listed]) -> Generator[Any, Any, Found]:
    """Return by id the kinds of which a group has no changed row."""
    names = [f"g{number}" for number in range(len(batch))]
    variables = {f"p{number}": place.scope.path for number, place in enumerate(batch)}
    variables |= {_instant_name(kind): text_of(instant) for kind, instant in since.items()}
    answer = yield Ask(token, _groups_query(list(since), len(batch)), variables)
    data = answer.data.get("data")
    groups = data if isinstance(data, dict) else {}
    return {
        place.scope.id: frozenset(kind for kind in since if _is_empty(groups.get(name), LISTS[kind]))
        for name, place in zip(names, batch, strict=True)
    }


def _groups_query(kinds: Sequence[ListKind], number: int) -> str:
    variables = [f"${_instant_name(kind)}: Time" for kind in kinds] + [f"$p{at}: ID!" for at in range(number)]
    lists = " ".join(
        f"{LISTS[kind]}(includeSubgroups: true, updatedAfter: ${_instant_name(kind)}, first: 1) {{ nodes {{ id }} }}"
        for kind in kinds
    )
    groups = "\n  ".join(f"g{at}: group(fullPath: $p{at}) {{ {lists} }}" for at in range(number))
    return f"query ({', '.join(variables)}) {{\n  {groups}\n}}"


def _instant_name(kind: ListKind) -> str:
    return f"since{LISTS[kind][0].upper()}{LISTS[kind][1:]}"


def _is_empty(group: Any, name: str) -> bool:
    return isinstance(group, dict) and _is_list(group.get(name)) and not group[name]["nodes"]
