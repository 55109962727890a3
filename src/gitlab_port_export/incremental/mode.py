"""Decides whether a run reads everything or what changed, and says why. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from gitlab_port_export.base.text import span_words
from gitlab_port_export.incremental.key import differing
from gitlab_port_export.incremental.state import State

# Where more than one of so many projects is new or changed, a full run takes hardly more requests. Those that the runs
# before found count less: a full run was made where they were many, and it may have read too early.
MOST_MOVED, MOST_UNSETTLED = 5, 3


def why_full(state: State | None, missing: str, key: Mapping[str, str], now: datetime, full_every: timedelta) -> str:
    """Return why a full run is due by what is known before groups and projects are listed; empty where none is.

    `missing` says why there is no state.
    """
    if state is None:
        return missing
    if changed := list(differing(state.key, key)):
        return f"since the last run this changed: {', '.join(changed)}"
    if now < state.last_run:
        return "the state is of a later time than GitLab's clock shows"
    if now - state.last_full >= full_every:
        ago, every = (span_words(one.total_seconds()) for one in (now - state.last_full, full_every))
        return f"the last one was {ago} ago (--full-every {every})"
    return ""


def why_full_after_all(moved: int, unsettled: int, projects: int, lost: Mapping[str, tuple[int, int]]) -> str:
    """Return why a full run is due by what GitLab and Port hold; empty where none is.

    `moved` of the `projects` are new or changed, and `unsettled` in all are to be read whole. `lost` has (before, now)
    of the blueprints of which Port holds fewer entities than the last run left.
    """
    if moved * MOST_MOVED > projects or unsettled * MOST_UNSETTLED > projects:
        return f"{unsettled} of {projects} projects are new, renamed, moved, archived or have other rights"
    for name, (before, found) in lost.items():
        return f"Port holds {found} entities of blueprint {name}, and the last run left {before}"
    return ""
