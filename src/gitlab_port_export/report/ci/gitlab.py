"""GitLab CI: sections that fold in the job's log, variables for later jobs, and links on the job's page."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from gitlab_port_export.base.text import clean
from gitlab_port_export.report.ci.system import CiSystem, outputs
from gitlab_port_export.report.values import Report

PREFIX = "PORT_EXPORT_"


def dotenv(report: Report, file: str = "") -> str:
    """Return the report of type dotenv: NAME=value lines, without quotes, comments and empty values."""
    named = {PREFIX + name.upper().replace("-", "_"): value for name, value in outputs(report, file).items()}
    return "".join(f"{name}={value}\n" for name, value in named.items() if value)


def annotations(report: Report) -> str:
    """Return the report of type annotations: links for the job's page, as JSON."""
    found = [{"external_link": {"label": clean(label), "url": url}} for label, url in report.links]
    return json.dumps({"gitlab-port-export": found}, indent=2) + "\n"


def links(environ: Mapping[str, str], port_url: str, page: str = "") -> tuple[tuple[str, str], ...]:
    """Return (label, address) of what a reader of the job may want to open.

    `port_url` is the address of Port's API, `page` the HTML report, where one is written.
    """
    return tuple(_links(environ, port_url, page))


def _links(environ: Mapping[str, str], port_url: str, page: str) -> Iterator[tuple[str, str]]:
    job, folder = environ.get("CI_JOB_URL", ""), environ.get("CI_PROJECT_DIR", "")
    if page and job and folder:
        inside = os.path.relpath(page, folder)
        # Artifacts are kept from the project's folder only.
        if not inside.startswith(".."):
            yield "Report of this run", f"{job}/artifacts/file/{quote(inside)}"
    # Port's application stands beside its API: api.getport.io and app.getport.io, also in the US.
    if found := re.fullmatch(r"https://api\.(.+)", port_url):
        yield "Data sources in Port", f"https://app.{found[1]}/settings/data-sources"


def _fold(title: str, moment: int) -> tuple[str, str]:
    name = re.sub(r"[^a-z0-9_.-]+", "_", title.lower(), flags=re.ASCII)[:50]
    return (
        f"\x1b[0Ksection_start:{moment}:{name}[collapsed=true]\r\x1b[0K{clean(title)}",
        f"\x1b[0Ksection_end:{moment}:{name}\r\x1b[0K",
    )


SYSTEM = CiSystem(fold=_fold)
