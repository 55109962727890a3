"""CiSystem: the form in which one file of this folder says everything about one CI system."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitlab_port_export.report.values import Report

Environ = Mapping[str, str]
# (label, address) of pages about the run.
Links = tuple[tuple[str, str], ...]
# Return the report as markdown in at most so many bytes.
Markdown = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Sign:
    """A variable that the system sets in a job; `value` is in lower case, None stands for any that is not empty."""

    name: str
    value: str | None = None

    def is_set(self, environ: Environ) -> bool:
        """Return whether the variable has that value."""
        found = environ.get(self.name, "").lower()
        return bool(found) and self.value in (None, found)


@dataclass(frozen=True)
class RunFacts:
    """What a CI system may show of a run.

    `summary` is the file that holds the report as markdown already, `machine` the one that holds it as JSON.
    """

    report: Report
    markdown: Markdown
    summary: Path | None = None
    machine: Path | None = None


@dataclass(frozen=True)
class CiSystem:
    """Everything that this program knows of one CI system; what a system does not have stays at its default."""

    # A choice of --ci.
    name: str
    # Its own name, as docs/ci.md gives it.
    title: str
    # How a job in it is recognized.
    sign: Sign
    # What the system sets where somebody runs a job again with more logging.
    debug: Sign | None = None
    # Takes a title and the seconds since 1970. Returns the lines before and after a part of the log that is folded.
    fold: Callable[[str, int], tuple[str, str]] | None = None
    # Returns the line that hides a secret in the logs of this and all later steps. It is written on standard error,
    # so give one only for a system that reads commands there.
    mask: Callable[[str], str] | None = None
    # Returns the lines for the log that show problems and held deletions (annotations), the summary and the result.
    lines: Callable[[RunFacts], Iterable[str]] | None = None
    # By the variable that names a file of the job: returns what is appended to it, given the bytes that it holds.
    appended: Mapping[str, Callable[[RunFacts, int], str]] | None = None
    # Returns the file for the summary where no markdown report was asked for, and how many bytes it may have.
    summary: Callable[[Environ], tuple[Path, int] | None] | None = None
    # Takes the environment, the address of Port's API and the file of the HTML report ("" for none).
    links: Callable[[Environ, str, str], Links] | None = None
