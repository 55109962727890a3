"""Readers of one value each: text in, value out. A ValueError says what is wrong and never repeats the text."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import AnyHttpUrl, ValidationError

# What a text can be instead of the value, and the message about it.
_TEXT_FAULTS = {
    r"\$\([\w.-]+\)": "is a $(NAME) that Azure Pipelines did not replace: that variable is not defined in the"
    " pipeline, or not mapped under env: of the step",
    r"\$\{\{.*\}\}": "is a ${{ … }} that GitHub Actions did not replace: that works in the files of a workflow alone",
    r"\$(\w+|\{\w+\})|%\w+%": "is the name of a variable that nothing replaced: it is not defined here, or protected"
    " and this branch is not, or quotes kept the shell from replacing it",
    r"(['\"]).*\1": "is wrapped in quotes, which docker's --env-file keeps; leave them out",
}
# Logs, settings pages and examples show these texts instead of a secret.
_PLACEHOLDERS = {
    r"(?i)\[?(masked|redacted|filtered|secret|hidden|protected)\]?|(glpat-)?([*•x.]{3,}|…)|<[\w -]+>": "is what"
    " is shown in the place of a secret, not the secret",
}


def text_fault(text: str) -> str:
    """Return why the text cannot be the value of any setting, or nothing."""
    return _fault(text, _TEXT_FAULTS)


def secret_fault(text: str) -> str:
    """Return why the text cannot be a secret, or nothing. A server would only answer that it is wrong."""
    path = r"(~|/(run|var|tmp|builds|etc|home|root|mnt|opt|secrets?))/\S+|[A-Za-z]:\\\S+"
    if re.fullmatch(path, text) or os.path.isfile(text):
        return "is the path of a file; to read the secret from there add _FILE to the name of the variable"
    return text_fault(text) or _fault(text, _PLACEHOLDERS)


def _fault(text: str, faults: Mapping[str, str]) -> str:
    return next((why for form, why in faults.items() if re.fullmatch(form, text, re.DOTALL)), "")


def parse_secret(text: str) -> str:
    """Return the secret when it can be one and an HTTP header can carry it; else ValueError."""
    if fault := secret_fault(text):
        raise ValueError(fault)
    return _header_safe(text)


def _header_safe(text: str) -> str:
    if not text or " " in text or not (text.isascii() and text.isprintable()):
        raise ValueError("is empty or holds white space or characters that an HTTP header cannot carry")
    return text


def parse_token_mapping(text: str) -> dict[str, tuple[str, ...]]:
    """Return {token: path patterns} of a JSON object; else ValueError."""
    mapping = json_object(text)
    for number, (token, patterns) in enumerate(mapping.items(), 1):
        if fault := secret_fault(token):
            raise ValueError(f"has a token {number} that {fault}")
        _header_safe(token)
        if not (isinstance(patterns, list) and patterns and all(p and isinstance(p, str) for p in patterns)):
            raise ValueError(f"has no list of patterns for its token {number}")
    if not mapping:
        raise ValueError("names no token")
    return {token: tuple(patterns) for token, patterns in mapping.items()}


def parse_duration(text: str) -> float:
    """Return the seconds of `25m`, `90s`, `1h30m` or a plain number; ValueError unless above zero."""
    number = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
    clock = f"(?:{number}h)?(?:{number}m)?(?:{number}s)?|{number}"
    found = re.fullmatch(clock, text.lower().replace(" ", ""))
    parts = zip(found.groups(), (3600, 60, 1, 1), strict=True) if found else ()
    if seconds := sum(float(part or 0) * unit for part, unit in parts):
        return seconds
    raise ValueError("is not a time above 0")


def parse_rate(text: str) -> float:
    """Return the requests a second of `20` or `0.5`; ValueError unless it is a number from 0.001 on."""
    found = re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,3})?", text.strip())
    if found and (rate := float(found[0])):
        return rate
    raise ValueError("is not a number above 0")


def parse_allow_deletes(text: str) -> dict[str, int | None]:
    """Return {blueprint: limit, or None for no limit} of `service,gitlabGroup=20`; else ValueError."""
    allowed: dict[str, int | None] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        # Port allows more characters in a blueprint's name than a word has, but no comma, blank or "=".
        found = re.fullmatch(r"([^,=\s]+)(?:=([0-9]{1,9}))?", item)
        if not found:
            raise ValueError("is not a list of BLUEPRINT or BLUEPRINT=NUMBER")
        if found[1] in allowed:
            raise ValueError("names a blueprint twice")
        allowed[found[1]] = int(found[2]) if found[2] else None
    return allowed


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names that commas or white space separate."""
    return tuple(re.findall(r"[^,\s]+", text))


def parse_words(text: str) -> tuple[str, ...]:
    """Return the words of a list, separated by commas or blanks."""
    return tuple(dict.fromkeys(word.strip("/") for word in re.findall(r"[^,\s]+", text)))


def parse_processes(text: str) -> int | str:
    """Return a number of processes, or "auto"; else ValueError."""
    if text.strip().lower() == "auto":
        return "auto"
    if not re.fullmatch(r"\s*[0-9]{1,3}\s*", text):
        raise ValueError("is not a number of processes")
    return int(text)


def parse_shard(text: str) -> tuple[int, int]:
    """Return (K, N) of `K/N`; else ValueError."""
    found = re.fullmatch(r"\s*([0-9]{1,4})\s*/\s*([0-9]{1,4})\s*", text)
    if not found:
        raise ValueError("is not a shard K/N")
    number, of = int(found[1]), int(found[2])
    if not 1 <= number <= of:
        raise ValueError(f"is no shard of {of}: they count from 1 to {of}")
    return number, of


def parse_address(text: str, api: str = "/api/v4") -> str:
    """Return scheme://host[:port][/path], without the path of the API and the usual port; else ValueError."""
    bare = re.fullmatch(r"([a-z0-9-]+\.)+[a-z][a-z0-9-]+(:[0-9]+)?(/.*)?", text, re.IGNORECASE)
    try:
        url = AnyHttpUrl(f"https://{text}" if bare else text)
    except ValidationError:
        raise ValueError("is not an address that begins with https:// or http://") from None
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("holds a user name, a password, a ? or a #")
    usual = {"http": 80, "https": 443}[url.scheme]
    port = f":{url.port}" if url.port not in (None, usual) else ""
    path = (url.path or "").rstrip("/").removesuffix(api).rstrip("/")
    return f"{url.scheme}://{url.host}{port}{path}"


# Port's regions; https://docs.port.io names them so.
REGIONS = {"eu": "https://api.getport.io", "us": "https://api.us.getport.io"}


def parse_port_address(text: str) -> str:
    """Return the address of Port's API, which may be given as a region; else ValueError."""
    if address := REGIONS.get(text.strip().lower()):
        return address
    address = parse_address(text, api="/v1")
    if page := re.fullmatch(r"https://app\.(us\.)?(getport|port)\.io(/.*)?", address):
        api = f"https://api.{page[1] or ''}{page[2]}.io"
        raise ValueError(f"is the address of Port's pages; that of its API is {api}")
    return address


def is_proxy(text: str) -> bool:
    """Return whether a proxy's address, with or without scheme and login, names a host; an empty one means no proxy."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        return not text.strip() or bool(parts.hostname and parts.port != 0)
    except ValueError:
        return False


def json_object(text: str) -> dict[str, Any]:
    """Return the object that the JSON text holds; else ValueError."""
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("is not a JSON object")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("has the same key twice")
    return dict(pairs)


def lines_object(text: str) -> dict[str, Any]:
    """Return the object of `name: value` lines, the form of ocean-sail's input `config`, or of JSON; else ValueError.

    Values stay texts: a token of digits is no number.
    """
    try:
        return json_object(text)
    except ValueError:
        if text.startswith("{"):
            raise
        try:
            content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes nothing but text, lists and objects
        except (yaml.YAMLError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise
        return {str(name): value for name, value in content.items()}
