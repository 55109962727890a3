"""Finds the updates that were overtaken: somebody wrote a newer state into Port while this run was reading.

An event, or a webhook, may have written what GitLab held a moment ago, when this run had long read the older row.
"""

from collections.abc import Iterator, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass, field

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.model import Update
from gitlab_port_export.port.catalog import VERIFY_PAGE, Catalog
from gitlab_port_export.port.client import PortRefused

Key = tuple[str, str]


@dataclass(frozen=True)
class Latecomers:
    """Asks Port once more for what updates would change; `left` are the entities that stay as they are.

    `instant` (ISO, Port's clock) is when the run began. Without it nothing is asked.
    """

    catalog: Catalog
    executor: Executor
    instant: str | None
    left: set[Key] = field(default_factory=set)

    def among(self, updates: Sequence[Update]) -> Set[Key]:
        """Return the entities whose mapped fields somebody changed in Port since this run read them.

        Where Port does not answer, none: then they are written, as they would be without the question.
        """
        found: set[Key] = set()
        if self.instant is None:
            return found
        ask, instant = self.catalog.overtaken, self.instant
        asked = [(name, self.executor.submit(ask, name, part, instant)) for name, part in _parts(updates)]
        for name, answer in asked:
            try:
                found |= {(name, identifier) for identifier in answer.result()}
            except (PortRefused, Unreachable):
                continue
        self.left.update(found)
        return found

    def words(self) -> Iterator[str]:
        """Yield what the report says of them."""
        if self.left:
            name, identifier = min(self.left)
            yield (
                f"{len(self.left)} that changed in Port while this run was reading, such as {name} {identifier}:"
                " the newer state stays"
            )


def _parts(updates: Sequence[Update]) -> Iterator[tuple[str, list[str]]]:
    by_blueprint: dict[str, list[str]] = {}
    for update in updates:
        by_blueprint.setdefault(update.entity.blueprint, []).append(str(update.entity.identifier))
    for name, identifiers in by_blueprint.items():
        for start in range(0, len(identifiers), VERIFY_PAGE):
            yield name, identifiers[start : start + VERIFY_PAGE]
