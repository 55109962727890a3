"""The client signs in, renews a refused token once for all workers, and tells a refusal from an answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gitlab_port_export.base.answer import Answer, Unreachable
from gitlab_port_export.base.errors import PortUnavailable
from gitlab_port_export.base.http import Http
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_faults import Fault, drop, html, refuse
from gitlab_port_export.port.client import Port, PortRefused, segment
from testbed.harness import NoWait, port_with
from testbed.port_bed import AGENT, signed_in, things

LOGIN = "POST /v1/auth/access_token"


@pytest.fixture
def server() -> Iterator[PortServer]:
    with port_server(port_with(things())) as found:
        yield found


@pytest.fixture
def port(server: PortServer) -> Iterator[Port]:
    with signed_in(server) as found:
        yield found


def sign_in(url: str, client: str = "demo-client", secret: str = "demo-secret") -> None:
    http = Http(url, user_agent=AGENT, clock=NoWait(), timeout=5)
    try:
        Port(http, lambda: (client, secret)).sign_in(first_contact=True)
    finally:
        http.close()


class TestSigningIn:
    def test_every_request_is_signed_and_says_who_we_are(self, server: PortServer, port: Port) -> None:
        port.ask("GET", "/blueprints")
        login, call = server.requests
        assert login.body == {"clientId": "demo-client", "clientSecret": "demo-secret"}
        assert (call.status, call.user_agent, login.user_agent) == (200, AGENT, AGENT)

    @pytest.mark.parametrize(("client", "secret"), [("demo-client", "hunter-2"), ("nobody", "demo-secret")])
    def test_wrong_credentials_end_the_run_at_once(self, server: PortServer, client: str, secret: str) -> None:
        with pytest.raises(PortUnavailable, match="refused the credentials: 401") as raised:
            sign_in(server.url, client, secret)
        assert "OCEAN__PORT__CLIENT_SECRET" in raised.value.hint
        assert secret not in str(raised.value)
        assert len(server.requests) == 1

    def test_a_login_page_in_ports_place(self, server: PortServer) -> None:
        server.faults.append(Fault(LOGIN, html(200)))
        with pytest.raises(PortUnavailable, match="not its API's JSON"):
            sign_in(server.url)

    @pytest.mark.parametrize("body", [{"ok": True}, {"ok": True, "accessToken": None}, {"ok": True, "accessToken": 5}])
    def test_an_answer_without_a_token(self, server: PortServer, body: Any) -> None:
        server.faults.append(Fault(LOGIN, refuse(200, body)))
        with pytest.raises(PortUnavailable):
            sign_in(server.url)

    def test_first_contact_gives_up_soon(self, server: PortServer) -> None:
        server.faults.append(Fault(LOGIN, drop()))
        with pytest.raises(PortUnavailable, match="could not be reached") as raised:
            sign_in(server.url)
        assert "OCEAN__PORT__BASE_URL" in raised.value.hint
        assert len(server.requests) == 2

    @pytest.mark.parametrize(
        ("base", "other"),
        [
            ("https://api.getport.io", "api.us.getport.io"),
            ("https://api.us.port.io", "api.port.io"),
            ("https://port.example.com", ""),
        ],
    )
    def test_a_refusal_hints_at_the_other_region(self, base: str, other: str) -> None:
        http = Http(base, user_agent=AGENT, clock=NoWait())
        answer = Answer(401, {}, b"", base, {"ok": False, "error": "invalid_credentials"})
        http.send = lambda *args, **options: answer  # type: ignore[method-assign]  # no real Port in a test
        with pytest.raises(PortUnavailable) as raised:
            Port(http, lambda: ("a", "b")).sign_in()
        assert (f"OCEAN__PORT__BASE_URL=https://{other}" in raised.value.hint) == bool(other)


class TestRefresh:
    def test_a_refused_token_is_renewed_and_the_request_repeated(self, server: PortServer, port: Port) -> None:
        server.store.revoke_tokens()
        assert port.ask("GET", "/blueprints")["ok"]
        assert [(r.method, r.status) for r in server.requests[1:]] == [("GET", 401), ("POST", 200), ("GET", 200)]

    def test_once_for_all_workers(self, server: PortServer, port: Port) -> None:
        with ThreadPoolExecutor(8) as executor:
            for _ in range(3):
                server.store.revoke_tokens()
                answers = list(executor.map(lambda _: port.call("GET", "/blueprints").status, range(40)))
                assert set(answers) == {200}
        assert len(server.calls(LOGIN)) == 4

    @pytest.mark.parametrize(("times", "status"), [(1, 200), (3, 200), (4, 401)])
    def test_three_times_a_request_and_no_more(self, server: PortServer, port: Port, times: int, status: int) -> None:
        server.faults.append(Fault("GET /v1/blueprints$", refuse(401), times=times))
        server.requests.clear()
        assert port.call("GET", "/blueprints").status == status
        assert len(server.calls("GET")) == min(times + 1, 4)
        assert len(server.calls(LOGIN)) == min(times, 3)

    def test_credentials_that_were_changed_meanwhile_are_read_again(self, server: PortServer) -> None:
        secrets = iter(["demo-secret", "rotated"])
        http = Http(server.url, user_agent=AGENT, clock=NoWait(), timeout=5)
        try:
            port = Port(http, lambda: ("demo-client", next(secrets)))
            port.sign_in()
            server.store.credentials["demo-client"] = "rotated"
            server.store.revoke_tokens()
            assert port.call("GET", "/blueprints").status == 200
        finally:
            http.close()

    def test_credentials_that_were_taken_away_end_the_run(self, server: PortServer, port: Port) -> None:
        server.store.credentials.clear()
        server.store.revoke_tokens()
        with pytest.raises(PortUnavailable):
            port.call("GET", "/blueprints")


class TestAnswers:
    def test_a_refusal_names_status_code_and_text(self, port: Port) -> None:
        with pytest.raises(PortRefused) as raised:
            port.ask("GET", "/blueprints/nowhere")
        refusal = raised.value
        assert (refusal.status, refusal.code) == (404, "not_found")
        assert str(refusal) == f"404: {refusal.text}"

    @pytest.mark.parametrize(
        "effect",
        [refuse(200, {"ok": False, "error": "internal_error"}), html(200), html(404), refuse(207, {"ok": True})],
    )
    def test_what_is_no_answer(self, server: PortServer, port: Port, effect: Any) -> None:
        server.faults.append(Fault("GET", effect))
        with pytest.raises(PortRefused):
            port.ask("GET", "/blueprints")

    def test_a_long_text_is_cut(self, server: PortServer, port: Port) -> None:
        server.faults.append(Fault("GET", refuse(422, {"ok": False, "message": "x" * 10_000})))
        with pytest.raises(PortRefused) as raised:
            port.ask("GET", "/blueprints")
        assert len(str(raised.value)) < 600

    def test_an_error_that_passes_is_not_seen(self, server: PortServer, port: Port) -> None:
        server.faults += [
            Fault("GET", refuse(503), times=1),
            Fault("GET", html(), times=1),
            Fault("GET", drop(), times=1),
        ]
        assert port.ask("GET", "/blueprints")["ok"]
        assert len(server.calls("GET")) == 4

    def test_no_answer_at_all(self, server: PortServer, port: Port) -> None:
        server.faults.append(Fault("GET", drop()))
        with pytest.raises(Unreachable):
            port.ask("GET", "/blueprints")

    def test_identifiers_are_one_segment(self, server: PortServer, port: Port) -> None:
        assert segment("a/b c?d#e%") == "a%2Fb%20c%3Fd%23e%25"
        assert port.call("GET", f"/blueprints/thing/entities/{segment('a/b')}").status == 404
        assert server.requests[-1].path == "/v1/blueprints/thing/entities/a%2Fb"
