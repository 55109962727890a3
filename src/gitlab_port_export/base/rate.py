"""A bound on the requests a second that a process sends to one host."""

import threading

from gitlab_port_export.base.clock import Clock

# From this share of requests that had to wait on, the bound decided how long the run took.
DECIDED = 0.5


class Rate:
    """At most so many requests a second, one at a time in equal distances, for all threads; None is no bound."""

    def __init__(self, a_second: float | None = None) -> None:
        self.a_second = a_second
        self._lock = threading.Lock()
        self._next = 0.0
        self._asked = self._waited = 0

    def wait(self, clock: Clock) -> None:
        """Return when the next request may be sent. Raises Stopped."""
        if self.a_second is None:
            return
        with self._lock:
            now = clock.passed()
            at = max(self._next, now)
            self._next = at + 1 / self.a_second
            self._asked += 1
            self._waited += at > now
        if at > now:
            clock.sleep(at - now)

    @property
    def decided(self) -> bool:
        """Whether most requests had to wait for it."""
        return self._waited > DECIDED * self._asked
