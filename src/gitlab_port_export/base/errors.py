"""The errors that end a run, each with its exit code. Anything smaller is reported as a `Problem` (model.py)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

# The stage of a run that an error ends; each is one of a Problem's.
Stage = Literal["settings", "mapping", "inventory", "transform", "integration"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: what, where (a file with line and column, a variable, …), and what to do about it."""

    what: str
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ExportError(Exception):
    """A run cannot go on: `faults` are shown one a line, `hint` says what to do about all of them."""

    exit_code = 70
    stage: Stage = "integration"

    def __init__(self, *faults: Fault | str, hint: str = "") -> None:
        self.faults: Sequence[Fault] = tuple(Fault(one) if isinstance(one, str) else one for one in faults)
        super().__init__("; ".join(map(str, self.faults)))
        self.hint = hint


class UsageError(ExportError):
    """Wrong options, settings or mapping: every fault is listed and nothing was sent."""

    exit_code = 2
    stage: Stage = "settings"


class MappingError(UsageError):
    """The mapping cannot be read, or something in it cannot work."""

    stage: Stage = "mapping"


class MachineError(UsageError):
    """The machine does not allow what a run needs, such as another thread."""


class NoWorker(MachineError):
    """No worker process for jq can be started; no expression is the cause."""

    stage: Stage = "transform"


class GitLabUnavailable(ExportError):
    """GitLab refused or could not be reached, and nothing could be read."""

    exit_code = 3
    stage: Stage = "inventory"


class PortUnavailable(ExportError):
    """Port refused or could not be reached, and nothing could be compared or written."""

    exit_code = 4


class Interrupted(BaseException):
    """The process was told to stop; `exit_code` is 128 + the signal's number.

    Like KeyboardInterrupt it is no Exception, so that no `except Exception` catches it. A thread that was being
    started would print a traceback (https://github.com/python/cpython/blob/3.11/Lib/threading.py, Thread.start).
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.hint = ""
        self.exit_code = 128 + signal_number
        self.faults: Sequence[Fault] = (Fault(str(self)),)


class OutOfTime(Interrupted):
    """The deadline passed while the main thread was busy. The run ends with a Problem."""

    def __init__(self) -> None:
        super().__init__(0)
        self.exit_code = 1
        self.faults = (Fault("the deadline passed"),)
        self.hint = "allow more time (--deadline)"


@contextmanager
def limits_reported() -> Iterator[None]:
    """Raise MachineError in place of Python's errors for what the machine does not allow."""
    try:
        yield
    except (RuntimeError, MemoryError, FileNotFoundError) as error:
        text = str(error)
        if isinstance(error, MemoryError):
            why, hint = "there is not enough memory", "allow more (`ulimit -v`, the container's limits), or map less"
        elif "can't start new thread" in text:
            why = "the machine allows no further thread"
            hint = "allow more (`ulimit -u`, the container's limit of pids), or use fewer workers (--workers)"
        elif "No usable temporary directory" in text:
            why, hint = "there is no folder for temporary files", "make /tmp writable, or name another folder in TMPDIR"
        else:
            raise
        raise MachineError(why, hint=hint) from None
