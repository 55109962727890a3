"""Chooses the mapping of a run and checks it against Port's blueprints."""

import os
from collections import abc
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.errors import (
    ExportError,
    Fault,
    GitLabUnavailable,
    MappingError,
    PortUnavailable,
    UsageError,
)
from gitlab_port_export.base.text import clean
from gitlab_port_export.gitlab.kinds import SELECTORS
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.mapping.blueprints import mapped_blueprints
from gitlab_port_export.mapping.expressions import check_expressions, expressions
from gitlab_port_export.mapping.load import load_mapping, mapping_from_object
from gitlab_port_export.mapping.model import Mapping, Resource
from gitlab_port_export.mapping.yaml import read_yaml
from gitlab_port_export.model import Dialect, Problem
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.defaults import default_blueprints, default_mapping_text
from gitlab_port_export.port.integration import Integration
from gitlab_port_export.settings.settings import MAPPING_NAMES, Settings
from gitlab_port_export.sync.transform import compile_errors

MAX_MAPPING_BYTES = 1024 * 1024
MORE_TIME = "allow more time (--deadline)"


@dataclass(frozen=True)
class Chosen:
    """The mapping of the run, what was found wrong with it, and the blueprints it brings along.

    `config` is what a new integration object gets: the mapping where it is a default, else nothing.
    """

    mapping: Mapping
    problems: tuple[Problem, ...]
    blueprints: Sequence[abc.Mapping[str, Any]] = ()
    config: abc.Mapping[str, Any] | None = None


@dataclass(frozen=True)
class PlannedMapping:
    """The mapping that a plan file (or another one, `held_by`) holds, as JSON, and where it came from.

    `given`: it is used whatever Port has, as it came from a file that the user named.
    """

    origin: str = ""
    given: bool = False
    data: Any = None
    held_by: str = "plan file"

    def read(self) -> tuple[Mapping, tuple[Problem, ...]]:
        """Return the mapping and what is doubtful about it. Raises UsageError."""
        return mapping_from_object(self.data, f"{self.origin}, as the {self.held_by} holds it", SELECTORS)


def late(stopped: Stopped, settings: Settings) -> ExportError:
    """Return what ends a command whose deadline passed before it had anything to report."""
    if stopped.asked == settings.gitlab_url:
        return GitLabUnavailable(f"the deadline passed before GitLab at {stopped.asked} had answered", hint=MORE_TIME)
    return PortUnavailable("the deadline passed before Port had answered", hint=MORE_TIME)


def choose_mapping(
    settings: Settings,
    integration: Integration,
    dialect: Dialect,
    existing: abc.Mapping[str, Blueprint],
    planned: PlannedMapping | None = None,
) -> Chosen:
    """Return the first mapping there is: the file, the integration's in Port, the resources folder's, the default.

    A plan that was made with a file needs no file again: its own mapping (`planned`) stands in for it. `existing` are
    Port's blueprints. Raises UsageError when the mapping is faulty, and PortUnavailable when Port will not say whether
    it has one and no file is given.
    """
    given = planned if planned and planned.given else None
    if found := read_mapping(settings.mapping_file) if settings.mapping_file else given and given.read():
        mapping, problems = found
        if not integration.accessible:
            problems += (_inaccessible(integration),)
        return Chosen(mapping, problems)
    if not integration.accessible:
        raise refused_integration(integration)
    if integration.config:
        origin = f"integration {integration.identifier} in Port"
        mapping, problems = mapping_from_object(integration.config, origin, SELECTORS)
        return Chosen(mapping, problems, _left_to_create(settings, mapping, dialect, existing))
    return _default(settings, dialect)


def refused_integration(integration: Integration) -> PortUnavailable:
    """Return what ends a command that needs the mapping in Port and may not read it."""
    return PortUnavailable(
        f"the credentials may not read the integration {integration.identifier}, which holds the mapping",
        hint="use credentials of a moderator or administrator, or give a mapping file with --mapping",
    )


def read_mapping(file: Path) -> tuple[Mapping, tuple[Problem, ...]]:
    """Return the mapping of a file and what is doubtful about it. Raises UsageError."""
    return load_mapping(read_text(file), str(file), SELECTORS)


def _default(settings: Settings, dialect: Dialect) -> Chosen:
    """Return the mapping that a new integration gets: the resources folder's, else the built-in one."""
    if found := default_file(settings.resources_path):
        text, origin, blueprints = read_text(found), str(found), _own_blueprints(found.parent)
    else:
        text, origin, blueprints = default_mapping_text(dialect), "the default mapping", default_blueprints()
    return Chosen(*load_mapping(text, origin, SELECTORS), blueprints, _as_config(text))


def default_file(folder: Path | None) -> Path | None:
    """Return the mapping file in a resources folder, or None."""
    return folder and next((folder / name for name in MAPPING_NAMES if os.path.isfile(folder / name)), None)


def _left_to_create(
    settings: Settings, mapping: Mapping, dialect: Dialect, existing: abc.Mapping[str, Blueprint]
) -> Sequence[abc.Mapping[str, Any]]:
    """Return the default's blueprints where Port's mapping is the default and some are missing or half-made, else none.

    A first run that ended early (say, with a wrong GitLab token) leaves the mapping in Port without its blueprints.
    """
    try:
        file = default_file(settings.resources_path)
        blueprints = _own_blueprints(file.parent) if file else default_blueprints()
        if not any(_is_left(existing.get(data["identifier"]), data) for data in blueprints):
            return ()
        return blueprints if _default(settings, dialect).mapping.resources == mapping.resources else ()
    except UsageError:
        return ()


def _is_left(held: Blueprint | None, data: abc.Mapping[str, Any]) -> bool:
    """Say whether a default blueprint has still to be made or completed."""
    return held is None or integrations.is_half_made(held, data)


def _inaccessible(integration: Integration) -> Problem:
    return Problem(
        "integration",
        f"the credentials may not touch the integration {integration.identifier}; no resync state is reported",
        "use credentials of a moderator or administrator to see the run in Port",
        warning=True,
    )


def read_text(file: Path) -> str:
    """Return the text of a mapping file. Raises MappingError."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_MAPPING_BYTES + 1)
        if len(content) > MAX_MAPPING_BYTES:
            raise MappingError(Fault(f"a mapping may have at most {MAX_MAPPING_BYTES} bytes", str(file)))
        return content.decode()
    except UnicodeDecodeError:
        raise MappingError(Fault("is not UTF-8 text", str(file)), hint="save the file as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: no name that a file may have
        why = getattr(error, "strerror", None) or error
        hint = "check the path that --mapping, OCEAN__EXPORT__MAPPING or OCEAN__RESOURCES_PATH names"
        raise MappingError(Fault(f"cannot be read: {why}", clean(str(file), 200)), hint=hint) from None


def _as_config(text: str) -> abc.Mapping[str, Any]:
    config: abc.Mapping[str, Any] = read_yaml(text, "").data
    return config


def _own_blueprints(folder: Path) -> Sequence[abc.Mapping[str, Any]]:
    file = folder / "blueprints.json"
    if not file.is_file():
        return ()
    found = read_yaml(read_text(file), str(file)).data
    try:
        wanted = [Blueprint.of(one) for one in found if isinstance(one["identifier"], str)]
    except (AttributeError, LookupError, TypeError, ValueError):
        wanted = []
    if not isinstance(found, list) or len(wanted) != len(found):
        raise MappingError(Fault("must be a list of blueprints", str(file)), hint="write each as Port's API gives it")
    return found


def check_jq(mapping: Mapping, evaluator: Evaluator) -> None:
    """Compile every expression alone. Raises UsageError that names each one that jq refuses."""
    texts = expressions(mapping)
    errors = dict(zip(texts, compile_errors(texts, evaluator), strict=True))
    if faults := check_expressions(mapping, errors.get):
        raise MappingError(*faults, hint="every value of a mapping is a jq expression; write text as '\"text\"'")


def blueprints_to_make(settings: Settings, chosen: Chosen) -> Sequence[abc.Mapping[str, Any]]:
    """Return the blueprints that a run creates where Port lacks them."""
    return chosen.blueprints if settings.initialize_port_resources else ()


def expected_blueprints(
    settings: Settings, chosen: Chosen, existing: abc.Mapping[str, Blueprint]
) -> dict[str, Blueprint]:
    """Return the blueprints that a sync writes to: Port's, and those of a default mapping as it will make them."""
    made = blueprints_to_make(settings, chosen)
    left = {data["identifier"]: Blueprint.of(data) for data in made if _is_left(existing.get(data["identifier"]), data)}
    return {**existing, **left}


def check_blueprints(settings: Settings, chosen: Chosen, existing: abc.Mapping[str, Blueprint]) -> tuple[Problem, ...]:
    """Return a problem for each blueprint that the mapping names, that Port lacks and that will not be created.

    Raises UsageError where no resource can run without them, or an existing one cannot hold the default mapping.
    """
    if settings.initialize_port_resources and (unfit := integrations.unfit(existing, chosen.blueprints)):
        raise MappingError(
            *unfit, hint="use your own mapping (--mapping FILE), or add to the blueprint what is missing"
        )
    expected = expected_blueprints(settings, chosen, existing)
    hint = "create the blueprint in Port, or correct `blueprint` in the mapping"
    if chosen.blueprints and not settings.initialize_port_resources:
        hint = f"set OCEAN__INITIALIZE_PORT_RESOURCES=true to have them created, or {hint}"
    mapping = chosen.mapping
    missing = _missing(mapping, expected)
    if missing and not (mapping.spec_paths or any(can_run(mapping, one, expected) for one in mapping.resources)):
        marks = {name: mapping.field_mark(*places[0], "blueprint") for name, places in missing.items()}
        faults = (
            mapping.fault(places[0][0], marks[name], f"blueprint: Port has no blueprint {name!r}")
            for name, places in missing.items()
        )
        raise MappingError(*faults, hint=hint)
    return tuple(_lacks(mapping, name, places, hint) for name, places in missing.items())


def _missing(mapping: Mapping, expected: Container[str]) -> dict[str, list[tuple[int, int]]]:
    """Return the blueprints that are named and not expected, each with (resource, entity mapping) that name it."""
    found: dict[str, list[tuple[int, int]]] = {}
    for index, names in mapped_blueprints(mapping).items():
        for number, name in enumerate(names):
            if name is not None and name not in expected:
                found.setdefault(name, []).append((index, number))
    return found


def _lacks(mapping: Mapping, name: str, places: Sequence[tuple[int, int]], hint: str) -> Problem:
    line, column = mapping.field_mark(*places[0], "blueprint")
    return Problem(
        "mapping",
        f"Port has no blueprint {name!r}",
        hint,
        kind=mapping.resources[places[0][0]].kind,
        resources=tuple(dict.fromkeys(index for index, _ in places)),
        line=line,
        column=column,
        field="blueprint",
    )


def can_run(mapping: Mapping, resource: Resource, blueprints: Container[str]) -> bool:
    """Say whether a resource may give entities of these blueprints; a computed blueprint may be any."""
    names = mapped_blueprints(mapping)[resource.index]
    return resource.known and any(name is None or name in blueprints for name in names)
