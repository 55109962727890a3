"""Keys of entities: 60-bit numbers that are the same in every process and on every machine."""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from gitlab_port_export.port.blueprint import Blueprint

# So many bits, as a Python integer with four more would take a third more memory.
BITS = 2**60 - 1


def entity_key(blueprint: str, identifier: str) -> int:
    """Return the key of an entity, from a digest of its blueprint and identifier.

    Python's `hash` would differ between processes, and a checksum could be forged by whoever chooses identifiers: two
    entities with one key would count as the same.
    """
    # This runs for every entity and relation: the digest of the blueprint is begun once, and naming the error handler
    # of `encode` would take a third longer.
    digest = _begun(blueprint).copy()
    try:
        digest.update(identifier.encode())
    except UnicodeEncodeError:
        digest.update(identifier.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()) & BITS


@lru_cache(maxsize=4096)
def target_key(blueprint: str, identifier: str) -> int:
    """Return the key of an entity that others relate to; many relate to the same few, one after the other."""
    return entity_key(blueprint, identifier)


@lru_cache(maxsize=1024)
def _begun(blueprint: str) -> blake2b:
    return blake2b(blueprint.encode("utf-8", "surrogatepass") + b"\0", digest_size=8)


def relation_targets(blueprint: Blueprint, relations: Iterable[tuple[str, Any]]) -> list[int]:
    """Return a key for each entity that these relations, by name, lead to."""
    found = []
    for name, value in relations:
        relation = blueprint.relations.get(name)
        if relation is None or value is None or isinstance(value, dict):
            continue
        found += [target_key(relation.target, str(one)) for one in (value if isinstance(value, list) else [value])]
    return found
