"""The one place that talks HTTP: sessions, timeouts, retries, rate limits, redirects, bounds."""

import logging
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from requests.utils import prepend_scheme_if_needed, requote_uri, select_proxy
from tenacity import RetryCallState, Retrying, retry_if_exception_type
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from gitlab_port_export.base.jsontext import decode, encode

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024 * 1024
# A few bytes of JSON (`{},`) become a hundred times as many of Python's; smaller bodies cannot become much.
MAX_VALUES = 1_000_000
COUNTED_FROM = 1024 * 1024
MAX_REDIRECTS = 5
MAX_ATTEMPTS = 6
LONGEST_WAIT = 120.0
CONNECT_TIMEOUT = 10.0
# A whole answer may take so many times what is allowed for each part of it.
BODY_TIMEOUTS = 3
# Connect and read seconds of the first question to a host, unless the user says how long to wait for answers: two
# attempts end within 15 s.
FIRST_TIMEOUT = (3.0, 4.0)
FIRST_WAIT = 1.0
# 409 only as GitLab's "Resource lock"; 500 because a GitLab under load answers it and recovers.
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
# An answer with one of these is read: 207 is Port's for a bulk call in which some rows were refused.
PARSED_STATUSES = frozenset({200, 201, 207})
# What begins a value in JSON, and what may hold the same characters as text.
MARKS = (b",", b"{", b"[")
STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
# x-ratelimit-reset is epoch seconds in some documents of Port and seconds-until-reset in its clients.
EPOCH_THRESHOLD = 1_000_000_000


class Stopped(Exception):
    """The run was told to stop, or its deadline has passed; nothing more may be asked.

    `asked` is the address of the host whose answer was wanted, where a request met it.
    """

    def __init__(self, asked: str = "") -> None:
        super().__init__(asked)
        self.asked = asked


class Unreachable(Exception):
    """No answer could be had: the text says what happened, and never holds a secret."""


class TooLarge(Unreachable):
    """An answer was more than the bounds allow; fewer rows at once may fit."""


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

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, never below zero; None without one."""
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    def at_most(self, seconds: float) -> "Clock":
        """Return a clock for a step that may take so long, and no longer than what is left of the run."""
        return Clock(deadline=seconds if self.left is None else min(seconds, self.left))

    def check(self) -> None:
        """Raise Stopped when nothing more may be asked."""
        if self._stop.is_set() or self.past_deadline:
            raise Stopped

    def within(self, seconds: float) -> float:
        """Return `seconds`, or what is left of the run when that is less; never zero, which no socket takes."""
        return seconds if self._ends is None else min(seconds, max(0.05, self._ends - time.monotonic()))

    def sleep(self, seconds: float) -> None:
        """Wait `seconds`, or raise Stopped as soon as the run is told to stop."""
        self.check()
        self._stop.wait(self.within(seconds))
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

    `data` is the parsed body, or None where the server does not call it JSON or it does not parse. `links` says that
    the host's Link headers are known to arrive: this answer or an earlier one had such a header.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    data: Any = None
    links: bool = False

    @property
    def is_json(self) -> bool:
        """Whether the server calls the body JSON."""
        return _is_json(self.headers)


class _Again(Exception):
    """An attempt that may be repeated: with the answer it got, or the reason why it got none."""

    def __init__(self, answer: Answer | None, why: str = "") -> None:
        super().__init__(why)
        self.answer, self.why = answer, why


def _is_json(headers: Mapping[str, str]) -> bool:
    return "json" in headers.get("content-type", "").lower()


class Bearer(AuthBase):
    """Sign requests to one origin and refuse every other; an auth object also keeps netrc out.

    requests would replace a plain Authorization header with what ~/.netrc holds for the host. With an `agent` the
    request is made in that name instead of the client's own.
    """

    def __init__(self, origin: str, token: Callable[[], str], agent: str = "") -> None:
        self._origin, self._token, self._agent = origin, token, agent

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign the request. Raises Unreachable for another origin and for a token that no header can carry."""
        if origin_of(request.url or "") != self._origin:
            raise Unreachable("refused to send credentials to another host")
        token = self._token()
        # http.client would raise an error that shows the token.
        if not (token.isascii() and token.isprintable()):
            raise Unreachable("the token holds characters that an HTTP header cannot carry")
        request.headers["Authorization"] = f"Bearer {token}"
        if self._agent:
            request.headers["User-Agent"] = self._agent
        return request


class NoAuth(AuthBase):
    """Send no credentials, also none from ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leave the request unsigned."""
        return request


def origin_of(url: str) -> str:
    """Return scheme://host:port of a URL, in lower case and with the port always written; "" where it is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


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


def _number(text: str) -> float | None:
    return float(text) if text.strip().isdecimal() else None


def is_used_up(headers: Mapping[str, str], reserve: int) -> bool:
    """Say whether the host's remaining allowance is no more than `reserve` requests."""
    left = _number(headers.get("ratelimit-remaining") or headers.get("x-ratelimit-remaining") or "")
    return left is not None and left <= reserve


class Http:
    """One host: every request to it goes through `send`."""

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
        patience: int = MAX_ATTEMPTS,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.origin = origin_of(base_url)
        self.clock = clock or Clock()
        self.pace = Pace(self.clock)
        self.requests = 0
        self.workers = workers
        self._patience = patience
        self._timeout = timeout
        connect, answer = FIRST_TIMEOUT
        longer = first_timeout or 0.0
        self._first_timeout = (max(connect, min(longer, CONNECT_TIMEOUT)), max(answer, longer))
        self._links = False
        # The proxy and the certificates that the environment names for this host.
        found = requests.Session().merge_environment_settings(self.base_url, {}, True, verify, None)
        self._proxies, self._verify = found["proxies"], found["verify"]
        self._tls = None if strict else _lenient()
        self._user_agent = user_agent
        self._local = threading.local()
        self._lock = threading.Lock()
        self._adapters: list[HTTPAdapter] = []

    def set_user_agent(self, text: str) -> None:
        """Say who we are from now on; Port stores the User-Agent as the owner of what we write."""
        self._user_agent = text

    def go_on_with(self, clock: Clock) -> None:
        """Take another clock, for the last words of a run whose own has stopped."""
        self.clock, self.pace = clock, Pace(clock)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for adapter in self._adapters:
                adapter.close()
            self._adapters.clear()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Iterable[tuple[str, str]] = (),
        payload: Any = None,
        auth: AuthBase | None = None,
        first_contact: bool = False,
        patience: int | None = None,
    ) -> Answer:
        """Return the answer to one request after the retries that the host's trouble deserves.

        A status that stays bad is returned, not raised. First contact is bounded: a host that does not answer is
        given up within 15 s (or after two times the `first_timeout`), and only a rate limit is waited for. `patience`
        is another number of attempts. A `payload` of bytes is JSON already.
        Raises Unreachable when there was no answer, Stopped when the run has ended.
        """
        body = payload if payload is None or isinstance(payload, bytes) else encode(payload)
        url = f"{self.base_url}{path}"
        timeout = self._first_timeout if first_contact else (CONNECT_TIMEOUT, self._timeout)
        tries = 2 if first_contact else patience or self._patience
        longest = FIRST_WAIT if first_contact else LONGEST_WAIT

        def attempt() -> Answer:
            self.pace.wait()
            return self._attempt(method, url, tuple(params), body, auth or NoAuth(), timeout)

        try:
            try:
                return attempt()
            except _Again as failure:
                # Nearly no request comes to this, and the others need not pay for what counts attempts.
                return self._repeat(attempt, failure, tries, longest)
        except _Again as last:
            if last.answer is not None:
                return last.answer
            raise Unreachable(last.why) from None
        except Stopped:
            raise Stopped(self.base_url) from None

    def _repeat(self, attempt: Callable[[], Answer], failure: _Again, tries: int, longest: float) -> Answer:
        """Go on after a first attempt that failed; the last failure is raised as it is."""
        first = [failure]

        def once() -> Answer:
            if first:
                raise first.pop()
            return attempt()

        retrying = Retrying(
            stop=lambda state: state.attempt_number >= tries,
            wait=lambda state: self._wait(state, longest),
            before_sleep=self._brake,
            sleep=self.clock.sleep,
            retry=retry_if_exception_type(_Again),
            reraise=True,
        )
        return retrying(once)

    def _wait(self, state: RetryCallState, longest: float) -> float:
        return self._backoff(_last_answer(state), state.attempt_number, longest)

    def pause(self, answer: Answer, attempt: int) -> None:
        """Wait before a part of a request is asked for once more, as after a whole one that got that answer.

        Raises Stopped.
        """
        seconds = self._backoff(answer, attempt, LONGEST_WAIT)
        if answer.status == 429:
            self.pace.hold(seconds)
        self.clock.sleep(seconds)

    def _backoff(self, answer: Answer | None, attempt: int, longest: float) -> float:
        """Obey the server's word, but never come back sooner than an exponential backoff with some jitter."""
        throttled = answer is not None and answer.status == 429
        # Every answer tells when the rate limit starts anew; that is a time to wait for only where it was the reason.
        obeyed = answer is not None and (throttled or "retry-after" in answer.headers)
        asked = retry_after(answer.headers, self.clock.now()) if answer and obeyed else None
        # Workers that fail in the same instant must not come back in the same instant.
        jitter = 1 + random.random() / 4  # noqa: S311  # no secret hangs on it
        backoff: float = 0.5 * 2 ** (attempt - 1) * jitter
        if throttled and asked is None:
            # GitLab's application limiter answers 429 without Retry-After; its windows are a minute long.
            backoff = max(backoff, 5.0 * attempt)
        return min(max(asked or 0.0, backoff), LONGEST_WAIT if throttled else longest)

    def _brake(self, state: RetryCallState) -> None:
        """Before a wait: a rate limit is meant for all workers of the host."""
        answer, seconds = _last_answer(state), state.upcoming_sleep
        if answer is not None and answer.status == 429:
            self.pace.hold(seconds)
        reason = state.outcome.exception() if state.outcome else ""
        logger.info("waiting %.1f s before attempt %d: %s", seconds, state.attempt_number + 1, reason)

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
            url, params = _joined(answer.url, answer.headers.get("location", "")), ()
            if (origin := origin_of(url)) != self.origin:
                raise Unreachable(f"the server redirects to {origin or 'no URL'}; redirects are not followed there")
        else:
            raise Unreachable("too many redirects")
        if answer.status in RETRIED_STATUSES or (answer.status == 409 and b"Resource lock" in answer.body):
            raise _Again(answer, f"{method} {answer.url} answered {answer.status}")
        unread = answer.is_json and answer.data is None and answer.body.strip() != b"null"
        if unread and answer.status in PARSED_STATUSES:
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
            with self._adapter().send(
                _prepared(method, url, params, headers, body, auth),
                stream=True,
                timeout=(self.clock.within(timeout[0]), self.clock.within(timeout[1])),
                verify=True if self._verify is None else self._verify,
                proxies=self._proxies,
            ) as response:
                if response.status_code == 407:
                    raise Unreachable("the proxy asks for another user name and password (407)")
                content = _read_bounded(response, self.clock, BODY_TIMEOUTS * timeout[1])
                shown = url.partition("?")[0]
                logger.debug(
                    "%s %s %d %d bytes %.3f s",
                    method, response.url, response.status_code, len(content), time.perf_counter() - started,
                )  # fmt: skip
                lower = dict(response.headers.lower_items())
                data = _parse(content) if _is_json(lower) else None
                self._links = self._links or "link" in lower
                return Answer(response.status_code, lower, content, shown, data, self._links)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
            # Our own addresses were checked; and requests' words quote the proxy's, which may hold a password.
            raise Unreachable("the proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used") from None
        except (requests.exceptions.RequestException, HTTPError, OSError) as error:
            reason = _innermost(error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise Unreachable(
                    f"the TLS certificate of {self.origin} could not be verified: {_shown(reason)}{_advice(reason)}"
                ) from None
            proxy = isinstance(error, requests.exceptions.ProxyError)
            what = "the proxy refused" if proxy else f"{self.origin} did not answer"
            raise _Again(None, f"{what}: {_shown(reason)}") from None

    def _adapter(self) -> HTTPAdapter:
        """Return this thread's connections. An adapter keeps no cookies, follows nothing and reads no ~/.netrc.

        A session would find all that, the proxy and the certificates anew for each request, at twice the cost.
        """
        adapter: HTTPAdapter | None = getattr(self._local, "adapter", None)
        if adapter is None:
            adapter = self._local.adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
            if self._tls:
                adapter.init_poolmanager(1, 1, ssl_context=self._tls)
                if proxy := select_proxy(self.base_url, self._proxies):
                    # The adapter keeps what it has made for a proxy, under its address.
                    address = prepend_scheme_if_needed(proxy, "http")  # type: ignore[no-untyped-call]  # has no types
                    adapter.proxy_manager_for(address, ssl_context=self._tls)
            with self._lock:
                self._adapters.append(adapter)
        return adapter


def _lenient() -> ssl.SSLContext:
    """Return a context that takes certificates which break RFC 5280, as those of many private authorities do.

    Python verifies strictly from 3.13 on: https://docs.python.org/3/library/ssl.html#ssl.create_default_context
    """
    context = create_urllib3_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _prepared(
    method: str,
    url: str,
    params: tuple[tuple[str, str], ...],
    headers: dict[str, str],
    body: bytes | None,
    auth: AuthBase,
) -> requests.PreparedRequest:
    """Return the request as `requests.Request` would prepare it, which looks anew at all that cannot be: a third more.

    Our addresses were checked with the settings, and the body is bytes.
    """
    request = requests.PreparedRequest()
    request.method, request.body = method, body
    request.url = f"{requote_uri(url)}?{urlencode(params)}" if params else requote_uri(url)
    request.headers = CaseInsensitiveDict(headers)
    if body is not None:
        request.headers["Content-Length"] = str(len(body))
    elif method != "GET":
        request.headers["Content-Length"] = "0"
    prepared: requests.PreparedRequest = auth(request)
    return prepared


def _last_answer(state: RetryCallState) -> Answer | None:
    failure = state.outcome.exception() if state.outcome else None
    return failure.answer if isinstance(failure, _Again) else None


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        return ""


def _parse(body: bytes) -> Any:
    if len(body) > COUNTED_FROM and _values_of(body) > MAX_VALUES:
        raise TooLarge(f"an answer held more than {MAX_VALUES:,} values")
    try:
        return decode(body)
    except ValueError:
        return None


def _values_of(body: bytes) -> int:
    """Return about how many values a JSON text holds; commas and brackets in its strings count only where few do."""
    found = sum(map(body.count, MARKS))
    return found if found <= MAX_VALUES else sum(map(STRINGS.sub(b"", body).count, MARKS))


def _read_bounded(response: requests.Response, clock: Clock, seconds: float) -> bytes:
    """Read the decompressed body up to MAX_BODY_BYTES and for so many seconds; a body cut short raises in urllib3.

    It is read as it arrives: each byte may come in time and all of them never.
    """
    ends = time.monotonic() + seconds
    parts: list[bytes] = []
    size = 0
    while part := response.raw.read1(256 * 1024, decode_content=True):
        clock.check()
        if time.monotonic() > ends:
            raise Unreachable(f"an answer took longer than {seconds:g} s to arrive")
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise TooLarge(f"an answer was larger than {MAX_BODY_BYTES // 1024 // 1024} MiB")
        parts.append(part)
    return b"".join(parts)


def _innermost(error: BaseException) -> BaseException:
    """Return the error at the bottom of requests' and urllib3's nested ones."""
    named = getattr(error, "reason", None) or getattr(error, "original_error", None)
    inner = named or (error.args[0] if error.args else None)
    return _innermost(inner) if isinstance(inner, BaseException) else error


def _advice(reason: ssl.SSLCertVerificationError) -> str:
    # OpenSSL's codes for a certificate that nobody known has signed, and for one that breaks RFC 5280.
    if reason.verify_code in (18, 19, 20, 21):
        return "; name the file of the authority that signed it in REQUESTS_CA_BUNDLE"
    if reason.verify_code in range(79, 95):
        return "; mend the certificate, or set OCEAN__SSL__PORT__X509__STRICT=false (GitLab: __THIRD_PARTY__)"
    return ""


def _shown(reason: BaseException) -> str:
    text = str(reason)
    # urllib3 puts its own object, or the host once more, before the reason.
    return re.sub(r"^(<[^>]*object at 0x[^>]*>|HTTPS?Connection(Pool)?\([^)]*\)): ", "", text)
