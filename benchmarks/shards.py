"""Measure a second sync in N shards under several limits of GitLab.

`python benchmarks/shards.py` takes a quarter of an hour. It writes benchmarks/shards.json, of which `shards_model.py`
makes the table and the plot of docs/sizing.md. All shards run on this machine: where the processor is the bound, they
share it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measure import COMMAND, environ_for
from run import Server, machine, server

RESULTS = Path(__file__).with_name("shards.json")
PROJECTS = 1000
SCALE = 2.0
# GitLab's windows are a minute long; with shorter ones a short run meets several.
PERIOD = 6.0


@dataclass(frozen=True)
class Case:
    """Whether GitLab limits users, and addresses: one for all shards or each its own; how many shards are run."""

    limited: bool = False
    addresses: str = ""
    own_tokens: bool = False
    shards: tuple[int, ...] = (1, 2, 4, 8)


CASES = {
    "no limit": Case(),
    "one user": Case(limited=True, shards=(1, 4)),
    "a user for each shard, one address": Case(limited=True, addresses="one", own_tokens=True, shards=(4,)),
    "a user and an address for each shard": Case(limited=True, addresses="each", own_tokens=True, shards=(2, 4, 8)),
}
TOKEN = "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN"  # a name


def run(args: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
    """Run the command to its end; it has to end well."""
    done = subprocess.run([*COMMAND, *args], check=False, env=environ, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(args)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def sharded(environ: Mapping[str, str], shards: int, folder: Path, *, own_tokens: bool) -> dict[str, float]:
    """Run survey, all shards side by side, and reconcile; the seconds of each step."""
    times = [time.perf_counter()]

    def own(number: int) -> dict[str, str]:
        return {**environ, TOKEN: f"{environ[TOKEN]}-{number}"} if own_tokens else dict(environ)

    if shards == 1:
        run(["sync"], own(1), folder)
        return {"seconds": round(time.perf_counter() - times[0], 2)}
    run(["survey", "--shards", str(shards), "--out", "survey"], own(1), folder)
    times.append(time.perf_counter())
    running = []
    for number in range(1, shards + 1):
        args = ["sync", "--shard", f"{number}/{shards}", "--survey", "survey", "--evidence", f"evidence-{number}.json"]
        with (folder / f"log-{number}").open("w") as log:
            running.append(
                subprocess.Popen([*COMMAND, *args], env=own(number), cwd=folder, stdout=log, stderr=subprocess.STDOUT)
            )
    ended = [process.wait() for process in running]
    for number, code in enumerate(ended, 1):
        if code:
            raise SystemExit(f"shard {number} ended with {code}:\n{(folder / f'log-{number}').read_text()[-3000:]}")
    times.append(time.perf_counter())
    evidence = [f"evidence-{number}.json" for number in range(1, shards + 1)]
    run(["reconcile", "--survey", "survey", *evidence], own(1), folder)
    times.append(time.perf_counter())
    steps = {name: round(b - a, 2) for name, a, b in zip(STEPS, times[:-1], times[1:], strict=True)}
    return {"seconds": round(times[-1] - times[0], 2), **steps}


STEPS = ("survey", "reading", "reconcile")


def measured(
    gitlab: Server, port: Server, scale: float, names: Sequence[str], limit: Mapping[str, float], most: int
) -> list[dict[str, Any]]:
    """Fill Port once, then measure second syncs of these cases."""
    environ = environ_for(gitlab.about["url"], port.about["url"], gitlab.about["token"])
    found: list[dict[str, Any]] = []
    for one in (gitlab, port):
        one.ask("scale 0")
    with tempfile.TemporaryDirectory() as folder:
        run(["sync"], environ, Path(folder))
    for one in (gitlab, port):
        one.ask(f"scale {scale}")
    for name in names:
        case = CASES[name]
        for shards in (number for number in case.shards if number <= most):
            given = json.dumps({**limit, "addresses": case.addresses}) if case.limited else ""
            gitlab.ask(f"limit {given}")
            gitlab.ask("figures")
            before = port.ask("figures")["writes"]
            with tempfile.TemporaryDirectory() as folder:
                took = sharded(environ, shards, Path(folder), own_tokens=case.own_tokens)
            asked = gitlab.ask("figures")["requests"]
            refused = asked.pop("throttled", 0)
            result = {"case": name, "shards": shards, **took, "requests": sum(asked.values()), "refused": refused}
            assert port.ask("figures")["writes"] == before, "a second sync wrote something"
            found.append(result)
            print(json.dumps(result), flush=True)
    return found


def main() -> None:
    """Measure, and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--projects", type=int, default=PROJECTS)
    parser.add_argument("--latency-scale", type=float, default=SCALE, help="factor on every latency of both servers")
    parser.add_argument("--note", default="", help="what readers have to know about these figures")
    parser.add_argument("--a-minute", type=int, default=1500, help="requests that GitLab's limit allows")
    parser.add_argument("--most", type=int, default=8, help="leave out more shards than this")
    options = parser.parse_args(sys.argv[1:])
    limit = {"limit": options.a_minute * PERIOD / 60, "period": PERIOD}
    worlds = {"1,000 projects in 100 topmost groups": (10, tuple(CASES)), "one topmost group": (0, ("no limit",))}
    results: dict[str, Any] = {}
    for world, (group_size, names) in worlds.items():
        size = {"projects": options.projects, "group_size": group_size or options.projects}
        with ExitStack() as stack:
            gitlab = stack.enter_context(server("gitlab", json.dumps(size)))
            port = stack.enter_context(server("port"))
            print(world, flush=True)
            results[world] = {
                "entities": gitlab.about["entities"],
                "runs": measured(gitlab, port, options.latency_scale, names, limit, options.most),
            }
    about = {
        "date": datetime.now(UTC).date().isoformat(), "machine": machine(), "load": round(os.getloadavg()[0], 1),
        "latency_scale": options.latency_scale, "limit": limit, "note": options.note,
    }  # fmt: skip
    RESULTS.write_text(json.dumps({**about, "worlds": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
