"""The groups and projects that the listings leave out for a low role alone, although GitLab still shows them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from gitlab_port_export.base.parallel import All, Job, drive
from gitlab_port_export.gitlab.client import Get, GitLab, Params, ReadFailed, unavailable
from gitlab_port_export.gitlab.inventory import (
    Active,
    Inventory,
    Listing,
    Patterns,
    fits,
    listing_params,
    merge,
    path_of,
)
from gitlab_port_export.gitlab.lists import read_keyset, read_list
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.model import Dialect, Row

Rows = tuple[Row, ...]
# The lowest role that GitLab knows in groups and in projects.
ANY_ROLE = 10


def role_asked_for(dialect: Dialect, mapping: PortMapping) -> str:
    """Return in words which role a listing asks for, "" where it takes any."""
    if dialect == "gitlab":
        return "Owner (filterOwnedProjects)" if mapping.filter_owned_projects else ""
    visibility = mapping.visibility
    if not visibility.use_min_access_level or visibility.min_access_level <= ANY_ROLE:
        return ""
    return f"access level {visibility.min_access_level} (visibility.minAccessLevel)"


def read_weaker(
    gitlab: GitLab, patterns: Mapping[str, Patterns], dialect: Dialect, mapping: PortMapping, workers: int,
    known: Sequence[Inventory],
) -> Inventory:  # fmt: skip
    """List what the tokens have any role in and any of some inventories lacks. Raises GitLabUnavailable.

    The token's patterns and the selectors' `active` filters leave out what they leave out of an inventory: that is
    wanted. A lost role is not.
    """
    jobs = (_listing(token, dialect, mapping) for token in patterns)
    listings: list[Listing] = list(drive(jobs, gitlab.get, Get, workers=workers))
    if failures := {entry.token: entry.failure for entry in listings if entry.failure}:
        raise unavailable(failures, gitlab.http.base_url)
    order = {alias: place for place, alias in enumerate(patterns)}
    listings.sort(key=lambda entry: order[entry.token])
    groups = set[int].intersection(*({place.scope.id for place in one.all_groups()} for one in known))
    projects = set[int].intersection(*({place.scope.id for place in one.projects()} for one in known))
    return replace(merge([
        Listing(entry.token, _filtered(entry.groups[None], groups, known[0].groups_by),
                _filtered(entry.projects[None], projects, known[0].projects_by))
        for entry in listings
    ], patterns, drop_pending=dialect == "gitlab-v2"), problems=())  # fmt: skip


def _filtered(
    rows: tuple[Row, ...], known: set[int], actives: Mapping[Active, object]
) -> dict[Active, tuple[Row, ...]]:
    left = [row for row in rows if row["id"] not in known]
    return {active: tuple(row for row in left if fits(row, active, {})) for active in {None, *actives}}


def _listing(token: str, dialect: Dialect, mapping: PortMapping) -> Job:
    found: dict[str, list[Row]] = {"groups": [], "projects": []}
    failure: ReadFailed | None = None
    try:
        yield All(tuple(_rows(token, kind, _params(dialect, mapping, kind), rows) for kind, rows in found.items()))
    except ReadFailed as caught:
        failure = caught
    yield Listing(token, {None: tuple(found["groups"])}, {None: tuple(found["projects"])}, failure)


def _rows(token: str, kind: str, params: Params, rows: list[Row]) -> Job:
    def handle(page: list[Row]) -> None:
        rows.extend(row for row in page if type(row.get("id")) is int and path_of(row))

    if kind == "projects":
        # A page with any projects names a next one.
        yield from read_keyset(token, "/projects", params, handle, always=True)
    else:
        yield from read_list(token, "/groups", params, handle)


def _params(dialect: Dialect, mapping: PortMapping, kind: str) -> Params:
    return tuple(_lowered(listing_params(dialect, mapping, kind, None)))


def _lowered(params: Params) -> Iterator[tuple[str, str]]:
    for name, value in params:
        if name not in ("owned", "min_access_level"):
            yield name, value
    yield "min_access_level", str(ANY_ROLE)
