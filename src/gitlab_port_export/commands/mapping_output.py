"""The output of `mapping`: a mapping with its origin, and what another one would change, as lines or as JSON."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from gitlab_port_export.base.text import clean
from gitlab_port_export.mapping.compare import FieldChange, MappingChanges, ResourceChange
from gitlab_port_export.model import Problem
from gitlab_port_export.port.defaults import Preset
from gitlab_port_export.report.json import SCHEMA_VERSION, dumps, redacted

# So much of a value is shown on each side of a change.
MAX_VALUE = 120
_STYLES = {"+": "green", "-": "red", "~": "yellow"}
Redact = Callable[[str], str]


@dataclass(frozen=True)
class Loss:
    """How many owned entities of a blueprint could go; `unfed` where no resource would feed it any more."""

    blueprint: str
    owned: int
    unfed: bool = False


@dataclass(frozen=True)
class Comparison:
    """What a mapping file would change in the mapping in use; `unknown` is why losses could not be counted."""

    origin: str
    file: str
    changes: MappingChanges
    losses: tuple[Loss, ...] = ()
    unknown: str = ""
    problems: tuple[Problem, ...] = ()


# --- one mapping


def mapping_text(origin: str, text: str, redact: Redact) -> str:
    """Return a mapping as YAML with a newline at its end; its first line is a comment that says where it is from."""
    lines = (f"# The mapping in use: {origin}", *text.rstrip("\n").split("\n"))
    return "".join(f"{_safe_line(redact(line))}\n" for line in lines)


def _safe_line(line: str) -> str:
    """Return a line with its tabs as they are, and nothing that steers a terminal or a CI system."""
    return "\t".join(map(clean, line.removesuffix("\r").split("\t")))


def mapping_json(origin: str, data: Any, redact: Redact) -> str:
    """Return a mapping and its origin as one JSON document with a newline at its end."""
    return _document("mapping show", 0, {"mapping_origin": origin, "mapping": data}, redact)


_ABOUT: dict[Preset, str] = {
    "ocean": "the kinds that Ocean maps by default",
    "full": "everything that the default mapping reads",
    "people": "accounts, and who has which role where",
}
_BEGINNING = """\
# yaml-language-server: $schema=mapping.schema.json
# (gitlab-port-export schema > mapping.schema.json gives editors what they need to complete and check this file.)
#
# A mapping to begin with: {about}.
#   gitlab-port-export preview KIND --mapping {file}    shows rows, and what each field makes of them
#   gitlab-port-export mapping diff {file}              shows what it changes
#   gitlab-port-export plan --mapping {file}            shows what a sync would write and delete
# Kinds, selectors and what may stand here: docs/mapping.md
"""
_ALONE = """\
#
# Add these resources to those of your own mapping. Used alone, nothing feeds the other blueprints any more.
# Their blueprints are in people-blueprints.json of the documentation (docs/more-kinds.md).
"""


def beginning(preset: Preset, out: Path | None) -> str:
    """Return the comment that a mapping to begin with has at its top."""
    text = _BEGINNING.format(about=_ABOUT[preset], file=clean(str(out or "port-app-config.yml")))
    return f"{text}{_ALONE if preset == 'people' else ''}#\n"


# --- two mappings


def render(found: Comparison, code: int, redact: Redact, console: Console) -> None:
    """Print what changes, one line a field; the last line is the exit code and its meaning."""
    for line in _lines(found, redact):
        console.print(line, soft_wrap=True)
    console.print(Text(f"exit {code}: {_meaning(found)}", "bold green" if not found.changes else "bold yellow"))


def _meaning(found: Comparison) -> str:
    if not found.changes:
        return "no difference"
    gone = sum(loss.owned for loss in found.losses)
    return f"there are differences; up to {_owned(gone)} could go" if gone else "there are differences"


def _lines(found: Comparison, redact: Redact) -> Iterator[Text]:
    def line(text: str, mark: str = "", indent: int = 0) -> Text:
        shown = f"{' ' * indent}{f'{mark} ' if mark else ''}{clean(redact(text))}"
        return Text(shown, _STYLES.get(mark, ""))

    yield line(f"from {found.origin} to {found.file}")
    changes = found.changes
    for option in changes.options:
        yield line(_change(option), "~")
    for resource in changes.resources:
        yield line(_resource(resource), "~" if resource.fields else "+" if resource.old is None else "-")
        for field in resource.fields:
            yield line(_change(field), "+" if field.old is None else "-" if field.new is None else "~", 4)
    if changes.reordered:
        yield line("the order of resources differs; where several set a field of an entity, the last wins", "~")
    for loss in found.losses:
        yield line(f"{loss.blueprint}: {_loss(loss)}", "-")
    if found.unknown:
        yield line(f"how many entities could go is not known: {found.unknown}", "~")
    if found.losses or found.unknown:
        yield line(f"→ gitlab-port-export plan --mapping {found.file} says exactly what would go")
    for problem in found.problems:
        where = f"{found.file}:{problem.line}: " if problem.line else ""
        yield line(f"{'warning' if problem.warning else 'problem'}: {where}{problem.why}", "~")
        if problem.hint:
            yield line(f"→ {problem.hint}", indent=4)


def _resource(change: ResourceChange) -> str:
    feeds = ", ".join(name or "a blueprint that the row decides" for name in change.blueprints)
    what = f"({change.kind} → {feeds})"
    if change.old is None:
        return f"resource {change.new} of the file {what}"
    moved = f", resource {change.new} of the file" if change.new not in (None, change.old) else ""
    return f"resource {change.old} {what}{moved}"


def _change(change: FieldChange) -> str:
    if change.old is None:
        return f"{change.name}: {_short(change.new)}"
    if change.new is None:
        return f"{change.name}: {_short(change.old)}"
    old, new = _short(change.old), _short(change.new)
    return f"{change.name}: {old} → {new}"


def _short(value: Any) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return clean(text, MAX_VALUE)


def _owned(number: int) -> str:
    return f"{number} owned {'entity' if number == 1 else 'entities'}"


def _loss(loss: Loss) -> str:
    if loss.unfed:
        return f"{_owned(loss.owned)} could go: no resource feeds it any more"
    return f"up to {_owned(loss.owned)} could go: other rows or identifiers may feed it"


def comparison_json(found: Comparison, code: int, redact: Redact) -> str:
    """Return what changes as one JSON document with a newline at its end; keys are only ever added."""
    changes = found.changes
    content = {
        "mapping_origin": found.origin,
        "file": found.file,
        "different": bool(changes),
        "options": [asdict(option) for option in changes.options],
        "resources": [asdict(resource) for resource in changes.resources],
        "reordered": changes.reordered,
        "could_go": [asdict(loss) for loss in found.losses],
        "could_go_unknown": found.unknown or None,
        "problems": [asdict(problem) for problem in found.problems],
    }
    return _document("mapping diff", code, content, redact)


def _document(command: str, code: int, content: dict[str, Any], redact: Redact) -> str:
    document = {"schema_version": SCHEMA_VERSION, "command": command, "exit": {"code": code}, **content}
    return dumps(redacted(document, redact))
