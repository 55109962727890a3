"""Carries out the plan: yields pages as they come, and a Problem for every read that was not complete."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gitlab_port_export.base.answer import Answer
from gitlab_port_export.base.parallel import Job, drive, through
from gitlab_port_export.gitlab.client import Ask, Get, GitLab, Params, count_of
from gitlab_port_export.gitlab.kinds.kind import Read
from gitlab_port_export.gitlab.kinds.shared.guard import guarded
from gitlab_port_export.gitlab.lists import PER_PAGE
from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.gitlab.windows import is_cut, untimed
from gitlab_port_export.model import Began, Counted, Ended, Event, Page, Problem

# A list of no more pages is sooner read again than asked whether it changed.
FEW_PAGES = 2


def read(
    plan: SyncPlan, gitlab: GitLab, workers: int, *, doubtful: bool = False
) -> Generator[Page | Problem | Began | Ended | Counted, None, None]:
    """Yield the pages of all reads as they arrive, and the Problems that hold deletions. Raises http.Stopped.

    `doubtful` is for reading before something is deleted: each list then has to prove its own end.
    """
    uses = Counter(key for entry in plan.reads for key in (*entry.shares, *entry.needs))
    dead_before = set(gitlab.dead_tokens)
    yield from drive(
        (_told(number, entry) for number, entry in enumerate(plan.reads)),
        partial(_unlinked, gitlab) if doubtful else gitlab.answer,
        (Get, Ask),
        workers=workers,
        uses=uses,
    )
    for token, failure in gitlab.dead_tokens.items():
        if token not in dead_before:
            yield Problem("read", failure.why, failure.hint, token=token, holds_all=True)


def pages_for(resources: Set[int], events: Iterable[Event]) -> Iterator[Event]:
    """Leave pages to these resources alone: others that share them were not asked about."""
    for event in events:
        if isinstance(event, Page):
            yield replace(event, resources=tuple(index for index in event.resources if index in resources))
        else:
            yield event


def _unlinked(gitlab: GitLab, question: Get | Ask) -> Answer:
    """Answer without what other lists tell of Link headers: a proxy may take them off some lists alone."""
    return replace(gitlab.answer(question), links=False)


@dataclass
class _Pages:
    """How many rows and pages GitLab counts in a list, or in a window of one, and the pages that came."""

    total: int | None
    pages: int | None
    numbers: set[str] = field(default_factory=set)

    @property
    def whole(self) -> bool:
        """Whether each page came, or the first one of a list that is not counted: then windows of it were read."""
        return self.numbers == {"1"} if self.total is None else len(self.numbers) == self.pages


@dataclass
class _Paged:
    """The one list that a read asks for, or its windows, as long as all pages came once and count the same rows."""

    asked: tuple[str, str, Params] | None = None
    clock: str = ""
    lists: dict[Params, _Pages] = field(default_factory=dict)
    alike: bool = True

    def note(self, asked: Get, answer: Answer) -> None:
        """Take in one answer."""
        if is_cut(asked):
            return
        *size, page = asked.params[-2:] or (("", ""),)
        params, total = asked.params[:-2], count_of(answer, "x-total")
        if self.asked is None:
            self.asked, self.clock = (asked.token, asked.path, untimed(params)), answer.headers.get("date", "")
        pages = self.lists.setdefault(params, _Pages(total, count_of(answer, "x-total-pages")))
        self.alike &= page[0] == "page" and size == [("per_page", str(PER_PAGE))] and page[1] not in pages.numbers
        self.alike &= (asked.token, asked.path, untimed(params)) == self.asked and total == pages.total
        pages.numbers.add(page[1])

    def counted(self, number: int) -> Counted | None:
        """Return what is known of the list, where it has many pages and each came once."""
        windows = tuple((params, pages.total) for params, pages in self.lists.items() if pages.total is not None)
        few = sum(len(pages.numbers) for pages in self.lists.values()) <= FEW_PAGES
        if few or not (self.asked and self.alike and self.clock and windows):
            return None
        if not all(pages.whole for pages in self.lists.values()):
            return None
        token, path, params = self.asked
        if len(self.lists) == 1:
            return Counted(number, token, path, *windows[0], self.clock)
        return Counted(number, token, path, params, sum(total for _, total in windows), self.clock, windows)


@dataclass
class _Sum:
    """What one read came to."""

    rows: int = 0
    requests: int = 0
    failure: str = ""
    paged: _Paged = field(default_factory=_Paged)

    def hand_on(self, said: Any) -> Job:
        """Add up what the read asks and gives."""
        match said:
            case Get():
                self.requests += 1
                answer = yield said
                self.paged.note(said, answer)
                return answer
            case Ask():
                self.requests += 1
                self.paged.alike = False
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
    if not found.failure and (counted := found.paged.counted(number)):
        yield counted
    yield Ended(number, entry.kind, entry.scope.path, found.rows, found.requests, found.failure)
