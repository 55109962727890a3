"""Reads and writes JSON: by orjson, which is fast, and by the standard library for what orjson does not take."""

import json
import math
import re
from typing import Any

import orjson

from gitlab_port_export.base.text import well_formed

NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# Matches JSON text that may hold a float (orjson writes each with a fraction or an exponent), or a whole number that
# no double holds.
UNEVEN = re.compile(rb"\d[.e]|\d{16}")
# A double holds each whole number up to EXACT, and none as large as LARGEST.
EXACT, LARGEST = 2**53, 10**308
# Python takes no more than 4,300 (`sys.set_int_max_str_digits`).
MOST_DIGITS = 4_000

# Finds whole numbers of 19 digits and more, which may exceed the 64 bits that orjson keeps: each follows one of BEFORE.
BEFORE, DIGITS = b":,[ \n\t\r-", b"0123456789"
SHAPE = bytes.maketrans(BEFORE + DIGITS, b":" * len(BEFORE) + b"0" * len(DIGITS))
BIG = b":" + b"0" * 19

# orjson writes no more levels than this, and far below Python's own limit recursive functions are safe.
MAX_LEVELS = 254
TOO_DEEP = f"nests more than {MAX_LEVELS} levels deep"


def decode(body: bytes | str) -> Any:
    """Return the parsed JSON. Raises ValueError.

    orjson refuses lone surrogates; they are no characters and become U+FFFD. It makes floats of whole numbers beyond
    64 bits; they stay whole numbers here. A number of thousands of digits, or with a fraction beyond any double,
    becomes text, so that it spoils one row and not the page.
    """
    try:
        found = orjson.loads(body)
        return _with_big_numbers(body, found) if BIG in _bytes(body).translate(SHAPE) else found
    except orjson.JSONDecodeError:
        try:
            text = well_formed(json.dumps(_loads(body), ensure_ascii=False))
            return json.loads(text, parse_constant=_no_number)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def _loads(body: bytes | str) -> Any:
    return json.loads(body, parse_int=_whole, parse_float=_fraction)


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= MOST_DIGITS else digits


def _fraction(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _with_big_numbers(body: bytes | str, found: Any) -> Any:
    try:
        return _loads(body)
    except RecursionError:
        return found  # nearly a thousand levels


def encode(value: Any) -> bytes:
    """Return compact JSON; whole numbers beyond 64 bits and lone surrogates are left to the standard library.

    Raises ValueError where the value nests more than MAX_LEVELS deep.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        if _is_deep(value):
            raise ValueError(TOO_DEEP) from None
        return json.dumps(value, separators=(",", ":")).encode()


def packed(value: Any) -> bytes:
    """Return JSON in a block of its own size, for texts that are kept: orjson leaves 2 KiB in a block of 32 KiB."""
    return bytes(memoryview(encode(value)))


def ascii_lines(value: Any) -> str:
    """Return indented JSON in ASCII; a lone surrogate, which strict parsers refuse, becomes U+FFFD."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:
        return json.dumps(json.loads(well_formed(json.dumps(value, ensure_ascii=False))), indent=2)
    return text if text.isascii() else NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)


def canonical(value: Any) -> bytes:
    """Return the same JSON text for values that are equal to Port: keys in order, 1.0 as 1, doubles beyond 2^53.

    Raises ValueError where the value nests too deeply.
    """
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS) if UNEVEN.search(text) else text
    except TypeError:  # whole numbers beyond 64 bits, or too many levels
        if _is_deep(value):
            raise ValueError(TOO_DEEP) from None
        return json.dumps(_plain(value), sort_keys=True).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, int) and EXACT < abs(value) < LARGEST:
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def is_deep(value: Any) -> bool:
    """Return whether a value nests too deeply to be sent as a part of an entity."""
    try:
        encode([[[[value]]]])
    except ValueError:
        return True
    return False


def in_words(value: Any, limit: int) -> str:
    """Return a text as it is and anything else as JSON, of `limit` characters at most."""
    if isinstance(value, str):
        return value[:limit]
    try:
        return encode(value).decode()[:limit]
    except ValueError as error:
        return f"(something that {error})"[:limit]


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_LEVELS + 1):
        level = [part for one in level for part in _parts(one)]
    return any(_parts(one) for one in level)


def _parts(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
