"""Kind `issue`: issues (also incidents, test cases and tasks), read per topmost group."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.cover import Covered, cover
from gitlab_port_export.gitlab.kinds.kind import About, Context, Kind, Read, Wanted, by, each_once, feature_off
from gitlab_port_export.gitlab.kinds.merge_request import wanted_list
from gitlab_port_export.model import Resource, Selector


class IssueSelector(Selector):
    """Which issues."""

    state: Literal["opened", "closed"] | None = Field(default=None, description="only this state; default both")
    issue_type: Literal["issue", "incident", "test_case", "task"] | None = Field(default=None, description="only these")
    labels: str | None = Field(default=None, description="comma-separated labels that an issue must all have")
    non_archived: bool = Field(default=True, description="leave out issues of archived projects")
    updated_after: float | None = Field(default=None, description="days: only issues updated since then")
    include_only_active_groups: bool | None = Field(default=None, description="as for the kind `group`")


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per topmost group (or lone project) and wish."""
    yield from each_once(_wanted(by(resources, lambda selector: _wish(selector, context)), context))


def _wanted(wants: Mapping[tuple[bool | None, bool, Params], tuple[int, ...]], context: Context) -> Iterator[Wanted]:
    for (active, non_archived, wish), indexes in wants.items():
        for covered in cover(context.inventory, active):
            if covered.place.scope.is_group:
                params: Params = (*wish, ("non_archived", str(non_archived).lower()))
                yield wanted_list("issue", "issues", "#", covered, indexes, params)
            elif not _nothing_there(covered, non_archived=non_archived):
                yield wanted_list("issue", "issues", "#", covered, indexes, wish)


def _wish(selector: Any, context: Context) -> tuple[bool | None, bool, Params]:
    found: Params = (("scope", "all"), ("order_by", "created_at"), ("sort", "asc"))
    named = (("state", selector.state), ("issue_type", selector.issue_type), ("labels", selector.labels))
    found += tuple((name, value) for name, value in named if value is not None)
    if selector.updated_after:
        found += (("updated_after", context.days_ago(selector.updated_after)),)
    return selector.include_only_active_groups, selector.non_archived, found


def _nothing_there(covered: Covered, *, non_archived: bool) -> bool:
    row = covered.place.row
    return (non_archived and bool(row.get("archived"))) or feature_off(row, "issues")


KIND = Kind(
    "issue",
    IssueSelector,
    reads,
    active_groups=lambda selector: selector.include_only_active_groups,
    about=About(
        "Issues, also incidents, test cases and tasks.",
        ("GET /groups/:id/issues", "GET /projects/:id/issues"),
        role=15,
        hides="confidential issues",
    ),
)
