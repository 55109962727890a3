"""Azure Pipelines: groups, issues, masks and the summary's tab as lines; a run that only passes is marked as such.

https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands
"""

import os
from collections.abc import Iterator
from pathlib import Path

from gitlab_port_export.base.text import clean
from gitlab_port_export.report.ci.annotation import annotations
from gitlab_port_export.report.ci.system import CiSystem, Environ, RunFacts, Sign
from gitlab_port_export.report.exit_code import is_let_pass

MAX_SUMMARY = 1_048_576


def _data(text: str) -> str:
    # Agents decode %0D and %0A; %AZP25 is their way to write %.
    return text.replace("%", "%AZP25").replace("\r", "%0D").replace("\n", "%0A")


def _fold(title: str, _: int) -> tuple[str, str]:
    return f"##[group]{clean(title)}", "##[endgroup]"


def _mask(secret: str) -> str:
    # Agents read commands on standard error too:
    # https://github.com/microsoft/azure-pipelines-agent/blob/00d1a335b64c53a309de33af0eaab3232c48dfd1/src/Agent.Worker/Handlers/NodeHandler.cs
    return f"##vso[task.setsecret]{_data(secret)}"


def _lines(facts: RunFacts) -> Iterator[str]:
    for one in annotations(facts.report):
        yield f"##vso[task.logissue type={one.level}]{_data(f'{one.title}: {one.text}')}"
    if facts.summary:
        yield f"##vso[task.uploadsummary]{_data(clean(os.path.abspath(facts.summary)))}"
    if is_let_pass(facts.report):
        yield "##vso[task.complete result=SucceededWithIssues;]"


def _summary(environ: Environ) -> tuple[Path, int] | None:
    folder = environ.get("AGENT_TEMPDIRECTORY")
    return (Path(folder) / "gitlab-port-export.md", MAX_SUMMARY) if folder else None


SYSTEM = CiSystem(
    name="azure",
    title="Azure Pipelines",
    sign=Sign("TF_BUILD", "true"),
    debug=Sign("SYSTEM_DEBUG", "true"),
    fold=_fold,
    mask=_mask,
    lines=_lines,
    summary=_summary,
)
