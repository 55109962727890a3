"""A blueprint as Port has it: what an entity of it may hold, and what Port computes itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The parts of a blueprint whose properties nobody may write.
COMPUTED = ("calculationProperties", "mirrorProperties", "aggregationProperties")


@dataclass(frozen=True)
class Relation:
    """A relation of a blueprint."""

    target: str
    many: bool = False
    required: bool = False


@dataclass(frozen=True)
class Blueprint:
    """A blueprint as Port has it: property schemas and relations by name, and what Port computes itself.

    Where entities inherit their teams, Port takes none for them.
    """

    identifier: str
    properties: Mapping[str, Mapping[str, Any]]
    relations: Mapping[str, Relation]
    required: tuple[str, ...] = ()
    computed: frozenset[str] = frozenset()
    inherits_team: bool = False

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Blueprint":
        """Read Port's JSON of a blueprint."""
        return cls(
            str(data["identifier"]),
            {name: dict(schema) for name, schema in ((data.get("schema") or {}).get("properties") or {}).items()},
            {
                name: Relation(relation["target"], bool(relation.get("many")), bool(relation.get("required")))
                for name, relation in (data.get("relations") or {}).items()
            },
            tuple((data.get("schema") or {}).get("required") or ()),
            frozenset(name for part in COMPUTED for name in data.get(part) or {}),
            (data.get("ownership") or {}).get("type") == "Inherited" or bool(data.get("teamInheritance")),
        )
