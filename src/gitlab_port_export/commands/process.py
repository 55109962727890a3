"""One command in a process of its own: streams, limits of the process, what ends a command, and the exit code."""

import gc
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from typing import Any, NoReturn, TextIO, cast

from gitlab_port_export.base.stream import Stream
from gitlab_port_export.commands.streams import Streams

# Of glibc's malloc.h.
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
# Commands whose module has another name.
_MODULES = {"sync": "run", "plan": "run", "account": "access"}


def tune() -> None:
    """Set the interpreter for a run: many objects and hardly a cycle, many threads that wait."""
    # Looking for cycles as often as usual takes a tenth of the CPU.
    gc.set_threshold(100_000, 20, 20)
    # A thread whose answer has come waits this long for the one that computes, several times for each answer.
    sys.setswitchinterval(0.0005)


def carry_out(command: str, act: Callable[[Any, Any], int], streams: Streams) -> int:
    """Return the exit code of a command; the only place that catches what ends a run.

    `act` receives the function `run` of the command's module in this folder, and a Session.
    """
    run = import_module(f"gitlab_port_export.commands.{_MODULES.get(command, command)}").run
    return _carry_out(command, streams, lambda session: act(run, session))


def answer_misuse(error: Exception, arguments: Sequence[str]) -> int:
    """Say what is wrong with a command line that typer cannot read, as with any other error; return the exit code."""
    from gitlab_port_export.base.errors import UsageError  # noqa: PLC0415  # only an error needs it
    from gitlab_port_export.commands.misuse import asked_for_json, misuse  # noqa: PLC0415  # as above

    found = misuse(error, arguments)

    def refuse(_: Any) -> int:
        raise UsageError(found.what, hint=found.hint)

    return _carry_out(found.command, Streams(as_json=asked_for_json(arguments)), refuse)


def _carry_out(command: str, streams: Streams, act: Callable[[Any], int]) -> int:
    # Heavy imports wait until here, so that `--help` is fast.
    from gitlab_port_export.base.errors import ExportError, Interrupted, limits_reported  # noqa: PLC0415  # as above
    from gitlab_port_export.commands.ending import bug, fail, stray  # noqa: PLC0415  # as above
    from gitlab_port_export.commands.session import Session  # noqa: PLC0415  # as above

    _keep_heaps_small()
    _leave_no_core()
    # What was imported stays, and need not be looked at for cycles.
    gc.freeze()
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    # A Stream has every method of a text stream that is used here.
    session = Session(cast(TextIO, out), cast(TextIO, err), os.environ, **asdict(streams))
    # Python's own hook would print a traceback as it is, with any text of a server in it.
    threading.excepthook = lambda failed: stray(session, failed.exc_value)
    try:
        with limits_reported():
            code = act(session)
    except (ExportError, Interrupted) as error:
        code = fail(session, command, error)
    except Exception as error:  # noqa: BLE001  # a bug: one line for the user, the traceback on request
        code = bug(session, command, error)
    out.flush()
    if out.failure:
        err.write(f"error: standard output cannot be written: {out.failure}\n")
    err.flush()
    # A result that is lost is no success; a reader that has seen enough does not matter.
    return code or int(bool(out.failure))


def _keep_heaps_small() -> None:
    """Let all threads take memory from two heaps of glibc, and large blocks from none; see mallopt(3).

    By default there are eight heaps for each core. Each keeps what was freed in it, and growth leaves holes behind.
    """
    import ctypes  # noqa: PLC0415  # only a run needs it

    with suppress(OSError, AttributeError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 2)
        mallopt(M_MMAP_THRESHOLD, 1024 * 1024)


def _leave_no_core() -> None:
    """Let a crash write no core file, which would hold the secrets."""
    with suppress(ImportError, ValueError, OSError):  # another system than Unix
        import resource  # noqa: PLC0415  # only a run needs it

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def leave(code: int) -> NoReturn:
    """End at once: threads that still wait for a server must not keep the process alive."""
    for stream in (sys.stdout, sys.stderr):
        Stream(stream).flush()
    os._exit(code)


def end(command: str, streams: Streams, act: Callable[[Any, Any], int]) -> NoReturn:
    """Carry out a command, and leave with its exit code."""
    leave(carry_out(command, act, streams))
