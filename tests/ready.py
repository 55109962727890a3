"""A process that has loaded the command and forks for each run of it: a run starts at once and shares nothing.

A request is one line of JSON; the answer is the exit code on a line.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
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


def become(args: Sequence[str], environ: Mapping[str, str], folder: str, out: str, err: str) -> NoReturn:
    """Be `python -m gitlab_port_export ARGS` in that folder, with nothing but `environ`, and files for streams."""
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    for descriptor, path, mode in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        os.dup2(os.open(path, mode), descriptor)
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


def serve() -> None:
    """Carry out one request after the other until standard input ends."""
    load()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            become(**request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
