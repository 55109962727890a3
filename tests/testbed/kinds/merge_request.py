"""What the safety suites know of merge requests."""

from gitlab_port_export.demo.world import Row, World
from testbed.company import MANY, change_rows, close, of_group, titled
from testbed.oracle_eyes import V1_DAYS, Eyes, Found, active_groups, days_ago
from testbed.subject import Churn, FailingList, Subject


def _leave(world: World, _: Row, project: Row) -> None:
    close(world.merge_requests[project["id"]][0])


def _rows(selector: Row, eye: Eyes) -> Found:
    if eye.v1:
        states, since = {"opened", "closed", "locked", "merged"}, days_ago(V1_DAYS)
    else:
        states, since = set(selector.get("states", ["opened"])), days_ago(float(selector.get("updatedAfter", 90)))
    for project in eye.below_groups(None if eye.v1 else active_groups(selector)):
        for row in () if project["archived"] else eye.merge_requests(project):
            if row["state"] in states and (row["state"] == "opened" or row["updated_at"] >= since):
                yield project["id"], row


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, user: world.add_merge_request(project, "Change", author=user),
    lists=(
        FailingList(
            "merge-request", "merge-request", of_group("merge_requests"),
            lambda c: [c.world.add_merge_request(c.one, f"Change {n}") for n in range(MANY)],
            change_rows("merge_requests", "title", World.add_merge_request), titled(".title"),
        ),
    ),
    churn=Churn(
        "/merge_requests$", lambda world, _, project, number: world.add_merge_request(project, f"m{number}"), _leave
    ),
    rows=_rows,
    denied={"merge_requests_access_level": "disabled"},
)  # fmt: skip
