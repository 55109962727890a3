"""JSON text in and out: fast where orjson can, and the standard library where it cannot."""

import json
import re
from typing import Any

import orjson

from gitlab_port_export.text import well_formed

NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# What may be a float in JSON text: orjson writes each with a fraction or an exponent.
FLOAT = re.compile(rb"\d[.e]")


def decode(body: bytes | str) -> Any:
    """Return the parsed JSON. Raises ValueError.

    orjson refuses lone surrogates, which the standard library takes; they are no characters, and U+FFFD
    stands in their place.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return orjson.loads(well_formed(json.dumps(json.loads(body), ensure_ascii=False)))
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def encode(value: Any) -> bytes:
    """Return compact JSON; whole numbers beyond 64 bits and lone surrogates are left to the standard library."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def ascii_lines(value: Any) -> str:
    """Return indented JSON in ASCII; a lone surrogate, which strict parsers refuse, becomes U+FFFD."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:
        return json.dumps(json.loads(well_formed(json.dumps(value, ensure_ascii=False))), indent=2)
    return text if text.isascii() else NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value: keys in order, and 1.0 written as 1, the same number to Port."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS) if FLOAT.search(text) else text
    except TypeError:  # whole numbers beyond 64 bits
        return json.dumps(_plain(value), sort_keys=True).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value
