"""What the safety suites know of issues."""

from gitlab_port_export.demo.world import Row, World
from testbed.company import MANY, Company, change_rows, close, of_group, titled
from testbed.oracle_eyes import Eyes, Found, active_groups, days_ago, yes
from testbed.subject import Churn, FailingList, Subject


def _leave(world: World, _: Row, project: Row) -> None:
    close(world.issues[project["id"]][0])


def _confidential(c: Company) -> None:
    """Below Planner, GitLab leaves out confidential issues of others."""
    for rows in c.world.issues.values():
        for row in rows:
            row |= {"confidential": True, "author": c.people[0]}


def _rows(selector: Row, eye: Eyes) -> Found:
    wanted = {} if eye.v1 else selector
    days = float(wanted.get("updatedAfter") or 0)
    since = days_ago(days) if days else ""
    labels = {label for label in (wanted.get("labels") or "").split(",") if label}
    for project in eye.below_groups(active_groups(wanted)):
        for row in () if project["archived"] and yes(wanted.get("nonArchived", True)) else eye.issues(project):
            if (
                wanted.get("state") in (None, row["state"])
                and wanted.get("issueType") in (None, row["issue_type"])
                and labels <= set(row["labels"])
                and row["updated_at"] >= since
            ):
                yield project["id"], row


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, user: world.add_issue(project, "Issue", author=user),
    lists=(
        FailingList(
            "issue", "issue", of_group("issues"),
            lambda c: [c.world.add_issue(c.one, f"Issue {n}") for n in range(MANY)],
            change_rows("issues", "title", World.add_issue), titled(".title"), other="merge-request",
        ),
    ),
    churn=Churn(
        "/issues$", lambda world, _, project, number: world.add_issue(project, f"i{number}"), _leave,
        {"selector": {"state": "opened"}},
    ),
    rows=_rows,
    denied={"issues_access_level": "disabled"},
    hidden=_confidential,
)  # fmt: skip
