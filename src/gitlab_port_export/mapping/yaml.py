"""Reads YAML or JSON text as plain values, each with its line and column, within limits of size and depth."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from gitlab_port_export.base.errors import Fault, MappingError
from gitlab_port_export.base.text import clean, well_formed
from gitlab_port_export.base.yamlnodes import (
    MAX_DEPTH,
    MAX_NUMBER,
    Budget,
    Builder,
    Path,
    TooMuch,
    text_of,
    unknown_tag,
)

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """Line and column of a value, from 1: those of its key or list item, else of its first character."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class PathFault:
    """Something wrong with the value at `path`, or, where it is given, with the text at `mark`."""

    path: Path
    why: str
    mark: Mark | None = None


@dataclass(frozen=True)
class Document:
    """The values of a text, the position of each, and what is wrong with the text itself."""

    origin: str
    data: Any
    marks: dict[Path, Mark] = field(default_factory=dict)
    faults: list[PathFault] = field(default_factory=list)

    def mark(self, fault: PathFault) -> Mark | None:
        """Return where the fault stands, else the innermost known value on its path, or None."""
        inner = (fault.path[:end] for end in range(len(fault.path), -1, -1))
        return fault.mark or next((self.marks[path] for path in inner if path in self.marks), None)


def read_yaml(text: str, origin: str) -> Document:
    """Read YAML 1.1 as Ocean does, or JSON.

    Raises MappingError where nothing can be made of it: bad syntax, more than 1 MiB, too deep, too many values.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise MappingError(Fault(f"larger than {MAX_BYTES} bytes", origin))
    loader, root = _compose(_without_json_tabs(text), origin)
    document = Document(origin, None)
    with _within_limits(origin):
        data = _builder(loader, document).value(root, ()) if root else None
    return replace(document, data=data)


def read_object(data: object, origin: str) -> Document:
    """Return a copy of a JSON value, within the same limits; positions are unknown."""
    faults: list[PathFault] = []
    with _within_limits(origin):
        return Document(origin, _plain(data, (), Budget(), faults), faults=faults)


@contextmanager
def _within_limits(origin: str) -> Iterator[None]:
    """Raise MappingError in place of TooMuch."""
    try:
        yield
    except TooMuch as error:
        raise MappingError(Fault(str(error), origin)) from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, as Ocean uses it, but dates stay text: a mapping has none, and jq knows none."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _without_json_tabs(text: str) -> str:
    """Return JSON with spaces for tabs, which YAML does not take for indentation; strings in JSON hold none."""
    if not text.lstrip("\ufeff \t\r\n").startswith("{") or "\t" not in text:
        return text
    try:
        json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


def _compose(text: str, origin: str) -> tuple[_Loader, yaml.Node | None]:
    try:
        loader = _Loader(text)
        return loader, loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        why = (error.problem or error.context or "cannot be read").removeprefix("but ")
        raise MappingError(Fault(f"not valid YAML: {clean(why)}", where), hint=_syntax_hint(why)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        raise MappingError(Fault("a character that YAML does not allow", f"{origin}:{line}:{column}")) from None
    except RecursionError:
        raise MappingError(Fault(f"nested deeper than {MAX_DEPTH} levels", origin)) from None
    except (ValueError, OverflowError):
        # PyYAML passes "\U00110000" on to chr() as it is.
        raise MappingError(Fault("not valid YAML: an escape that is no character", origin)) from None


_SYNTAX_HINTS = (
    ("'\\t'", "indent with spaces; YAML does not allow tabs there"),
    ("escape character", "put a jq expression with backslashes in single quotes"),
    ("expected <block end>", "an expression that begins with a quote needs quotes around the whole of it"),
    ("mapping values are not allowed", "a text with ': ' in it needs quotes; or the indentation is wrong"),
    ("alias", "a text that begins with * needs quotes"),
    ("another document", "one mapping a file: remove the line with ---"),
    ("end of stream", "a quote or a bracket is not closed"),
)


def _syntax_hint(why: str) -> str:
    default = "put expressions in single quotes, as in  identifier: '.id | tostring'"
    return next((hint for needle, hint in _SYNTAX_HINTS if needle in why), default)


def _builder(loader: _Loader, document: Document) -> Builder:
    """Return what makes the values of a mapping, and notes in the document where they stand and what is wrong."""

    def fault(path: Path, why: str, node: yaml.Node) -> None:
        document.faults.append(PathFault(path, why, _mark(node)))

    def key(node: yaml.Node, path: Path) -> str:
        # A key is the text that stands there: by YAML's rules, a property named `on` would be `True`.
        if isinstance(node, yaml.ScalarNode):
            return text_of(node)
        fault(path, "a key must be a text", node)
        return f"<key in line {_mark(node).line}>"

    def other(node: yaml.ScalarNode, path: Path) -> str:
        fault(path, unknown_tag(node), node)
        return text_of(node)

    def mark(path: Path, node: yaml.Node) -> None:
        document.marks.setdefault(path, _mark(node))

    return Builder(loader, Budget(), key, other, fault, mark, unique_keys=True)


def real_path(raw: Any, path: Path, missing: bool = False) -> Path:
    """Return the part of a path that the data has: pydantic also names variants, and index 0 of a single object.

    With `missing` the last part is a key that is not there.
    """
    real: list[str | int] = []
    for part in path:
        if _has(raw, part):
            raw = raw[part]
            real.append(part)
    return (*real, path[-1]) if missing else tuple(real)


def _has(raw: Any, part: str | int) -> bool:
    if isinstance(raw, list):
        return isinstance(part, int) and part < len(raw)
    return isinstance(raw, dict) and part in raw


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _plain(value: object, path: Path, budget: Budget, faults: list[PathFault]) -> Any:
    """Copy JSON values within the limits; anything else becomes a fault and null."""
    budget.spend(len(path))
    match value:
        case dict():
            keys = {well_formed(str(key)): item for key, item in value.items()}
            return {key: _plain(item, (*path, key), budget, faults) for key, item in keys.items()}
        case list() | tuple():
            return [_plain(item, (*path, index), budget, faults) for index, item in enumerate(value)]
        case str():
            return well_formed(value)
        case int() if value.bit_length() <= MAX_NUMBER:
            return value
        case float() | None:
            return value
    faults.append(PathFault(path, f"{type(value).__name__} that JSON cannot hold"))
    return None
