"""The pipelines of projects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitlab_port_export.demo import gitlab_work_rows as work_rows
from gitlab_port_export.demo.gitlab_call import (
    Call,
    Keep,
    equal,
    forbid_unless,
    kept,
    only,
    ordered,
    period,
    sees_pipelines,
    wanted_project,
)
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row

STATUSES = (
    *("created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending", "running"),
    *("success", "failed", "canceling", "canceled", "skipped", "manual", "scheduled"),
)


SOURCES = (
    *("push", "web", "trigger", "schedule", "api", "external", "pipeline", "chat", "webide"),
    *("merge_request_event", "external_pull_request_event", "parent_pipeline", "ondemand_dast_scan"),
    *("ondemand_dast_validation", "security_orchestration_policy", "container_registry_push"),
)


def building(call: Call) -> Row:
    """The project that the path names; RefusedError where its pipelines may not be read."""
    project = wanted_project(call)
    forbid_unless(sees_pipelines(call, project))
    return project


def pipelines(call: Call) -> Listing:
    """The pipelines of a project."""
    project = building(call)
    call.choice("status", STATUSES)
    source = call.choice("source", SOURCES)
    rows = kept(
        call.world.pipelines.get(project["id"], ()),
        [lambda row: source == "parent_pipeline" or row["source"] != "parent_pipeline"],
        *(equal(call, "status", "source", "ref", "sha", "name"), period(call, "created", "updated")),
        *(_pipeline_scope(call), _run_by(call)),
    )
    found = ordered(call, rows, ("id", "status", "ref", "updated_at", "user_id"), "id", "desc")
    return Listing(_latest_per_ref(found) if call.text("scope") in ("branches", "tags") else found)


def _pipeline_scope(call: Call) -> Iterator[Keep]:
    details = call.world.pipeline_details
    match call.choice("scope", ("running", "pending", "finished", "branches", "tags")):
        case "running" | "pending" as status:
            yield lambda row: bool(row["status"] == status)
        case "finished":
            yield lambda row: row["status"] in work_rows.FINISHED
        case "branches":
            yield lambda row: not details.get(row["id"], {}).get("tag")
        case "tags":
            yield lambda row: bool(details.get(row["id"], {}).get("tag"))


def _latest_per_ref(pipelines: Iterable[Row]) -> list[Row]:
    latest: dict[str, int] = {}
    rows = [*pipelines]
    for row in rows:
        latest[row["ref"]] = max(row["id"], latest.get(row["ref"], 0))
    return [row for row in rows if latest[row["ref"]] == row["id"]]


def _run_by(call: Call) -> Iterator[Keep]:
    details = call.world.pipeline_details
    if username := call.text("username"):
        yield lambda row: bool((details.get(row["id"], {}).get("user") or {}).get("username") == username)


def _one_pipeline(call: Call) -> Row:
    pipeline = only(call.world.pipelines.get(building(call)["id"], ()), "id", call)
    stored = call.world.pipeline_details.get(pipeline["id"])
    return pipeline | (stored or work_rows.pipeline_details(pipeline, None))


ROUTES = (
    Route("/projects/:id/pipelines", "pipelines", pipelines),
    Route("/projects/:id/pipelines/:number", "pipelines", _one_pipeline),
)
