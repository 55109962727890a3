"""The deadline holds in every phase of a run, and optional steps are bounded without one."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import OutOfTime
from gitlab_port_export.demo.gitlab import Fault
from gitlab_port_export.demo.gitlab_faults import Slow, throttled
from gitlab_port_export.demo.port_faults import Effect
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import Recorded as PortRecorded
from gitlab_port_export.demo.world import change_world
from gitlab_port_export.sync import resync
from testbed.harness import blueprint, mapping_of, resource, run_sync, running

# A phase that nothing ends takes longer than the harness gives a run: 60 s.
SILENT = 300.0
SLOW_JQ = "[range(1000000000)] | length"
Arrange = Callable[[Bench], Any]


def port_silent(match: str | Callable[[PortRecorded], bool]) -> Arrange:
    def arrange(bench: Bench) -> None:
        bench.port.faults.append(PortFault(match, Effect(delay=SILENT)))

    return arrange


def gitlab_silent(path: str) -> Arrange:
    return lambda bench: bench.gitlab.faults.append(Fault(path, Slow(SILENT)))


def a_minute_and_more(bench: Bench) -> None:
    bench.gitlab.faults.append(Fault("/merge_requests", throttled(retry_after=100)))


def is_last_state(call: PortRecorded) -> bool:
    return isinstance(call.body, dict) and call.body.get("status") in ("completed", "failed")


def slow_expression(bench: Bench) -> list[str]:
    bench.store.add_blueprint(blueprint("thing", size="number"))
    mapping = mapping_of(resource("project", properties={"size": SLOW_JQ}))
    return ["--mapping", bench.file("m.yml", json.dumps(mapping))]


def silent_mapping(bench: Bench) -> list[str]:
    os.mkfifo(bench.folder / "m.yml")
    return ["--mapping", "m.yml"]


def gone(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    change_world(bench.world)


PHASES: dict[str, tuple[tuple[Arrange, ...], int, str]] = {
    "sign-in": ((port_silent("POST .*/access_token"),), 4, "Port"),
    "a mapping that comes through a pipe": ((silent_mapping,), 2, "the deadline passed while the mapping"),
    "Port's blueprints": ((port_silent("GET /v1/blueprints$"),), 4, "before Port had answered"),
    "the first resync state": ((port_silent("PATCH .*/resync-state$"),), 1, "Port at"),
    "the inventory": ((gitlab_silent("/groups$"),), 1, "GitLab at"),
    "a rate limit's wait": ((a_minute_and_more,), 1, "GitLab at"),
    "reading": ((gitlab_silent("/merge_requests"),), 1, "GitLab at"),
    "comparing": ((gone, port_silent("/entities/search"),), 1, "Port at"),
    "a slow expression": ((slow_expression,), 1, "the deadline passed before everything"),
    "writing": ((port_silent("/entities/bulk"),), 1, "Port at"),
    "deleting": ((gone, port_silent("/bulk/entities/delete")), 1, "Port at"),
    "raw examples": ((port_silent("/examples$"),), 0, "Port is in step"),
    "the last resync state": ((port_silent(is_last_state),), 0, "Port is in step"),
}  # fmt: skip


@pytest.mark.parametrize("phase", PHASES)
def test_the_deadline_holds_in_every_phase(phase: str, bench: Bench) -> None:
    arrange, code, words = PHASES[phase]
    options = [option for step in arrange for option in step(bench) or ()]
    ran = bench.run("sync", "--deadline", "2s", "--output", "json", *options)
    document = json.loads(ran.stdout)
    assert document["exit"]["code"] == ran.returncode == code, ran.stderr
    assert words in json.dumps([document["exit"], document["problems"]])


def test_without_a_deadline_raw_examples_are_given_up_soon(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setattr(resync, "EXAMPLES_SECONDS", 0.2)
    port_silent("/examples$")(bench)
    report, _, _ = run_sync(bench.gitlab, bench.port, clock=Clock())
    assert report.exit_code == 0
    assert len(bench.port.calls("/examples$")) <= 1
    assert bench.states() == ["running", "completed"]


def stopped_at(bench: Bench, path: str) -> subprocess.CompletedProcess[str]:
    """A sync that is told to end while Port is silent at a path that ends so."""
    reached = threading.Event()

    def asked(call: PortRecorded) -> bool:
        if call.path.endswith(path):
            reached.set()
            return True
        return False

    port_silent(asked)(bench)
    command = [sys.executable, "-m", "gitlab_port_export", "sync", "--output", "json"]
    with running(command, bench.environ(), bench.folder) as process:
        assert reached.wait(30)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    return bench.checked(subprocess.CompletedProcess(command, process.returncode, out, err))


def test_a_signal_while_raw_examples_are_sent_leaves_the_report(bench: Bench) -> None:
    ran = stopped_at(bench, "/examples")
    assert ran.returncode == 143
    assert json.loads(ran.stdout)["total"]["created"] > 0
    assert bench.states() == ["running", "aborted"]


@pytest.mark.parametrize("path", ["/access_token", "/v1/blueprints", "/resync-state"])
def test_a_signal_before_anything_was_read_waits_for_no_answer(path: str, bench: Bench) -> None:
    ran = stopped_at(bench, path)
    assert ran.returncode == 143
    assert json.loads(ran.stdout)["exit"]["code"] == 143


def test_the_alarm_ends_what_looks_at_no_clock() -> None:
    with pytest.raises(OutOfTime), alarm(Clock(deadline=0.01)):
        threading.Event().wait()


def test_the_alarm_leaves_alone_what_ended_in_time() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with alarm(Clock(deadline=60)):
        pass
    assert signal.getsignal(signal.SIGUSR1) == before
    assert all(thread.name != "alarm" for thread in threading.enumerate())


def test_a_host_that_was_asked_is_named_by_check(bench: Bench) -> None:
    gitlab_silent("/user$")(bench)
    ran = bench.run("check", "--deadline", "1.5s", "--output", "json")
    late = [one for one in json.loads(ran.stdout)["findings"] if "the deadline passed" in one["what"]]
    assert [(one["area"], one["where"]) for one in late] == [("gitlab", bench.gitlab.url)]
    bench.gitlab.faults.clear()
    port_silent("GET /v1/integration/")(bench)
    ran = bench.run("check", "--deadline", "1.5s", "--output", "json")
    late = [one for one in json.loads(ran.stdout)["findings"] if "the deadline passed" in one["what"]]
    assert [(one["area"], one["where"]) for one in late] == [("port", bench.port.url)]
    assert ran.returncode == 4
