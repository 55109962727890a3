"""What pydantic found wrong with a mapping, in short sentences for the people who write mappings."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

from gitlab_port_export.base.text import did_you_mean, nearest, shown
from gitlab_port_export.mapping.model import EntityMapping, Mapping, PortBlock, Resource, Selector

_SENTENCES = {
    "missing": "is missing",
    "bool_type": "must be true or false; got {got}",
    "bool_parsing": "must be true or false; got {got}",
    "string_type": "must be a text; got {got}",
    "int_type": "must be a whole number; got {got}",
    "int_parsing": "must be a whole number; got {got}",
    "int_from_float": "must be a whole number; got {got}",
    "float_type": "must be a number; got {got}",
    "float_parsing": "must be a number; got {got}",
    "finite_number": "must be a number; got {got}",
    "greater_than_equal": "must be at least {ge:g}; got {got}",
    "less_than_equal": "must be at most {le:g}; got {got}",
    "tuple_type": "must be a list; got {got}",
    "list_type": "must be a list; got {got}",
    "dict_type": "must be an object; got {got}",
    "model_type": "must be an object; got {got}",
    "model_attributes_type": "must be an object; got {got}",
    "too_short": "must have at least {min_length} item",
    "string_pattern_mismatch": "must match {pattern}; got {got}",
    "extra_forbidden": "is not a known key",
    "value_error": "{error}",
}


def why(error: ErrorDetails) -> str:
    """Return what pydantic found as a short sentence that follows the name of the field."""
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        return _not_one_of(context["expected"], error["input"])
    fallback = f"{error['msg'][:1].lower()}{error['msg'][1:]}".replace("{", "{{").replace("}", "}}")
    return _SENTENCES.get(error["type"], fallback + "; got {got}").format(got=shown(error["input"]), **context)


def _not_one_of(expected: str, value: Any) -> str:
    """Take pydantic's list of values, "'a', 'b' or 'c'", apart."""
    choices = [quoted or plain for quoted, plain in re.findall(r"'([^']*)'|(\d+)", expected)]
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    return f"must be one of {', '.join(choices)}; got {shown(value)}{f' ({hint})' if hint else ''}"


# Keys that a mapping must have somewhere, so that none of them is another one misspelled.
_REQUIRED = {
    alias
    for model in (Mapping, Resource, PortBlock, EntityMapping, Selector)
    for name, info in model.model_fields.items()
    if (alias := info.alias or name)
} | {"entity", "mappings", "combinator", "rules", "property", "operator", "value"}


def misspelled(error: ErrorDetails) -> str:
    """Return which key may be meant for a missing one: one beside it that is near and means nothing else."""
    if error["type"] != "missing" or not isinstance(error["input"], dict):
        return ""
    return instead(str(error["loc"][-1]), error["input"])


def instead(missing: str, beside: Iterable[str]) -> str:
    """Return "; 'nmae' stands there" where a key beside a missing one is nearly it, else an empty text."""
    near = nearest(missing, (key for key in beside if key not in _REQUIRED))
    return f"; {shown(near)} stands there" if near else ""
