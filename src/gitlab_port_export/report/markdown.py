"""The report as markdown: a job summary, or a comment on a merge request that shows what a plan would change."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields, replace
from html import escape

from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Held, Problem
from gitlab_port_export.report.exit_code import meaning
from gitlab_port_export.report.values import Counts, KindCounts, Report, total, writes
from gitlab_port_export.report.words import (
    ChangeWords,
    advice,
    before_and_after,
    by_cause,
    changes_by_blueprint,
    counted,
    details,
    differing_fields,
    held_blueprints,
    held_words,
    left_out,
    more,
    requests,
    rhythm_words,
    run_sums,
    some,
    sums,
    times,
)

# A comment on GitHub may have 65,536 characters, on GitLab a million; this leaves room for text of the user.
MAX_BYTES = 60_000
MAX_NAME = 200
MAX_TEXT = 1_000
# Of so many new entities of a blueprint the fields are shown, one looks like the other; and so many links.
MAX_NEW = 5
MAX_LINKS = 20
# How many lines a section may show: the first number with which the report fits.
_SIZES = (1_000, 300, 100, 30, 10, 3, 1, 0)
# The character by which a line of a diff block gets its colour.
_DIFF_MARKS = {"created": "+", "updated": "!", "deleted": "-"}
_MARKS = "\\`*_{}[]|~:@#!$%^\"'"


def render(report: Report, max_bytes: int = MAX_BYTES) -> str:
    """Return the report in at most so many bytes of UTF-8; sections are shortened until it fits."""
    texts = ("\n".join(_blocks(report, lines)) + "\n" for lines in _SIZES)
    return next((text for text in texts if len(text.encode()) <= max_bytes), f"{_outcome(report)}\n")


def code(text: str, limit: int = MAX_NAME) -> str:
    """Return untrusted text as inline code, safe in a paragraph, a table and HTML.

    Every mark that means something to GitHub or GitLab is an entity, and neither looks for @names, #numbers and links
    inside of code.
    """
    marks = {ord(mark): f"&#{ord(mark)};" for mark in _MARKS}
    harmless = escape(clean(text, limit), quote=False).replace("&", "\0").translate(marks).replace("\0", "&")
    return f"<code>{re.sub('(?i)www[.]', 'www&#46;', harmless)}</code>"


def _blocks(report: Report, lines: int) -> Iterator[str]:
    yield _head(report)
    yield ""
    yield _outcome(report)
    yield ""
    if rhythm := rhythm_words(report):
        yield code(rhythm, MAX_TEXT)
        yield ""
    if lines:
        yield from _table(report, lines)
        # A plan is read for its changes, a sync for what went wrong; how it ended stands above both.
        if report.command == "plan":
            yield from _changes(report, lines)
        problems, warnings = report.failures, report.warnings
        yield from _section(some(len(problems), "problem"), _capped(map(_problem, problems), lines), is_open=True)
        yield from _section(
            f"{some(total(report.blueprints.values()).held, 'deletion')} held",
            _capped((line for group in by_cause(report.held) for line in _held(group, lines)), 4 * lines),
            is_open=True,
        )
        yield from _section(some(len(warnings), "warning"), _capped(map(_problem, warnings), lines))
        yield from _section("left to full runs", _capped((code(one, MAX_TEXT) for one in report.left), lines))
        if report.command != "plan":
            yield from _changes(report, lines)
    yield _foot(report, lines)


def _head(report: Report) -> str:
    what = {"plan": "Plan", "sync": "Sync"}.get(report.command, report.command)
    of = f" of {code(report.integration)}" if report.integration else ""
    return f"### {what}{of}, only {code(report.part)}" if report.part else f"### {what}{of}"


def _outcome(report: Report) -> str:
    mark = "⚠️" if report.skipped else "✅" if report.exit_code in (0, 10) else "❌"
    if not report.blueprints:
        return f"{mark} **{meaning(report)}** (exit {report.exit_code})"
    return f"{mark} **{run_sums(report)}** (exit {report.exit_code}: {meaning(report)})"


def _table(report: Report, lines: int) -> Iterator[str]:
    if not report.blueprints:
        return
    names = [counted(field.name, report.command) for field in fields(Counts)]
    yield f"| blueprint | {' | '.join(names)} |"
    yield f"|---|{'---:|' * len(names)}"
    shown = list(report.blueprints.items())[:lines]
    for name, counts in shown:
        yield f"| {code(name)} | {' | '.join(map(str, astuple(counts)))} |"
    if (missing := len(report.blueprints) - len(shown)) > 0:
        yield f"| {more(missing)} {'| ' * len(names)}|"
    if len(report.blueprints) > 1:
        yield f"| **total** | {' | '.join(f'**{n}**' for n in astuple(total(report.blueprints.values())))} |"
    yield ""


def _section(title: str, lines: Sequence[str], *, is_open: bool = False) -> Iterator[str]:
    """Yield a section that can be opened and closed; nothing without lines."""
    if lines:
        yield f"<details{' open' if is_open else ''}><summary>{title}</summary>"
        # Markdown inside HTML needs an empty line before it.
        yield ""
        yield from lines
        yield ""
        yield "</details>"
        yield ""


def _capped(lines: Iterable[str], shown: int) -> list[str]:
    found = list(lines)
    missing = len(found) - shown
    return [*found[:shown], f"- {more(missing)}"] if missing > 0 else found


def _text(text: str) -> str:
    return code(text, MAX_TEXT)


def _problem(problem: Problem) -> str:
    return "<br>".join((f"- **{problem.stage}**: {_text(problem.why)}{times(problem)}", *details(problem, _text)))


def _held(group: Sequence[Held], lines: int) -> Iterator[str]:
    held, *others = group
    words = f"- {held_blueprints(group, code)}: {held_words(group, _text)}"
    yield "<br>".join(filter(None, (words, advice(held.hint, _text))))
    if others:
        return
    yield from (f"  - {code(identifier)}" for identifier in held.identifiers[:lines])
    if (missing := held.count - len(held.identifiers[:lines])) > 0:
        yield f"  - {more(missing)}"


def _changes(report: Report, lines: int) -> Iterator[str]:
    """Yield a section for each blueprint; GitHub and GitLab colour the lines of a diff by their first character."""
    fields = differing_fields(report, code)
    for name, found in list(changes_by_blueprint(report, lines).items())[:lines]:
        whole = report.blueprints.get(name, Counts())
        said = sums(replace(whole, held=0), report.command)
        first_new = [change for change in found if change.action == "created"][:MAX_NEW]
        shown = [line for change in found for line in _change(change, first_new)]
        missing = writes(whole) - len(found)
        # No line begins with what ends the block, and nothing in it is read as markdown.
        yield from _section(
            f"{code(name)}: {said}",
            [
                *([fields[name], ""] if missing > 0 and name in fields else []),
                "```diff",
                *shown,
                *([more(missing)] if missing > 0 else []),
                "```",
                *_links(found[:MAX_LINKS]),
            ],
            is_open=any(change.fields for change in found),
        )


def _change(change: ChangeWords, first_new: Sequence[ChangeWords]) -> Iterator[str]:
    """Yield the lines of a change, each of which begins with a mark or a blank; later new entities have one line."""
    detail = f": {clean(change.detail, MAX_NAME)}" if change.detail else ""
    yield f"{_DIFF_MARKS[change.action]} {clean(change.identifier, MAX_NAME)}{detail}"
    for field in change.shown_fields if change.action != "created" or change in first_new else ():
        before, after = before_and_after(field)
        name = clean(field.field, MAX_NAME)
        if before:
            yield f"-     {name}: {clean(before, MAX_TEXT)}"
        if after or not before:
            yield f"+     {name}: {clean(after, MAX_TEXT) or ('another order' if field.is_list else 'nothing')}"


def _links(changes: Sequence[ChangeWords]) -> Iterator[str]:
    """Yield a line with the pages of entities; the addresses hold no mark of HTML."""
    pages = [
        f"{code(change.identifier)} ("
        + ", ".join(f'<a href="{escape(url)}">{at}</a>' for at, url in change.links)
        + ")"
        for change in changes
        if change.links
    ]
    if pages:
        yield ""
        yield f"Pages: {', '.join(pages)}"


def _rows(kind: str, counts: KindCounts) -> str:
    unnamed = f" ({counts.unnamed} without identifier)" if counts.unnamed else ""
    return f"{code(kind or 'unknown')} {counts.rows}{unnamed}"


def _foot(report: Report, lines: int) -> str:
    read = ", ".join(_rows(name, counts) for name, counts in list(report.kinds.items())[:lines])
    facts = [f"{report.started}, {report.seconds:.1f} s", requests(report)]
    if read:
        facts.append(f"rows read: {read}")
    if report.mapping_origin:
        facts.append(f"mapping: {code(report.mapping_origin)}")
    if missing := left_out(report).changes:
        facts.append(f"{missing} changes are counted and not kept")
    return "; ".join(facts)
