"""Kind `merge-request`: merge requests by state, read per topmost group."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since, by, by_each
from gitlab_port_export.gitlab.kinds.shared.group_lists import GroupQuery, changed_reads, group_reads, reads_again
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Row

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
    """Yield one read per topmost group (or lone project) and state; of what changed one for all states."""
    wants = by_each(resources, lambda selector: _queries(selector, context))
    yield from group_reads("merge-request", "merge_requests", "!", wants, context)
    if context.changes:
        of_changed = by(resources, lambda selector: _query(selector, context))
        yield from changed_reads("merge-request", "merge_requests", "!", of_changed, context, context.changes)


def _queries(selector: Any, context: Context) -> Iterator[GroupQuery]:
    for state, days in _windows(selector, context):
        params: Params = (("scope", "all"), ("state", state), ("order_by", "created_at"), ("sort", "asc"))
        if days is not None:
            params += (("updated_after", context.days_ago(days)),)
        # Ocean's lists leave out archived projects, as GitLab does for groups by default.
        yield GroupQuery(selector.include_only_active_groups, non_archived=True, params=params)


def _windows(selector: Any, context: Context) -> Iterator[tuple[str, float | None]]:
    if context.dialect == "gitlab" and "states" not in selector.model_fields_set:
        days = selector.updated_after if "updated_after" in selector.model_fields_set else OLD_WINDOW_DAYS
        yield "opened", None
        yield from ((state, days) for state in ("closed", "locked", "merged"))
        return
    for state in selector.states:
        yield state, None if state == "opened" else selector.updated_after
    # While GitLab merges one it is locked, and neither open nor merged. If that fails it is open again.
    if context.doubtful and not {"opened", "merged"}.isdisjoint(selector.states):
        yield "locked", None


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    """Yield one read of all states, of whose rows each selector keeps those of its states and times."""
    wants = by(resources, lambda selector: _query(selector, context))
    return reads_again("merge-request", "merge_requests", wants, context, touched)


@dataclass(frozen=True)
class _Windows:
    """States, each with the instant from which on a merge request has to be updated."""

    since: tuple[tuple[str, str | None], ...]

    def __call__(self, row: Row) -> bool:
        return any(
            row["state"] == state and (since is None or _instant(row["updated_at"]) >= _instant(since))
            for state, since in self.since
        )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _query(selector: Any, context: Context) -> tuple[GroupQuery, _Windows]:
    since = [(state, None if days is None else context.days_ago(days)) for state, days in _windows(selector, context)]
    every = GroupQuery(selector.include_only_active_groups, True, (("scope", "all"), ("state", "all")))
    return every, _Windows(tuple(since))


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
        requests=Requests(top_group=1),
    ),
    again=Again(("merge-request",), _again),
    since=Since(
        "updated",
        (("id",), ("web_url",), ("references.full",), ("project_id", "iid")),
        unseen="whether it can be merged, new names of labels, milestones and people; perhaps pushes, approvals, votes",
    ),
)
