"""Faults of expressions: one entry for each fault, not for each row, with its count and first sample."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from gitlab_port_export.mapping.model import Mapping, Position
from gitlab_port_export.model import Event, Order, Problem, Skipped, Unnamed

LOST = "correct the expression; rows were left out"
NULLED = "the property was set to null there"
DEEP = "what nests so deeply cannot be mapped; rows were left out"
BOUND = "bound the expression, or leave such rows out with `selector.query`; rows were left out"
UNFIT = 'correct the identifier, for example with `gsub(" "; "")`; rows were left out'
LEFT_AS_IT_IS = "correct the expression; the field was left as it is in Port"
NOT_WRITTEN = "correct the expression; with enableMergeEntity: false nothing of these rows was written"
# A field whose expression failed on so many rows, and on every one of them, is wrong; fewer rows may all be odd.
EVERY_ROW = 10
# Stands for the field of a resource that has no entity mapping of its own.
ITEMS = "itemsToParse"


@dataclass
class Faults:
    """Collects faults while rows are mapped. `part` is the number of an entity mapping in its resource."""

    _found: dict[tuple[int, int, str, str], tuple[str, int, str]] = field(default_factory=dict)
    _nothing: dict[tuple[int, int | None, str], tuple[int, str]] = field(default_factory=dict)
    _given: Counter[tuple[int, int | None]] = field(default_factory=Counter)
    # Fields that gave a value or null on some row, by resource and entity mapping.
    _worked: dict[tuple[int, int], set[str]] = field(default_factory=dict)

    def add(self, resource: int, part: int, name: str, why: str, sample: str, hint: str = LOST) -> None:
        """Note that the expression of a field failed on one row."""
        key = (resource, part, name, hint)
        first, count, example = self._found.get(key, (why, 0, sample))
        self._found[key] = (first, count + 1, example)

    def nothing(self, resource: int, part: int | None, name: str, sample: str) -> None:
        """Note that a row gives no entity because this field gave nothing."""
        count, example = self._nothing.get((resource, part, name), (0, sample))
        self._nothing[resource, part, name] = (count + 1, example)

    def given(self, resource: int, part: int | None, rows: int) -> None:
        """Note how many rows gave an entity, or for all entity mappings a list of items."""
        self._given[resource, part] += rows

    def worked(self, resource: int, part: int, names: Iterable[str]) -> None:
        """Note the fields that did not fail on some row."""
        self._worked.setdefault((resource, part), set()).update(names)

    def has_worked(self, resource: int, part: int, name: str) -> bool:
        """Say whether a field did not fail on some row."""
        return name in self._worked.get((resource, part), ())

    def fails_always(self, resource: int, part: int, name: str) -> bool:
        """Say whether a field failed on every row so far, and on enough of them to call it wrong."""
        _, count, _ = self._found.get((resource, part, name, NULLED), ("", 0, ""))
        return count >= EVERY_ROW and not self.has_worked(resource, part, name)

    def events(self, mapping: Mapping) -> Iterator[Problem | Unnamed]:
        """Yield the faults of the whole run."""
        for (resource, part, name, hint), (why, count, sample) in self._found.items():
            always = hint == NULLED and self.fails_always(resource, part, name)
            line, column = mapping.field_mark(resource, part, name)
            yield Problem(
                "transform",
                f"the expression failed on every row: {why}" if always else why,
                hint if not always else LEFT_AS_IT_IS if mapping.enable_merge_entity else NOT_WRITTEN,
                kind=mapping.resources[resource].kind,
                resources=(resource,),
                field=name,
                line=line,
                column=column,
                warning=hint == NULLED and not always,
                count=count,
                sample=sample,
            )
        for (index, number, name), (count, sample) in self._nothing.items():
            yield Unnamed(index, number, name, count, sample, every=not self._given[index, number])


def explained(events: Iterable[Event], mapping: Mapping, label: Callable[[int, Order], str]) -> Iterator[Event]:
    """Yield the events, and a Problem for rows that gave no entity and for different objects with one identifier.

    `label` names a row of a resource by its order.
    """
    collisions: dict[int, tuple[int, str]] = {}
    for event in events:
        yield event
        match event:
            case Unnamed():
                yield _explained(event, mapping)
            case Skipped(resource=resource, rows=(one, other)) if are_different(one, other):
                count, sample = collisions.get(resource, (0, ""))
                if not sample:
                    sample = f"{label(resource, one)} and {label(resource, other)} give {event.sample}"
                collisions[resource] = (count + 1, sample)
    for resource, (count, sample) in collisions.items():
        line, column = mapping.field_mark(resource, 0, "identifier")
        yield Problem(
            "transform",
            "different objects have the same identifier, and only one of them is in Port",
            "make the identifier longer, so that it tells them apart",
            kind=mapping.resources[resource].kind,
            resources=(resource,),
            field="identifier",
            line=line,
            column=column,
            warning=True,
            count=count,
            sample=sample,
        )


def are_different(one: Order, other: Order) -> bool:
    """Return whether two rows are of different objects: an id is the same wherever a row is listed, a name is not."""
    return one[1] != other[1] or (one[0] != other[0] and one[1] <= 0)


def _explained(rows: Unnamed, mapping: Mapping) -> Problem:
    """Return a warning, since the policy holds the deletions; where no row gave an entity, the mapping is wrong."""
    line, column = _mark(rows, mapping)
    if rows.every:
        why = f"no row gave an entity: {rows.field} gave nothing for all of them"
        hint = "correct the expression; nothing is deleted meanwhile"
    else:
        why = f"rows gave no entity: {rows.field} gave nothing for them"
        hint = way_out(rows)
    return Problem(
        "transform",
        why,
        hint,
        kind=mapping.resources[rows.resource].kind,
        resources=(rows.resource,),
        field=rows.field,
        line=line,
        column=column,
        warning=not rows.every,
        count=rows.count,
        sample=rows.sample,
    )


def _mark(rows: Unnamed, mapping: Mapping) -> Position:
    return mapping.field_mark(rows.resource, rows.part or 0, rows.field)


def way_out(rows: Unnamed) -> str:
    """Return the hint how a mapping leaves such rows out."""
    if rows.field == ITEMS:
        return "where a row may have no items, end the expression in `// []`"
    return "leave such rows out with `selector.query`"
