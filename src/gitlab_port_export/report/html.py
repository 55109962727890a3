"""The report as one page for a browser: counts, changes with their values and a filter, problems, and what was read.

The page is page/page.html.j2. Jinja2 escapes every value there, and `clean` makes control characters visible. The page
shows some changes as they are. Its script, where it may run, lists all of them, in pages and with the filter.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
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
from gitlab_port_export.report.page_rows import Row, packed, plain, rows_of
from gitlab_port_export.report.values import Report, total, writes


class _Mark(NamedTuple):
    """How the table of changes shows an action."""

    mark: str
    style: str


# How many reads that are not complete the page lists, and of how many new entities the fields are open.
MAX_READS, MOST_NEW = 500, 5
_MARKS = {
    "created": _Mark("+", "good"),
    "updated": _Mark("~", "warn"),
    "deleted": _Mark("−", "bad"),
    "held": _Mark("•", "quiet"),
}


def render(report: Report) -> str:
    """Return a whole HTML document that loads nothing; its policy lets a browser run only its own script."""
    style, script, rows = _part("style.css"), _part("changes.js"), rows_of(report)
    packed_rows, listed = packed(rows)
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
        rhythm=words.rhythm_words(report),
        total=asdict(total(report.blueprints.values())),
        failed_reads=[read for read in report.reads if read.failure],
        packed_rows=packed_rows,
        listed=len(listed),
        rows=plain(listed),
        few_new=sum(row.action == "created" for row in listed) <= MOST_NEW,
        blueprints=list(dict.fromkeys(row.blueprint for row in listed)),
        fields=words.differing_fields(report),
        left_out=list(_left_out(report, rows, listed)),
        marks=_MARKS,
        max_reads=MAX_READS,
        counted=partial(words.counted, command=report.command),
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


def _left_out(report: Report, rows: Sequence[Row], listed: Sequence[Row]) -> Iterator[str]:
    """Yield what is counted and not listed, what is listed without its values, and where the whole is."""
    is_plan = report.command == "plan"
    left = words.left_out(report)
    if missing := left.changes + left.held:
        whole = "; a plan file (--out) holds all changes" if is_plan else ""
        yield f"{missing:,} further {_changes(missing)} counted above and not listed{whole}."
    if missing := len(rows) - len(listed):
        yield f"{missing:,} {_changes(missing)} left out so that this page stays small; the JSON report has them."
    # Not all details of a change are values, so what is gone is subtracted.
    shown = len(report.details) - sum(bool(row.values) for row in rows) + sum(bool(row.values) for row in listed)
    whole_number = writes(total(report.blueprints.values()))
    if report.details and shown < whole_number:
        yield f"{shown:,} of {whole_number:,} changes have details here; a plan file (--out) holds all values."


def _changes(number: int) -> str:
    return "change is" if number == 1 else "changes are"
