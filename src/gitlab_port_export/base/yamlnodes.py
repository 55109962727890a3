"""Makes plain JSON values of YAML nodes, within limits: for mappings and for the content of files in repositories."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from gitlab_port_export.base.text import shown, well_formed

# Keys and indexes from the top of a document down to a value.
Path = tuple[str | int, ...]

MAX_NODES = 100_000
MAX_DEPTH = 100
MAX_NUMBER = 1000  # characters; Python refuses to read numbers that are longer than a few thousand
TAGS = "tag:yaml.org,2002:"
COLLECTIONS = (f"{TAGS}map", f"{TAGS}seq")


class TooMuch(Exception):
    """A document stands for more values, text or levels than the limits allow."""


@dataclass
class Budget:
    """How many values and characters may still be expanded: aliases can make a short text endless."""

    nodes: int = MAX_NODES
    text: float = math.inf

    def spend(self, depth: int, text: int = 0) -> None:
        """Count one value at a depth, with its characters. Raises TooMuch."""
        self.nodes -= 1
        self.text -= text
        if self.nodes < 0 or self.text < 0:
            raise TooMuch(f"more than {MAX_NODES} values, counted with all aliases expanded")
        if depth > MAX_DEPTH:
            raise TooMuch(f"nested deeper than {MAX_DEPTH} levels")


@dataclass(frozen=True)
class Builder:
    """Makes values of a loader's nodes. The functions decide where mappings and files of repositories differ.

    `key` gives the text of a key, `other` the value of a scalar that is no null, boolean, number or text. `fault` is
    told what is wrong, and may raise. `mark` is told where each value stands. With `unique_keys` a key that stands
    twice is a fault; without it the last one counts. With `finite` .nan and .inf are null: JSON has neither.
    """

    loader: Any
    budget: Budget
    key: Callable[[yaml.Node, Path], str]
    other: Callable[[yaml.ScalarNode, Path], Any]
    fault: Callable[[Path, str, yaml.Node], None]
    mark: Callable[[Path, yaml.Node], object] = lambda _path, _node: None
    unique_keys: bool = False
    finite: bool = False

    def value(self, node: yaml.Node, path: Path) -> Any:
        """Return the value of a node, at `path` in its document. Raises TooMuch."""
        self.budget.spend(len(path), _length(node))
        self.mark(path, node)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in COLLECTIONS:
            self.fault(path, unknown_tag(node), node)
        match node:
            case yaml.MappingNode():
                built = {}
                for key, (key_node, value_node) in self._entries(node, path, len(path)).items():
                    self.mark((*path, key), key_node)
                    built[key] = self.value(value_node, (*path, key))
                return built
            case yaml.SequenceNode():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self.scalar(node, path)

    def _entries(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return key → (key node, value node), with what `<<` merges in first, so that own keys win."""
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            self.budget.spend(depth, _length(key_node))
            if key_node.tag == f"{TAGS}merge":
                merged |= self._merged(value_node, path, depth + 1)
                continue
            key = self.key(key_node, path)
            if key in own and self.unique_keys:
                first = own[key][0].start_mark.line + 1
                self.fault((*path, key), f"this key stands twice, first in line {first}", key_node)
                continue
            own[key] = key_node, value_node
        return merged | own

    def _merged(self, node: yaml.Node, path: Path, depth: int) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for source in sources:
            if isinstance(source, yaml.MappingNode):
                merged = self._entries(source, path, depth) | merged
            else:
                self.fault((*path, "<<"), "must name an object, or a list of objects", source)
        return merged

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        """Return the value of a scalar node."""
        match node.tag.removeprefix(TAGS):
            case "null":
                return None
            case "bool" if node.value.lower() in self.loader.bool_values:
                return self.loader.bool_values[node.value.lower()]
            case "int":
                return self._number(node, path, self.loader.construct_yaml_int)
            case "float":
                return self._number(node, path, self.loader.construct_yaml_float)
            # A bare `=` has a tag of its own, `value`, that is never meant.
            case "str" | "value" | "merge":
                return text_of(node)
        return self.other(node, path)

    def _number(self, node: yaml.ScalarNode, path: Path, construct: Callable[[yaml.ScalarNode], float]) -> Any:
        try:
            if len(node.value) <= MAX_NUMBER:
                number = construct(node)
                return None if self.finite and isinstance(number, float) and not math.isfinite(number) else number
        except (ValueError, OverflowError):
            pass
        self.fault(path, f"not a number: {shown(node.value)}", node)
        return node.value


def text_of(node: yaml.ScalarNode) -> str:
    """Return the text of a scalar. JSON writes characters beyond U+FFFF as two escapes, which PyYAML does not join."""
    text = str(node.value)
    return text if text.isascii() else well_formed(text)


def unknown_tag(node: yaml.Node) -> str:
    """Return the words for a tag that has no meaning here."""
    return f"the YAML tag {shown(node.tag)} means nothing here"


def _length(node: yaml.Node) -> int:
    return len(node.value) if isinstance(node, yaml.ScalarNode) else 0
