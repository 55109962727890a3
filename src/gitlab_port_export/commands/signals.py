"""The signals that end a run: the first one ends it in order, the second one at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from gitlab_port_export.base.errors import Interrupted


@contextmanager
def signals() -> Iterator[None]:
    """Raise Interrupted at the first SIGINT or SIGTERM; a second one ends the process at once.

    Both need a handler of their own: the kernel ignores signals without one for process 1 of a container.
    """

    def stop(number: int, _: object) -> NoReturn:
        signal.signal(signal.SIGINT, _end_now)
        signal.signal(signal.SIGTERM, _end_now)
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_now(number: int, _: object) -> NoReturn:
    os._exit(128 + number)
