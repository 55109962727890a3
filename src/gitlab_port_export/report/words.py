"""How counts, places and problems are worded, once for all renderers."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from gitlab_port_export.model import Held, Problem
from gitlab_port_export.report.values import Counts, Report, writes

PLANNED = {"created": "to create", "updated": "to update", "deleted": "to delete"}


def by_cause(held: Iterable[Held]) -> list[list[Held]]:
    """Return what is held, together where one problem or search holds several blueprints: nobody decides on each."""
    found: dict[Hashable, list[Held]] = {}
    for one in held:
        alone = "" if one.reason in ("problem", "search") else one.blueprint
        found.setdefault((one.reason, one.why, one.hint, alone), []).append(one)
    return list(found.values())


def counted(name: str, command: str) -> str:
    """Return the words for a count: what a sync has created, a plan is only to create."""
    return PLANNED.get(name, name) if command == "plan" else name


def sums(counts: Counts, command: str) -> str:
    """Return how much was written, or a plan is to write, in words; and how much failed or was held, if anything."""
    words = [f"{getattr(counts, name)} {counted(name, command)}" for name in PLANNED]
    words += [f"{number} {name}" for name in ("failed", "held") if (number := getattr(counts, name))]
    return ", ".join(words)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How much of a large run the report counts and does not show."""

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


def some(number: int, word: str) -> str:
    """Return a number with its noun."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def where(problem: Problem) -> str:
    """Return where the problem arose, the widest place first; empty when it concerns the whole run."""
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
