"""The key of a state: a digest of each thing that decides what a run reads and writes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitlab_port_export import __version__
from gitlab_port_export.base.jsontext import canonical
from gitlab_port_export.model import Dialect


@dataclass(frozen=True)
class Basis:
    """What a state is bound to.

    `organization` is Port's. `mapping` is a digest, `environ` holds what jq may read, and `users` by the alias of each
    token the id of its user. No token goes into the key.
    """

    integration: str
    dialect: Dialect
    port: str
    organization: str
    gitlab: str
    mapping: str
    environ: Mapping[str, str]
    patterns: Mapping[str, Sequence[str]]
    users: Mapping[str, int]


def key_of(basis: Basis) -> dict[str, str]:
    """Return the key: what a person calls each part, and its digest."""
    parts: dict[str, Any] = {
        "the version of this program": __version__,
        "the integration": [basis.integration, basis.dialect],
        "Port's address or organization": [basis.port, basis.organization],
        "GitLab's address": basis.gitlab,
        "the mapping": basis.mapping,
        "what jq may read of the environment": dict(basis.environ),
        "a token's patterns or user": [
            [alias, list(patterns), basis.users.get(alias)] for alias, patterns in basis.patterns.items()
        ],
    }
    return {name: hashlib.sha256(canonical(part)).hexdigest()[:16] for name, part in parts.items()}


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts in which two keys differ."""
    yield from (name for name in dict.fromkeys((*one, *other)) if one.get(name) != other.get(name))
