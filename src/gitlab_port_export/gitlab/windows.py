"""Reads a list that is too long for GitLab to count in windows of time, each counted and read by itself.

Above 10,000 rows GitLab counts nothing, so that each page has to be asked for after the one before:
https://docs.gitlab.com/api/rest/#pagination-response-headers. When a row was created never changes. So no row moves
from one window to another, and all windows together hold every row.
"""

from collections.abc import Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from gitlab_port_export.base.answer import Answer
from gitlab_port_export.base.parallel import All, Job
from gitlab_port_export.gitlab.arrived import MIXED_UP, key_of
from gitlab_port_export.gitlab.client import NO_GITLAB, Get, Params, ReadFailed, rows_of
from gitlab_port_export.gitlab.lists import RowHandler, read_list
from gitlab_port_export.model import Row

# A window holds at most so many rows as it is cut: whole pages, and one less than GitLab counts, for rows that come.
WINDOW_ROWS = 9_900
# Neighbours share a second, so that no row is lost whether GitLab takes the ends of a window for a part of it or not.
SHARED = timedelta(seconds=1)
# What is left after so many cuts is likely to be cut again: then its first page is not looked at before.
LONG_AFTER = 4
# Imports and owners may set any year. What is earlier or later than these counts as one of them: GitLab reads years of
# four digits, and a second more or less has to be an instant as well.
EARLIEST, LATEST = datetime(1000, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
# Pages that are looked at from the end, to find where a list is cut, have fewer rows than this.
FEW = 20
# At so many cuts it is asked whether GitLab keeps to the second of the times asked for.
PROBED = 3
AFTER, BEFORE = "created_after", "created_before"


class Span(NamedTuple):
    """The rows that were created between two instants; None is no bound."""

    after: datetime | None = None
    before: datetime | None = None

    @property
    def params(self) -> Params:
        """The filters of GitLab that give these rows."""
        named = ((AFTER, self.after), (BEFORE, self.before))
        return tuple((name, f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}") for name, at in named if at)

    @property
    def wider(self) -> "Span":
        """The span with a second more at each end: GitLab may take a row at an end for none of it."""
        return Span(self.after and self.after - SHARED, self.before and self.before + SHARED)

    def begins(self, at: datetime) -> bool:
        """Say whether an instant is within, to the moment: of spans that follow each other it is in one alone."""
        return (self.after is None or self.after <= at) and (self.before is None or at < self.before)

    def holds(self, at: datetime | None) -> bool:
        """Say whether an instant is within, or at most a second off: how GitLab rounds is its own affair."""
        if at is None:
            return False
        early = self.after is not None and at < self.after - SHARED
        late = self.before is not None and at > self.before + SHARED
        return not (early or late)


@dataclass(frozen=True)
class _Long:
    """A list, and the keys of its rows that were handed on: windows share rows at their ends."""

    token: str
    path: str
    params: Params
    handle: RowHandler
    handed: set[Hashable] = field(default_factory=set)

    def take(self, span: Span, rows: list[Row]) -> Any:
        """Hand on rows that no other window gave. Raises ReadFailed where GitLab did not keep to the window."""
        if not any(span):
            return self.handle(rows)
        if not (span.holds(created(rows[0])) and span.holds(created(rows[-1]))):
            raise ReadFailed("incomplete", f"GitLab gave rows of {self.path} from outside the time asked for", MIXED_UP)
        keys = list(map(key_of, rows))
        new = [row for row, key in zip(rows, keys, strict=True) if key not in self.handed]
        self.handed.update(keys)
        return self.handle(new) if new else None

    def has(self, rows: Iterable[Row]) -> bool:
        """Say whether rows were handed on."""
        return self.handed.issuperset(map(key_of, rows))


def read_windows(token: str, path: str, params: Params, handle: RowHandler, rows: int = WINDOW_ROWS) -> Job:
    """Read an offset list as `read_list` does; one that GitLab does not count is cut into windows of so many rows.

    The list is ordered by `created_at`, oldest first. It is complete when each window is. Raises ReadFailed.
    """
    given = dict(params)
    span = Span(_instant(given.get(AFTER)), _instant(given.get(BEFORE)))
    others = untimed(params)
    if len(others) + len(span.params) < len(params):  # a time that only GitLab can read
        yield from read_list(token, path, params, handle)
    else:
        yield from _read(_Long(token, path, others, handle), span, rows)


def read_part(token: str, path: str, params: Params, span: Span, handle: RowHandler, rows: int = WINDOW_ROWS) -> Job:
    """Read the rows of a list that were created within a span, as `read_windows` does; others read the other parts.

    Raises ReadFailed, also where GitLab does not keep to the times asked for: no part may have the rows at its ends.
    """
    latest: list[Row] = []

    def take(found: list[Row]) -> Any:
        kept = begun_in(span, found)
        latest[:] = [kept[0], kept[-1]] if kept else latest
        return handle(kept) if kept else None

    yield from read_windows(token, path, (*params, *span.wider.params), take, rows)
    long = _Long(token, path, params, len)
    if latest and (yield from _keeps_to_time(long, latest[-1])):
        return
    # No row came, or that one left the list meanwhile: then others have to be given.
    for row in (*latest[:1], *(yield from _newest(long, Span()))):
        if not (yield from _keeps_to_time(long, row)):
            raise ReadFailed("incomplete", f"GitLab did not give a row of {path} by the time of its creation", MIXED_UP)


def _read(long: _Long, span: Span, rows: int, cuts: int = 0) -> Job:
    """Read a span; cut it where GitLab does not count it, and the window has any rows."""
    cut = partial(_cut, long, span, rows, cuts) if rows else None
    yield from read_list(long.token, long.path, (*long.params, *span.params), partial(long.take, span), uncounted=cut)


def _rest(long: _Long, span: Span, rows: int, cuts: int) -> Job:
    """Read what is left after so many cuts."""
    if cuts < LONG_AFTER or not (yield from _cut(long, span, rows, cuts, ())):
        yield from _read(long, span, rows, cuts)


def _cut(long: _Long, span: Span, rows: int, cuts: int, seen: Iterable[Hashable]) -> Generator[Any, Any, bool | None]:
    """Read a span as a window of its newest rows and the rest; return False where it cannot be cut.

    Return None where it has no more rows than a window: a proxy took off the counts. `seen` are the keys of the rows
    that came before GitLab turned out not to count it. Raises ReadFailed.
    """
    try:
        if len(ends := (yield from _ends(long, span, rows))) < 2:
            return None
        # Windows leave out a row without a time. PostgreSQL has it before all others here, as the newest.
        newest = ends[-1:] if any(span) else (yield from _newest(long, span))
    except ReadFailed:
        return False
    if not all(map(created, newest)) or (parts := _parts(span, created(ends[1]))) is None:
        return False
    long.handed.update(seen)
    window, rest = parts
    # The window is counted, unless it had to take in a second with thousands of rows.
    yield All((_read(long, window, rows // 2), _rest(long, rest, rows, cuts + 1)))
    # One of them may have left the list meanwhile; then the two that are there now came.
    if not long.has(ends) and not long.has((yield from _ends(long, span, rows))):
        why = f"GitLab gave no rows of {long.path} from between two windows, and has some"
        raise ReadFailed("incomplete", why, MIXED_UP)
    return True


def _ends(long: _Long, span: Span, rows: int) -> Generator[Any, Any, list[Row]]:
    """Return the last row of a window of so many of the newest rows, and the one behind it.

    No row is between these two: where both came, the window and the rest have left none out. Raises ReadFailed.
    """
    # One page holds both.
    size = next(number for number in range(2, FEW) if rows % number)
    found = yield from _from_the_end(long, span, rows // size + 1, size)
    return found[rows % size - 1 : rows % size + 1]


def _newest(long: _Long, span: Span) -> Generator[Any, Any, list[Row]]:
    """Return the newest row of a span, if it has any. Raises ReadFailed."""
    return (yield from _from_the_end(long, span, 1, 1))


def _from_the_end(long: _Long, span: Span, number: int, size: int) -> Generator[Any, Any, list[Row]]:
    """Return a page of a few rows of the list, in the order from the newest row. Raises ReadFailed."""
    order = tuple(("sort", "desc") if name == "sort" else (name, value) for name, value in long.params)
    page = ("page", str(number))
    answer: Answer = yield Get(long.token, long.path, (*order, *span.params, ("per_page", str(size)), page))
    if answer.headers.get("x-page", page[1]) != page[1]:
        raise ReadFailed("incomplete", f"GitLab gave another page of {long.path} than was asked for", MIXED_UP)
    return rows_of(answer)


def find_cuts(
    token: str, path: str, params: Params, rows: int = WINDOW_ROWS
) -> Generator[Any, Any, tuple[datetime, ...]]:
    """Return the instants that cut a list into windows of at most so many rows, oldest first.

    There are none for a list of no more rows, for one with rows without a time, which windows leave out, and where
    GitLab does not keep to the times asked for. The list is ordered by `created_at`. Raises ReadFailed.
    """
    long, span, found = _Long(token, path, params, len), Span(), list[datetime]()
    while len(ends := (yield from _ends(long, span, rows))) == 2 and (parts := _parts(span, created(ends[1]))):
        _, span = parts
        assert span.before is not None  # noqa: S101  # a cut has an instant; this is for mypy
        found.append(span.before)
        if len(found) <= PROBED and not (yield from _keeps_to_time(long, ends[1])):
            return ()
    if found and not all(map(created, (yield from _newest(long, Span())))):
        return ()
    return tuple(reversed(found))


def _keeps_to_time(long: _Long, row: Row) -> Generator[Any, Any, bool]:
    """Say whether GitLab gives a row that it was asked for by the time of its creation, and none that is much later."""
    at = created(row)
    if at is None:
        return False
    second = at.replace(microsecond=0)
    span = Span(second, second + SHARED).wider
    newest = [created(one) for one in (yield from _newest(long, span))]
    return any(one is not None and at <= one and span.holds(one) for one in newest)


def spans(cuts: Sequence[datetime]) -> tuple[Span, ...]:
    """Return the spans between instants, which together hold every instant once."""
    return tuple(Span(*ends) for ends in pairwise((None, *cuts, None)))


def is_cut(asked: Get) -> bool:
    """Say whether a question looks for a cut, and is none for a page: of few rows, from the end."""
    query = dict(asked.params)
    return query.get("sort") == "desc" and int(query.get("per_page", FEW)) < FEW


def untimed(params: Params) -> Params:
    """Return a query without the bounds of a window, which all windows of a list share."""
    return tuple(pair for pair in params if pair[0] not in (AFTER, BEFORE))


def _parts(span: Span, at: datetime | None) -> tuple[Span, Span] | None:
    """Cut a span after the second of an instant, or a second before it where the span ends with it; None where neither.

    Both parts share a second. Where no row was created in it, none is read twice. A second with more rows than a window
    is in one part alone.
    """
    # An instant of the first or last year may stand for one of another year.
    if at is None or at.year in (EARLIEST.year, LATEST.year) or not span.holds(at):
        return None
    second = at.replace(microsecond=0)
    before = second + 2 * SHARED
    if span.before is not None and before >= span.before:
        before = min(second, span.before) - SHARED
    after = before - SHARED
    if span.after is not None and after <= span.after:
        return None
    return Span(after, span.before), Span(span.after, before)


def begun_in(span: Span, rows: Iterable[Row]) -> list[Row]:
    """Return the rows that were created within a span. Raises ReadFailed for a row that does not say when it was."""
    found = []
    for row in rows:
        if (at := created(row)) is None:
            raise ReadFailed("shape", "answered 200 with a row that does not say when it was created", NO_GITLAB, 200)
        if span.begins(at):
            found.append(row)
    return found


def created(row: Row) -> datetime | None:
    """Return when a row was created, or None where it does not say."""
    return _instant(row.get("created_at"))


def _instant(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return min(max(found, EARLIEST), LATEST) if found and found.tzinfo else None
