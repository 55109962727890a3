"""The projects of the stand-in GitLab, and their languages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitlab_port_export.demo import gitlab_rows as shapes
from gitlab_port_export.demo.gitlab_call import (
    Call,
    Keep,
    equal,
    feature,
    forbid_unless,
    kept,
    least_level,
    ordered,
    period,
    searched,
    sees_project,
    wanted_group,
    wanted_project,
    when_active,
    when_archived,
)
from gitlab_port_export.demo.gitlab_pages import Listing, RefusedError
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def _projects(call: Call) -> Listing:
    return _chosen_projects(call, call.world.projects.values(), keyset=True)


def _group_projects(call: Call) -> Listing:
    group = wanted_group(call)
    below = call.flag("include_subgroups", False)
    ids = call.world.projects_in.get(group["id"], [])
    own = call.world.projects_below(group) if below else (call.world.projects[id] for id in ids)
    shared = _shared_with(call, group) if call.flag("with_shared", True) else ()
    return _chosen_projects(call, [*own, *shared], keyset=False)


def _shared_with(call: Call, group: Row) -> Iterator[Row]:
    for project in call.world.projects.values():
        if any(share["group_id"] == group["id"] for share in project["shared_with_groups"]):
            yield project


def _chosen_projects(call: Call, pool: Iterable[Row], keyset: bool) -> Listing:
    order = call.text("order_by") or "created_at"
    if keyset and call.params.get("pagination") == "keyset" and order != "id":
        raise RefusedError(405, {"error": "Keyset pagination is not yet available for this type of request"})
    rows = kept(
        pool,
        [_reachable_project(call)],
        *(when_active(call), when_archived(call), equal(call, "visibility")),
        *(_active_since(call), _topical(call)),
        period(call, "updated") if order == "updated_at" else (),
        searched(call, "name", "path"),
    )
    orders = (
        "id",
        "name",
        "path",
        "created_at",
        "updated_at",
        "last_activity_at",
        "star_count",
        "similarity",
    )
    by_id = keyset and order == "id"
    return Listing(
        ordered(call, rows, orders, "created_at", "desc"),
        keyset="id" if by_id else "",
        limited="Project" if keyset else "",
        present=_simple if call.flag("simple") else lambda row: with_permissions(call, row),
    )


def _active_since(call: Call) -> Iterator[Keep]:
    """The conditions of `last_activity_after` and `last_activity_before`, which are strict."""
    if after := call.moment("last_activity_after"):
        yield lambda row: row["last_activity_at"] > after
    if before := call.moment("last_activity_before"):
        yield lambda row: row["last_activity_at"] < before


def _topical(call: Call) -> Iterator[Keep]:
    if topics := [topic for topic in call.text("topic").split(",") if topic]:
        yield lambda row: set(topics) <= set(row["topics"])


def _reachable_project(call: Call) -> Keep:
    levels = call.access.projects
    least = least_level(call)
    if least:
        return lambda row: levels.get(row["id"], 0) >= least
    if call.flag("membership"):
        return lambda row: row["id"] in levels
    return lambda row: sees_project(call, row)


def _simple(row: Row) -> Row:
    return {key: row[key] for key in shapes.SIMPLE_PROJECT_KEYS}


def with_permissions(call: Call, row: Row) -> Row:
    """A project's row with the roles of the token's user."""

    def grant(level: int | None) -> Row | None:
        return {"access_level": level, "notification_level": 3} if level else None

    direct = call.access.direct_projects.get(row["id"])
    inherited = call.access.groups.get(row["namespace"]["id"])
    return row | {"permissions": {"project_access": grant(direct), "group_access": grant(inherited)}}


def _one_project(call: Call) -> Row:
    return with_permissions(call, wanted_project(call)) | shapes.PROJECT_DETAILS


def _languages(call: Call) -> Row:
    project = wanted_project(call)
    forbid_unless(feature(call, project, "repository"))
    return dict(call.world.languages.get(project["id"], {}))


ROUTES = (
    Route("/groups/:id/projects", "projects", _group_projects),
    Route("/projects", "projects", _projects),
    Route("/projects/:id", "projects", _one_project),
    Route("/projects/:id/languages", "languages", _languages),
)
