"""Reads every page of a list and raises ReadFailed when the list may be incomplete."""

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gitlab_port_export.base.answer import Answer, links_pages
from gitlab_port_export.base.parallel import All, Job, Once
from gitlab_port_export.gitlab.client import NO_GITLAB, Get, Params, ReadFailed, count_of, link_next, query_of, rows_of
from gitlab_port_export.model import Problem, Row

PER_PAGE = 100
# A page may be too much for GitLab's time limits (a query's, a request's) or for our bounds; smaller ones get through,
# or fail too. Each size is a share of the one before.
SMALLER = {100: 20, 20: 4, 4: 1}
TOO_MUCH = (408, 500, 504)
# More than the usual number of connections: one list alone keeps them all busy.
STRIPES = 16
# GitLab counts so many pages of 100 rows: https://docs.gitlab.com/api/rest/#pagination-response-headers. Of a list
# that it does not count, so many percent of the pages that came are asked for ahead, which may not exist.
COUNTED_PAGES = 100
AHEAD_PERCENT = 3
REREADS = 2
# GitLab may filter a page to nothing after it was cut; so many in a row have no end.
BLANK_PAGES = 100
# GitLab sends one of these with each page of an offset list, and of the others with any answer. It also sends
# X-Request-Id, as gateways do on their own.
PAGED = ("x-next-page", "x-page", "x-per-page", "x-total")
SERVED = (*PAGED, "x-runtime", "x-gitlab-meta")
MIXED_UP = "run again; if it stays, look for a proxy that caches or changes GitLab's answers"

# Takes the new rows of a page and returns what is handed on to the consumer (a Page), or None.
RowHandler = Callable[[list[Row]], Any]
_PageReader = Callable[[int], Generator[Any, Any, Answer]]


@dataclass
class _List:
    """What is known of one list while its pages arrive in any order."""

    path: str
    key: Callable[[Row], Hashable]
    seen: set[Hashable] = field(default_factory=set)
    pages: set[int] = field(default_factory=set)
    totals: dict[int, int] = field(default_factory=dict)
    nexts: dict[int, int | None] = field(default_factory=dict)
    # Rows of this pass that were null.
    nulls: int = 0
    # A page of this list had a link to another one.
    linked: bool = False
    blanks: int = 0
    stripped: bool = False

    def check_sender(self, answer: Answer, marks: tuple[str, ...]) -> None:
        """Raise ReadFailed for an empty page without any of the headers that mark GitLab's.

        `[]` is also what a gateway or a mock says in GitLab's place. Where a proxy takes these headers off, pages with
        rows lack them too.
        """
        if any(name in answer.headers for name in marks) or links_pages(answer.headers):
            return
        if answer.data:
            self.stripped = True
        elif not self.stripped:
            raise ReadFailed(
                "incomplete",
                f"an empty list came for {self.path} with none of the headers that GitLab sends with a list",
                "look for a proxy or gateway that answers in GitLab's place, or takes off headers such as X-Next-Page",
            )

    def fresh(self, rows: list[Row]) -> list[Row]:
        """Return the rows not seen before; a page that came before raises: the list would never end."""
        self.blanks = 0 if rows else self.blanks + 1
        if self.blanks > BLANK_PAGES:
            raise ReadFailed("incomplete", f"GitLab gave {BLANK_PAGES} empty pages of {self.path} in a row", MIXED_UP)
        keys = self.keys(rows)
        if rows:
            mark = hash(tuple(keys))
            if mark in self.pages:
                raise ReadFailed("incomplete", f"GitLab gave the same page of {self.path} twice", MIXED_UP)
            self.pages.add(mark)
        new = rows
        if not self.seen.isdisjoint(keys):
            new = [row for row, key in zip(rows, keys, strict=True) if key not in self.seen]
        self.seen.update(keys)
        return new

    def keys(self, rows: list[Row]) -> list[Hashable]:
        """Return the key of each row; nearly all lists have ids, which are taken at once."""
        ids: list[Hashable] = [row.get("id") for row in rows]
        return ids if self.key is key_of and set(map(type, ids)) <= {int} else [self.key(row) for row in rows]

    def without_nulls(self, count: int) -> Iterator[Problem]:
        """Note that so many rows of a page were null, and yield the Problem that holds deletions because of them."""
        if count:
            self.nulls += count
            why = f"GitLab gave {count} rows of {self.path} as null; the others are read"
            yield Problem("read", why, MIXED_UP, holds_all=True)

    @property
    def expected(self) -> int:
        """The number of rows that the first page counts; a row that is added later need not come.

        One that goes moves those behind it, and the first of the next page out of sight: then the list is read again.
        """
        return self.totals[min(self.totals)] if self.totals else 0

    @property
    def is_short(self) -> bool:
        """Whether fewer different rows came than GitLab counts."""
        return len(self.seen) + self.nulls < self.expected

    def incomplete(self, often: str = "") -> ReadFailed:
        """Return the error for a list that stays short."""
        return ReadFailed(
            "incomplete",
            f"GitLab counts {self.expected} rows and gave {len(self.seen)} different ones{often}",
            "the list changes while it is read or the token may not see all of it; run again",
        )


def key_of(row: Row) -> Hashable:
    """Return what tells rows of one list apart: the id; releases, tags and branches have only a name.

    Raises ReadFailed for a row without any: GitLab has none such.
    """
    if type(number := row.get("id")) is int:
        return number
    for name in ("id", "tag_name", "path", "name"):
        if isinstance(value := row.get(name), str | int) and not isinstance(value, bool):
            return name, value
    raise ReadFailed("shape", "answered 200 with a row that has neither an id nor a name", NO_GITLAB, 200)


def list_key(token: str, path: str, params: Params) -> Hashable:
    """Return the key under which equal lists are read once."""
    return (token, path, params)


def read_list(
    token: str,
    path: str,
    params: Params,
    handle: RowHandler,
    *,
    counted: bool = True,
    uncounted: Callable[[set[Hashable]], Job] | None = None,
    key: Callable[[Row], Hashable] = key_of,
) -> Job:
    """Read an offset-paged list and hand on `handle(new rows)` of each page; `key` tells its rows apart.

    Pages after the first are read side by side when GitLab counts them, and a few at a time when there are too many
    for that. The list is complete when its last page names no next one and as many different rows came as GitLab
    counts; `counted=False` for lists that GitLab filters after paging. `uncounted` is another way to read a list that
    is too long for GitLab to count: it is given the keys of the rows that came, and returns whether it read the list.
    Raises ReadFailed.
    """
    state = _List(path, key)
    for _ in range(1 + REREADS):
        state.pages.clear()
        state.totals.clear()
        state.nulls = 0
        yield from _one_pass(state, token, params, handle, uncounted)
        if not counted or not state.is_short:
            return
    raise state.incomplete(", three times")


def _one_pass(
    state: _List, token: str, params: Params, handle: RowHandler, uncounted: Callable[[set[Hashable]], Job] | None
) -> Job:
    state.nexts.clear()
    page = partial(_page, state, token, params, handle)
    first = yield from page(1)
    last = count_of(first, "x-total-pages") or 0
    if state.nexts[1] and not state.totals and "x-next-page" in first.headers:
        if uncounted and (yield from uncounted(state.seen)):
            return
        last = (yield from _counted_pages(state, page)) if len(first.data) == PER_PAGE else 1
    if state.nexts[1] and last > 2:
        numbers = [number for number in range(2, last + 1) if number not in state.nexts]
        width = min(STRIPES, len(numbers))
        yield All(tuple(_each(page, numbers[start::width]) for start in range(width)))
    following = state.nexts.get(last, state.nexts[1])
    while following:
        following = yield from _ahead(state, page, following)


def _counted_pages(state: _List, page: _PageReader) -> Generator[Any, Any, int]:
    """Return how many pages a list surely has that is too long to be counted: what GitLab counts, or the first alone.

    A proxy may take off the counts of short lists too. One request tells.
    """
    yield from _maybe(state, page, COUNTED_PAGES)
    return COUNTED_PAGES if state.nexts.get(COUNTED_PAGES) else 1


def _ahead(state: _List, page: _PageReader, following: int) -> Generator[Any, Any, int | None]:
    """Read a page and some that are likely to come after it; return the number of the first one that is missing."""
    width = max(1, min(STRIPES, following * AHEAD_PERCENT // 100))
    further = (number for number in range(following + 1, following + width) if number not in state.nexts)
    yield All((page(following), *(_maybe(state, page, number) for number in further)))
    number: int | None = following
    while number and number in state.nexts:
        number = state.nexts[number]
    return number


def _maybe(state: _List, page: _PageReader, number: int) -> Job:
    """Read a page that the list may not have; one that cannot be read counts as missing, and is asked for in its turn.

    GitLab may refuse what is behind its limit for offsets, where the list has nothing.
    """
    try:
        yield from page(number)
    except ReadFailed:
        state.nexts.pop(number, None)


def _each(page: _PageReader, numbers: Iterable[int]) -> Job:
    for number in numbers:
        yield from page(number)


def _page(
    state: _List,
    token: str,
    params: Params,
    handle: RowHandler,
    number: int,
    size: int = PER_PAGE,
    marks: tuple[str, ...] = PAGED,
) -> Generator[Any, Any, Answer]:
    answer, rows, nulls = yield from _ask(state.path, token, params, number, size)
    state.check_sender(answer, marks)
    yield from state.without_nulls(nulls)
    state.nexts[number] = next_page(answer, number, rows)
    if (total := count_of(answer, "x-total")) is not None:
        state.totals[number] = total
    if (new := state.fresh(rows)) and (shaped := handle(new)) is not None:
        yield shaped
    return answer


def _ask(
    path: str, token: str, params: Params, number: int, size: int = PER_PAGE
) -> Generator[Any, Any, tuple[Answer, list[Row], int]]:
    """Return a page, its rows, and how many more were null; what is too much at once is asked for in smaller pages."""
    try:
        answer: Answer = yield Get(token, path, (*params, *_size(size), ("page", str(number))))
        found = rows_of(answer)
        return answer, found, len(answer.data) - len(found)
    except ReadFailed as failure:
        if not _is_too_much(failure, size):
            raise
    smaller = SMALLER[size]
    share = size // smaller
    rows: list[Row] = []
    nulls = 0
    for small in range((number - 1) * share + 1, number * share + 1):
        answer, some, missing = yield from _ask(path, token, params, small, smaller)
        rows += some
        nulls += missing
        if next_page(answer, small, some) is None:
            return answer, rows, nulls
    headers = dict(answer.headers) | {"x-next-page": str(number + 1), "x-total-pages": ""}
    return replace(answer, headers=headers), rows, nulls


def _is_too_much(failure: ReadFailed, size: int) -> bool:
    """Say whether a smaller page may get through.

    GitLab's own failures are repeated before, which takes long, so after those one smaller size is tried.
    """
    return size in SMALLER and (failure.reason == "too large" or (size == PER_PAGE and failure.status in TOO_MUCH))


def _size(rows: int) -> Params:
    return (("per_page", str(rows)),)


def next_page(answer: Answer, number: int, rows: list[Row]) -> int | None:
    """Return the number of the next page, or None at the end of the list. Raises ReadFailed where headers disagree.

    X-Next-Page is present and empty on the last page. Where a proxy strips it, rel="next" decides; where both are
    stripped only an empty page is an end, never a short one.
    """
    text = answer.headers.get("x-next-page")
    if not text and (url := link_next(answer)) is not None:
        if text == "":
            raise ReadFailed("incomplete", f"page {number} names no next page, and its Link header does", MIXED_UP)
        text = dict(query_of(url)).get("page") or "none"
    if text is None:
        return number + 1 if rows and not links_pages(answer.headers) else None
    if text == "":
        return None
    if text != str(number + 1):
        raise ReadFailed("incomplete", f"page {number} names {text[:20]!r} as the next page", MIXED_UP)
    return number + 1


def read_keyset(
    token: str,
    path: str,
    params: Params,
    handle: RowHandler,
    *,
    until: Callable[[list[Row]], bool] | None = None,
    key: Callable[[Row], Hashable] = key_of,
    linked: bool = True,
    always: bool = False,
) -> Job:
    """Read a keyset-paged list, following rel="next" until there is none; return whether it was read to its end.

    It is not where `until(rows)` was true after a page. A missing Link is an end only where Link headers are known to
    arrive (from this list, or from its host: `Answer.links`); else the list is read on by page numbers, whose other
    headers tell the end. `linked=False` does so for lists whose links are wrong; `always` is for those that name a next
    page whenever there are rows.
    """
    state = _List(path, key)
    asked: set[Params] = set()
    query: Params = (*params, ("pagination", "keyset"), *_size(PER_PAGE))
    while True:
        if query in asked:
            raise ReadFailed("incomplete", f"GitLab's pages of {path} lead in a circle", MIXED_UP)
        asked.add(query)
        answer = yield from _ask_keyset(token, path, query)
        rows = rows_of(answer)
        state.check_sender(answer, SERVED)
        yield from state.without_nulls(len(answer.data) - len(rows))
        if (new := state.fresh(rows)) and (shaped := handle(new)) is not None:
            yield shaped
        url = link_next(answer)
        state.linked = state.linked or links_pages(answer.headers)
        arrives = (answer.links or state.linked) and not always
        if url is None and _is_last(answer, rows, arrives=arrives, linked=linked):
            return True
        if until is not None and until(rows):
            return False
        if url is None or not linked:
            return (yield from _by_number(state, token, params, handle, until))
        query = (*(pair for pair in query_of(url) if pair[0] != "per_page"), *_size(PER_PAGE))


def _is_last(answer: Answer, rows: list[Row], *, arrives: bool, linked: bool) -> bool:
    """Say whether a page that links to no next one is the last: an empty one is, and a short one alone proves nothing.

    A missing Link tells where Link headers `arrive`, unless `X-Next-Cursor`, which newer versions of GitLab send as
    well, names a next page.
    """
    if not rows:
        return True
    return arrives and not answer.headers.get("x-next-cursor") and (linked or len(rows) < PER_PAGE)


def _by_number(
    state: _List, token: str, params: Params, handle: RowHandler, until: Callable[[list[Row]], bool] | None
) -> Job:
    """Read on by page numbers, from the page with the first row that is still missing.

    After one short page, pages of its length are asked for: the second of them repeats nothing.
    """
    state.pages.clear()
    count = len(state.seen)
    size = min(count, PER_PAGE) or PER_PAGE
    following: int | None = count // size + 1
    while following:
        answer = yield from _page(state, token, params, handle, following, size, SERVED)
        following = state.nexts[following]
        if following and until is not None and until(rows_of(answer)):
            return False
    if state.is_short:
        raise state.incomplete()
    return True


def _ask_keyset(token: str, path: str, query: Params, size: int = PER_PAGE) -> Generator[Any, Any, Answer]:
    """Return a page, or a smaller one with the first of its rows where the whole is too much."""
    try:
        answer: Answer = yield Get(token, path, (*(pair for pair in query if pair[0] != "per_page"), *_size(size)))
    except ReadFailed as failure:
        if not _is_too_much(failure, size):
            raise
        answer = yield from _ask_keyset(token, path, query, SMALLER[size])
    return answer


def first_page(token: str, path: str, params: Params) -> Generator[Any, Any, list[Row]]:
    """Return the rows of a list's first page. Raises ReadFailed, also where somebody else says that there are none."""
    answer: Answer = yield Get(token, path, params)
    rows = rows_of(answer)
    # Searches that have nothing to look into come without the headers of a page.
    _List(path, key_of).check_sender(answer, SERVED)
    return rows


def whole_list(token: str, path: str, params: Params = (), *, counted: bool = True) -> Job:
    """Return all rows of a list; readers that ask for the same list share one reading of it."""

    def start() -> Job:
        rows: list[Row] = []
        yield from read_list(token, path, params, rows.extend, counted=counted)
        return rows

    rows: list[Row] = yield Once(list_key(token, path, params), start)
    return rows
