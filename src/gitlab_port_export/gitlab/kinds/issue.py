"""Kind `issue`: issues (also incidents, test cases and tasks), read per topmost group."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from gitlab_port_export.gitlab.changes import is_since
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since, by
from gitlab_port_export.gitlab.kinds.shared.group_lists import GroupQuery, changed_reads, group_reads, reads_again
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
    if context.changes:
        of_changed = by(resources, _of_changed(context))
        yield from changed_reads("issue", "issues", "#", of_changed, context, context.changes)


def _query(selector: Any, context: Context) -> GroupQuery:
    found: Params = (("scope", "all"), ("order_by", "created_at"), ("sort", "asc"))
    named = (("state", selector.state), ("issue_type", selector.issue_type), ("labels", selector.labels))
    found += tuple((name, value) for name, value in named if value is not None)
    if selector.updated_after:
        found += (("updated_after", context.days_ago(selector.updated_after)),)
    return GroupQuery(selector.include_only_active_groups, selector.non_archived, found)


@dataclass(frozen=True)
class _Keeps:
    """The fields of a row that may change, as a selector wants them; None wants any. `since` is an instant."""

    state: str | None
    issue_type: str | None
    since: str | None

    def __call__(self, row: Row) -> bool:
        if self.since and not is_since(row.get("updated_at"), datetime.fromisoformat(self.since)):
            return False
        return self.state in (None, row.get("state")) and self.issue_type in (None, row.get("issue_type"))


def _of_changed(context: Context) -> Callable[[Any], tuple[GroupQuery, _Keeps]]:
    """Return the query of changed issues, and what a selector keeps of them. Only GitLab knows what its labels mean."""

    def query(selector: Any) -> tuple[GroupQuery, _Keeps]:
        params: Params = (("scope", "all"), *((("labels", selector.labels),) if selector.labels is not None else ()))
        since = context.days_ago(selector.updated_after) if selector.updated_after else None
        every = GroupQuery(selector.include_only_active_groups, selector.non_archived, params)
        return every, _Keeps(selector.state, selector.issue_type, since)

    return query


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
    since=Since(
        "updated",
        (("id",), ("web_url",), ("references.full",), ("project_id", "iid")),
        unseen="new names of labels, milestones and people",
    ),
)
