"""Merge requests, of projects and of all that is below a group."""

from __future__ import annotations

from collections.abc import Iterable

from gitlab_port_export.demo.gitlab_call import (
    Call,
    Keep,
    forbid_unless,
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
    sees_merge_requests,
    wanted_project,
    written_by,
)
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def group_merge_requests(call: Call) -> Listing:
    """The merge requests of a group and all below it."""
    return _merge_requests(call, [row for row in projects_below(call) if sees_merge_requests(call, row)])


def project_merge_requests(call: Call) -> Listing:
    """The merge requests of a project."""
    return _merge_requests(call, [_mergeable(call)], numbered(call))


def _one_merge_request(call: Call) -> Row:
    return only(call.world.merge_requests.get(_mergeable(call)["id"], ()), "iid", call)


def _mergeable(call: Call) -> Row:
    project = wanted_project(call)
    forbid_unless(sees_merge_requests(call, project))
    return project


def _merge_requests(call: Call, projects: Iterable[Row], numbers: Iterable[Keep] = ()) -> Listing:
    rows = kept(
        (row for project in projects for row in call.world.merge_requests.get(project["id"], ())),
        in_state(call, ("opened", "closed", "locked", "merged", "all")),
        *(mine(call), labelled(call), written_by(call), period(call, "created", "updated", "merged")),
        numbers,
        searched(call, "title", "description"),
    )
    orders = ("created_at", "updated_at", "merged_at", "title", "label_priority", "priority", "popularity")
    return Listing(ordered(call, rows, (*orders, "milestone_due"), "created_at", "desc"))


ROUTES = (
    Route("/groups/:id/merge_requests", "merge_requests", group_merge_requests),
    Route("/projects/:id/merge_requests", "merge_requests", project_merge_requests),
    Route("/projects/:id/merge_requests/:number", "merge_requests", _one_merge_request),
)
