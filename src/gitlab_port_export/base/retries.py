"""The retry rules of HTTP: which answers are asked for again, how often, and how long to wait before.

Every request of GitLab and Port goes through `with_retries`. To change a rule, change it here.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from gitlab_port_export.base.answer import Answer, Unreachable
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.rate import Rate

logger = logging.getLogger(__name__)

# 500 because a GitLab under load answers it and recovers; 520 to 524 are Cloudflare's:
# https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
# GitLab answers 409 with this text while another request changes the same project; any other 409 is final.
RESOURCE_LOCK = b"Resource lock"
# A body with one of these statuses is used. 207 is Port's for a bulk call in which some rows were refused.
PARSED_STATUSES = frozenset({200, 201, 207})

MAX_ATTEMPTS = 6
LONGEST_WAIT = 120.0
# Seconds before the second attempt; doubled before each further one.
FIRST_BACKOFF = 0.5
# GitLab's application limiter answers 429 without Retry-After, and its windows are a minute long. Seconds an attempt:
# https://docs.gitlab.com/security/rate_limits/
UNSAID_THROTTLE = 5.0
# Seconds after a rate limit starts anew within which those who wait for it come back.
RESET_SPREAD = 1.0
# x-ratelimit-reset is epoch seconds in some documents of Port and seconds until the reset in its clients.
EPOCH_THRESHOLD = 1_000_000_000


@dataclass(frozen=True)
class Limits:
    """How often one request is sent, and the longest wait between two attempts where no rate limit asks for more."""

    attempts: int = MAX_ATTEMPTS
    longest_wait: float = LONGEST_WAIT


# The first request to a host: a wrong address must be reported soon.
FIRST_CONTACT = Limits(attempts=2, longest_wait=1.0)


class TryAgain(Exception):
    """An attempt that may be repeated: with the answer it got, or the reason why it got none."""

    def __init__(self, answer: Answer | None, why: str) -> None:
        super().__init__(why)
        self.answer, self.why = answer, why


class Pace:
    """When requests to one host are sent, by all its workers: after the time that the host named, and at our rate."""

    def __init__(self, clock: Clock, rate: Rate) -> None:
        self.clock = clock
        self._rate = rate
        self._lock = threading.Lock()
        self._not_before = 0.0

    def hold(self, seconds: float) -> None:
        """Send nothing for `seconds` from now (capped)."""
        with self._lock:
            self._not_before = max(self._not_before, self.clock.now() + min(seconds, LONGEST_WAIT))

    def wait(self) -> None:
        """Return when sending is allowed again. Raises Stopped."""
        while True:
            while (left := self._not_before - self.clock.now()) > 0:
                self.clock.sleep(left)
            self.clock.check()
            self._rate.wait(self.clock)
            # The host may have asked to wait while this request waited for its turn.
            if self._not_before <= self.clock.now():
                return


def with_retries(attempt: Callable[[], Answer], limits: Limits, pace: Pace) -> Answer:
    """Return the first answer that needs no retry, or the last one when the attempts are used up.

    `attempt` raises TryAgain where it may be repeated. Raises Unreachable when the last attempt got no answer, and
    Stopped when the run has ended.
    """
    number = 1
    while True:
        pace.wait()
        try:
            return attempt()
        except TryAgain as failure:
            if number >= limits.attempts:
                if failure.answer is not None:
                    return failure.answer
                raise Unreachable(failure.why) from None
            seconds = wait_before_retry(failure.answer, number, pace.clock.now(), limits.longest_wait)
            logger.info("waiting %.1f s before attempt %d: %s", seconds, number + 1, failure.why)
            rest(failure.answer, seconds, pace)
        number += 1


def rest(answer: Answer | None, seconds: float, pace: Pace) -> None:
    """Wait `seconds` before the next attempt; a rate limit (429) holds all workers of the host. Raises Stopped."""
    if answer is not None and answer.status == 429:
        pace.hold(seconds)
    pace.clock.sleep(seconds)


def check_final(answer: Answer, method: str) -> None:
    """Raise TryAgain where an answer deserves another attempt: a passing status, or JSON that was cut short."""
    if answer.status in RETRIED_STATUSES or (answer.status == 409 and RESOURCE_LOCK in answer.body):
        raise TryAgain(answer, f"{method} {answer.url} answered {answer.status}")
    unread = answer.is_json and answer.data is None and answer.body.strip() != b"null"
    if unread and answer.status in PARSED_STATUSES:
        raise TryAgain(None, f"{method} {answer.url} sent JSON that does not parse")


def wait_before_retry(answer: Answer | None, attempt: int, now: float, longest: float = LONGEST_WAIT) -> float:
    """Return the seconds to wait after attempt number `attempt` (from 1).

    It is what the server asks for, and at least an exponential backoff, with some jitter: workers, or jobs that share
    a rate limit, must not come back in the same instant when they failed in one.
    """
    throttled = answer is not None and answer.status == 429
    # Every answer says when the rate limit starts anew. That is a time to wait for only where it was the reason.
    obeyed = answer is not None and (throttled or "retry-after" in answer.headers)
    asked = retry_after(answer.headers, now) if answer and obeyed else None
    chance = random.random()  # noqa: S311  # protects no secret
    backoff: float = FIRST_BACKOFF * 2 ** (attempt - 1) * (1 + chance / 4)
    if throttled:
        backoff = max(backoff, UNSAID_THROTTLE * attempt if asked is None else asked + chance * RESET_SPREAD)
    return min(max(asked or 0.0, backoff), LONGEST_WAIT if throttled else longest)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a server asks to wait, from Retry-After, RateLimit-Reset or x-ratelimit-reset.

    Retry-After is seconds or an HTTP date; the resets are epoch seconds, or seconds from now when small.
    """
    if text := headers.get("retry-after", ""):
        if (seconds := _number(text)) is not None:
            return seconds
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    for name in ("ratelimit-reset", "x-ratelimit-reset"):
        if (value := _number(headers.get(name, ""))) is not None:
            return max(0.0, value - now) if value > EPOCH_THRESHOLD else value
    return None


def is_used_up(headers: Mapping[str, str], reserve: int) -> bool:
    """Return whether the host's remaining allowance is no more than `reserve` requests."""
    left = _number(headers.get("ratelimit-remaining") or headers.get("x-ratelimit-remaining") or "")
    return left is not None and left <= reserve


def _number(text: str) -> float | None:
    return float(text) if text.strip().isdecimal() else None
