"""What the safety suites know of projects."""

from gitlab_port_export.demo.world import Row, World
from testbed.company import MANY, a_project, change_projects, first_project, of_project, old_project, steps, titled
from testbed.oracle_eyes import Eyes, Found, active_projects, languages_of, yes
from testbed.subject import Churn, FailingList, Subject


def _labels(world: World, project: Row) -> list[Row]:
    inherited = [
        label | {"priority": None, "is_project_label": False}
        for group in world.ancestors(project["namespace"]["id"])
        for label in world.group_labels.get(group["id"], [])
    ]
    own = world.project_labels.get(project["id"], [])
    return sorted([*own, *inherited], key=lambda label: (label["name"], label["id"]))


def _rows(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(active_projects(selector)):
        row = dict(project)
        if eye.v1 or yes(selector.get("includeLanguages", False)):
            row["__languages"] = languages_of(eye, project)
        if eye.v1 and yes(selector.get("includeLabels", False)):
            row["__labels"] = _labels(eye.world, project)
        yield project["id"], row


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, _: world.set_languages(project, Go=60.0, Shell=40.0),
    lists=(
        FailingList(
            "project-labels", "project", of_project("labels"),
            steps(old_project, lambda c: [c.world.add_label(c.one, f"label {n}") for n in range(MANY)]),
            change_projects, {"selector": {"includeLabels": True}, **titled('.__labels | map(.name) | join(" ")')},
            in_group=False, dialects=("gitlab-v2",),
        ),
        FailingList(
            "project", "project", of_project("languages"), old_project, change_projects,
            {"selector": {"includeLanguages": True}, **titled('.__languages | keys | join(" ")')},
            later_path=of_project("languages", "two"), in_group=False, counted=False,
        ),
    ),
    churn=Churn("/projects$", a_project, first_project, page=None),
    rows=_rows,
    denied=None,
)  # fmt: skip
