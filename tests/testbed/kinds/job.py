"""What the safety suites know of jobs."""

from gitlab_port_export.demo.world import Row
from testbed.company import MANY, Company, of_project, titled
from testbed.kinds.pipeline import a_pipeline, first_pipeline, pipelines_of, private_jobs
from testbed.oracle_eyes import Eyes, Found, active_projects
from testbed.subject import Churn, FailingList, Subject


def _change(c: Company) -> None:
    jobs = c.world.jobs[c.one["id"]]
    del jobs[40]
    jobs[30] |= {"stage": "something else"}
    c.world.add_job(c.world.pipelines[c.one["id"]][-1], "new", stage="test")


def _fill(c: Company) -> None:
    for start in range(0, MANY, 60):
        pipeline = c.world.add_pipeline(c.one)
        for n in range(start, start + 60):
            c.world.add_job(pipeline, f"job {n}", stage="test")


def _rows(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(active_projects(selector)):
        jobs = eye.world.jobs.get(project["id"], []) if eye.builds(project) else []
        if not eye.v1:
            wanted = {row["id"] for row in pipelines_of(eye, project, selector.get("pipelineQueryParams") or {})}
            jobs = [j for j in jobs if j["pipeline"]["id"] in wanted and j["id"] not in eye.world.retried_jobs]
        yield from ((project["id"], row) for row in jobs)


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, user: world.add_job(world.add_pipeline(project), "build", user=user),
    lists=(
        FailingList(
            "job", "job", of_project("jobs"), _fill, _change, titled(".stage"), in_group=False, counted=False
        ),
        FailingList(
            "job-pipelines", "job", of_project("pipelines"),
            lambda c: [c.world.add_job(c.world.add_pipeline(c.one), f"job {n}") for n in range(MANY)],
            _change, titled(".stage"), in_group=False, dialects=("gitlab-v2",),
        ),
    ),
    churn=Churn("/pipelines$", a_pipeline, first_pipeline),
    rows=_rows,
    denied={"builds_access_level": "disabled"},
    hidden=private_jobs,
)  # fmt: skip
