"""GitLab CI: parts of the log that fold, and links for the job's page.

Variables for later jobs and links are report formats: report/dotenv.py and report/annotations.py.
"""

import os
import re
from collections.abc import Iterator
from urllib.parse import quote

from gitlab_port_export.base.text import clean
from gitlab_port_export.report.ci.system import CiSystem, Environ, Links, Sign


def _fold(title: str, moment: int) -> tuple[str, str]:
    """Return the lines of a section: https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections."""
    name = re.sub(r"[^a-z0-9_.-]+", "_", title.lower(), flags=re.ASCII)[:50]
    return (
        f"\x1b[0Ksection_start:{moment}:{name}[collapsed=true]\r\x1b[0K{clean(title)}",
        f"\x1b[0Ksection_end:{moment}:{name}\r\x1b[0K",
    )


def links(environ: Environ, port_url: str, page: str = "") -> Links:
    """Return (label, address) of the HTML report among the job's artifacts, and of the data sources in Port."""
    return tuple(_links(environ, port_url, page))


def _links(environ: Environ, port_url: str, page: str) -> Iterator[tuple[str, str]]:
    job, folder = environ.get("CI_JOB_URL", ""), environ.get("CI_PROJECT_DIR", "")
    if page and job and folder:
        inside = os.path.relpath(page, folder)
        # GitLab keeps artifacts from the project's folder only.
        if not inside.startswith(".."):
            yield "Report of this run", f"{job}/artifacts/file/{quote(inside)}"
    # Port's application has an address beside its API: api.getport.io and app.getport.io, also in the US.
    if found := re.fullmatch(r"https://api\.(.+)", port_url):
        yield "Data sources in Port", f"https://app.{found[1]}/settings/data-sources"


SYSTEM = CiSystem(
    name="gitlab",
    title="GitLab CI",
    sign=Sign("GITLAB_CI", "true"),
    debug=Sign("CI_DEBUG_TRACE", "true"),
    fold=_fold,
    links=links,
)
