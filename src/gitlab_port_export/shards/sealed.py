"""Sealed files: a head of JSON, sorted arrays of 8-byte keys, and a checksum, so that a cut file is never taken."""

import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from gitlab_port_export.base.files import replacing
from gitlab_port_export.base.jsontext import decode, encode

SEAL_BYTES = sha256().digest_size
KEY_BYTES = 8
# So many bytes are read at once.
PART_BYTES = 256 * 1024
MOST_HEAD = 1024 * 1024 * 1024
Keys = array  # of type "Q"


class Unsealed(Exception):
    """A file that cannot be read, is of another sort, was cut or was changed; the text says which."""


@dataclass(frozen=True)
class Sealed:
    """A file whose checksum is right: its head, its checksum, and where each of its arrays begins and ends."""

    path: Path
    head: Mapping[str, Any]
    checksum: str
    arrays: Mapping[str, tuple[int, int]]

    def keys(self, name: str) -> Iterator[int]:
        """Yield the keys of an array in order, a part of the file at a time; none where there is no such array."""
        start, end = self.arrays.get(name, (0, 0))
        with self.path.open("rb") as stream:
            stream.seek(start)
            while start < end:
                part = array("Q")
                part.frombytes(_exactly(stream, min(PART_BYTES, end - start)))
                start += len(part) * KEY_BYTES
                yield from _ordered(part)


def seal(path: Path, head: Mapping[str, Any], arrays: Mapping[str, "Keys[int]"]) -> str:
    """Write a file whole or not at all, for its owner alone, and return its checksum. Raises OSError."""
    lengths = [[name, len(keys)] for name, keys in arrays.items()]
    seen = sha256()
    with replacing(path, 0o600) as stream:
        for part in (encode({**head, "arrays": lengths}) + b"\n", *map(_stored, arrays.values())):
            seen.update(part)
            stream.write(part)
        stream.write(seen.digest())
    return seen.hexdigest()


def unsealed(path: Path) -> Sealed:
    """Return a file after its checksum was compared. Raises Unsealed."""
    try:
        with path.open("rb") as stream:
            first = stream.readline(MOST_HEAD)
            checksum = _checked(stream, first)
            return _opened(path, first, checksum)
    except (OSError, ValueError) as error:  # ValueError: no name that a file may have, or no JSON
        raise Unsealed(
            f"cannot be read: {getattr(error, 'strerror', None) or 'it is no file of this program'}"
        ) from None


def _checked(stream: IO[bytes], first: bytes) -> str:
    """Return the checksum of a file, read to its end. Raises Unsealed where it is another one."""
    seen, last = sha256(first), b""
    while part := stream.read(PART_BYTES):
        text = last + part
        seen.update(text[:-SEAL_BYTES])
        last = text[-SEAL_BYTES:]
    if last != seen.digest():
        raise Unsealed("was cut or changed: its checksum is another")
    return seen.hexdigest()


def _opened(path: Path, first: bytes, checksum: str) -> Sealed:
    head = decode(first)
    try:
        arrays, start = {}, len(first)
        for name, length in head["arrays"]:
            arrays[str(name)] = (start, start + length * KEY_BYTES)
            start += length * KEY_BYTES
        return Sealed(path, head, checksum, arrays)
    except (KeyError, TypeError) as error:
        raise Unsealed("is no file of this program") from error


def _exactly(stream: IO[bytes], size: int) -> bytes:
    found = stream.read(size)
    if len(found) != size:
        raise Unsealed("was cut while it was read")
    return found


def _stored(keys: "Keys[int]") -> bytes:
    return _ordered(array("Q", keys)).tobytes()


def _ordered(keys: "Keys[int]") -> "Keys[int]":
    """Turn keys from this machine's order of bytes into that of the file (little-endian), or back; in place."""
    if sys.byteorder == "big":
        keys.byteswap()
    return keys


def sizes(arrays: Mapping[str, Sequence[int]]) -> int:
    """Return how many keys arrays hold together."""
    return sum(map(len, arrays.values()))
