"""What a run that reads a part of GitLab may write: nothing that rows which it did not read would decide. Pure.

A full run merges the rows of several resources, and of several rows with one key the lowest wins. A run that sees one
of them would write another winner, and the next full run would set it back.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.jq.program import rewrite_quotes
from gitlab_port_export.live.reach import looked_at
from gitlab_port_export.mapping.model import Mapping, Resource
from gitlab_port_export.model import Entity, Event, Page, Update


@dataclass
class Partly:
    """The rules of one run; `read` are the resources of which it reads rows, `whole` if all of their rows.

    `left` counts the entities that it left, by kind.
    """

    mapping: Mapping
    read: frozenset[int]
    whole: bool = False
    left: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._one_of_many = {one.index for one in self.mapping.resources if may_repeat(one)}

    def looking_at(self, pages: Iterable[Event]) -> Iterator[Event]:
        """Yield pages, and note the resources whose rows a full run puts together from lists that are not read here."""
        for event in pages:
            if isinstance(event, Page) and any(row.get("__source") == "members" for row in event.rows):
                self._one_of_many.update(event.resources)
            yield event

    @property
    def left_out(self) -> frozenset[int]:
        """The resources of which the run reads no row."""
        return frozenset(one.index for one in self.mapping.resources) - self.read

    def let_pass(self, changes: Iterable[Event]) -> Iterator[Event]:
        """Yield changes but for updates of entities that other rows may give as well: which row wins is not known."""
        for change in changes:
            if isinstance(change, Update) and not change.again and self._may_lose(change.entity):
                self._leave(change.entity)
            else:
                yield change

    def _may_lose(self, entity: Entity) -> bool:
        """Say whether a row that was not read may win."""
        return not self.whole and entity.resource in self._one_of_many

    def words(self) -> Iterator[str]:
        """Yield what was left, for people."""
        for kind, count in self.left.items():
            some = "1 entity" if count == 1 else f"{count} entities"
            yield f"{kind}: {some} that other rows may give as well, which only a full run compares"

    def _leave(self, entity: Entity) -> None:
        self.left[self.mapping.resources[entity.resource].kind] += 1


def may_repeat(resource: Resource) -> bool:
    """Say whether several rows may give one entity: rows that repeat, or items whose identifier is theirs alone."""
    kind = KINDS.get(resource.kind)
    if kind is None or kind.repeats:
        return True
    if resource.port.items_to_parse is None:
        return False
    item = resource.port.items_to_parse_name
    return any(not _names_row(entity.identifier, item) for entity in resource.mappings)


def _names_row(identifier: object, item: str) -> bool:
    """Say whether an identifier is made of more than the item, as far as that can be told."""
    seen = looked_at(rewrite_quotes(identifier)) if isinstance(identifier, str) else None
    return seen is not None and any(path and path[0] != item for path, _ in seen)
