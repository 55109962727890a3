"""What a run reads that was asked for what changed: since when, and which groups and projects as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.model import Scope

# A pipeline that goes on, by its id, or a list of such pipelines.
GoingOn = int | Literal["running", "pending"]


@dataclass(frozen=True)
class Changes:
    """The limits of an incremental run; the ids are those of projects, but for `whole_groups`.

    `since` is by kind the instant from which on rows are read, with the overlap. Of `whole` everything is read, as in a
    full run. `pipelines` are those in which pipelines changed or go on, and `going_on` has the latter, which may have
    new jobs although GitLab does not touch the pipelines themselves. `active` are those with any sign of change,
    `updated` those whose own row changed. `quiet` are by kind the lists of which GitLab says that nothing changed.
    """

    since: Mapping[str, datetime]
    whole: frozenset[int] = frozenset()
    whole_groups: frozenset[int] = frozenset()
    pipelines: frozenset[int] = frozenset()
    going_on: Mapping[int, tuple[GoingOn, ...]] = field(default_factory=dict)
    active: frozenset[int] = frozenset()
    updated: frozenset[int] = frozenset()
    quiet: Mapping[str, frozenset[Scope]] = field(default_factory=dict)

    def later(self, kind: str, params: Params) -> Params:
        """Return a query with `updated_after`: the given instant, where that is later than this run's."""
        since = self.since[kind]
        given = [datetime.fromisoformat(value) for name, value in params if name == "updated_after"]
        kept = tuple(pair for pair in params if pair[0] != "updated_after")
        return (*kept, ("updated_after", text_of(max(since, *given)) if given else text_of(since)))


def text_of(instant: datetime) -> str:
    """Return an instant as GitLab reads it in a query."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_since(text: object, instant: datetime) -> bool:
    """Say whether a time of a row is that instant or later; what is no time may be."""
    try:
        return datetime.fromisoformat(str(text)) >= instant
    except (ValueError, TypeError):
        return True
