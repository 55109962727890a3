"""Port's rule for identifiers, and what the schema of its bulk upserts refuses whatever the blueprint."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from gitlab_port_export.base.jsontext import in_words
from gitlab_port_export.base.text import shown
from gitlab_port_export.model import Entity

# Port's rule for identifiers, but for the letters of other scripts: never "." or "..".
IDENTIFIER = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9@_.+:\\/=-]{1,1000}\Z")
ALLOWED = "letters, digits and @_.+:\\/=- only, at most 1000"


class Slip(NamedTuple):
    """Why Port would refuse an entity: the field, the reason in words that name no value, and the value."""

    field: str
    why: str
    sample: str


def is_identifier(text: str) -> bool:
    """Return whether Port takes a text as an identifier; letters of all scripts are allowed."""
    if IDENTIFIER.match(text):
        return True
    return bool(IDENTIFIER.match("".join("a" if sign.isalpha() else sign for sign in text)))


def slip_of(entity: Entity) -> Slip | None:
    """Return what Port's schema would refuse in an entity, or None.

    One such value refuses all rows of a call (422), and a faulty expression gives it in every row.
    """
    return None if _is_plain(entity) else next(_slips(entity), None)


def _is_plain(entity: Entity) -> bool:
    """Return whether an entity certainly fits. This runs for every entity that is written, so it is quick."""
    own, _, team, _ = entity.shape.keys
    values, matches = entity.values, IDENTIFIER.match
    if team or type(entity.identifier) is not str or not matches(entity.identifier):
        return False
    for value in values[: len(own)]:
        if type(value) is not str and value is not None:
            return False
    for value in values[entity.shape.related :]:
        for target in value if type(value) is list else () if value is None else (value,):
            if type(target) is not str or not matches(target):
                return False
    return True


def _slips(entity: Entity) -> Iterator[Slip]:
    if not is_identifier(str(entity.identifier)):
        yield Slip("identifier", f"Port forbids the identifier: {ALLOWED}", _short(entity.identifier))
    own, properties, team, _ = entity.shape.keys
    for name, value in zip(own, entity.values, strict=False):
        if not isinstance(value, str | None):
            yield Slip(name, f"the {name} must be text", _short(value))
    teams = entity.values[len(own) + len(properties)] if team else None
    if not _is_team(teams):
        yield Slip("team", "a team must be text, a list of texts or a search query", _short(teams))
    for name, value in entity.relations:
        if value is not None and not isinstance(value, dict):
            yield from _targets(f"relations.{name}", value)


def _targets(field: str, value: Any) -> Iterator[Slip]:
    for target in value if isinstance(value, list) else [value]:
        if not isinstance(target, str):
            yield Slip(field, "a relation must hold identifiers, which are text", _short(target))
        elif not is_identifier(target):
            yield Slip(field, f"Port forbids the identifier of the relation's target: {ALLOWED}", _short(target))


def _is_team(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return isinstance(value, str | dict | None)


def _short(value: Any) -> str:
    return in_words(value, 80) if isinstance(value, str) else shown(value)
