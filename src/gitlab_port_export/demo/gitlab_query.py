"""Reads a GraphQL query into fields: the part of the language that clients of the stand-in need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

WORD = re.compile(r'[{}()\[\]:!$=]|"(?:[^"\\]|\\.)*"|[\w.-]+')
CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None}


class QueryFault(Exception):
    """The query has a fault, in GraphQL's words."""


@dataclass(frozen=True)
class Field:
    """A field that is asked for: its name in the answer, its arguments, and what is asked of its value."""

    name: str
    shown: str
    arguments: dict[str, Any] = field(default_factory=dict)
    below: tuple[Field, ...] = ()

    def child(self, name: str) -> Field | None:
        """The field of that name below this one."""
        return next((one for one in self.below if one.name == name), None)


def read_query(text: str, variables: Mapping[str, Any]) -> tuple[Field, ...]:
    """Return the fields of the only operation, with the values of its variables. Raises QueryFault."""
    words = WORD.findall(text)
    if "{" not in words:
        raise QueryFault("Expected an operation")
    # Names and types of variables come before; their values are given beside the query.
    reader = iter(words[words.index("{") + 1 :])
    return tuple(_fields(_Words(reader), variables))


class _Words:
    """The words of a query, of which the next one may be looked at."""

    def __init__(self, words: Iterator[str]) -> None:
        self._words, self.next = words, ""
        self.take()

    def take(self) -> str:
        taken, self.next = self.next, next(self._words, "")
        return taken

    def take_if(self, word: str) -> bool:
        return self.next == word and bool(self.take())


def _fields(words: _Words, variables: Mapping[str, Any]) -> Iterator[Field]:
    while not words.take_if("}"):
        if not words.next:
            raise QueryFault("Expected a closing bracket")
        shown = name = words.take()
        if words.take_if(":"):
            name = words.take()
        arguments = dict(_arguments(words, variables)) if words.take_if("(") else {}
        below = tuple(_fields(words, variables)) if words.take_if("{") else ()
        yield Field(name, shown, arguments, below)


def _arguments(words: _Words, variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    while not words.take_if(")"):
        name = words.take()
        if not words.take_if(":"):
            raise QueryFault(f'Expected a value of "{name}"')
        yield name, _value(words, variables)


def _value(words: _Words, variables: Mapping[str, Any]) -> Any:
    match words.take():
        case "$":
            return variables.get(words.take())
        case "[":
            found = []
            while not words.take_if("]"):
                found.append(_value(words, variables))
                if not words.next:
                    raise QueryFault("Expected a closing bracket")
            return found
        case text if text.startswith('"'):
            return text[1:-1]
        case text if text.isdecimal():
            return int(text)
        case word:
            return CONSTANTS.get(word, word)
