"""The deadline as a signal, which ends what looks at no clock: an expression in jq, a computation, a pipe."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import OutOfTime

# Requests and waits end at the deadline by themselves, and writing waits for the last answers (write.GRACE_SECONDS).
SLACK_SECONDS = 1.2


@contextmanager
def alarm(clock: Clock) -> Iterator[None]:
    """Raise OutOfTime in the main thread soon after the deadline, if the block still runs then."""
    left = clock.left
    if left is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    running = True

    def ring(_number: int, _frame: object) -> None:
        if running:
            raise OutOfTime

    # Not SIGALRM: the process has one such timer, and a library or a test may use it.
    before = signal.signal(signal.SIGUSR1, ring)
    timer = threading.Timer(left + SLACK_SECONDS, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    timer.daemon, timer.name = True, "alarm"
    timer.start()
    try:
        yield
    finally:
        running = False
        timer.cancel()
        # Wait for a timer that is about to fire: the usual action of the signal would end the process.
        timer.join()
        signal.signal(signal.SIGUSR1, before)
