"""Measure a first and a second sync of worlds of several sizes; print the table, write results, plot and page.

`python benchmarks/run.py` does it all in about twenty minutes; `--sizes 10k` takes two.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load import answers_a_second
from measure import Measured, base_environ, environ_for, start_figures, sync
from plot import svg
from table import markdown, missed

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- results: written by benchmarks/run.py -->", "<!-- end of results -->"
# Projects, how many times the usual hundred rows each of them has, and how often both syncs are measured.
SIZES = {"1k": (10, 1, 5), "10k": (100, 1, 7), "100k": (1000, 1, 3), "1m": (10_000, 1, 1)}
# After the second sync: one that begins to note how far it came, and what incremental runs then take when nothing
# changed, and when so many of the projects have. In worlds of up to so many projects.
SINCE, CHANGED, SINCE_PROJECTS = ("noting", "quiet", "changed"), 0.03, 1000
CONNECTIONS = 10
LOAD_SECONDS = 2.0
Json = dict[str, Any]


class Server:
    """A server of the benchmark in its own process, told and asked by lines."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.about = self._answer()

    def ask(self, command: str) -> Json:
        """Send a command and return its answer."""
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Json:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a server of the benchmark ended; its words are above")
        found: Json = json.loads(line)
        return found


@contextmanager
def server(*args: str) -> Iterator[Server]:
    """Run a server until the block ends."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "servers.py"), *args],
        env=base_environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    try:
        yield Server(process)
    finally:
        process.stdin.close()
        process.wait()


def main() -> None:
    """Run what the command line asks for."""
    options = _options(sys.argv[1:])
    results: dict[str, Json] = {}
    if options.results.exists() and not options.anew:
        results = json.loads(options.results.read_text())["sizes"]
    sizes = [name.strip().lower() for name in options.sizes.split(",")]
    start = None
    if not options.no_start:
        _say("start to first request, --help, imports")
        start = start_figures(options.times)
    for name in sizes:
        projects, depth, runs = _shape(name)
        found = quickest([measured(name, projects, depth, options.latency_scale) for _ in range(options.runs or runs)])
        # The start is the same at every size; it stands with the smallest.
        results[name] = {**found, "note": options.note, "start": start if name == sizes[0] else None}
        options.results.write_text(json.dumps({"sizes": results}, indent=2, ensure_ascii=False) + "\n")
    text = markdown(results)
    print(text)
    options.results.with_suffix(".svg").write_text(svg(results))
    if not options.no_page:
        _write_page(text)
    if faults := missed(results):
        print("\nMissed:", *faults, sep="\n- ")
    sys.exit(1 if faults and options.strict else 0)


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--sizes", default="10k,100k,1m", help=f"of {', '.join(SIZES)}, or PROJECTSxDEPTH: hundreds of rows a project"
    )
    parser.add_argument("--latency-scale", type=float, default=1.0, help="factor on every latency of both servers")
    parser.add_argument("--runs", type=int, help="how often each size is measured; by default small ones more often")
    parser.add_argument("--times", type=int, default=7, help="how often the start is measured")
    parser.add_argument("--no-start", action="store_true", help="leave out the start and --help")
    parser.add_argument("--results", type=Path, default=HERE / "results.json", help="where the results are kept")
    parser.add_argument("--anew", action="store_true", help="forget the sizes in the results that are not measured now")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md as it is")
    parser.add_argument("--note", default="", help="what readers have to know about these figures")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    return parser.parse_args(args)


def _shape(name: str) -> tuple[int, int, int]:
    if name in SIZES:
        return SIZES[name]
    projects, _, depth = name.partition("x")
    return int(projects), int(depth or 1), 1


def quickest(results: Sequence[Json]) -> Json:
    """Return one result: of each sync the one that took the least CPU, with the highest memory of all.

    A machine with other guests takes now more and now less for the same, and what they add is never the exporter's.
    """
    best = dict(results[0])
    for run in (name for name in ("first", "second", *SINCE) if name in best):
        found = [result[run] for result in results]
        best[run] = {
            **min(found, key=lambda one: float(one["cpu"])),
            "peak_mib": max(one["peak_mib"] for one in found),
            "all_cpu": [one["cpu"] for one in found],
            "all_seconds": [one["seconds"] for one in found],
            "all_stolen": [one.get("stolen", 0.0) for one in found],
        }
    return best


def measured(name: str, projects: int, depth: int, scale: float) -> Json:
    """Run a first and a second sync of one world and return everything that was measured."""
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        gitlab = stack.enter_context(server("gitlab", str(projects), str(depth)))
        port = stack.enter_context(server("port"))
        _say(f"{name}: {projects} projects, {gitlab.about['entities']} entities")
        for one in (gitlab, port):
            one.ask(f"scale {scale}")
            one.ask("figures")  # what it took to begin is not the run's
        environ = environ_for(gitlab.about["url"], port.about["url"], gitlab.about["token"])
        servers = {"gitlab": gitlab, "port": port}
        samples: dict[str, list[str]] = {}
        runs = {run: _run(f"{name}: {run} sync", run, environ, servers, samples) for run in ("first", "second")}
        for run in SINCE if projects <= SINCE_PROJECTS else ():
            if run == "changed":
                gitlab.ask(f"change {CHANGED}")
            since = {**environ, "OCEAN__EXPORT__SINCE": "last"}
            runs[run] = _run(f"{name}: sync --since last, {run}", run, since, servers, samples)
        written = runs["first"]["port"]["writes"]
        runs["second"]["port"]["writes"] -= written
        _say(f"{name}: what the servers can do")
        possible = {
            "gitlab": _possible(gitlab, samples["gitlab second"]),
            "port_first": _possible(port, samples["port first"]),
            "port_second": _possible(port, samples["port second"]),
        }
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "load_before": round(load_before, 2),
        "latency_scale": scale,
        "connections": CONNECTIONS,
        "projects": projects,
        "depth": depth,
        "entities": gitlab.about["entities"],
        "fewest": gitlab.about["fewest"],
        **runs,
        "possible": possible,
    }


def _run(
    title: str, run: str, environ: Mapping[str, str], servers: Mapping[str, Server], samples: dict[str, list[str]]
) -> Json:
    """Run the command once; return what it took and asked of the servers, and keep samples of that."""
    _say(title)
    before = stolen()
    took = sync(environ, lambda seconds, mib: _say(f"  at {seconds:.0f} s, {mib:.0f} MiB"))
    samples |= {f"{side} {run}": one.ask("sample")["sample"] for side, one in servers.items()}
    found = _checked(took, servers["gitlab"].ask("figures"), servers["port"].ask("figures"))
    found["stolen"] = round((stolen() - before) / took.seconds / len(os.sched_getaffinity(0)), 3)
    _say(f"{title} took {took.seconds:.1f} s, {took.cpu:.1f} s of CPU, {took.peak_mib:.0f} MiB")
    return found


def _checked(took: Measured, gitlab: Json, port: Json) -> Json:
    """A run that did not end well is not worth its figures."""
    if took.exit:
        problems = json.dumps(took.report.get("problems", []), indent=2)
        raise SystemExit(f"the sync ended with {took.exit}:\n{problems[:4000]}")
    return {
        "seconds": round(took.seconds, 3),
        "cpu": round(took.cpu, 3),
        "workers_cpu": round(took.workers_cpu, 3),
        "peak_mib": round(took.peak_mib, 1),
        "processes": took.processes,
        "gitlab": gitlab,
        "port": port,
    }


def _possible(one: Server, sample: list[str]) -> float:
    one.ask("scale 0")
    return round(answers_a_second(one.about["url"], sample, CONNECTIONS, LOAD_SECONDS), 1)


def stolen() -> float:
    """Return the seconds in which a core had work to do and another guest of the machine ran in its place.

    The eighth figure of proc_stat(5), `steal`.
    """
    with open("/proc/stat", encoding="utf-8") as lines:
        return int(lines.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def machine() -> Json:
    """What the figures depend on."""
    cpu = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return {"cores": len(os.sched_getaffinity(0)), "cpu": cpu, "python": platform.python_version()}


def _write_page(text: str) -> None:
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
