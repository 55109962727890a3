"""Carries out the plan: pages as they come, and a Problem for every read that did not end complete."""

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from gitlab_port_export.gitlab.client import Ask, Get, GitLab
from gitlab_port_export.gitlab.kinds.guard import guarded
from gitlab_port_export.gitlab.kinds.kind import Read
from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.model import Began, Ended, Page, Problem
from gitlab_port_export.parallel import Job, drive, through


def read(plan: SyncPlan, gitlab: GitLab, workers: int) -> Generator[Page | Problem | Began | Ended, None, None]:
    """Yield the pages of all reads as they arrive, and the Problems that hold deletions. Raises http.Stopped."""
    uses = Counter(key for entry in plan.reads for key in (*entry.shares, *entry.needs))
    dead_before = set(gitlab.dead_tokens)
    yield from drive(
        (_told(number, entry) for number, entry in enumerate(plan.reads)),
        gitlab.answer,
        (Get, Ask),
        workers=workers,
        uses=uses,
    )
    for token, failure in gitlab.dead_tokens.items():
        if token not in dead_before:
            yield Problem("read", failure.why, failure.hint, token=token, holds_all=True)


@dataclass
class _Sum:
    """What one read came to."""

    rows: int = 0
    requests: int = 0
    failure: str = ""

    def hand_on(self, said: Any) -> Job:
        """Add up what the read asks and gives."""
        match said:
            case Get() | Ask():
                self.requests += 1
            case Page():
                self.rows += len(said.rows)
            case Problem(warning=False):
                self.failure = self.failure or said.why
        return (yield said)


def _told(number: int, entry: Read) -> Job:
    """Run one read and tell when it begins and ends; a list that is shared counts for the read that asks first."""
    found = _Sum()
    yield Began(number, entry.kind, entry.scope.path)
    yield from through(guarded(entry), found.hand_on)
    yield Ended(number, entry.kind, entry.scope.path, found.rows, found.requests, found.failure)
