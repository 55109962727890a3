"""Progress of a run: live lines on a terminal, elsewhere a line every 15 seconds."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from gitlab_port_export.model import Create, Event, Failed, Page, Update, Written
from gitlab_port_export.report.screen import Screen

if TYPE_CHECKING:
    from rich.live import Live

HEARTBEAT_SECONDS = 15.0
REDRAW_SECONDS = 0.25


class Progress:
    """Counts events and shows the counts until the context ends.

    CI systems end jobs without output, so the line is also printed when nothing happened.
    `wait(stop, seconds)` returns True once `stop` is set; it and `clock` can be replaced. Call `update` from
    one thread only.
    """

    def __init__(
        self,
        screen: Screen,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._screen = screen
        self._clock = clock
        self._wait = wait
        self._began = clock()
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
        if self._screen.is_interactive:
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
            case Written() | Failed():
                self._confirmed += isinstance(event, Written)
                self._answered += isinstance(event.change, Create | Update)

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
        self._screen.stream.write(
            f"… {self._seconds} s: {self._pages} pages read, {self._rows} rows, {self._found} changes found, "
            f"{self._confirmed} writes confirmed\n"
        )
        self._screen.stream.flush()

    def _lines(self) -> str:
        return (
            f"{self._pages:>9} pages read ({self._seconds} s)\n"
            f"{self._rows:>9} rows\n"
            f"{self._found:>9} changes found\n"
            f"{self._confirmed:>9} writes confirmed"
        )

    @property
    def _seconds(self) -> int:
        return int(self._clock() - self._began)
