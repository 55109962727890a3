"""Problems of a mapping that can be used all the same: unknown kinds, unknown keys, keys without effect."""

from collections import abc
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from typing import Any

from pydantic import BaseModel

from gitlab_port_export.base.text import did_you_mean, shown
from gitlab_port_export.base.yamlnodes import Path
from gitlab_port_export.mapping.model import Mapping, Selector, is_search
from gitlab_port_export.mapping.yaml import real_path
from gitlab_port_export.model import Problem


def doubts(mapping: Mapping, root: dict[str, Any], kinds: abc.Mapping[str, type[Selector]]) -> tuple[Problem, ...]:
    """Return a Problem for each unknown kind, and a warning for each key that is ignored, in the order of the text."""
    problems = (*_unknown_kinds(mapping, kinds), *_unknown_keys(mapping, root), *_without_effect(mapping))
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))


def _unknown_kinds(mapping: Mapping, kinds: abc.Mapping[str, type[Selector]]) -> Iterator[Problem]:
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
        path = real_path(root, found)
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
            field=".".join(map(str, path[2:] if resource else path)),
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
                    path = real_path(root, (*start, *name.split(".", 1)))
                    yield from _rule_extras(_at(root, path), path)


def _rule_extras(rule: dict[str, Any], path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    known = ("combinator", "rules") if is_search(rule) else ("property", "operator", "value")
    yield from (((*path, key), known) for key in rule if key not in known)
    for index, item in enumerate(rule.get("rules", ()) if is_search(rule) else ()):
        yield from _rule_extras(item, (*path, "rules", index))


def _at(raw: Any, path: Path) -> Any:
    return reduce(getitem, path, raw)
