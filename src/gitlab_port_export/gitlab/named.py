"""The inventory of the few groups and projects that events name, asked for in the shape of GitLab's lists.

The query is that of the whole listing, so that a row, and whether there is one, are the same as in a full run.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from gitlab_port_export.base.parallel import All, Job, drive
from gitlab_port_export.gitlab.client import Get, GitLab, ReadFailed, unavailable
from gitlab_port_export.gitlab.inventory import (
    Active,
    Inventory,
    Listed,
    Listing,
    Patterns,
    is_restricted,
    listed_of,
    listing_failures,
    listing_params,
    merge,
    path_of,
    take,
)
from gitlab_port_export.gitlab.kinds.shared.again import one_row
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.model import Dialect, Problem, Row, Scope


@dataclass(frozen=True)
class Named:
    """The projects and groups to ask for: ids, each with its path where that is known.

    `above` says that the groups above them are needed too, `actives` are the filters of groups and of projects.
    """

    projects: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    above: bool = False
    actives: tuple[frozenset[Active], frozenset[Active]] = (frozenset(), frozenset())


@dataclass(frozen=True)
class _Found:
    """What one token sees of what is named."""

    listing: Listing
    unlisted: tuple[Row, ...] = ()


def read_named(
    gitlab: GitLab,
    patterns: Mapping[str, Patterns],
    dialect: Dialect,
    mapping: PortMapping,
    named: Named,
    workers: int,
) -> Inventory:
    """Return the inventory of what is named; the tokens of each are chosen as for the whole inventory.

    Raises GitLabUnavailable when no token gives an answer.
    """
    asked = [token for token, allowed in patterns.items() if _may_mean(allowed, named)]
    jobs = (_find(token, dialect, mapping, named) for token in asked)
    found: list[_Found] = []
    odd: list[Problem] = []
    for said in drive(jobs, gitlab.get, Get, workers=workers):
        if isinstance(said, Problem):
            odd.append(said)
        else:
            found.append(said)
    order = {alias: place for place, alias in enumerate(patterns)}
    found.sort(key=lambda one: order[one.listing.token])
    listings = [one.listing for one in found]
    failures = {one.token: one.failure for one in listings if one.failure}
    if asked and len(failures) == len(listings):
        raise unavailable(failures, gitlab.http.base_url)
    merged = merge(listings, patterns, drop_pending=dialect == "gitlab-v2")
    return replace(
        merged,
        listed={token: merged.listed.get(token, {}) for token in patterns},
        problems=(*odd, *listing_failures(listings)),
        restricted=is_restricted(dialect, mapping),
        unlisted=_unlisted(found, patterns, merged),
    )


def _may_mean(patterns: Patterns, named: Named) -> bool:
    """Say whether a token is for any of it; a path that an event tells may be the old one of a renamed group."""
    paths = (*named.projects.values(), *named.groups.values())
    return named.above or not all(paths) or any(patterns.allows(path) for path in paths)


def _unlisted(found: Iterable[_Found], patterns: Mapping[str, Patterns], merged: Inventory) -> tuple[Listed, ...]:
    known = {place.scope.id for place in merged.projects()}
    seen: dict[int, list[tuple[str, Row]]] = {}
    for one in found:
        for row in one.unlisted:
            if row["id"] not in known and patterns[one.listing.token].allows(path_of(row)):
                seen.setdefault(row["id"], []).append((one.listing.token, row))
    return tuple(listed_of(rows, is_group=False) for _, rows in sorted(seen.items()))


def _find(token: str, dialect: Dialect, mapping: PortMapping, named: Named) -> Job:
    groups: dict[Active, list[Row]] = {active: [] for active in named.actives[0] | {None}}
    projects: dict[Active, list[Row]] = {active: [] for active in named.actives[1] | {None}}
    unlisted: list[Row] = []
    failure: ReadFailed | None = None

    def find_project(number: int, active: Active) -> Job:
        params = (*listing_params(dialect, mapping, "projects", active), *_bounds(number))
        yield from read_list(token, "/projects", params, partial(take, projects[active], "path_with_namespace"))

    def find_group(path: str, active: Active) -> Job:
        rows: list[Row] = []
        search = ("search", path.rpartition("/")[2])
        params = (*listing_params(dialect, mapping, "groups", active), search)
        yield from read_list(token, "/groups", params, partial(take, rows, "full_path"))
        groups[active] += (row for row in rows if path_of(row) == path)

    try:
        yield All(tuple(find_project(number, active) for active in projects for number in named.projects))
        if is_restricted(dialect, mapping):
            for number in named.projects.keys() - {row["id"] for row in projects[None]}:
                row = yield from one_row(Scope(number, "", token=token), f"/projects/{number}")
                unlisted += [row] if row else []
        paths = yield from _paths(token, named)
        if named.above or unlisted:
            below = (*map(path_of, (*projects[None], *unlisted)), *paths)
            paths = dict.fromkeys((*paths, *(above for path in below for above in _above(path))))
        yield All(tuple(find_group(path, active) for active in groups for path in paths))
        # A late event tells the old path of a group that was renamed since.
        if told := dict.fromkeys(named.groups.keys() - {row["id"] for row in groups[None]}, ""):
            found = yield from _paths(token, replace(named, groups=told))
            more = tuple(path for path in found if path not in paths)
            yield All(tuple(find_group(path, active) for active in groups for path in more))
    except ReadFailed as caught:
        failure = caught
    by_id = {active: tuple({row["id"]: row for row in rows}.values()) for active, rows in groups.items()}
    listing = Listing(token, by_id, {active: tuple(rows) for active, rows in projects.items()}, failure)
    yield _Found(listing, tuple(unlisted))


def _paths(token: str, named: Named) -> Job:
    """Return the paths of the groups that are named: only by a name does GitLab's list find them."""
    found: dict[str, None] = {}
    for number, told in named.groups.items():
        scope = Scope(number, told, is_group=True, token=token)
        row = None if told else (yield from one_row(scope, f"/groups/{number}", (("with_projects", "false"),)))
        if path := told or path_of(row or {}):
            found[path] = None
    return found


def _bounds(number: int) -> tuple[tuple[str, str], ...]:
    """Return the query that leaves one id between its bounds: https://docs.gitlab.com/api/projects/#list-all-projects"""
    after = (("id_after", str(number - 1)),) if number > 1 else ()
    return (*after, ("id_before", str(number + 1)))


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
