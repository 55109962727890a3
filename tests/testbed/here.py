"""The whole command within this process, which is faster than one of its own: streams, logging, reports, exit code."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from gitlab_port_export.base.errors import ExportError
from gitlab_port_export.commands.ending import bug, fail
from gitlab_port_export.commands.run import run
from gitlab_port_export.commands.session import Session
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
    out, err = io.StringIO(), io.StringIO()
    session = Session(out, err, environ, as_json=as_json, debug=debug, make_clock=NoWait)
    try:
        code = run(session, command, **options)
    except ExportError as error:
        code = fail(session, command, error)
    except Exception as error:  # noqa: BLE001  # as the command line does
        code = bug(session, command, error)
    return Printed(code, out.getvalue(), err.getvalue())
