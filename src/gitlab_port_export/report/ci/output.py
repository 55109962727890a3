"""The line to the CI system that a run is part of: the one place that writes what only that system reads."""

import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self, TextIO

from gitlab_port_export.base.text import MIN_SECRET
from gitlab_port_export.report.ci import azure, github, gitlab
from gitlab_port_export.report.ci.system import CiSystem, System, detect, wants_debug
from gitlab_port_export.report.values import Report
from gitlab_port_export.settings.settings import Ci

Fold = Callable[[str], tuple[str, str]]

_SURFACES: dict[System, CiSystem] = {"github": github.SYSTEM, "gitlab": gitlab.SYSTEM, "azure": azure.SYSTEM}
_SHELLS = ("bash", "sh", "dash", "ash", "zsh", "ksh", "busybox")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CiOutput:
    """A CI system, its variables, and the streams on which it takes commands and secrets to hide.

    A stream is None where the system does not read it.
    """

    system: System
    environ: Mapping[str, str]
    stream: TextIO | None
    folds: bool = False
    masks: TextIO | None = None

    def to(self, choice: Ci) -> Self:
        """Return the same output, to the chosen system or to the one in which this runs."""
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

        Only where this certainly runs in that system: elsewhere the command would show what it is to hide. On standard
        error, as `$(…)` and pipes take standard output from GitHub and Azure, which read both:
        https://github.com/actions/runner/blob/002caa1e370110de8988ba6a6f5a8bd0bff19416/src/Runner.Worker/Handlers/ScriptHandler.cs
        https://github.com/microsoft/azure-pipelines-agent/blob/00d1a335b64c53a309de33af0eaab3232c48dfd1/src/Agent.Worker/Handlers/NodeHandler.cs
        """
        surface = _SURFACES.get(self.system)
        if surface and surface.mask and self.masks and detect(self.environ) == self.system:
            # Hiding a tiny text would blacken the log.
            _write(self.masks, (surface.mask(secret) for secret in secrets if len(secret) >= MIN_SECRET))

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
        if self.stream:
            _write(self.stream, surface.tell(report, os.path.abspath(summary) if summary else ""))

    def _append(self, name: str, text: Callable[[int], str]) -> None:
        """Append to the file that a variable names; GitHub makes the file, a container may not see it."""
        path = Path(self.environ.get(name, "/"))
        if not path.is_file():
            _log.debug("%s names no file here", name)
            return
        try:
            with path.open("r+b") as file:
                begin = _end_of_line(file)
                taken = file.seek(0, os.SEEK_END) + len(begin)
                file.write(begin + text(taken).encode("utf-8", "replace"))
        except OSError as error:
            _log.warning("the file that %s names cannot be written: %s", name, error.strerror)

    def _summary(self, markdown: Callable[[int], str]) -> Path | None:
        folder = Path(self.environ.get("AGENT_TEMPDIRECTORY") or "/dev/null")
        path = folder / "gitlab-port-export.md"
        with suppress(OSError):
            path.write_text(markdown(github.MAX_SUMMARY), encoding="utf-8")
            return path
        return None


def connect(choice: Ci, environ: Mapping[str, str], out: TextIO, err: TextIO, *, as_json: bool) -> CiOutput:
    """Return the output of the chosen or detected system.

    Commands go where the result goes, and beside it where that is JSON or a file.
    """
    masks = None if _is_kept(err, out) else err
    if not as_json and not _is_file(out):
        return CiOutput("none", environ, out, folds=True, masks=masks).to(choice)
    return CiOutput("none", environ, None if _is_file(err) else err, masks=masks).to(choice)


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    for line in lines:
        stream.write(line + "\n")
    stream.flush()


def _end_of_line(file: BinaryIO) -> bytes:
    """Return what ends the last line of a file, which an earlier step may have left open."""
    if not file.seek(0, os.SEEK_END):
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _is_kept(err: TextIO, out: TextIO) -> bool:
    """Say whether somebody sees or keeps what goes to `err`: a terminal, a file, `2>&1`, `$(… 2>&1 >file)`."""
    return err.isatty() or _is_file(err) or _is_same(err, out) or _is_read_by_shell(err)


def _is_file(stream: TextIO) -> bool:
    found = _stat(stream)
    return found is not None and stat.S_ISREG(found.st_mode)


def _is_same(one: TextIO, other: TextIO) -> bool:
    first, second = _stat(one), _stat(other)
    return first is not None and second is not None and os.path.samestat(first, second)


def _is_read_by_shell(stream: TextIO) -> bool:
    """Say whether a shell above this process holds more of the pipe than its own streams: it reads what it captures."""
    found, process = _stat(stream), os.getppid()
    with suppress(OSError, ValueError, IndexError):  # not Linux, or the shell is not ours to look at
        while found and process > 1:
            place = Path("/proc", str(process))
            name, _, rest = (place / "stat").read_text().partition(" (")[2].rpartition(") ")
            descriptors = (one for one in (place / "fd").iterdir() if int(one.name) > 2)
            if name in _SHELLS and any(os.path.samestat(os.stat(one), found) for one in descriptors):
                return True
            process = int(rest.split()[1])
    return False


def _stat(stream: TextIO) -> os.stat_result | None:
    try:
        return os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
