"""Progress: heartbeats off a terminal, live lines on one, and no thread that outlives the run."""

import io
import threading
from collections.abc import Callable

import pytest

from gitlab_port_export.model import (
    Began,
    Create,
    Ended,
    Entity,
    Event,
    Failed,
    Page,
    Planned,
    ReadAgain,
    Scope,
    Unchanged,
    Update,
    Written,
)
from gitlab_port_export.report.progress import HEARTBEAT_SECONDS, Progress, _duration
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
    counts = "2 pages read, 2 rows, 2 changes found, 1 write confirmed"
    assert beats(events) == [f"… 15 s: listing groups and projects; {counts}"]


def test_an_entity_that_passes_as_intention_and_as_answer_counts_once():
    events: list[Event] = [Create(ENTITY), Written(Create(ENTITY)), Update(ENTITY)]
    (line,) = beats(events)
    assert line.endswith("0 pages read, 0 rows, 2 changes found, 1 write confirmed")


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


PLANNED = Planned({"project": (1, 10), "issue": (4, 30)})


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "listing groups and projects"),
        ([PLANNED, Began(0, "project"), Began(1, "issue")], "reading project, issue: 0 of 5 reads, 0%"),
        (
            [PLANNED, Began(0, "project"), Ended(0, "project"), Began(1, "issue")],
            "reading issue: 1 of 5 reads, 25%, about 45 s left",
        ),
        ([PLANNED, *(Began(n, kind) for n, kind in enumerate("abcd"))], "reading a, b, c …: 0 of 5 reads, 0%"),
        ([Began(0, "issue")], "reading issue"),
        ([PLANNED, Began(0, "project"), Ended(0, "project")], "writing"),
        ([PLANNED, ReadAgain("issue")], "reading issue again, before anything is deleted"),
    ],
)
def test_a_heartbeat_says_what_is_read_how_much_of_it_and_how_long_yet(events: list[Event], words: str):
    (line,) = beats(events)
    assert line.removeprefix("… 15 s: ").split(";")[0] == words


@pytest.mark.parametrize(("seconds", "text"), [(40.4, "40 s"), (180, "3 min"), (7500, "2 h 5 min")])
def test_what_is_left_is_said_in_words(seconds: float, text: str):
    assert _duration(seconds) == text


def test_a_silent_run_shows_no_progress():
    stream, time = io.StringIO(), Ticks()
    before = threading.active_count()
    with Progress(Screen.of(stream, {}), clock=time.clock, wait=time.wait, silent=True):
        assert threading.active_count() == before
    assert stream.getvalue() == ""


def test_heartbeats_go_where_the_log_goes_also_on_a_terminal():
    lines: list[str] = []
    stream, time = Terminal(), Ticks()
    screen = Screen.of(stream, {"TERM": "xterm"})
    with Progress(screen, clock=time.clock, wait=time.wait, beat=lines.append, doing="applying the plan"):
        time.tick()
    assert stream.getvalue() == ""
    assert lines == ["15 s: applying the plan; 0 pages read, 0 rows, 0 changes found, 0 writes confirmed"]


def test_a_terminal_sees_live_lines():
    stream = Terminal()
    time = Ticks()
    screen = Screen.of(stream, {"TERM": "xterm"})
    with Progress(screen, clock=time.clock, wait=time.wait) as progress:
        for event in (PAGE, Unchanged("service"), Written(Create(ENTITY))):
            progress.update(event)
        for _ in range(8):
            time.tick()
        text = stream.getvalue()
    assert "listing groups and projects (2 s)" in text
    assert "1 page read" in text
    assert "1 row" in text
    assert "1 change found" in text
    assert "1 write confirmed" in text


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "dumb", "FORCE_COLOR": "1"}])
def test_a_terminal_without_colour_gets_heartbeats_and_no_escape_sequence(environ: dict[str, str]):
    stream = Terminal()
    time = Ticks()
    with Progress(Screen.of(stream, environ), clock=time.clock, wait=time.wait):
        time.tick()
    counts = "0 pages read, 0 rows, 0 changes found, 0 writes confirmed"
    assert stream.getvalue() == f"… 15 s: listing groups and projects; {counts}\n"


def test_a_closed_stream_does_not_disturb_the_run():
    stream = io.StringIO()
    screen = Screen.of(stream, {})
    stream.close()
    # The waiter never ends by itself, so the thread can end only because printing failed.
    with Progress(screen, wait=lambda stop, seconds: False) as progress:
        progress.update(PAGE)
