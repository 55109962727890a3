"""The deployments of projects."""

from __future__ import annotations

from gitlab_port_export.demo.gitlab_call import Call, equal, kept, only, ordered, period
from gitlab_port_export.demo.gitlab_kinds.environment import deploying
from gitlab_port_export.demo.gitlab_pages import Listing, RefusedError
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row

DEPLOYMENT_STATES = ("created", "running", "success", "failed", "canceled", "skipped", "blocked")


def _deployments(call: Call) -> Listing:
    project = deploying(call)
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


def _one_deployment(call: Call) -> Row:
    """One deployment, which shows more than in the list."""
    rows = call.world.deployments.get(deploying(call)["id"], ())
    return only(rows, "id", call) | {"approvals": [], "pending_approval_count": 0}


ROUTES = (
    Route("/projects/:id/deployments", "deployments", _deployments),
    Route("/projects/:id/deployments/:number", "deployments", _one_deployment),
)
