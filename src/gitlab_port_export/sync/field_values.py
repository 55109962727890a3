"""Values that expressions give for fields: whether one is an error, and how Port takes it."""

import json
from typing import Any

from gitlab_port_export.base.jsontext import in_words
from gitlab_port_export.port.identifiers import ALLOWED, IDENTIFIER, is_identifier

# Operators of a search rule that need no value.
WITHOUT_VALUE = ("isEmpty", "isNotEmpty")


def error_in(value: Any, key: str) -> str | None:
    """Return the error that stands under `key` in a field's place, also deep in a search query."""
    if not isinstance(value, dict):
        return None
    if key in value:
        return str(value[key])
    parts = (value.get("property"), value.get("operator"), value.get("value"), *_rules(value))
    return next((error for part in parts if (error := error_in(part, key))), None)


def _rules(value: dict[str, Any]) -> list[Any]:
    rules = value.get("rules")
    return rules if isinstance(rules, list) else []


def finds_nothing(query: Any) -> bool:
    """Say whether a search identifier looks for null or an empty text, as where its expression gave nothing."""
    if not isinstance(query, dict):
        return False
    if "rules" not in query:
        return query.get("value", 0) in (None, "") and query.get("operator") not in WITHOUT_VALUE
    found = [finds_nothing(rule) for rule in _rules(query)]
    return bool(found) and (all(found) if query.get("combinator") == "or" else any(found))


def as_targets(value: Any) -> Any:
    """Return the value of a relation or team with numbers as text: Port's identifiers are text."""
    if type(value) is str:
        return value
    if isinstance(value, list):
        return [as_targets(one) for one in value]
    return as_text(value) if is_number(value) else value


def is_number(value: Any) -> bool:
    """Say whether a value is a number: in Python, true and false are too."""
    return type(value) is int or type(value) is float


def unfit_identifier(identifier: Any) -> str | None:
    """Return why Port would refuse an identifier, or None."""
    if type(identifier) is str and IDENTIFIER.match(identifier):
        return None
    if isinstance(identifier, dict):
        return None if "rules" in identifier else "an identifier object must be a search query with rules"
    if isinstance(identifier, bool | list):
        return f"the identifier must be text; got {short(identifier)}"
    if not is_identifier(as_text(identifier)):
        return f"Port forbids the identifier {short(identifier)}: {ALLOWED}"
    return None


def as_text(identifier: Any) -> str:
    """Return an identifier as text; jq writes whole numbers without a fraction and so do we."""
    if isinstance(identifier, float) and identifier.is_integer():
        return str(int(identifier))
    return str(identifier)


def short(value: Any) -> str:
    """Return a value as a message names it: JSON, cut."""
    return in_words(value if not isinstance(value, str) else json.dumps(value, ensure_ascii=False), 80)
