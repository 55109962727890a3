"""Codes of field values: four bytes each, equal for values that Port treats alike.

They hold Python's `hash`, which differs between processes and is the quickest there is: no code leaves its process.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from gitlab_port_export.base.jsontext import EXACT, canonical
from gitlab_port_export.model import place_of
from gitlab_port_export.port.blueprint import Blueprint

# Codes of a field's value; every other value has a hash above these.
NULL, DEFAULT, NOT_SET, FIRST_HASH = 0, 1, 2, 3
HASH = 0x7FFFFFFF
# Stands where an entity does not set a field.
ABSENT = object()
# Formats of texts that stand for an instant, however it is written.
MOMENTS = ("date-time", "timer")


def default_codes(blueprint: Blueprint, fields: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (place, code of the default) of each field that has one."""
    for place, name in enumerate(fields):
        default = blueprint.properties.get(name.partition(".")[2], {}).get("default") if place_of(name) == 1 else None
        if default is not None:
            yield place, value_code(default)


def is_moment(blueprint: Blueprint, name: str) -> bool:
    """Say whether a field holds an instant."""
    return place_of(name) == 1 and blueprint.properties.get(name.partition(".")[2], {}).get("format") in MOMENTS


def instants(value: Any) -> Iterator[str]:
    """Yield the ways in which Port may write an instant: in UTC, with milliseconds or without; none if it is finer."""
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return
    if moment.microsecond % 1000 == 0:
        yield moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if moment.microsecond == 0:
        yield moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def value_code(value: Any) -> int:
    """Return the code of a title, icon or property."""
    if value is None:
        return NULL
    if value is ABSENT:
        return NOT_SET
    if isinstance(value, str):
        return FIRST_HASH + (hash(value) & HASH)
    if isinstance(value, bool):
        return FIRST_HASH + value
    # Python hashes -1 and -2 alike, and cannot hash lists: their JSON text can tell them apart. As a tuple it is not
    # taken for a text that reads the same.
    try:
        return FIRST_HASH + (hash((_number(value) or canonical(value),)) & HASH)
    except ValueError:
        return NOT_SET  # it nests deeper than anything that a run writes, so it differs from all


def _number(value: Any) -> bytes | None:
    """Return the text of an ordinary number as `canonical` writes it, in half the time."""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)
    if type(value) is int and -EXACT < value < EXACT:
        return b"%d" % value
    return None


def set_code(value: Any) -> int:
    """Return the code of a relation or team, a set to Port; nothing and an empty list are the same."""
    if value == []:
        return NULL
    if value is ABSENT:
        return NOT_SET
    if isinstance(value, dict):
        return NOT_SET  # a search without an answer: what Port will find is not known
    names = sorted({str(one) for one in value}) if isinstance(value, list) else [str(value)]
    return FIRST_HASH + (hash(tuple(names)) & HASH)
