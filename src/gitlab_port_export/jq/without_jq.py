"""Evaluates simple jq expressions without jq, a column of rows at a time. To add a jq feature, add it here.

Whatever is in doubt is left to jq. OCEAN__EXPORT__PLAIN_EXPRESSIONS=false switches this off.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gitlab_port_export.base.jsontext import EXACT
from gitlab_port_export.mapping.model import Expression

# Takes one input a row and returns one output each.
Column = Callable[[list[Any]], list[Any]]
# Stands for "no output".
NOTHING = object()
WORDS = {None: "null", True: "true", False: "false"}
# A longer text is left to jq, whose processes have bounds.
LARGEST_TEXT = 1024 * 1024
# A longer expression would nest too many calls.
LONGEST = 400
# A character of a text without escapes and `\(…)`: those are parsed, or left to jq.
TEXT = r'[^"\\\x00-\x1f\x7f\ud800-\udfff]'
BLANK = re.compile(r"[ \t\r\n]*")
PART = re.compile(rf"{TEXT}*")
# An argument of `gsub` that is a regular expression for itself alone, or for the end of a line: as text `"\\n"`, as a
# regular expression `"\\\\n"`. jq takes a time for these that grows with the square of the text.
LITERAL = r"(?:[A-Za-z0-9 _/:@,!#&=~%<>;'-]|\\\\?[rnt])"
TOKEN = re.compile(
    rf"""
    (?P<field>\.[A-Za-z_]\w*)
  | (?P<gsub>gsub\([ ]?"(?P<old>{LITERAL}+)"[ ]?;[ ]?"(?P<new>{LITERAL}*)"[ ]?\))
  | (?P<split>split\([ ]?"(?P<separator>{TEXT}+)"[ ]?\))
  | (?P<place>\[(?P<number>-?\d{{1,9}})\])
  | (?P<whole>\d{{1,15}})(?![\w.])
  | (?P<word>(?:null|true|false|empty|tostring|map)(?![\w:]))
  | (?P<list>\[[ ]?\]) | (?P<object>\{{[ ]?\}})
  | (?P<row>\.)(?![\w.\["])
  | (?P<or>//) | (?P<bar>\|) | (?P<plus>\+)
  | (?P<open>\() | (?P<close>\)) | (?P<quote>")
    """,
    re.VERBOSE | re.ASCII,
)


class Doubt(Exception):
    """A value for which only jq can tell the result, perhaps an error."""


class _NotPlain(Exception):
    """The expression holds something that is not evaluated here."""


@dataclass(frozen=True)
class _Part:
    """A part of an expression; `may_be_empty` where it may give no output."""

    column: Column
    may_be_empty: bool = False


def plain(expression: Expression) -> Column | None:
    """Return the function that evaluates an expression for many rows, or None where only jq can.

    It gives the first output for each row, None where there is no output.

    Understood are paths, texts with `\\(…)`, small numbers, `//`, `|`, `+`, parentheses, `map`, `tostring`, `empty`,
    `[n]`, `split("…")` and `gsub("…"; "…")` of plain text, as https://jqlang.org/manual/v1.7/ defines them. The
    function raises Doubt for a value of another type than these expect: then jq has to evaluate the expression.
    """
    if len(expression) > LONGEST:
        return None
    try:
        parser = _Parser(expression)
        part = parser.pipe()
        parser.end()
    except (_NotPlain, RecursionError):
        return None
    column = part.column
    if not part.may_be_empty:
        return column
    return lambda rows: [None if value is NOTHING else value for value in column(rows)]


@dataclass
class _Parser:
    """Reads an expression from left to right; each method reads what binds tighter than the one before."""

    text: str
    at: int = 0

    def look(self) -> "re.Match[str] | None":
        self.at = BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]  # it matches nothing, too
        return TOKEN.match(self.text, self.at)

    def take(self, kind: str) -> "re.Match[str] | None":
        token = self.look()
        if token is None or token.lastgroup != kind:
            return None
        self.at = token.end()
        return token

    def need(self, kind: str) -> None:
        if not self.take(kind):
            raise _NotPlain

    def end(self) -> None:
        self.look()
        if self.at != len(self.text):
            raise _NotPlain

    def pipe(self) -> _Part:
        first = self.alternative()
        return _piped(first, self.pipe()) if self.take("bar") else first

    def alternative(self) -> _Part:
        first = self.sum()
        return _either(first, self.alternative()) if self.take("or") else first

    def sum(self) -> _Part:
        found = self.term()
        while self.take("plus"):
            found = _added(found, self.term())
        return found

    def term(self) -> _Part:
        found = self.primary()
        # Only what follows at once belongs to it.
        while (token := TOKEN.match(self.text, self.at)) and (token["field"] or token["place"]):
            self.at = token.end()
            found = _piped(found, _Part(_step(token)))
        return found

    def primary(self) -> _Part:
        token = self.look()
        if token is None:
            raise _NotPlain
        self.at = token.end()
        if token["field"]:
            return _Part(_step(token))
        if token["open"]:
            return self.inner()
        if token["quote"]:
            return self.quoted()
        if token["word"] == "map":
            self.need("open")
            return _Part(_mapped(self.inner()))
        return _simple(token)

    def inner(self) -> _Part:
        found = self.pipe()
        self.need("close")
        return found

    def quoted(self) -> _Part:
        """Read a text, of which each `\\(…)` is an expression whose output stands there as text."""
        parts: list[str | Column] = []
        while True:
            found = PART.match(self.text, self.at)
            parts.append(found[0] if found else "")
            self.at += len(str(parts[-1]))
            if self.text.startswith('"', self.at):
                self.at += 1
                break
            if not self.text.startswith("\\(", self.at):
                raise _NotPlain
            self.at += 2
            inner = self.inner()
            if inner.may_be_empty:
                raise _NotPlain
            parts.append(inner.column)
        if len(parts) == 1:
            return _Part(_constant(parts[0]))
        return _Part(_joined(parts))


def _simple(token: "re.Match[str]") -> _Part:
    column: Column
    match token.lastgroup, token[0]:
        case "word", "empty":
            return _Part(lambda values: [NOTHING] * len(values), may_be_empty=True)
        case "word", "tostring":
            column = _texts
        case "word", word:
            column = _constant({"null": None, "true": True, "false": False}[word])
        case "whole", digits:
            column = _constant(int(digits))
        case "row", _:
            column = list
        case "list", _:
            column = _new(list)
        case "object", _:
            column = _new(dict)
        case "split", _:
            column = _split(token["separator"])
        case "gsub", _:
            column = _replaced(_meant(token["old"]), json.loads(f'"{token["new"]}"'))
        case _:
            raise _NotPlain
    return _Part(column)


def _meant(pattern: str) -> str:
    """Return the text that such a regular expression stands for."""
    text = str(json.loads(f'"{pattern}"'))
    return text.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t")


def _new(kind: type) -> Column:
    return lambda values: [kind() for _ in values]


def _doubt() -> Any:
    raise Doubt


def _step(token: "re.Match[str]") -> Column:
    return _field(token["field"][1:]) if token["field"] else _place(int(token["number"]))


def _field(key: str) -> Column:
    def column(values: list[Any]) -> list[Any]:
        return [value.get(key) if type(value) is dict else None if value is None else _doubt() for value in values]

    return column


def _place(number: int) -> Column:
    def one(value: Any) -> Any:
        if type(value) is list:
            return value[number] if -len(value) <= number < len(value) else None
        return None if value is None else _doubt()

    return lambda values: [one(value) for value in values]


def _constant(value: Any) -> Column:
    return lambda values: [value] * len(values)


def _texts(values: list[Any]) -> list[Any]:
    return [value if type(value) is str else _text(value) for value in values]


def _text(value: Any) -> str:
    """Return what `tostring` makes of a value; numbers that jq may write in another way are left to it."""
    if type(value) is str:
        return value
    if type(value) is int and -EXACT < value < EXACT:
        return str(value)
    return WORDS[value] if value is None or type(value) is bool else _doubt()


def _split(separator: str) -> Column:
    # Of an empty text jq makes an empty list.
    def column(values: list[Any]) -> list[Any]:
        return [(value.split(separator) if value else []) if type(value) is str else _doubt() for value in values]

    return column


def _replaced(old: str, new: str) -> Column:
    def one(value: Any) -> str:
        if type(value) is not str or len(value) + value.count(old) * len(new) > LARGEST_TEXT:
            raise Doubt
        return value.replace(old, new)

    return lambda values: [one(value) for value in values]


def _mapped(inner: _Part) -> Column:
    column = inner.column

    def one(value: Any) -> list[Any]:
        if type(value) is not list:
            raise Doubt
        found = column(value)
        return [part for part in found if part is not NOTHING] if inner.may_be_empty else found

    return lambda values: [one(value) for value in values]


def _piped(first: _Part, then: _Part) -> _Part:
    if not first.may_be_empty:
        return _Part(lambda values: then.column(first.column(values)), then.may_be_empty)

    def column(values: list[Any]) -> list[Any]:
        given = first.column(values)
        outputs: Iterator[Any] = iter(then.column([value for value in given if value is not NOTHING]))
        return [NOTHING if value is NOTHING else next(outputs) for value in given]

    return _Part(column, may_be_empty=True)


def _either(first: _Part, other: _Part) -> _Part:
    def column(values: list[Any]) -> list[Any]:
        given = first.column(values)
        missing = [at for at, value in enumerate(given) if value is None or value is False or value is NOTHING]
        if missing:
            given = list(given)
            for at, value in zip(missing, other.column([values[at] for at in missing]), strict=True):
                given[at] = value
        return given

    return _Part(column, other.may_be_empty)


def _added(first: _Part, second: _Part) -> _Part:
    if first.may_be_empty or second.may_be_empty:
        raise _NotPlain

    def one(left: Any, right: Any) -> Any:
        if type(left) is str and type(right) is str:
            return _bounded(left + right)
        if left is None or right is None:
            return right if left is None else left
        if type(left) is int and type(right) is int and max(abs(left), abs(right), abs(left + right)) < EXACT:
            return left + right
        return _doubt()

    return _Part(lambda values: [one(a, b) for a, b in zip(first.column(values), second.column(values), strict=True)])


def _bounded(text: str) -> str:
    return text if len(text) <= LARGEST_TEXT else _doubt()


def _joined(parts: list[str | Column]) -> Column:
    def column(values: list[Any]) -> list[Any]:
        texts = [[part] * len(values) if isinstance(part, str) else _texts(part(values)) for part in parts]
        return [_bounded("".join(row)) for row in zip(*texts, strict=True)]

    return column
