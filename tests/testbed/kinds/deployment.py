"""What the safety suites know of deployments."""

import re

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.world import Row, World
from testbed.company import MANY, change_rows, first_of, of_project, titled
from testbed.kinds.environment import deploying
from testbed.oracle_eyes import Eyes, Found, moment
from testbed.subject import Churn, FailingList, Subject


def _add(world: World, _: Row, project: Row, number: int = 0) -> Row:
    found = world.environments[project["id"]] or [lists.add_environment(world, project, "production")]
    return lists.add_deployment(world, project, found[0])


def _rows(selector: Row, eye: Eyes) -> Found:
    given = selector.get("apiQueryParams") or {}
    query = {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name): value for name, value in given.items()}
    for project in deploying(selector, eye):
        for row in eye.world.deployments.get(project["id"], []):
            times = {"updated": row["updated_at"], "finished": eye.world.finished[row["id"]]}
            if (
                query.get("status") in (None, row["status"])
                and query.get("environment") in (None, row["environment"]["name"])
                and all(time >= moment(query.get(f"{name}_after"), "") for name, time in times.items() if time)
                and all(time <= moment(query.get(f"{name}_before"), "9") for name, time in times.items() if time)
            ):
                yield project["id"], row | {"__project": project}


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, _: _add(world, project, project),
    lists=(
        FailingList(
            "deployment", "deployment", of_project("deployments"),
            lambda c: [_add(c.world, c.alpha, c.one) for _ in range(MANY)],
            change_rows("deployments", "ref", lambda world, project, _: _add(world, project, project)), titled(".ref"),
            in_group=False, alike=True, dialects=("gitlab",),
        ),
    ),
    churn=Churn("/deployments$", _add, first_of("deployments")),
    rows=_rows,
    denied={"environments_access_level": "disabled"},
)  # fmt: skip
