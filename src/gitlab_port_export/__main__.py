"""The command line, also as `python -m gitlab_port_export`; nothing is imported from the working directory."""

import os
import sys


def main() -> None:
    """Run the command line."""
    _leave_out_working_directory()
    from gitlab_port_export.cli import main as run  # noqa: PLC0415  # only now the path holds no place of others

    run()


def _leave_out_working_directory() -> None:
    """Take the working directory off the path: in CI others may have put a `requests.py` there, to get the secrets.

    `python -m` and an empty entry of PYTHONPATH put it there. A `sitecustomize.py` is read before; `python -I` is not
    only safe from that as well, but from all variables of Python.
    """
    try:
        here = os.path.realpath(os.curdir)
    except OSError:  # it was deleted, so it holds nothing
        return
    ours = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if here != ours:
        sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder or os.curdir) != here]


if __name__ == "__main__":
    main()
