"""The registry of report formats: to add one, write its renderer beside this file and add a row to FORMATS.

Each row gives the option `--report-<name>` and the setting `OCEAN__EXPORT__REPORT_<NAME>`. `make docs` writes all rows
to docs/reports.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from gitlab_port_export.report.values import Report


@dataclass(frozen=True)
class Format:
    """One format in which the report of a run is written to a file.

    `module` has a function `render(report: Report) -> str`. `help` is the help text of the option, `example` a file
    name for messages, `content` and `purpose` are the columns "format" and "for" of the table in docs/reports.md.
    """

    name: str
    module: str
    help: str
    example: str
    content: str
    purpose: str

    @property
    def option(self) -> str:
        """The option that names the file."""
        return f"--report-{self.name}"

    @property
    def setting(self) -> str:
        """The name of the setting, from which its variable follows."""
        return f"report_{self.name.replace('-', '_')}"

    def render(self, report: Report) -> str:
        """Return the text of the file. The renderer is imported here, because most runs need only one or none."""
        text: str = import_module(f"gitlab_port_export.report.{self.module}").render(report)
        return text


# By name, in the order in which `--help` shows the options.
FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format(
            name="markdown",
            module="markdown",
            help="Write the report as markdown: a job summary, a comment.",
            example="report.md",
            content="markdown, at most 60,000 bytes",
            purpose="a job summary, a comment on a merge request",
        ),
        Format(
            name="junit",
            module="junit",
            help="Write the report as JUnit XML, which CI systems show as tests.",
            example="report.xml",
            content="JUnit XML",
            purpose="the test views of Jenkins, GitLab and Azure Pipelines",
        ),
        Format(
            name="json",
            module="json",
            help="Write the report as JSON.",
            example="report.json",
            content="JSON, the same document as `--output json`",
            purpose="programs",
        ),
        Format(
            name="metrics",
            module="openmetrics",
            help="Write the counts as OpenMetrics text.",
            example="metrics.txt",
            content="OpenMetrics text",
            purpose="GitLab's `metrics` report, node_exporter's textfile collector",
        ),
        Format(
            name="html",
            module="html",
            help="Write the report as one page for a browser.",
            example="report.html",
            content="one HTML page below 5 MB that loads nothing else",
            purpose="people, as an artifact of the job",
        ),
        Format(
            name="dotenv",
            module="dotenv",
            help="Write the counts as variables for later jobs of GitLab CI.",
            example="sync.env",
            content="NAME=value lines",
            purpose="later jobs of GitLab CI, as its `dotenv` report",
        ),
        Format(
            name="annotations",
            module="annotations",
            help="Write links for the page of a job of GitLab CI.",
            example="links.json",
            content="links as JSON",
            purpose="the job's page in GitLab CI, as its `annotations` report",
        ),
    )
}
