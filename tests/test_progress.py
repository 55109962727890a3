"""Progress: heartbeats off a terminal, live lines on one, and no thread that outlives the run."""

import io
import threading
from collections.abc import Callable

import pytest

from gitlab_port_export.model import Create, Entity, Event, Failed, Page, Scope, Unchanged, Update, Written
from gitlab_port_export.report.progress import HEARTBEAT_SECONDS, Progress
from gitlab_port_export.report.screen import Screen

ENTITY = Entity.of("service", "a", {}, 0)
PAGE = Page("project", (0,), Scope(1, "a"), [{}])


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Ticks:
    """A waiter that lets the heartbeat pass only when told to; time moves by what it waited for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._go = threading.Semaphore(0)
        self._idle = threading.Semaphore(0)
        self._ended = False

    def clock(self) -> float:
        return self.now

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self._idle.release()
        # Polls, because the end of the context only sets `stop`.
        while not stop.is_set():
            if self._go.acquire(timeout=0.01):
                self.now += seconds
                return False
        return True

    def tick(self) -> None:
        """Let one interval pass and return when its line has been written."""
        self._idle.acquire()
        self._go.release()
        self._idle.acquire()
        self._idle.release()


def beats(events: list[Event], ticks: int = 1) -> list[str]:
    stream = io.StringIO()
    time = Ticks()
    with Progress(Screen.of(stream, {"COLUMNS": "10"}), clock=time.clock, wait=time.wait) as progress:
        for event in events:
            progress.update(event)
        for _ in range(ticks):
            time.tick()
    return stream.getvalue().splitlines()


def test_a_heartbeat_tells_pages_rows_and_writes_on_one_line():
    events = [PAGE, PAGE, Unchanged("service"), Written(Create(ENTITY)), Failed(Update(ENTITY), "no")]
    assert beats(events) == ["… 15 s: 2 pages read, 2 rows, 2 changes found, 1 writes confirmed"]


def test_an_entity_that_passes_as_intention_and_as_answer_counts_once():
    events: list[Event] = [Create(ENTITY), Written(Create(ENTITY)), Update(ENTITY)]
    assert beats(events) == ["… 15 s: 0 pages read, 0 rows, 2 changes found, 1 writes confirmed"]


def test_silence_beats_too():
    assert [line.split(":")[0] for line in beats([], ticks=3)] == ["… 15 s", "… 30 s", "… 45 s"]


def test_a_run_shorter_than_the_interval_says_nothing():
    stream = io.StringIO()
    with Progress(Screen.of(stream, {})) as progress:
        progress.update(PAGE)
    assert HEARTBEAT_SECONDS == 15
    assert stream.getvalue() == ""


@pytest.mark.parametrize("make", [io.StringIO, Terminal])
def test_every_thread_ends_with_the_context_also_on_an_error(make: Callable[[], io.StringIO]):
    before = set(threading.enumerate())
    started: list[threading.Thread] = []

    def run() -> None:
        with Progress(Screen.of(make(), {"TERM": "xterm"})):
            started.extend(set(threading.enumerate()) - before)
            raise RuntimeError("the run failed")

    with pytest.raises(RuntimeError, match="the run failed"):
        run()
    assert [thread.daemon for thread in started] == [True]
    assert set(threading.enumerate()) == before


def test_a_terminal_sees_four_live_lines():
    stream = Terminal()
    time = Ticks()
    screen = Screen.of(stream, {"TERM": "xterm"})
    with Progress(screen, clock=time.clock, wait=time.wait) as progress:
        for event in (PAGE, Unchanged("service"), Written(Create(ENTITY))):
            progress.update(event)
        for _ in range(8):
            time.tick()
        text = stream.getvalue()
    assert "1 pages read (2 s)" in text
    assert "1 rows" in text
    assert "1 changes found" in text
    assert "1 writes confirmed" in text


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "dumb", "FORCE_COLOR": "1"}])
def test_a_terminal_without_colour_gets_heartbeats_and_no_escape_sequence(environ: dict[str, str]):
    stream = Terminal()
    time = Ticks()
    with Progress(Screen.of(stream, environ), clock=time.clock, wait=time.wait):
        time.tick()
    assert stream.getvalue() == "… 15 s: 0 pages read, 0 rows, 0 changes found, 0 writes confirmed\n"


def test_a_closed_stream_does_not_disturb_the_run():
    stream = io.StringIO()
    screen = Screen.of(stream, {})
    stream.close()
    # The waiter never ends by itself, so the thread can end only because printing failed.
    with Progress(screen, wait=lambda stop, seconds: False) as progress:
        progress.update(PAGE)
