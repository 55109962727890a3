"""Links for the page of a job: an `annotations` report of GitLab CI.

https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations
"""

import json

from gitlab_port_export.base.text import clean
from gitlab_port_export.report.values import Report


def render(report: Report) -> str:
    """Return the report's links as JSON with a newline at its end."""
    links = [{"external_link": {"label": clean(label), "url": url}} for label, url in report.links]
    return json.dumps({"gitlab-port-export": links}, indent=2) + "\n"
