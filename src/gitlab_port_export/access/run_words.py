"""How a run of a Port action is worded: a label of a few words, and a summary in short markdown. Pure."""

from collections.abc import Iterator

from gitlab_port_export.access.values import Held, Outcome
from gitlab_port_export.base.errors import (
    ExportError,
    GitLabUnavailable,
    Interrupted,
    OutOfTime,
    PortUnavailable,
    UsageError,
)
from gitlab_port_export.base.text import clean

MOST_TEXT = 500
# How many places and Problems are named.
NAMED = 10
DONE = {
    "account create": "Account created",
    "account block": "Account blocked",
    "account unblock": "Account unblocked",
    "account remove": "All roles ended",
}


def label_of(outcome: Outcome) -> str:
    """Return the label of a run: what came of it, in a few words."""
    words = _label(outcome)
    behind = outcome.result not in ("refused", "failed") and any(not one.warning for one in outcome.problems)
    return f"{words}; the catalog is behind" if behind else words


def _label(outcome: Outcome) -> str:
    before, after = (held.role.name if held else "" for held in (outcome.before, outcome.after))
    done = DONE.get(outcome.command, "Done")
    granted = f"Granted: {after}" if after and outcome.command == "access grant" else done
    words = {
        "created": granted,
        "updated": granted,
        "removed": f"Revoked: {before}" if before else done,
        "unchanged": "Nothing to do",
        "invited": "Invited, not yet accepted",
        "queued": "Waiting for an administrator" if "administrator" in outcome.why else "Waiting for GitLab",
        "refused": f"Refused: {outcome.guard}",
        "failed": "Failed",
    }
    return words[outcome.result]


def summary_of(outcome: Outcome) -> str:
    """Return the summary of a run as markdown; every text of others stands in a code span."""
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    person, place = outcome.person, outcome.place
    who = f"{_code(person.username)} (id {person.id})" if person else _code(outcome.wish.person)
    where = f" in {place.kind} {_code(place.path)}" if place else ""
    yield f"**{label_of(outcome)}**: {who}{where}"
    yield ""
    yield f"- before: {_held(outcome.before)}"
    yield f"- now: {_held(outcome.after)}"
    for held in outcome.still:
        yield f"- still: {_held(held)}"
    if outcome.below:
        names = ", ".join(_code(one.path) for one in outcome.below[:NAMED])
        more = f" and {len(outcome.below) - NAMED} more" if len(outcome.below) > NAMED else ""
        yield f"- ended below: {names}{more}"
    if outcome.why:
        yield f"- why: {_code(outcome.why)}"
    if outcome.hint:
        yield f"- what to do: {_code(outcome.hint)}"
    if outcome.wish.reason:
        yield f"- reason: {_code(outcome.wish.reason)}"
    if outcome.entities:
        deleted = sum(one.action == "delete" for one in outcome.entities)
        yield f"- entities: {len(outcome.entities) - deleted} written, {deleted} deleted"
    for note in outcome.notes:
        yield f"- note: {_code(note)}"
    for problem in outcome.problems[:NAMED]:
        yield f"- problem: {_code(problem.why)}"


def _held(held: Held | None) -> str:
    if held is None:
        return "no role"
    until = f" until {held.expires}" if held.expires else ""
    origin = f", from {_code(held.origin)}" if held.origin and held.membership in ("inherited", "invited") else ""
    return f"{_code(held.role.name)}{until} ({held.membership}{origin})"


def plan_of(outcome: Outcome) -> str:
    """Return what a plan found, as a line of a run's log."""
    if outcome.result == "refused":
        return f"plan: a guard would refuse it ({outcome.guard}): {outcome.why}"
    if not outcome.writes:
        return "plan: nothing is to be done"
    names = [held.role.name if held else "no role" for held in (outcome.before, outcome.after)]
    return f"plan: {' → '.join(names)}, by {', '.join(f'{one.method} {one.path}' for one in outcome.writes)}"


def label_of_error(error: BaseException) -> str:
    """Return the label of a run whose command was ended by an error before anything was decided."""
    match error:
        case OutOfTime():
            return "Failed: out of time"
        case Interrupted():
            return "Failed: stopped"
        case UsageError():
            return "Refused: inputs or settings"
        case GitLabUnavailable():
            return "Failed: GitLab"
        case PortUnavailable():
            return "Failed: Port"
    return "Failed: a bug in the exporter"


def summary_of_error(error: BaseException) -> str:
    """Return the summary of a run whose command was ended by an error."""
    if not isinstance(error, ExportError | Interrupted):
        return f"Nothing is known of the change: {type(error).__name__}. The job's log says more."
    faults = [f"- {_code(str(fault))}" for fault in error.faults[:NAMED]]
    hint = [f"- what to do: {_code(error.hint)}"] if error.hint else []
    return "\n".join(["Nothing was changed.", "", *faults, *hint])


def _code(text: str) -> str:
    """Return untrusted text as a code span on one line, in which markdown and HTML mean nothing."""
    return f"`{clean(text, MOST_TEXT).replace('`', chr(39)) or ' '}`"
