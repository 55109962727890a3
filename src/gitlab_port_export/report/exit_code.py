"""Which exit code a run ends with, and what it means."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from gitlab_port_export.model import Held, Problem
from gitlab_port_export.report.values import Report, total, writes

Command = Literal["sync", "plan"]
FailOn = Literal["problems", "warnings", "limit", "never"]

SKIPPED = "skipped, because another run is active; nothing was read, compared or written"

EXIT_MEANINGS: dict[int, str] = {
    0: "Port is in step with GitLab",
    1: "finished with Problems: something was not read, mapped or written",
    2: "wrong usage, settings, mapping or plan file, nothing was written",
    3: "GitLab refused or could not be reached, nothing could be done",
    4: "Port refused or could not be reached, nothing could be done",
    5: "in step, but deletions were held",
    6: "a guard refused, nothing was written",
    10: "there are changes to make",
    70: "a bug in the exporter",
    130: "interrupted",
    143: "terminated",
}

# The exit code of a held deletion by its reason. One that is held by a Problem fails the run as the Problem does. One
# that was changed in Port during the run does not fail it, because the next run looks at it again.
_HELD_CODE = {
    "problem": 1, "search": 0, "unnamed": 5, "limit": 5, "empty": 5, "never": 0, "dependents": 5, "plan": 5, "role": 5,
    "recent": 0,
}  # fmt: skip
_FAILING: dict[FailOn, tuple[int, ...]] = {"problems": (1, 5), "warnings": (1, 5), "limit": (5,), "never": ()}


def exit_code(
    problems: Iterable[Problem],
    held: Iterable[Held],
    changes_in_plan: int,
    failed: int,
    *,
    command: Command,
    detailed: bool = False,
    fail_on: FailOn = "problems",
) -> int:
    """Return 0, 1, 5 or 10 for a run that was completed; warnings count only with `--fail-on warnings`.

    `changes_in_plan` and `failed` are how many changes a plan holds and how many writes were refused.
    """
    found = {_HELD_CODE[one.reason] for one in held}
    if failed or any(fail_on == "warnings" or not problem.warning for problem in problems):
        found.add(1)
    if command == "plan" and detailed and changes_in_plan and 1 not in found:
        return 10
    return next((code for code in _FAILING[fail_on] if code in found), 0)


def with_late(problems: Sequence[Problem], report: Report, fail_on: FailOn = "problems") -> Report:
    """Return the report with Problems that arose after its run; an exit code of a run that ended early stays."""
    late = exit_code(problems, (), 0, 0, command="sync", fail_on=fail_on)
    code = late if late and report.exit_code in (0, 5, 10) else report.exit_code
    return replace(report, problems=(*report.problems, *problems), exit_code=code)


def meaning(report: Report) -> str:
    """Return what the exit code means for this run, in a few words."""
    if report.skipped:
        return SKIPPED
    return _failure(report) if report.exit_code else _good(report)


def _good(report: Report) -> str:
    """Return what exit code 0 means for a run that was not skipped."""
    if _has_problems(report):
        return "finished with Problems, which --fail-on lets pass"
    if any(_HELD_CODE[one.reason] for one in report.held):
        return "deletions were held, which --fail-on lets pass"
    if report.command == "plan" and writes(total(report.blueprints.values())):
        return "the plan is complete, nothing was written"
    left = "; the report lists what is left to full runs" if report.left else ""
    if report.rhythm and report.rhythm.mode == "incremental":
        return f"Port has every change since {report.rhythm.since}{left}"
    if report.part:
        return f"done for a part: {report.part}{left}"
    return f"{EXIT_MEANINGS[0]}, but for deletions that were held" if report.held else EXIT_MEANINGS[0]


def _failure(report: Report) -> str:
    if report.command == "plan" and report.exit_code == 5:
        return "the plan is complete, but deletions are held"
    if fails_for_warnings(report):
        return "finished with warnings, which --fail-on makes fail"
    return EXIT_MEANINGS.get(report.exit_code, "ended early")


def _has_problems(report: Report) -> bool:
    return any(not one.warning for one in report.problems) or total(report.blueprints.values()).failed > 0


def fails_for_warnings(report: Report) -> bool:
    """Return whether a run ends with 1 only because of warnings."""
    return report.exit_code == 1 and not _has_problems(report) and bool(report.problems)


def is_let_pass(report: Report) -> bool:
    """Return whether the run passes because of --fail-on, although it would fail by default."""
    held = any(_HELD_CODE[one.reason] for one in report.held)
    found = held or any(not problem.warning for problem in report.problems)
    return report.exit_code == 0 and (found or total(report.blueprints.values()).failed > 0)
