"""Reads the text that holds payloads of GitLab's hooks: a file or standard input, in each of its forms."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.jsontext import decode
from gitlab_port_export.base.text import clean

# GitLab sends no payload above 25 MB; several may be given at once.
MOST_BYTES = 256 * 1024 * 1024
EXPECTED = "one payload of a GitLab hook, a list of them, or one a line, as JSON"
# https://gitlab.com/gitlab-org/gitlab/-/merge_requests/146242
BROKEN = "an older GitLab breaks a TRIGGER_PAYLOAD with a $ in it, which examples/live/payload-with-names.json avoids"


def bytes_of(file: Path) -> tuple[bytes, str]:
    """Return the content of a file, `-` is standard input, and its name for messages. Raises UsageError."""
    if str(file) == "-":
        return sys.stdin.buffer.read(MOST_BYTES), "standard input"
    try:
        with file.open("rb") as stream:
            return stream.read(MOST_BYTES), str(file)
    except (OSError, ValueError) as error:  # ValueError: no name that a file may have
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{clean(str(file), 200)}: cannot be read: {why}", hint=f"give {EXPECTED}") from None


def payloads_of(text: bytes | str, origin: str) -> Iterator[Any]:
    """Yield the payloads of a text: one JSON, a list, or JSON lines. Raises UsageError."""
    if isinstance(text, bytes):
        # Some shells begin a file with a byte order mark.
        text = text.decode("utf-8-sig", "replace")
    if not text.strip():
        raise UsageError(f"{origin}: is empty", hint=f"give {EXPECTED}")
    try:
        whole = decode(text)
    except ValueError:
        yield from _lines(text, origin)
        return
    for one in whole if isinstance(whole, list) else [whole]:
        yield _unwrapped(one)


def _lines(text: str, origin: str) -> Iterator[Any]:
    # JSON holds no bare line break, but U+2028 and others, at which `splitlines` would cut.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _unwrapped(decode(line))
        except ValueError:
            raise UsageError(f"{origin}:{number}: is not JSON", hint=f"give {EXPECTED}; {BROKEN}") from None


def _unwrapped(payload: Any) -> Any:
    """Return the payload inside of what GitHub's `repository_dispatch` and our template for it put around it."""
    if not isinstance(payload, dict) or "object_kind" in payload or "event_name" in payload:
        return payload
    for name in ("client_payload", "gitlab"):
        if isinstance(payload.get(name), dict):
            return _unwrapped(payload[name])
    return payload
