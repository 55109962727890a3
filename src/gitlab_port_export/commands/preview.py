"""The command `preview`: a few rows of one kind, and what the mapping makes of each field of them."""

import re
import secrets
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.jsontext import TOO_DEEP, decode, encode, is_deep
from gitlab_port_export.base.text import Redactor, clean, did_you_mean, shown
from gitlab_port_export.commands import preview_output
from gitlab_port_export.commands.preview_values import FieldSample, MappedSample, Preview, PreviewRequest, RowSample
from gitlab_port_export.commands.session import Session
from gitlab_port_export.gitlab.client import GitLab
from gitlab_port_export.gitlab.contact import first_contact
from gitlab_port_export.gitlab.inventory import Patterns, glimpse
from gitlab_port_export.gitlab.kinds import SELECTORS
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.gitlab.plan import SyncPlan, make_plan, needed_actives
from gitlab_port_export.gitlab.read import read
from gitlab_port_export.jq.pool import Evaluator, JqError, Killed, TooLarge
from gitlab_port_export.jq.program import LEFT, LEGACY, build, leaves, without_legacy
from gitlab_port_export.mapping.load import mapping_from_object
from gitlab_port_export.mapping.model import Expression, Query, Resource
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.model import Dialect, Entity, Page, Problem, Row, Scope, Skipped, Unnamed
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.choose import choose_mapping, late, read_mapping
from gitlab_port_export.sync.connect import connect_gitlab, connect_port, identifier_of, jq_environ
from gitlab_port_export.sync.field_values import error_in
from gitlab_port_export.sync.transform import Transformer, compile_errors

# Reads that may give no row before the preview stops looking for one.
MAX_READS = 30
MAX_ROW_BYTES = 16 * 1024 * 1024
SAVED = Scope(0, "a saved row")
NOT_MAPPED = "not mapped: the mapping has no resource of this kind"


def run(session: Session, wanted: PreviewRequest, **options: Any) -> int:
    """Show a few rows and what the mapping makes of them. Raises ExportError.

    A saved row and a mapping file need no request, so they can be used with incomplete settings.
    """
    file = options.get("mapping_file")
    settings: Settings | None = None
    try:
        settings = load_settings(session.environ, **options)
    except UsageError:
        if wanted.row is None or file is None:
            raise
    else:
        session.begin(settings)
    with session.running(settings.deadline if settings else None) as clock:
        found = preview(wanted, settings, file, clock, session.redactor)
    session.redactor.learn(*preview_output.secrets_of(found))
    if session.as_json:
        session.out.stream.write(preview_output.to_json(found, session.redactor.redact))
    else:
        preview_output.render(found, session.redactor.redact, session.out.console)
    return found.exit_code


def preview(
    wanted: PreviewRequest, settings: Settings | None, mapping_file: Path | None, clock: Clock, redactor: Redactor
) -> Preview:
    """Return the preview. Port is asked only for its mapping, GitLab only for rows: a file of each stands for both.

    Without `settings` both files must be given. `redactor` learns secrets that are read again meanwhile. Raises
    UsageError, GitLabUnavailable and PortUnavailable.
    """
    try:
        return _preview(wanted, settings, mapping_file, clock, redactor)
    except Stopped as stopped:
        if settings is None:  # no request was sent, so none was late
            raise
        raise late(stopped, settings) from None


def _preview(
    wanted: PreviewRequest, settings: Settings | None, mapping_file: Path | None, clock: Clock, redactor: Redactor
) -> Preview:
    mapping, dialect = _mapping(settings, mapping_file, clock, redactor)
    is_mapped = any(resource.kind == wanted.kind for resource in mapping.resources)
    resources = _resources(mapping, wanted) if is_mapped else (_unmapped(mapping, wanted),)
    problems: list[Problem] = []
    samples: list[RowSample] = []
    environ = jq_environ(settings) if settings else {}
    plain_expressions = settings is None or settings.plain_expressions
    with closing(Evaluator(environ, plain_expressions=plain_expressions)) as evaluator:
        gitlab = connect_gitlab(settings, clock, dialect, identifier_of(settings), redactor) if settings else None
        with closing(gitlab.http) if gitlab else nullcontext():
            for resource in resources:
                found = _saved(Path(wanted.row)) if wanted.row else _rows(gitlab, settings, mapping, dialect, resource)
                with closing(found):
                    rows = list(_first(found, wanted.limit, problems))
                if not is_mapped:
                    samples += (RowSample(None, scope, row, (), (), (NOT_MAPPED,)) for scope, row in rows)
                    continue
                samples += (_sample(mapping, resource, scope, row, evaluator, problems) for scope, row in rows)
        broken = is_mapped and any(
            compile_errors(_expressions(resource), evaluator) != [None] * len(_expressions(resource))
            for resource in resources
        )
    code = 2 if broken else int(any(not problem.warning for problem in problems))
    return Preview(wanted.kind, mapping.origin, tuple(samples), tuple(problems), code, wanted.bare)


def _mapping(
    settings: Settings | None, file: Path | None, clock: Clock, redactor: Redactor
) -> tuple[PortMapping, Dialect]:
    """Return the mapping that a sync would use and the integration's type, by Port where no file is given."""
    if settings is None:
        if file is None:
            raise UsageError("without settings a mapping file is needed", hint="give one with --mapping")
        return read_mapping(file)[0], "gitlab-v2"
    if settings.mapping_file is not None:
        return read_mapping(settings.mapping_file)[0], settings.integration_type or settings.default_dialect
    identifier = identifier_of(settings)
    port = connect_port(settings, clock, identifier, redactor)
    with closing(port.http):
        port.sign_in(first_contact=True)
        integration = integrations.fetch(port, identifier)
        dialect = settings.integration_type or integration.dialect or settings.default_dialect
        return choose_mapping(settings, integration, dialect, {}).mapping, dialect


def _resources(mapping: PortMapping, wanted: PreviewRequest) -> tuple[Resource, ...]:
    """Return the resources to preview. Raises UsageError that names what there is instead."""
    of_kind = tuple(resource for resource in mapping.resources if resource.kind == wanted.kind and resource.known)
    if not of_kind:
        raise _unknown_kind(mapping, wanted.kind)
    found = tuple(resource for resource in of_kind if wanted.index in (None, resource.index))
    if not found:
        numbers = ", ".join(str(resource.index) for resource in of_kind)
        raise UsageError(
            f"{mapping.origin}: resource {wanted.index} is not of the kind {wanted.kind!r}",
            hint=f"resources are counted from 0; of this kind are {numbers}",
        )
    return found


def _unmapped(mapping: PortMapping, wanted: PreviewRequest) -> Resource:
    """Return a resource that reads a kind which the mapping does not have, with the defaults of its selector.

    Raises UsageError where there is no such kind, or its selector has no defaults.
    """
    if wanted.kind not in SELECTORS:
        raise _unknown_kind(mapping, wanted.kind)
    if wanted.index is not None:
        raise UsageError(
            f"{mapping.origin} has no resource of the kind {wanted.kind!r}", hint="leave out --index to see rows of it"
        )
    entity = {"identifier": "null", "blueprint": "null"}
    resource = {"kind": wanted.kind, "selector": {"query": "true"}, "port": {"entity": {"mappings": entity}}}
    try:
        found, _ = mapping_from_object({"resources": [resource]}, "the kind without a mapping", SELECTORS)
    except UsageError as error:
        hint = f"write a mapping of {wanted.kind} with such a selector, and name it with --mapping"
        raise UsageError(*error.faults, hint=hint) from None
    return found.resources[0]


def _unknown_kind(mapping: PortMapping, kind: str) -> UsageError:
    kinds = dict.fromkeys((*(resource.kind for resource in mapping.resources if resource.known), *SELECTORS))
    hint = did_you_mean(kind, kinds) or f"the kinds are {', '.join(kinds)}"
    return UsageError(f"there is no kind {shown(clean(kind))}", hint=hint)


# --- rows

# Rows, each with the path of where it was read, and problems on the way.
Found = Generator[tuple[str, Row] | Problem, None, None]


def _saved(file: Path) -> Found:
    """Yield the row, or each row of a list, that a JSON file holds. Raises UsageError."""
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_ROW_BYTES)
    except (OSError, ValueError) as error:  # ValueError: no name that a file may have
        why = getattr(error, "strerror", None) or error
        hint = "check the path that --row names"
        raise UsageError(f"{clean(str(file), 200)}: cannot be read: {why}", hint=hint) from None
    try:
        data = decode(text)
    except ValueError:
        raise UsageError(f"{file}: is not JSON", hint="save a row as GitLab gives it, or a list of them") from None
    rows = data if isinstance(data, list) else [data]
    if not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{file}: holds something else than a row", hint="a row is a JSON object")
    # What stands there without being of us is no value of an older property.
    yield from ((SAVED.path, row if isinstance(row.get(LEGACY), dict) else without_legacy(row)) for row in rows)


def _rows(
    gitlab: GitLab | None, settings: Settings | None, mapping: PortMapping, dialect: Dialect, resource: Resource
) -> Found:
    """Yield rows as a sync would read them for this resource, from the first few places alone."""
    if gitlab is None or settings is None:
        raise UsageError("without settings no row can be read", hint="give a saved one with --row")
    alone = mapping.model_copy(update={"resources": (resource,)})
    patterns = {token.alias: Patterns(token.patterns) for token in settings.tokens}
    now = first_contact(gitlab, tuple(patterns)).now
    inventory = glimpse(gitlab, patterns, dialect, mapping, needed_actives(alone))
    plan = make_plan(Context(inventory, dialect, now, (resource,)))
    try:
        with closing(read(SyncPlan(plan.reads[:MAX_READS], inventory), gitlab, workers=1)) as events:
            for event in events:
                if isinstance(event, Problem):
                    yield event
                elif isinstance(event, Page):
                    yield from ((event.scope.path, row) for row in event.rows)
    except Stopped:
        yield Problem("read", "the deadline passed before there were enough rows", "allow more time (--deadline)")
    left = len(plan.reads) - MAX_READS
    if left > 0:
        why = f"no further row was looked for: {MAX_READS} reads of {len(plan.reads)} were made"
        yield Problem("read", why, kind=resource.kind, warning=True)


def _first(found: Found, limit: int, problems: list[Problem]) -> Iterator[tuple[str, Row]]:
    """Yield the first rows and then stop reading; problems of the reads are noted."""
    left = limit
    for one in found:
        if isinstance(one, Problem):
            problems.append(one)
            continue
        if is_deep(one[1]):
            problems.append(Problem("transform", f"a row {TOO_DEEP}", "what nests so deeply cannot be mapped"))
            continue
        yield one
        left -= 1
        if left <= 0:
            return


# --- what becomes of a row


def _sample(
    mapping: PortMapping, resource: Resource, scope: str, row: Row, evaluator: Evaluator, problems: list[Problem]
) -> RowSample:
    key = f"__jq_error_{secrets.token_hex(4)}"
    page = Page(resource.kind, (resource.index,), SAVED, [row])
    entities: list[Entity] = []
    notes: list[str] = []
    for event in Transformer(mapping, evaluator, key).run([page]):
        match event:
            case Entity():
                entities.append(event)
            case Skipped():
                notes.append(_SKIPPED[event.reason])
            case Unnamed():
                notes.append(f"left out: {event.field} gives nothing")
            case Problem():
                problems.append(event)
                notes.append(event.why)
    mapped = tuple(_explain(mapping, resource, row, evaluator, key))
    ordered = _used_first(row, _expressions(resource))
    return RowSample(resource.index, scope, ordered, mapped, tuple(entities), tuple(dict.fromkeys(notes)))


def _used_first(row: Row, expressions: Iterable[str]) -> Row:
    """Return the row with the fields first that expressions name, in the order of the mapping."""
    named = (name for text in expressions for name in _NAME.findall(text))
    used = {name: row[name] for name in named if name in row}
    return used | row


# What may be the name of a field in a jq expression, such as `.name`, `."name"` or `["name"]`.
_NAME = re.compile(r"""(?:\.\s*"?|\[\s*")([A-Za-z_]\w*)""")


_SKIPPED = {
    "selector": "left out: the selector gives false",
    "identifier": "left out: Port finds no entity for the identifier",
    "duplicate": "left out: another row has the same identifier",
}


def _explain(
    mapping: PortMapping, resource: Resource, row: Row, evaluator: Evaluator, key: str
) -> Iterator[MappedSample]:
    """Yield each field of each entity mapping, evaluated alone so that none hides another, for each parsed item."""
    texts = _expressions(resource)
    broken = dict(zip(texts, compile_errors(texts, evaluator), strict=True))
    alone = _Alone(resource, row, evaluator, key, broken)
    everywhere = resource.model_copy(update={"selector": resource.selector.model_copy(update={"query": "true"})})
    verdicts = alone.verdicts()
    for item, verdict in enumerate(verdicts):
        selected = FieldSample(
            "selector.query", resource.selector.query, *verdict, mapping.field_line(resource.index, 0, "selector.query")
        )
        for number, entity in enumerate(resource.mappings):
            fields = tuple(
                FieldSample(
                    name,
                    value,
                    *alone.value(everywhere, name, value, item, number),
                    mapping.field_line(resource.index, number, name),
                )
                for name, value in entity.fields()
            )
            yield MappedSample(number, selected, fields)


Outcome = tuple[Any, str]


@dataclass(frozen=True)
class _Alone:
    """Evaluates one field at a time of one row; `broken` names why an expression does not even compile."""

    resource: Resource
    row: Row
    evaluator: Evaluator
    key: str
    broken: Mapping[str, str | None]

    def verdicts(self) -> list[Outcome]:
        """Return the selector's verdict on the row, or on each item that is parsed from it."""
        items = self.resource.port.items_to_parse
        if why := (items and self.broken.get(items)) or self.broken.get(self.resource.selector.query):
            return [(None, why)]
        found = self._run(build(self.resource, self.key, only="selector.query").text)
        return [(None, found)] if isinstance(found, str) else [self._outcome(entry[0]) for entry in found]

    def value(self, resource: Resource, name: str, value: Expression | Query, item: int, number: int) -> Outcome:
        """Return what a field of an entity mapping gives for an item."""
        if why := next(filter(None, map(self.broken.get, leaves(value))), None):
            return None, why
        program = build(resource, self.key, only=name)
        (column,) = program.evaluate([self.row])[number]
        if column is not None:
            return None if column[0] is LEFT else column[0], ""
        found = self._run(program.text)
        if isinstance(found, str):
            return None, found
        computed = found[item][1] if item < len(found) else []
        return self._outcome(computed[number] if number < len(computed) else [])

    def _run(self, program: str) -> list[Any] | str:
        """Return the items of the row with their values, or why there are none."""
        try:
            text = self.evaluator.submit(program, encode([self.row])).result()
            found: list[list[Any]] = decode(text) if text else []
        except JqError as error:
            return str(error) or "the expression ends the program (halt)"
        except Killed:
            return "runs too long or wants too much memory"
        except TooLarge:
            return "gives too much for one row"
        except ValueError as error:
            return f"gives what cannot be read: {error}"
        return found[0] if found else "the expression ends the program (halt)"

    def _outcome(self, output: Any) -> Outcome:
        if is_deep(output):
            return None, f"gives what {TOO_DEEP}"
        if isinstance(output, dict):
            return None, error_in(output, self.key) or ""
        if not output:
            return None, "gives nothing"
        error = error_in(output[0], self.key)
        return (None, error) if error else (output[0], "")


def _expressions(resource: Resource) -> list[Expression]:
    items = resource.port.items_to_parse
    texts = [resource.selector.query, *([items] if items is not None else [])]
    for entity in resource.mappings:
        for _, value in entity.fields():
            texts += leaves(value)
    return list(dict.fromkeys(texts))
