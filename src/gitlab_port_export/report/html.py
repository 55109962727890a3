"""The report as one page for a browser: counts, a timeline, what was read, problems, and the changes with a filter.

The page is page/page.html.j2. Jinja2 escapes every value there, and `clean` makes control characters visible.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from gitlab_port_export import __version__
from gitlab_port_export.base.text import clean
from gitlab_port_export.report import words
from gitlab_port_export.report.exit_code import meaning
from gitlab_port_export.report.values import Report, total


class _Mark(NamedTuple):
    """How the table of changes shows an action."""

    mark: str
    style: str


class _Row(NamedTuple):
    """One row of the table of changes."""

    action: str
    blueprint: str
    identifier: str
    detail: str
    change: words.ChangeWords | None = None


class _Bar(NamedTuple):
    """Where a bar begins and how long it is, in percent of the chart."""

    left: str
    width: str


_MARKS = {
    "created": _Mark("+", "good"),
    "updated": _Mark("~", "warn"),
    "deleted": _Mark("−", "bad"),
    "held": _Mark("•", "quiet"),
}


def render(report: Report) -> str:
    """Return a whole HTML document that loads nothing; its policy lets a browser run only its own script."""
    style, script, rows = _part("style.css"), _part("filter.js"), list(_rows(report))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["clean"] = clean
    text: str = environment.from_string(_part("page.html.j2")).render(
        report=report,
        version=__version__,
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        # Both are files of this package, which must not be escaped.
        style=Markup(style),  # noqa: S704  # as above
        script=Markup(script),  # noqa: S704  # as above
        title=words.subject(report),
        outcome="warn" if report.skipped else "good" if report.exit_code in (0, 10) else "bad",
        meaning=meaning(report),
        requests=words.requests(report),
        total=asdict(total(report.blueprints.values())),
        whole=max([report.seconds, *(span.end for span in report.timeline)]),
        charts=list(_charts(report)),
        failed_reads=[read for read in report.reads if read.failure],
        rows=rows,
        blueprints=list(dict.fromkeys(row.blueprint for row in rows)),
        missing=words.left_out(report).changes + words.left_out(report).held,
        marks=_MARKS,
        before_and_after=words.before_and_after,
        counted=partial(words.counted, command=report.command),
        bar_shape=_bar,
        some=words.some,
        more=words.more,
        times=words.times,
        where=words.where,
    )
    return text + "\n"


def _part(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _charts(report: Report) -> Iterator[tuple[str, str]]:
    """Yield title and column of each chart of the kinds."""
    yield "Requests of each kind", "requests"
    yield "Rows of each kind", "rows"
    if any(counts.unnamed for counts in report.kinds.values()):
        yield "Rows without identifier of each kind", "unnamed"


def _rows(report: Report) -> Iterator[_Row]:
    for change in words.shown_changes(report):
        yield _Row(change.action, change.blueprint, change.identifier, change.detail, change)
    for held in report.held:
        for identifier in held.identifiers:
            yield _Row("held", held.blueprint, identifier, held.reason)


def _bar(start: float, length: float, whole: float) -> _Bar:
    left, width = (100 * part / whole if whole else 0 for part in (start, length))
    # Something that took no time is still visible.
    width = max(width, 0.5) if length or start else 0
    return _Bar(f"{min(left, 99.5):.2f}", f"{width:.2f}")
