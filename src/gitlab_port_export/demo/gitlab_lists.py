"""The stand-in GitLab's endpoints for branches, tags, releases, environments, deployments and milestones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from gitlab_port_export.demo.gitlab_call import (
    Call,
    Keep,
    equal,
    feature,
    forbid_unless,
    kept,
    ordered,
    period,
    role,
    searched,
    sees_code,
    wanted_group,
    wanted_project,
)
from gitlab_port_export.demo.gitlab_list_rows import branch_row
from gitlab_port_export.demo.gitlab_pages import Listing, RefusedError
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import REPORTER

DEPLOYMENT_STATES = ("created", "running", "success", "failed", "canceled", "skipped", "blocked")
CODE_OF_RELEASE = ("tag_name", "commit", "commit_path", "tag_path", "evidences")


# Branches and tags


def _readable(call: Call) -> Row:
    project = wanted_project(call)
    forbid_unless(sees_code(call, project))
    return project


def _branches_of(call: Call) -> list[Row]:
    project = _readable(call)
    rows = call.world.branches.get(project["id"], [])
    if not rows and project["default_branch"] and not project["empty_repo"]:
        return [branch_row(project, project["default_branch"])]
    return sorted(rows, key=lambda row: str(row["name"]))


def _branches(call: Call) -> Listing:
    rows = _branches_of(call)
    found = kept(rows, _named(call), _matching(call))
    return Listing(
        found, keyset="page_token", whole=len(rows), filtered=bool(call.text("search") or call.text("regex"))
    )


def _named(call: Call) -> Iterator[Keep]:
    """The condition of `search`: text in the name, at its beginning (^text) or at its end (text$)."""
    words = call.text("search")
    plain = words.removeprefix("^").removesuffix("$")
    if words.startswith("^"):
        yield lambda row: bool(row["name"].startswith(plain))
    if words.endswith("$"):
        yield lambda row: bool(row["name"].endswith(plain))
    if plain:
        yield lambda row: plain.casefold() in row["name"].casefold()


def _matching(call: Call) -> Iterator[Keep]:
    if pattern := call.text("regex"):
        try:
            found = re.compile(pattern).search
        except re.error as error:
            raise RefusedError(400, {"error": f"regex is an invalid regular expression: {error}"}) from error
        yield lambda row: found(row["name"]) is not None


def _one_branch(call: Call) -> Row:
    found = next((row for row in _branches_of(call) if row["name"] == call.ids["name"]), None)
    if found is None:
        raise RefusedError(404, {"message": "404 Branch Not Found"})
    return found


def _tags(call: Call) -> Listing:
    rows = call.world.tags.get(_readable(call)["id"], [])
    found = ordered(call, kept(rows, _named(call)), ("name", "updated", "version"), "name", "asc")
    return Listing(found, keyset="page_token", whole=len(rows), filtered=bool(call.text("search")))


# Releases


def _releases(call: Call) -> Listing:
    project = wanted_project(call)
    forbid_unless(feature(call, project, "releases"))
    rows = ordered(
        call, call.world.releases.get(project["id"], []), ("released_at", "created_at"), "released_at", "desc"
    )
    return Listing(rows) if sees_code(call, project) else Listing(rows, present=_without_code)


def _without_code(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in CODE_OF_RELEASE}


# Environments and deployments


def _deploying(call: Call) -> Row:
    project = wanted_project(call)
    on = all(feature(call, project, name) for name in ("repository", "builds", "environments"))
    forbid_unless(on and role(call, project) >= REPORTER)
    return project


def _environments(call: Call) -> Listing:
    rows = call.world.environments.get(_deploying(call)["id"], [])
    state = call.choice("states", ("available", "stopping", "stopped"))
    return Listing(kept(rows, [lambda row: state in ("", row["state"])], equal(call, "name"), searched(call, "name")))


def _deployments(call: Call) -> Listing:
    project = _deploying(call)
    order = call.text("order_by") or "id"
    _check_window(call, order)
    call.choice("status", DEPLOYMENT_STATES)
    finished = call.world.finished
    rows = [row | {"finished_at": finished.get(row["id"])} for row in call.world.deployments.get(project["id"], [])]
    environment = call.text("environment")
    rows = kept(
        rows,
        equal(call, "status"),
        [lambda row: environment in ("", row["environment"]["name"])],
        *(period(call, "updated"), period(call, "finished")),
    )
    orders = ("id", "iid", "created_at", "updated_at", "finished_at", "ref")
    return Listing(ordered(call, rows, orders, "id", "asc"), present=_as_deployment)


def _as_deployment(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "finished_at"}


def _check_window(call: Call, order: str) -> None:
    """Refuse a window that is not also the order, and one of finished deployments that may not have succeeded."""
    windows = {
        name: any(call.text(f"{name}_{side}") for side in ("after", "before")) for name in ("updated", "finished")
    }
    for name, given in windows.items():
        if given != (order == f"{name}_at"):
            raise _bad(f"`{name}_at` filter and `{name}_at` sorting must be paired")
    if all(windows.values()):
        raise _bad("Both `updated_at` filter and `finished_at` filter can not be specified")
    if windows["finished"] and call.text("status") != "success":
        raise _bad("`finished_at` filter must be combined with `success` status filter.")


def _bad(why: str) -> RefusedError:
    return RefusedError(400, {"message": f"400 Bad request - {why}"})


# Milestones


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


# Pattern, family and answer of each, as the table of paths has them.
LISTS: tuple[tuple[str, str, Callable[[Call], Listing | Row]], ...] = (
    ("/projects/:id/repository/branches", "branches", _branches),
    ("/projects/:id/repository/branches/:name", "branches", _one_branch),
    ("/projects/:id/repository/tags", "tags", _tags),
    ("/projects/:id/releases", "releases", _releases),
    ("/projects/:id/environments", "environments", _environments),
    ("/projects/:id/deployments", "deployments", _deployments),
    ("/projects/:id/milestones", "milestones", _project_milestones),
    ("/groups/:id/milestones", "milestones", _group_milestones),
)
