"""Computes how long a sync in N shards takes, and writes the table and the plot of docs/sizing.md.

It is a model, made of what was measured: requests and CPU an entity (docs/performance.md), seconds an answer, and
GitLab.com's limits. What `shards.py` measured at 100,000 entities stands beside it.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from plot import Panel, legend_of, picture

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "sizing.md"
PART = re.compile(r"(<!-- shards: written by benchmarks/shards_model.py -->\n).*?(<!-- end of shards -->\n)", re.DOTALL)
SHARDS = (1, 2, 4, 8, 16, 32)
# Measured: docs/performance.md, 1,000,000 entities.
ENTITIES_A_PROJECT, REQUESTS_A_PROJECT, GROUPS_A_PROJECT = 101, 2.77, 0.15
CPU_A_MILLION = {"first": 266.0, "second": 175.0}
ANSWER, FULL_PAGE, PORT_ANSWER, CONNECTIONS, START = 0.124, 0.25, 0.05, 10, 1.0
# GitLab.com's requests a second for one user, and for one address; Port's calls a second for one organisation.
GITLAB_LIMIT, PORT_LIMIT = 2000 / 60, 35_000 / 300
# Rows of merge requests, and of issues, of a project; rows of a window, and seconds of an answer with few rows.
LISTED_A_PROJECT, WINDOW, ROW_ANSWER = 30, 9900, 0.06
CASES = {
    "no limit": "a GitLab without limits",
    "one user": "2,000 a minute, one user, or one address for all users",
    "each": "2,000 a minute for each shard: a user and an address of its own",
}


@dataclass(frozen=True)
class Sync:
    """A sync: how large, which of two, how GitLab limits it, in how many topmost groups, seconds until a job starts."""

    entities: int
    run: str = "second"
    case: str = "no limit"
    one_group: bool = False
    job_start: float = 30.0

    @property
    def projects(self) -> float:
        """How many projects there are."""
        return self.entities / ENTITIES_A_PROJECT

    @property
    def a_second(self) -> float:
        """How many requests a second GitLab takes from one job."""
        return math.inf if self.case == "no limit" else GITLAB_LIMIT

    def minutes(self, shards: int) -> float:
        """From the start of the first job to the end of the last one."""
        inventory = self.inventory()
        if shards == 1:
            return (self.job_start + START + inventory + self.reading(1)) / 60
        survey = inventory + self.cutting()
        return (3 * (self.job_start + START) + survey + self.reading(shards) + self.reconcile()) / 60

    def inventory(self) -> float:
        """Seconds for groups and projects; of projects above 4,000 ranges of 10,000 are read side by side."""
        pages = self.projects / 100
        ranges = min(max(1.0, (self.projects - 4000) / 10_000), CONNECTIONS)
        read = min(pages, 40) * FULL_PAGE + max(0.0, pages - 40) * FULL_PAGE / ranges
        return max(read, pages / self.a_second)

    def cutting(self) -> float:
        """Seconds to find where the lists of one topmost group are cut: a request for each window, one by one."""
        return self.projects * LISTED_A_PROJECT / WINDOW * ROW_ANSWER if self.one_group else 0.0

    def reading(self, shards: int) -> float:
        """Seconds of the slowest shard: GitLab's answers, its limit, the processor, or Port's limit."""
        requests, seconds = self.projects * REQUESTS_A_PROJECT, self.projects * REQUESTS_A_PROJECT * ANSWER
        # What must stay in one shard: all member lists.
        people = self.projects * GROUPS_A_PROJECT
        most = requests if self.case == "one user" else max(requests / shards, people)
        longest = max(seconds / shards, people * ROW_ANSWER)
        cpu = self.entities / 1e6 * CPU_A_MILLION[self.run] / shards
        writes = self.entities / 20 / PORT_LIMIT if self.run == "first" else 0.0
        return max(longest / CONNECTIONS, most / self.a_second, cpu, writes)

    def reconcile(self) -> float:
        """Seconds of the last job: what Port holds of ours, 1,000 a page, and the evidence of all shards."""
        return self.entities / 1000 * PORT_ANSWER / CONNECTIONS + self.entities / 1e6


def modelled() -> Iterator[str]:
    """Yield the tables of the model."""
    for run in ("second", "first"):
        yield f"Minutes of a {run} sync, **modelled**, with 30 seconds until a job starts:\n"
        yield "| entities | GitLab | " + " | ".join(f"N = {n}" for n in SHARDS) + " |"
        yield "|---|---|" + "---|" * len(SHARDS)
        for entities, case in product((1_000_000, 10_000_000), CASES):
            yield _line(f"{entities // 1_000_000} million | {CASES[case]}", Sync(entities, run, case))
        yield ""
    yield "The same second sync of 10 million without limits, where something else differs:\n"
    yield "| | " + " | ".join(f"N = {n}" for n in SHARDS) + " |"
    yield "|---|" + "---|" * len(SHARDS)
    yield _line("a job starts after 120 seconds", Sync(10_000_000, job_start=120))
    yield _line("everything below one topmost group", Sync(10_000_000, one_group=True))


def _line(name: str, sync: Sync) -> str:
    return f"| {name} | " + " | ".join(_short(sync.minutes(n)) for n in SHARDS) + " |"


def _short(minutes: float) -> str:
    return f"{minutes:.1f}" if minutes < 10 else f"{minutes:.0f}"


def measured(found: dict[str, Any]) -> Iterator[str]:
    """Yield the table of what was measured."""
    for world, one in found["worlds"].items():
        yield f"Seconds of a second sync, **measured**: {one['entities']:,} entities, {world}.\n"
        yield "| GitLab | shards | seconds | survey, reading, reconcile | GitLab requests | more than one run |"
        yield "|---|---|---|---|---|---|"
        alone = next(run["requests"] for run in one["runs"] if run["shards"] == 1)
        for run in one["runs"]:
            steps = ", ".join(f"{run[name]:.0f}" for name in ("survey", "reading", "reconcile") if name in run) or "–"
            more = f"{100 * (run['requests'] / alone - 1):.1f} %"
            yield (
                f"| {run['case']} | {run['shards']} | {run['seconds']:.0f} | {steps} | {run['requests']:,} | {more} |"
            )
        yield ""
    limit, scale = found["limit"], found["latency_scale"]
    yield (
        f"Measured {found['date']} on one machine with {found['machine']['cores']} cores and a load of "
        f"{found['load']:g}, which all shards and both servers shared. Answers took {scale * 50:g} ms, and GitLab's "
        f"{scale * 2:g} ms a row. Where there was a limit it was {limit['limit'] / limit['period'] * 60:,.0f} requests "
        f"a minute, in windows of {limit['period']:g} seconds. {found['note']}".rstrip()
    )


def svg() -> str:
    """Return the plot: minutes over shards, a line for each case."""
    names = dict(zip(CASES, ("first", "second", "third"), strict=True))
    panels = [
        Panel(
            f"Second sync of {entities // 1_000_000} million",
            "minutes",
            {names[case]: [(n, Sync(entities, case=case).minutes(n)) for n in SHARDS] for case in CASES},
            across="shards",
            ticks=SHARDS,
        )
        for entities in (1_000_000, 10_000_000)
    ]
    each = "limit, a user and an address each"
    legend = legend_of(("first", "no limit"), ("second", "limit, one user"), ("third", each))
    return picture(panels, legend, "Minutes of a second sync over the number of shards, modelled")


def main() -> None:
    """Write the tables and the plot."""
    results = HERE / "shards.json"
    lines = list(modelled())
    if results.exists():
        lines += ["", *measured(json.loads(results.read_text("utf-8")))]
    text = "\n".join(lines)
    PAGE.write_text(PART.sub(lambda found: f"{found[1]}{text}\n{found[2]}", PAGE.read_text("utf-8")), "utf-8")
    (HERE / "shards.svg").write_text(svg(), "utf-8")


if __name__ == "__main__":
    main()
