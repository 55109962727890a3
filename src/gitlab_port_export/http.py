"""The one place that talks HTTP: sessions, timeouts, retries, rate limits, redirects, bounds."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from tenacity import RetryCallState, Retrying, retry_if_exception_type

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_REDIRECTS = 5
MAX_ATTEMPTS = 6
LONGEST_WAIT = 120.0
# 409 only as GitLab's "Resource lock"; 500 because a GitLab under load answers it and recovers.
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
# x-ratelimit-reset is epoch seconds in some documents of Port and seconds-until-reset in its clients.
EPOCH_THRESHOLD = 1_000_000_000


class Stopped(Exception):
    """The run was told to stop, or its deadline has passed; nothing more may be asked."""


class Unreachable(Exception):
    """No answer could be had: the text says what happened, and never holds a secret."""


class Clock:
    """Time as the run sees it; `stop` and the deadline (seconds from now) end every wait early."""

    def __init__(self, deadline: float | None = None) -> None:
        self._stop = threading.Event()
        self._ends = None if deadline is None else time.monotonic() + deadline

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def stop(self) -> None:
        """Make every later `check` and every running `sleep` raise Stopped."""
        self._stop.set()

    @property
    def past_deadline(self) -> bool:
        """Whether the run's time is used up."""
        return self._ends is not None and time.monotonic() >= self._ends

    def check(self) -> None:
        """Raise Stopped when nothing more may be asked."""
        if self._stop.is_set() or self.past_deadline:
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait `seconds`, or raise Stopped as soon as the run is told to stop."""
        self.check()
        left = seconds if self._ends is None else min(seconds, max(0.0, self._ends - time.monotonic()))
        self._stop.wait(left)
        self.check()


class Pace:
    """One host's brake, shared by all its workers: nobody asks before the instant that the host named."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._not_before = 0.0

    def hold(self, seconds: float) -> None:
        """Let nobody ask for `seconds` from now (capped)."""
        with self._lock:
            self._not_before = max(self._not_before, self._clock.now() + min(seconds, LONGEST_WAIT))

    def wait(self) -> None:
        """Return when asking is allowed again."""
        while (left := self._not_before - self._clock.now()) > 0:
            self._clock.sleep(left)
        self._clock.check()


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: header names in lower case, body decompressed, `url` without its query.

    `data` is the parsed body, or None where the server does not call it JSON or it does not parse.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    data: Any = None

    @property
    def is_json(self) -> bool:
        """Whether the server calls the body JSON."""
        return "json" in self.headers.get("content-type", "")


class _Again(Exception):
    """An attempt that may be repeated: with the answer it got, or the reason why it got none."""

    def __init__(self, answer: Answer | None, why: str = "") -> None:
        super().__init__(why)
        self.answer, self.why = answer, why


class Bearer(AuthBase):
    """Sign requests to one origin and refuse every other; an auth object also keeps netrc out.

    requests would replace a plain Authorization header with what ~/.netrc holds for the host.
    """

    def __init__(self, origin: str, token: Callable[[], str]) -> None:
        self._origin, self._token = origin, token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign the request. Raises Unreachable for another origin."""
        if origin_of(request.url or "") != self._origin:
            raise Unreachable("refused to send credentials to another host")
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request


class NoAuth(AuthBase):
    """Send no credentials, also none from ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leave the request unsigned."""
        return request


def origin_of(url: str) -> str:
    """Return scheme://host:port of a URL, in lower case and with the port always written."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a server asks to wait, from Retry-After, RateLimit-Reset or x-ratelimit-reset.

    Retry-After is seconds or an HTTP date; the resets are epoch seconds, or seconds from now when small.
    """
    if text := headers.get("retry-after", ""):
        if text.strip().isdigit():
            return float(text)
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    for name in ("ratelimit-reset", "x-ratelimit-reset"):
        if (text := headers.get(name, "").strip()).isdigit():
            value = float(text)
            return max(0.0, value - now) if value > EPOCH_THRESHOLD else value
    return None


def is_used_up(headers: Mapping[str, str], reserve: int) -> bool:
    """Say whether the host's remaining allowance is no more than `reserve` requests."""
    text = headers.get("ratelimit-remaining") or headers.get("x-ratelimit-remaining") or ""
    return text.strip().isdigit() and int(text) <= reserve


class Http:
    """One host: every request to it goes through `send`."""

    def __init__(
        self,
        base_url: str,
        *,
        user_agent: str,
        verify: bool | str = True,
        timeout: float = 60.0,
        clock: Clock | None = None,
        workers: int = 10,
        patience: int = MAX_ATTEMPTS,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.origin = origin_of(base_url)
        self.clock = clock or Clock()
        self.pace = Pace(self.clock)
        self.requests = 0
        self.workers = workers
        self._patience = patience
        self._verify, self._timeout = verify, timeout
        self._user_agent = user_agent
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []

    def set_user_agent(self, text: str) -> None:
        """Say who we are from now on; Port stores the User-Agent as the owner of what we write."""
        self._user_agent = text

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Iterable[tuple[str, str]] = (),
        payload: Any = None,
        auth: AuthBase | None = None,
        attempts: int | None = None,
        connect_timeout: float = 10.0,
        first_contact: bool = False,
    ) -> Answer:
        """Return the answer to one request after the retries that the host's trouble deserves.

        A status that stays bad is returned, not raised. First contact is bounded: it gives up within 15 s.
        Raises Unreachable when there was no answer, Stopped when the run has ended.
        """
        body = None if payload is None else json.dumps(payload, separators=(",", ":")).encode()
        url = f"{self.base_url}{path}"
        timeout = (3.0, 8.0) if first_contact else (connect_timeout, self._timeout)
        tries = 2 if first_contact else attempts or self._patience

        def attempt() -> Answer:
            self.pace.wait()
            return self._attempt(method, url, tuple(params), body, auth or NoAuth(), timeout)

        retrying = Retrying(
            stop=lambda state: state.attempt_number >= tries,
            wait=self._wait,
            sleep=self.clock.sleep,
            retry=retry_if_exception_type(_Again),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except _Again as last:
            if last.answer is not None:
                return last.answer
            raise Unreachable(last.why) from None

    def _wait(self, state: RetryCallState) -> float:
        """Obey the server's word, else back off exponentially with jitter taken from the clock's fraction."""
        failure = state.outcome.exception() if state.outcome else None
        answer = failure.answer if isinstance(failure, _Again) else None
        asked = retry_after(answer.headers, self.clock.now()) if answer else None
        if asked is None:
            asked = 0.5 * 2 ** (state.attempt_number - 1) * (1 + self.clock.now() % 1 / 4)
            # GitLab's application limiter answers 429 without Retry-After; its windows are a minute long.
            if answer and answer.status == 429:
                asked = max(asked, 5.0 * state.attempt_number)
        seconds = min(asked, LONGEST_WAIT)
        if answer and answer.status == 429:
            self.pace.hold(seconds)
        logger.info("waiting %.1f s before attempt %d: %s", seconds, state.attempt_number + 1, failure)
        return seconds

    def _attempt(
        self,
        method: str,
        url: str,
        params: tuple[tuple[str, str], ...],
        body: bytes | None,
        auth: AuthBase,
        timeout: tuple[float, float],
    ) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._once(method, url, params, body, auth, timeout)
            if answer.status not in (301, 302, 303, 307, 308) or method != "GET":
                break
            url, params = urljoin(answer.url, answer.headers.get("location", "")), ()
            if origin_of(url) != self.origin:
                raise Unreachable("the server redirects to another host; redirects are not followed there")
        else:
            raise Unreachable("too many redirects")
        if answer.status in RETRIED_STATUSES or (answer.status == 409 and b"Resource lock" in answer.body):
            raise _Again(answer, f"{method} {answer.url} answered {answer.status}")
        if answer.status == 200 and answer.is_json and answer.data is None and answer.body.strip() != b"null":
            raise _Again(None, f"{method} {answer.url} sent JSON that does not parse")
        if is_used_up(answer.headers, self.workers) and (pause := retry_after(answer.headers, self.clock.now())):
            self.pace.hold(pause)
        return answer

    def _once(
        self,
        method: str,
        url: str,
        params: tuple[tuple[str, str], ...],
        body: bytes | None,
        auth: AuthBase,
        timeout: tuple[float, float],
    ) -> Answer:
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "gzip"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        with self._lock:
            self.requests += 1
        started = time.perf_counter()
        try:
            with self._session().request(
                method,
                url,
                params=params,
                data=body,
                headers=headers,
                auth=auth,
                timeout=timeout,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = _read_bounded(response)
                shown = url.partition("?")[0]
                logger.debug(
                    "%s %s %d %d bytes %.3f s",
                    method, response.url, response.status_code, len(content), time.perf_counter() - started,
                )  # fmt: skip
                lower = {name.lower(): value for name, value in response.headers.items()}
                data = _parse(content) if "json" in lower.get("content-type", "") else None
                return Answer(response.status_code, lower, content, shown, data)
        except requests.exceptions.SSLError as error:
            raise Unreachable(
                f"the TLS certificate of {self.origin} could not be verified: {_innermost(error)}"
            ) from None
        except requests.exceptions.ProxyError as error:
            raise _Again(None, f"the proxy refused: {_innermost(error)}") from None
        except requests.exceptions.InvalidURL as error:
            raise Unreachable(f"not a URL: {error}") from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise _Again(None, f"{self.origin} did not answer: {_innermost(error)}") from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            with self._lock:
                self._sessions.append(session)
        return session


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _read_bounded(response: requests.Response) -> bytes:
    """Read the decompressed body up to MAX_BODY_BYTES; a body cut short raises in urllib3."""
    parts: list[bytes] = []
    size = 0
    for part in response.iter_content(256 * 1024):
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Unreachable(f"an answer was larger than {MAX_BODY_BYTES // 1024 // 1024} MiB")
        parts.append(part)
    return b"".join(parts)


def _innermost(error: BaseException) -> str:
    """Return the short reason at the bottom of requests' and urllib3's nested errors."""
    reason: Any = error
    while True:
        inner = getattr(reason, "reason", None) or (reason.args[0] if getattr(reason, "args", ()) else None)
        if isinstance(inner, BaseException):
            reason = inner
            continue
        break
    text = str(reason)
    return text.rpartition(": ")[2] if "object at 0x" in text else text
