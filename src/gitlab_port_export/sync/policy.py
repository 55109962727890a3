"""The deletion policy: which deletions are held, and why; pure."""

import math
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gitlab_port_export.mapping.blueprints import constant_blueprint
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Held, Problem, Unnamed
from gitlab_port_export.sync.faults import way_out

# Below so many owned entities a share says nothing, so no limit applies.
FEW = 10
LIMIT = 0.3


@dataclass(frozen=True)
class Policy:
    """What decides about deletions: the mapping, everything that went wrong, and what the user released.

    `searched` are the resources whose entities Port finds by a search. `unresolved` and `refused` are blueprints that
    may be needed by relations which are not known: found by a search that gave no result, or in an update that Port
    refused, so that it still holds the old ones. `unnamed` are rows that gave no entity.
    """

    mapping: Mapping
    problems: Sequence[Problem]
    searched: frozenset[int]
    released: Dict[str, int | None]
    unresolved: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    unnamed: Sequence[Unnamed] = ()

    def is_fed(self, blueprint: str) -> bool:
        """Say whether any resource may produce entities of a blueprint."""
        return any(feeds(self.mapping, resource.index, blueprint) for resource in self.mapping.resources)

    def hold(
        self, blueprint: str, gone: Sequence[str], owned: int, produced: bool, *, placeholders: bool = False
    ) -> Held | None:
        """Return why the deletions of one blueprint are held, or None when they may be made.

        `gone` are our entities that were not produced, `owned` counts all that are ours, `produced` says whether
        any entity of the blueprint was. `placeholders` hold nothing, and no source says that there should be any: no
        share of them is too large.
        """
        if unsure := self._unsure(blueprint):
            reason, why, hint = unsure
            return Held(blueprint, tuple(gone), reason, why, hint)
        release = f"if they are really gone, run once with --allow-deletes {blueprint}={len(gone)}"
        if blueprint in self.released:
            most = self.released[blueprint]
            allowed = len(gone) if most is None else most
        elif self.mapping.entity_deletion_threshold == 0:
            why = "entityDeletionThreshold is 0 in the mapping: no run deletes anything"
            return Held(blueprint, tuple(gone), "never", why, release)
        elif placeholders:
            allowed = len(gone)
        elif rows := self._unnamed(blueprint):
            why = f"{rows.count} rows gave no entity, as {rows.field} gave nothing (such as {rows.sample or 'one'})"
            return Held(blueprint, tuple(gone), "unnamed", why, f"{way_out(rows)}; {release}")
        elif produced or self.mapping.entity_deletion_threshold == 1:
            allowed = self._allowed(owned)
        else:
            why = f"nothing of this blueprint was found in GitLab, and {len(gone)} entities would go"
            return Held(blueprint, tuple(gone), "empty", why, release)
        if len(gone) <= allowed:
            return None
        why = f"{len(gone)} of {owned} entities would go; the limit is {allowed}"
        return Held(blueprint, tuple(gone), "limit", why, release)

    def _unnamed(self, blueprint: str) -> Unnamed | None:
        """Return rows that may be the blueprint's entities and had no identifier."""
        return next((rows for rows in self.unnamed if feeds(self.mapping, rows.resource, blueprint, rows.part)), None)

    def _allowed(self, owned: int) -> int:
        threshold = self.mapping.entity_deletion_threshold
        if threshold is None and owned < FEW:
            return owned
        # 29 of 100 are within 0.29, although 100 * 0.29 is a little less than 29.
        return math.floor(owned * (LIMIT if threshold is None else threshold) + 1e-9)

    def _unsure(self, blueprint: str) -> tuple[Literal["problem", "search"], str, str] | None:
        """Return why nothing can be said of what is absent, whatever the user releases: reason, words and hint."""
        solve = "solve the problem; the next run deletes what is gone"
        if why := self._unproven(blueprint):
            return "problem", why, solve
        if blueprint in self.refused:
            return "problem", "Port refused an update of what may still relate to it", solve
        if blueprint in self.unresolved:
            return "search", "what relates to it by a search is not known", "the next run looks at it again"
        if any(feeds(self.mapping, index, blueprint) for index in self.searched):
            why = "its entities are found by a search, so what is gone cannot be told"
            return "search", why, "delete by hand what is gone"
        return None

    def _unproven(self, blueprint: str) -> str | None:
        """Return the first reason why an absence is not proved: something that feeds the blueprint was not read."""
        for problem in self.problems:
            if problem.warning:
                continue
            if problem.holds_all:
                return f"not everything was read ({problem.token or problem.stage}: {problem.why})"
            if any(feeds(self.mapping, index, blueprint) for index in problem.resources):
                return f"not everything was read or mapped ({problem.kind or problem.stage}: {problem.why})"
        return None


def feeds(mapping: Mapping, resource: int, blueprint: str, part: int | None = None) -> bool:
    """Say whether a resource, or one of its entity mappings, may produce entities of a blueprint.

    A computed blueprint may be any.
    """
    mappings = mapping.resources[resource].mappings
    names = (
        constant_blueprint(entity.blueprint) for entity in (mappings if part is None else mappings[part : part + 1])
    )
    return any(name is None or name == blueprint for name in names)


def searched_resources(mapping: Mapping) -> frozenset[int]:
    """Return the resources with a search identifier: what they produced only Port can tell."""
    return frozenset(
        resource.index
        for resource in mapping.resources
        if any(isinstance(entity.identifier, dict) for entity in resource.mappings)
    )
