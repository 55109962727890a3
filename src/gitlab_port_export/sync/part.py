"""The part that a targeted run reads: groups and projects by their paths, and kinds. It deletes nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.base.text import did_you_mean, shown
from gitlab_port_export.gitlab.inventory import Inventory, Patterns
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.mapping.model import Mapping

NO_DELETES = "deletions: a run that reads a part deletes nothing"


@dataclass(frozen=True)
class Part:
    """What is read: at and below these paths, and these kinds; without any, everything. Paths may be patterns."""

    paths: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths or self.kinds)

    @property
    def words(self) -> str:
        """The part in words."""
        kinds = f"{'kind' if len(self.kinds) == 1 else 'kinds'} {', '.join(self.kinds)}" if self.kinds else ""
        return " of ".join(filter(None, (kinds, ", ".join(self.paths))))

    def check_kinds(self, mapping: Mapping) -> None:
        """Raise UsageError for kinds that the mapping does not have."""
        known = tuple(dict.fromkeys(resource.kind for resource in mapping.resources))
        wrong = (kind for kind in self.kinds if kind not in known)
        _raise_unknown("--kind", wrong, known, "the mapping has no such kind")

    def narrowed(self, context: Context) -> Context:
        """Return what the plan of the part is made of. Raises UsageError for paths at which nothing is."""
        inventory = context.inventory
        if self.paths:
            # What a token did not list may be what is meant.
            if all(problem.warning for problem in inventory.problems):
                self._check_paths(inventory)
            inventory = inventory.part_of(Patterns(self.paths))
        kept = (one for one in context.resources if not self.kinds or one.kind in self.kinds)
        return replace(context, inventory=inventory, resources=tuple(kept))

    def _check_paths(self, inventory: Inventory) -> None:
        known = tuple(place.scope.path for place in (*inventory.all_groups(), *inventory.projects()))
        paths = (path for path in self.paths if not any(map(Patterns((path,)).allow_at_or_above, known)))
        _raise_unknown("--only", paths, known, "no token lists such a group or project")


def _raise_unknown(option: str, wrong: Iterable[str], known: Iterable[str], why: str) -> None:
    names = tuple(known)
    if faults := [Fault(f"{shown(one)}: {why}", option, did_you_mean(one, names)) for one in wrong]:
        raise UsageError(*faults, hint="; ".join(dict.fromkeys(one.hint for one in faults if one.hint)))
