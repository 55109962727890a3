"""Runs jq programs in worker processes: a few at a time, each bounded, none with a secret in reach."""

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

from gitlab_port_export import jq_worker
from gitlab_port_export.errors import UsageError
from gitlab_port_export.wire import decode, encode

PAGE_SECONDS = 10.0
MEMORY_BYTES = 1024 * 1024 * 1024
MAX_WORKERS = 4
# Starting a process takes about as long; most runs have little for jq to do, and one is enough.
PATIENCE_SECONDS = 0.1
NO_WORKER = "allow the job more processes and memory (`ulimit -u`, the container's limits), and check the installation"


class Killed(Exception):
    """A worker died over a program: it ran too long or wanted too much memory."""


class JqError(Exception):
    """jq ended a whole program with an error."""


class Evaluator:
    """Up to `workers` jq processes, started when first needed; `environ` is all that their `env` shows."""

    def __init__(
        self,
        environ: Mapping[str, str],
        workers: int | None = None,
        seconds: float = PAGE_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.workers = workers or min(MAX_WORKERS, os.cpu_count() or 1)
        self._environ = dict(environ)
        self._limits = (memory_bytes, seconds)
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

        The future raises Killed or JqError, and UsageError when no process can be started.
        """
        return self._pool.submit(self._run, program, text)

    def compile_errors(self, expressions: Sequence[str]) -> list[str | None]:
        """Return for each expression jq's complaint when it does not compile; compiling happens in a worker too."""
        try:
            answer = self._pool.submit(self._run, "", encode(list(expressions))).result()
        except Killed:
            if len(expressions) == 1:
                self._try_out()
                return ["compiling it takes too long or too much memory"]
            return [error for expression in expressions for error in self.compile_errors([expression])]
        found: list[str | None] = decode(answer)
        return found

    def _try_out(self) -> None:
        """Raise UsageError when a worker cannot even do nothing: then no expression is to blame."""
        try:
            self._pool.submit(self._run, ".", b"0").result()
        except Killed:
            raise UsageError("a worker process for jq ends as soon as it is started", hint=NO_WORKER) from None

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
        if status:
            raise JqError(body.decode())
        return body

    def _take(self) -> "subprocess.Popen[bytes]":
        """Return a process that has nothing to do; where one was waited for long enough, another one."""
        patience = 0.0
        while True:
            with suppress(Empty):
                return self._free.get(block=patience > 0, timeout=patience)
            with self._lock:
                if self._closed:
                    raise Killed  # work that was queued when the run ended
                if len(self._processes) < (self.workers if patience else 1):
                    process = self._start()
                    self._processes.add(process)
                    return process
            patience = PATIENCE_SECONDS

    def _start(self) -> "subprocess.Popen[bytes]":
        spec = find_spec("jq")
        folder = str(Path(spec.origin).parent) if spec and spec.origin else ""
        memory, seconds = self._limits
        arguments = [
            sys.executable,
            "-I",
            "-S",
            jq_worker.__file__,
            folder,
            str(os.getpid()),
            str(memory),
            str(seconds),
        ]
        try:
            return subprocess.Popen(  # noqa: S603  # our own interpreter and script, no shell
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environ,
            )
        except OSError as error:
            raise UsageError(
                f"a worker process for jq could not be started: {error.strerror or error}", hint=NO_WORKER
            ) from None

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
