"""What the safety suites know of labels."""

from collections.abc import Callable

from gitlab_port_export.demo.world import Row, World
from testbed.company import MANY, change_rows, first_of, of_group, titled
from testbed.oracle_eyes import Eyes, Found, active_groups, active_projects, with_path
from testbed.subject import Churn, FailingList, Subject


def in_scopes(of_groups: str, of_projects: str) -> Callable[[Row, Eyes], Found]:
    def found(selector: Row, eye: Eyes) -> Found:
        scopes, state = selector.get("scopes", ["group", "project"]), selector.get("state")
        for group in eye.groups(active_groups(selector)) if "group" in scopes else []:
            for row in getattr(eye.world, of_groups).get(group["id"], []):
                if state in (None, row.get("state")):
                    yield group["id"], row | {"__group": {"full_path": group["full_path"]}}
        for project in eye.projects(active_projects(selector)) if "project" in scopes else []:
            on = eye.feature(project, "issues") or eye.feature(project, "merge_requests")
            for row in getattr(eye.world, of_projects).get(project["id"], []) if on else []:
                if state in (None, row.get("state")):
                    yield project["id"], row | with_path(project)

    return found


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, _: world.add_label(project, "odd"),
    lists=(
        FailingList(
            "label", "label", of_group("labels"),
            lambda c: [c.world.add_label(c.alpha, f"label {n}") for n in range(MANY)],
            change_rows("group_labels", "color", World.add_label, "alpha"), titled(".color"), dialects=("gitlab",),
        ),
    ),
    churn=Churn(
        "/projects/1/labels$", lambda world, _, project, number: world.add_label(project, f"l{number}"),
        first_of("project_labels"),
    ),
    rows=in_scopes("group_labels", "project_labels"),
    denied={"issues_access_level": "disabled", "merge_requests_access_level": "disabled"},
    silent=True,
)  # fmt: skip
