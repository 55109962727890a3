"""The milestones of groups and projects."""

from __future__ import annotations

from gitlab_port_export.demo.gitlab_call import (
    Call,
    feature,
    forbid_unless,
    kept,
    searched,
    wanted_group,
    wanted_project,
)
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def _project_milestones(call: Call) -> Listing:
    project = wanted_project(call)
    forbid_unless(feature(call, project, "issues") or feature(call, project, "merge_requests"))
    above = call.world.ancestors(project["namespace"]["id"]) if call.flag("include_ancestors", False) else ()
    rows = [row for group in above for row in call.world.group_milestones.get(group["id"], [])]
    return _milestones(call, [*call.world.milestones.get(project["id"], []), *rows])


def _group_milestones(call: Call) -> Listing:
    group = wanted_group(call)
    places = [*call.world.ancestors(group["id"])] if call.flag("include_ancestors", False) else [group]
    if call.flag("include_descendants", False):
        places += [row for row in call.world.family(group) if row is not group]
    return _milestones(call, [row for place in places for row in call.world.group_milestones.get(place["id"], [])])


def _milestones(call: Call, rows: list[Row]) -> Listing:
    state = call.choice("state", ("active", "closed", "all"), "all")
    found = kept(rows, [lambda row: state in ("all", row["state"])], searched(call, "title", "description"))
    return Listing(sorted(found, key=lambda row: (row["due_date"] or "9", row["id"])))


ROUTES = (
    Route("/projects/:id/milestones", "milestones", _project_milestones),
    Route("/groups/:id/milestones", "milestones", _group_milestones),
)
