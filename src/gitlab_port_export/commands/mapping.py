"""The command `mapping`: shows the mapping in use, writes one to begin with, or compares a file with the one in use."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import PortUnavailable, UsageError
from gitlab_port_export.base.text import Redactor, clean
from gitlab_port_export.commands import mapping_output
from gitlab_port_export.commands.mapping_output import Comparison, Loss
from gitlab_port_export.commands.session import Session
from gitlab_port_export.gitlab.kinds import SELECTORS
from gitlab_port_export.mapping.compare import MappingChanges, compare
from gitlab_port_export.mapping.load import load_mapping, mapping_from_object
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.mapping.yaml import read_yaml
from gitlab_port_export.model import Dialect
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import Port, PortRefused
from gitlab_port_export.port.defaults import Preset, default_mapping_text, preset_text
from gitlab_port_export.port.integration import Integration
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.choose import default_file, late, read_mapping, read_text, refused_integration
from gitlab_port_export.sync.connect import connect_port, identifier_of

# So long a line of YAML is not broken: an expression stays in one piece.
NO_WIDTH = 1_000_000


@dataclass(frozen=True)
class Source:
    """The mapping in use as it stands there: its text, or Port's copy of it, which is JSON; and where that is."""

    origin: str
    text: str | None = None
    config: Mapping[str, Any] | None = None

    def checked(self) -> PortMapping:
        """Return the mapping. Raises UsageError where it is faulty."""
        if self.text is None:
            return mapping_from_object(self.config, self.origin, SELECTORS)[0]
        return load_mapping(self.text, self.origin, SELECTORS)[0]


def run(session: Session, action: str, **given: Any) -> int:
    """Carry out `mapping show`, `mapping init` or `mapping diff` and return the exit code. Raises ExportError."""
    actions: dict[str, Callable[..., int]] = {"show": show, "init": init, "diff": diff}
    return actions[action](session, **given)


def show(session: Session, **options: Any) -> int:
    """Print the mapping in use, with its origin as a comment; one that is faulty is shown too."""
    settings = load_settings(session.environ, **options)
    session.begin(settings)
    with session.running(settings.deadline) as clock:
        source = _source(settings, clock, session.redactor)
    redact = session.redactor.redact
    if session.as_json:
        data = source.config if source.text is None else read_yaml(source.text, source.origin).data
        session.out.stream.write(mapping_output.mapping_json(source.origin, data, redact))
    else:
        text = _yaml(source.config) if source.text is None else source.text
        session.out.stream.write(mapping_output.mapping_text(source.origin, text, redact))
    return 0


def init(session: Session, preset: Preset, out: Path | None) -> int:
    """Print a commented mapping to begin with, or write it to a new file; no server is asked."""
    text = mapping_output.beginning(preset, out) + preset_text(preset, _dialect(session))
    if out is None:
        session.out.stream.write(text)
        return 0
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        hint = "name another file with --out, or compare it: gitlab-port-export mapping diff FILE"
        raise UsageError(f"--out: {clean(str(out), 200)} exists and is not replaced", hint=hint) from None
    except (OSError, ValueError) as error:  # ValueError: no name that a file may have
        why = getattr(error, "strerror", None) or error
        hint = "name a file in a folder that may be written"
        raise UsageError(f"--out: {clean(str(out), 200)} cannot be written: {why}", hint=hint) from None
    session.note(f"{out} was written. Next: gitlab-port-export check --mapping {out}")
    return 0


def diff(session: Session, file: Path, *, detailed: bool = False, **options: Any) -> int:
    """Print what a mapping file would change, and how many owned entities could go.

    Returns 0, or 10 with `detailed` where there is a difference.
    """
    settings = load_settings(session.environ, **options)
    session.begin(settings)
    other, problems = read_mapping(file)
    with session.running(settings.deadline) as clock, _port(settings, clock, session.redactor) as port:
        source = _source_in(settings, port)
        changes = compare(source.checked(), other)
        losses, unknown = _losses(port, settings, changes)
    found = Comparison(source.origin, other.origin, changes, losses, unknown, problems)
    code = 10 if detailed and changes else 0
    if session.as_json:
        session.out.stream.write(mapping_output.comparison_json(found, code, session.redactor.redact))
    else:
        mapping_output.render(found, code, session.redactor.redact, session.out.console)
    return code


# --- the mapping in use


def _source(settings: Settings, clock: Clock, redactor: Redactor) -> Source:
    """Return the mapping in use. Port is asked only where no file is given."""
    if settings.mapping_file is not None:
        return Source(str(settings.mapping_file), read_text(settings.mapping_file))
    with _port(settings, clock, redactor) as port:
        return _source_in(settings, port)


@contextmanager
def _port(settings: Settings, clock: Clock, redactor: Redactor) -> Iterator[Port]:
    """Yield a client that has signed in. Raises PortUnavailable, also where the deadline passes meanwhile."""
    port = connect_port(settings, clock, identifier_of(settings), redactor)
    with closing(port.http):
        try:
            port.sign_in(first_contact=True)
            yield port
        except Stopped as stopped:
            raise late(stopped, settings) from None


def _source_in(settings: Settings, port: Port) -> Source:
    """Return what `choose_mapping` would take, without a check of it."""
    if settings.mapping_file is not None:
        return Source(str(settings.mapping_file), read_text(settings.mapping_file))
    integration = integrations.fetch(port, identifier_of(settings))
    if not integration.accessible:
        raise refused_integration(integration)
    if integration.config:
        return Source(f"integration {integration.identifier} in Port", config=integration.config)
    return _default(settings, integration)


def _default(settings: Settings, integration: Integration) -> Source:
    begins = f"which the first sync gives the integration {integration.identifier}"
    if found := default_file(settings.resources_path):
        return Source(f"{found}, {begins}", read_text(found))
    dialect = settings.integration_type or integration.dialect or settings.default_dialect
    return Source(f"the default mapping, {begins}", default_mapping_text(dialect))


def _dialect(session: Session) -> Dialect:
    """Return the dialect of the settings; a mapping to begin with is written also where these are incomplete."""
    try:
        settings = load_settings(session.environ)
    except UsageError:
        return "gitlab-v2"
    return settings.integration_type or settings.default_dialect


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and indents lists, as mappings are usually written."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  # PyYAML's signature
        super().increase_indent(flow, False)


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text_node)


def _yaml(config: Mapping[str, Any] | None) -> str:
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=NO_WIDTH)


# --- what could go


def _losses(port: Port, settings: Settings, changes: MappingChanges) -> tuple[tuple[Loss, ...], str]:
    """Return how many owned entities of which blueprints could go, or why that is not known."""
    if not (changes.lost or changes.narrowed):
        return (), ""
    with ExitStack() as stack:
        executor = ThreadPoolExecutor(2, thread_name_prefix="port")
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        catalog = Catalog(port, {}, lambda _: (), executor, whole=False)
        try:
            owned = Counter(blueprint for blueprint, _ in catalog.owned(identifier_of(settings)))
        except (PortRefused, Unreachable, PortUnavailable) as failure:
            return (), str(failure)
    lost = [Loss(name, owned[name], unfed=True) for name in owned if changes.lost & {name, None}]
    named = {loss.blueprint for loss in lost}
    narrowed = [Loss(name, owned[name]) for name in owned if changes.narrowed & {name, None} and name not in named]
    return tuple(sorted((*lost, *narrowed), key=lambda loss: (not loss.unfed, loss.blueprint))), ""
