"""Finds where lists of a group that are too long for one shard are cut, so that several shards may read parts of it."""

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any

from gitlab_port_export.base.parallel import All, Job, drive
from gitlab_port_export.gitlab.client import Get, GitLab, ReadFailed
from gitlab_port_export.gitlab.kinds.kind import Read
from gitlab_port_export.gitlab.plan import make_plan
from gitlab_port_export.gitlab.windows import find_cuts
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.shards.survey import Survey
from gitlab_port_export.shards.units import long_lists

# So many requests more may short lists take for each window, which has a hundred pages: 3 %.
MOST_EACH = 3
Cuts = tuple[tuple[str, int, tuple[datetime, ...]], ...]


def find_all_cuts(survey: Survey, mapping: Mapping, gitlab: GitLab, workers: int, rows: int) -> Cuts:
    """Return by kind and group the instants that cut its lists into windows of so many rows. Raises http.Stopped.

    All lists of a kind in a group are cut at the instants of the longest one, so that a row which is in two of them is
    in equal parts. Where short lists would take many requests more by that, they are cut at fewer instants.
    """
    if survey.shards == 1:
        return ()
    plan = make_plan(survey.context(mapping))
    lists = long_lists(plan, mapping, dict(survey.searches), survey.together, survey.shards)
    jobs = (_job(kind, group, reads, rows) for (kind, group), reads in lists.items())
    return tuple(sorted(drive(jobs, gitlab.get, Get, workers=workers)))


def _job(kind: str, group: int, reads: Sequence[Read], rows: int) -> Job:
    found = yield All(tuple(_cuts_of(read, rows) for read in reads))
    if cuts := affordable(found):
        yield kind, group, cuts


def affordable(found: Sequence[tuple[datetime, ...]]) -> tuple[datetime, ...]:
    """Return as many of the longest list's cuts as cost few requests: short lists take one more for each."""
    longest, windows = max(found, key=len), sum(map(len, found))
    costs = (sum(max(0, number - len(one)) for one in found) for number in range(len(longest) + 1))
    number = sum(1 for cost in costs if cost <= windows * MOST_EACH) - 1
    return tuple(longest[(place + 1) * len(longest) // (number + 1)] for place in range(number))


def _cuts_of(read: Read, rows: int) -> Generator[Any, Any, tuple[datetime, ...]]:
    assert read.cuttable  # noqa: S101  # as all long lists are; this is for mypy
    try:
        return (yield from find_cuts(read.scope.token, *read.cuttable, rows))
    except ReadFailed:
        return ()  # whoever reads it says why
