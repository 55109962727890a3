"""Azure Pipelines: groups, issues, masks, the summary's tab, and a run that only passes marked as such."""

from collections.abc import Iterator

from gitlab_port_export.base.text import clean
from gitlab_port_export.report.ci.system import CiSystem, annotations
from gitlab_port_export.report.exit_code import is_let_pass
from gitlab_port_export.report.values import Report


def _data(text: str) -> str:
    # Agents decode %0D and %0A; %AZP25 is their way to write %.
    return text.replace("%", "%AZP25").replace("\r", "%0D").replace("\n", "%0A")


def _tell(report: Report, summary: str) -> Iterator[str]:
    for one in annotations(report):
        yield f"##vso[task.logissue type={one.level}]{_data(f'{one.title}: {one.text}')}"
    if summary:
        yield f"##vso[task.uploadsummary]{_data(clean(summary))}"
    if is_let_pass(report):
        yield "##vso[task.complete result=SucceededWithIssues;]"


SYSTEM = CiSystem(
    fold=lambda title, _: (f"##[group]{clean(title)}", "##[endgroup]"),
    tell=_tell,
    mask=lambda secret: f"##vso[task.setsecret]{_data(secret)}",
)
