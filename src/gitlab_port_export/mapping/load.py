"""Reads a mapping, from YAML text or Port's copy of it, and checks it: a `Mapping`, or every fault with its line."""

from collections import abc
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gitlab_port_export.base.errors import Fault, MappingError
from gitlab_port_export.base.text import clean, shown
from gitlab_port_export.base.yamlnodes import Path
from gitlab_port_export.mapping.doubts import doubts
from gitlab_port_export.mapping.model import Mapping, Resource, Selector
from gitlab_port_export.mapping.words import instead, misspelled, why
from gitlab_port_export.mapping.yaml import Document, Mark, PathFault, read_object, read_yaml, real_path
from gitlab_port_export.model import Problem

Model = TypeVar("Model", bound=BaseModel)
Kinds = abc.Mapping[str, type[Selector]]


def load_mapping(text: str, origin: str, kinds: Kinds) -> tuple[Mapping, tuple[Problem, ...]]:
    """Return the mapping of a text (YAML or JSON), and what is doubtful about it.

    Raises MappingError with every fault: where, as "origin:line:column", and what, as "resource 2 (issue):
    selector.state: …". Resources are counted from 0, as everything else in a path.
    """
    return _check(read_yaml(text, origin), kinds)


def mapping_from_object(data: object, origin: str, kinds: Kinds) -> tuple[Mapping, tuple[Problem, ...]]:
    """Return the mapping of Port's copy, which is JSON already; as `load_mapping`, without positions."""
    return _check(read_object(data, origin), kinds)


def _check(document: Document, kinds: Kinds) -> tuple[Mapping, tuple[Problem, ...]]:
    root, faults = document.data, list(document.faults)
    if not isinstance(root, dict):
        faults.append(PathFault((), f"a mapping must be an object with the key 'resources'; got {shown(root)}"))
        raise _refused(document, faults)
    raw = root.get("resources")
    if not isinstance(raw, list):
        is_there = "resources" in root
        what = f"must be a list; got {shown(raw)}" if is_there else f"is missing{instead('resources', root)}"
        faults.append(PathFault(("resources",), what))
    resources = tuple(
        resource
        for index, item in enumerate(raw if isinstance(raw, list) else ())
        if (resource := _resource(item, index, kinds, faults))
    )
    own = {"resources": resources, "origin": document.origin, "marks": _positions(document.marks)}
    mapping = _validated(Mapping, root | own, (), faults)
    if faults or mapping is None:
        raise _refused(document, faults)
    return mapping, doubts(mapping, root, kinds)


def _resource(raw: Any, index: int, kinds: Kinds, faults: list[PathFault]) -> Resource | None:
    path: Path = ("resources", index)
    if not isinstance(raw, dict):
        faults.append(PathFault(path, f"must be an object; got {shown(raw)}"))
        return None
    kind = raw.get("kind")
    model = kinds.get(kind) if isinstance(kind, str) else None
    own: dict[str, Any] = {"index": index, "known": model is not None}
    if "selector" in raw:
        selector = _validated(model or Selector, raw["selector"], (*path, "selector"), faults)
        # A wrong selector has been named already; this one only lets the rest of the resource be checked.
        own["selector"] = selector or Selector(query="false")
    return _validated(Resource, raw | own, path, faults)


def _validated(model: type[Model], raw: Any, path: Path, faults: list[PathFault]) -> Model | None:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        faults += (
            PathFault((*path, *real_path(raw, each["loc"], each["type"] == "missing")), why(each) + misspelled(each))
            for each in error.errors(include_url=False)
        )
        return None


def _positions(marks: abc.Mapping[Path, Mark]) -> dict[Path, tuple[int, int]]:
    """Return path → (line, column); a single entity mapping is also found under index 0, as if it stood in a list."""
    found = {path: (mark.line, mark.column) for path, mark in marks.items()}
    one = {
        (*path[:5], 0, *path[5:]): position
        for path, position in found.items()
        if path[2:5] == ("port", "entity", "mappings") and isinstance(path[5:6] and path[5], str)
    }
    return found | one


def _refused(document: Document, faults: Iterable[PathFault]) -> MappingError:
    """Make the one error that names every fault, in the order of the text."""
    ordered = sorted(faults, key=lambda fault: document.mark(fault) or Mark(0, 0))
    return MappingError(*dict.fromkeys(_fault(document, fault) for fault in ordered))


def _fault(document: Document, fault: PathFault) -> Fault:
    """Return a fault with its position in the text, and with its resource and field in words."""
    mark = document.mark(fault)
    where = f"{document.origin}:{mark.line}:{mark.column}" if mark else document.origin
    match fault.path:
        case ("resources", int(index), *rest):
            item = document.data["resources"][index]
            kind = item.get("kind") if isinstance(item, dict) else None
            parts = [_resource_name(index, kind), _dotted(rest)]
        case path:
            parts = [_dotted(path)]
    return Fault(clean(": ".join(part for part in (*parts, fault.why) if part)), clean(where))


def _resource_name(index: int, kind: Any) -> str:
    return f"resource {index} ({kind})" if isinstance(kind, str) else f"resource {index}"


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in path)
