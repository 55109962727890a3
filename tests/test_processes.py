"""A sync in several processes of one machine: one run, one report, one exit code, one set of signals."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import OutOfTime
from gitlab_port_export.demo.gitlab import Fault, gitlab_server
from gitlab_port_export.demo.gitlab_faults import Recorded, Slow
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.world import change_world
from gitlab_port_export.model import Began, Create, Ended, Entity, Page, Scope, Written
from gitlab_port_export.settings.parse import parse_processes, parse_shard
from gitlab_port_export.shards import processes
from gitlab_port_export.shards.processes import Ending, processes_for, run_processes
from gitlab_port_export.shards.told import Tally, Teller, heard
from testbed.harness import port_with, process_environ, run_sync, running
from testbed.parity import differences

COMMAND = [sys.executable, "-m", "gitlab_port_export", "sync", "--processes", "2", "--output", "json"]


def test_port_ends_as_after_one_process(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    one = port_with(clock=lambda: time.time() - 3600)
    with gitlab_server(bench.world) as gitlab, port_server(one) as port:
        run_sync(gitlab, port)
        change_world(bench.world)
        whole = run_sync(gitlab, port).report
    ran = bench.run("sync", "--processes", "2", "--output", "json", "--report-junit", "junit.xml", "--rate", "900")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert differences(bench.store.snapshot(), one.snapshot()) == []
    assert {name: counts["deleted"] for name, counts in report["blueprints"].items() if counts["deleted"]} == {
        name: counts.deleted for name, counts in whole.blueprints.items() if counts.deleted
    }
    assert report["mapping_origin"] == whole.mapping_origin
    assert (bench.folder / "junit.xml").is_file()
    # Each process looks at its user.
    assert len(bench.gitlab.requests) == whole.gitlab_requests + 2
    assert sorted(path.name for path in bench.folder.iterdir()) == ["junit.xml"]


# Processes that wait for GitLab


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@contextmanager
def waiting(bench: Bench, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A run whose processes all wait for their lists, and their numbers; files are in a folder of its own."""
    users: list[str] = []
    reached = threading.Event()

    def is_asked(request: Recorded) -> bool:
        # The survey and each process look at their user first.
        if request.path.endswith("/user"):
            users.append(request.path)
            if len(users) == 3:
                reached.set()
        return bool(re.search(r"/(groups|projects)/\d", request.path))

    bench.gitlab.faults.append(Fault(is_asked, Slow(60)))
    (bench.folder / "tmp").mkdir()
    environ = {**bench.environ(), "TMPDIR": str(bench.folder / "tmp")}
    with running([*COMMAND, *options], environ, bench.folder) as process:
        assert reached.wait(60)
        workers = [one for one in children_of(process.pid) if "commands.worker" in command_of(one)]
        assert len(workers) == 2
        yield process, workers


def is_there(pid: int) -> bool:
    try:
        return "commands.worker" in command_of(pid)
    except OSError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    while any(map(is_there, pids)):  # the test's own time limit ends this
        time.sleep(0.02)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_all_processes_and_leaves_nothing(bench: Bench, sent: signal.Signals, code: int) -> None:
    with waiting(bench) as (process, workers):
        # What a process is told is on no command line, and neither is any secret.
        shown = [command_of(one) for one in workers]
        files = [path for path in (bench.folder / "tmp").rglob("*") if path.is_file()]
        held = b"".join(path.read_bytes() for path in files)
        assert [secret for secret in bench.secrets if secret in "".join(shown) or secret.encode() in held] == []
        assert files
        assert {path.stat().st_mode & 0o077 for path in files} == {0}
        process.send_signal(sent)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    wait_until_gone(workers)
    assert "Traceback" not in err
    assert json.loads(out)["exit"]["code"] == code
    assert next(iter(bench.store.integrations.values()))["resyncState"]["status"] == "aborted"
    assert list((bench.folder / "tmp").iterdir()) == []


def test_a_killed_process_holds_every_deletion(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    change_world(bench.world)
    before = bench.held()
    with waiting(bench) as (process, workers):
        bench.gitlab.faults.clear()
        os.kill(workers[0], signal.SIGKILL)
        # The other one is told the answer by a new connection only.
        os.kill(workers[1], signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    report: Any = json.loads(out)
    assert (process.returncode, report["exit"]["code"]) == (1, 1), err
    assert [problem["why"] for problem in report["problems"] if not problem["warning"]] == [
        f"process {number} of 2 failed, so nothing is deleted: it was ended by SIGKILL, often for lack of memory"
        for number in (1, 2)
    ]
    assert all(before[name] <= found for name, found in bench.held().items())
    assert next(iter(bench.store.integrations.values()))["resyncState"]["status"] == "failed"


def test_processes_end_with_the_one_that_started_them(bench: Bench) -> None:
    with waiting(bench) as (process, workers):
        process.kill()
        process.wait()
        wait_until_gone(workers)


def test_a_deadline_ends_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(_: object) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return started[-1]

    monkeypatch.setattr(processes, "_started", start)
    with pytest.raises(OutOfTime), alarm(Clock(deadline=0.1)):
        run_processes([b"{}", b"{}"], {}, lambda _: None)
    assert [one.returncode for one in started] == [-signal.SIGTERM] * 2


# What is decided


@pytest.mark.parametrize(
    ("projects", "cores", "found"),
    [(0, 8, 1), (1999, 8, 1), (2000, 8, 2), (2000, 1, 1), (10_000, 4, 4), (10**6, 64, 8)],
)
def test_auto_goes_by_size_and_cores(projects: int, cores: int, found: int) -> None:
    assert processes_for(projects, cores) == found


def test_a_process_tells_reads_at_once_and_counts_now_and_then() -> None:
    now = 0.0
    entity = Entity.of("thing", "1", {}, 0)
    with tempfile.TemporaryFile("w+") as stream:
        teller = Teller(stream, lambda: now)
        for event in (Began(1, "issue", "a"), Page("issue", (0,), Scope(1, "a"), [{}, {}]), Create(entity)):
            teller.update(event)
        now = 1.0
        teller.update(Written(Create(entity)))
        teller.update(Ended(1, "issue", "a"))
        teller.fail("why")
        stream.seek(0)
        told = [heard(line.encode()) for line in stream]
    assert told == [Began(1, "issue", "a"), Tally(1, 2, 1, 1, 1), Ended(1, "issue", "a"), "why"]
    assert [heard(line) for line in (b"", b"[]", b"no json", b'{"tally": {"x": 1}}')] == [None] * 4


def test_how_a_process_ended_is_told_in_words() -> None:
    assert Ending(-9).why == "it was ended by SIGKILL, often for lack of memory"
    assert Ending(-15).why == "it was ended by SIGTERM"
    assert Ending(70).why == "it ended with exit code 70"
    assert Ending(3, "GitLab is away").why == "GitLab is away"


@pytest.mark.parametrize("text", ["", "/", "3", "0/8", "9/8", "-1/8", "1/0", "a/b", "1/8/2", "١/٨"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="shard"):
        parse_shard(text)


def test_shards_and_processes_are_read() -> None:
    assert (parse_shard(" 3/8 "), parse_shard("8/8")) == ((3, 8), (8, 8))
    assert (parse_processes("4"), parse_processes("AUTO")) == (4, "auto")
    with pytest.raises(ValueError, match="is not a number of processes"):
        parse_processes("many")


def test_a_part_is_read_by_one_process_where_a_variable_asks_for_several(bench: Bench) -> None:
    ran = bench.run("sync", "--kind", "issue", OCEAN__EXPORT__PROCESSES="2")
    assert ran.returncode == 0, ran.stderr
    assert "done for a part: kind issue" in ran.stdout
    ran = bench.run("sync", "--kind", "issue", "--processes", "2")
    assert (ran.returncode, "--kind: several processes are for a full sync" in ran.stderr) == (2, True)


def test_a_run_that_another_one_lets_skip_starts_no_process(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    (integration,) = bench.store.integrations.values()
    now = datetime.now(UTC).isoformat()
    integration["resyncState"] = {"status": "running", "lastResyncStart": now, "updatedAt": now}
    ran = bench.run("sync", "--processes", "2", "--on-overlap", "skip", "--output", "json")
    assert (ran.returncode, json.loads(ran.stdout)["skipped"]) == (0, True)
    assert bench.gitlab.requests == []


IMPORTED = """
import sys
from gitlab_port_export.shards import processes
processes.MODULE = "timeit"
from subprocess import Popen
process = processes._started({"PYTHONPATH": "/elsewhere"})
print(process.args[1:-2])
process.kill()
"""


@pytest.mark.parametrize(("given", "found"), [(["-I", "-B"], "['-I', '-B']"), ([], "['-P']")])
def test_a_process_is_as_closed_as_the_one_that_starts_it(given: list[str], found: str) -> None:
    command = [sys.executable, *given, "-c", IMPORTED]
    done = subprocess.run(command, env=process_environ({}), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found
