"""The milestones of groups and projects: their rows and what the stand-in GitLab answers."""

from __future__ import annotations

from typing import Any

from gitlab_port_export.demo.gitlab_call import (
    Call,
    feature,
    forbid_unless,
    kept,
    only,
    period,
    searched,
    wanted_group,
    wanted_project,
)
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_store import World


def add_milestone(world: World, source: Row, title: str, state: str = "active", **overrides: Any) -> Row:
    """Add a milestone to a group or project (`source`); `state` is active or closed."""
    of_group = "full_path" in source
    created_at = stamp(world.ago(days=30))
    iid = world._iid("group milestone" if of_group else "milestone", source)
    row = {
        "id": world.new_id("milestone"),
        "iid": iid,
        "group_id" if of_group else "project_id": source["id"],
        "title": title,
        "description": "",
        "state": state,
        "created_at": created_at,
        "updated_at": created_at,
        "due_date": None,
        "start_date": None,
        "expired": False,
        "web_url": f"{source['web_url']}/-/milestones/{iid}",
    }
    lists = world.group_milestones if of_group else world.milestones
    lists[source["id"]].append(row | overrides)
    return lists[source["id"]][-1]


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
    found = kept(
        rows,
        [lambda row: state in ("all", row["state"])],
        *(searched(call, "title", "description"), period(call, "updated")),
    )
    return Listing(sorted(found, key=lambda row: (row["due_date"] or "9", row["id"])))


def _one_of_project(call: Call) -> Row:
    return only(call.world.milestones.get(wanted_project(call)["id"], ()), "id", call)


def _one_of_group(call: Call) -> Row:
    return only(call.world.group_milestones.get(wanted_group(call)["id"], ()), "id", call)


ROUTES = (
    Route("/projects/:id/milestones/:number", "milestones", _one_of_project),
    Route("/groups/:id/milestones/:number", "milestones", _one_of_group),
    Route("/projects/:id/milestones", "milestones", _project_milestones),
    Route("/groups/:id/milestones", "milestones", _group_milestones),
)
