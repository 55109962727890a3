"""The time of a run: its deadline, the signal that stops it, and waits that both of them end."""

import threading
import time


class Stopped(Exception):
    """The run was told to stop, or its deadline has passed: no further request may be sent.

    `asked` is the base URL of the host whose request was cut short; empty where no request was.
    """

    def __init__(self, asked: str = "") -> None:
        super().__init__(asked)
        self.asked = asked


class Clock:
    """Time as the run sees it; `stop` and the deadline (seconds from now) end every wait early."""

    def __init__(self, deadline: float | None = None) -> None:
        self._stop = threading.Event()
        self._ends = None if deadline is None else time.monotonic() + deadline

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def passed(self) -> float:
        """Return seconds since some instant, which no change of the machine's time moves."""
        return time.monotonic()

    def stop(self) -> None:
        """Make every later `check` and every running `sleep` raise Stopped."""
        self._stop.set()

    @property
    def past_deadline(self) -> bool:
        """Whether the run's time is used up."""
        return self._ends is not None and time.monotonic() >= self._ends

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, never below zero; None without one."""
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    def at_most(self, seconds: float) -> "Clock":
        """Return a clock for a step that may take so long, and no longer than what is left of the run."""
        return Clock(deadline=seconds if self.left is None else min(seconds, self.left))

    def check(self) -> None:
        """Raise Stopped when the run has been stopped or its deadline has passed."""
        if self._stop.is_set() or self.past_deadline:
            raise Stopped

    def within(self, seconds: float) -> float:
        """Return `seconds`, or what is left of the run when that is less; never zero, which no socket takes."""
        return seconds if self._ends is None else min(seconds, max(0.05, self._ends - time.monotonic()))

    def sleep(self, seconds: float) -> None:
        """Wait `seconds`, or raise Stopped as soon as the run is told to stop."""
        self.check()
        self._stop.wait(self.within(seconds))
        self.check()
