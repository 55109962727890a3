"""Digests of an entity's fields for plan files: the same in every process, as the codes of a ledger are not."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from gitlab_port_export.base.jsontext import canonical


def digests(body: Mapping[str, Any], fields: Iterable[str]) -> dict[str, str]:
    """Return a short digest of each of these fields of an entity, equal for values that Port treats alike."""
    return {name: _digest(name, _value_of(body, name)) for name in fields}


def _value_of(body: Mapping[str, Any], name: str) -> Any:
    head, _, key = name.partition(".")
    return (body.get(head) or {}).get(key) if key else body.get(head)


def _digest(name: str, value: Any) -> str:
    if name.startswith(("relations.", "team")) and isinstance(value, list):
        value = sorted({str(one) for one in value}) or None
    return hashlib.sha256(canonical(value)).hexdigest()[:16]
