"""The rows of the HTML page's table of changes: all of them packed for its script, and some for a page without one."""

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, count
from typing import NamedTuple

from gitlab_port_export.base.text import clean
from gitlab_port_export.report.values import Report
from gitlab_port_export.report.words import ChangeWords, before_and_after, shown_changes

# A page stays below 5 MB: how long the packed rows may be, and how many rows, of how many characters, the page shows
# without its script.
MAX_PACKED = 4_000_000
MAX_PLAIN, MAX_PLAIN_TEXT = 500, 400_000
# What is too long is cut to a little less than its share, as some rows are longer than others.
NEARLY = 0.95


class Row(NamedTuple):
    """One row: a change or a held deletion, with safe texts; `values` are (field, before, after)."""

    action: str
    blueprint: str
    identifier: str
    detail: str = ""
    values: tuple[tuple[str, str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()


def rows_of(report: Report) -> list[Row]:
    """Return the rows of all changes and held deletions that the report keeps."""
    return [*map(_of_change, shown_changes(report)), *_held(report)]


def packed(rows: Sequence[Row], limit: int = MAX_PACKED) -> tuple[str, Sequence[Row]]:
    """Return rows as JSON, gzipped, in base64, and which rows those are: where all are too long, less of them.

    Values are left out before rows. Compressed, 100,000 rows take a tenth of the space, and no text of a row is read as
    HTML.
    """
    found = _compressed(rows)
    if len(found) <= limit or not rows:
        return found, rows
    bare = [row._replace(values=()) for row in rows]
    least = len(_compressed(bare))
    if least > limit:
        return packed(bare[: int(len(bare) * NEARLY * limit / least)], limit)
    having = sum(bool(row.values) for row in rows)
    return packed(_with_values(rows, int(having * NEARLY * (limit - least) / (len(found) - least))), limit)


def plain(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that the page shows without its script: of many rows, some of each action of each blueprint."""
    most = MAX_PLAIN
    found = list(_some_of_each(rows, most))
    while most > 1 and (len(found) > MAX_PLAIN or sum(map(_length, found)) > MAX_PLAIN_TEXT):
        most //= 2
        found = list(_some_of_each(rows, most))
    lengths = accumulate(map(_length, found))
    return [row for row, length in zip(found, lengths, strict=True) if length <= MAX_PLAIN_TEXT][:MAX_PLAIN]


def _some_of_each(rows: Sequence[Row], most: int) -> Iterator[Row]:
    seen: Counter[tuple[str, str]] = Counter()
    for row in rows:
        seen[row.action, row.blueprint] += 1
        if seen[row.action, row.blueprint] <= most:
            yield row


def _of_change(change: ChangeWords) -> Row:
    values = tuple(
        (clean(field.field), clean(before), clean(after or ("another order" if field.is_list and not before else "")))
        for field in change.shown_fields
        for before, after in (before_and_after(field),)
    )
    names = clean(change.blueprint), clean(change.identifier)
    return Row(change.action, *names, clean(change.detail), values, change.links)


def _held(report: Report) -> Iterator[Row]:
    for held in report.held:
        blueprint = clean(held.blueprint)
        yield from (Row("held", blueprint, clean(one), held.reason) for one in held.identifiers)


def _compressed(rows: Sequence[Row]) -> str:
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(text, mtime=0)).decode()


def _with_values(rows: Sequence[Row], most: int) -> list[Row]:
    """Return the rows, with the values of so many."""
    having = count()
    return [row if row.values and next(having) < most else row._replace(values=()) for row in rows]


def _length(row: Row) -> int:
    """Return about how long a row is as HTML."""
    texts = (*row[:4], *(text for value in row.values for text in value), *(url for _, url in row.links))
    return 200 + 50 * len(row.values) + sum(map(len, texts))
