"""Masks secrets in raw rows, by the name of a key and by the form of a text, in time linear to the row's size."""

import re
from collections.abc import Iterable, Iterator
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
# What a variable is called in an object, and its value.
_PAIR_NAMES, _PAIR_VALUES = ("key", "name", "variable"), frozenset({"value", "val", "default"})
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
  | hooks\.(?:slack|zapier)\.com/[a-z]{1,16}/[A-Za-z0-9/_-]{8,256}
  | discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/[A-Za-z0-9/_-]{8,256}
  | webhook\.office\.com/[A-Za-z0-9/@_-]{8,512}
  | (?<=[a-z0-9]/hooks/)[a-z0-9]{20,64}(?![A-Za-z0-9])
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
# What may stand around a name or value in a text: quotes, escaped ones too, and those of an encoded address.
_QUOTE = r"""(?:\\{0,3}["'`]|%22)?"""
# Marks a name whose value is a secret although it does not say so; of the private use area, and taken out again.
_MARK = "\ue000"
# `name = value` in a text, as in files of variables; the name is looked at by itself, and the rest of the line goes.
_ASSIGNED = re.compile(
    rf"(?<![\w.-])([\w.-]{{1,80}})({_MARK}?){_QUOTE}[ \t]{{0,8}}(?:=>|:=|[?]{{1,2}}=|[:=](?!//)|%3[ADad])[ \t]{{0,8}}"
)
# `name: PASSWORD` and what is its value after it, as in manifests of Kubernetes.
_PAIRED = re.compile(
    rf"(?<![\w.-])(?:name|key|variable){_QUOTE}[ \t]{{0,8}}[:=][ \t]{{0,8}}{_QUOTE}([\w.-]{{1,80}}){_QUOTE}"
    rf"[ \t]{{0,8}},?\s{{0,80}}{_QUOTE}(?:value|val|default)(?=[^\w.-])"
)
# `--password x`, `ENV DB_PASSWORD x`, `password x`: a name, and a word after blanks, a comma or quotes.
_FOLLOWED = re.compile(
    r"""(?<![\w.-])((?:ENV|ARG|export|set)[ \t]{1,8})?(-{0,2}[A-Za-z][\w.-]{0,79})"""
    r"""(["']?[ \t]{0,8}[, \t][ \t]{0,8}["']?)([^\s"',;&]{1,4096})"""
)
_WORD = re.compile("[A-Z]?[a-z]+[.!?:]?|[^A-Za-z0-9]+")
_OPTION = re.compile(r"--?[a-z][\w-]{0,79}|[A-Z][A-Z0-9_]{0,79}")
_ELEMENT = re.compile(r"<([\w.:-]{1,80})(?:\s[^<>]{0,200})?>([^<]{1,4096})")
# What programs take as user and password.
_LOGIN = re.compile(
    r"""(?<!\S)((?:-u|-U|--user|--proxy-user)[ \t=]{1,4}["']?[^\s:"']{1,128}:"""
    r"""|login[ \t]{1,4}\S{1,128}[ \t]{1,4}password[ \t]{1,4}"""
    r"""|sshpass[ \t]{1,4}-p[ \t]{0,4}|mysql\w{0,10}[^\n]{0,100}?[ \t]-p)[^\s"']{1,4096}"""
)
# Signatures that open an address for whoever has it.
_SIGNED = re.compile(
    r"(?i)((?:[?&]|&amp;)(?:sig|key|code|signature|x-(?:amz|goog)-(?:signature|credential|security-token))=)[^\s&\"'<>]{4,4096}"
)
# Quotes of a value that may have several lines.
_FENCES = ("'''", '"""', "`")
# Ends of a line after which the value stands in deeper lines.
_OPENS_BLOCK = re.compile(r"[\s{\[(\"'`]*|[|>][-+0-9]*\s*")
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
            masked_text(name): masked(part, secret=secret or _is_secret(name, part) or (pair and name in _PAIR_VALUES))
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [
            masked(part, secret=secret or _is_option(before))
            for before, part in zip(["", *value[:MOST_ITEMS]], value[:MOST_ITEMS], strict=False)
        ]
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


def _is_option(item: Any) -> bool:
    """Say whether an item of a list is a name, like `--password`, that the next one is a secret of."""
    return isinstance(item, str) and bool(_OPTION.fullmatch(item)) and names_a_secret(item)


def _is_secret_pair(value: dict[str, Any]) -> bool:
    """Return whether an object is a variable with a secret: every CI variable, or {name, value} with such a name."""
    if _PAIR_VALUES.isdisjoint(value):
        return False
    if "key" in value and not {"variable_type", "masked", "environment_scope", "protected"}.isdisjoint(value):
        return True
    return any(isinstance(name := value.get(key), str) and names_a_secret(name) for key in _PAIR_NAMES)


def masked_text(text: str) -> str:
    """Return a text without what looks like a secret or an e-mail address, and not longer than MOST_TEXT."""
    if len(text) < MIN_SECRET:
        return text
    found = _TOKENS.redact(_SHAPES.sub(MASK, text[: MOST_TEXT + MARGIN]))
    found = _USERINFO.sub(MASK, found)
    found = _AUTHORIZATION.sub(rf"\1\2{MASK}", found)
    found = _SIGNED.sub(rf"\1{MASK}", _LOGIN.sub(rf"\1{MASK}", found))
    found = _FOLLOWED.sub(_followed, _PAIRED.sub(_paired, _ELEMENT.sub(_element, found)))
    found = "\n".join(_lines(found.split("\n"))).replace(_MARK, "")
    found = _EMAIL.sub(MASK, found)
    return found if len(text) <= MOST_TEXT else f"{found[: min(MOST_TEXT, len(found) - MARGIN)]}…"


def _element(match: "re.Match[str]") -> str:
    return match[0].removesuffix(match[2]) + MASK if names_a_secret(match[1]) else match[0]


def _followed(match: "re.Match[str]") -> str:
    """Mask a word after a secret's name; one of prose stays, but for what is an option or a variable."""
    before, name, between, word = match.groups()
    told = name.startswith("-") or before or (name.isupper() and "_" in name)
    prose = _WORD.fullmatch(word) and not told
    if prose or word.endswith(_MARK) or not names_a_secret(name):
        return match[0]
    return f"{before or ''}{name}{between}{MASK}"


def _paired(match: "re.Match[str]") -> str:
    """Mark the word `value` that stands after a secret's name."""
    return f"{match[0]}{_MARK}" if names_a_secret(match[1]) else match[0]


def _lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines without what is assigned to a secret's name there, and without the lines that belong to it.

    These are deeper, or come before the quotes that end the value.
    """
    above: int | None = None
    fence = ""
    for line in lines:
        depth = len(line) - len(line.lstrip(" \t-"))
        if fence:
            fence = "" if fence in line else fence
            yield MASK
            continue
        if above is not None and (depth > above or not line.strip()):
            yield f"{line[:depth]}{MASK}" if line.strip() else line
            continue
        start = next((one.end() for one in _ASSIGNED.finditer(line) if one[2] or names_a_secret(one[1])), None)
        above = None if start is None else depth
        if start is not None:
            fence = next((one for one in _FENCES if line.count(one, start) % 2), "")
            opens = _OPENS_BLOCK.fullmatch(line, start)
            line = line if opens else f"{line[:start]}{MASK}"  # noqa: PLW2901  # the line as it is shown
        yield line
