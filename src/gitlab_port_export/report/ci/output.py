"""CiOutput: writes to a CI system what only that system reads, in the words of its CiSystem."""

import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self, TextIO

from gitlab_port_export.base.text import MIN_SECRET
from gitlab_port_export.report.ci import SYSTEMS, detect
from gitlab_port_export.report.ci.system import CiSystem, Environ, Links, Markdown, RunFacts
from gitlab_port_export.report.values import Report

Fold = Callable[[str], tuple[str, str]]

_SHELLS = ("bash", "sh", "dash", "ash", "zsh", "ksh", "busybox")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CiOutput:
    """A CI system (None where there is none), the variables of the job, and the streams that the system reads.

    `stream` takes commands and `masks` takes secrets to hide; each is None where the system does not read it.
    `folds` says whether the report goes to a log of the system.
    """

    systems: Mapping[str, CiSystem]
    system: CiSystem | None
    environ: Environ
    stream: TextIO | None
    folds: bool = False
    masks: TextIO | None = None

    def to(self, choice: str) -> Self:
        """Return the same output for the chosen system; "auto" detects it, "none" stands for no system."""
        found = detect(self.environ, self.systems) if choice == "auto" else self.systems.get(choice)
        return replace(self, system=found)

    @property
    def fold(self) -> Fold | None:
        """The lines around a part of the log by its title; None where no log folds."""
        fold = self.system.fold if self.system and self.folds else None
        moment = int(time.time())
        return (lambda title: fold(title, moment)) if fold else None

    @property
    def wants_debug(self) -> bool:
        """Whether the job was started with the system's own switch for more logging."""
        return bool(self.system and self.system.debug and self.system.debug.is_set(self.environ))

    def links(self, port_url: str, page: Path | None) -> Links:
        """Return (label, address) of pages about the run; `page` is the HTML report."""
        return self.system.links(self.environ, port_url, str(page or "")) if self.system and self.system.links else ()

    def mask(self, secrets: Iterable[str]) -> None:
        """Let the system hide the secrets in its logs; call this before anything else is written.

        A secret is only written in a job of that system, which takes the line out: elsewhere the line would show it.
        It goes to standard error, because `$(…)` and pipes take standard output.
        """
        mask = self.system.mask if self.system else None
        if mask and self.masks and detect(self.environ, self.systems) == self.system:
            # Hiding a very short text would black out the log.
            _write(self.masks, (mask(secret) for secret in secrets if len(secret) >= MIN_SECRET))

    def show(
        self, report: Report, markdown: Markdown, *, summary: Path | None = None, machine: Path | None = None
    ) -> None:
        """Give the system what it shows of a run (see RunFacts). A file that cannot be written is a line in the log."""
        if self.system is None:
            return
        facts = RunFacts(report, markdown, summary, machine)
        for variable, text in (self.system.appended or {}).items():
            self._append(variable, partial(text, facts))
        if self.system.summary and not (summary and summary.is_file()):
            facts = replace(facts, summary=_summary(self.system.summary(self.environ), markdown))
        if self.stream and self.system.lines:
            _write(self.stream, self.system.lines(facts))

    def _append(self, variable: str, text: Callable[[int], str]) -> None:
        """Append to the file that a variable names. The system makes the file, and a container may not see it."""
        path = Path(self.environ.get(variable, "/"))
        if not path.is_file():
            _log.debug("%s names no file here", variable)
            return
        try:
            with path.open("r+b") as file:
                begin = _end_of_line(file)
                taken = file.seek(0, os.SEEK_END) + len(begin)
                file.write(begin + text(taken).encode("utf-8", "replace"))
        except OSError as error:
            _log.warning("the file that %s names cannot be written: %s", variable, error.strerror)


def connect(
    choice: str,
    environ: Environ,
    out: TextIO,
    err: TextIO,
    *,
    as_json: bool,
    systems: Mapping[str, CiSystem] = SYSTEMS,
) -> CiOutput:
    """Return the output for the chosen or detected system.

    Commands go to standard output with the report, and to standard error where the report is JSON or goes to a file.
    """
    masks = None if _is_kept(err, out) else err
    if not as_json and not _is_file(out):
        found = CiOutput(systems, None, environ, out, folds=True, masks=masks)
    else:
        found = CiOutput(systems, None, environ, None if _is_file(err) else err, masks=masks)
    return found.to(choice)


def _summary(place: tuple[Path, int] | None, markdown: Markdown) -> Path | None:
    """Write a summary for the system and return its file; None where it cannot be written."""
    if place is None:
        return None
    path, max_bytes = place
    with suppress(OSError):
        path.write_text(markdown(max_bytes), encoding="utf-8")
        return path
    return None


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    for line in lines:
        stream.write(line + "\n")
    stream.flush()


def _end_of_line(file: BinaryIO) -> bytes:
    """Return a newline where the last line of the file, perhaps of an earlier step, has none."""
    if not file.seek(0, os.SEEK_END):
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _is_kept(err: TextIO, out: TextIO) -> bool:
    """Return whether `err` is seen or kept: a terminal, a file, the same as `out`, or captured by a shell."""
    return err.isatty() or _is_file(err) or _is_same(err, out) or _is_captured(err)


def _is_file(stream: TextIO) -> bool:
    found = _stat(stream)
    return found is not None and stat.S_ISREG(found.st_mode)


def _is_same(one: TextIO, other: TextIO) -> bool:
    first, second = _stat(one), _stat(other)
    return first is not None and second is not None and os.path.samestat(first, second)


def _is_captured(stream: TextIO) -> bool:
    """Return whether a shell above this process reads the stream, as with `$(… 2>&1 >file)`.

    Such a shell holds the pipe open in a descriptor beside its own three.
    """
    found, process = _stat(stream), os.getppid()
    with suppress(OSError, ValueError, IndexError):  # not Linux, or the shell belongs to another user
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
