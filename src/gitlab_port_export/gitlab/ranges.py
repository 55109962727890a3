"""Reads a long list of projects in ranges of ids, each a keyset list of its own, side by side.

A keyset page can only be asked for after the one before. A project's id never changes, and a new one gets the highest.
"""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, NamedTuple

from gitlab_port_export.base.answer import Answer
from gitlab_port_export.base.parallel import All, Job
from gitlab_port_export.gitlab.arrived import MIXED_UP
from gitlab_port_export.gitlab.client import Get, Params, ReadFailed, rows_of
from gitlab_port_export.gitlab.lists import RowHandler, read_keyset
from gitlab_port_export.model import Row


class Cuts(NamedTuple):
    """So many rows are read as one list; of what is left, each range gets so many.

    A range costs up to three requests: one finds its end, its last page is not full, and an empty one comes after.
    Where `ends` are known, of ids that an earlier run met, the list is read in the ranges between them at once.
    """

    first: int = 4_000
    rows: int = 10_000
    ends: tuple[int, ...] = ()


CUTS = Cuts()


def read_ranges(token: str, path: str, params: Params, handle: RowHandler, cuts: Cuts = CUTS) -> Job:
    """Read a list by ascending id, whose pages name a next one as long as there are rows. Raises ReadFailed."""
    if cuts.ends:
        yield _side_by_side(token, path, params, handle, 0, cuts.ends)
        return
    highest = count = 0

    def note(rows: list[Row]) -> Any:
        nonlocal highest, count
        count += len(rows)
        highest = max((highest, *(row["id"] for row in rows if type(row.get("id")) is int)))
        return handle(rows)

    def is_long(_: list[Row]) -> bool:
        return count >= cuts.first

    if (yield from read_keyset(token, path, params, note, until=is_long, always=True)):
        return
    ends = yield from _ends(token, path, params, highest, cuts.rows)
    yield _side_by_side(token, path, params, handle, highest, ends)


def _side_by_side(token: str, path: str, params: Params, handle: RowHandler, highest: int, ends: Sequence[int]) -> All:
    """Return the reading of the ranges between these ids, of which the last has no end."""
    return All(
        tuple(
            read_keyset(
                token, path, (*params, *_between(after, end)), partial(_within, path, after, end, handle), always=True
            )
            for after, end in zip((highest, *ends), (*ends, None), strict=True)
        )
    )


def _within(path: str, after: int, end: int | None, handle: RowHandler, rows: list[Row]) -> Any:
    """Hand on rows of a range. Raises ReadFailed for others: GitLab, or a proxy, did not keep to it."""
    ids = [row["id"] for row in rows if type(row.get("id")) is int]
    if ids and (min(ids) <= after or (end is not None and max(ids) > end)):
        raise ReadFailed("incomplete", f"GitLab gave rows of {path} from outside the ids asked for", MIXED_UP)
    return handle(rows)


def _between(after: int, end: int | None) -> Params:
    """Return GitLab's filters for the ids after one and up to another; both filters leave out the id they name."""
    first = (("id_after", str(after)),) if after else ()
    return (*first, *((("id_before", str(end + 1)),) if end is not None else ()))


def _ends(token: str, path: str, params: Params, after: int, rows: int) -> Generator[Any, Any, list[int]]:
    """Return the last id of each range of so many rows, but for the last range. Any ids would cut the list rightly."""
    ends: list[int] = []
    while True:
        asked = (*params, ("id_after", str(ends[-1] if ends else after)), ("per_page", "1"), ("page", str(rows)))
        try:
            answer: Answer = yield Get(token, path, asked)
            found = rows_of(answer)
        except ReadFailed:
            return ends  # what is left is read as one range
        id = found[0].get("id") if found else None
        if not isinstance(id, int) or id <= (ends[-1] if ends else after):
            return ends
        ends.append(id)
