"""From the inputs of an action's form, or of a request, to the parts of a wish; nothing in them is trusted."""

import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.base.jsontext import decode
from gitlab_port_export.base.text import clean, did_you_mean, shown

# Names of inputs and how long each may be. What stops a guard (--allow) is no input: who fills in a form must not.
LONGEST = {"person": 320, "group": 1024, "project": 1024, "role": 100, "expires": 20, "reason": 1000, "below": 10}
NAMES = tuple(LONGEST)
# Inputs that may name an entity of Port, which comes as its identifier or as an object with one.
OF_ENTITIES = frozenset({"person", "group", "project"})
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
RUN_NAMES = ("run_id", "runId", "run")
# What GitLab's pipeline trigger adds to the payload that it got:
# https://docs.gitlab.com/ci/triggers/#access-webhook-payload
OF_TRIGGER = ("id", "ref", "variables")
MOST_BYTES = 64 * 1024
EXPECTED = 'a JSON object with inputs ({"person": …}), with the id of an action\'s run ({"run_id": …}), or both'


@dataclass(frozen=True)
class Request:
    """Where a wish comes from: a run of an action by its id, inputs for where that cannot be read, or neither."""

    run_id: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.run_id or self.inputs)


def read_request(run_id: str | None, request: Path | None) -> Request:
    """Return the run or the inputs that a call names. Raises UsageError."""
    if run_id and request:
        raise UsageError("--run and --request: give one of them")
    if request is not None:
        return _parsed(_bytes_of(request), str(request))
    if run_id and not RUN_ID.fullmatch(run_id):
        raise UsageError(f"--run: {shown(run_id)} is no id of a run", hint="it is `{{ .run.id }}` in Port's action")
    return Request(run_id or "")


def _bytes_of(file: Path) -> bytes:
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(MOST_BYTES + 1)
        with file.open("rb") as stream:
            return stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: no name that a file may have
        why = getattr(error, "strerror", None) or error
        raise UsageError(
            f"--request: {clean(str(file), 200)}: cannot be read: {why}", hint=f"give {EXPECTED}"
        ) from None


def _parsed(text: bytes, origin: str) -> Request:
    where = "--request" if origin == "-" else f"--request {clean(origin, 200)}"
    if len(text) > MOST_BYTES:
        raise UsageError(f"{where}: is larger than {MOST_BYTES // 1024} KiB", hint=f"give {EXPECTED}")
    try:
        found = decode(text.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        raise UsageError(f"{where}: is no JSON", hint=f"give {EXPECTED}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{where}: holds {shown(found)}", hint=f"give {EXPECTED}")
    for name in OF_TRIGGER:
        found.pop(name, None)
    ids = [found.pop(name) for name in RUN_NAMES if name in found]
    if len(ids) > 1 or any(not isinstance(one, str) or not RUN_ID.fullmatch(one) for one in ids):
        raise UsageError(f"{where}: its run_id is no id of one run", hint="it is `{{ .run.id }}` in Port's action")
    return Request(ids[0] if ids else "", found)


def checked(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the inputs as texts, without those that are empty. Raises UsageError with every fault."""
    faults = tuple(_faults(inputs))
    if faults:
        raise UsageError(*faults, hint="correct the inputs of the form or of the request")
    found = {name: _text(name, value) for name, value in inputs.items()}
    return {name: text.strip() for name, text in found.items() if text is not None and text.strip()}


def _faults(inputs: Mapping[str, Any]) -> Iterator[Fault]:
    for name, value in inputs.items():
        where = f"input {clean(name, 60)}"
        if name not in LONGEST:
            yield Fault("is not known", where, did_you_mean(name, NAMES) or f"known are {', '.join(NAMES)}")
        elif (text := _text(name, value)) is None:
            if value is not None:
                yield Fault(f"is {shown(value)}; expected a text", where)
        elif len(text) > LONGEST[name]:
            yield Fault(f"is longer than {LONGEST[name]} characters", where)
        elif any(unicodedata.category(char)[0] in "CZ" and char != " " for char in text):
            yield Fault("holds a line break or characters that cannot be seen", where)
        elif name == "below" and text not in ("", "keep", "remove"):
            yield Fault(f"is {shown(text)}; expected keep or remove", where)


def _text(name: str, value: Any) -> str | None:
    """Return the text that an input gives, None where it gives none."""
    if name in OF_ENTITIES and isinstance(value, dict):
        value = value.get("identifier")
    if name == "below" and isinstance(value, bool):
        return "remove" if value else "keep"
    return value if isinstance(value, str) else None
