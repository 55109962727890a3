"""What a CI system may be told: which system this is, and the annotations of a run in its terms."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Held, Problem
from gitlab_port_export.report.values import Report, total
from gitlab_port_export.report.words import some, where

System = Literal["github", "gitlab", "azure", "jenkins", "none"]

# GitHub shows at most ten annotations of a level for a step; more than that is no overview anywhere else either.
MAX_ANNOTATIONS = 10
MAX_TEXT = 1000

# The variable that the system sets in every job, and its value; None stands for any.
_SIGNS: dict[System, tuple[str, str | None]] = {
    "github": ("GITHUB_ACTIONS", "true"),
    "gitlab": ("GITLAB_CI", "true"),
    "azure": ("TF_BUILD", "true"),
    "jenkins": ("JENKINS_URL", None),
}
# What somebody who runs a job again "with debug logging" sets there.
_DEBUG: dict[System, tuple[str, str]] = {
    "github": ("RUNNER_DEBUG", "1"),
    "gitlab": ("CI_DEBUG_TRACE", "true"),
    "azure": ("SYSTEM_DEBUG", "true"),
}


def detect(environ: Mapping[str, str]) -> System:
    """Return the CI system in which this runs."""
    for system, (name, value) in _SIGNS.items():
        found = environ.get(name, "").lower()
        if found and value in (None, found):
            return system
    return "none"


def wants_debug(system: System, environ: Mapping[str, str]) -> bool:
    """Say whether the job was started with the system's own switch for more logging."""
    name, value = _DEBUG.get(system, ("", "-"))
    return environ.get(name, "").lower() == value


@dataclass(frozen=True, slots=True)
class Annotation:
    """A problem or a held deletion as one annotation; both texts are one safe line."""

    level: Literal["error", "warning"]
    title: str
    text: str


@dataclass(frozen=True)
class CiSystem:
    """How a CI system is spoken to, in lines without their end.

    `fold` takes a title and the seconds since 1970 and gives what opens and what closes; `tell` takes the report
    and the file of its summary, if any; `mask` takes a secret.
    """

    fold: Callable[[str, int], tuple[str, str]]
    tell: Callable[[Report, str], Iterable[str]] = lambda _report, _summary: ()
    mask: Callable[[str], str] | None = None


def outputs(report: Report, file: str = "") -> dict[str, str]:
    """Return what a later step may want to know; `file` is the report that was written for machines."""
    counts = total(report.blueprints.values())
    return {
        "created": str(counts.created),
        "updated": str(counts.updated),
        "deleted": str(counts.deleted),
        "failed": str(counts.failed),
        "held": str(counts.held),
        "problems": str(sum(not problem.warning for problem in report.problems)),
        "exit-code": str(report.exit_code),
        **({"skipped": "true"} if report.skipped else {}),
        "report": clean(file),
    }


def annotations(report: Report) -> list[Annotation]:
    """Return at most ten annotations of each level; the last one counts those that are left out.

    Nothing is an error that does not fail the run.
    """
    fails = report.exit_code not in (0, 10)
    found = [_problem(problem, fails) for problem in report.problems]
    found += [_held(held, report.exit_code == 5) for held in report.held]
    return _few(found, "error") + _few(found, "warning")


def _problem(problem: Problem, fails: bool) -> Annotation:
    often = f" ({problem.count} times)" if problem.count > 1 else ""
    sample = f"for example {problem.sample}" if problem.sample else ""
    parts = (problem.why + often, where(problem), sample, f"→ {problem.hint}" if problem.hint else "")
    level: Literal["error", "warning"] = "error" if fails and not problem.warning else "warning"
    return Annotation(level, clean(f"gitlab-port-export: {problem.stage}"), _joined(parts))


def _held(held: Held, fails: bool) -> Annotation:
    what = f"{held.blueprint}: {some(held.count, 'deletion')} held ({held.reason}): {held.why}"
    level: Literal["error", "warning"] = "error" if fails else "warning"
    title = "gitlab-port-export: deletions held"
    return Annotation(level, title, _joined((what, f"→ {held.hint}" if held.hint else "")))


def _joined(parts: Iterable[str]) -> str:
    return clean("; ".join(filter(None, parts)), MAX_TEXT)


def _few(found: Iterable[Annotation], level: Literal["error", "warning"]) -> list[Annotation]:
    of_level = [one for one in found if one.level == level]
    if len(of_level) <= MAX_ANNOTATIONS:
        return of_level
    kept = of_level[: MAX_ANNOTATIONS - 1]
    left = len(of_level) - len(kept)
    return [*kept, Annotation(level, "gitlab-port-export", f"and {left} more, all of them are in the report")]
