"""What a run knows of the runs before it, and what it leaves for the next one."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce

from gitlab_port_export.gitlab.changes import is_since
from gitlab_port_export.incremental.frames import Moved, Outline, cuts_of, frames_of, moved
from gitlab_port_export.incremental.mode import why_full
from gitlab_port_export.incremental.places import Place
from gitlab_port_export.incremental.state import State


@dataclass(frozen=True)
class Memory:
    """The state of the last run, and why a full run is due (`why`), as far as that is known before GitLab is listed.

    `key` is what the next state is bound to. Where nothing may be kept, for GitLab does not say what it takes, `keeps`
    is false.
    """

    place: Place
    key: Mapping[str, str]
    now: datetime
    state: State | None
    why: str
    lookback: timedelta
    keeps: bool = True

    def suspects(self, outlines: Sequence[Outline]) -> Moved:
        """Return what is new or changed since the last run; without a state, what GitLab touched lately."""
        if self.state:
            return moved(self.state.frames, outlines)
        since = self.now - self.lookback
        return Moved.of(one for one in outlines if not one.is_group and is_since(one.updated_at, since))

    @property
    def cuts(self) -> tuple[int, ...]:
        """The ids between which projects are listed side by side, where a run reads what changed."""
        return self.state.cuts if self.state and not self.why else ()

    @property
    def unsettled(self) -> Moved:
        """What earlier runs found to be new or changed and no run has read since."""
        return reduce(Moved.__or__, self.state.unsettled.values() if self.state else (), Moved())

    def after(
        self,
        outlines: Sequence[Outline],
        kinds: Iterable[str],
        counts: Mapping[str, int],
        *,
        full: bool,
        unsure: Set[str],
    ) -> State:
        """Return the state after a run of these kinds, of which the `unsure` ones had a Problem.

        A full run forgets what it could not read whole. After an incremental one the instant of such a kind stays, and
        with it what the groups and projects looked like then.
        """
        cuts = cuts_of(outlines)
        moving = {kind: self.now for kind in kinds if kind not in unsure}
        if full or self.state is None:
            return State(
                self.key, self.now, self.now, moving, frames_of(outlines), counts, self._unsettled(outlines), cuts
            )
        known = self.state
        return replace(
            known,
            last_run=self.now,
            kinds={**known.kinds, **moving},
            frames=known.frames if unsure else frames_of(outlines),
            counts={**known.counts, **counts},
            unsettled=known.unsettled if unsure else self._unsettled(outlines),
            cuts=cuts,
        )

    def _unsettled(self, outlines: Sequence[Outline]) -> dict[datetime, Moved]:
        """Return what the next run has to read once more: what this one found, and what is younger than the overlap."""
        earlier = self.state.unsettled if self.state else {}
        found = {instant: one for instant, one in earlier.items() if self.now - instant < self.lookback}
        return {**found, self.now: suspects} if (suspects := self.suspects(outlines)) else found


def recall(
    place: Place,
    loaded: tuple[State | None, str],
    key: Mapping[str, str],
    now: datetime,
    doubt: str,
    full_every: timedelta,
    lookback: timedelta,
) -> Memory:
    """Return what is known of earlier runs; where a `doubt` says why a state could not be told from others, nothing."""
    if doubt:
        return Memory(place, key, now, None, doubt, lookback, keeps=False)
    state, missing = loaded
    return Memory(place, key, now, state, why_full(state, missing, key, now, full_every), lookback)
