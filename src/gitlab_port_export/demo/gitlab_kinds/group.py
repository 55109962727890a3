"""The groups of the stand-in GitLab."""

from __future__ import annotations

from collections.abc import Iterable

from gitlab_port_export.demo import gitlab_rows as shapes
from gitlab_port_export.demo.gitlab_call import (
    Call,
    Keep,
    equal,
    kept,
    least_level,
    ordered,
    searched,
    sees_group,
    sees_project,
    wanted_group,
    when_active,
    when_archived,
)
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def _groups(call: Call) -> Listing:
    rows = call.world.groups.values()
    top = (row for row in rows if not row["parent_id"]) if call.flag("top_level_only") else rows
    return Listing(_chosen_groups(call, top), limited="Group")


def _one_group(call: Call) -> Row:
    group = wanted_group(call)
    row = group | shapes.GROUP_DETAILS | {"shared_with_groups": call.world.group_shares.get(group["id"], [])}
    if call.flag("with_projects", True):
        below = call.world.projects_in.get(row["id"], [])[:100]
        visible = [call.world.projects[id] for id in below if sees_project(call, call.world.projects[id])]
        row |= {"projects": visible, "shared_projects": []}
    return row


def _descendants(call: Call) -> Listing:
    root = wanted_group(call)
    return Listing(_chosen_groups(call, (row for row in call.world.family(root) if row is not root)))


def _subgroups(call: Call) -> Listing:
    children = call.world.subgroups.get(wanted_group(call)["id"], [])
    return Listing(_chosen_groups(call, (call.world.groups[id] for id in children)))


def _chosen_groups(call: Call, pool: Iterable[Row]) -> list[Row]:
    rows = kept(pool, [_reachable_group(call)], when_active(call), when_archived(call), equal(call, "visibility"))
    found = kept(rows, searched(call, "name", "path"))
    return ordered(call, found, ("name", "path", "id", "similarity"), "name", "asc")


def _reachable_group(call: Call) -> Keep:
    """Own and minimum level beat `all_available`, and those an administrator without membership has not."""
    levels = call.access.groups
    least = least_level(call)
    if least:
        return lambda row: levels.get(row["id"], 0) >= least
    if call.flag("all_available", call.access.admin):
        return lambda row: sees_group(call, row)
    return lambda row: row["id"] in levels


ROUTES = (
    Route("/groups", "groups", _groups),
    Route("/groups/:id", "groups", _one_group),
    Route("/groups/:id/descendant_groups", "groups", _descendants),
    Route("/groups/:id/subgroups", "groups", _subgroups),
)
