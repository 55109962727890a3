"""Where the report of a run goes besides the screen: to files and to the CI system."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gitlab_port_export.report import files, markdown
from gitlab_port_export.report.ci.output import CiOutput
from gitlab_port_export.report.exit_code import FailOn
from gitlab_port_export.report.values import Report


@dataclass(frozen=True)
class Reports:
    """The CI system, the report files by the name of their format, and the files that the run reads.

    No report may replace a file that the run reads: `inputs` holds them by what each is.
    """

    ci: CiOutput
    files: Mapping[str, Path] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)

    def check(self, others: Mapping[str, Path | None]) -> None:
        """Raise UsageError when a report file, or another file that a run writes, cannot be written.

        `others` are by the option that names them, without dashes; None where it is not given.
        """
        written = {name: path for name, path in others.items() if path}
        # A run both reads and writes its state.
        inputs = {what: path for what, path in self.inputs.items() if path != written.get("state")}
        files.check({**self.files, **written}, inputs)

    def publish(self, report: Report, port_url: str, fail_on: FailOn) -> Report:
        """Write the files and give the CI system the report; return it with a Problem for each file that failed."""
        report = replace(report, links=self.ci.links(port_url, self.files.get("html")))
        return self._shown(files.publish(report, self.files, fail_on))

    def publish_failure(self, report: Report) -> Report:
        """Do the same for a run that ended early, perhaps because a file cannot be written: that one is left out."""
        return self._shown(files.publish(report, files.fit(self.files, self.inputs)))

    def _shown(self, report: Report) -> Report:
        self.ci.show(
            report,
            lambda max_bytes: markdown.render(report, max_bytes),
            summary=self.files.get("markdown"),
            machine=self.files.get("json"),
        )
        return report
