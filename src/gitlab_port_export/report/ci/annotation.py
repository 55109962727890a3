"""Annotations: problems and held deletions as a CI system shows them beside a job."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Held, Problem
from gitlab_port_export.report.values import Report
from gitlab_port_export.report.words import advice, details, held_words, times

# GitHub shows at most ten annotations of a level for a step. More would be no overview in other systems either.
MAX_ANNOTATIONS = 10
MAX_TEXT = 1000

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A problem or a held deletion; title and text are one line each, without control characters."""

    level: Level
    title: str
    text: str


def annotations(report: Report) -> list[Annotation]:
    """Return at most ten annotations of each level; the last one counts those that are left out.

    Only what makes the run fail is an error.
    """
    fails = report.exit_code not in (0, 10)
    found = [_problem(problem, fails) for problem in report.problems]
    found += [_held(held, report.exit_code == 5) for held in report.held]
    return _few(found, "error") + _few(found, "warning")


def _problem(problem: Problem, fails: bool) -> Annotation:
    level: Level = "error" if fails and not problem.warning else "warning"
    title = clean(f"gitlab-port-export: {problem.stage}")
    return Annotation(level, title, _joined((problem.why + times(problem), *details(problem))))


def _held(held: Held, fails: bool) -> Annotation:
    level: Level = "error" if fails else "warning"
    text = _joined((f"{held.blueprint}: {held_words([held])}", advice(held.hint)))
    return Annotation(level, "gitlab-port-export: deletions held", text)


def _joined(parts: Iterable[str]) -> str:
    return clean("; ".join(filter(None, parts)), MAX_TEXT)


def _few(found: Iterable[Annotation], level: Level) -> list[Annotation]:
    of_level = [one for one in found if one.level == level]
    if len(of_level) <= MAX_ANNOTATIONS:
        return of_level
    kept = of_level[: MAX_ANNOTATIONS - 1]
    left = len(of_level) - len(kept)
    return [*kept, Annotation(level, "gitlab-port-export", f"and {left} more, all of them are in the report")]
