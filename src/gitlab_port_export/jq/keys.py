"""Finds the keys of a row that jq expressions can reach, so that the other keys need not be sent to jq."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

TOKEN = re.compile(
    r"""
    (?P<blank>\s+|\#[^\n\\]*(?=\n|\Z)) # in a comment a backslash may swallow the next line: doubt
  | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<field>\.[A-Za-z_]\w*)
  | (?P<literal>\.?\[\s*"[^"\\]*"\s*\]|\."[^"\\]*")
  | (?P<whole>\.\.?)
  | (?P<variable>\$[A-Za-z_]\w*)
  | (?P<word>@?[A-Za-z_]\w*(?:::\w+)*)
  | (?P<quote>")
  | (?P<assign>(?:\?//|//|[-+*/%|])=|=(?!=))
  | (?P<bar>\|)
  | (?P<open>[(\[{])
  | (?P<close>[)\]}])
  | (?P<other>\?//|//|[=!<>]=|[-+*/%<>?,:;])
    """,
    re.VERBOSE | re.ASCII,
)
TEXT = re.compile(r'(?:[^"\\]|\\[^(])*')
PLAIN_TEXT = re.compile(r'([^"\\]*)"')
# Words that read nothing of the row by themselves.
PLAIN = frozenset(["and", "or", "try", "catch", "null", "true", "false", "now", "empty", "env"])


class _Unknown(Exception):
    """The expressions may reach the whole row."""


@dataclass
class _Level:
    """One bracket (or `if`, or string) that is open: whether `.` was the row where it began, and is now."""

    opened: str
    row_at_start: bool
    row: bool
    previous: str = ""
    # The last thing was `as $x` or `select(…)`: after the next pipe `.` is still what it was.
    passes_row: bool = False
    has_else: bool = False


def needed_keys(expressions: Iterable[str]) -> frozenset[str] | None:
    """Return the top-level keys of the row that the expressions can reach, or None when that is not certain.

    What stands before a pipe reads the row, what follows reads only its result. Too many keys do no harm, so fields
    deeper down count too. Every doubt (a bare `.`, a function that takes the row as input, `..`, an assignment,
    `def`, `reduce`) gives None.
    """
    found: set[str] = set()
    try:
        for expression in expressions:
            _scan(expression, found)
    except _Unknown:
        return None
    return frozenset(found)


def _scan(text: str, found: set[str]) -> None:
    levels = [_Level("", row_at_start=True, row=True)]
    at = 0
    while at < len(text):
        if levels[-1].opened == '"':
            at = _string(text, at, levels)
            continue
        token = TOKEN.match(text, at)
        if token is None:
            raise _Unknown
        at = token.end()
        if token.lastgroup != "blank":
            _token(str(token.lastgroup), token[0], text[at:], levels, found)
    if len(levels) != 1 or levels[0].passes_row:
        raise _Unknown


def _string(text: str, at: int, levels: list[_Level]) -> int:
    r"""Read on in a string; `\(…)` in it is an expression that reads the same value as the string."""
    part = TEXT.match(text, at)
    end = part.end() if part else at
    level = levels[-1]
    if text.startswith("\\(", end):
        levels.append(_Level("(", level.row, level.row))
        return end + 2
    if text[end : end + 1] != '"':
        raise _Unknown
    levels.pop()
    return end + 1


def _token(kind: str, text: str, rest: str, levels: list[_Level], found: set[str]) -> None:
    level = levels[-1]
    previous, level.previous = level.previous, text
    if level.row and ((level.passes_row and kind != "bar") or (previous == "as" and kind != "variable")):
        raise _Unknown
    # `{a}` reads `.a`, whatever word `a` is.
    is_key = level.opened == "{" and previous in ("", ",") and kind in ("word", "quote")
    if is_key and level.row:
        found.add(_key(text, rest))
    match kind:
        case "field" if level.row:
            found.add(text[1:])
        case "literal" if level.row:
            found.add(text.split('"')[1])
        case "whole" | "assign" if level.row:
            raise _Unknown
        case "quote":
            levels.append(_Level('"', level.row, level.row))
        case "open":
            levels.append(_Level(text, level.row, level.row))
        case "close":
            _close(levels)
        case "bar":
            level.row = level.row and level.passes_row
            level.passes_row = False
        case "variable" if previous == "as":
            level.passes_row = True
        case "word" if not is_key:
            _word(text, previous, rest.lstrip(), levels)
        case "other" if text == ";" or (text == "," and level.opened == "{"):
            level.row = level.row_at_start


def _key(text: str, rest: str) -> str:
    """Return the key that an object names. Raises _Unknown for one with escapes or expressions in it."""
    if text != '"' and not text.startswith("@"):
        return text
    plain = PLAIN_TEXT.match(rest)
    if text != '"' or plain is None:
        raise _Unknown
    return plain[1]


def _close(levels: list[_Level]) -> None:
    if len(levels) == 1 or levels[-1].opened in ("if", '"') or levels[-1].passes_row:
        raise _Unknown
    levels.pop()
    level = levels[-1]
    if level.previous == "(" and level.opened == "select":
        levels.pop()
        levels[-1].passes_row = True


def _word(word: str, previous: str, rest: str, levels: list[_Level]) -> None:
    level = levels[-1]
    if word == "if":
        levels.append(_Level("if", level.row, level.row))
    elif word in ("then", "elif", "else", "end"):
        if level.opened != "if":
            raise _Unknown
        level.row = level.row_at_start
        level.has_else = level.has_else or word == "else"
        if word == "end":
            _end_if(levels)
    elif not level.row or word in PLAIN or word == "as":
        return
    elif word == "select" and previous in ("", "|", ",") and rest.startswith("("):
        levels.append(_Level("select", level.row, level.row))
    elif not (word.startswith("@") and rest.startswith('"')):
        raise _Unknown


def _end_if(levels: list[_Level]) -> None:
    """Close an `if`; without `else` it gives its input, the whole row perhaps."""
    level = levels.pop()
    if level.row and not level.has_else:
        raise _Unknown
