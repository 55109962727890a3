"""The values of a run that later steps and jobs of a CI system can read."""

from gitlab_port_export.base.text import clean
from gitlab_port_export.report.values import Report, total


def step_outputs(report: Report, file: str = "") -> dict[str, str]:
    """Return name and value of each output; `file` is the file of the report as JSON, if one is written."""
    counts = total(report.blueprints.values())
    return {
        "created": str(counts.created),
        "updated": str(counts.updated),
        "deleted": str(counts.deleted),
        "failed": str(counts.failed),
        "held": str(counts.held),
        "problems": str(len(report.failures)),
        "exit-code": str(report.exit_code),
        **({"skipped": "true"} if report.skipped else {}),
        **({"mode": report.rhythm.mode} if report.rhythm else {}),
        **({"part": clean(report.part)} if report.part else {}),
        "report": clean(file),
    }
