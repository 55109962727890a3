"""Lists that prove their end: each page is a question, and a list ends complete or raises ReadFailed."""

from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gitlab_port_export.gitlab.client import NO_GITLAB, Get, Params, ReadFailed, count_of, link_next, rows_of
from gitlab_port_export.http import Answer, origin_of
from gitlab_port_export.model import Row
from gitlab_port_export.parallel import All, Job, Once

PER_PAGE = 100
# A page may be too much for GitLab's time limits (a query's, a request's); smaller ones get through, or fail too.
SMALL_PAGE = 20
TOO_MUCH = (408, 500, 504)
STRIPES = 8
REREADS = 2
# GitLab may filter a page to nothing after it was cut; so many in a row have no end.
BLANK_PAGES = 100
# GitLab sends one of these with each page of an offset list, and of the others with any answer.
PAGED = ("x-next-page", "x-page", "x-per-page", "x-total", "link")
SERVED = (*PAGED, "x-request-id", "x-runtime", "x-gitlab-meta")
MIXED_UP = "run again; if it stays, look for a proxy that caches or changes GitLab's answers"

# What becomes of new rows of a page: something for the consumer (a Page), or None.
Shape = Callable[[list[Row]], Any]


@dataclass
class _List:
    """What is known of one list while its pages arrive in any order."""

    path: str
    key: Callable[[Row], Hashable]
    seen: set[Hashable] = field(default_factory=set)
    pages: set[int] = field(default_factory=set)
    totals: dict[int, int] = field(default_factory=dict)
    nexts: dict[int, int | None] = field(default_factory=dict)
    blanks: int = 0
    stripped: bool = False

    def check_sender(self, answer: Answer, marks: tuple[str, ...]) -> None:
        """Raise ReadFailed for an empty page without any of the headers that mark GitLab's.

        `[]` is also what a gateway or a mock says in GitLab's place. Where a proxy takes these headers off, pages with
        rows lack them too.
        """
        if any(name in answer.headers for name in marks):
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

    @property
    def expected(self) -> int:
        """What the first page counted: a row that comes later is missed by nobody.

        One that goes moves those behind it, and the first of the next page out of sight: then the list is read again.
        """
        return self.totals[min(self.totals)] if self.totals else 0


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


def read_list(token: str, path: str, params: Params, shape: Shape, *, counted: bool = True) -> Job:
    """Read an offset-paged list and hand on `shape(new rows)` of each page.

    Pages after the first are read side by side when GitLab counts them. The list is complete when its last page
    names no next one and as many different rows came as GitLab counts; `counted=False` for lists that GitLab
    filters after paging. Raises ReadFailed.
    """
    state = _List(path, key_of)
    for _ in range(1 + REREADS):
        state.pages.clear()
        state.totals.clear()
        yield from _one_pass(state, token, params, shape)
        if not counted or len(state.seen) >= state.expected:
            return
    raise ReadFailed(
        "incomplete",
        f"GitLab counts {state.expected} rows and gave {len(state.seen)} different ones, three times",
        "the list changes while it is read or the token may not see all of it; run again",
    )


def _one_pass(state: _List, token: str, params: Params, shape: Shape) -> Job:
    first = yield from _page(state, token, params, shape, 1)
    following: int | None = state.nexts[1]
    last = count_of(first, "x-total-pages") or 0
    if following and last > 2:
        width = min(STRIPES, last - 1)
        yield All(
            tuple(_stripe(state, token, params, shape, range(2 + start, last + 1, width)) for start in range(width))
        )
        following = state.nexts[last]
    while following:
        yield from _page(state, token, params, shape, following)
        following = state.nexts[following]


def _stripe(state: _List, token: str, params: Params, shape: Shape, numbers: range) -> Job:
    for number in numbers:
        yield from _page(state, token, params, shape, number)


def _page(state: _List, token: str, params: Params, shape: Shape, number: int) -> Generator[Any, Any, Answer]:
    answer, rows = yield from _ask(state.path, token, params, number)
    state.check_sender(answer, PAGED)
    state.nexts[number] = next_page(answer, number, rows)
    if (total := count_of(answer, "x-total")) is not None:
        state.totals[number] = total
    if (new := state.fresh(rows)) and (shaped := shape(new)) is not None:
        yield shaped
    return answer


def _ask(path: str, token: str, params: Params, number: int) -> Generator[Any, Any, tuple[Answer, list[Row]]]:
    try:
        answer: Answer = yield _numbered(path, token, params, number, PER_PAGE)
        return answer, rows_of(answer)
    except ReadFailed as failure:
        if failure.status not in TOO_MUCH:
            raise
    share = PER_PAGE // SMALL_PAGE
    rows: list[Row] = []
    for small in range((number - 1) * share + 1, number * share + 1):
        answer = yield _numbered(path, token, params, small, SMALL_PAGE)
        rows += rows_of(answer)
        if next_page(answer, small, rows_of(answer)) is None:
            return answer, rows
    headers = dict(answer.headers) | {"x-next-page": str(number + 1), "x-total-pages": ""}
    return replace(answer, headers=headers), rows


def _numbered(path: str, token: str, params: Params, number: int, size: int) -> Get:
    return Get(token, path, (*params, *_size(size), ("page", str(number))))


def _size(rows: int) -> Params:
    return (("per_page", str(rows)),)


def next_page(answer: Answer, number: int, rows: list[Row]) -> int | None:
    """Return the number of the next page, or None at the end of the list.

    X-Next-Page is present and empty on the last page. Where a proxy strips it, rel="next" decides; where both are
    stripped only an empty page is an end, never a short one.
    """
    text = answer.headers.get("x-next-page")
    if text is None and (url := link_next(answer)) is not None:
        _same_origin(answer, url)
        text = dict(parse_qsl(urlsplit(url).query)).get("page") or "none"
    if text is None:
        return number + 1 if rows and "link" not in answer.headers else None
    if text == "":
        return None
    if text != str(number + 1):
        raise ReadFailed("incomplete", f"page {number} names {text!r} as the next page", MIXED_UP)
    return number + 1


def _same_origin(answer: Answer, url: str) -> None:
    if origin_of(url) != origin_of(answer.url):
        raise ReadFailed(
            "incomplete",
            f"the link to the next page leads to {origin_of(url)}",
            "set GITLAB_HOST to the URL that GitLab itself uses (its external_url)",
        )


def read_keyset(
    token: str,
    path: str,
    params: Params,
    shape: Shape,
    *,
    until: Callable[[list[Row]], bool] | None = None,
    key: Callable[[Row], Hashable] = key_of,
    linked: bool = True,
) -> Job:
    """Read a keyset-paged list, following rel="next" until there is none, or until `until(rows)` is true.

    A full page without a Link is asked for its successor by number: it may be the last one, or a proxy strips Link.
    `linked=False` always asks so, for lists whose links are wrong.
    """
    state = _List(path, key)
    asked: set[Params] = set()
    query: Params = (*params, ("pagination", "keyset"), *_size(PER_PAGE))
    while True:
        if query in asked:
            raise ReadFailed("incomplete", f"GitLab's pages of {path} lead in a circle", MIXED_UP)
        asked.add(query)
        size, answer = yield from _ask_keyset(token, path, query)
        rows = rows_of(answer)
        state.check_sender(answer, SERVED)
        if (new := state.fresh(rows)) and (shaped := shape(new)) is not None:
            yield shaped
        url = link_next(answer) if linked else None
        if (url is None and len(rows) < size) or (until is not None and until(rows)):
            return
        if url is None:
            query = (*params, *_size(PER_PAGE), ("page", str(len(state.seen) // PER_PAGE + 1)))
        else:
            _same_origin(answer, url)
            pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
            query = (*((name, value) for name, value in pairs if name != "per_page"), *_size(PER_PAGE))


def _ask_keyset(token: str, path: str, query: Params) -> Generator[Any, Any, tuple[int, Answer]]:
    """Return how many rows were asked for, and the page."""
    try:
        return PER_PAGE, (yield Get(token, path, query))
    except ReadFailed as failure:
        if failure.status not in TOO_MUCH:
            raise
    smaller = tuple(pair for pair in query if pair[0] != "per_page")
    return SMALL_PAGE, (yield Get(token, path, (*smaller, *_size(SMALL_PAGE))))


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
