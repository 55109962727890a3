"""Signals: the first ends a run with its report, the second ends it at once, and PID 1 of a container obeys too."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import Bench
from gitlab_port_export.demo.gitlab import Fault
from gitlab_port_export.demo.gitlab_faults import Recorded, Slow
from gitlab_port_export.demo.port_faults import Effect
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import Recorded as PortRecorded
from testbed.harness import running

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
COMMAND = [sys.executable, "-m", "gitlab_port_export", "sync", "--output", "json"]


@contextmanager
def started(bench: Bench, *before: str) -> Iterator[tuple[subprocess.Popen[str], threading.Event]]:
    """A run, behind the command `before`, and the event of its first question about merge requests, never answered."""
    reached = threading.Event()

    def asked(request: Recorded) -> bool:
        if request.path.endswith("/merge_requests"):
            reached.set()
            return True
        return False

    bench.gitlab.faults.append(Fault(asked, Slow(60)))
    with running([*before, *COMMAND], bench.environ(), bench.folder) as process:
        yield process, reached


@pytest.mark.parametrize(("sent", "code"), SIGNALS)
def test_a_second_signal_ends_the_run_at_once(sent: signal.Signals, code: int, bench: Bench) -> None:
    """Port does not take the last state, for which the run would wait; after the second signal there is no report."""
    ending = threading.Event()

    def last(call: PortRecorded) -> bool:
        if isinstance(call.body, dict) and call.body.get("status") == "aborted":
            ending.set()
            return True
        return False

    bench.port.faults.append(PortFault(last, Effect(delay=60)))
    with started(bench) as (process, reached):
        assert reached.wait(30)
        process.send_signal(sent)
        assert ending.wait(30)
        process.send_signal(sent)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err


def child_of(pid: int) -> int:
    """The only child of a process, as soon as there is one."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while not (found := children.read_text().split()):  # the test's own time limit ends this
        time.sleep(0.01)
    return int(found[0])


@pytest.mark.parametrize(("sent", "code"), SIGNALS)
def test_pid_1_of_a_container_obeys(sent: signal.Signals, code: int, bench: Bench) -> None:
    """The kernel drops a signal for PID 1 whose action is the default one."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode:
        pytest.skip("may not make a process namespace")
    with started(bench, "unshare", "--pid", "--fork", "--kill-child") as (process, reached):
        assert reached.wait(30)
        inner = child_of(process.pid)
        assert Path(f"/proc/{inner}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
        subprocess.run(["kill", f"-{sent.name.removeprefix('SIG')}", str(inner)], check=True)
        out, _ = process.communicate(timeout=10)
    assert process.returncode == code
    assert json.loads(out)["exit"]["code"] == code
    assert bench.states() == ["running", "aborted"]
