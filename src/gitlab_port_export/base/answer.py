"""One HTTP answer, read within bounds of size and time, or the error that says why there is none."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.jsontext import decode

MAX_BODY_BYTES = 64 * 1024 * 1024
# A few bytes of JSON (`{},`) take a hundred times as many in Python. Bodies below COUNTED_FROM cannot become much.
MAX_VALUES = 1_000_000
COUNTED_FROM = 1024 * 1024
# Each of these characters begins a value in JSON, or stands in a string.
MARKS = (b",", b"{", b"[")
PAGE_LINK = re.compile(r"""rel="?(?:next|prev|first|last)\b""")
STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class Unreachable(Exception):
    """No answer could be had: the text says what happened, and never holds a secret."""


class TooLarge(Unreachable):
    """An answer was more than the bounds allow; fewer rows at once may fit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: header names in lower case, body decompressed, `url` without its query.

    `data` is the parsed body, or None where the server does not call it JSON or it does not parse. `links` says that
    the host's links to pages are known to arrive: this answer or an earlier one had such a header.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    data: Any = None
    links: bool = False

    @property
    def is_json(self) -> bool:
        """Whether the server calls the body JSON."""
        return is_json(self.headers)


def is_json(headers: Mapping[str, str]) -> bool:
    """Return whether the Content-Type (a key in lower case) is a JSON one."""
    return "json" in headers.get("content-type", "").lower()


def links_pages(headers: Mapping[str, str]) -> bool:
    """Return whether Link (a key in lower case) names pages; a gateway may put its own links in the place of those."""
    return PAGE_LINK.search(headers.get("link", "")) is not None


def read_body(response: requests.Response, clock: Clock, seconds: float) -> bytes:
    """Return the decompressed body, of MAX_BODY_BYTES at most and read within `seconds`.

    It is read as it arrives: a server may send each byte in time and never end. A body that is cut short raises in
    urllib3. Raises TooLarge, Unreachable and Stopped.
    """
    ends = time.monotonic() + seconds
    parts: list[bytes] = []
    size = 0
    while part := response.raw.read1(256 * 1024, decode_content=True):
        clock.check()
        if time.monotonic() > ends:
            raise Unreachable(f"an answer took longer than {seconds:g} s to arrive")
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise TooLarge(f"an answer was larger than {MAX_BODY_BYTES // 1024 // 1024} MiB")
        parts.append(part)
    return b"".join(parts)


def parse(body: bytes) -> Any:
    """Return the parsed JSON, None where it does not parse. Raises TooLarge for more than MAX_VALUES values."""
    if len(body) > COUNTED_FROM and _count_values(body) > MAX_VALUES:
        raise TooLarge(f"an answer held more than {MAX_VALUES:,} values")
    try:
        return decode(body)
    except ValueError:
        return None


def _count_values(body: bytes) -> int:
    """Return about how many values a JSON text holds. Strings are left out only where they may tip the balance."""
    found = sum(map(body.count, MARKS))
    return found if found <= MAX_VALUES else sum(map(STRINGS.sub(b"", body).count, MARKS))
