"""The report as one JSON document, which report-v1.schema.json in this folder describes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from importlib.resources import files
from typing import Any

from gitlab_port_export import __version__
from gitlab_port_export.base.jsontext import ascii_lines
from gitlab_port_export.model import Create, Delete, Problem, Update, Write, target
from gitlab_port_export.report.exit_code import meaning
from gitlab_port_export.report.values import Details, FieldChange, Report, total
from gitlab_port_export.report.words import left_out

SCHEMA_VERSION = 1


def render(report: Report) -> str:
    """Return the report as ASCII JSON with a newline at its end; keys are snake_case and only ever added."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "program": {"name": "gitlab-port-export", "version": __version__},
        "command": report.command,
        "exit": {"code": report.exit_code, "meaning": meaning(report)},
        "started": report.started,
        "seconds": report.seconds,
        "integration": report.integration,
        "mapping_origin": report.mapping_origin,
        "requests": {"gitlab": report.gitlab_requests, "port": report.port_requests},
        "rate_bound": report.rate,
        "total": asdict(total(report.blueprints.values())),
        "blueprints": {name: asdict(counts) for name, counts in report.blueprints.items()},
        "kinds": {name: asdict(counts) for name, counts in report.kinds.items()},
        "problems": [_problem(problem) for problem in report.problems],
        "held": [{**asdict(held), "count": held.count} for held in report.held],
        "changes": [{**_change(one), **_details(report.details.get(target(one)))} for one in report.changes],
        "plan": report.plan,
        "timeline": [asdict(span) for span in report.timeline],
        "reads": [asdict(read) for read in report.reads],
        "left_out": asdict(left_out(report)),
        "skipped": report.skipped,
        "part": report.part,
        "left": report.left,
        "rhythm": asdict(report.rhythm) if report.rhythm else None,
    }
    return dumps(document)


def refusal(command: str, code: int, faults: Sequence[str], hint: str) -> str:
    """Return the error that ended a command without a report, as JSON with a newline at its end."""
    problems = [{"why": fault, "hint": hint} for fault in faults]
    return dumps({"schema_version": SCHEMA_VERSION, "command": command, "exit": {"code": code}, "problems": problems})


def dumps(document: object) -> str:
    """Return ASCII JSON that every parser reads and that no CI system takes for a command."""
    # Azure Pipelines runs ##vso[…] and ##[…] anywhere in a line, also inside JSON.
    return ascii_lines(document).replace("##", "#\\u0023") + "\n"


def redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """Return a JSON value with every text in it, names of keys too, passed through `redact`."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {redact(str(key)): redacted(part, redact) for key, part in value.items()}
        case list() | tuple():
            return [redacted(part, redact) for part in value]
    return value


def schema() -> str:
    """Return the JSON Schema of the document."""
    return (files(__package__) / f"report-v{SCHEMA_VERSION}.schema.json").read_text(encoding="utf-8")


def _problem(problem: Problem) -> dict[str, Any]:
    """Return the fields of the problem, without those at their default, except four that are always there."""
    always = {"stage", "why", "warning", "count"}
    return {
        field.name: value
        for field in fields(problem)
        if (value := getattr(problem, field.name)) != field.default or field.name in always
    }


def _change(change: Write) -> dict[str, Any]:
    """Return action, blueprint, identifier and what belongs to the action."""
    match change:
        case Create(entity):
            return {"action": "create", "blueprint": entity.blueprint, "identifier": entity.identifier}
        case Update(entity, names):
            found = {"blueprint": entity.blueprint, "identifier": entity.identifier, "fields": names}
            return {"action": "update", **found}
        case Delete(blueprint, identifier, cascade):
            found = {"blueprint": blueprint, "identifier": identifier, "cascade": cascade}
            return {"action": "delete", **found}


def _details(details: Details | None) -> dict[str, Any]:
    """Return what a plan shows of a change: title, values, reason and links, those that there are."""
    if details is None:
        return {}
    links = {name: url for name, url in (("port", details.port), ("gitlab", details.gitlab)) if url}
    found = {
        "title": details.title, "values": [_field(one) for one in details.fields], "why": details.why, "links": links,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _field(change: FieldChange) -> dict[str, Any]:
    found: dict[str, Any] = {"field": change.field}
    if change.is_list:
        return {**found, "added": change.added, "removed": change.removed, "more": change.more}
    return {**found, "old": change.old, "new": change.new, "masked": change.masked}
