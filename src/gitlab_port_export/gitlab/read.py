"""Carries out the plan: pages as they come, and a Problem for every read that did not end complete."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote

from gitlab_port_export.gitlab.client import Ask, Get, GitLab, ReadFailed
from gitlab_port_export.gitlab.kinds.kind import Read
from gitlab_port_export.gitlab.lists import whole_list
from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.model import Began, Ended, Page, Problem
from gitlab_port_export.parallel import All, Job, Once, drive


def read(plan: SyncPlan, gitlab: GitLab, workers: int) -> Iterator[Page | Problem | Began | Ended]:
    """Yield the pages of all reads as they arrive, and the Problems that hold deletions. Raises http.Stopped."""
    uses = Counter(key for entry in plan.reads for key in entry.shares)
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

    def add(self, said: Any) -> None:
        match said:
            case Get():
                self.requests += 1
            case Page():
                self.rows += len(said.rows)
            case Problem(warning=False):
                self.failure = self.failure or said.why


def _told(number: int, entry: Read) -> Job:
    """Run one read and tell when it begins and ends; a list that is shared counts for the read that asks first."""
    found = _Sum()
    yield Began(number, entry.kind, entry.scope.path)
    yield from _summed(guarded(entry), found)
    yield Ended(number, entry.kind, entry.scope.path, found.rows, found.requests, found.failure)


def _summed(job: Job, found: _Sum) -> Job:
    """Run the job, and all that it starts, and add up what it asks and gives."""
    answer: Any = None
    error: Exception | None = None
    with closing(job):
        while True:
            try:
                said = job.throw(error) if error else job.send(answer)
            except StopIteration as stop:
                return stop.value
            answer = error = None
            found.add(said)
            match said:
                case All(jobs=jobs):
                    said = All(tuple(_summed(one, found) for one in jobs))
                case Once(key=key, start=start):
                    said = Once(key, partial(_begun, start, found))
            try:
                answer = yield said
            except Exception as failure:  # noqa: BLE001  # handed on to the job, never swallowed
                error = failure


def _begun(start: Callable[[], Job], found: _Sum) -> Job:
    return _summed(start(), found)


def guarded(entry: Read) -> Job:
    """Run one read with each token that may do it, from its first page, until one succeeds; else yield a Problem."""
    failures: list[tuple[str, ReadFailed]] = []
    for token in entry.tokens:
        try:
            yield from entry.start(replace(entry.scope, token=token))
            return
        except ReadFailed as failure:
            failures.append((token, failure))
    # A token may have lost the project that another one still sees, so all have to agree that it is gone.
    for token, last in failures:
        if last.reason != "missing" or not (yield from _is_gone(entry, token)):
            break
    else:
        return
    token, last = failures[-1]
    yield Problem(
        "read",
        last.why,
        last.hint,
        token=token,
        scope=entry.scope.path,
        kind=entry.kind,
        resources=entry.resources,
    )


def _is_gone(entry: Read, token: str) -> Generator[Any, Any, bool]:
    """Say whether a project was deleted while we read: it is not found itself, and its group no longer lists it.

    GitLab answers 404 for what a token may not see, so a 404 alone proves nothing; a group's 404 never does.
    """
    if entry.scope.is_group or not entry.scope.id:
        return False
    try:
        yield Get(token, f"/projects/{entry.scope.id}", gives="object")
    except ReadFailed as failure:
        if failure.reason != "missing":
            return False
    else:
        return False
    group = quote(entry.scope.path.rpartition("/")[0], safe="")
    try:
        rows = yield from whole_list(
            token,
            f"/groups/{group}/projects",
            (("with_shared", "false"), ("order_by", "id"), ("sort", "asc")),
        )
    except ReadFailed:
        return False
    return all(row.get("id") != entry.scope.id for row in rows)
