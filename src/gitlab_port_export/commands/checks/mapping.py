"""Checks of the mapping: that it can be read, fits Port's blueprints, and holds expressions that are jq."""

from collections import abc
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

from gitlab_port_export.base.errors import ExportError, MachineError, UsageError
from gitlab_port_export.commands.checks.facts import Facts, Findings, Look
from gitlab_port_export.commands.checks.finding import Finding
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Problem
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.integration import Integration
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.choose import (
    Chosen,
    check_blueprints,
    check_jq,
    choose_mapping,
    expected_blueprints,
    read_mapping,
)
from gitlab_port_export.sync.fit import judge


def check_file(file: Path) -> Findings:
    """Yield what is found about a mapping file alone, for settings that cannot be used to reach Port."""
    with closing(Evaluator({})) as evaluator:
        try:
            mapping, problems = read_mapping(file)
        except UsageError as error:
            yield from _faults(error)
        else:
            yield from _readable(mapping)
            yield from _judged(mapping, problems, None)
            yield from _uncompiled(mapping, evaluator)


def mapping_can_be_read(facts: Facts) -> Look:
    """Yield whether the mapping can be read, and which kinds it maps. Learns the mapping."""
    if facts.settings.mapping_file is None and not (facts.integration and facts.integration.accessible):
        what = "Port holds the mapping and did not give it, so it was not checked"
        yield Finding("warning", "mapping", "mapping", what, "give a mapping file with --mapping")
        return None
    integration = facts.integration or Integration(facts.identifier)
    try:
        chosen = choose_mapping(facts.settings, integration, facts.dialect, facts.blueprints or {})
    except UsageError as error:
        yield from _faults(error)
        return None
    yield from _readable(chosen.mapping)
    return replace(facts, chosen=chosen)


def mapping_fits_blueprints(facts: Facts) -> Look:
    """Yield what a run would say of the mapping too, and what does not fit Port's blueprints."""
    if (chosen := facts.chosen) is None:
        return None
    mapping = chosen.mapping
    if facts.blueprints is None:
        yield from _judged(mapping, chosen.problems, None)
        what = "whether the mapping fits Port's blueprints was not checked: Port did not give them"
        yield Finding("warning", "mapping", mapping.origin, what)
        return None
    yield from _missing(facts.settings, chosen, facts.blueprints)
    yield from _judged(mapping, chosen.problems, expected_blueprints(facts.settings, chosen, facts.blueprints))
    return None


def mapping_is_jq(facts: Facts) -> Look:
    """Yield each expression of the mapping that is not jq."""
    if facts.mapping:
        yield from _uncompiled(facts.mapping, facts.evaluator)
    return None


def _readable(mapping: Mapping) -> Findings:
    if mapping.resources:
        kinds = ", ".join(dict.fromkeys(resource.kind for resource in mapping.resources))
        yield Finding("ok", "mapping", mapping.origin, f"can be read; it maps {kinds}")


def _judged(mapping: Mapping, problems: Iterable[Problem], blueprints: abc.Mapping[str, Blueprint] | None) -> Findings:
    """Yield what a run would say of the mapping; `blueprints` are None where Port did not give them."""
    of_mapping = [problem for problem in problems if problem.stage == "mapping"]
    found = judge(mapping, of_mapping, blueprints)
    yield from (_finding(mapping, problem) for problem in found)
    if blueprints is not None and len(found) == len(of_mapping):
        what = "every property and relation that it names exists, as far as can be told without a row"
        yield Finding("ok", "mapping", mapping.origin, what)


def _uncompiled(mapping: Mapping, evaluator: Evaluator) -> Findings:
    try:
        check_jq(mapping, evaluator)
    except UsageError as error:
        yield from _faults(error)


def _missing(settings: Settings, chosen: Chosen, existing: abc.Mapping[str, Blueprint]) -> Findings:
    """Yield the blueprints that the mapping names and Port lacks."""
    try:
        missing = check_blueprints(settings, chosen, existing)
    except UsageError as error:
        yield from _faults(error)
    else:
        yield from (_finding(chosen.mapping, problem) for problem in missing)


def _faults(error: ExportError) -> Findings:
    for fault in error.faults:
        hint = fault.hint or error.hint
        if isinstance(error, MachineError):
            yield Finding("error", "settings", "this machine", str(fault), hint)
        else:
            yield Finding("error", "mapping", fault.where or "mapping", fault.what, hint)


def _finding(mapping: Mapping, problem: Problem) -> Finding:
    level: Literal["warning", "error"] = "warning" if problem.warning else "error"
    place = ":".join(str(part) for part in (mapping.origin, problem.line, problem.column) if part is not None)
    where = f"blueprint {problem.blueprint}" if problem.blueprint else place
    owner = f"resource {problem.resources[0]} ({problem.kind}): " if problem.resources else ""
    field = f"{problem.field}: " if problem.field else ""
    return Finding(level, "mapping", where, owner + field + problem.why, problem.hint)
