"""The reading room of the mapping: YAML text, or Port's copy of it, becomes a checked `Mapping`."""

import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Dict
from functools import reduce
from operator import getitem
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gitlab_port_export.base.errors import MappingError
from gitlab_port_export.base.text import clean, did_you_mean, nearest, shown
from gitlab_port_export.jq.program import is_legacy
from gitlab_port_export.mapping.model import EntityMapping, Mapping, PortBlock, Position, Resource, Selector, is_search
from gitlab_port_export.mapping.yaml import Document, Fault, Mark, Path, read_object, read_yaml
from gitlab_port_export.model import Problem

Model = TypeVar("Model", bound=BaseModel)
Kinds = Dict[str, type[Selector]]


def load_mapping(text: str, origin: str, kinds: Kinds) -> tuple[Mapping, tuple[Problem, ...]]:
    """Read a mapping file (YAML or JSON).

    Returns the mapping, and Problems: one for each unknown kind, a warning for each unknown key.
    Raises MappingError with every fault as "origin:line:column: resource 2 (issue): selector.state: …";
    resources are counted from 0, as everything else in a path.
    """
    return _check(read_yaml(text, origin), kinds)


def mapping_from_object(data: object, origin: str, kinds: Kinds) -> tuple[Mapping, tuple[Problem, ...]]:
    """Check Port's copy of a mapping, which is JSON already; as `load_mapping`, without positions."""
    return _check(read_object(data, origin), kinds)


def expressions(mapping: Mapping) -> tuple[str, ...]:
    """Return every jq expression of the mapping once, for compiling them all in one go."""
    found = (text for resource in mapping.resources for _, _, text in _expressions(mapping, resource))
    return tuple(dict.fromkeys(found))


def check_expressions(mapping: Mapping, compiles: Callable[[str], str | None]) -> tuple[str, ...]:
    """Return a fault for each expression that is not jq; `compiles` gives jq's error text, or None."""
    return tuple(
        clean(
            f"{mapping.place(resource.index, position)}: {name}: not a jq expression: "
            f"{clean(' '.join(expression.split()), 80)}: {_first_line(error)}"
        )
        for resource in mapping.resources
        for name, position, expression in _expressions(mapping, resource)
        if (error := compiles(expression)) is not None
    )


def _check(document: Document, kinds: Kinds) -> tuple[Mapping, tuple[Problem, ...]]:
    root, faults = document.data, list(document.faults)
    if not isinstance(root, dict):
        faults.append(Fault((), f"a mapping must be an object with the key 'resources'; got {shown(root)}"))
        raise _refused(document, faults)
    raw = root.get("resources")
    if not isinstance(raw, list):
        why = f"must be a list; got {shown(raw)}" if "resources" in root else f"is missing{_instead('resources', root)}"
        faults.append(Fault(("resources",), why))
    resources = tuple(
        resource
        for index, item in enumerate(raw if isinstance(raw, list) else ())
        if (resource := _resource(item, index, kinds, faults))
    )
    own = {"resources": resources, "origin": document.origin, "marks": _positions(document.marks)}
    mapping = _validated(Mapping, root | own, (), faults)
    if faults or mapping is None:
        raise _refused(document, faults)
    problems = (*_unknown_kinds(mapping, kinds), *_unknown_keys(mapping, root), *_without_effect(mapping))
    return mapping, tuple(sorted(problems, key=lambda problem: problem.line or 0))


def _resource(raw: Any, index: int, kinds: Kinds, faults: list[Fault]) -> Resource | None:
    path: Path = ("resources", index)
    if not isinstance(raw, dict):
        faults.append(Fault(path, f"must be an object; got {shown(raw)}"))
        return None
    kind = raw.get("kind")
    model = kinds.get(kind) if isinstance(kind, str) else None
    own: dict[str, Any] = {"index": index, "known": model is not None}
    if "selector" in raw:
        selector = _validated(model or Selector, raw["selector"], (*path, "selector"), faults)
        # A wrong selector has been named already; this one only lets the rest of the resource be checked.
        own["selector"] = selector or Selector(query="false")
    return _validated(Resource, raw | own, path, faults)


def _validated(model: type[Model], raw: Any, path: Path, faults: list[Fault]) -> Model | None:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        faults += (
            Fault((*path, *_real(raw, each["loc"], each["type"] == "missing")), _why(each) + _misspelled(each))
            for each in error.errors(include_url=False)
        )
        return None


# Keys that a mapping must have somewhere, so that none of them is another one misspelled.
_REQUIRED = {
    alias
    for model in (Mapping, Resource, PortBlock, EntityMapping, Selector)
    for name, info in model.model_fields.items()
    if (alias := info.alias or name)
} | {"entity", "mappings", "combinator", "rules", "property", "operator", "value"}


def _misspelled(error: ErrorDetails) -> str:
    """Return which key may be meant for a missing one: one beside it that is near and means nothing else."""
    if error["type"] != "missing" or not isinstance(error["input"], dict):
        return ""
    return _instead(str(error["loc"][-1]), error["input"])


def _instead(missing: str, beside: Iterable[str]) -> str:
    near = nearest(missing, (key for key in beside if key not in _REQUIRED))
    return f"; {shown(near)} stands there" if near else ""


def _real(raw: Any, path: Path, missing: bool = False) -> Path:
    """Drop what the data has not: pydantic also names variants, and index 0 of a single object."""
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


def _positions(marks: Dict[Path, Mark]) -> dict[Path, tuple[int, int]]:
    """Return path → (line, column); a single entity mapping is also found under index 0, as if it stood in a list."""
    found = {path: (mark.line, mark.column) for path, mark in marks.items()}
    one = {
        (*path[:5], 0, *path[5:]): position
        for path, position in found.items()
        if path[2:5] == ("port", "entity", "mappings") and isinstance(path[5:6] and path[5], str)
    }
    return found | one


def _unknown_kinds(mapping: Mapping, kinds: Kinds) -> Iterator[Problem]:
    for resource in mapping.resources:
        if not resource.known:
            line, column = mapping.mark("resources", resource.index, "kind")
            yield Problem(
                stage="mapping",
                why=f"unknown kind {shown(resource.kind)}: nothing is read for this resource",
                hint=did_you_mean(resource.kind, kinds) or f"known kinds: {', '.join(sorted(kinds))}",
                kind=resource.kind,
                resources=(resource.index,),
                line=line,
                column=column,
                field="kind",
            )


def _unknown_keys(mapping: Mapping, root: dict[str, Any]) -> Iterator[Problem]:
    for found, known in (*_extras(mapping, ()), *_query_extras(mapping, root)):
        path = _real(root, found)
        name = str(path[-1])
        # Keys such as `x-common:` and `.common:` are a customary place for YAML anchors.
        if len(path) == 1 and name.startswith(("x-", ".")):
            continue
        resource = mapping.resources[path[1]] if len(path) > 1 and isinstance(path[1], int) else None
        if resource and not resource.known and path[2] == "selector":
            continue
        line, column = mapping.mark(*path)
        yield Problem(
            stage="mapping",
            why=f"unknown key {shown(name)} is ignored",
            hint=did_you_mean(name, known),
            kind=resource.kind if resource else "",
            resources=(resource.index,) if resource else (),
            line=line,
            column=column,
            field=_dotted(path[2:] if resource else path),
            warning=True,
        )


def _without_effect(mapping: Mapping) -> Iterator[Problem]:
    for resource in mapping.resources:
        if resource.selector.export_env_variables:
            line, column = mapping.mark("resources", resource.index, "selector", "exportEnvVariables")
            yield Problem(
                stage="mapping",
                why="exportEnvVariables has no effect: what jq may read of the environment is set for all resources",
                hint="set OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS=true and name the variables in "
                "OCEAN__EXPORT__JQ_ENV, or leave the key out",
                kind=resource.kind,
                resources=(resource.index,),
                line=line,
                column=column,
                field="selector.exportEnvVariables",
                warning=True,
            )


def _extras(value: Any, path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield (path, known names beside it) of every key that a model kept without knowing it."""
    match value:
        case BaseModel():
            fields = {info.alias or name: name for name, info in type(value).model_fields.items() if not info.exclude}
            yield from (((*path, key), tuple(fields)) for key in value.model_extra or ())
            for key, name in fields.items():
                yield from _extras(getattr(value, name), (*path, key))
        case tuple() | list():
            for index, item in enumerate(value):
                yield from _extras(item, (*path, index))


def _query_extras(mapping: Mapping, root: dict[str, Any]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the same for search queries, which models keep without their unknown keys."""
    for resource in mapping.resources:
        for index, entity in enumerate(resource.mappings):
            start: Path = ("resources", resource.index, "port", "entity", "mappings", index)
            for name, value in entity.fields():
                if isinstance(value, dict):
                    path = _real(root, (*start, *name.split(".", 1)))
                    yield from _rule_extras(_at(root, path), path)


def _rule_extras(rule: dict[str, Any], path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    known = ("combinator", "rules") if is_search(rule) else ("property", "operator", "value")
    yield from (((*path, key), known) for key in rule if key not in known)
    for index, item in enumerate(rule.get("rules", ()) if is_search(rule) else ()):
        yield from _rule_extras(item, (*path, "rules", index))


def _at(raw: Any, path: Path) -> Any:
    return reduce(getitem, path, raw)


def _refused(document: Document, faults: Iterable[Fault]) -> MappingError:
    """Make the one error that names every fault, in the order of the text."""
    ordered = sorted(faults, key=lambda fault: document.mark(fault) or Mark(0, 0))
    return MappingError(*dict.fromkeys(_sentence(document, fault) for fault in ordered))


def _sentence(document: Document, fault: Fault) -> str:
    mark = document.mark(fault)
    parts = [f"{document.origin}:{mark.line}:{mark.column}" if mark else document.origin]
    match fault.path:
        case ("resources", int(index), *rest):
            item = document.data["resources"][index]
            kind = item.get("kind") if isinstance(item, dict) else None
            parts += [_resource_name(index, kind), _dotted(rest)]
        case path:
            parts.append(_dotted(path))
    return clean(": ".join(part for part in (*parts, fault.why) if part))


def _resource_name(index: int, kind: Any) -> str:
    return f"resource {index} ({kind})" if isinstance(kind, str) else f"resource {index}"


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in path)


_SENTENCES = {
    "missing": "is missing",
    "bool_type": "must be true or false; got {got}",
    "bool_parsing": "must be true or false; got {got}",
    "string_type": "must be a text; got {got}",
    "int_type": "must be a whole number; got {got}",
    "int_parsing": "must be a whole number; got {got}",
    "int_from_float": "must be a whole number; got {got}",
    "float_type": "must be a number; got {got}",
    "float_parsing": "must be a number; got {got}",
    "finite_number": "must be a number; got {got}",
    "greater_than_equal": "must be at least {ge:g}; got {got}",
    "less_than_equal": "must be at most {le:g}; got {got}",
    "tuple_type": "must be a list; got {got}",
    "list_type": "must be a list; got {got}",
    "dict_type": "must be an object; got {got}",
    "model_type": "must be an object; got {got}",
    "model_attributes_type": "must be an object; got {got}",
    "too_short": "must have at least {min_length} item",
    "string_pattern_mismatch": "must match {pattern}; got {got}",
    "extra_forbidden": "is not a known key",
    "value_error": "{error}",
}


def _why(error: ErrorDetails) -> str:
    """Say in a short sentence what pydantic found."""
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        return _not_one_of(context["expected"], error["input"])
    fallback = f"{error['msg'][:1].lower()}{error['msg'][1:]}".replace("{", "{{").replace("}", "}}")
    return _SENTENCES.get(error["type"], fallback + "; got {got}").format(got=shown(error["input"]), **context)


def _not_one_of(expected: str, value: Any) -> str:
    """Take pydantic's list of values, "'a', 'b' or 'c'", apart."""
    choices = [quoted or plain for quoted, plain in re.findall(r"'([^']*)'|(\d+)", expected)]
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    return f"must be one of {', '.join(choices)}; got {shown(value)}{f' ({hint})' if hint else ''}"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "refused by jq")


def _expressions(mapping: Mapping, resource: Resource) -> Iterator[tuple[str, Position, str]]:
    """Yield (field, position, expression) of everything in a resource that jq will run."""
    yield "selector.query", mapping.field_mark(resource.index, 0, "selector.query"), resource.selector.query
    if (items := resource.port.items_to_parse) is not None:
        yield "port.itemsToParse", mapping.field_mark(resource.index, 0, "itemsToParse"), items
    for index, entity in enumerate(resource.mappings):
        for name, value in entity.fields():
            position = mapping.field_mark(resource.index, index, name)
            # Ocean's older form for file contents and searches stands where jq would.
            yield from (
                (leaf, position, expression) for leaf, expression in _leaves(name, value) if not is_legacy(expression)
            )


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield name, value
        case dict():
            for key, item in value.items():
                yield from _leaves(f"{name}.{key}", item)
        case list():
            for index, item in enumerate(value):
                yield from _leaves(f"{name}.{index}", item)
