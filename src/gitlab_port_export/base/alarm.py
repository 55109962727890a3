"""The deadline as a signal: it ends whatever the main thread is busy with, as SIGTERM does."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import OutOfTime

# Requests and waits look at the clock themselves, and writing then waits for the last answers: `write.GRACE_SECONDS`.
SLACK_SECONDS = 1.2


@contextmanager
def alarm(clock: Clock) -> Iterator[None]:
    """Raise OutOfTime in the main thread, soon after the deadline, if the block still runs then.

    This is for what looks at no clock: an expression in jq, a long computation, a file that is a pipe.
    """
    left = clock.left
    if left is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    running = True

    def ring(_number: int, _frame: object) -> None:
        if running:
            raise OutOfTime

    # Not SIGALRM: a library, or whoever tests this, may use the process's one timer.
    before = signal.signal(signal.SIGUSR1, ring)
    timer = threading.Timer(left + SLACK_SECONDS, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    timer.daemon, timer.name = True, "alarm"
    timer.start()
    try:
        yield
    finally:
        running = False
        timer.cancel()
        # A timer that is about to fire does so before the usual action, which ends the process, is back.
        timer.join()
        signal.signal(signal.SIGUSR1, before)
