"""The jobs of projects and of their pipelines."""

from __future__ import annotations

from collections.abc import Iterator

from gitlab_port_export.demo.gitlab_call import Call, Keep, kept, only
from gitlab_port_export.demo.gitlab_kinds.pipeline import STATUSES, building
from gitlab_port_export.demo.gitlab_pages import Listing, RefusedError
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def _pipeline_jobs(call: Call) -> Listing:
    project = building(call)
    pipeline = only(call.world.pipelines.get(project["id"], ()), "id", call)
    retried = call.world.retried_jobs
    again = call.flag("include_retried", False)
    rows = kept(
        call.world.jobs.get(project["id"], ()),
        [lambda row: row["pipeline"]["id"] == pipeline["id"], lambda row: again or row["id"] not in retried],
        _job_scope(call),
    )
    return Listing(rows[::-1])


def project_jobs(call: Call) -> Listing:
    """The jobs of a project, newest first."""
    project = building(call)
    rows = kept(call.world.jobs.get(project["id"], ()), _job_scope(call))
    return Listing(rows[::-1], keyset="cursor", counted=False)


def _job_scope(call: Call) -> Iterator[Keep]:
    value = call.params.get("scope")
    if value:
        scopes = [value] if isinstance(value, str) else value
        if not set(scopes) <= set(STATUSES):
            raise RefusedError(400, {"error": "scope does not have a valid value"})
        yield lambda row: row["status"] in scopes


def _one_job(call: Call) -> Row:
    return only(call.world.jobs.get(building(call)["id"], ()), "id", call)


ROUTES = (
    Route("/projects/:id/pipelines/:number/jobs", "jobs", _pipeline_jobs),
    Route("/projects/:id/jobs", "jobs", project_jobs),
    Route("/projects/:id/jobs/:number", "jobs", _one_job),
)
