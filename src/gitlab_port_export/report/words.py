"""How problems, held deletions, changes and counts are worded: once, for all renderers.

Functions that take `quote` apply it to each text that comes from GitLab, Port or the mapping; a renderer escapes there.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gitlab_port_export.base.jsontext import in_words
from gitlab_port_export.base.text import span_words
from gitlab_port_export.model import Create, Delete, Held, Problem, Update, Write, target
from gitlab_port_export.report.values import Counts, Details, FieldChange, Report, total, writes

Quote = Callable[[str], str]

MAX_VALUE = 200
# So many updates speak for themselves. How many fields are named of those that differ in more.
FEW, MAX_FIELDS = 20, 20

_GRAVITY: dict[type[Write], int] = {Delete: 0, Update: 1, Create: 2}
_PLANNED = {"created": "to create", "updated": "to update", "deleted": "to delete"}


# --- the run


def subject(report: Report) -> str:
    """Return the command and its integration: "sync of my-gitlab"."""
    return f"{report.command} of {report.integration}" if report.integration else report.command


def rhythm_words(report: Report) -> str:
    """Return what a run with `--since` read: what changed, or everything and why; empty for any other run."""
    rhythm = report.rhythm
    if rhythm is None:
        return ""
    if rhythm.mode == "full":
        return f"full run: {rhythm.why}" if rhythm.why else "full run"
    overlap, ago = span_words(rhythm.lookback), span_words(rhythm.age)
    return f"incremental: changes since {rhythm.since} (with {overlap} of overlap); last full run {ago} ago"


def requests(report: Report) -> str:
    """Return how many requests were sent to GitLab and to Port."""
    bound = "" if report.rate is None else f" at the {report.rate:g} a second that --rate allows"
    return f"{some(report.gitlab_requests, 'GitLab request')}{bound}, {some(report.port_requests, 'Port request')}"


# --- counts


def some(number: int, noun: str) -> str:
    """Return a number with its noun: "1 row", "2 rows"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def more(number: int) -> str:
    """Return the last line of a list that leaves out so many."""
    return f"… and {number} more"


def counted(name: str, command: str) -> str:
    """Return the words for a count: what a sync calls "created" is "to create" in a plan."""
    return _PLANNED.get(name, name) if command == "plan" else name


def sums(counts: Counts, command: str) -> str:
    """Return how many entities were written, or are to be written by a plan, and how many failed or are held."""
    words = [f"{getattr(counts, name)} {counted(name, command)}" for name in _PLANNED]
    words += [f"{number} {name}" for name in ("failed", "held") if (number := getattr(counts, name))]
    return ", ".join(words)


def run_sums(report: Report) -> str:
    """Return `sums` of all blueprints."""
    return sums(total(report.blueprints.values()), report.command)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many items of a large run the report counts and does not show."""

    changes: int = 0
    held: int = 0
    reads: int = 0


def left_out(report: Report) -> LeftOut:
    """Return how many changes, held deletions and reads the report counts and does not show."""
    return LeftOut(
        sum(map(writes, report.blueprints.values())) - len(report.changes),
        sum(held.more for held in report.held),
        sum(counts.reads for counts in report.kinds.values()) - len(report.reads),
    )


# --- problems


def times(problem: Problem) -> str:
    """Return " (7 times)", or an empty text for a problem that happened once."""
    return f" ({problem.count} times)" if problem.count > 1 else ""


def where(problem: Problem) -> str:
    """Return where the problem arose, from the scope down to the entity; empty when it concerns the whole run."""
    parts = {
        "in": problem.scope,
        "with": problem.token,
        "kind": problem.kind,
        "mapping line": ":".join(str(part) for part in (problem.line, problem.column) if part is not None),
        "resource": str(problem.resources[0]) if problem.line and len(problem.resources) == 1 else "",
        "field": problem.field,
        "blueprint": problem.blueprint,
        "entity": problem.entity,
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value)


def details(problem: Problem, quote: Quote = str) -> list[str]:
    """Return where the problem arose, an example, and what to do: those that are known, one text each."""
    place = f"in {quote(where(problem).removeprefix('in '))}" if problem.scope else quote(where(problem))
    example = f"for example {quote(problem.sample)}" if problem.sample else ""
    return list(filter(None, (place if where(problem) else "", example, advice(problem.hint, quote))))


def advice(hint: str, quote: Quote = str) -> str:
    """Return what to do, marked as such; empty without a hint."""
    return f"→ {quote(hint)}" if hint else ""


# --- held deletions


def by_cause(held: Iterable[Held]) -> list[list[Held]]:
    """Return the held deletions in groups: those of one problem or search together, else one group a blueprint.

    A problem may hold deletions of many blueprints, and has to be solved only once.
    """
    found: dict[Hashable, list[Held]] = {}
    for one in held:
        alone = "" if one.reason in ("problem", "search") else one.blueprint
        found.setdefault((one.reason, one.why, one.hint, alone), []).append(one)
    return list(found.values())


def held_blueprints(group: Sequence[Held], quote: Quote = str) -> str:
    """Return the blueprint of the group, or several with the count of each."""
    if len(group) == 1:
        return quote(group[0].blueprint)
    return ", ".join(f"{quote(one.blueprint)} {one.count}" for one in group)


def held_words(group: Sequence[Held], quote: Quote = str) -> str:
    """Return how many deletions of a group are held, and why."""
    number = some(sum(one.count for one in group), "deletion")
    return f"{number} held ({group[0].reason}): {quote(group[0].why)}"


# --- changes

Action = Literal["created", "updated", "deleted"]


@dataclass(frozen=True, slots=True)
class ChangeWords:
    """A change as it is shown; `detail` has its title, which fields differ where there are no values, and the reason.

    `fields` are the values of a plan, `links` (label, address) of its pages.
    """

    action: Action
    blueprint: str
    identifier: str
    detail: str = ""
    fields: tuple[FieldChange, ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    @property
    def shown_fields(self) -> list[FieldChange]:
        """The fields to show: of a new entity those with a value, without the title, which `detail` has."""
        if self.action != "created":
            return list(self.fields)
        return [one for one in self.fields if any(before_and_after(one)) and one.field != "title"]

    @property
    def text(self) -> str:
        """The identifier and the detail, without the blueprint."""
        return f"{self.identifier}: {self.detail}" if self.detail else self.identifier


def described(change: Write, details: Details | None = None) -> ChangeWords:
    """Return how a change is shown; in a plan with its details."""
    known = details or Details()
    links = tuple((label, url) for label, url in (("GitLab", known.gitlab), ("Port", known.port)) if url)
    match change:
        case Create():
            action: Action = "created"
            also = ""
        case Update(_, names):
            action = "updated"
            also = "" if known.fields and names else ", ".join(names) or "cannot be compared"
        case Delete(_, _, cascade):
            action = "deleted"
            also = "; ".join(filter(None, (known.why, "with its dependents" if cascade else "")))
    detail = "; ".join(filter(None, (known.title, also)))
    return ChangeWords(action, *target(change), detail, known.fields, links)


def changes_by_blueprint(report: Report, most: int | None = None) -> dict[str, list[ChangeWords]]:
    """Return the changes of each blueprint that has any, at most so many: deletions before updates before creates.

    They are in the order of the report. A large run keeps only some of them.
    """
    found: dict[str, list[Write]] = {name: [] for name, counts in report.blueprints.items() if writes(counts)}
    for change in report.changes:
        found.setdefault(target(change)[0], []).append(change)
    return {name: [_described(report, one) for one in _gravest(changes, most)] for name, changes in found.items()}


def _gravest(changes: Sequence[Write], most: int | None) -> Sequence[Write]:
    if most is None or len(changes) <= most:
        return changes
    kept = sorted(range(len(changes)), key=lambda index: (_GRAVITY[type(changes[index])], index))[:most]
    return [changes[index] for index in sorted(kept)]


def differing_fields(report: Report, quote: Quote = str) -> dict[str, str]:
    """Return for each blueprint with many updates how often which field differs: what they have in common."""
    updates: Counter[str] = Counter()
    found: dict[str, Counter[str]] = {}
    for change in report.changes:
        if isinstance(change, Update):
            updates[change.entity.blueprint] += 1
            found.setdefault(change.entity.blueprint, Counter()).update(change.fields)
    return {name: _often(updates[name], fields, quote) for name, fields in found.items() if updates[name] > FEW}


def _often(updates: int, fields: Counter[str], quote: Quote) -> str:
    often = ", ".join(f"{quote(name)} {number}" for name, number in fields.most_common(MAX_FIELDS))
    left_out = f" {more(len(fields) - MAX_FIELDS)}" if len(fields) > MAX_FIELDS else ""
    return f"fields that differ in {some(updates, 'update')}: {often}{left_out}"


def shown_changes(report: Report) -> Iterator[ChangeWords]:
    """Yield the changes of the report as they are shown."""
    return (_described(report, change) for change in report.changes)


def _described(report: Report, change: Write) -> ChangeWords:
    return described(change, report.details.get(target(change)))


def before_and_after(change: FieldChange) -> tuple[str, str]:
    """Return what a field has before and after a change, each empty where that is nothing; of a list what differs."""
    if not change.is_list:
        before, after = (_value(one) for one in (change.old, change.new))
        return before, f"{after} (differs in what is masked)" if change.masked else after
    before, after = (", ".join(map(_value, items)) for items in (change.removed, change.added))
    left_out = f" {more(change.more)}" if change.more else ""
    return (before, after + left_out) if after else (before + left_out, "")


def value_words(change: FieldChange) -> str:
    """Return what a change does to a field, in one line: "title: "a" → "b"", "tags: +"new" −"old"", "key: "value""."""
    before, after = before_and_after(change)
    if change.is_list:
        parts = (f"−{before}" if before else "", f"+{after}" if after else "")
        return f"{change.field}: {' '.join(filter(None, parts)) or 'another order'}"
    if change.old is None:
        return f"{change.field}: {after or 'nothing'}"
    return f"{change.field}: {before} → {after or 'nothing'}"


def _value(value: Any) -> str:
    """Return a value so that its type shows: texts in quotes."""
    if value is None:
        return ""
    return f'"{value}"' if isinstance(value, str) else in_words(value, MAX_VALUE)
