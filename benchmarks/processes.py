"""Measure a second sync with one and with several processes, in turn; or how much memory evidence takes to merge.

`python benchmarks/processes.py --projects 1000 --pairs 3` takes some minutes; `--evidence 10000000` some seconds.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from array import array
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from measure import SOURCE, environ_for, sync
from run import server

sys.path.insert(0, str(SOURCE))
SHARDS = 8


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--projects", type=int, default=1000, help="of about a hundred entities each")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--processes", default="1,2", help="the numbers that are compared")
    parser.add_argument("--latency-scale", type=float, default=1.0, help="factor on every latency of both servers")
    parser.add_argument("--evidence", type=int, help="merge evidence of so many entities, and nothing else")
    options = parser.parse_args()
    if options.evidence:
        print(merged_evidence(options.evidence))
        return
    measure(options.projects, options.pairs, options.processes.split(","), options.latency_scale)


def measure(projects: int, pairs: int, numbers: list[str], scale: float) -> None:
    """Print what second syncs took, one number of processes after the other."""
    found: dict[str, list[Any]] = {number: [] for number in numbers}
    with ExitStack() as stack:
        gitlab = stack.enter_context(server("gitlab", str(projects), "1"))
        port = stack.enter_context(server("port"))
        for one in (gitlab, port):
            one.ask(f"scale {scale}")
        environ = environ_for(gitlab.about["url"], port.about["url"], gitlab.about["token"])
        for run in range(pairs + 1):
            for number in numbers:
                took = sync({**environ, "OCEAN__EXPORT__PROCESSES": number}, lambda *_: None)
                assert took.exit == 0, took.report["problems"]
                requests = took.report["requests"]
                if run:
                    found[number].append(took)
                print(
                    f"{'pair ' + str(run) if run else 'first'}, {number} processes: {took.seconds:.1f} s, "
                    f"{took.cpu:.1f} s of CPU, {took.peak_mib:.0f} MiB together, {requests['gitlab']} GitLab requests, "
                    f"{requests['port']} Port requests, load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
    for number, some in found.items() if pairs else ():
        print(
            f"{number} processes, medians of {len(some)}: {median(one.seconds for one in some):.1f} s, "
            f"{median(one.cpu for one in some):.1f} s of CPU, {max(one.peak_mib for one in some):.0f} MiB at most"
        )


def merged_evidence(entities: int) -> str:
    """Return what it takes to merge evidence of so many entities, made by another process."""
    from gitlab_port_export.shards import evidence, reconcile  # noqa: PLC0415  # the path to it was set only now

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(number) for number in range(1, SHARDS + 1)]
        if not (child := os.fork()):
            _write(files, entities)
            os._exit(0)
        os.waitpid(child, 0)
        before, began = _peak(), time.process_time()
        found = [evidence.load(file) for file in files]
        produced, _ = reconcile.merged_keys(found)
        reconcile.targets_of(found, produced)
        took = time.process_time() - began
    return (
        f"evidence of {sum(map(len, produced.values())):,} entities in {SHARDS} shards: {took:.1f} s of CPU, "
        f"{_peak():.0f} MiB at most, {before:.0f} MiB before"
    )


def _write(files: list[Path], entities: int) -> None:
    from gitlab_port_export.report.values import Report  # noqa: PLC0415  # as above
    from gitlab_port_export.shards import evidence  # noqa: PLC0415  # as above

    report = Report("sync", 0, "2026-01-01T00:00:00+00:00", 1.0)
    for number, file in enumerate(files, 1):
        keys = array("Q")
        keys.frombytes(os.urandom(8 * (entities // len(files))))
        keys = array("Q", sorted(keys))
        half = len(keys) // 2
        found = evidence.Found(whole=True, produced={"one": keys[:half], "other": keys[half:]}, targets=keys[::10])
        evidence.save(file, evidence.Shard(number, len(files)), "survey", "run", found, report)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
