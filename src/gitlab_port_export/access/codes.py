"""Which exit code an outcome ends with, and what it means."""

from gitlab_port_export.access.values import Outcome

MEANINGS = {
    0: "done",
    1: "done in GitLab, but something else was not",
    3: "GitLab refused or could not be reached",
    6: "a guard refused, nothing was written",
    10: "there is something to do",
}


def exit_code(outcome: Outcome, *, detailed: bool = False) -> int:
    """Return 6 for a guard, 3 for what GitLab refused, 1 for Problems, 10 for a plan with something to do, else 0."""
    if outcome.result == "refused":
        return 6
    if outcome.result == "failed":
        return 3
    if any(not problem.warning for problem in outcome.problems):
        return 1
    return 10 if detailed and outcome.plan and outcome.writes else 0


def meaning(outcome: Outcome, code: int) -> str:
    """Return what the exit code means for this outcome."""
    if code:
        return MEANINGS[code]
    if outcome.plan:
        return MEANINGS[10] if outcome.writes else "there is nothing to do"
    if outcome.command == "access show":
        return "nothing was changed"
    return {
        "unchanged": "nothing was to be done",
        "invited": "invited, and not yet accepted",
        "queued": "GitLab took it, and has not done it yet",
    }.get(outcome.result, MEANINGS[0])
