"""The output of `preview`: each row beside its fields and entities, or all of it as JSON."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gitlab_port_export.base.text import clean
from gitlab_port_export.commands.preview_values import FieldSample, MappedSample, Preview, RowSample
from gitlab_port_export.model import Entity, Problem, Row
from gitlab_port_export.port.masking import MASK, names_a_secret
from gitlab_port_export.report.exit_code import EXIT_MEANINGS
from gitlab_port_export.report.json import SCHEMA_VERSION, dumps, redacted
from gitlab_port_export.report.words import where

# GitLab shows secrets such as tokens of runners to owners, and a preview may be kept in a log. Only a text that looks
# like a secret is hidden in other places too: a preview without `enabled` or dates would be of no use.
_LIKE_A_SECRET = re.compile(r"(?![\d:.TZ+-]*\Z)[!-~]{16,1000}")
MAX_SECRETS = 100


def render(preview: Preview, redact: Callable[[str], str], console: Console) -> None:
    """Print each row and its fields, side by side on a terminal; the last line is the exit code and its meaning.

    `redact` takes secrets out of every text that quotes a row, an expression or an answer.
    """
    for block in _blocks(preview, lambda text: clean(redact(text)), console.is_terminal):
        console.print(block, soft_wrap=not console.is_terminal)


def _blocks(preview: Preview, safe: Callable[[str], str], terminal: bool) -> Iterator[RenderableType]:
    for number, sample in enumerate(preview.samples, 1):
        which = "" if sample.resource is None else f", resource {sample.resource}"
        yield Text(safe(f"row {number} of {preview.kind}{which}, from {sample.scope or 'the listing'}"), "bold")
        row = json.dumps(masked(sample.row), indent=2, ensure_ascii=False)
        left = Text("\n".join(map(safe, row.split("\n"))))
        right = list(_fields(sample, safe))
        if preview.bare:
            yield from right
        elif terminal:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
            table.add_column("GitLab", ratio=2, overflow="fold")
            table.add_column("Port", ratio=3, overflow="fold")
            table.add_row(left, Group(*right))
            yield table
        else:
            yield left
            yield from right
        yield Text()
    for problem in preview.problems:
        yield from _problem(problem, safe)
    if not preview.samples:
        yield Text(f"no row of {safe(preview.kind)} was found", "yellow")
    meaning = f"{len(preview.samples)} shown" if not preview.exit_code else EXIT_MEANINGS[preview.exit_code]
    yield Text(f"exit {preview.exit_code}: {meaning}", "bold red" if preview.exit_code else "bold green")


def _fields(sample: RowSample, safe: Callable[[str], str]) -> Iterator[Text]:
    verdict: FieldSample | None = None
    for mapped in sample.mapped:
        if mapped.selected is not verdict:
            yield from _field(mapped.selected, safe)
            verdict = mapped.selected
        yield Text(f"entity mapping {mapped.entity}", "dim")
        for field in mapped.fields:
            yield from _field(field, safe)
    for entity in sample.entities:
        yield Text(f"entity {safe(str(entity.blueprint))}: {safe(_short(entity.identifier))}", "bold green")
    for note in sample.notes:
        yield Text(safe(note), "yellow")


def _field(field: FieldSample, safe: Callable[[str], str]) -> Iterator[Text]:
    expression = field.expression if isinstance(field.expression, str) else json.dumps(field.expression)
    yield Text.assemble((safe(field.name), "bold"), f": {safe(' '.join(expression.split()))}")
    if field.error:
        yield Text(f"  ! {safe(field.error)}", "red")
    else:
        yield Text(f"  = {safe(_short(field.value))}", "green")


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _problem(problem: Problem, safe: Callable[[str], str]) -> Iterator[Text]:
    style = "yellow" if problem.warning else "red"
    yield Text(safe(f"{problem.stage}: {problem.why}"), style)
    if place := where(problem):
        yield Text(f"  {safe(place)}")
    if problem.hint:
        yield Text(f"  → {safe(problem.hint)}")


def masked(value: Any, *, secret: bool = False) -> Any:
    """Return JSON with the texts under secret-sounding keys replaced, also deep below them."""
    if isinstance(value, dict):
        return {name: masked(part, secret=secret or names_a_secret(name)) for name, part in value.items()}
    if isinstance(value, list):
        return [masked(part, secret=secret) for part in value]
    return MASK if isinstance(value, str) and secret else value


def secrets_of(preview: Preview) -> set[str]:
    """Return texts that `masked` replaces and that an expression may take elsewhere: those that look like a secret."""
    texts = {text for sample in preview.samples for text in _masked_texts(sample.row)}
    return set(sorted(filter(_LIKE_A_SECRET.fullmatch, texts))[:MAX_SECRETS])


def _masked_texts(value: Any, *, secret: bool = False) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _masked_texts(part, secret=secret or names_a_secret(name))
    elif isinstance(value, list):
        for part in value:
            yield from _masked_texts(part, secret=secret)
    elif isinstance(value, str) and secret:
        yield value


def to_json(preview: Preview, redact: Callable[[str], str]) -> str:
    """Return the preview, redacted, as one JSON document with a newline at its end; keys are only ever added."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": "preview",
        "exit": {"code": preview.exit_code},
        "kind": preview.kind,
        "mapping_origin": preview.origin,
        "rows": [_sample(sample, bare=preview.bare) for sample in preview.samples],
        "problems": [asdict(problem) for problem in preview.problems],
    }
    return dumps(redacted(document, redact))


def _sample(sample: RowSample, *, bare: bool) -> dict[str, Any]:
    row: Row | None = None if bare else masked(sample.row)
    return {
        "resource": sample.resource,
        "scope": sample.scope,
        "row": row,
        "mapped": [_mapped(mapped) for mapped in sample.mapped],
        "entities": [_entity(entity) for entity in sample.entities],
        "notes": list(sample.notes),
    }


def _mapped(mapped: MappedSample) -> dict[str, Any]:
    return {
        "entity": mapped.entity,
        "selector": _field_json(mapped.selected),
        "fields": {field.name: _field_json(field) for field in mapped.fields},
    }


def _field_json(field: FieldSample) -> dict[str, Any]:
    result = {"error": field.error} if field.error else {"value": field.value}
    return {"expression": field.expression, "line": field.line, **result}


def _entity(entity: Entity) -> dict[str, Any]:
    return {"blueprint": entity.blueprint, "identifier": entity.identifier, **entity.body}
