"""Kind `milestone`: milestones of groups (`__group`) and of projects (`__project`), each once: where it was made."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since, Vanished
from gitlab_port_export.gitlab.kinds.shared.again import picked
from gitlab_port_export.gitlab.kinds.shared.scoped_lists import (
    OWNER,
    ScopedSelector,
    no_issues_or_merge_requests,
    scoped_reads,
)
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Row, Scope


class MilestoneSelector(ScopedSelector):
    """Which milestones of which groups and projects."""

    state: Literal["active", "closed"] | None = Field(default=None, description="only this state; default both")


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per group and per project."""
    yield from scoped_reads("milestone", "milestones", resources, context, _params, no_issues_or_merge_requests)


def _params(selector: Any, of_group: bool) -> Params:
    found: Params = (("include_ancestors", "false"),)
    if of_group:
        found += (("include_descendants", "false"),)
    return (*found, ("state", selector.state)) if selector.state else found


def _row(touched: Touched, scope: Scope) -> Row:
    if scope.is_group:
        return {"id": touched.key, "__group": {"full_path": scope.path}}
    return {"id": touched.key, "__project": {"path_with_namespace": scope.path}}


VANISHED = Vanished("milestones/{}", "milestones", "id", _row)

KIND = Kind(
    "milestone",
    MilestoneSelector,
    reads,
    active_groups=lambda selector: selector.include_only_active_groups,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Milestones, each once: that of a group comes with the group and not again with its projects.",
        ("GET /groups/:id/milestones", "GET /projects/:id/milestones"),
        OWNER,
        requests=Requests(group=1, project=1),
    ),
    again=Again(("milestone",), picked(reads, lambda row, touched: row.get("id") == touched.key), vanished=VANISHED),
    since=Since("nothing", why="each group and project would have to be asked"),
)
