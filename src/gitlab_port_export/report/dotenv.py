"""The counts as variables for later jobs: a `dotenv` report of GitLab CI.

https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv
"""

from gitlab_port_export.report.ci.step_outputs import step_outputs
from gitlab_port_export.report.values import Report

PREFIX = "PORT_EXPORT_"


def render(report: Report) -> str:
    """Return NAME=value lines, without quotes, comments and empty values, none of which GitLab reads."""
    named = {PREFIX + name.upper().replace("-", "_"): value for name, value in step_outputs(report).items()}
    return "".join(f"{name}={value}\n" for name, value in named.items() if value)
