"""JSON text in and out: fast where orjson can, and the standard library where it cannot."""

import json
from typing import Any

import orjson

from gitlab_port_export.text import well_formed


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
