"""One run of the command from outside: seconds, CPU of all its processes, and their memory together."""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent.parent / "src"
COMMAND = (sys.executable, "-m", "gitlab_port_export")
# Reading a large process's memory takes the kernel a while; at most this share of the time goes into it.
SAMPLING_SHARE, SAMPLING_SECONDS = 0.02, 0.05


@dataclass(frozen=True)
class Measured:
    """What a run took; `workers_cpu` is the part of `cpu` below its first process, `report` its own JSON report."""

    exit: int
    seconds: float
    cpu: float
    workers_cpu: float
    peak_mib: float
    processes: int
    report: dict[str, Any]


def environ_for(gitlab: str, port: str, token: str) -> dict[str, str]:
    """The variables of a run between two servers; examples are off."""
    return {
        **base_environ(),
        "OCEAN__PORT__BASE_URL": port,
        "OCEAN__PORT__CLIENT_ID": "demo-client",
        "OCEAN__PORT__CLIENT_SECRET": "demo-secret",
        "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": gitlab,
        "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN": token,
        "OCEAN__SEND_RAW_DATA_EXAMPLES": "false",
        "APPLICATION__LOG_LEVEL": "WARNING",
    }


def base_environ() -> dict[str, str]:
    """What any process of the benchmark needs."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}


def sync(environ: Mapping[str, str], tell: Callable[[float, float], None]) -> Measured:
    """Run one sync and wait for it; `tell` hears now and then how many seconds and MiB it is at."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "out").open("w+") as out:
        started = time.perf_counter()
        process = subprocess.Popen([*COMMAND, "sync", "--output", "json"], cwd=folder, env=environ, stdout=out)
        watch = _Watch(process.pid, tell)
        watch.start()
        # The usage of a process holds that of all processes that it waited for.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        watch.ended.set()
        watch.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if not text:
        raise SystemExit(f"the command ended with {process.returncode} and no report")
    cpu = usage.ru_utime + usage.ru_stime
    workers = sum(watch.workers.values()) / os.sysconf("SC_CLK_TCK")
    return Measured(process.returncode, seconds, cpu, workers, watch.peak / 1024, watch.most, json.loads(text))


class _Watch(threading.Thread):
    """Samples the sum of PSS over a process and all below it, and the clock ticks of each that is below."""

    def __init__(self, pid: int, tell: Callable[[float, float], None]) -> None:
        super().__init__(daemon=True)
        self._pid, self._tell = pid, tell
        self.ended = threading.Event()
        self.peak, self.most = 0, 0
        self.workers: dict[int, int] = {}

    def run(self) -> None:
        started = told = time.monotonic()
        pause = SAMPLING_SECONDS
        while not self.ended.wait(pause):
            before = time.monotonic()
            pids = tree(self._pid)
            self.workers |= {pid: ticks(pid) for pid in pids[1:]}
            found = [pss(pid) for pid in pids]
            self.peak, self.most = max(self.peak, sum(found)), max(self.most, len(found))
            now = time.monotonic()
            pause = max(SAMPLING_SECONDS, (now - before) / SAMPLING_SHARE)
            if now - told > 30:
                self._tell(now - started, sum(found) / 1024)
                told = now


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    found += tree(int(child))
    return found


def pss(pid: int) -> int:
    """Return a process's proportional set size in KiB, 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def ticks(pid: int) -> int:
    """Return the clock ticks that a process has used, 0 when it has ended."""
    with suppress(OSError):
        # The name, in brackets, may hold anything; user and system time are the 12th and 13th field after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


def start_figures(times: int) -> dict[str, float]:
    """Return medians in seconds: start to first request, `--help`, and an interpreter with typer and requests."""
    kinds: dict[str, Callable[[], float]] = {
        "first_request": _to_first_request,
        "help": lambda: _timed([*COMMAND, "--help"]),
        "imports": lambda: _timed([sys.executable, "-c", "import typer, requests"]),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    # In turn, so that a busy moment of the machine meets all; the first time only warms up.
    for number in range(times + 1):
        for name, measure in kinds.items():
            seconds = measure()
            if number:
                found[name].append(seconds)
    return {name: round(statistics.median(seconds), 4) for name, seconds in found.items()}


def _timed(command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=base_environ(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def _to_first_request() -> float:
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as folder:
        listener.settimeout(60)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started = time.perf_counter()
        process = subprocess.Popen(
            [*COMMAND, "sync"], cwd=folder, env=environ_for(url, url, "token"), stderr=subprocess.DEVNULL
        )
        try:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()
