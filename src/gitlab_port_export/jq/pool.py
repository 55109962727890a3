"""The worker processes that run jq: a few at a time, each bounded in time and memory, none with a secret in reach."""

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue

from gitlab_port_export.base.errors import NoWorker
from gitlab_port_export.base.jsontext import decode, encode
from gitlab_port_export.jq import worker as jq_worker

# The processor's time for one row. Rows that take longer together are sent alone.
ROW_SECONDS = 10.0
MEMORY_BYTES = 1024 * 1024 * 1024
# The output of one call: several times what its rows hold, and far more than Port takes for an entity.
OUTPUT_BYTES = 32 * 1024 * 1024
MAX_WORKERS = 4
# How long to wait for a process before another one is started: starting takes about as long. Most runs need one.
WAIT_SECONDS = 0.1
NO_WORKER = "allow the job more processes and memory (`ulimit -u`, the container's limits), and check the installation"


class Killed(Exception):
    """A worker was ended by a program: it ran too long or wanted too much memory."""


class TooLarge(Exception):
    """A program gives more than may be sent."""


class JqError(Exception):
    """jq ended a whole program with an error."""


class Evaluator:
    """Up to `workers` jq processes, started when first needed; `environ` is all that their `env` shows.

    Without `plain_expressions` they evaluate simple expressions too, which jq/without_jq.py does much faster.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        workers: int | None = None,
        seconds: float = ROW_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
        output_bytes: int = OUTPUT_BYTES,
        *,
        plain_expressions: bool = True,
    ) -> None:
        self.plain_expressions = plain_expressions
        self.workers = workers or min(MAX_WORKERS, os.cpu_count() or 1)
        # The most processes that the machine allows.
        self._most = self.workers
        self._environ = dict(environ)
        self._limits = (memory_bytes, seconds, output_bytes)
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="jq")
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def start(self) -> None:
        """Start a worker, so that it is up when the first expressions come."""
        self._pool.submit(lambda: self._free.put(self._take()))

    def submit(self, program: str, text: bytes) -> "Future[bytes]":
        """Return a future of the program's first output for one JSON input, as JSON text (b"" when it gave none).

        The future raises Killed, TooLarge or JqError, and NoWorker when no process can be started.
        """
        return self._pool.submit(self._run, program, text)

    def compile_errors(self, expressions: Sequence[str]) -> list[str | None]:
        """Return for each expression jq's complaint when it does not compile; compiling happens in a worker too."""
        try:
            answer = self._pool.submit(self._run, "", encode(list(expressions))).result()
        except Killed:
            if len(expressions) == 1:
                return ["compiling it takes too long or too much memory"]
            return [error for expression in expressions for error in self.compile_errors([expression])]
        found: list[str | None] = decode(answer)
        return found

    def close(self) -> None:
        """End the workers."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        self._processes.clear()

    def _run(self, program: str, given: bytes) -> bytes:
        asked = program.encode()
        process = self._take()
        try:
            assert process.stdin is not None  # noqa: S101  # they are pipes; this is for mypy
            assert process.stdout is not None  # noqa: S101  # as above
            process.stdin.write(jq_worker.HEADER.pack(len(asked), len(given)) + asked)
            process.stdin.write(given)
            process.stdin.flush()
            head = process.stdout.read(jq_worker.ANSWER.size)
            status, size = jq_worker.ANSWER.unpack(head)
            body = process.stdout.read(size)
        except (OSError, ValueError, struct.error):
            self._forget(process)
            raise Killed from None
        except BaseException:  # of whatever kind: half an answer may still be in the pipe
            self._forget(process)
            raise
        self._free.put(process)
        if status == jq_worker.TOO_LARGE:
            raise TooLarge
        if status == jq_worker.FAILED:
            raise JqError(body.decode())
        return body

    def _take(self) -> "subprocess.Popen[bytes]":
        """Return a process that has nothing to do, or another one after a wait.

        Raises NoWorker when there is none and none can be started: then no expression is to blame.
        """
        waited = 0.0
        while True:
            with suppress(Empty):
                return self._free.get(block=waited > 0, timeout=waited)
            with self._lock:
                if self._closed:
                    raise Killed  # work that was queued when the run ended
                wants_one = len(self._processes) < (self._most if waited else 1)
                process = self._another() if wants_one else None
            if process and _is_ready(process):
                return process
            if process:
                self._forget(process)
                self._settle_for("a worker process for jq ends as soon as it is started")
            waited = WAIT_SECONDS

    def _another(self) -> "subprocess.Popen[bytes] | None":
        """Start a process; None where the machine allows no more than there are."""
        try:
            process = self._start()
        except OSError as error:
            self._settle_for(f"a worker process for jq could not be started: {error.strerror or error}")
            return None
        self._processes.add(process)
        return process

    def _settle_for(self, why: str) -> None:
        """Go on with the processes that there are. Raises NoWorker where there are none, or the run has ended."""
        if self._closed:
            raise Killed
        if not self._processes:
            raise NoWorker(why, hint=NO_WORKER)
        self._most = len(self._processes)

    def _start(self) -> "subprocess.Popen[bytes]":
        spec = find_spec("jq")
        folder = str(Path(spec.origin).parent) if spec and spec.origin else ""
        arguments = [
            sys.executable,
            "-I",
            "-S",
            jq_worker.__file__,
            folder,
            str(os.getpid()),
            *map(str, self._limits),
        ]
        return subprocess.Popen(  # noqa: S603  # our own interpreter and script, no shell
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environ,
        )

    def _forget(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe:
                    pipe.close()
            except OSError:
                continue
        with self._lock:
            self._processes.discard(process)


def _is_ready(process: "subprocess.Popen[bytes]") -> bool:
    """Wait until a new process can work; false where it ends before."""
    assert process.stdout is not None  # noqa: S101  # it is a pipe; this is for mypy
    try:
        return process.stdout.read(len(jq_worker.READY)) == jq_worker.READY
    except (OSError, ValueError):  # the run has ended, and its pipes are closed
        return False
