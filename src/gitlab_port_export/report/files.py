"""Report files: checked before a run begins, written when it ends, each whole or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.files import write_whole
from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Problem
from gitlab_port_export.report.exit_code import FailOn, with_late
from gitlab_port_export.report.formats import FORMATS
from gitlab_port_export.report.values import Report

# Options of files that a run makes anew: what an earlier one left is removed first.
NEW = ("out", "evidence")


def check(files: Mapping[str, Path], inputs: Mapping[str, Path] | None = None) -> None:
    """Raise UsageError that names every output which cannot be written, or is also a file that the run reads.

    `files` are the report files by name of their format, and other files by their option, without dashes; `inputs` are
    the files that the run reads, by what each is.
    """
    faults = [
        f"{_option(name)}: {why}" for name, path in files.items() if (why := _unfit(name, path, files, inputs or {}))
    ]
    if faults:
        raise UsageError(*faults, hint="report files need a folder that exists and may be written, and a name each")


def fit(files: Mapping[str, Path], inputs: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Return the report files that can be written and that the run does not read."""
    return {
        name: path for name, path in files.items() if name in FORMATS and not _unfit(name, path, files, inputs or {})
    }


def _unfit(name: str, path: Path, files: Mapping[str, Path], inputs: Mapping[str, Path]) -> str:
    if str(path) == "-":
        return "- does not stand for standard output; for the report there use --output json"
    try:
        return _unwritable(name, path, files, inputs) or (_unfit_for_a_new_file(path) if name in NEW else "")
    except (OSError, ValueError) as error:  # not a possible name of a file
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


def _unfit_for_a_new_file(path: Path) -> str:
    """Return why a plan or evidence cannot have this path: it is a new file, and one that exists is removed first."""
    if path.is_symlink():
        return f"{path} is a link; name the file that it leads to"
    if path.exists() and not path.is_file():
        return f"{path} is no ordinary file"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"the folder {path.parent} may not be written"
    return ""


def _same(one: Path, other: Path) -> bool:
    """Return whether both name the same file, also by a link."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    return one.exists() and other.exists() and os.path.samefile(one, other)


def _option(name: str) -> str:
    return FORMATS[name].option if name in FORMATS else f"--{name}"


def publish(report: Report, files: Mapping[str, Path], fail_on: FailOn = "problems") -> Report:
    """Write the report files and return the report with a Problem for each file that could not be written.

    The other files are then written again, so that all of them contain that Problem.
    """
    left = dict(files)
    while failed := {name: why for name, path in left.items() if (why := _write(path, FORMATS[name].render(report)))}:
        report = with_late([_problem(name, left.pop(name), why) for name, why in failed.items()], report, fail_on)
    return report


def _problem(name: str, path: Path, why: str) -> Problem:
    return Problem("report", f"{_option(name)}: {path} could not be written: {why}", "make room, or name another file")


def _write(path: Path, text: str) -> str:
    """Replace the file by one with this text; return why that failed, or an empty text."""
    try:
        write_whole(path, text.encode("utf-8", "replace"))
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
