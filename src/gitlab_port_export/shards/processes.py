"""Runs shards as processes of this machine: starts them, listens to them, and ends them all when this one ends."""

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from gitlab_port_export.base.errors import MachineError
from gitlab_port_export.shards.told import heard

MODULE = "gitlab_port_export.commands.worker"
# How long processes have to end in order before they are killed.
GRACE_SECONDS = 3.0
# What the container or the job allows may be less than the machine has.
CPU_LIMIT = "/sys/fs/cgroup/cpu.max"
# From so many projects on another process pays, see docs/sizing.md.
PROJECTS_EACH = 1000
MOST = 8


def processes_for(projects: int, cores: int) -> int:
    """Return how many processes are the quickest for so many projects."""
    return max(1, min(cores, MOST, projects // PROJECTS_EACH))


def cores() -> int:
    """Return how many processor cores this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        with open(CPU_LIMIT, encoding="ascii") as stream:
            quota, period = stream.read().split()
        return max(1, min(found, int(quota) // int(period)))  # "max" is no number
    return found


@dataclass
class Ending:
    """How a process ended: its exit code, and why, as far as it could tell."""

    code: int | None = None
    told: str = ""

    @property
    def why(self) -> str:
        """Why there is no evidence, in words."""
        if self.told:
            return self.told
        if self.code is not None and self.code < 0:
            with suppress(ValueError):
                name = signal.Signals(-self.code).name
                return f"it was ended by {name}" + (", often for lack of memory" if self.code == -9 else "")
        return f"it ended with exit code {self.code}"


@dataclass
class _Child:
    process: "subprocess.Popen[bytes]"
    ending: Ending = field(default_factory=Ending)
    rest: bytes = b""


def run_processes(
    requests: Sequence[bytes], environ: Mapping[str, str], hear: Callable[[object], None]
) -> tuple[Ending, ...]:
    """Start a process for each request, and return how each ended; `hear` gets what they tell (see told.py).

    Whatever ends this process ends them. Raises MachineError where one cannot be started.
    """
    children: list[_Child] = []
    try:
        for request in requests:
            children.append(_Child(_started(environ)))
            stdin = children[-1].process.stdin
            assert stdin is not None  # noqa: S101  # it is a pipe; this is for mypy
            with suppress(OSError):  # it ended at once, as will be seen
                stdin.write(request + b"\n")
                stdin.flush()
        _listen(children, hear)
    finally:
        _end(children)
    return tuple(child.ending for child in children)


def _started(environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    # Nothing is imported from the working directory, see __main__.py. Its own session: a signal of the terminal goes
    # to this process alone, which ends the others in order.
    try:
        return subprocess.Popen(  # noqa: S603  # our own interpreter and module, no shell
            [sys.executable, *_flags(), "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_safe(environ),
            start_new_session=True,
        )
    except OSError as error:
        why = f"a process of its own could not be started for a shard: {error.strerror or error}"
        hint = "allow the job more processes and memory (`ulimit -u`, the container's limits), or leave out --processes"
        raise MachineError(why, hint=hint) from None


def _flags() -> list[str]:
    """Return the options of the interpreter: as closed as this process, and never with the working directory."""
    return ["-I" if sys.flags.isolated else "-P", *(["-B"] if sys.dont_write_bytecode else [])]


def _safe(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with no place of others among those that Python imports from."""
    found = dict(environ)
    if path := found.get("PYTHONPATH"):
        here = os.path.realpath(os.curdir)
        kept = (one for one in path.split(os.pathsep) if one and os.path.realpath(one) != here)
        found["PYTHONPATH"] = os.pathsep.join(kept)
    return found


def _listen(children: Sequence[_Child], hear: Callable[[object], None]) -> None:
    """Hand on what processes tell until all have ended."""
    with selectors.DefaultSelector() as selector:
        for child in children:
            assert child.process.stdout is not None  # noqa: S101  # it is a pipe; this is for mypy
            selector.register(child.process.stdout, selectors.EVENT_READ, child)
        while selector.get_map():
            for key, _ in selector.select():
                part = os.read(key.fd, 65_536)
                if not part:
                    selector.unregister(key.fileobj)
                    key.data.ending.code = key.data.process.wait()
                    continue
                *lines, key.data.rest = (key.data.rest + part).split(b"\n")
                for found in map(heard, lines):
                    if isinstance(found, str):
                        key.data.ending.told = found
                    elif found is not None:
                        hear(found)


def _end(children: Sequence[_Child]) -> None:
    """End the processes that still run, and close their pipes; the end of its input ends one as well."""
    running = [child.process for child in children if child.process.poll() is None]
    for process in running:
        process.terminate()
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        process.kill()
        process.wait()
    for child in children:
        for pipe in (child.process.stdin, child.process.stdout):
            with suppress(OSError):
                if pipe:
                    pipe.close()
