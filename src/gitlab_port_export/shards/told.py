"""What the process of a shard tells the one that started it: lines of JSON about its progress, and why it ended."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from gitlab_port_export.model import Began, Create, Ended, Event, Failed, Page, Update, Written

# So often at most the counts are told.
TELL_SECONDS = 0.5


@dataclass
class Tally:
    """How much was done since it was last told."""

    pages: int = 0
    rows: int = 0
    intended: int = 0
    answered: int = 0
    confirmed: int = 0


class Teller:
    """Tells of events: reads one by one, everything else as counts now and then. Call it from one thread only."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._tally, self._told = Tally(), clock()

    def update(self, event: Event) -> None:
        """Take in one event of the run."""
        match event:
            case Began():
                self._say({"began": [event.number, event.kind, event.scope]})
            case Ended():
                self._say({"ended": [event.number, event.kind, event.scope]})
            case Page():
                self._tally.pages += 1
                self._tally.rows += len(event.rows)
            case Create() | Update():
                self._tally.intended += 1
            case Written() | Failed():
                self._tally.confirmed += isinstance(event, Written)
                self._tally.answered += isinstance(event.change, Create | Update)
            case _:
                return
        if self._clock() - self._told >= TELL_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Tell the counts."""
        self._told = self._clock()
        self._say({"tally": asdict(self._tally)})
        self._tally = Tally()

    def fail(self, why: str) -> None:
        """Tell why there will be no evidence."""
        self._say({"failed": why})

    def _say(self, what: dict[str, Any]) -> None:
        self._stream.write(json.dumps(what) + "\n")
        self._stream.flush()


def heard(line: bytes) -> Began | Ended | Tally | str | None:
    """Return what a line tells: an event, counts, why a shard failed, or None for anything else."""
    try:
        match json.loads(line):
            case {"began": [int(number), str(kind), str(scope)]}:
                return Began(number, kind, scope)
            case {"ended": [int(number), str(kind), str(scope)]}:
                return Ended(number, kind, scope)
            case {"tally": dict(counts)}:
                return Tally(**counts)
            case {"failed": str(why)}:
                return why
    except (ValueError, TypeError):
        pass
    return None
