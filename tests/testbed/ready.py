"""A process that has loaded the command and forks for each run of it: a run starts at once and shares nothing.

Standard input is a socket: a request is one line of JSON with the descriptors of the run's standard output and error,
the answer is the exit code.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

PACKAGE = "gitlab_port_export"


def load() -> None:
    """Import all modules of the command."""
    package = importlib.import_module(PACKAGE)
    for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        if not found.name.endswith(".__main__"):
            importlib.import_module(found.name)


def become(args: Sequence[str], environ: Mapping[str, str], folder: str, out: int, err: int) -> NoReturn:
    """Be `python -m gitlab_port_export ARGS` in that folder, with these streams and nothing but `environ`."""
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    with open(os.devnull, encoding="utf-8") as nothing:
        for given, descriptor in ((nothing.fileno(), 0), (out, 1), (err, 2)):
            os.dup2(given, descriptor)
    os.closerange(3, max(out, err) + 1)
    sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
    sys.argv[1:] = args
    code = 1
    try:
        runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  # what would end an interpreter with a traceback
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve(channel: socket.socket) -> None:
    """Carry out one request after the other until the channel ends."""
    while True:
        line, streams, *_ = socket.recv_fds(channel, 1 << 16, 2)
        if not line:
            return
        while not line.endswith(b"\n"):
            line += channel.recv(1 << 16)
        request = json.loads(line)
        child = os.fork()
        if not child:
            become(**request, out=streams[0], err=streams[1])
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        channel.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    load()
    gc.freeze()
    serve(socket.socket(fileno=0))
