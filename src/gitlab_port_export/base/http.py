"""The HTTP client of one host: sends requests within timeouts, with the retries of `retries.py`."""

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin

from requests.auth import AuthBase

from gitlab_port_export.base.answer import Answer, Unreachable, is_json, links_pages, parse, read_body
from gitlab_port_export.base.auth import NoAuth, origin_of
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.connection import NO_ANSWER, Connections, Params, failure, prepared
from gitlab_port_export.base.jsontext import encode
from gitlab_port_export.base.rate import Rate
from gitlab_port_export.base.retries import (
    FIRST_CONTACT,
    MAX_ATTEMPTS,
    Limits,
    Pace,
    check_final,
    is_used_up,
    rest,
    retry_after,
    wait_before_retry,
    with_retries,
)

logger = logging.getLogger(__name__)

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CONNECT_TIMEOUT = 10.0
# A whole answer may take so many times what is allowed for each part of it.
BODY_TIMEOUTS = 3
# Connect and read seconds of the first request to a host, unless the user says how long to wait for answers: two
# attempts end within 15 s.
FIRST_TIMEOUT = (3.0, 4.0)


class Http:
    """One host: every request to it goes through `send`. `rate` is how many requests a second it gets at most."""

    def __init__(  # noqa: PLR0913  # what is known of a host, each given by name
        self,
        base_url: str,
        *,
        user_agent: str,
        verify: bool | str = True,
        strict: bool = True,
        timeout: float = 60.0,
        first_timeout: float | None = None,
        clock: Clock | None = None,
        workers: int = 10,
        attempts: int = MAX_ATTEMPTS,
        rate: float | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.origin = origin_of(base_url)
        self.clock = clock or Clock()
        self.rate = Rate(rate)
        self.pace = Pace(self.clock, self.rate)
        self.requests = 0
        self.workers = workers
        self._limits = Limits(attempts)
        self._timeout = timeout
        connect, answer = FIRST_TIMEOUT
        longer = first_timeout or 0.0
        self._first_timeout = (max(connect, min(longer, CONNECT_TIMEOUT)), max(answer, longer))
        self._links = False
        self._user_agent = user_agent
        self._connections = Connections(self.base_url, verify=verify, strict=strict)
        self._lock = threading.Lock()

    def set_user_agent(self, text: str) -> None:
        """Send this User-Agent from the next request on; Port stores it as the owner of what is written."""
        self._user_agent = text

    def go_on_with(self, clock: Clock) -> None:
        """Take another clock, for the last requests of a run whose own clock has stopped."""
        self.clock, self.pace = clock, Pace(clock, self.rate)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._connections.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Iterable[tuple[str, str]] = (),
        payload: Any = None,
        auth: AuthBase | None = None,
        first_contact: bool = False,
        attempts: int | None = None,
    ) -> Answer:
        """Return the answer to one request, after as many retries as `retries.py` allows.

        A status that stays bad is returned, not raised. First contact is bounded: a host that does not answer is
        given up within 15 s (or after two times the `first_timeout`), and only a rate limit is waited for. `attempts`
        replaces the client's own number. A `payload` of bytes is JSON already.
        Raises Unreachable when there was no answer, Stopped when the run has ended.
        """
        body = payload if payload is None or isinstance(payload, bytes) else encode(payload)
        url, query, signed = f"{self.base_url}{path}", tuple(params), auth or NoAuth()
        timeout = self._first_timeout if first_contact else (CONNECT_TIMEOUT, self._timeout)
        limits = FIRST_CONTACT if first_contact else Limits(attempts) if attempts else self._limits
        try:
            return with_retries(lambda: self._attempt(method, url, query, body, signed, timeout), limits, self.pace)
        except Stopped:
            raise Stopped(self.base_url) from None

    def pause(self, answer: Answer, attempt: int) -> None:
        """Wait before a part of a request is sent again, as after a whole one that got that answer.

        Raises Stopped.
        """
        rest(answer, wait_before_retry(answer, attempt, self.clock.now()), self.pace)

    def _attempt(
        self, method: str, url: str, params: Params, body: bytes | None, auth: AuthBase, timeout: tuple[float, float]
    ) -> Answer:
        """Send a request and follow redirects within the host. Raises TryAgain, Unreachable and Stopped."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._once(method, url, params, body, auth, timeout)
            if answer.status not in REDIRECTS or method != "GET":
                break
            url, params = _joined(answer.url, answer.headers.get("location", "")), ()
            if (origin := origin_of(url)) != self.origin:
                raise Unreachable(f"the server redirects to {origin or 'no URL'}; redirects are not followed there")
            self.pace.wait()
        else:
            raise Unreachable("too many redirects")
        check_final(answer, method)
        if is_used_up(answer.headers, self.workers) and (pause := retry_after(answer.headers, self.clock.now())):
            self.pace.hold(pause)
        return answer

    def _once(
        self, method: str, url: str, params: Params, body: bytes | None, auth: AuthBase, timeout: tuple[float, float]
    ) -> Answer:
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "gzip"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        with self._lock:
            self.requests += 1
        started = time.perf_counter()
        within = (self.clock.within(timeout[0]), self.clock.within(timeout[1]))
        try:
            request = prepared(method, url, params, headers, body, auth)
            with self._connections.send(request, within) as response:
                if response.status_code == 407:
                    raise Unreachable("the proxy asks for another user name and password (407)")
                content = read_body(response, self.clock, BODY_TIMEOUTS * timeout[1])
        except NO_ANSWER as error:
            raise failure(error, self.origin) from None
        took = time.perf_counter() - started
        logger.debug("%s %s %d %d bytes %.3f s", method, response.url, response.status_code, len(content), took)
        lower = dict(response.headers.lower_items())
        self._links = self._links or links_pages(lower)
        data = parse(content) if is_json(lower) else None
        return Answer(response.status_code, lower, content, url.partition("?")[0], data, self._links)


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        return ""
