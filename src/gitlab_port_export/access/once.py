"""One write that takes effect once: sent, read back, and only sent again where the state that is read lacks it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from gitlab_port_export.access.api import Api
from gitlab_port_export.access.values import Result, Write
from gitlab_port_export.access.write import OVER, Sent, grant_grace, send
from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.gitlab.client import ReadFailed

# How often a write is sent at most; each time the state was read before and lacks it.
MOST_WRITES = 3
# Seconds between reads of what GitLab says it has removed.
SETTLING = (0.5, 1.0, 2.0, 4.0)
LOOK = "look with `access show`"

S = TypeVar("S")


@dataclass(frozen=True)
class Verdict:
    """What a write came to: a result, or what to do next: decide anew, or wait and read again.

    With "wait" the result is what it comes to if nothing else is ever seen.
    """

    result: Result | None
    why: str = ""
    hint: str = ""
    then: Literal["", "wait", "again"] = ""


@dataclass(frozen=True)
class Step(Generic[S]):
    """What follows from a state: the write, None where there is none, with what it comes to then; and how it is judged.

    `judge` takes the state that was read back, and what the answer said.
    """

    write: Write | None
    judge: Callable[[S, Sent], Verdict]
    otherwise: Verdict = Verdict("unchanged")


@dataclass(frozen=True)
class Seen(Generic[S]):
    """What a write came to, and the state that was read back, None where GitLab cannot be read."""

    verdict: Verdict
    state: S | None


def write_once(api: Api, state: S, step_for: Callable[[S], Step[S]], read: Callable[[], S]) -> Seen[S]:
    """Return what the write came to, once GitLab was read back.

    After a write without an answer the state is read, and decided on anew with `step_for`.
    """
    verdict = Verdict("failed")
    found: S = state
    for number in range(1, MOST_WRITES + 1):
        step = step_for(found)
        if step.write is None:
            return Seen(step.otherwise, found)
        sent = send(api, step.write)
        seen = _read_back(api, read, step, sent)
        verdict = seen.verdict
        if verdict.then != "again" or seen.state is None:
            return seen
        found = seen.state
        if number == MOST_WRITES or api.late or not _rest(api, sent, number):
            break
    hint = "run the command again: it looks first"
    return Seen(Verdict("failed", f"{verdict.why}; GitLab does not show the change", hint), found)


def _rest(api: Api, sent: Sent, number: int) -> bool:
    """Wait before another write as GitLab asks; return whether there is time for one."""
    try:
        if sent.answer:
            api.gitlab.http.pause(sent.answer, number)
        else:
            api.clock.sleep(0.5 * number)
    except OVER:
        return False
    return True


def _read_back(api: Api, read: Callable[[], S], step: Step[S], sent: Sent) -> Seen[S]:
    waits = list(SETTLING)
    while True:
        try:
            state = read()
            verdict = step.judge(state, sent)
            if verdict.then != "wait":
                return Seen(verdict, state)
            if not waits:
                return Seen(verdict, state)
            api.clock.sleep(waits.pop(0))
        except OVER as over:
            if api.late and isinstance(over, Stopped):
                return Seen(Verdict("failed", "the deadline passed before GitLab could be read again", LOOK), None)
            waits.clear()
            grant_grace(api)
        except ReadFailed as failure:
            why = f"a change was sent, and GitLab could not be read again: {failure.why}"
            return Seen(Verdict("failed", why, LOOK), None)
