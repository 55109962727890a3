"""How GitLab cuts lists into pages: offset and keyset pagination with their headers and refusals."""

from __future__ import annotations

import base64
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote_plus

from gitlab_port_export.demo.gitlab_rows import Row

Params = dict[str, str | list[str]]
HeaderList = list[tuple[str, str]]


@dataclass(frozen=True)
class Limits:
    """The limits of lists: rows of a page, rows up to which GitLab counts a list, and the largest offset."""

    per_page: int = 100
    counted: int = 10_000
    offset: int = 50_000


GITLABS = Limits()


class RefusedError(Exception):
    """An answer other than 200, as GitLab words it: JSON, or plain text when the payload is a string."""

    def __init__(self, status: int, payload: Row | str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(status, payload)
        self.status = status
        self.payload = payload
        self.headers = headers


def _same(row: Row) -> Row:
    return row


@dataclass(frozen=True)
class Listing:
    """A whole list in its order, and how it may be paged.

    `keyset` is the parameter of keyset pages: "id" for id_after and id_before with rows ordered by id, "cursor"
    with rows ordered by descending id, or "page_token" for what comes from a repository, in any order. `whole` counts
    the branches or tags before any filter. `limited` names the type in the refusal of offsets that are too
    deep. `present` makes the row to send.
    """

    rows: Sequence[Row]
    keyset: str = ""
    counted: bool = True
    limited: str = ""
    whole: int | None = None
    filtered: bool = False
    present: Callable[[Row], Row] = field(default=_same)


@dataclass(frozen=True)
class Raw:
    """An answer that is no list and brings its own headers."""

    body: bytes
    headers: HeaderList
    content_type: str = "text/plain"


def cut(listing: Listing, params: Params, url: str, limits: Limits = GITLABS) -> tuple[list[Row], HeaderList]:
    """The rows of the page that was asked for, and its headers; `url` is the list's own address."""
    per_page = min(_positive(params, "per_page", 20), limits.per_page)
    if listing.keyset == "id":
        listing = replace(listing, rows=_between(listing.rows, params))
    if listing.keyset == "page_token" and params.get("pagination") == "keyset":
        rows, headers = _tokens(listing, params, url, per_page)
    elif listing.whole is not None and _positive(params, "page", 1) == 1:
        rows, headers = _first_refs(listing, params, url, per_page)
    elif listing.keyset and params.get("pagination") == "keyset":
        rows, headers = _keyset(listing, params, url, per_page)
    else:
        rows, headers = _offset(listing, params, url, per_page, limits)
    return [listing.present(row) for row in rows], headers


def _positive(params: Params, name: str, default: int) -> int:
    value = params.get(name, str(default))
    if not isinstance(value, str) or not value.isascii() or not value.isdigit():
        raise RefusedError(400, {"error": f"{name} is invalid"})
    if int(value) == 0:
        raise RefusedError(400, {"error": f"{name} does not have a valid value"})
    return int(value)


def _offset(
    listing: Listing, params: Params, url: str, per_page: int, limits: Limits
) -> tuple[Sequence[Row], HeaderList]:
    page = _positive(params, "page", 1)
    if listing.limited and page * per_page > limits.offset:
        text = (
            f"Offset pagination has a maximum allowed offset of {limits.offset} for requests that return "
            f"objects of type {listing.limited}. Remaining records can be retrieved using keyset pagination."
        )
        raise RefusedError(405, {"error": text})
    total = len(listing.rows)
    pages = max(1, -(-total // per_page))
    counted = listing.counted and total <= limits.counted
    following = page + 1 if page * per_page < total else None
    if listing.keyset == "page_token" and page == 1:
        # Gitaly gives the first page and does not say whether it was the last one.
        following, pages = 2, total // per_page + 1
    previous = page - 1 if page > 1 else None
    named = [("prev", previous), ("next", following), ("first", 1), ("last", pages if counted else None)]
    links = [
        _link(url, params | {"page": str(number), "per_page": str(per_page)}, rel) for rel, number in named if number
    ]
    headers = [
        ("X-Per-Page", str(per_page)),
        ("X-Page", str(page)),
        # Present and empty on the last page.
        ("X-Next-Page", str(following or "")),
        ("X-Prev-Page", str(previous or "")),
        ("Link", ", ".join(links)),
    ]
    if counted:
        headers += [("X-Total", str(total)), ("X-Total-Pages", str(pages))]
    start = (page - 1) * per_page
    return listing.rows[start : start + per_page], headers


def _keyset(listing: Listing, params: Params, url: str, per_page: int) -> tuple[Sequence[Row], HeaderList]:
    by_id = listing.keyset == "id"
    rows = listing.rows
    if not by_id and (cursor := params.get("cursor")):
        rows = rows[_after(_cursor_id(cursor), rows, descending=True) :]
    page = rows[:per_page]
    if not page or (not by_id and len(rows) <= per_page):
        # Each page of projects with rows links to a next one, so the last page is empty.
        return page, []
    last = page[-1]["id"]
    step: Params
    if by_id:
        step = {"id_after" if params.get("sort") == "asc" else "id_before": str(last)}
    else:
        step = {"cursor": _cursor(last)}
    return page, [("Link", _link(url, params | {"per_page": str(per_page)} | step, "next"))]


def _tokens(listing: Listing, params: Params, url: str, per_page: int) -> tuple[Sequence[Row], HeaderList]:
    """Cut a list of a repository: the token is the path or name of the last row; a full page links to the next one."""
    if listing.filtered:
        # The token is ignored, so a full page links to itself.
        names, page = [str(row["name"]) for row in listing.rows], listing.rows
        step: Params = {"per_page": str(per_page), "page_token": names[-1] if names else ""}
        return page, [("Link", _link(url, params | step, "next"))] if len(page) == per_page else []
    names = [str(row.get("path") or row["name"]) for row in listing.rows]
    token = params.get("page_token")
    if token and token not in names:
        raise RefusedError(404, {"message": "404 Page token Not Found"})
    start = names.index(str(token)) + 1 if token else 0
    page = listing.rows[start : start + per_page]
    if len(page) < per_page:
        return page, []
    step = {"per_page": str(per_page), "page_token": names[start + per_page - 1]}
    return page, [("Link", _link(url, params | step, "next"))]


def _first_refs(listing: Listing, params: Params, url: str, per_page: int) -> tuple[Sequence[Row], HeaderList]:
    """The first page of refs by number: it always links to a second one, and its counts ignore any filter."""
    numbers = {"X-Per-Page": per_page, "X-Page": 1, "X-Next-Page": 2, "X-Prev-Page": "", "X-Total": listing.whole}
    numbers["X-Total-Pages"] = (listing.whole or 0) // per_page + 1
    following = _link(url, params | {"page": "2", "per_page": str(per_page)}, "next")
    page = listing.rows if listing.filtered else listing.rows[:per_page]
    return page, [*((name, str(value)) for name, value in numbers.items()), ("Link", following)]


def _between(rows: Sequence[Row], params: Params) -> Sequence[Row]:
    """Apply `id_after` and `id_before` to rows ordered by id."""
    descending = params.get("sort") != "asc"
    first, last = ("id_before", "id_after") if descending else ("id_after", "id_before")
    if first in params:
        rows = rows[_after(_positive(params, first, 0), rows, descending) :]
    if last in params:
        bound = _positive(params, last, 0) + (1 if descending else -1)
        rows = rows[: _after(bound, rows, descending)]
    return rows


def _after(id: int, rows: Sequence[Row], descending: bool) -> int:
    """Where the rows behind this id begin."""
    sign = -1 if descending else 1
    return bisect_right(rows, sign * id, key=lambda row: sign * int(row["id"]))


def _cursor(id: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"id": str(id), "_kd": "n"}).encode()).decode()


def _cursor_id(cursor: str | list[str]) -> int:
    try:
        return int(json.loads(base64.urlsafe_b64decode(str(cursor)))["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(400, {"error": "cursor is invalid"}) from error


def _link(url: str, params: Params, rel: str) -> str:
    pairs = sorted(
        (name if isinstance(value, str) else f"{name}[]", item)
        for name, value in params.items()
        for item in ([value] if isinstance(value, str) else value)
    )
    query = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)
    return f'<{url}?{query}>; rel="{rel}"'


def parse_params(pairs: Sequence[tuple[str, str]]) -> Params:
    """Query pairs as Rack reads them: `a[]` collects, of a plain repeated name the last value counts."""
    params: dict[str, Any] = {}
    for name, value in pairs:
        if name.endswith("[]"):
            params.setdefault(name[:-2], [])
            params[name[:-2]].append(value)
        else:
            params[name] = value
    return params
