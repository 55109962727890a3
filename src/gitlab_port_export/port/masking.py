"""Masks secrets in raw rows, by the name of a key and by the form of a text, in time linear to the row's size."""

import re
from typing import Any

from gitlab_port_export.base.text import Redactor

MASK = "[masked]"
# A shorter text has no form by which a secret could be known.
MIN_SECRET = 6
# A longer text is cut: it shows nothing more, and what it holds takes time. What stands at the end of the part that is
# looked at may be half of a secret, so so much of it goes too.
MOST_TEXT, MARGIN = 16_384, 2_048
MOST_ITEMS = 100

# Parts of a name, in lower case and without what stands between them.
_SECRET = re.compile(
    "token|secret|passw|passphrase|passcode|credential|authorization|cookie|bearer|connectionstring|"
    "(?:api|private|access|signing|encryption|account|master|shared|ssh|client|auth|license|deploy|service)keys?"
)
# Whole words of a name; within others they mean nothing, as in "author".
_SECRET_WORDS = frozenset({"auth", "dsn", "jwt", "otp", "pass", "pwd", "passwd", "pat", "pgp", "sas", "totp"})
# A number under such a name counts or points to something.
_ABOUT = frozenset({"at", "count", "days", "expiry", "id", "ids", "length", "level", "limit", "seconds", "size", "ttl"})
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# The order matters: the block of a private key is masked as a whole. Each part starts once in a run of characters, or
# is short, so that the search stays linear.
_SHAPES = re.compile(
    r"""
    -----BEGIN[ ][A-Z0-9 ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----.*?
        (?:-----END[ ][A-Z0-9 ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----|\Z)
  | (?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])
  | (?<![A-Za-z0-9])(?:gh[pousr]|github_pat|npm|hf|dop_v1|sk_live|sk_test|rk_live|whsec)_[A-Za-z0-9_]{16,512}
  | (?<![A-Za-z0-9])(?:xox[abeoprs]|sk|pypi|dapi|atlasv1)-[A-Za-z0-9_-]{16,512}
  | (?<![A-Za-z0-9])(?:AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{16,512}|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64})
  | (?<![A-Za-z0-9])GR1348941[A-Za-z0-9_-]{16,64}
  | hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{8,256}
    """,
    re.VERBOSE | re.DOTALL,
)
# An address with a name or a password in it, such as that of a database; a password may hold slashes.
_USERINFO = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}://"
    r"(?:[^\s/@?#\"'<>]{1,512}|[^\s/@:\"'<>]{0,128}:[^\s@\"'<>]{1,256})@[^\s\"'<>]*"
)
_AUTHORIZATION = re.compile(r"(?i)\b(Bearer|Basic|Token)([ ]{1,4})[A-Za-z0-9._~+/=-]{8,4096}")
_EMAIL = re.compile(r"[^\s@<>\"'(),;:]{1,64}@[^\s@<>\"'(),;:]{1,190}\.[^\s@<>\"'(),;:]{1,64}")
# `name = value` in a text, as in files of variables; the name is looked at by itself.
_ASSIGNED = re.compile(
    r"""(?<![\w.-])([\w.-]{1,80})(["']?[ \t]{0,8}(?:=>|:=|[:=](?!//))[ \t]{0,8})("[^"\n]*"|'[^'\n]*'|[^\s"',;&]+)"""
)
_TOKENS = Redactor(())


def names_a_secret(name: str) -> bool:
    """Return whether the value of a key is likely to be a secret."""
    words = [word.lower() for word in _WORDS.findall(name[:200])]
    return bool(_SECRET.search("".join(words))) or not _SECRET_WORDS.isdisjoint(words)


def masked(value: Any, *, secret: bool = False) -> Any:
    """Return JSON without the values under secret-sounding keys, and without what looks like a secret or an address.

    Everything below such a key is taken out; long texts and lists are cut.
    """
    if isinstance(value, dict):
        pair = _is_secret_pair(value)
        return {
            masked_text(name): masked(part, secret=secret or _is_secret(name, part) or (pair and name == "value"))
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [masked(part, secret=secret) for part in value[:MOST_ITEMS]]
    if value is None or isinstance(value, bool):
        return value
    if secret:
        return MASK
    return masked_text(value) if isinstance(value, str) else value


def _is_secret(name: str, value: Any) -> bool:
    if not names_a_secret(name):
        return False
    words = _WORDS.findall(name[:200])
    return not (isinstance(value, int | float) and words[-1].lower() in _ABOUT)


def _is_secret_pair(value: dict[str, Any]) -> bool:
    """Return whether an object is a variable with a secret: every CI variable, or {name, value} with such a name."""
    if "value" not in value:
        return False
    if "key" in value and not {"variable_type", "masked", "environment_scope"}.isdisjoint(value):
        return True
    return any(isinstance(name := value.get(key), str) and names_a_secret(name) for key in ("key", "name", "variable"))


def masked_text(text: str) -> str:
    """Return a text without what looks like a secret or an e-mail address, and not longer than MOST_TEXT."""
    if len(text) < MIN_SECRET:
        return text
    found = _TOKENS.redact(_SHAPES.sub(MASK, text[: MOST_TEXT + MARGIN]))
    found = _USERINFO.sub(MASK, found)
    found = _AUTHORIZATION.sub(rf"\1\2{MASK}", found)
    found = _ASSIGNED.sub(_assigned, found)
    found = _EMAIL.sub(MASK, found)
    return found if len(text) <= MOST_TEXT else f"{found[: min(MOST_TEXT, len(found) - MARGIN)]}…"


def _assigned(match: "re.Match[str]") -> str:
    return f"{match[1]}{match[2]}{MASK}" if names_a_secret(match[1]) and not match[3].startswith(MASK) else match[0]
