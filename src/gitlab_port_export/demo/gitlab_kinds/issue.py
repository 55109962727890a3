"""Issues, of projects and of all that is below a group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitlab_port_export.demo.gitlab_call import (
    Call,
    Keep,
    feature,
    in_state,
    kept,
    labelled,
    mine,
    numbered,
    only,
    ordered,
    period,
    projects_below,
    searched,
    sees_issue,
    wanted_project,
    written_by,
)
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def group_issues(call: Call) -> Listing:
    """The issues of a group and all below it."""
    return _issues(call, projects_below(call), "")


def project_issues(call: Call) -> Listing:
    """The issues of a project."""
    return _issues(call, [wanted_project(call)], "cursor")


def _one_issue(call: Call) -> Row:
    return only(_visible_issues(call, [wanted_project(call)]), "iid", call)


def _visible_issues(call: Call, projects: Iterable[Row]) -> Iterator[Row]:
    for project in projects:
        if feature(call, project, "issues"):
            issues = call.world.issues.get(project["id"], ())
            yield from (issue for issue in issues if sees_issue(call, project, issue))


def _issues(call: Call, projects: Iterable[Row], keyset: str) -> Listing:
    rows = kept(
        _visible_issues(call, projects),
        in_state(call, ("opened", "closed", "all")),
        *(mine(call), labelled(call), written_by(call), period(call, "created", "updated")),
        *(_typed(call), numbered(call)),
        searched(call, "title", "description"),
    )
    orders = ("created_at", "updated_at", "title", "id", "due_date", "weight", "relative_position")
    more = ("label_priority", "priority", "popularity", "milestone_due")
    by_id = call.text("order_by") == "id" and call.text("sort") != "asc"
    return Listing(ordered(call, rows, (*orders, *more), "created_at", "desc"), keyset=keyset if by_id else "")


def _typed(call: Call) -> Iterator[Keep]:
    if kind := call.choice("issue_type", ("issue", "incident", "test_case", "task")):
        yield lambda row: bool(row["issue_type"] == kind)


ROUTES = (
    Route("/groups/:id/issues", "issues", group_issues),
    Route("/projects/:id/issues", "issues", project_issues),
    Route("/projects/:id/issues/:number", "issues", _one_issue),
)
