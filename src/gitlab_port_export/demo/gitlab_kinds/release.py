"""The releases of projects."""

from __future__ import annotations

from gitlab_port_export.demo.gitlab_call import Call, feature, forbid_unless, only, ordered, sees_code, wanted_project
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row

CODE_OF_RELEASE = ("tag_name", "commit", "commit_path", "tag_path", "evidences")


def _releases(call: Call) -> Listing:
    project = wanted_project(call)
    forbid_unless(feature(call, project, "releases"))
    rows = ordered(
        call, call.world.releases.get(project["id"], []), ("released_at", "created_at"), "released_at", "desc"
    )
    return Listing(rows) if sees_code(call, project) else Listing(rows, present=_without_code)


def _without_code(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in CODE_OF_RELEASE}


def _one_release(call: Call) -> Row:
    project = wanted_project(call)
    forbid_unless(feature(call, project, "releases") and sees_code(call, project))
    return only(call.world.releases.get(project["id"], ()), "tag_name", call)


ROUTES = (
    Route("/projects/:id/releases", "releases", _releases),
    Route("/projects/:id/releases/:number", "releases", _one_release),
)
