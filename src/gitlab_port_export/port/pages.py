"""Reads lists of Port page by page: smaller pages where one is too large, and an error where a list never ends."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitlab_port_export.base.answer import Answer, TooLarge, Unreachable
from gitlab_port_export.port.client import Port, PortRefused, documented

# A page that was too large is asked for with so many times fewer rows.
SMALLER = 4
# Statuses of Port, or of a proxy before it, for a page that is too large.
TOO_MUCH = (413, 500, 502, 504)
# Attempts at a smaller page: a larger one has just failed as often as any request may.
ATTEMPTS = 2
# After a page that was too large, pages grow again to about so many bytes.
COMFORTABLE_BYTES = 16 * 1024 * 1024
# Signs of a list that never ends: empty pages one after the other, pages that begin as an earlier one, rows.
MOST_EMPTY, MOST_REPEATED, MOST_ROWS = 100, 10, 10_000_000


def read_pages(
    port: Port,
    path: str,
    payload: Mapping[str, Any],
    params: Sequence[tuple[str, str]] = (),
    slim: Mapping[str, Any] | None = None,
) -> Iterator[list[Any]]:
    """Yield the pages of a list; `payload` names the largest page in `limit`, `slim` what is asked of a huge entity.

    Raises PortRefused and Unreachable.
    """
    most = limit = payload["limit"]
    cursor: dict[str, str] = {}
    end = _End(path)
    attempts: int | None = None
    while True:
        asked = {**payload, **cursor, "limit": limit}
        try:
            answer = port.succeed("POST", path, params=params, payload=asked, attempts=attempts)
        except (TooLarge, PortRefused) as failure:
            if isinstance(failure, PortRefused) and failure.status not in TOO_MUCH:
                raise
            if limit > 1:
                limit, attempts = max(1, limit // SMALLER), ATTEMPTS
                continue
            if slim is None:
                raise
            answer = port.succeed("POST", path, params=params, payload={**asked, **slim}, attempts=ATTEMPTS)
        rows, following = _page(answer, path)
        yield rows
        if not following:
            return
        end.look_for(rows, following)
        cursor, attempts = {"from": following}, None
        if limit < most:
            limit = min(most, max(1, limit * COMFORTABLE_BYTES // max(1, len(answer.body))))


def _page(answer: Answer, path: str) -> tuple[list[Any], str]:
    """Return the rows of a page and the cursor of the next one, or nothing."""
    with documented(f"a page of {path}"):
        rows, following = answer.data["entities"], str(answer.data.get("next") or "")
        if not isinstance(rows, list) or not all(isinstance(row["identifier"], str) for row in rows):
            raise TypeError("not a list of entities")
    return rows, following


class _End:
    """Recognises a list that goes on although it should have ended."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._cursors: set[int] = set()
        self._firsts: set[int] = set()
        self._empty = self._repeated = self._rows = 0

    def look_for(self, rows: Sequence[Mapping[str, Any]], cursor: str) -> None:
        """Note a page and the cursor of the next one. Raises Unreachable where the list does not end."""
        self._empty = 0 if rows else self._empty + 1
        self._rows += len(rows)
        if rows:
            # Rows may move while a list is read; where no page is new, all of them begin as others did.
            first = hash((str(rows[0].get("blueprint")), rows[0]["identifier"]))
            self._repeated += first in self._firsts
            self._firsts.add(first)
        known = hash(cursor) in self._cursors
        self._cursors.add(hash(cursor))
        if known or self._repeated > MOST_REPEATED:
            raise Unreachable(f"Port's pages of {self._path} lead in a circle")
        if self._empty > MOST_EMPTY or self._rows > MOST_ROWS:
            raise Unreachable(f"Port's pages of {self._path} do not end")
