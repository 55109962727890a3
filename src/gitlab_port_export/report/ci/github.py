"""GitHub Actions: masks, groups and annotations as lines, outputs and the step's summary as files."""

from collections.abc import Iterator

from gitlab_port_export.base.text import clean
from gitlab_port_export.report.ci.system import CiSystem, annotations, outputs
from gitlab_port_export.report.values import Report

# A step's summary that is larger is dropped as a whole.
MAX_SUMMARY = 1_048_576


def output_lines(report: Report, file: str = "") -> str:
    """Return the lines for the file that GITHUB_OUTPUT names; `file` is the report for machines."""
    return "".join(f"{name}={value}\n" for name, value in outputs(report, file).items())


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _tell(report: Report, _: str) -> Iterator[str]:
    for one in annotations(report):
        yield f"::{one.level} title={_property(one.title)}::{_data(one.text)}"


SYSTEM = CiSystem(
    fold=lambda title, _: (f"::group::{_data(clean(title))}", "::endgroup::"),
    tell=_tell,
    mask=lambda secret: f"::add-mask::{_data(secret)}",
)
