"""Makes text of others safe to show: no control sequences, no commands to a CI system, no secrets."""

import base64
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

MIN_SECRET = 6
# A secret shorter than MIN_SECRET is hidden only as a whole word, and one shorter than this not at all.
MIN_WORD = 4
# Where a text was cut, less than half of a secret may remain, and less than this.
MIN_PART = 8
PLACEHOLDER = "[secret]"

# C0 and C1 controls, line and paragraph separators, marks that turn the reading direction, invisible
# characters. The joiners U+200C and U+200D stay: emoji and several scripts need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

# Commands to a CI system: Azure Pipelines looks for ##vso[…] and ##[…] anywhere in a line, TeamCity for
# ##teamcity[…], GitHub Actions for ##[…] anywhere and for :: where the line's text begins.
_COMMANDS = re.compile(r"#(?=\w*\[)(?<=##)|^(?P<blank>\s*):(?=:)")

# Prefixes that GitLab gives its tokens ("token overview" in its documentation), and JSON web tokens: Port's
# access token is one. The first part of a JWT is bounded: hostile text must not make the search quadratic.
_SHAPES = re.compile(
    r"gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|wt|soat|ffct)-[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]+)*"
    r"|eyJ[A-Za-z0-9_-]{4,1024}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
)


def well_formed(text: str) -> str:
    """Return `text` with lone surrogates replaced by U+FFFD; JSON may carry them, UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean(text: str, limit: int | None = None) -> str:
    r"""Return `text` as one safe line: what could steer a terminal or a CI system becomes a visible `\x1b` or `#\x23[`.

    With `limit` the result has at most that many characters, the last an ellipsis where something was cut.
    """
    line = _COMMANDS.sub(_disarm, _UNSAFE.sub(_escape, well_formed(text)))
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    point = ord(char)
    if point < 0x100:
        return _SHORT.get(char, f"\\x{point:02x}")
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _disarm(match: re.Match[str]) -> str:
    return r"\x23" if match[0] == "#" else f"{match['blank']}\\x3a"


class Redactor:
    """Hides secrets: the given ones in every form that HTTP gives them, and whatever looks like a token.

    Secrets shorter than six characters are hidden only as words, those shorter than four not at all: they would hide
    most of the text. The first half of a secret is hidden too, as messages quote answers and expressions cut short.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = frozenset(secrets)
        self._known = _pattern(self._secrets)

    def learn(self, *secrets: str) -> None:
        """Hide these secrets too from now on."""
        if not self._secrets.issuperset(secrets):
            self._secrets |= set(secrets)
            self._known = _pattern(self._secrets)

    def redact(self, text: str) -> str:
        """Return `text` with each secret replaced by `[secret]`."""
        known = self._known.sub(PLACEHOLDER, text) if self._known else text
        return _SHAPES.sub(PLACEHOLDER, known)


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds each secret in every form, or None when there is none to find."""
    # Longest first: where one secret begins another, the longer one must go as a whole.
    known = sorted(set(secrets), key=len, reverse=True)
    usable = [secret for secret in known if len(secret) >= MIN_SECRET]
    words = [secret for secret in known if MIN_WORD <= len(secret) < MIN_SECRET]
    patterns = [
        *map(_spelled, usable),
        *(form for secret in usable for form in _encoded(secret)),
        *(part for secret in usable if (part := _beginning(secret))),
        *(f"(?<![A-Za-z0-9]){_spelled(secret)}(?![A-Za-z0-9])" for secret in words),
    ]
    return re.compile("|".join(patterns)) if patterns else None


def _encoded(secret: str) -> Iterator[str]:
    """Yield patterns for the secret inside base64."""
    raw = secret.encode("utf-8", "surrogatepass")
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield from (_in_base64(alphabet(bytes(before) + raw).decode(), before, len(raw)) for before in range(3))


def _spelled(text: str) -> str:
    return "".join(map(_character, text))


def _character(char: str) -> str:
    """Return a pattern for the character as it is and as URLs, HTML, JSON, jq, Python and shells write it, or twice."""
    if char.isascii() and char.isalnum():
        return char
    point, raw = ord(char), char.encode("utf-8", "surrogatepass")
    # Bounded, so that no hostile text makes the search quadratic.
    percent = "".join(f"%(?:25){{0,3}}{byte:02x}" for byte in raw)
    name = {"&": "|amp", "<": "|lt", ">": "|gt", '"': "|quot", "'": "|apos"}.get(char, "")
    entity = f"&(?:amp;){{0,3}}(?:#0{{0,6}}{point}|#x0{{0,6}}{point:x}{name});"
    units = char.encode("utf-16-be", "surrogatepass").hex()
    escaped = "".join(rf"\\{{1,8}}u{units[start : start + 4]}" for start in range(0, len(units), 4))
    special = {" ": "[ +]", "\\": r"\\{1,16}", "'": r"""(?:'"'"'|\\{0,8}')"""}
    plain = special.get(char) or rf"\\{{0,8}}{re.escape(char)}"
    return f"(?:(?i:{percent}|{entity}|{escaped})|{plain})"


def _beginning(secret: str) -> str | None:
    """Return a pattern for the secret's longer half and what may follow of it, or None where it is too short."""
    half = max(MIN_PART, len(secret) // 2 + 1)
    rest = "|".join(map(_character, sorted(set(secret[half:]))))
    return rf"{_spelled(secret[:half])}(?:{rest}|\\)*+" if rest else None


def _in_base64(encoded: str, before: int, length: int) -> str:
    """Return a pattern for a secret inside base64 when `before` bytes (modulo 3) precede it.

    Basic authentication encodes `id:secret`, so the same secret has three spellings; the characters at its
    borders also carry bits of its neighbours and may be anything.
    """
    start = -(-before * 8 // 6)
    end = (before + length) * 8 // 6
    left = "[A-Za-z0-9+/_-]" if before else ""
    right = "[A-Za-z0-9+/_-]" if (before + length) % 3 else ""
    return f"{left}{re.escape(encoded[start:end])}{right}={{0,2}}"


def shown(value: Any) -> str:
    """Return `value` as messages quote it: short, one line, safe for a terminal."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# How alike two names must be for one to be suggested in the place of the other, from 0 to 1: `nmae` and `name` are.
NEAR = 0.75


def span_words(seconds: float) -> str:
    """Return a span of time in its largest fitting unit: "2 days", "30 h", "10 minutes"."""
    number = int(seconds)
    if number >= 2 * 86_400:
        return f"{number // 86_400} days"
    if number >= 2 * 3_600:
        return f"{number // 3_600} h"
    if number >= 2 * 60:
        return f"{number // 60} minutes"
    return f"{number} s"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" with the nearest known name, or an empty text where none is near."""
    near = nearest(name, known)
    return f"did you mean {shown(near)}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like `name`, or an empty text."""
    folded = {_folded(each): each for each in known}
    near = get_close_matches(_folded(name), folded, 1, NEAR)
    return folded[near[0]] if near else ""


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
