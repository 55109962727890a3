"""Measure a first and a second sync of a large world: requests, seconds, CPU, memory; prints a table."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main() -> None:
    """Run the benchmark for the number of projects given (default 100)."""
    projects = sys.argv[1] if len(sys.argv) > 1 else "100"
    server = subprocess.Popen(
        [sys.executable, str(HERE / "servers.py"), projects, *sys.argv[2:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin
    assert server.stdout
    urls = json.loads(server.stdout.readline())
    try:
        for name in ("first", "second", "third"):
            result = measure(urls)
            server.stdin.write("writes\n")
            server.stdin.flush()
            state = json.loads(server.stdout.readline())
            print(json.dumps({"run": name, **result, **state}))
    finally:
        server.stdin.close()
        server.wait()


def measure(urls: dict[str, str]) -> dict[str, Any]:
    """Run one sync and return what it took."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE.parent / "src"),
        "OCEAN__PORT__BASE_URL": urls["port"],
        "OCEAN__PORT__CLIENT_ID": "demo-client",
        "OCEAN__PORT__CLIENT_SECRET": "demo-secret",
        "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": urls["gitlab"],
        "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN": urls["token"],
        "OCEAN__SEND_RAW_DATA_EXAMPLES": "false",
        "APPLICATION__LOG_LEVEL": "WARNING",
    }
    before = os.times()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "gitlab_port_export", "sync", "--output", "json"],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
        )
        peak = [0]
        watcher = threading.Thread(target=watch, args=(process.pid, peak), daemon=True)
        watcher.start()
        out, _ = process.communicate()
    seconds = time.perf_counter() - started
    after = os.times()
    if not out:
        raise SystemExit(f"the command ended with {process.returncode} and no report")
    report = json.loads(out)
    return {
        "exit": process.returncode,
        "seconds": round(seconds, 2),
        "cpu": round(after.children_user + after.children_system - before.children_user - before.children_system, 2),
        "peak_mib": round(peak[0] / 1024, 1),
        "reported": report.get("requests"),
    }


def watch(pid: int, peak: list[int]) -> None:
    """Sample the sum of PSS over the process and its children."""
    while Path(f"/proc/{pid}").exists():
        peak[0] = max(peak[0], sum(pss(one) for one in tree(pid)))
        time.sleep(0.05)


def tree(pid: int) -> list[int]:
    """Return a process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        tasks = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *{*map(int, children), *tasks}]


def pss(pid: int) -> int:
    """Return a process's proportional set size in KiB."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0


if __name__ == "__main__":
    main()
