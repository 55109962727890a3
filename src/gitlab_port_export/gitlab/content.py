"""What is in a file: text out of GitLab's base64, JSON and YAML as Ocean parses them, within limits; pure."""

import base64
import binascii
from collections.abc import Iterator
from datetime import date
from functools import partial
from typing import Any

import yaml

from gitlab_port_export.base.jsontext import decode
from gitlab_port_export.base.yamlnodes import MAX_DEPTH, MAX_NODES, TAGS, Budget, Builder, Path, TooMuch
from gitlab_port_export.model import Dialect, Row

MAX_BYTES = 1024 * 1024
MAX_TEXT = 4 * MAX_BYTES  # characters of what a file stands for, with its aliases and references
YAML_ENDINGS = (".yaml", ".yml")
PARSED_ENDINGS = (".json", *YAML_ENDINGS)
REFERENCE = "file://"
# libyaml is ten times as fast; PyYAML has it wherever there is a wheel.
Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unreadable(Exception):
    """A file whose content cannot be given; the text says why."""


class _NotPlain(Exception):
    """YAML that is not plain values: bad syntax, an unknown tag, or more than the limits allow."""


def text_of(file: Row) -> str:
    """Return the text of a file as the API gives it. Raises Unreadable: too large, or no text."""
    content = str(file["content"])
    # Four characters of base64 are three bytes.
    if len(content) > MAX_BYTES * 4 // 3 + 8:
        raise Unreadable("is larger than 1 MiB")
    try:
        raw = base64.b64decode(content) if file.get("encoding", "base64") == "base64" else content.encode()
        text = raw.decode()
    except (binascii.Error, UnicodeError):
        raise Unreadable("is no UTF-8 text") from None
    if len(raw) > MAX_BYTES:
        raise Unreadable("is larger than 1 MiB")
    return text


def parsed(text: str, path: str, dialect: Dialect) -> Any:
    """Return what the file at this path holds: JSON and YAML as values, everything else as its text.

    What cannot be parsed is text too. gitlab-v2 takes every file for JSON first, and YAML for a list of its documents
    with those that are lists spread out; gitlab gives the document itself where there is only one.
    """
    is_yaml = path.endswith(YAML_ENDINGS)
    if not path.endswith(PARSED_ENDINGS):
        return text
    if dialect == "gitlab":
        return _documents_of_stream(text) if is_yaml else _json(text)
    if not text.strip():
        return text
    found = _json(text)
    return _documents_of_parts(text) if found is text else found


def is_pointer(text: str) -> bool:
    """Say whether a text only points at the content, which Git LFS keeps elsewhere."""
    return text.startswith("version https://git-lfs.github.com/spec/")


def is_parsed(text: str, content: Any, path: str) -> bool:
    """Say whether `parsed` made of a text what it holds; what it could not parse it gave back as it is.

    A file without any text holds nothing, and so does YAML without any document.
    """
    if content is not text or not path.endswith(PARSED_ENDINGS) or not text.strip():
        return True
    try:
        return path.endswith(YAML_ENDINGS) and not documents(text, path)
    except Unreadable:
        return False


def documents(text: str, path: str) -> list[Any]:
    """Return the documents of a JSON or YAML file. Raises Unreadable."""
    try:
        return [decode(text)] if path.endswith(".json") else list(_documents(text))
    except (_NotPlain, ValueError, RecursionError):
        raise Unreadable("is neither valid JSON nor plain YAML") from None


def _json(text: str) -> Any:
    try:
        return decode(text)
    except (ValueError, RecursionError):
        return text


def _documents_of_stream(text: str) -> Any:
    try:
        documents = list(_documents(text))
    except _NotPlain:
        return text
    return text if not documents else documents[0] if len(documents) == 1 else documents


def _documents_of_parts(text: str) -> Any:
    found: list[Any] = []
    budget = _budget()
    try:
        for part in text.split("\n---\n"):
            if part.strip():
                documents = list(_documents(part, budget))
                if len(documents) > 1:
                    return text
                document = documents[0] if documents else None
                found += document if isinstance(document, list) else [document]
    except _NotPlain:
        return text
    return found


def _documents(text: str, budget: Budget | None = None) -> Iterator[Any]:
    """Yield the documents of a YAML stream as JSON values. Raises _NotPlain."""
    loader = None
    try:
        _bound(text)
        loader = Loader(text)
        builder = _builder(loader, budget or _budget())
        while loader.check_node():
            yield builder.value(loader.get_node(), ())
    # PyYAML passes escapes such as "\U00110000" on to chr() as they are.
    except (yaml.YAMLError, TooMuch, RecursionError, ValueError, OverflowError) as error:
        raise _NotPlain from error
    finally:
        if loader is not None:
            loader.dispose()


def _budget() -> Budget:
    return Budget(text=MAX_TEXT)


def _bound(text: str) -> None:
    """Raise _NotPlain for a text with too many or too deep values; libyaml's composer would overflow the stack."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > 2 * MAX_NODES:
            raise _NotPlain


def _builder(loader: Any, budget: Budget) -> Builder:
    """Return what makes the values of a file: anything that is not plain makes the file a text."""

    def fault(_path: Path, why: str, _node: yaml.Node) -> None:
        raise _NotPlain(why)

    def key(node: yaml.Node, path: Path) -> str:
        # YAML 1.1 reads `on:` as true, which is "true" as a key in JSON.
        if not isinstance(node, yaml.ScalarNode):
            raise _NotPlain
        match builder.scalar(node, path):
            case None:
                return "null"
            case bool() as flag:
                return str(flag).lower()
            case other:
                return str(other)

    builder = Builder(loader, budget, key, partial(_moment, loader), fault, finite=True)
    return builder


def _moment(loader: Any, node: yaml.ScalarNode, _path: Path) -> str:
    """Return a date as ISO text; what only looks like one (2024-13-45) stays as it is written. Raises _NotPlain."""
    if node.tag != f"{TAGS}timestamp":
        raise _NotPlain
    try:
        moment: date = loader.construct_yaml_timestamp(node)
    except (ValueError, OverflowError):
        return str(node.value)
    return moment.isoformat()


def references(value: Any) -> Iterator[str]:
    """Yield the paths that values `file://path` of objects name, anywhere in parsed content; lists are looked into."""
    match value:
        case dict():
            for item in value.values():
                if isinstance(item, str):
                    if path := reference(item):
                        yield path
                else:
                    yield from references(item)
        case list():
            for item in value:
                if not isinstance(item, str):
                    yield from references(item)


def reference(text: str) -> str:
    """Return the path that a text refers to, or "" where it is no reference."""
    if not text.startswith(REFERENCE) or text.startswith(f"{REFERENCE}/"):
        return ""
    return text.removeprefix(REFERENCE)


def resolved(value: Any, texts: dict[str, str | None]) -> Any:
    """Return parsed content with each reference replaced by the text it names, null where there is none.

    Raises Unreadable where that is too much: a small file can name a large one thousands of times.
    """
    if sum(len(texts[path] or "") for path in references(value)) > MAX_TEXT:
        raise Unreadable(f"refers to more than {MAX_TEXT // MAX_BYTES} MiB of text")
    return _resolved(value, texts)


def _resolved(value: Any, texts: dict[str, str | None]) -> Any:
    match value:
        case dict():
            return {
                key: texts[path]
                if isinstance(item, str) and (path := reference(item))
                else item
                if isinstance(item, str)
                else _resolved(item, texts)
                for key, item in value.items()
            }
        case list():
            return [item if isinstance(item, str) else _resolved(item, texts) for item in value]
    return value


def extent(value: Any) -> int:
    """Return about how many bytes of JSON parsed content takes: more than its file has, with aliases and references."""
    match value:
        case str():
            return len(value) + 4
        case dict():
            return sum(len(key) + 4 + extent(item) for key, item in value.items())
        case list():
            return sum(map(extent, value))
    return 4
