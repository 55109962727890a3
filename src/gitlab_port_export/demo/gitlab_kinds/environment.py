"""The environments of projects."""

from __future__ import annotations

from gitlab_port_export.demo.gitlab_access import REPORTER
from gitlab_port_export.demo.gitlab_call import (
    Call,
    equal,
    feature,
    forbid_unless,
    kept,
    only,
    role,
    searched,
    wanted_project,
)
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def deploying(call: Call) -> Row:
    """The project that the path names; RefusedError where its environments may not be read."""
    project = wanted_project(call)
    on = all(feature(call, project, name) for name in ("repository", "builds", "environments"))
    forbid_unless(on and role(call, project) >= REPORTER)
    return project


def environments(call: Call) -> Listing:
    """The environments of a project."""
    rows = call.world.environments.get(deploying(call)["id"], [])
    state = call.choice("states", ("available", "stopping", "stopped"))
    return Listing(kept(rows, [lambda row: state in ("", row["state"])], equal(call, "name"), searched(call, "name")))


def _one_environment(call: Call) -> Row:
    """One environment, which shows more than in the list."""
    return only(call.world.environments.get(deploying(call)["id"], ()), "id", call) | {"last_deployment": None}


ROUTES = (
    Route("/projects/:id/environments", "environments", environments),
    Route("/projects/:id/environments/:number", "environments", _one_environment),
)
