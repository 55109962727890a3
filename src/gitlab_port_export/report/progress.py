"""Progress of a run: what is done, how much of it and how long yet; live on a terminal, elsewhere every 15 seconds."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from gitlab_port_export.model import Began, Create, Ended, Event, Failed, Page, Planned, ReadAgain, Update, Written
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.report.words import some

if TYPE_CHECKING:
    from rich.live import Live

HEARTBEAT_SECONDS = 15.0
REDRAW_SECONDS = 0.25
# A line names so many kinds at most.
MAX_KINDS = 3
# Before that much is done, what is left cannot be estimated.
ENOUGH_SECONDS, ENOUGH_SHARE = 5, 0.05


class _Reading:
    """How much of the plan was read: each kind counts as its requests do, in equal parts for its reads."""

    def __init__(self) -> None:
        self._planned: Mapping[str, tuple[int, int]] = {}
        self._running: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()

    def update(self, event: Planned | Began | Ended) -> None:
        """Take in what is planned, begins or ends."""
        match event:
            case Planned():
                self._planned = event.kinds
            case Began():
                self._running[event.kind] += 1
            case Ended():
                self._running[event.kind] -= 1
                self._ended[event.kind] += 1

    @property
    def kinds(self) -> list[str]:
        """The kinds that are being read."""
        # A copy: the thread that shows them is another one.
        return [kind for kind, number in self._running.copy().items() if number > 0]

    @property
    def is_known(self) -> bool:
        """Whether anything was planned, or is read without a plan."""
        return bool(self._planned or self._running)

    @property
    def share(self) -> float | None:
        """How much was read, from 0 to 1; None where that is not known."""
        whole = sum(requests for _, requests in self._planned.values())
        done = sum(
            requests * min(self._ended[kind] / reads, 1) for kind, (reads, requests) in self._planned.items() if reads
        )
        return done / whole if whole else None

    @property
    def counts(self) -> str:
        """How many reads of how many have ended."""
        return f"{sum(self._ended.values())} of {sum(reads for reads, _ in self._planned.values())} reads"


class Progress:
    """Counts events and shows the counts until the context ends.

    CI systems end jobs without output, so the line is also printed when nothing happened. `beat` receives each line,
    which else goes to the screen; with `silent` nothing is shown. `doing` is what the run does before it has a plan.
    `wait(stop, seconds)` returns True once `stop` is set; it and `clock` can be replaced. Call `update` from
    one thread only.
    """

    def __init__(
        self,
        screen: Screen,
        *,
        beat: Callable[[str], None] | None = None,
        silent: bool = False,
        doing: str = "listing groups and projects",
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._screen = screen
        self._beat, self._silent = beat, silent
        self._first = doing
        self._reading = _Reading()
        self._again = ""
        self._planned_at = self._began = clock()
        self._clock = clock
        self._wait = wait
        self._stop = threading.Event()
        self._ending = ExitStack()
        self._pages = 0
        self._rows = 0
        self._intended = 0
        self._answered = 0
        self._confirmed = 0

    def __enter__(self) -> Self:
        """Begin to show progress."""
        self._began = self._clock()
        if self._silent:
            return self
        if self._screen.is_interactive and self._beat is None:
            self._repeat(REDRAW_SECONDS, self._ending.enter_context(self._live()).refresh)
        else:
            self._repeat(HEARTBEAT_SECONDS, self._print)
        return self

    def __exit__(self, *_: object) -> None:
        """End every thread that was started."""
        self._ending.close()

    def update(self, event: Event) -> None:
        """Count one event of the run."""
        match event:
            case Page():
                self._pages += 1
                self._rows += len(event.rows)
            case Create() | Update():
                self._intended += 1
            case Planned() | Began() | Ended():
                self._reading.update(event)
                if isinstance(event, Planned):
                    self._planned_at = self._clock()
            case ReadAgain():
                self._again = event.kind
            case Written() | Failed():
                self._confirmed += isinstance(event, Written)
                self._answered += isinstance(event.change, Create | Update)

    def count(self, pages: int, rows: int, intended: int, answered: int, confirmed: int) -> None:
        """Add what another process of the run did."""
        self._pages += pages
        self._rows += rows
        self._intended += intended
        self._answered += answered
        self._confirmed += confirmed

    @property
    def _found(self) -> int:
        """How many entities are to be written so far; the events may hold a change, its result, or both."""
        return max(self._intended, self._answered)

    def _live(self) -> "Live":
        from rich.live import Live  # noqa: PLC0415  # CI has no use for it

        return Live(
            console=self._screen.console,
            get_renderable=self._lines,
            transient=True,
            # Rich does not join the thread that it would start for this.
            auto_refresh=False,
            # Results go to stdout and must not be drawn here.
            redirect_stdout=False,
        )

    def _repeat(self, seconds: float, show: Callable[[], None]) -> None:
        """Call `show` every so many seconds, in a thread, until the context ends."""

        def beat() -> None:
            # A stream that is closed, or has no reader any more, must not end the run.
            with suppress(OSError, ValueError):
                while not self._wait(self._stop, seconds):
                    show()

        thread = threading.Thread(target=beat, name="progress", daemon=True)
        thread.start()
        self._ending.callback(thread.join)
        self._ending.callback(self._stop.set)

    def _print(self) -> None:
        line = f"{self._seconds} s: {self._doing()}; {', '.join(self._counts())}"
        if self._beat:
            self._beat(line)
        else:
            self._screen.stream.write(f"… {line}\n")
            self._screen.stream.flush()

    def _lines(self) -> str:
        return "\n".join((f"{self._doing()} ({self._seconds} s)", *(f"  {count}" for count in self._counts())))

    def _counts(self) -> Iterator[str]:
        yield f"{some(self._pages, 'page')} read"
        yield some(self._rows, "row")
        yield f"{some(self._found, 'change')} found"
        yield f"{some(self._confirmed, 'write')} confirmed"

    def _doing(self) -> str:
        """Return what the run does now."""
        if self._again:
            return f"reading {self._again} again, before anything is deleted"
        if kinds := self._reading.kinds:
            more = " …" if len(kinds) > MAX_KINDS else ""
            return f"reading {', '.join(kinds[:MAX_KINDS])}{more}{self._left()}"
        return "writing" if self._reading.is_known else self._first

    def _left(self) -> str:
        """Return how much was read, and how long the rest may take at the same pace."""
        share = self._reading.share
        if share is None:
            return ""
        seconds = self._clock() - self._planned_at
        left = seconds / share * (1 - share) if share >= ENOUGH_SHARE and seconds >= ENOUGH_SECONDS else 0
        about = f", about {_duration(left)} left" if left >= 1 else ""
        return f": {self._reading.counts}, {share:.0%}{about}"

    @property
    def _seconds(self) -> int:
        return int(self._clock() - self._began)


def _duration(seconds: float) -> str:
    """Return a time as people say it: "40 s", "3 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
