"""What surrounds a change: who is told as it goes on, and how reads, refusals and signals end it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from gitlab_port_export.access.once import LOOK
from gitlab_port_export.access.values import Outcome, Refusal
from gitlab_port_export.access.write import OVER
from gitlab_port_export.base.errors import GitLabUnavailable, Interrupted
from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.model import Problem


@dataclass(frozen=True)
class Follow:
    """What else is done as a command goes on; by default nothing.

    `say` takes a line about what is done now, `wrote` the outcome once GitLab was read back, and `ended` the last
    outcome, also of what was refused. The last two return it, with what they add. `planned` takes that of a plan.
    """

    say: Callable[[str], None] = lambda line: None  # noqa: ARG005  # nobody listens
    wrote: Callable[[Outcome], Outcome] = lambda outcome: outcome
    ended: Callable[[Outcome], Outcome] = lambda outcome: outcome
    planned: Callable[[Outcome], None] = lambda outcome: None  # noqa: ARG005  # nobody listens


SILENT = Follow()


@contextmanager
def before_a_write() -> Iterator[None]:
    """Raise GitLabUnavailable for a read that fails and for the deadline, while nothing was written yet."""
    try:
        yield
    except ReadFailed as failure:
        raise GitLabUnavailable(f"GitLab: {failure.why}; nothing was changed", hint=failure.hint) from None
    except OVER:
        raise GitLabUnavailable("the deadline passed; nothing was changed", hint="allow more time") from None


def refused(outcome: Outcome, found: Sequence[Refusal], follow: Follow) -> Outcome:
    """Return the outcome of a wish that guards refuse, with all their reasons and ways out."""
    why, hint = "; ".join(one.why for one in found), "; ".join(dict.fromkeys(one.way_out for one in found))
    outcome = replace(outcome, result="refused", why=why, hint=hint, guard=found[0].guard)
    return outcome if outcome.plan else follow.ended(outcome)


def change(act: Callable[[], Outcome], planned: Outcome, follow: Follow) -> Outcome:
    """Make a change and tell of it. What ends the command meanwhile, a signal or a bug, is told too."""
    for write in planned.writes:
        place = f", {planned.place.path}" if planned.place else ""
        follow.say(f"{write.does}: {planned.wish.person}{place}")
    try:
        outcome = act()
    except BaseException as error:  # a write may have been sent: the audit line comes whatever ends the command
        why = f"{_words(error)}; whether the change was made is not known"
        follow.ended(replace(planned, result="failed", after=None, why=why, hint=LOOK))
        raise
    return follow.ended(outcome) if outcome.result == "failed" else told(outcome, follow)


def told(outcome: Outcome, follow: Follow) -> Outcome:
    """Tell of what stands in GitLab now, and end. A signal and a bug leave the audit line all the same."""
    try:
        outcome = follow.wrote(outcome)
    except BaseException as error:  # as above
        follow.ended(replace(outcome, problems=(*outcome.problems, Problem("write", _words(error)))))
        raise
    return follow.ended(outcome)


def _words(error: BaseException) -> str:
    """Return what ended a command; the text of a bug is for its traceback alone."""
    return str(error) if isinstance(error, Interrupted) else "a bug in the exporter ended the command"
