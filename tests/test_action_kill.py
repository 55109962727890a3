"""Whatever stops a command, between any two steps: its run has ended, GitLab was changed once at most, and a second
command puts right what is left."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import drop
from gitlab_port_export.demo.world import DEVELOPER
from testbed.action_bed import ActionBed, action_bed
from testbed.harness import NoWait
from testbed.parity import SOAK

pytestmark = pytest.mark.usefixtures("lent_evaluator")
# Beyond the last request of a command; `make soak` tries each of them.
MOST_STEPS, STRIDE = 80, 1 if SOAK else 3


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ActionBed]:
    """One GitLab and Port for all steps: each grants a role to a person of its own."""
    with action_bed(tmp_path_factory.mktemp("kill")) as found:
        yield found


@dataclass
class Steps:
    """Counts the requests of a command, and does something at one of them; without `act` its answer is lost."""

    at: int
    act: Callable[[], None] | None = None
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, _: Any) -> bool:
        with self.lock:
            self.count += 1
            if self.count != self.at:
                return False
        if self.act:
            self.act()
        return self.act is None


def newcomer(bed: ActionBed, name: str) -> str:
    """A person without any role; the run that grants one."""
    bed.access.world.add_user(name, name.title())
    bed.access.freed()
    bed.store.runs.sent.clear()
    bed.bench.port.faults.clear()
    bed.bench.port.requests.clear()
    return bed.grant(name)


def holds(bed: ActionBed, name: str, number: str) -> None:
    """What holds after whatever stopped a command."""
    bed.bench.gitlab.faults.clear()
    bed.bench.port.faults.clear()
    page = bed.page(number)
    assert page["status"] in ("SUCCESS", "FAILURE"), (name, page)
    assert bed.access.effects in ([], ["add"]), name
    there = bed.access.role(name) == DEVELOPER
    assert there == (bed.access.effects == ["add"])
    if page["status"] == "SUCCESS":
        assert there
        assert f"group-1-{name}" in bed.entities(), name
    sent = [one.status for one in bed.bench.port.calls("PATCH .*/runs/") if "status" in (one.body or {})]
    assert sent.count(200) <= 1
    # The same wish again finds what is there, and the catalog is right after it.
    bed.access.freed()
    again = bed.grant(name)
    ran = bed.run(run=again)
    assert (ran.code, bed.page(again)["status"]) == (0, "SUCCESS"), ran.all
    assert bed.access.effects == ([] if there else ["add"])
    assert f"group-1-{name}" in bed.entities()


def test_a_signal_between_any_two_steps_ends_the_run(bed: ActionBed) -> None:
    ignored = signal.signal(signal.SIGTERM, lambda *_: None)
    seen = set()
    try:
        for step in range(1, MOST_STEPS, STRIDE):
            name = f"signal-{step}"
            number = newcomer(bed, name)
            steps = Steps(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
            bed.bench.gitlab.faults[:] = [Fault(steps, faults.Drop())]
            bed.bench.port.faults[:] = [PortFault(steps, drop())]
            code = bed.run(run=number).code
            if steps.count < step:
                break
            if bed.page(number)["status"] == "IN_PROGRESS":
                # Until the run was read, nobody knows that it is to be ended.
                assert step <= 3, step
                bed.page(number)["status"] = "FAILURE"
            seen.add(code)
            holds(bed, name, number)
    finally:
        signal.signal(signal.SIGTERM, ignored)
    assert step > 40
    assert 143 in seen


@pytest.mark.parametrize("applied", [False, True])
def test_an_answer_of_port_that_is_lost_at_any_step_leaves_no_run_open(bed: ActionBed, applied: bool) -> None:
    for step in range(3, MOST_STEPS, STRIDE):
        name = f"lost-{applied}-{step}"
        number = newcomer(bed, name)
        steps = Steps(step)
        bed.bench.port.faults[:] = [PortFault(steps, drop(applied=applied))]
        bed.run(run=number)
        if steps.count < step:
            break
        holds(bed, name, number)
    assert step > 15


@pytest.mark.parametrize("applied", [False, True])
def test_an_answer_of_gitlab_that_is_lost_at_any_step_writes_nothing_twice(bed: ActionBed, applied: bool) -> None:
    for step in range(1, MOST_STEPS, STRIDE):
        name = f"gone-{applied}-{step}"
        number = newcomer(bed, name)
        steps = Steps(step)
        bed.bench.gitlab.faults[:] = [Fault(steps, faults.Lost() if applied else faults.Drop())]
        bed.run(run=number)
        if steps.count < step:
            break
        holds(bed, name, number)
    assert step > 15


class Short(NoWait):
    """A clock whose deadline passes at one of its checks."""

    def __init__(self, _: float | None = None, *, at: int) -> None:
        super().__init__()
        self.left_over, self._over = at, False

    @property
    def past_deadline(self) -> bool:
        return self._over

    def check(self) -> None:
        self.left_over -= 1
        self._over |= self.left_over <= 0
        if self._over:
            raise Stopped


def test_a_deadline_between_any_two_steps_ends_the_run(bed: ActionBed) -> None:
    codes = set()
    for step in range(5, 400, 7 * STRIDE):
        name = f"late-{step}"
        number = newcomer(bed, name)
        clock = Short(at=step)
        code = bed.run(run=number, make_clock=lambda _, clock=clock: clock).code
        codes.add(code)
        if clock.left_over > 0:
            break
        if bed.page(number)["status"] == "IN_PROGRESS":
            assert code == 4, step
            bed.page(number)["status"] = "FAILURE"
        holds(bed, name, number)
    assert {0, 1, 3} <= codes
