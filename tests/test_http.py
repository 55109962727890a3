"""HTTP: what is retried and for how long, what is refused, and what is never sent to another host."""

import gzip
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from responses import matchers

from gitlab_port_export.base import answer as bounds
from gitlab_port_export.base.answer import Answer, TooLarge, Unreachable
from gitlab_port_export.base.auth import Bearer, origin_of
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.connection import prepared
from gitlab_port_export.base.http import FIRST_TIMEOUT, Http
from gitlab_port_export.base.retries import (
    LONGEST_WAIT,
    MAX_ATTEMPTS,
    RETRIED_STATUSES,
    is_used_up,
    retry_after,
    wait_before_retry,
)
from testbed.reading import HOST, Leap, scripted

NOW = 1_800_000_000.0
URL = f"{HOST}/x"


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http(HOST, user_agent="tester/1", clock=Leap())
    yield made
    made.close()


def slept(http: Http) -> float:
    assert isinstance(http.clock, Leap)
    return sum(http.clock.slept)


# What is repeated


@pytest.mark.parametrize("status", sorted(RETRIED_STATUSES))
def test_trouble_that_passes_is_waited_out(http: Http, web: responses.RequestsMock, status: int) -> None:
    web.get(URL, status=status)
    web.get(URL, json=[1])
    answer = http.send("GET", "/x")
    assert (answer.status, answer.data, http.requests) == (200, [1], 2)
    assert slept(http) >= 0.5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 422, 501])
def test_refusals_are_answers_at_once(http: Http, web: responses.RequestsMock, status: int) -> None:
    web.get(URL, status=status, json={"message": "no"})
    answer = http.send("GET", "/x")
    assert (answer.status, answer.data, http.requests) == (status, {"message": "no"}, 1)


def test_a_resource_lock_is_waited_out(http: Http, web: responses.RequestsMock) -> None:
    web.get(URL, status=409, json={"message": "409 Conflict: Resource lock"})
    web.get(URL, json={})
    assert http.send("GET", "/x").status == 200


def test_trouble_that_stays_is_the_answer_in_the_end(http: Http, web: responses.RequestsMock) -> None:
    web.get(URL, status=502, body="<html>")
    answer = http.send("GET", "/x")
    assert (answer.status, http.requests) == (502, MAX_ATTEMPTS)
    assert isinstance(http.clock, Leap)
    assert http.clock.slept == sorted(http.clock.slept)


def test_json_that_does_not_parse_is_asked_for_again(http: Http, web: responses.RequestsMock) -> None:
    web.get(URL, body=b'[{"id": 1}, {"id"', content_type="Application/JSON; charset=utf-8")
    web.get(URL, body=b'[{"id": 1}]', content_type="Application/JSON; charset=utf-8")
    answer = http.send("GET", "/x")
    assert (answer.data, answer.is_json, http.requests) == ([{"id": 1}], True, 2)


def test_null_is_json(http: Http, web: responses.RequestsMock) -> None:
    web.get(URL, body=b"null\n", content_type="application/json")
    assert (http.send("GET", "/x").data, http.requests) == (None, 1)


def test_html_is_no_data(http: Http, web: responses.RequestsMock) -> None:
    web.get(URL, body=b"[1]", content_type="text/html")
    answer = http.send("GET", "/x")
    assert (answer.data, answer.is_json, answer.body) == (None, False, b"[1]")


def _cut_length(handler: Any) -> None:
    handler.send_body(200, b'[{"id": 1}', [("Content-Length", "400"), ("Connection", "close")])
    handler.drop()


def _cut_gzip(handler: Any) -> None:
    packed = gzip.compress(json.dumps([{"id": n} for n in range(2000)]).encode())
    handler.send_body(200, packed[:-40], [("Content-Encoding", "gzip"), ("Content-Length", str(len(packed) - 40))])


def _cut_chunks(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    handler.wfile.write(b"40\r\n[1,")
    handler.drop()


def _no_gzip(handler: Any) -> None:
    handler.send_body(200, b"[1] this is not gzip", [("Content-Encoding", "gzip")])


def _nothing(handler: Any) -> None:
    handler.drop()


def _rubbish(handler: Any) -> None:
    handler.wfile.write(b"\x00\x01 nonsense\r\n\r\n")
    handler.drop()


@pytest.mark.parametrize("broken", [_cut_length, _cut_gzip, _cut_chunks, _no_gzip, _nothing, _rubbish])
def test_bodies_cut_short_are_asked_for_again(broken: Callable[[Any], None]) -> None:
    def first_broken(handler: Any) -> None:
        seen.append(handler.path)
        broken(handler) if len(seen) == 1 else handler.send_json(200, [1, 2])

    seen: list[str] = []
    with scripted(first_broken) as server:
        http = Http(server.url, user_agent="t", clock=Leap())
        assert http.send("GET", "/x", params=[("page", "2")]).data == [1, 2]
        http.close()
    assert seen == ["/x?page=2", "/x?page=2"]


def test_a_host_that_never_answers_is_unreachable() -> None:
    with scripted(_nothing) as server:
        http = Http(server.url, user_agent="t", clock=Leap(), attempts=3)
        with pytest.raises(Unreachable, match="did not answer") as caught:
            http.send("GET", "/x")
        http.close()
    assert http.requests == 3
    assert origin_of(server.url) in str(caught.value)


# How long


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "Mon, 32 Foo 2026 00:00:00 GMT"}, None),
        ({"ratelimit-reset": str(int(NOW + 40))}, 40),
        ({"ratelimit-reset": str(int(NOW - 40))}, 0),
        ({"x-ratelimit-reset": "9"}, 9),
        ({"x-ratelimit-reset": str(int(NOW + 12))}, 12),
        ({"retry-after": "3", "ratelimit-reset": str(int(NOW + 40))}, 3),
        ({"ratelimit-reset": "x", "x-ratelimit-reset": "4"}, 4),
        ({}, None),
    ],
)
def test_what_a_server_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@settings(deadline=None)
@given(st.sampled_from(["retry-after", "ratelimit-reset", "x-ratelimit-reset"]), st.text(max_size=60))
def test_no_header_can_break_the_wait(name: str, text: str) -> None:
    asked = retry_after({name: text}, NOW)
    assert asked is None or asked >= 0
    assert is_used_up({"ratelimit-remaining": text}, 5) in (True, False)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 8),
        ({"Retry-After": "86400"}, LONGEST_WAIT, LONGEST_WAIT),
        ({"Retry-After": "9" * 400}, LONGEST_WAIT, LONGEST_WAIT),
        ({"Retry-After": "0"}, 0.5, 1),
        ({"RateLimit-Reset": str(int(NOW + 33))}, 33, 34),
        ({"RateLimit-Reset": str(int(NOW * 1000))}, LONGEST_WAIT, LONGEST_WAIT),
        ({}, 5, 5),
    ],
)
def test_429_waits_as_told_within_bounds(
    http: Http, web: responses.RequestsMock, headers: dict[str, str], low: float, high: float
) -> None:
    web.get(URL, status=429, headers=headers, body="Retry later\n", content_type="text/plain")
    web.get(URL, json=[])
    assert http.send("GET", "/x").status == 200
    assert low <= slept(http) <= high


def test_503_waits_as_told(http: Http, web: responses.RequestsMock) -> None:
    web.get(URL, status=503, headers={"Retry-After": "60"})
    web.get(URL, json=[])
    http.send("GET", "/x")
    assert slept(http) == 60


def test_a_rate_limit_that_is_only_told_is_not_waited_for(http: Http, web: responses.RequestsMock) -> None:
    web.get(URL, status=502, headers={"RateLimit-Remaining": "900", "RateLimit-Reset": str(int(NOW + 50))})
    web.get(URL, json=[])
    http.send("GET", "/x")
    assert slept(http) < 1


def test_a_429_slows_every_worker_of_the_host(web: responses.RequestsMock) -> None:
    arrived: list[tuple[str, float]] = []

    class Meanwhile(Leap):
        """While one worker waits for its second attempt, another one comes with its first."""

        def sleep(self, seconds: float) -> None:
            if len(arrived) == 1:
                arrived.append(("told to wait", seconds))
                http.send("GET", "/other")
            super().sleep(seconds)

    def throttled(request: Any) -> tuple[int, dict[str, str], str]:
        arrived.append(("throttled", clock.now() - NOW))
        return (429, {"Retry-After": "30"}, "") if len(arrived) == 1 else (200, {}, "")

    def fine(request: Any) -> tuple[int, dict[str, str], str]:
        arrived.append(("other", clock.now() - NOW))
        return 200, {}, ""

    clock = Meanwhile()
    http = Http(HOST, user_agent="t", clock=clock)
    web.add_callback("GET", URL, throttled)
    web.add_callback("GET", f"{HOST}/other", fine)
    assert http.send("GET", "/x").status == 200
    http.close()
    (_, told), (_, came) = arrived[1:3]
    assert [name for name, _ in arrived[:3]] == ["throttled", "told to wait", "other"]
    assert told == pytest.approx(came)
    assert 30 <= told <= 31


def test_jobs_that_wait_for_one_limit_do_not_come_back_in_one_instant() -> None:
    refused = Answer(429, {"retry-after": "30"}, b"", URL)
    waits = {wait_before_retry(refused, 1, NOW) for _ in range(50)}
    assert len(waits) > 1
    assert max(waits) - min(waits) <= 1


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"RateLimit-Remaining": "10", "RateLimit-Reset": str(int(NOW + 20))}, 20),
        ({"RateLimit-Remaining": "11", "RateLimit-Reset": str(int(NOW + 20))}, 0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "15"}, 15),
        ({"RateLimit-Remaining": "0"}, 0),
        ({"RateLimit-Remaining": "many", "RateLimit-Reset": "5"}, 0),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "99999999999999"}, LONGEST_WAIT),
    ],
)
def test_a_nearly_used_up_allowance_is_left_to_recover(
    http: Http, web: responses.RequestsMock, headers: dict[str, str], wait: float
) -> None:
    web.get(URL, headers=headers, json=[])
    http.send("GET", "/x")
    assert slept(http) == 0
    http.send("GET", "/x")
    assert slept(http) == wait


# Bounds


def timeouts_of(http: Http, **options: Any) -> list[tuple[float, float]]:
    """The timeouts that reached the socket of a host that does not answer."""
    seen: list[tuple[float, float]] = []

    def refuse(session: Any, request: Any, **sent: Any) -> Any:
        seen.append(sent["timeout"])
        raise requests.exceptions.ReadTimeout("timed out")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.adapters.HTTPAdapter, "send", refuse)
        with pytest.raises(Unreachable):
            http.send("GET", "/x", **options)
    return seen


def test_first_contact_gives_up_within_15_seconds(http: Http) -> None:
    seen = timeouts_of(http, first_contact=True)
    assert sum(map(sum, seen)) + slept(http) <= 15
    assert len(seen) == 2


def test_a_timeout_that_the_user_set_counts_for_first_contact_too() -> None:
    patient = Http(HOST, user_agent="t", clock=Leap(), timeout=120, first_timeout=120)
    assert set(timeouts_of(patient, first_contact=True)) == {(10.0, 120)}
    hasty = Http(HOST, user_agent="t", clock=Leap(), timeout=0.1, first_timeout=0.1)
    assert set(timeouts_of(hasty, first_contact=True)) == {FIRST_TIMEOUT}


def test_workers_that_fail_together_do_not_come_back_together(web: responses.RequestsMock) -> None:
    web.get(URL, status=503)
    waits = set()
    for _ in range(20):
        http = Http(HOST, user_agent="t", clock=Leap(), attempts=2)
        http.send("GET", "/x")
        waits.add(slept(http))
    assert len(waits) > 10
    assert all(0.5 <= wait <= 0.625 for wait in waits)


def test_first_contact_waits_for_a_rate_limit_only(http: Http, web: responses.RequestsMock) -> None:
    web.get(URL, status=503, headers={"Retry-After": "3600"})
    assert http.send("GET", "/x", first_contact=True).status == 503
    assert slept(http) <= 1
    web.get(f"{HOST}/y", status=429, headers={"Retry-After": "45"})
    web.get(f"{HOST}/y", json=[])
    assert http.send("GET", "/y", first_contact=True).status == 200
    assert slept(http) >= 45


def test_no_timeout_outlasts_the_deadline() -> None:
    http = Http(HOST, user_agent="t", clock=Leap(deadline=5), timeout=60)
    assert all(0 < part <= 5 for seen in timeouts_of(http) for part in seen)
    free = Http(HOST, user_agent="t", clock=Leap(), timeout=60)
    assert set(timeouts_of(free)) == {(10.0, 60.0)}


def test_a_stopped_run_asks_nothing_more(http: Http, web: responses.RequestsMock) -> None:
    http.clock.stop()
    with pytest.raises(Stopped):
        http.send("GET", "/x")
    assert http.requests == 0


def test_a_stop_ends_a_wait() -> None:
    clock = Clock()
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(Stopped):
            clock.sleep(3600)
        ended.set()

    worker = threading.Thread(target=wait)
    worker.start()
    clock.stop()
    worker.join()
    assert ended.is_set()


def test_a_deadline_ends_a_wait() -> None:
    with pytest.raises(Stopped):
        Clock(deadline=0.01).sleep(3600)


def test_a_stop_ends_the_wait_between_attempts(web: responses.RequestsMock) -> None:
    class StopsWhileWaiting(Leap):
        def sleep(self, seconds: float) -> None:
            self.stop()
            super().sleep(seconds)

    http = Http(HOST, user_agent="t", clock=StopsWhileWaiting())
    web.get(URL, status=503)
    with pytest.raises(Stopped):
        http.send("GET", "/x")
    http.close()
    assert http.requests == 1


@pytest.mark.parametrize("packed", [False, True])
def test_bodies_are_bounded_after_unpacking(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    def bomb(handler: Any) -> None:
        plain = b"[" + b" " * (2 << 20) + b"]"
        body = gzip.compress(plain) if packed else plain
        handler.send_body(200, body, [("Content-Encoding", "gzip" if packed else "identity")])

    monkeypatch.setattr(bounds, "MAX_BODY_BYTES", 1 << 20)
    with scripted(bomb) as server:
        http = Http(server.url, user_agent="t", clock=Leap())
        with pytest.raises(Unreachable, match="larger than 1 MiB"):
            http.send("GET", "/x")
        http.close()
    assert http.requests == 1


def json_of(body: bytes) -> Any:
    """What becomes of this body."""
    with scripted(lambda handler: handler.send_body(200, body)) as server:
        http = Http(server.url, user_agent="t", clock=Leap())
        try:
            return http.send("GET", "/x").data
        finally:
            http.close()


def test_an_answer_is_bounded_by_what_it_becomes() -> None:
    for unit in (b"{},", b"[],", b"0,", b'{"a":1},'):
        body = b"[" + unit * (bounds.MAX_VALUES + 1) + b"0]"
        with pytest.raises(TooLarge, match="more than 1,000,000 values"):
            json_of(body)


def test_texts_count_as_one_value_whatever_they_hold() -> None:
    text = 'a,b{c}[d]\\"e,,,' * 500_000
    body = json.dumps([{"description": text}] * 2).encode()
    assert json_of(body) == [{"description": text}] * 2


def test_a_host_is_known_to_send_links_once_one_arrived() -> None:
    def script(handler: Any) -> None:
        links = [("Link", '<http://h/>; rel="first"')] if handler.url_path == "/linked" else []
        handler.send_json(200, [], links)

    with scripted(script) as server:
        http = Http(server.url, user_agent="t", clock=Leap())
        found = [http.send("GET", path).links for path in ("/x", "/linked", "/x")]
        http.close()
    assert found == [False, True, True]


# Redirects and credentials


def test_redirects_are_followed_on_the_same_host_with_credentials() -> None:
    seen: list[tuple[str, str | None]] = []

    def moved(handler: Any) -> None:
        seen.append((handler.path, handler.headers["Authorization"]))
        if handler.path.startswith("/old"):
            handler.send_body(301, b"", [("Location", "/new?page=2")])
        else:
            handler.send_json(200, ["new"])

    with scripted(moved) as server:
        http = Http(server.url, user_agent="t", clock=Leap())
        answer = http.send("GET", "/old", params=[("page", "2")], auth=Bearer(http.origin, lambda: "secret"))
        http.close()
    assert answer.data == ["new"]
    assert seen == [("/old?page=2", "Bearer secret"), ("/new?page=2", "Bearer secret")]


def test_redirects_to_another_host_are_refused_and_named() -> None:
    with scripted(lambda handler: handler.send_json(200, [])) as other:
        seen: list[str] = []

        def elsewhere(handler: Any) -> None:
            seen.append(handler.path)
            handler.send_body(302, b"", [("Location", f"{other.url}/login?back=secret")])

        with scripted(elsewhere) as server:
            http = Http(server.url, user_agent="t", clock=Leap())
            with pytest.raises(Unreachable, match="redirects to") as caught:
                http.send("GET", "/x", auth=Bearer(http.origin, lambda: "s3cr3t"))
            http.close()
    assert other.url in str(caught.value)
    assert "secret" not in str(caught.value)
    assert seen == ["/x"]


@pytest.mark.parametrize("location", ["/x", "", "http://[", "http://host:port/", "//:0:0"])
def test_redirects_that_lead_nowhere_end(http: Http, web: responses.RequestsMock, location: str) -> None:
    web.get(URL, status=302, headers={"Location": location})
    with pytest.raises(Unreachable, match="redirect"):
        http.send("GET", "/x")


def test_a_post_is_not_redirected(http: Http, web: responses.RequestsMock) -> None:
    web.post(URL, status=307, headers={"Location": "/y"})
    assert http.send("POST", "/x", payload={}).status == 307


@pytest.mark.parametrize("token", ["gl\npat", "glpat-…", "gl\x00pat", "gl\x7fpat"])
def test_a_token_that_no_header_can_carry_is_not_shown(http: Http, token: str) -> None:
    with pytest.raises(Unreachable, match="cannot carry") as caught:
        http.send("GET", "/x", auth=Bearer(http.origin, lambda: token))
    assert token not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_credentials_are_bound_to_their_origin(http: Http) -> None:
    for url in ("https://evil.example.com", f"{HOST}.evil.example.com", HOST.replace("https", "http"), f"{HOST}:8443"):
        with pytest.raises(Unreachable, match="another host"):
            http.send("GET", "/x", auth=Bearer(origin_of(url), lambda: "secret"))


def test_netrc_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password from-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str | None] = []

    def note(handler: Any) -> None:
        seen.append(handler.headers["Authorization"])
        handler.send_json(200, [])

    with scripted(note) as server:
        http = Http(server.url, user_agent="t", clock=Leap())
        http.send("GET", "/x", auth=Bearer(http.origin, lambda: "mine"))
        http.send("GET", "/x")
        http.close()
        with requests.Session() as session:
            session.get(server.url, timeout=10)
    assert seen[:2] == ["Bearer mine", None]
    assert str(seen[2]).startswith("Basic "), "the file works, so its absence above means something"


def test_cookies_do_not_travel_from_token_to_token() -> None:
    seen: list[str | None] = []

    def bake(handler: Any) -> None:
        seen.append(handler.headers["Cookie"])
        handler.send_json(200, [], [("Set-Cookie", "session=of-token-1; Path=/")])

    with scripted(bake) as server:
        http = Http(server.url, user_agent="t", clock=Leap())
        http.send("GET", "/x")
        http.send("GET", "/x")
        http.close()
    assert seen == [None, None]


def test_a_proxy_that_refuses_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pa55word@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    http = Http(HOST, user_agent="t", clock=Leap(), attempts=1)
    with pytest.raises(Unreachable, match="proxy") as caught:
        http.send("GET", "/x", auth=Bearer(http.origin, lambda: "s3cr3t"))
    http.close()
    assert "pa55word" not in repr(caught.value)
    assert "s3cr3t" not in repr(caught.value)


def test_what_is_sent(web: responses.RequestsMock, http: Http) -> None:
    headers = {"User-Agent": "tester/2", "Accept-Encoding": "gzip", "Content-Type": "application/json"}
    web.post(
        URL,
        json={},
        match=[
            matchers.header_matcher(headers),
            matchers.json_params_matcher({"a": ["ü"]}),
            matchers.query_param_matcher({"scope": ["a b", "c&d"]}),
        ],
    )
    http.set_user_agent("tester/2")
    answer = http.send("POST", "/x", params=[("scope", "a b"), ("scope", "c&d")], payload={"a": ["ü"]})
    assert answer.url == URL, "no query: it could end up in a message"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", file, "-out", file.parent / "c"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    file.write_bytes(file.read_bytes() + (file.parent / "c").read_bytes())
    return file


def tls(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


def test_an_unknown_certificate_ends_it_at_once(certificate: Path) -> None:
    with scripted(lambda handler: handler.send_json(200, []), tls=tls(certificate)) as server:
        http = Http(server.url, user_agent="t", clock=Leap())
        with pytest.raises(Unreachable, match=r"certificate .* could not be verified"):
            http.send("GET", "/x")
        http.close()
    assert http.requests == 1


def test_a_handshake_that_breaks_off_is_only_trouble(http: Http) -> None:
    broken = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    seen: list[str] = []

    def refuse(session: Any, request: Any, **sent: Any) -> Any:
        seen.append(request.url)
        nested = urllib3.exceptions.MaxRetryError(None, request.url, urllib3.exceptions.SSLError(broken))  # type: ignore[arg-type]  # no pool
        raise requests.exceptions.SSLError(nested)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.adapters.HTTPAdapter, "send", refuse)
        with pytest.raises(Unreachable, match="EOF occurred"):
            http.send("GET", "/x")
    assert len(seen) == MAX_ATTEMPTS


def test_a_connection_dropped_under_tls_is_only_trouble(certificate: Path) -> None:
    def first_dropped(handler: Any) -> None:
        seen.append(handler.path)
        # Without closing TLS properly, as a restarted proxy does.
        handler.drop() if len(seen) < 3 else handler.send_json(200, ["fine"])

    seen: list[str] = []
    with scripted(first_dropped, tls=tls(certificate)) as server:
        http = Http(server.url, user_agent="t", clock=Leap(), verify=str(certificate))
        assert http.send("GET", "/x").data == ["fine"]
        http.close()
    assert len(seen) == 3


# Small things


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://GitLab.Example.com/a?b", "https://gitlab.example.com:443"),
        ("http://h", "http://h:80"),
        ("http://h:8080/x", "http://h:8080"),
        ("HTTPS://user:pw@h/x", "https://h:443"),
        ("http://h:99999/", ""),
        ("http://[::1", ""),
        ("", "://:0"),
    ],
)
def test_an_origin_is_scheme_host_and_port_in_lower_case(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_the_last_refusal_slows_nobody(http: Http, web: responses.RequestsMock) -> None:
    """Giving up is followed by no attempt, so there is nothing to wait for."""
    web.get(URL, status=429, headers={"Retry-After": "100"})
    assert http.send("GET", "/x").status == 429
    before = slept(http)
    http.pace.wait()
    assert slept(http) == before
    assert len(web.calls) == MAX_ATTEMPTS


SEGMENTS = st.lists(st.sampled_from(["a", "%2F", "ü", " ", "x.y", "~", "%zz", "@", "+"]), min_size=1, max_size=4).map(
    "".join
)
PAIRS = st.tuples(st.sampled_from(["page", "a b", "not[x]"]), st.text(st.sampled_from("a&=#? +%ü/😀"), max_size=4))


@given(
    st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
    SEGMENTS,
    st.lists(PAIRS, max_size=3),
    st.none() | st.binary(min_size=1, max_size=9),
)
def test_a_request_is_prepared_as_requests_does_it(
    method: str, path: str, params: list[tuple[str, str]], body: bytes | None
) -> None:
    url, headers, auth = f"{HOST}/{path}", {"User-Agent": "x"}, Bearer(origin_of(HOST), lambda: "secret")
    usual = requests.Request(method, url, headers, params=params, data=body, auth=auth).prepare()
    found = prepared(method, url, tuple(params), headers, body, auth)  # what goes to the socket
    assert (found.method, found.url, found.body) == (usual.method, usual.url, usual.body)
    assert dict(found.headers) == dict(usual.headers)
