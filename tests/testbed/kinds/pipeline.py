"""What the safety suites know of pipelines."""

from gitlab_port_export.demo.world import Row, World
from testbed.company import MANY, Company, change_rows, of_project, titled
from testbed.oracle_eyes import V1_DAYS, Eyes, Found, active_projects, days_ago, moment
from testbed.subject import Churn, FailingList, Subject


def private_jobs(c: Company) -> None:
    """Only who may read the code sees pipelines and jobs that are not public."""
    for project in c.world.projects.values():
        project["public_jobs"] = False


def a_pipeline(world: World, _: Row, project: Row, number: int) -> object:
    """Add a pipeline with a job."""
    return world.add_job(world.add_pipeline(project), f"job {number}")


def first_pipeline(world: World, _: Row, project: Row) -> None:
    """Take the first pipeline away, and its jobs."""
    gone = world.pipelines[project["id"]].pop(0)
    world.jobs[project["id"]][:] = [row for row in world.jobs[project["id"]] if row["pipeline"]["id"] != gone["id"]]


def _rows(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(active_projects(selector)):
        path = {"path_with_namespace": project["path_with_namespace"]}
        for row in pipelines_of(eye, project, selector.get("apiQueryParams") or {}):
            yield project["id"], row | {"__project": project if eye.v1 else path}


def pipelines_of(eye: Eyes, project: Row, params: Row) -> list[Row]:
    """The pipelines that GitLab lists; those of a parent only when asked for."""
    if not eye.builds(project):
        return []
    params = {"created_after": days_ago(V1_DAYS)} if eye.v1 else {k: v for k, v in params.items() if v is not None}
    rows = eye.world.pipelines.get(project["id"], [])
    found = [row for row in rows if (params.get("source") == "parent_pipeline") == (row["source"] == "parent_pipeline")]
    for name in ("status", "source", "ref", "sha", "name"):
        found = [row for row in found if params.get(name) in (None, row[name])]
    for name in ("created", "updated"):
        found = [row for row in found if row[f"{name}_at"] >= moment(params.get(f"{name}_after"), "")]
        found = [row for row in found if row[f"{name}_at"] <= moment(params.get(f"{name}_before"), "9")]
    if username := params.get("username"):
        found = [row for row in found if (details_of(eye, row).get("user") or {}).get("username") == username]
    match params.get("scope"):
        case "running" | "pending" as status:
            found = [row for row in found if row["status"] == status]
        case "finished":
            found = [row for row in found if row["status"] in ("success", "failed", "canceled", "skipped")]
        case "branches" | "tags" as scope:
            found = [row for row in found if bool(details_of(eye, row).get("tag")) == (scope == "tags")]
            newest = {row["ref"]: row["id"] for row in sorted(found, key=lambda row: row["id"])}
            found = [row for row in found if newest[row["ref"]] == row["id"]]
    return found


def details_of(eye: Eyes, pipeline: Row) -> Row:
    return eye.world.pipeline_details.get(pipeline["id"], {})


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, user: world.add_pipeline(project, "success", user),
    lists=(
        FailingList(
            "pipeline", "pipeline", of_project("pipelines"),
            lambda c: [c.world.add_pipeline(c.one) for n in range(MANY)],
            change_rows("pipelines", "ref", lambda world, project, _: world.add_pipeline(project)), titled(".ref"),
            in_group=False,
        ),
    ),
    churn=Churn("/pipelines$", a_pipeline, first_pipeline),
    rows=_rows,
    denied={"builds_access_level": "disabled"},
    hidden=private_jobs,
)  # fmt: skip
