"""Write a file whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE, S_ISFIFO
from typing import BinaryIO


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    with replacing(path) as stream:
        stream.write(content)


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Give a stream whose content replaces the file when the block ends well, so that no reader sees half of it.

    `mode` is cut by the umask; a file that exists keeps its mode and owner. Links are followed. What cannot be
    replaced is written in place: a device, a file that is mounted into a container, a file in a folder that this
    process may not write, a file of another user. Raises OSError.
    """
    place = Path(os.path.realpath(path))
    held = place.stat() if place.exists() else None
    if held and not (place.is_file() and os.access(place.parent, os.W_OK | os.X_OK)):
        with _in_place(place, held) as stream:
            yield stream
        return
    beside = place.parent / f".gitlab-port-export-{secrets.token_hex(8)}"
    try:
        kept = S_IMODE(held.st_mode) & mode if held else mode
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, kept), "wb") as stream:
            alike = not held or _made_alike(beside, held, kept)
            yield stream
        if alike:
            _move(beside, place)
        else:
            place.write_bytes(beside.read_bytes())
    finally:
        with suppress(OSError):
            beside.unlink()


def _in_place(place: Path, held: os.stat_result) -> BinaryIO:
    """Open the file that exists. A pipe is opened without waiting for a reader, because there may be none."""
    if not S_ISFIFO(held.st_mode):
        return place.open("wb")
    descriptor = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "wb")


def _made_alike(beside: Path, held: os.stat_result, mode: int) -> bool:
    """Give a new file a mode and the owner of the one that it replaces; say whether that was possible."""
    try:
        made = beside.stat()
        if (made.st_uid, made.st_gid) != (held.st_uid, held.st_gid):
            os.chown(beside, held.st_uid, held.st_gid)
        beside.chmod(mode)
    except OSError:
        return False
    return True


def _move(source: Path, place: Path) -> None:
    try:
        os.replace(source, place)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        place.write_bytes(source.read_bytes())
