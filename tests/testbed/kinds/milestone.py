"""What the safety suites know of milestones."""

from gitlab_port_export.demo.gitlab_kinds.milestone import add_milestone
from testbed.company import MANY, change_rows, first_of, of_group, titled
from testbed.kinds.label import in_scopes
from testbed.subject import Churn, FailingList, Subject

SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, _: add_milestone(world, project, "Now"),
    lists=(
        FailingList(
            "milestone", "milestone", of_group("milestones"),
            lambda c: [add_milestone(c.world, c.alpha, f"milestone {n}") for n in range(MANY)],
            change_rows("group_milestones", "title", add_milestone, "alpha"), titled(".title"),
            alike=True, dialects=("gitlab-v2",),
        ),
    ),
    churn=Churn(
        "/projects/1/milestones$", lambda world, _, project, number: add_milestone(world, project, f"m{number}"),
        first_of("milestones"),
    ),
    rows=in_scopes("group_milestones", "milestones"),
    denied={"issues_access_level": "disabled", "merge_requests_access_level": "disabled"},
)  # fmt: skip
