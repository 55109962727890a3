"""Kind `merge-request`: merge requests by state, read per topmost group."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.cover import Covered, cover, project_path
from gitlab_port_export.gitlab.kinds.kind import About, Context, Kind, Read, Wanted, each_once, feature_off, place_read
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.model import Page, Resource, Row, Scope, Selector
from gitlab_port_export.parallel import Job

# Ocean's `gitlab` reads what was closed, locked or merged in the last 14 days.
OLD_WINDOW_DAYS = 14.0


class MergeRequestSelector(Selector):
    """Which merge requests."""

    states: tuple[Literal["opened", "closed", "merged"], ...] = Field(
        default=("opened",), description="states to read; opened ones whatever their age"
    )
    updated_after: float = Field(
        default=90.0, description="days: of the states other than opened, only those updated since then"
    )
    include_only_active_groups: bool | None = Field(default=None, description="as for the kind `group`")


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per topmost group (or lone project) and state; resources that want the same share it."""
    wants: dict[tuple[bool | None, str, float | None], tuple[int, ...]] = {}
    for resource in resources:
        selector: Any = resource.selector
        for state, days in dict.fromkeys(_windows(selector, context)):
            key = (selector.include_only_active_groups, state, days)
            wants[key] = (*wants.get(key, ()), resource.index)
    yield from each_once(_wanted(wants, context))


def _wanted(
    wants: Mapping[tuple[bool | None, str, float | None], tuple[int, ...]], context: Context
) -> Iterator[Wanted]:
    for (active, state, days), indexes in wants.items():
        params: Params = (("scope", "all"), ("state", state), ("order_by", "created_at"), ("sort", "asc"))
        if days is not None:
            params += (("updated_after", context.days_ago(days)),)
        for covered in cover(context.inventory, active):
            if covered.place.scope.is_group:
                whole: Params = (*params, ("non_archived", "true"))
                yield wanted_list("merge-request", "merge_requests", "!", covered, indexes, whole)
            elif not _nothing_there(covered.place.row):
                yield wanted_list("merge-request", "merge_requests", "!", covered, indexes, params)


def _windows(selector: Any, context: Context) -> Iterator[tuple[str, float | None]]:
    if context.dialect == "gitlab" and "states" not in selector.model_fields_set:
        days = selector.updated_after if "updated_after" in selector.model_fields_set else OLD_WINDOW_DAYS
        yield "opened", None
        yield from ((state, days) for state in ("closed", "locked", "merged"))
        return
    for state in selector.states:
        yield state, None if state == "opened" else selector.updated_after


def _nothing_there(row: Row) -> bool:
    """Ocean's lists leave out archived projects, as GitLab does for groups by default; so a lone one is left out."""
    return bool(row.get("archived")) or feature_off(row, "merge_requests")


def wanted_list(
    kind: str, endpoint: str, mark: str, covered: Covered, resources: tuple[int, ...], params: Params
) -> Wanted:
    """Return the read of a list as wanted by these resources; the same rows of the same place are the same read."""
    key = (covered.place.scope.is_group, covered.place.scope.id, covered.place.tokens, covered.allows, params)
    return key, lambda every: list_read(kind, endpoint, mark, covered, every, params), resources


def list_read(
    kind: str, endpoint: str, mark: str, covered: Covered, resources: tuple[int, ...], params: Params
) -> Read:
    """Return the read of a list that exists for groups and projects alike."""
    allows = covered.allows

    def start(scope: Scope) -> Job:
        def shape(rows: list[Row]) -> Page | None:
            kept = rows if allows is None else [row for row in rows if allows(project_path(row, mark))]
            return Page(kind, resources, scope, kept) if kept else None

        owner = "groups" if scope.is_group else "projects"
        yield from read_list(scope.token, f"/{owner}/{scope.id}/{endpoint}", params, shape)

    return place_read(kind, covered.place, resources, start)


KIND = Kind(
    "merge-request",
    MergeRequestSelector,
    reads,
    active_groups=lambda selector: selector.include_only_active_groups,
    about=About(
        "Merge requests.",
        ("GET /groups/:id/merge_requests", "GET /projects/:id/merge_requests"),
        role=20,
        hides="merge requests of private projects",
    ),
)
