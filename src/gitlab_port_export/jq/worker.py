"""The program of a worker process: evaluates jq and nothing else, in a clean environment and within limits.

It is started as a script and not imported, so no secret is in its memory. It ends with its parent. The kernel ends it
when one call takes too much processor time or memory. It writes READY when it can work. A request is 8 bytes (program
length, input length), the program and the input; an answer is one status byte, 8 bytes of length, and the text.
"""

import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Mapping
from typing import Any

PR_SET_PDEATHSIG = 1
HEADER = struct.Struct(">II")
ANSWER = struct.Struct(">BQ")
READY = b"\1"
# The status of an answer: jq's output, its error, or neither as the output is larger than what may be sent.
DONE, FAILED, TOO_LARGE = 0, 1, 2


def limit(parent: int, memory_bytes: int) -> None:
    """End with the parent even when that is killed, ignore the terminal's signals, and bound memory."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a parent that blocks SIGPROF would hand that down
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    # A lower limit that is set already stays: it may not be raised.
    there = [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    least = min([memory_bytes, *there])
    resource.setrlimit(resource.RLIMIT_AS, (least, least))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  # only needed here, and not at hand on every platform

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(0)


def serve(seconds: float, most: int) -> None:
    """Answer frames from standard input until it ends, each within so many seconds and bytes."""
    import jq  # noqa: PLC0415  # after the limits are in force

    shown = dict(os.environ)
    compiled = {}
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sink.write(READY)
    sink.flush()
    while len(head := source.read(HEADER.size)) == HEADER.size:
        program_size, input_size = HEADER.unpack(head)
        program, text = source.read(program_size).decode(), source.read(input_size).decode()
        # The default action of SIGPROF ends the process, also while jq holds Python's global lock. This timer counts
        # processor time alone.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            if program:
                if program not in compiled:
                    # jq itself writes the JSON: Python would lose whole numbers that no double holds.
                    # `$ENV` is filled in when a program is compiled, so it is given the variables as they are.
                    whole = f"{json.dumps(shown)} as $ENV | ({program}\n) | tojson"
                    compiled[program] = compile_alone(jq, whole, shown)
                status, out = DONE, next(iter(compiled[program].input_text(text)), "")
            else:
                status, out = DONE, json.dumps([fault(jq, expression, shown) for expression in json.loads(text)])
        except (ValueError, StopIteration, MemoryError) as error:
            status, out = FAILED, str(error)
        if len(out) > most:
            status, out = TOO_LARGE, ""
        signal.setitimer(signal.ITIMER_PROF, 0)
        body = out.encode()
        sink.write(ANSWER.pack(status, len(body)) + body)
        sink.flush()


def compile_alone(jq: Any, program: str, shown: Mapping[str, str]) -> Any:
    """Compile a program without the definitions of the file .jq at home, which would go before jq's own.

    jq reads that file whenever there is one, at HOME or at the user's home where that is not set: see "Modules" in
    https://jqlang.org/manual/. While it compiles HOME is no folder; `shown` are the variables as they are.
    """
    os.environ["HOME"] = os.devnull
    try:
        return jq.compile(program)
    finally:
        del os.environ["HOME"]
        os.environ.update(shown)


def fault(jq: Any, expression: str, shown: Mapping[str, str]) -> str | None:
    """Return jq's words when the expression does not compile, else None."""
    if "\0" in expression:
        return "it holds a null character, and jq reads no further"
    try:
        compile_alone(jq, expression, shown)
    except ValueError as error:
        return str(error)
    return None


if __name__ == "__main__":
    os.environ.pop("LC_CTYPE", None)  # Python sets it at its start (PEP 538), and `env` would show it
    sys.path.append(sys.argv[1])
    limit(int(sys.argv[2]), int(sys.argv[3]))
    serve(float(sys.argv[4]), int(sys.argv[5]))
