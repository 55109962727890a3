"""Reads every page of a list and raises ReadFailed when the list may be incomplete."""

from collections.abc import Callable, Generator, Hashable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from gitlab_port_export.base.answer import Answer, links_pages
from gitlab_port_export.base.parallel import All, Job, Once
from gitlab_port_export.gitlab.arrived import MIXED_UP, PAGED, SERVED, Arrived, key_of
from gitlab_port_export.gitlab.client import (
    MOST_DIGITS,
    Get,
    Params,
    ReadFailed,
    count_of,
    link_next,
    link_to,
    query_of,
    rows_of,
)
from gitlab_port_export.model import Row

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

# Takes the new rows of a page and returns what is handed on to the consumer (a Page), or None.
RowHandler = Callable[[list[Row]], Any]
# Is given the keys of the rows that came, and returns whether it read the list, or None for one that is not long.
Uncounted = Callable[[set[Hashable]], Job]
_PageReader = Callable[[int], Generator[Any, Any, Answer]]


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
    uncounted: Uncounted | None = None,
    key: Callable[[Row], Hashable] = key_of,
) -> Job:
    """Read an offset-paged list and hand on `handle(new rows)` of each page; `key` tells its rows apart.

    Pages after the first are read side by side when GitLab counts them, and a few at a time when there are too many
    for that. The list is complete when its last page names no next one and as many different rows came as GitLab
    counts; `counted=False` for lists that GitLab filters after paging. Where GitLab does not count and rows moved
    between pages that were read side by side, the list is read again page after page: then rows that join move no other
    one out of sight. `uncounted` is another way to read a list that is too long for GitLab to count, see `Uncounted`.
    Raises ReadFailed.
    """
    state = Arrived(path, key)
    for _ in range(1 + REREADS):
        state.begin()
        yield from _one_pass(state, token, params, handle, uncounted)
        if state.abreast and not state.totals and state.moved:
            state.begin()
            state.orderly = True
            yield from _one_pass(state, token, params, handle, None)
        if not counted or not state.is_short:
            return
    raise state.incomplete(", three times")


def _one_pass(state: Arrived, token: str, params: Params, handle: RowHandler, uncounted: Uncounted | None) -> Job:
    page = partial(_page, state, token, params, handle)
    first = yield from page(1)
    last = 1 if state.orderly and not state.totals else _pages_of(first, counted=bool(state.totals))
    if state.nexts[1] and not (state.totals or last) and "x-next-page" in first.headers:
        found: bool | None = (yield from uncounted(state.seen)) if uncounted else False
        if found:
            return
        is_long = found is not None and len(first.data) == PER_PAGE
        last = (yield from _counted_pages(state, page)) if is_long else 1
    if state.nexts[1] and last > 2:
        numbers = [number for number in range(2, last + 1) if number not in state.nexts]
        width = min(STRIPES, len(numbers))
        state.abreast = True
        yield All(tuple(_each(page, numbers[start::width]) for start in range(width)))
    following = state.nexts.get(last, state.nexts[1])
    if following is None and last > 2 and not state.totals:
        following = yield from _last_again(state, page, last)
    while following:
        following = yield from _ahead(state, page, following)


def _pages_of(first: Answer, *, counted: bool) -> int:
    """Return how many pages may be read side by side, as far as GitLab tells: 0 where it does not.

    A proxy may take off the number of rows, by which the list is `counted`. Then the last page is read after the
    others, see `Arrived.moved`.
    """
    pages = count_of(first, "x-total-pages")
    if pages is None and (url := link_to(first, "last")) is not None:
        linked = dict(query_of(url))
        if linked.get("per_page") == str(PER_PAGE) and linked.get("page", "").isdecimal():
            pages = min(int(linked["page"][:MOST_DIGITS]), COUNTED_PAGES)
    if pages is None:
        return 0
    return pages if counted else max(1, pages - 1)


def _counted_pages(state: Arrived, page: _PageReader) -> Generator[Any, Any, int]:
    """Return how many pages a list surely has that is too long to be counted: what GitLab counts, or the first alone.

    A proxy may take off the counts of short lists too. One request tells.
    """
    yield from _maybe(state, page, COUNTED_PAGES)
    if state.nexts.get(COUNTED_PAGES) or COUNTED_PAGES in state.firsts:
        return COUNTED_PAGES
    # The list may become so long until its end is read.
    state.forget(COUNTED_PAGES)
    return 1


def _ahead(state: Arrived, page: _PageReader, following: int) -> Generator[Any, Any, int | None]:
    """Read a page and some that are likely to come after it; return the number of the first one that is missing."""
    width = 1 if state.orderly else max(1, min(STRIPES, following * AHEAD_PERCENT // 100))
    further = tuple(number for number in range(following + 1, following + width) if number not in state.nexts)
    state.abreast |= bool(further)
    yield All((page(following), *(_maybe(state, page, number) for number in further)))
    last, after = following, state.nexts[following]
    while after in state.nexts:
        last, after = after, state.nexts[after]
    if after is None and last != following and not state.totals:
        after = yield from _last_again(state, page, last)
    return after


def _last_again(state: Arrived, page: _PageReader, number: int) -> Generator[Any, Any, int | None]:
    """Read the last page again, which may have come before the one before it; return the number of the next one.

    Where rows joined the list meanwhile it begins with another one than before.
    """
    repeated, first = state.repeated, state.firsts.get(number)
    state.forget(number)
    yield from page(number)
    state.repeated = repeated or state.firsts.get(number) != first
    return state.nexts[number]


def _maybe(state: Arrived, page: _PageReader, number: int) -> Job:
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
    state: Arrived,
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
    new = state.fresh(rows)
    if rows:
        state.firsts[number] = state.keys(rows[:1])[0]
    if new and (shaped := handle(new)) is not None:
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
    state = Arrived(path, key)
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
    state: Arrived, token: str, params: Params, handle: RowHandler, until: Callable[[list[Row]], bool] | None
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
    Arrived(path, key_of).check_sender(answer, SERVED)
    return rows


def whole_list(token: str, path: str, params: Params = (), *, counted: bool = True) -> Job:
    """Return all rows of a list; readers that ask for the same list share one reading of it."""

    def start() -> Job:
        rows: list[Row] = []
        yield from read_list(token, path, params, rows.extend, counted=counted)
        return rows

    rows: list[Row] = yield Once(list_key(token, path, params), start)
    return rows
