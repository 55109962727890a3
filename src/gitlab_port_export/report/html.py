"""The report as one page for a browser: counts, a timeline, what was read, problems, and the changes with a filter."""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from html import escape
from importlib.resources import files

from gitlab_port_export import __version__
from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Create, Delete, Held, Problem, Update, Write, target
from gitlab_port_export.report.exit_code import meaning
from gitlab_port_export.report.values import Counts, KindCounts, Report, total
from gitlab_port_export.report.words import left_out, some, where

# Action of a change, its mark in the table, and what a plan calls it.
_ACTIONS = {
    "created": ("+", "to create", "good"),
    "updated": ("~", "to update", "warn"),
    "deleted": ("−", "to delete", "bad"),
    "held": ("•", "held", "quiet"),
}


def render(report: Report) -> str:
    """Return a whole HTML document that asks for nothing else; its policy lets a browser run only its own script."""
    style, script = _part("style.css"), _part("filter.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = f"{report.command} of {report.integration}" if report.integration else report.command
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(title)}: exit {report.exit_code}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            *_body(report, title),
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _part(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _text(text: str) -> str:
    """Return text that others wrote as HTML text or the value of an attribute in double quotes."""
    return escape(clean(text))


def _name(text: str) -> str:
    """Return a name on its own: one that is written from right to left turns nothing beside it."""
    return f"<bdi>{_text(text)}</bdi>"


def _body(report: Report, title: str) -> Iterator[str]:
    yield "<header>"
    yield f"<h1>{_text(title[:1].upper() + title[1:])}</h1>"
    good = "warn" if report.skipped else "good" if report.exit_code in (0, 10) else "bad"
    yield f'<p class="outcome {good}">Exit {report.exit_code}: {_text(meaning(report))}</p>'
    yield f'<p class="quiet">{"; ".join(_facts(report))}</p>'
    yield "</header>"
    yield "<main>"
    if report.blueprints or report.kinds:
        yield from _tiles(report)
    yield from _problems("Problems", [one for one in report.problems if not one.warning], "bad")
    yield from _held(report)
    yield from _problems("Warnings", [one for one in report.problems if one.warning], "warn")
    yield from _counts(report)
    yield from _timeline(report)
    yield from _kinds(report)
    yield from _changes(report)
    yield from _plan(report)
    yield "</main>"
    yield f'<footer><p class="quiet">gitlab-port-export {_text(__version__)}</p></footer>'


def _facts(report: Report) -> Iterator[str]:
    yield _text(report.started)
    yield f"{report.seconds:.1f} s"
    yield f"{some(report.gitlab_requests, 'GitLab request')}, {some(report.port_requests, 'Port request')}"
    if report.mapping_origin:
        yield f"mapping: {_name(report.mapping_origin)}"
    if report.command == "plan":
        yield "nothing was written"


def _tiles(report: Report) -> Iterator[str]:
    counts = total(report.blueprints.values())
    problems = sum(1 for problem in report.problems if not problem.warning)
    yield '<ul class="tiles" aria-label="Totals">'
    for name in ("created", "updated", "deleted", "failed", "held", "unchanged"):
        number = getattr(counts, name)
        mark = ' class="bad"' if name == "failed" and number else ""
        yield f"<li><b{mark}>{number}</b> {_called(report, name)}</li>"
    yield f'<li><b class="{"bad" if problems else "good"}">{problems}</b> problem{"" if problems == 1 else "s"}</li>'
    yield "</ul>"


def _called(report: Report, action: str) -> str:
    return _ACTIONS[action][1] if report.command == "plan" and action in _ACTIONS else action


def _section(name: str, title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f'<section aria-labelledby="{name}-title">'
    yield f'<h2 id="{name}-title">{title}</h2>'
    yield from lines
    yield "</section>"


def _problems(title: str, problems: Sequence[Problem], style: str) -> Iterator[str]:
    if problems:
        cards = ['<ul class="cards">', *(_problem(problem, style) for problem in problems), "</ul>"]
        yield from _section(title.lower(), f"{title} ({len(problems)})", cards)


def _problem(problem: Problem, style: str) -> str:
    often = f" ({problem.count} times)" if problem.count > 1 else ""
    lines = [f'<p><span class="mark {style}">{problem.stage}</span> {_name(problem.why)}{often}</p>']
    if place := where(problem):
        lines.append(f'<p class="quiet">{_name(place)}</p>')
    if problem.sample:
        lines.append(f'<p class="quiet">for example {_name(problem.sample)}</p>')
    return f"<li>{''.join([*lines, _advice(problem.hint)])}</li>"


def _advice(hint: str) -> str:
    return f'<p class="do"><b>What to do:</b> {_name(hint)}</p>' if hint else ""


def _held(report: Report) -> Iterator[str]:
    if report.held:
        cards = ['<ul class="cards">', *map(_held_card, report.held), "</ul>"]
        number = sum(held.count for held in report.held)
        yield from _section("held", f"Deletions held ({number})", cards)


def _held_card(held: Held) -> str:
    shown = "".join(f"<li>{_name(identifier)}</li>" for identifier in held.identifiers[:3])
    more = f"<li>… and {held.count - 3} more</li>" if held.count > 3 else ""
    return (
        f'<li><p><span class="mark warn">{held.reason}</span> {some(held.count, "deletion")} of '
        f"{_name(held.blueprint)}: {_name(held.why)}</p><ul>{shown}{more}</ul>{_advice(held.hint)}</li>"
    )


def _counts(report: Report) -> Iterator[str]:
    if not report.blueprints:
        return
    heads = "".join(f'<th scope="col" class="number">{_called(report, field.name)}</th>' for field in fields(Counts))
    rows = [_counts_row(_name(name), counts) for name, counts in report.blueprints.items()]
    if len(rows) > 1:
        rows.append(_counts_row("total", total(report.blueprints.values())))
    table = [
        '<div class="wide" role="region" aria-label="Entities by blueprint" tabindex="0"><table class="counts">',
        f'<thead><tr><th scope="col">blueprint</th>{heads}</tr></thead>',
        f"<tbody>{''.join(rows)}</tbody></table></div>",
    ]
    yield from _section("entities", "Entities by blueprint", table)


def _counts_row(name: str, counts: Counts) -> str:
    return f'<tr><th scope="row">{name}</th>{"".join(map(_number, astuple(counts)))}</tr>'


def _number(number: float | str) -> str:
    return f'<td class="number">{number}</td>'


def _bar(start: float, length: float, whole: float) -> str:
    """Return a bar of a chart; the number beside it says the same to those who do not see it."""
    left, width = (100 * part / whole if whole else 0 for part in (start, length))
    # Something that took no time is still seen.
    width = max(width, 0.5) if length or start else 0
    return (
        '<td><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" x="0" y="4" width="100" height="2"></rect>'
        f'<rect x="{min(left, 99.5):.2f}" y="1" width="{width:.2f}" height="8"></rect></svg></td>'
    )


def _timeline(report: Report) -> Iterator[str]:
    if not report.timeline:
        return
    whole = max([report.seconds, *(span.end for span in report.timeline)])
    rows = (
        f'<tr><th scope="row">{_name(span.name)}</th>{_bar(span.start, span.end - span.start, whole)}'
        f"{_number(f'{span.start:.1f}–{span.end:.1f} s')}</tr>"
        for span in report.timeline
    )
    yield from _section("timeline", "Timeline", _chart("What was under way when", ["what", "", "seconds"], rows))


def _chart(caption: str, heads: Sequence[str], rows: Iterable[str]) -> Iterator[str]:
    yield f'<table class="chart"><caption>{caption}</caption><thead><tr>'
    yield from (f'<th scope="col" class="number">{head}</th>' if head else "<td></td>" for head in heads)
    yield f"</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _kinds(report: Report) -> Iterator[str]:
    if report.kinds:
        names = ["requests", "rows", *(["unnamed"] if any(one.unnamed for one in report.kinds.values()) else [])]
        charts = [line for name in names for line in _kind_chart(report, name)]
        yield from _section("read", "Read from GitLab", [*charts, *_failed_reads(report)])


def _kind_chart(report: Report, name: str) -> Iterator[str]:
    def of(counts: KindCounts) -> int:
        return int(getattr(counts, name))

    most = max(map(of, report.kinds.values()))
    rows = (
        f'<tr><th scope="row">{_name(kind or "unknown")}</th>{_bar(0, of(counts), most)}{_number(of(counts))}</tr>'
        for kind, counts in report.kinds.items()
    )
    title = "Rows without identifier" if name == "unnamed" else name.capitalize()
    yield from _chart(f"{title} of each kind", ["kind", "", name], rows)


def _failed_reads(report: Report) -> Iterator[str]:
    failed = [read for read in report.reads if read.failure]
    if failed:
        yield f"<details><summary>{some(len(failed), 'read')} not complete</summary><ul>"
        yield from (
            f"<li>{_name(read.kind)} of {_name(read.scope or 'GitLab')}: {_name(read.failure)}</li>" for read in failed
        )
        yield "</ul></details>"


def _changes(report: Report) -> Iterator[str]:
    rows = [_change(report, change) for change in report.changes]
    rows += [_row(report, "held", one.blueprint, name, one.reason) for one in report.held for name in one.identifiers]
    if not rows:
        yield from _section("changes", "Changes", ["<p>There are none.</p>"])
        return
    names = dict.fromkeys([target(change)[0] for change in report.changes] + [held.blueprint for held in report.held])
    cut = left_out(report)
    missing = cut.changes + cut.held
    lines = [
        f"<p>{some(missing, 'further change')} counted above and not listed.</p>" if missing else "",
        *_form(report, names),
        '<table class="changes" id="changes"><thead><tr><th scope="col">change</th><th scope="col">blueprint</th>'
        '<th scope="col">identifier</th><th scope="col">what differs</th></tr></thead><tbody>',
        *rows,
        "</tbody></table>",
    ]
    yield from _section("changes", "Changes", lines)


def _form(report: Report, blueprints: Iterable[str]) -> Iterator[str]:
    actions = "".join(f'<option value="{name}">{_called(report, name)}</option>' for name in _ACTIONS)
    options = "".join(f"<option>{_text(name)}</option>" for name in blueprints)
    # Without its script the page shows all rows and no filter.
    yield '<form id="filter" hidden>'
    yield '<label>Search <input name="text" type="search" autocomplete="off" placeholder="part of a name"></label>'
    yield f'<label>Change <select name="action"><option value="">all</option>{actions}</select></label>'
    yield f'<label>Blueprint <select name="blueprint"><option value="">all</option>{options}</select></label>'
    yield "</form>"
    yield '<p id="shown" class="quiet" role="status"></p>'


def _change(report: Report, change: Write) -> str:
    blueprint, identifier = target(change)
    match change:
        case Create():
            return _row(report, "created", blueprint, identifier)
        case Update(_, names):
            return _row(report, "updated", blueprint, identifier, ", ".join(names) or "cannot be compared")
        case Delete():
            return _row(report, "deleted", blueprint, identifier, "with its dependents" if change.cascade else "")


def _row(report: Report, action: str, blueprint: str, identifier: str, more: str = "") -> str:
    mark, _, style = _ACTIONS[action]
    return (
        f'<tr data-action="{action}"><td class="mark {style}"><span aria-hidden="true">{mark}</span> '
        f"{_called(report, action)}</td><td>{_name(blueprint)}</td><td>{_name(identifier)}</td>"
        f"<td>{_text(more)}</td></tr>"
    )


def _plan(report: Report) -> Iterator[str]:
    if report.plan:
        text = "\n".join(map(_text, report.plan))
        lines = [f"<details><summary>{some(len(report.plan), 'line')}</summary><pre>{text}</pre></details>"]
        yield from _section("tokens", "What each token reads", lines)
