"""The deletion policy: from the coverage and what Port holds, decides what may be deleted and what is held, and why."""

import math
from collections import abc
from dataclasses import dataclass
from typing import Literal

from gitlab_port_export.model import Held, Narrowed, Problem, Unnamed
from gitlab_port_export.sync.coverage import Coverage, ResourceCoverage, Searched
from gitlab_port_export.sync.faults import way_out

# Below so many owned entities a share says nothing, so no limit applies.
FEW = 10
LIMIT = 0.3
SOLVE = "solve the problem; the next run deletes what is gone"


@dataclass(frozen=True, slots=True)
class Gone:
    """Owned entities of one blueprint that were not produced; `owned` counts all that are owned.

    The `needed` ones stay all the same: what was produced relates to them. `produced` says whether any entity of the
    blueprint was. `placeholders` are only such ones as Port made to relate to, of a blueprint that no resource feeds.
    """

    blueprint: str
    identifiers: tuple[str, ...]
    needed: tuple[str, ...]
    owned: int
    produced: bool
    placeholders: bool = False


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions on all that is gone: what may be deleted, what is held, and by blueprint what stays."""

    allowed: tuple[Gone, ...] = ()
    held: tuple[Held, ...] = ()
    staying: tuple[tuple[str, abc.Sequence[str]], ...] = ()


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Blueprints whose entities may be needed by relations that this run does not know.

    `refused`: Port refused an update, so it still holds the old relations. `unanswered`: a search gave no result.
    """

    refused: frozenset[str] = frozenset()
    unanswered: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """Decides on deletions; pure. `threshold` is the mapping's limit, `released` what the user allows for one run."""

    coverage: Coverage
    threshold: float | None
    released: abc.Mapping[str, int | None]
    unsettled: Unsettled = Unsettled()

    def decide(self, found: abc.Iterable[Gone]) -> Decisions:
        """Return the decisions on all that is gone."""
        allowed: list[Gone] = []
        held: list[Held] = []
        staying: list[tuple[str, abc.Sequence[str]]] = []
        for gone in found:
            staying.append((gone.blueprint, gone.needed))
            if not gone.identifiers:
                continue
            if (why := self.hold(gone)) is None:
                allowed.append(gone)
            else:
                held.append(why)
                staying.append((gone.blueprint, gone.identifiers))
        return Decisions(tuple(allowed), tuple(held), tuple(staying))

    def hold(self, gone: Gone) -> Held | None:
        """Return why the deletions of one blueprint are held, or None when they may be made.

        A read that was not whole holds them whatever the user releases; a release lifts all other reasons.
        """
        return self._unproven(gone) or self._unsettled(gone) or self._unreleased(gone)

    def _unproven(self, gone: Gone) -> Held | None:
        """Hold where a resource that feeds the blueprint was not read whole."""
        for problem in self.coverage.everywhere:
            why = f"not everything was read ({problem.token or problem.stage}: {problem.why})"
            return _held(gone, "problem", why, SOLVE)
        feeding = self.coverage.feeding(gone.blueprint)
        for resource in feeding:
            if held := _not_whole(gone, resource):
                return held
        if any(isinstance(gap, Searched) for resource in feeding for gap in resource.gaps):
            why = "its entities are found by a search, so what is gone cannot be told"
            return _held(gone, "search", why, "delete by hand what is gone")
        return None

    def _unsettled(self, gone: Gone) -> Held | None:
        """Hold what something in Port may relate to."""
        if gone.blueprint in self.unsettled.refused:
            return _held(gone, "problem", "Port refused an update of what may still relate to it", SOLVE)
        if gone.blueprint in self.unsettled.unanswered:
            why = "what relates to it by a search is not known"
            return _held(gone, "search", why, "the next run looks at it again")
        return None

    def _unreleased(self, gone: Gone) -> Held | None:
        """Hold what is more than the mapping and the user allow."""
        number = len(gone.identifiers)
        if gone.blueprint in self.released:
            most = self.released[gone.blueprint]
            return None if most is None else _over(gone, most)
        if self.threshold == 0:
            why = "entityDeletionThreshold is 0 in the mapping: no run deletes anything"
            return _held(gone, "never", why, _release(gone))
        if gone.placeholders:
            return None  # no source says that there should be any, so no share of them is too large
        if held := self._may_be_there(gone):
            return held
        if not gone.produced and self.threshold != 1:
            why = f"nothing of this blueprint was found in GitLab, and {number} entities would go"
            return _held(gone, "empty", why, _release(gone))
        return _over(gone, self._limit(gone.owned))

    def _unnamed(self, blueprint: str) -> Unnamed | None:
        """Return rows without identifier that may be the blueprint's entities."""
        for resource in self.coverage.resources:
            for gap in resource.gaps:
                if isinstance(gap, Unnamed) and resource.feeds(blueprint, gap.part):
                    return gap
        return None

    def _may_be_there(self, gone: Gone) -> Held | None:
        """Hold what rows without identifier may be, or rows of another source."""
        if narrowed := self._narrowed(gone.blueprint):
            return _held(gone, "role", narrowed.why, f"{narrowed.hint}; {_release(gone)}")
        if rows := self._unnamed(gone.blueprint):
            why = f"{rows.count} rows gave no entity, as {rows.field} gave nothing (such as {rows.sample or 'one'})"
            return _held(gone, "unnamed", why, f"{way_out(rows)}; {_release(gone)}")
        return None

    def _narrowed(self, blueprint: str) -> Narrowed | None:
        """Return what says that the blueprint's entities came from a source that may show fewer of them."""
        gaps = (gap for resource in self.coverage.feeding(blueprint) for gap in resource.gaps)
        return next((gap for gap in gaps if isinstance(gap, Narrowed)), None)

    def _limit(self, owned: int) -> int:
        """Return how many of so many entities may be deleted."""
        if self.threshold is None and owned < FEW:
            return owned
        # 29 of 100 are within 0.29, although 100 * 0.29 is a little less than 29.
        return math.floor(owned * (LIMIT if self.threshold is None else self.threshold) + 1e-9)


def _not_whole(gone: Gone, resource: ResourceCoverage) -> Held | None:
    """Hold where a resource was not read whole; no option releases this."""
    for gap in resource.gaps:
        if isinstance(gap, Problem):
            why = f"not everything was read or mapped ({gap.kind or gap.stage}: {gap.why})"
            return _held(gone, "problem", why, SOLVE)
    if not resource.is_read:
        return _held(gone, "problem", "what it comes from was not read", "a full run deletes what is gone")
    return None


def _over(gone: Gone, limit: int) -> Held | None:
    number = len(gone.identifiers)
    if number <= limit:
        return None
    return _held(gone, "limit", f"{number} of {gone.owned} entities would go; the limit is {limit}", _release(gone))


def _release(gone: Gone) -> str:
    return f"if they are really gone, run once with --allow-deletes {gone.blueprint}={len(gone.identifiers)}"


def _held(
    gone: Gone, reason: Literal["problem", "search", "unnamed", "limit", "empty", "never", "role"], why: str, hint: str
) -> Held:
    return Held(gone.blueprint, gone.identifiers, reason, why, hint)
