"""The line to the CI system that a run is part of: the one place that writes what only that system reads."""

import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TextIO

from gitlab_port_export.model import Report
from gitlab_port_export.report.ci import azure, github, gitlab
from gitlab_port_export.report.ci.surface import Surface, System, detect, wants_debug
from gitlab_port_export.settings import Ci
from gitlab_port_export.text import MIN_SECRET

Fold = Callable[[str], tuple[str, str]]

_SURFACES: dict[System, Surface] = {"github": github.SURFACE, "gitlab": gitlab.SURFACE, "azure": azure.SURFACE}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Channel:
    """A CI system, its variables, and the stream on which it takes commands; None where nobody would read them."""

    system: System
    environ: Mapping[str, str]
    stream: TextIO | None
    folds: bool = False

    def to(self, choice: Ci) -> Self:
        """Return the same channel, to the chosen system or to the one in which this runs."""
        return replace(self, system=detect(self.environ) if choice == "auto" else choice)

    @property
    def fold(self) -> Fold | None:
        """What gives the lines around a part of the result that folds; None where the result is read elsewhere."""
        surface = _SURFACES.get(self.system)
        if surface is None or not self.folds:
            return None
        moment = int(time.time())
        return lambda title: surface.fold(title, moment)

    @property
    def wants_debug(self) -> bool:
        """Whether the job was started with the system's own switch for more logging."""
        return wants_debug(self.system, self.environ)

    def links(self, port_url: str, page: Path | None) -> tuple[tuple[str, str], ...]:
        """Return (label, address) of pages about the run that the system can lead to; `page` is the HTML report."""
        return gitlab.links(self.environ, port_url, str(page or "")) if self.system == "gitlab" else ()

    def mask(self, secrets: Iterable[str]) -> None:
        """Have the system hide the secrets in the logs of all further steps; before anything else is written.

        Only where this certainly runs in that system and a program reads the stream: elsewhere the command would
        show what it is to hide.
        """
        surface = _SURFACES.get(self.system)
        is_there = detect(self.environ) == self.system and self.stream is not None and not self.stream.isatty()
        if surface and surface.mask and is_there:
            # Hiding a tiny text would blacken the log.
            self._write(surface.mask(secret) for secret in secrets if len(secret) >= MIN_SECRET)

    def tell(
        self,
        report: Report,
        markdown: Callable[[int], str],
        summary: Path | None = None,
        machine: Path | None = None,
    ) -> None:
        """Give the system what it shows of a run; a file that cannot be written is a line in the log.

        `markdown` makes a summary of at most so many bytes, `summary` is the file that holds one already, `machine`
        that of the report as JSON.
        """
        surface = _SURFACES.get(self.system)
        if surface is None:
            return
        if self.system == "github":
            self._append("GITHUB_OUTPUT", lambda _: github.output_lines(report, str(machine or "")))
            self._append("GITHUB_STEP_SUMMARY", lambda taken: markdown(github.MAX_SUMMARY - taken))
        if self.system == "azure" and (summary is None or not summary.is_file()):
            summary = self._summary(markdown)
        self._write(surface.tell(report, os.path.abspath(summary) if summary else ""))

    def _write(self, lines: Iterable[str]) -> None:
        if self.stream:
            for line in lines:
                self.stream.write(line + "\n")
            self.stream.flush()

    def _append(self, name: str, text: Callable[[int], str]) -> None:
        """Append to the file that a variable names; GitHub makes the file, a container may not see it."""
        path = Path(self.environ.get(name, "/"))
        if not path.is_file():
            _log.debug("%s names no file here", name)
            return
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text(path.stat().st_size))
        except OSError as error:
            _log.warning("the file that %s names cannot be written: %s", name, error.strerror)

    def _summary(self, markdown: Callable[[int], str]) -> Path | None:
        folder = Path(self.environ.get("AGENT_TEMPDIRECTORY") or "/dev/null")
        path = folder / "gitlab-port-export.md"
        with suppress(OSError):
            path.write_text(markdown(github.MAX_SUMMARY), encoding="utf-8")
            return path
        return None


def connect(choice: Ci, environ: Mapping[str, str], out: TextIO, err: TextIO, *, as_json: bool) -> Channel:
    """Return the channel of the chosen or detected system.

    Commands go where the result goes, and beside it where that is JSON or a file.
    """
    if not as_json and not _is_file(out):
        return Channel("none", environ, out, folds=True).to(choice)
    return Channel("none", environ, None if _is_file(err) else err).to(choice)


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False
