"""How problems, held deletions, changes and counts are worded: once, for all renderers.

Functions that take `quote` apply it to each text that comes from GitLab, Port or the mapping; a renderer escapes there.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gitlab_port_export.model import Create, Delete, Held, Problem, Update, Write, target
from gitlab_port_export.report.values import Counts, Report, total, writes

Quote = Callable[[str], str]

_PLANNED = {"created": "to create", "updated": "to update", "deleted": "to delete"}


# --- the run


def subject(report: Report) -> str:
    """Return the command and its integration: "sync of my-gitlab"."""
    return f"{report.command} of {report.integration}" if report.integration else report.command


def requests(report: Report) -> str:
    """Return how many requests were sent to GitLab and to Port."""
    return f"{some(report.gitlab_requests, 'GitLab request')}, {some(report.port_requests, 'Port request')}"


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
    """A change as it is shown; `detail` says which fields differ, or that dependents go too."""

    action: Action
    blueprint: str
    identifier: str
    detail: str = ""

    @property
    def text(self) -> str:
        """The identifier and the detail, without the blueprint."""
        return f"{self.identifier}: {self.detail}" if self.detail else self.identifier


def described(change: Write) -> ChangeWords:
    """Return how a change is shown."""
    match change:
        case Create():
            return ChangeWords("created", *target(change))
        case Update(_, names):
            return ChangeWords("updated", *target(change), ", ".join(names) or "cannot be compared")
        case Delete(_, _, cascade):
            return ChangeWords("deleted", *target(change), "with its dependents" if cascade else "")


def changes_by_blueprint(report: Report) -> dict[str, list[ChangeWords]]:
    """Return the changes of each blueprint that has any; a large run keeps only some of them in the report."""
    found: dict[str, list[ChangeWords]] = {name: [] for name, counts in report.blueprints.items() if writes(counts)}
    for change in map(described, report.changes):
        found.setdefault(change.blueprint, []).append(change)
    return found
