"""GitHub Actions: masks, groups and annotations as lines, outputs and the step's summary as files.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from collections.abc import Iterator

from gitlab_port_export.base.text import clean
from gitlab_port_export.report.ci.annotation import annotations
from gitlab_port_export.report.ci.step_outputs import step_outputs
from gitlab_port_export.report.ci.system import CiSystem, RunFacts, Sign

# GitHub drops a larger summary of a step as a whole.
MAX_SUMMARY = 1_048_576


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _fold(title: str, _: int) -> tuple[str, str]:
    return f"::group::{_data(clean(title))}", "::endgroup::"


def _mask(secret: str) -> str:
    # GitHub reads commands on standard error too:
    # https://github.com/actions/runner/blob/002caa1e370110de8988ba6a6f5a8bd0bff19416/src/Runner.Worker/Handlers/ScriptHandler.cs
    return f"::add-mask::{_data(secret)}"


def _lines(facts: RunFacts) -> Iterator[str]:
    for one in annotations(facts.report):
        yield f"::{one.level} title={_property(one.title)}::{_data(one.text)}"


def output_lines(facts: RunFacts, _: int = 0) -> str:
    """Return the outputs of the step, one NAME=value line each."""
    outputs = step_outputs(facts.report, str(facts.machine or ""))
    return "".join(f"{name}={value}\n" for name, value in outputs.items())


SYSTEM = CiSystem(
    name="github",
    title="GitHub Actions",
    sign=Sign("GITHUB_ACTIONS", "true"),
    debug=Sign("RUNNER_DEBUG", "1"),
    fold=_fold,
    mask=_mask,
    lines=_lines,
    appended={
        "GITHUB_OUTPUT": output_lines,
        "GITHUB_STEP_SUMMARY": lambda facts, taken: facts.markdown(MAX_SUMMARY - taken),
    },
)
