"""Tests of the worker processes: bounded, without secrets, and gone when they should be."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.jq import pool as evaluate
from gitlab_port_export.jq.pool import MAX_WORKERS, Evaluator, JqError, Killed, TooLarge
from testbed.harness import process_environ

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ENDLESS = "last(repeat(1))"
HUNGRY = '"x" * 900000000 | length'
# jq takes a time that grows with the square of the expression.
SLOW_TO_COMPILE = ",".join([".a"] * 30_000)


@pytest.fixture
def evaluator() -> Iterator[Evaluator]:
    found = Evaluator({}, workers=2)
    yield found
    found.close()


def children() -> set[int]:
    """The processes that this one started and has not yet buried."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def until_dead(pid: int) -> None:
    while alive(pid):  # the test's own time limit ends this
        time.sleep(0.01)


def worker_pid(evaluator: Evaluator) -> int:
    """The worker of an evaluator with one; it is started when there is none."""
    before = children()
    evaluator.submit("1", b"null").result()
    (pid,) = children() - before
    return pid


def test_a_program_gives_its_output_for_one_input(evaluator: Evaluator) -> None:
    assert json.loads(evaluator.submit("[.[] | .a]", b'[{"a": "\xc3\xa9"}, {"a": 2}]').result()) == ["é", 2]


def test_no_output_is_no_text(evaluator: Evaluator) -> None:
    for program in ("empty", "halt", "[., halt]", '"x" | halt_error'):
        assert evaluator.submit(program, b"1").result() == b""
    assert evaluator.submit(".", b"1").result() == b"1"


def test_error_of_a_whole_program(evaluator: Evaluator) -> None:
    with pytest.raises(JqError, match="Cannot index number"):
        evaluator.submit(".a", b"1").result()
    with pytest.raises(JqError, match="syntax error"):
        evaluator.submit(".a)", b"{}").result()
    assert evaluator.submit(".a", b'{"a": 3}').result() == b"3"


@linux
def test_workers_start_when_needed_and_end_with_close() -> None:
    before = children()
    evaluator = Evaluator({})
    assert evaluator.workers == min(MAX_WORKERS, os.cpu_count() or 1) <= 4
    assert children() == before
    wait([evaluator.submit("1", b"null") for _ in range(20)])
    started = children() - before
    assert 1 <= len(started) <= evaluator.workers
    evaluator.close()
    # Not even zombies are left.
    assert children() == before
    assert not any(alive(pid) for pid in started)


def test_no_process_is_lost_over_what_cannot_be_sent() -> None:
    evaluator = Evaluator({}, workers=1)
    for program, text in (("\ud800", b"1"), (".", None)):
        with pytest.raises((UnicodeEncodeError, TypeError)):
            evaluator.submit(program, text).result()  # type: ignore[arg-type]  # the fault that is tried
    assert evaluator.submit(".", b"1").result(5) == b"1"
    evaluator.close()


@linux
def test_no_other_process_is_started_while_nobody_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "WAIT_SECONDS", 60.0)
    before = children()
    evaluator = Evaluator({}, workers=4)
    wait([evaluator.submit("1", b"null") for _ in range(20)])
    assert len(children() - before) == 1
    evaluator.close()


def test_close_does_not_wait_for_what_never_ends() -> None:
    evaluator = Evaluator({}, workers=2, seconds=3600)
    futures = [evaluator.submit(ENDLESS, b"null") for _ in range(8)]
    while not all(future.running() for future in futures[:2]):
        time.sleep(0.01)
    evaluator.close()
    assert all(future.cancelled() or isinstance(future.exception(), Killed) for future in futures)


def test_nothing_starts_after_close(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = Evaluator({}, workers=1, seconds=2)
    futures = [evaluator.submit(ENDLESS, b"null") for _ in range(3)]
    started: list[Any] = []
    start, shutdown = evaluator._start, evaluator._pool.shutdown

    def counted() -> Any:
        started.append(start())
        return started[-1]

    def late(**options: bool) -> None:
        """The workers were killed, and what waited behind them is taken up before it can be cancelled."""
        while not futures[2].running() and not futures[2].done():
            time.sleep(0.01)
        shutdown(**options)

    monkeypatch.setattr(evaluator, "_start", counted)
    monkeypatch.setattr(evaluator._pool, "shutdown", late)
    while not evaluator._processes:
        time.sleep(0.01)
    evaluator.close()
    assert len(started) <= 1
    assert all(isinstance(future.exception(), Killed) for future in futures)


def test_close_twice_and_without_workers() -> None:
    evaluator = Evaluator({})
    evaluator.close()
    evaluator.close()
    with pytest.raises(RuntimeError):
        evaluator.submit("1", b"null")


@pytest.mark.parametrize(("program", "seconds", "memory"), [(ENDLESS, 0.3, 1 << 30), (HUNGRY, 60, 300 << 20)])
def test_runaway_is_killed_and_the_next_goes_on(program: str, seconds: float, memory: int) -> None:
    evaluator = Evaluator({}, workers=1, seconds=seconds, memory_bytes=memory)
    with pytest.raises(Killed):
        evaluator.submit(program, b"null").result()
    assert evaluator.submit(".+1", b"1").result() == b"2"
    evaluator.close()


@linux
def test_time_limit_is_for_one_call() -> None:
    evaluator = Evaluator({}, workers=1, seconds=0.3)
    pid = worker_pid(evaluator)
    while processor_seconds(pid) < 0.5:
        assert evaluator.submit("[range(50000)] | length", b"null").result() == b"50000"
    evaluator.close()


def processor_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@linux
def test_time_while_others_have_the_processor_does_not_count() -> None:
    evaluator = Evaluator({}, workers=1, seconds=0.3)
    pid = worker_pid(evaluator)
    os.kill(pid, signal.SIGSTOP)
    found = evaluator.submit(".+1", b"1")
    time.sleep(0.6)
    os.kill(pid, signal.SIGCONT)
    assert found.result() == b"2"
    evaluator.close()


def test_time_limit_holds_where_the_parent_blocks_its_signal() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
    try:
        evaluator = Evaluator({}, workers=1, seconds=0.3)
        with pytest.raises(Killed):
            evaluator.submit(ENDLESS, b"null").result()
        evaluator.close()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_output_is_bounded_and_the_worker_goes_on() -> None:
    evaluator = Evaluator({}, workers=1, output_bytes=1000)
    with pytest.raises(TooLarge):
        evaluator.submit('"x" * 999', b"null").result()
    assert evaluator.submit('"x" * 998', b"null").result() == b'"' + b"x" * 998 + b'"'
    evaluator.close()


def test_a_worker_that_cannot_work_is_no_fault_of_an_expression() -> None:
    evaluator = Evaluator({}, workers=2, memory_bytes=1 << 20)
    evaluator.start()
    for found in (evaluator.submit(".", b"1").result, lambda: evaluator.compile_errors([".a", ".b"])):
        with pytest.raises(UsageError, match="ends as soon as it is started"):
            found()
    evaluator.close()


def test_where_no_further_worker_can_be_started_those_that_are_there_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "WAIT_SECONDS", 0.0)
    evaluator = Evaluator({}, workers=4)
    start, started = evaluator._start, []

    def one() -> Any:
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(start())
        return started[0]

    monkeypatch.setattr(evaluator, "_start", one)
    assert {future.result() for future in [evaluator.submit("1", b"null") for _ in range(20)]} == {b"1"}
    evaluator.close()
    evaluator = Evaluator({})
    monkeypatch.setattr(evaluator, "_start", one)
    with pytest.raises(UsageError, match="could not be started: Resource temporarily unavailable"):
        evaluator.submit("1", b"null").result()
    evaluator.close()


@linux
def test_a_lower_limit_of_memory_is_kept(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import resource
        from pathlib import Path
        resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 900 << 20))
        from gitlab_port_export.jq.pool import Evaluator
        evaluator = Evaluator({}, workers=1)
        assert evaluator.submit(".", b"1").result() == b"1"
        (process,) = evaluator._processes
        print(Path(f"/proc/{process.pid}/limits").read_text())
        evaluator.close()
    """)
    found = subprocess.run(
        [sys.executable, "-c", script],
        env=process_environ({}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = (line for line in found.stdout.splitlines() if line.startswith("Max address space"))
    assert line.split()[3:5] == [str(800 << 20)] * 2


@linux
def test_killed_worker_is_replaced() -> None:
    evaluator = Evaluator({}, workers=1)
    first = worker_pid(evaluator)
    os.kill(first, signal.SIGKILL)
    until_dead(first)
    with pytest.raises(Killed):
        evaluator.submit("1", b"null").result()
    assert worker_pid(evaluator) != first
    evaluator.close()
    assert not alive(first)


@linux
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from gitlab_port_export.jq.pool import Evaluator
        evaluator = Evaluator({{}}, workers=2, seconds=3600)
        futures = [evaluator.submit({ENDLESS!r}, b"null") for _ in range(2)]
        pids = []
        while len(pids) < 2:
            tasks = Path("/proc/self/task").iterdir()
            pids = [pid for task in tasks for pid in (task / "children").read_text().split()]
            time.sleep(0.01)
        time.sleep(0.3)  # until both are deep in jq, which no closed pipe would end
        print(*pids, flush=True)
        time.sleep(3600)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", script], env=process_environ({}), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(how)
        parent.wait()
        for pid in pids:
            until_dead(pid)


@linux
def test_environment_holds_the_allowed_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCEAN__PORT__CLIENT_SECRET", "s3cret")
    monkeypatch.setenv("STAGE", "test")
    before = children()
    evaluator = Evaluator({"STAGE": "test"}, workers=1)
    assert json.loads(evaluator.submit("[env, $ENV]", b"null").result()) == [{"STAGE": "test"}] * 2
    (pid,) = children() - before
    assert b"s3cret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert b"s3cret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    evaluator.close()


def test_large_inputs_and_outputs_do_not_block_each_other() -> None:
    evaluator = Evaluator({}, workers=2)
    big = json.dumps(["x" * 1000] * 3000).encode()  # pipes hold 64 KiB
    found = [evaluator.submit("[., length]", big) for _ in range(4)]
    assert [json.loads(future.result())[1] for future in found] == [3000] * 4
    evaluator.close()


def test_many_threads_ask_at_once(evaluator: Evaluator) -> None:
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = evaluator.submit(". * 2", str(number).encode()).result()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: str(2 * number).encode() for number in range(40)}


def test_an_expression_that_does_not_compile_gives_the_complaint_of_jq(evaluator: Evaluator) -> None:
    found = evaluator.compile_errors([".a", ".a |", "nonsense", ".a\0)", "\ud800", "# nothing", '"é"'])
    assert [error is None for error in found] == [True, False, False, False, False, False, True]
    assert "nonsense/0 is not defined" in str(found[2])
    assert "null character" in str(found[3])
    assert evaluator.compile_errors([]) == []


def test_compile_errors_single_out_a_bomb() -> None:
    evaluator = Evaluator({}, workers=1, seconds=0.5)
    found = evaluator.compile_errors([".a", SLOW_TO_COMPILE, ".b |", ".c"])
    assert found[0] is None
    assert found[3] is None
    assert found[1] == "compiling it takes too long or too much memory"
    assert "syntax error" in str(found[2])
    evaluator.close()
