"""Kind `issue`: issues (also incidents, test cases and tasks), read per topmost group."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, by
from gitlab_port_export.gitlab.kinds.shared.group_lists import GroupQuery, group_reads, reads_again
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Row


class IssueSelector(Selector):
    """Which issues."""

    state: Literal["opened", "closed"] | None = Field(default=None, description="only this state; default both")
    issue_type: Literal["issue", "incident", "test_case", "task"] | None = Field(default=None, description="only these")
    labels: str | None = Field(default=None, description="comma-separated labels that an issue must all have")
    non_archived: bool = Field(default=True, description="leave out issues of archived projects")
    updated_after: float | None = Field(default=None, description="days: only issues updated since then")
    include_only_active_groups: bool | None = Field(default=None, description="as for the kind `group`")


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per topmost group (or lone project) and query."""
    wants = by(resources, lambda selector: _query(selector, context))
    yield from group_reads("issue", "issues", "#", wants, context)


def _query(selector: Any, context: Context) -> GroupQuery:
    found: Params = (("scope", "all"), ("order_by", "created_at"), ("sort", "asc"))
    named = (("state", selector.state), ("issue_type", selector.issue_type), ("labels", selector.labels))
    found += tuple((name, value) for name, value in named if value is not None)
    if selector.updated_after:
        found += (("updated_after", context.days_ago(selector.updated_after)),)
    return GroupQuery(selector.include_only_active_groups, selector.non_archived, found)


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    wants = by(resources, lambda selector: (_query(selector, context), _any))
    return reads_again("issue", "issues", wants, context, touched)


def _any(_: Row) -> bool:
    """GitLab's filters decide."""
    return True


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
        requests=Requests(top_group=1),
    ),
    again=Again(("issue",), _again),
)
