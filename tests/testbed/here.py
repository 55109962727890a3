"""The whole command within this process, which is faster than one of its own: streams, logging, reports, exit code."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from gitlab_port_export.base.errors import ExportError
from gitlab_port_export.commands import run as shell
from testbed.harness import NoWait


class Printed(NamedTuple):
    """How the command ended and all that it wrote."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        """Both streams."""
        return self.out + self.err


def run_here(
    environ: Mapping[str, str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    command: Literal["sync", "plan"] = "sync",
    as_json: bool = False,
    debug: bool = False,
    **options: Any,
) -> Printed:
    """Do what the command line does with these options, in `folder` and without ever waiting."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(shell, "Clock", NoWait)
    out, err = io.StringIO(), io.StringIO()
    one = shell.Shell(out, err, environ, as_json=as_json, debug=debug)
    try:
        code = one.run(command, detailed=False, **options)
    except ExportError as error:
        code = one.fail(command, error)
    except Exception as error:  # noqa: BLE001  # as the command line does
        code = one.bug(command, error)
    return Printed(code, out.getvalue(), err.getvalue())
