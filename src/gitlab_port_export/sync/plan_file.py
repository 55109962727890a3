"""Plan files: the exact changes of a plan, one a line, with Port's state of each entity, sealed with a checksum."""

import hashlib
import json
from collections import abc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any, TypeVar

from pydantic import TypeAdapter

from gitlab_port_export import __version__
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.files import replacing
from gitlab_port_export.base.jsontext import decode, encode
from gitlab_port_export.base.text import clean
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Create, Delete, Entity, Held, Problem, Update, Write, target
from gitlab_port_export.sync.choose import PlannedMapping

VERSION = 4
# How many entities Port is asked for at once.
BATCH = 100
MAX_LINE = 16 * 1024 * 1024
_AGAIN = "make a new plan"

_Told = TypeVar("_Told", Problem, Held)
# Digests of an entity's fields as Port holds them, by name; None where Port does not hold it.
State = abc.Mapping[str, str] | None
# Asks Port for the states of entities of one blueprint; those that it does not hold are absent.
States = Callable[[str, Sequence[str]], abc.Mapping[str, abc.Mapping[str, str]]]


@dataclass(frozen=True)
class Basis:
    """What a plan was made for: a plan is applied only where all of this is the same."""

    integration: str
    type: str
    port: str
    organization: str
    mapping: str


def digest_of(mapping: Mapping) -> str:
    """Return the digest of what a mapping says, wherever it came from."""
    # Only a written wish cascades.
    found = {**_dumped(mapping), "deleteDependentEntities": mapping.cascades}
    return f"sha256:{hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()}"


def held_mapping(mapping: Mapping, *, given: bool, held_by: str = "plan file") -> PlannedMapping:
    """Return what a file holds of a mapping; `given` says that no other mapping is looked for when it is read."""
    return PlannedMapping(mapping.origin, given, _dumped(mapping, exclude_unset=True), held_by)


def _dumped(mapping: Mapping, *, exclude_unset: bool = False) -> dict[str, Any]:
    # Each kind has its own selector, of which pydantic would leave out what not all of them have. Search queries are
    # kept as plain JSON, of which it would warn.
    return mapping.model_dump(
        mode="json", by_alias=True, warnings=False, serialize_as_any=True, exclude_unset=exclude_unset
    )


class Recorder:
    """Takes the changes of a plan as they come, each with what Port holds of its entity, into a stream of bytes.

    The file is JSON, and each line can be read alone. `whole` says whether the plan came to its end.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._hash = stream, hashlib.sha256()
        self._states: States = _no_states
        self._waiting: dict[str, list[Write]] = {}
        self._first = True
        self._lost = False
        self.whole = False

    def begin(self, basis: Basis, states: States, mapping: PlannedMapping | None = None) -> None:
        """Write what the plan is for; `states` is asked for the state of every entity that a change is about."""
        self._states = states
        made = datetime.now(UTC).isoformat(timespec="seconds")
        head: dict[str, Any] = {"version": VERSION, "program": __version__, "made": made, **asdict(basis)}
        head["mapping_held"] = asdict(mapping or PlannedMapping())
        self._write(encode(head).removesuffix(b"}") + b',"changes":[\n')

    def add(self, change: Write) -> None:
        """Take one change; raises what asking for states raises, and OSError."""
        name = target(change)[0]
        waiting = self._waiting.setdefault(name, [])
        waiting.append(change)
        if len(waiting) >= BATCH:
            self._flush(name)

    def finish(self) -> None:
        """Write the changes that are left; raises the same."""
        for name in list(self._waiting):
            self._flush(name)
        self.whole = not self._lost

    def save(self, path: Path, problems: Sequence[Problem], held: Sequence[Held]) -> None:
        """Add what the plan could not decide, seal it, and put it into a file that only its owner may read.

        Raises OSError.
        """
        rest = {
            "problems": [asdict(problem) for problem in problems if not problem.warning],
            "held": [asdict(one) for one in held],
        }
        self._write(b"]," + encode(rest)[1:-1] + b",\n")
        self._write(b'"checksum":' + encode(f"sha256:{self._hash.hexdigest()}") + b"}\n")
        self._stream.seek(0)
        with replacing(path, 0o600) as stream:
            copyfileobj(self._stream, stream)

    def _flush(self, blueprint: str) -> None:
        changes = self._waiting.pop(blueprint)
        lost, self._lost = self._lost, True  # until their lines are written: a plan without them is no plan
        found = self._states(blueprint, [target(change)[1] for change in changes])
        for change in changes:
            line = encode(_record(change, found.get(target(change)[1])))
            self._write((b"" if self._first else b",") + line + b"\n")
            self._first = False
        self._lost = lost

    def _write(self, line: bytes) -> None:
        self._hash.update(line)
        self._stream.write(line)


def _no_states(_blueprint: str, _identifiers: Sequence[str]) -> abc.Mapping[str, abc.Mapping[str, str]]:
    return {}


def _record(change: Write, state: State) -> dict[str, Any]:
    blueprint, identifier = target(change)
    action = {Create: "create", Update: "update", Delete: "delete"}[type(change)]
    found = {"action": action, "blueprint": blueprint, "identifier": identifier, "was": state}
    if isinstance(change, Delete):
        return found
    # Fields that the update does not set may change meanwhile.
    found["was"] = state and {name: digest for name, digest in state.items() if name != "updatedAt"}
    more = {"fields": change.fields, "again": change.again} if isinstance(change, Update) else {}
    return {**found, **more, "body": change.entity.body}


def _change(record: abc.Mapping[str, Any]) -> Write:
    blueprint, identifier = record["blueprint"], record["identifier"]
    match record["action"]:
        case "create":
            return Create(Entity.of(blueprint, identifier, record["body"], -1))
        case "update":
            entity = Entity.of(blueprint, identifier, record["body"], -1)
            return Update(entity, tuple(map(_text, record["fields"])), record.get("again") is True)
        case "delete":
            return Delete(blueprint, identifier)
    raise ValueError("an unknown action")


@dataclass
class PlanFile:
    """A plan file whose form and checksum are right; its changes are read from the disk whenever they are wanted."""

    stream: IO[bytes]
    basis: Basis
    made: datetime
    start: int
    mapping: PlannedMapping
    problems: tuple[Problem, ...] = ()
    held: tuple[Held, ...] = ()

    def changes(self) -> Iterator[tuple[Write, State]]:
        """Yield each change with the state that Port was in."""
        self.stream.seek(self.start)
        for line in self.stream:
            if line.startswith(b"]"):
                return
            record = decode(line.removeprefix(b","))
            yield _change(record), record["was"]


@contextmanager
def opened(path: Path) -> Iterator[PlanFile]:
    """Return the plan of a file as a context. Raises UsageError where it cannot be read, is no plan, or was changed."""
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: no name that a file may have
        why = getattr(error, "strerror", None) or error
        hint = "check the path that --plan names"
        raise UsageError(f"{clean(str(path), 200)}: cannot be read: {why}", hint=hint) from None
    with stream:
        try:
            plan = _checked(stream)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{path}: is not a plan file, or only a part of one", hint=_AGAIN) from None
        except _Unfit as why:
            raise UsageError(f"{path}: {why}", hint=_AGAIN) from None
        yield plan


class _Unfit(Exception):
    """A plan file that must not be applied."""


def _checked(stream: IO[bytes]) -> PlanFile:
    """Read the whole file once. Raises _Unfit, and whatever reading something else than a plan may raise."""
    first = stream.readline(MAX_LINE)
    head = decode(first.rstrip() + b"]}")
    if head["version"] != VERSION:
        raise _Unfit(f"has the plan format {head['version']!r:.20}; this program reads {VERSION}")
    made = datetime.fromisoformat(_text(head["made"])).astimezone(UTC)
    basis = Basis(**{one.name: _text(head[one.name]) for one in fields(Basis)})
    mapping = TypeAdapter(PlannedMapping).validate_python(head["mapping_held"])
    seen, start = hashlib.sha256(first), stream.tell()
    while not (line := stream.readline(MAX_LINE)).startswith(b"]"):
        seen.update(line)
        _well_formed(decode(line.removeprefix(b",")))
    seen.update(line)
    rest = decode(b"{" + line.removeprefix(b"],").rstrip().removesuffix(b",") + b"}")
    last = stream.readline(MAX_LINE)
    checksum = decode(b"{" + last)["checksum"]
    if checksum != f"sha256:{seen.hexdigest()}" or stream.read(1):
        raise _Unfit("was changed after it was made: its checksum is another")
    problems = [{**one, "resources": ()} for one in rest["problems"]]
    held = [{**one, "identifiers": tuple(one["identifiers"])} for one in rest["held"]]
    return PlanFile(stream, basis, made, start, mapping, _told(Problem, problems), _told(Held, held))


def _told(sort: type[_Told], found: list[dict[str, Any]]) -> tuple[_Told, ...]:
    # Reports rely on their words: a stage or a reason is shown as it is.
    return tuple(TypeAdapter(list[sort]).validate_python(found))  # type: ignore[valid-type]  # known when run


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")  # one error for whatever is no plan
    return value


def _well_formed(record: abc.Mapping[str, Any]) -> None:
    change = _change(record)
    _text(record["blueprint"])
    _text(record["identifier"])
    if not isinstance(record["was"], dict | None) or not (
        isinstance(change, Delete) or isinstance(record["body"], dict)
    ):
        raise ValueError("not a change")
