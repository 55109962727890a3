"""Report files: checked before a run begins, written when it ends, each whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from stat import S_IMODE, S_ISFIFO
from typing import BinaryIO

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Problem
from gitlab_port_export.report.exit_code import FailOn, with_late
from gitlab_port_export.report.values import Report

# By the name of the option and setting, report_<name>: the module that is imported to write it, and its function.
RENDERERS = {
    "markdown": ("markdown", "render"),
    "junit": ("junit", "render"),
    "json": ("json", "render"),
    "metrics": ("openmetrics", "render"),
    "html": ("html", "render"),
    "dotenv": ("ci.gitlab", "dotenv"),
    "annotations": ("ci.gitlab", "annotations"),
}


def check(files: Mapping[str, Path], inputs: Mapping[str, Path] | None = None) -> None:
    """Raise UsageError that names every output which cannot be written, or would take the place of an input.

    `files` are report files by form, and `out` the plan file; `inputs` what the run reads, by what it is.
    """
    faults = [
        f"{_option(name)}: {why}" for name, path in files.items() if (why := _unfit(name, path, files, inputs or {}))
    ]
    if faults:
        raise UsageError(*faults, hint="report files need a folder that exists and may be written, and a name each")


def fit(files: Mapping[str, Path], inputs: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Return the files that can be written and are no inputs."""
    return {
        name: path for name, path in files.items() if name in RENDERERS and not _unfit(name, path, files, inputs or {})
    }


def _unfit(name: str, path: Path, files: Mapping[str, Path], inputs: Mapping[str, Path]) -> str:
    if str(path) == "-":
        return "- does not stand for standard output; for the report there use --output json"
    try:
        return _unwritable(name, path, files, inputs) or (_unfit_for_a_plan(path) if name not in RENDERERS else "")
    except (OSError, ValueError) as error:  # no name that a file may have
        return f"{clean(str(path), 80)} is no name of a file: {getattr(error, 'strerror', None) or error}"


def _unwritable(name: str, path: Path, files: Mapping[str, Path], inputs: Mapping[str, Path]) -> str:
    if "\0" in str(path):
        raise ValueError("it holds a null character")
    if other := next((one for one, its in files.items() if one < name and _same(its, path)), None):
        return f"{path} is also the file of {_option(other)}"
    if read := next((what for what, its in inputs.items() if _same(its, path)), None):
        return f"{path} is read as {read}"
    if path.is_dir():
        return f"{path} is a folder"
    if not path.exists() and not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"{path} may not be written"
    return ""


def _unfit_for_a_plan(path: Path) -> str:
    """Return why a plan file cannot be there: it is made anew, and what stands in its place is removed first."""
    if path.is_symlink():
        return f"{path} is a link; name the file that it leads to"
    if path.exists() and not path.is_file():
        return f"{path} is no ordinary file"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"the folder {path.parent} may not be written"
    return ""


def _same(one: Path, other: Path) -> bool:
    """Say whether both name the same file, also by a link."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    return one.exists() and other.exists() and os.path.samefile(one, other)


def _option(name: str) -> str:
    return f"--report-{name}" if name in RENDERERS else f"--{name}"


def publish(report: Report, files: Mapping[str, Path], fail_on: FailOn = "problems") -> Report:
    """Write the report files and return the report, which has a Problem for each file that could not be written.

    The other files are then written again, so that all of them tell of it.
    """
    left = dict(files)
    while failed := {name: why for name, path in left.items() if (why := _write(path, _rendered(name, report)))}:
        report = with_late([_problem(name, left.pop(name), why) for name, why in failed.items()], report, fail_on)
    return report


def _rendered(name: str, report: Report) -> str:
    module, function = RENDERERS[name]
    text: str = getattr(import_module(f"gitlab_port_export.report.{module}"), function)(report)
    return text


def _problem(name: str, path: Path, why: str) -> Problem:
    return Problem("report", f"{_option(name)}: {path} could not be written: {why}", "make room, or name another file")


def _write(path: Path, text: str) -> str:
    """Put the text in the place of the file at once; return why that failed, or nothing."""
    try:
        write_whole(path, text.encode("utf-8", "replace"))
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    with replacing(path) as stream:
        stream.write(content)


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Give a stream whose content takes the file's place when the block ends well, so that nobody sees half of it.

    `mode` is cut by the umask; a file that was there keeps its mode and owner. Links are followed. What cannot be
    replaced is written in place: a device, a file that is mounted into a container, a file in a folder that is not
    ours, a file of somebody else. Raises OSError.
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
    """Open what stands there; nobody waits for the reader of a pipe that has none."""
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
