"""The report on standard output: tables and colours on a terminal, plain lines elsewhere."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields

from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Delete, Held, Problem
from gitlab_port_export.report.exit_code import meaning
from gitlab_port_export.report.screen import NO_WIDTH
from gitlab_port_export.report.values import Counts, KindCounts, Report, total, writes
from gitlab_port_export.report.words import (
    ChangeWords,
    advice,
    by_cause,
    changes_by_blueprint,
    counted,
    described,
    details,
    differing_fields,
    held_blueprints,
    held_words,
    more,
    requests,
    rhythm_words,
    run_sums,
    some,
    subject,
    times,
    value_words,
)

# How many changes of a blueprint are shown on a terminal, and elsewhere: GitLab cuts the log of a job at 4 MB.
MAX_LINES, MAX_LOGGED = 50, 2_000
# Of so many new entities of a blueprint the fields are shown: one looks like the other.
MAX_NEW = 5
_MARKS = {"created": ("+", "green"), "updated": ("~", "yellow"), "deleted": ("-", "red")}


@dataclass(frozen=True)
class _Part:
    """Lines under a title, which the log of a CI system can fold."""

    title: str
    lines: Sequence[Text]


def render(
    report: Report, console: Console, fold: Callable[[str], tuple[str, str]] | None = None, *, reads: bool = False
) -> None:
    """Print the report; its last line is the exit code and what that means.

    `fold` returns the lines before and after a part of a CI system's log that folds, for its title. With it the
    changes of a sync are shown too. `reads` shows what each token of a plan reads; without it there is one line a kind.
    """

    def show(block: RenderableType) -> None:
        console.print(block, soft_wrap=not console.is_terminal)

    for block in _blocks(report, console, folds=fold is not None, reads=reads):
        if not isinstance(block, _Part):
            show(block)
        elif fold is None:
            show(Text("\n").join([Text(block.title, "bold"), *block.lines, Text()]))
        else:
            # These lines hold escape sequences, which rich would drop.
            opens, closes = fold(block.title)
            console.file.write(f"{opens}\n")
            show(Text("\n").join(block.lines))
            console.file.write(f"{closes}\n")


def _blocks(report: Report, console: Console, *, folds: bool, reads: bool) -> Iterator[RenderableType | _Part]:
    terminal = console.is_terminal
    shown = MAX_LINES if terminal else None
    yield _head(report)
    if report.command == "plan":
        yield from _part("Changes", _changes(report, shown or MAX_LOGGED))
        if reads:
            yield from _part("Reads", [_line(text) for text in report.plan])
    else:
        if folds:
            yield from _part("Changes", _changes(report, MAX_LINES))
        cascades = [change for change in report.changes if isinstance(change, Delete) and change.cascade]
        yield from _section(
            "Deleted with their dependents", _capped([_change(described(one)) for one in cascades], shown)
        )
    if report.kinds:
        yield from _section("Read from GitLab", [_kind(name, counts) for name, counts in report.kinds.items()])
    if report.blueprints:
        table = _table(report, terminal)
        # In a narrow terminal rich would leave out names and cut numbers.
        yield table if _least(table, console) <= console.width else _list(report)
        yield Text()
    yield from _section("Deletions held", [line for group in by_cause(report.held) for line in _held(group, shown)])
    yield from _section("Problems", [line for one in report.failures for line in _problem(one, "red")])
    yield from _section("Warnings", [line for one in report.warnings for line in _problem(one, "yellow")])
    yield from _section("Left to full runs", _capped([_line(text) for text in report.left], shown))
    yield _exit(report)


def _head(report: Report) -> Text:
    origin = f", mapping: {report.mapping_origin}" if report.mapping_origin else ""
    part = f", only {report.part}" if report.part else ""
    dry = ", nothing was written" if report.command == "plan" else ""
    head = _line(f"{subject(report)}{part}{origin}{dry}", 0, "bold").append("\n")
    rhythm = rhythm_words(report)
    return head.append(_line(rhythm, 0)).append("\n") if rhythm else head


def _part(title: str, lines: Sequence[Text]) -> Iterator[_Part]:
    if lines:
        yield _Part(title, lines)


def _section(title: str, lines: Sequence[Text]) -> Iterator[Text]:
    """Yield a heading, its lines and an empty line as one text; nothing without lines."""
    if lines:
        yield Text("\n").join([Text(title, "bold"), *lines, Text()])


def _line(text: str, indent: int = 2, style: str = "") -> Text:
    return Text(" " * indent + clean(text), style)


def _capped(lines: Sequence[Text], shown: int | None, whole: int | None = None) -> list[Text]:
    """Return at most `shown` lines and how many are missing of `whole`, by default of all lines."""
    kept = list(lines[:shown])
    missing = (len(lines) if whole is None else whole) - len(kept)
    return [*kept, Text(f"    {more(missing)}", "dim")] if missing > 0 else kept


def _changes(report: Report, shown: int) -> list[Text]:
    lines: list[Text] = []
    fields = differing_fields(report)
    for blueprint, found in changes_by_blueprint(report, shown).items():
        # The counts are exact; the report itself does not keep every change of a very large run.
        whole = writes(report.blueprints.get(blueprint, Counts()))
        lines.append(_line(blueprint))
        missing = whole - len(found)
        if missing > 0 and blueprint in fields:
            lines.append(_line(fields[blueprint], 4))
        seen: Counter[str] = Counter()
        for change in found:
            seen[change.action] += 1
            most = MAX_NEW if change.action == "created" else MAX_LINES
            lines += [_change(change), *(_values(change) if seen[change.action] <= most else ())]
        if missing > 0:
            lines.append(Text(f"    {more(missing)}", "dim"))
    return lines


def _values(change: ChangeWords) -> Iterator[Text]:
    """Yield the values of a change, and where to look at the entity."""
    yield from (_line(value_words(one), 8) for one in change.shown_fields)
    yield from (_line(url, 8, "dim") for _, url in change.links)


def _change(change: ChangeWords) -> Text:
    mark, style = _MARKS[change.action]
    return _line(f"{mark} {change.text}", 4, style)


def _kind(name: str, counts: KindCounts) -> Text:
    skipped = f", {counts.skipped} skipped" if counts.skipped else ""
    unnamed = f", {counts.unnamed} without identifier" if counts.unnamed else ""
    failed = f", {counts.failed} of {some(counts.reads, 'read')} failed" if counts.failed else ""
    words = f"{name or 'unknown'}: {some(counts.rows, 'row')}{skipped}{unnamed}, {some(counts.pages, 'page')}{failed}"
    return _line(words, style="red" if failed else "")


def _table(report: Report, terminal: bool) -> Table:
    """Return one row a blueprint, and their total where there are several."""
    if terminal:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0, 0, 1))
    else:
        table = Table(box=None, pad_edge=False)
    table.add_column("blueprint", overflow="fold", min_width=9)
    for field in fields(Counts):
        name = counted(field.name, report.command)
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for name, counts in report.blueprints.items():
        table.add_row(*_row(name, counts))
    if len(report.blueprints) > 1:
        table.add_row(*_row("total", total(report.blueprints.values())), style="bold")
    return table


def _least(table: Table, console: Console) -> int:
    """Return how many columns of a terminal the table needs."""
    return Measurement.get(console, console.options.update(max_width=NO_WIDTH), table).minimum


def _list(report: Report) -> Text:
    """Return the counts as lines, without the zeros, for a terminal that is too narrow for the table."""
    lines = []
    for name, counts in report.blueprints.items():
        numbers = [(getattr(counts, field.name), counted(field.name, report.command)) for field in fields(Counts)]
        lines.append(_line(f"{name}: {', '.join(f'{number} {word}' for number, word in numbers if number) or '0'}", 0))
    return Text("\n").join(lines)


def _row(name: str, counts: Counts) -> Iterable[Text]:
    return [Text(clean(name)), *(Text(str(number)) for number in astuple(counts))]


def _held(group: Sequence[Held], shown: int | None) -> Iterator[Text]:
    """Yield what is held for one cause: of one blueprint its identifiers, of several how many each."""
    first, *others = group
    yield _line(f"{held_blueprints(group)}: {held_words(group)}", style="yellow")
    if not others:
        # A problem or a search may hold all deletions, and a few identifiers say enough.
        few = 3 if first.reason in ("problem", "search") else shown
        yield from _capped([_line(f"- {identifier}", 4) for identifier in first.identifiers], few, first.count)
    if first.hint:
        yield _line(advice(first.hint), 4)


def _problem(problem: Problem, style: str) -> Iterator[Text]:
    yield _line(f"{problem.stage}: {problem.why}{times(problem)}", style=style)
    yield from (_line(text, 4) for text in details(problem))


def _exit(report: Report) -> Text:
    facts = [
        *(() if report.skipped else (run_sums(report),)),
        requests(report),
        f"{report.seconds:.1f} s",
    ]
    style = "bold yellow" if report.skipped else "bold green" if report.exit_code in (0, 10) else "bold red"
    return Text(f"exit {report.exit_code}: {meaning(report)} ({'; '.join(facts)})", style)
