"""Finds the paths of a row that a jq expression reads, without jq; None in every doubt.

jq/keys.py may name too many keys of a row; this may not name too few. Of some objects a payload holds only a few parts:
an expression that reads another part would give a wrong value.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from gitlab_port_export.live.reach_words import CONSTANTS, PLAIN_TEXT, SEES_ITEMS, TAKES_ALL, TOKEN, WORDS
from gitlab_port_export.mapping.model import Expression

# Names, and ITEM for every item of a list.
Path = tuple[str, ...]
ITEM = "[]"
# How much of a value is looked at: whether it is there, how long it is, or all that is in it.
Depth = Literal["there", "size", "whole"]
# Several paths where a value may be one or the other; none where it is computed and no part of the row.
Value = frozenset[Path]

FRESH: Value = frozenset()
# A longer expression would nest too many calls.
LONGEST = 4000


class _Doubt(Exception):
    """The expression holds something that is not analysed here."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    end: int


def looked_at(expression: Expression) -> frozenset[tuple[Path, Depth]] | None:
    """Return what an expression looks at in its row, or None where that cannot be told.

    The result counts as looked at as a whole: `.author` is not `.author.username`.
    """
    if len(expression) > LONGEST:
        return None
    reader = _Reader(expression)
    try:
        reader.need_whole(reader.pipe(frozenset([()])))
        reader.end()
    except (_Doubt, RecursionError):
        return None
    return frozenset(reader.seen)


@dataclass
class _Reader:
    """Reads an expression from left to right; each method takes what `.` is and returns what comes out."""

    text: str
    at: int = 0
    seen: set[tuple[Path, Depth]] = field(default_factory=set)
    variables: dict[str, Value] = field(default_factory=dict)

    # --- what is looked at

    def need(self, value: Value, depth: Depth) -> None:
        self.seen.update((path, depth) for path in value)

    def need_whole(self, value: Value) -> Value:
        """Note that a value is read as a whole; the result is no part of the row."""
        self.need(value, "whole")
        return FRESH

    # --- tokens

    def look(self) -> _Token:
        while True:
            found = TOKEN.match(self.text, self.at)
            if found is None:
                if self.at == len(self.text):
                    return _Token("end", "", self.at)
                raise _Doubt
            if found.lastgroup != "blank":
                return _Token(str(found.lastgroup), found[0], found.end())
            self.at = found.end()

    def next(self) -> _Token:
        token = self.look()
        self.at = token.end
        return token

    def take(self, *texts: str) -> str:
        """Take one of these signs or words, or nothing."""
        token = self.look()
        if token.kind not in ("sign", "word") or token.text not in texts:
            return ""
        self.at = token.end
        return token.text

    def must(self, text: str) -> None:
        if not self.take(text):
            raise _Doubt

    def end(self) -> None:
        if self.look().kind != "end":
            raise _Doubt

    # --- grammar, from what binds loosest to what binds tightest

    def pipe(self, row: Value) -> Value:
        found = self.comma(row)
        return self.pipe(found) if self.take("|") else found

    def binding(self, row: Value, value: Value) -> Value:
        """Read what follows `… as`: a name, and the expression that may use it."""
        token = self.next()
        if token.kind != "variable":
            raise _Doubt
        self.must("|")
        with self.scope():
            self.variables[token.text] = value
            return self.pipe(row)

    @contextmanager
    def scope(self) -> Iterator[None]:
        before = dict(self.variables)
        yield
        self.variables = before

    def comma(self, row: Value) -> Value:
        found = self.alternative(row)
        while self.take(","):
            found |= self.alternative(row)
        return found

    def alternative(self, row: Value) -> Value:
        found = self.either(row)
        if not self.take("//"):
            return found
        self.need(found, "there")
        return found | self.alternative(row)

    def either(self, row: Value) -> Value:
        return self.asking(row, self.both, "or")

    def both(self, row: Value) -> Value:
        return self.asking(row, self.comparison, "and")

    def asking(self, row: Value, operand: Callable[[Value], Value], word: str) -> Value:
        found = operand(row)
        while self.take(word):
            self.need(found | operand(row), "there")
            found = FRESH
        return found

    def comparison(self, row: Value) -> Value:
        return self.computing(row, self.sum, "==", "!=", "<=", ">=", "<", ">")

    def sum(self, row: Value) -> Value:
        return self.computing(row, self.product, "+", "-")

    def product(self, row: Value) -> Value:
        return self.computing(row, self.term, "*", "/", "%")

    def computing(self, row: Value, operand: Callable[[Value], Value], *signs: str) -> Value:
        found = operand(row)
        while self.take(*signs):
            found = self.need_whole(found | operand(row))
        return found

    def term(self, row: Value) -> Value:
        if self.take("-"):
            return self.need_whole(self.term(row))
        found = self.primary(row)
        while True:
            token = self.look()
            if token.kind == "field":
                self.at = token.end
                found = _below(found, token.text[1:])
            elif token.kind == "named":
                self.at = token.end
                found = _below(found, self.plain_text())
            elif self.take("["):
                found = self.place(found, row)
            elif not self.take("?"):
                return self.binding(row, found) if self.take("as") else found

    def place(self, value: Value, row: Value) -> Value:
        """Read what follows `[`: all items, one of them, some of them, or a name."""
        if self.take("]"):
            return self.items(value)
        token = self.look()
        if token.kind == "quote":
            mark, name = self.at, self.plain_text()
            if self.take("]"):
                return _below(value, name)
            self.at = mark
        start = FRESH if self.look().text == ":" else self.pipe(row)
        self.need_whole(start)
        if self.take(":"):
            if self.look().text != "]":
                self.need_whole(self.pipe(row))
            self.must("]")
            return value
        self.must("]")
        # A number takes an item; anything else may be a name.
        return self.items(value) if token.kind == "number" or token.text == "-" else self.need_whole(value)

    def items(self, value: Value) -> Value:
        """Return what stands for any item of a list; how many there are makes a difference."""
        self.need(value, "size")
        return _below(value, ITEM)

    def primary(self, row: Value) -> Value:  # noqa: PLR0911  # a case each
        token = self.next()
        match token.kind, token.text:
            case "field", name:
                return _below(row, name[1:])
            case "named", _:
                return _below(row, self.plain_text())
            case "dot", _:
                return row
            case "number", _:
                return FRESH
            case "variable", name if name in self.variables:
                return self.variables[name]
            case "quote", _:
                self.at -= 1
                return self.string(row)
            case "format", _ if self.look().kind == "quote":
                return self.string(row)
            case "format", _:
                return self.need_whole(row)
            case "sign", sign:
                return self.bracket(sign, row)
            case "word", name if name not in WORDS or name in ("if", "try"):
                return self.word(name, row)
        raise _Doubt

    def bracket(self, sign: str, row: Value) -> Value:
        if sign == "{":
            return self.object(row)
        if sign not in ("(", "["):
            raise _Doubt
        if sign == "[" and self.take("]"):
            return FRESH
        with self.scope():
            found = self.pipe(row)
        self.must(")" if sign == "(" else "]")
        return found if sign == "(" else self.need_whole(found)

    def word(self, name: str, row: Value) -> Value:
        if name == "if":
            return self.condition(row)
        if name != "try":
            return self.call(name, row)
        found = self.term(row)
        return found | self.term(FRESH) if self.take("catch") else found

    def string(self, row: Value) -> Value:
        r"""Read a text; each `\(…)` in it is an expression."""
        if self.next().kind != "quote":
            raise _Doubt
        while True:
            part = PLAIN_TEXT.match(self.text, self.at)
            self.at = part.end() if part else self.at
            if self.text.startswith('"', self.at):
                self.at += 1
                return FRESH
            if not self.text.startswith("\\(", self.at):
                raise _Doubt
            self.at += 2
            with self.scope():
                self.need_whole(self.pipe(row))
            self.must(")")

    def plain_text(self) -> str:
        """Read a text without escapes and expressions."""
        start = self.next().end
        close = self.text.find('"', start)
        text = self.text[start:close]
        if close < 0 or "\\" in text:
            raise _Doubt
        self.at = close + 1
        return text

    def object(self, row: Value) -> Value:
        while not self.take("}"):
            token = self.look()
            if token.kind == "variable":
                self.at = token.end
                self.need_whole(self.variables.get(token.text, FRESH))
                if token.text not in self.variables:
                    raise _Doubt
            else:
                self.entry(token, row)
            if not self.take(","):
                self.must("}")
                break
        return FRESH

    def entry(self, token: _Token, row: Value) -> None:
        """Read `name`, `name: value`, or `(expression): value`."""
        name = ""
        if self.take("("):
            self.need_whole(self.pipe(row))
            self.must(")")
        elif token.kind == "quote":
            name = self.plain_text()
        elif token.kind == "word":
            self.at, name = token.end, token.text
        else:
            raise _Doubt
        if self.take(":"):
            # In jq 1.6 what else is computed has to stand in parentheses.
            found = self.term(row)
            while self.take("|"):
                found = self.term(found)
            self.need_whole(found)
        elif name and name not in WORDS:
            self.need_whole(_below(row, name))
        else:
            raise _Doubt

    def condition(self, row: Value) -> Value:
        found = FRESH
        while True:
            with self.scope():
                self.need(self.pipe(row), "there")
            self.must("then")
            with self.scope():
                found |= self.pipe(row)
            if self.take("elif"):
                continue
            # jq 1.6 has no `if` without `else`.
            self.must("else")
            with self.scope():
                found |= self.pipe(row)
            self.must("end")
            return found

    def call(self, name: str, row: Value) -> Value:
        if self.look().text == "(":
            return self.each(name, row) if name in SEES_ITEMS else self.whole(name, row)
        match name:
            case "length":
                self.need(row, "size")
            case "not":
                self.need(row, "there")
            case "first" | "last":
                return self.items(row)
            case _ if (name, 0) in TAKES_ALL:
                self.need_whole(row)
            case _ if name not in CONSTANTS:
                raise _Doubt
        return FRESH

    def whole(self, name: str, row: Value) -> Value:
        """Read the arguments of a function that looks at all of what it takes."""
        self.must("(")
        count = 0
        while count == 0 or self.take(";"):
            count += 1
            with self.scope():
                self.need_whole(self.pipe(row))
        self.must(")")
        if (name, count) not in TAKES_ALL:
            raise _Doubt
        return self.need_whole(row)

    def each(self, name: str, row: Value) -> Value:
        """Read the argument of a function that looks at items, or passes on what it takes."""
        self.must("(")
        with self.scope():
            found = self.pipe(row if name in ("select", "first") else self.items(row))
        self.must(")")
        match name:
            case "first":
                return found
            case "select" | "any" | "all":
                self.need(found, "there")
                return row if name == "select" else FRESH
        self.need_whole(found)
        if name == "map":
            return FRESH
        return row if name in ("sort_by", "unique_by") else _below(row, ITEM)


def _below(value: Value, name: str) -> Value:
    return frozenset((*path, name) for path in value)
