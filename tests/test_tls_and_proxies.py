"""TLS and proxies: what the real command trusts, whom it goes through, and what it says when that fails."""

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme
import urllib3.connection
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from urllib3.util.ssl_ import create_urllib3_context

from conftest import Bench
from gitlab_port_export.base import connection
from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.world import sample_world
from testbed.forward_proxy import Proxy, forward_proxy
from testbed.harness import blueprint, mapping_of, port_with, resource
from testbed.here import run_here

pytestmark = pytest.mark.usefixtures("lent_evaluator")

CODES = {"GitLab": 3, "Port": 4}
SWITCHES = {"GitLab": "OCEAN__SSL__THIRD_PARTY__VERIFY", "Port": "OCEAN__SSL__PORT__VERIFY"}
HOST = "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST"
PASSWORD = "pa55-w0rd/of@the:proxy"
LOGIN = f"ada:{PASSWORD}"


@dataclass(frozen=True)
class Authorities:
    """Two authorities that nobody knows, one for each side, and files that hold their certificates."""

    folder: Path
    made: dict[str, trustme.CA]

    def context(self, side: str, name: str = "127.0.0.1", not_after: datetime | None = None) -> ssl.SSLContext:
        """What the side's server proves itself with."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.made[side].issue_cert(name, not_after=not_after).configure_cert(made)
        return made

    def file(self, *sides: str) -> str:
        """A bundle with the authorities of these sides."""
        path = self.folder / f"{'-'.join(sides)}.pem"
        path.write_bytes(b"".join(self.made[side].cert_pem.bytes() for side in sides))
        return str(path)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    return Authorities(tmp_path_factory.mktemp("tls"), {side: trustme.CA() for side in CODES})


@contextmanager
def between(folder: Path, gitlab: ssl.SSLContext | None, port: ssl.SSLContext | None) -> Iterator[Bench]:
    """A bench whose sides speak TLS where they are given a context, and a small mapping in `m.yml`."""
    world, store = sample_world(datetime.now(UTC)), port_with(blueprint("thing"))
    with gitlab_server(world, tls=gitlab) as left, port_server(store, tls=port) as right:
        found = Bench(world, store, left, right, folder)
        found.file("m.yml", json.dumps(mapping_of(resource("project"))))
        yield found


Open = Callable[..., AbstractContextManager[Bench]]


@pytest.fixture
def open_bench(tmp_path: Path, authorities: Authorities) -> Open:
    """Start a bench whose named sides speak TLS."""

    def start(*sides: str) -> AbstractContextManager[Bench]:
        contexts = {side: authorities.context(side) for side in sides}
        return between(tmp_path, contexts.get("GitLab"), contexts.get("Port"))

    return start


# --- what is trusted


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_ca_bundle_is_used_on_both_sides(variable: str, open_bench: Open, authorities: Authorities) -> None:
    with open_bench("GitLab", "Port") as bench:
        ran = bench.run("sync", "--mapping", "m.yml", **{variable: authorities.file("GitLab", "Port")})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(bench.held()["thing"]) == 12


def test_the_runners_ca_is_for_the_jobs_own_gitlab_alone(open_bench: Open, authorities: Authorities) -> None:
    def code(**changes: str) -> int:
        return bench.run("plan", "--mapping", "m.yml", **changes).returncode

    job = {"CI_SERVER_TLS_CA_FILE": authorities.file("GitLab", "Port")}
    with open_bench("GitLab") as bench:
        assert code(**job) == 0
        assert code(**job, CI_SERVER_URL=bench.gitlab.url) == 0
        assert code(**job, CI_SERVER_URL="https://gitlab.example.com") == 3
    with open_bench("Port") as bench:
        assert code(**job) == 4


@pytest.mark.parametrize("side", CODES)
def test_verification_is_switched_off_for_one_side_and_loudly(
    side: str, open_bench: Open, authorities: Authorities
) -> None:
    (other,) = CODES.keys() - {side}
    off = {SWITCHES[side]: "false"}
    with open_bench("GitLab", "Port") as bench:
        ran = bench.run("sync", "--mapping", "m.yml", **off, REQUESTS_CA_BUNDLE=authorities.file(other))
        # urllib3 would add two lines for every request.
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.count("is not verified, so that secrets can be stolen") == 1
        assert f"the certificate of {side} is not verified" in ran.stdout
        assert bench.run("sync", "--mapping", "m.yml", **off).returncode == CODES[other]


# --- what is not trusted


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown authority": ({}, "unable to get local issuer certificate"),
    "another name": ({"name": "gitlab.example.com"}, "127.0.0.1"),
    "a date in the past": ({"not_after": datetime.now(UTC) - timedelta(days=1)}, "expired"),
}


@pytest.mark.parametrize(("fault", "side"), [*((fault, "GitLab") for fault in UNFIT), (next(iter(UNFIT)), "Port")])
def test_an_unfit_certificate_ends_the_run_at_once(
    fault: str, side: str, tmp_path: Path, authorities: Authorities
) -> None:
    change, word = UNFIT[fault]
    known = [name for name in CODES if name != side or change]
    contexts = {name: authorities.context(name, **(change if name == side else {})) for name in CODES}
    with between(tmp_path, contexts["GitLab"], contexts["Port"]) as bench:
        ran = bench.run("sync", "--mapping", "m.yml", REQUESTS_CA_BUNDLE=authorities.file(*known))
        address = {"GitLab": bench.gitlab.url, "Port": bench.port.url}[side]
    assert ran.returncode == CODES[side]
    error = ran.stderr.splitlines()[0]
    assert error.startswith("error: ")
    assert "certificate" in error
    assert word in error
    assert address in error
    # Asking again would not change it.
    assert "waiting" not in ran.stderr


@pytest.mark.parametrize("side", CODES)
def test_an_unknown_authority_is_answered_with_what_to_do(
    side: str, open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with open_bench(side) as bench:
        shown = run_here(bench.environ(), bench.folder, monkeypatch, mapping_file="m.yml")
    assert shown.code == CODES[side]
    assert "REQUESTS_CA_BUNDLE" in shown.err


def test_a_bundle_without_certificates_is_a_wrong_setting(open_bench: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_bench("GitLab") as bench:
        bench.file("empty.pem", "no certificate in here\n")
        environ = bench.environ(REQUESTS_CA_BUNDLE="empty.pem")
        shown = run_here(environ, bench.folder, monkeypatch, mapping_file="m.yml")
    assert shown.code == 2
    assert "REQUESTS_CA_BUNDLE" in shown.err


# --- through a proxy


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with forward_proxy() as found:
        yield found


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_http_goes_through_the_proxy(variable: str, open_bench: Open, proxy: Proxy) -> None:
    with open_bench() as bench:
        ran = bench.run("sync", "--mapping", "m.yml", **{variable: proxy.url})
        both = {url.partition("://")[2] for url in (bench.gitlab.url, bench.port.url)}
    assert (ran.returncode, ran.stderr) == (0, "")
    assert proxy.hosts() == both
    assert len(proxy.seen) == len(bench.gitlab.requests) + len(bench.port.requests)
    assert len(bench.held()["thing"]) == 12


def test_https_goes_through_a_tunnel_that_shows_no_secret(
    open_bench: Open, authorities: Authorities, proxy: Proxy
) -> None:
    variables = {"HTTPS_PROXY": proxy.url, "HTTP_PROXY": "http://127.0.0.1:9"}
    with open_bench("GitLab", "Port") as bench:
        bundle = authorities.file("GitLab", "Port")
        ran = bench.run("sync", "--mapping", "m.yml", REQUESTS_CA_BUNDLE=bundle, **variables)
        both = {url.partition("://")[2] for url in (bench.gitlab.url, bench.port.url)}
    assert (ran.returncode, ran.stderr) == (0, "")
    assert proxy.hosts() == both
    assert {one.method for one in proxy.seen} == {"CONNECT"}
    assert "Authorization" not in {name for one in proxy.seen for name in one.headers}


def test_no_proxy_is_honoured(open_bench: Open, proxy: Proxy) -> None:
    with open_bench() as bench:
        local = {"OCEAN__PORT__BASE_URL": bench.port.url.replace("127.0.0.1", "localhost")}
        ran = bench.run("sync", "--mapping", "m.yml", HTTP_PROXY=proxy.url, NO_PROXY="localhost,.example.com", **local)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert proxy.hosts() == {bench.gitlab.url.partition("://")[2]}
        proxy.seen.clear()
        ran = bench.run("plan", "--mapping", "m.yml", HTTP_PROXY=proxy.url, no_proxy="localhost,127.0.0.1", **local)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert proxy.seen == []


@pytest.mark.parametrize("sides", [(), ("GitLab", "Port")])
def test_a_proxys_login_is_used_and_never_shown(
    sides: tuple[str, ...], open_bench: Open, authorities: Authorities
) -> None:
    def run(login: str) -> tuple[int, str]:
        user, _, password = login.partition(":")
        url = f"http://{quote(user)}:{quote(password, safe='')}@{proxy.address}"
        ran = bench.run("sync", "--mapping", "m.yml", "--debug", HTTP_PROXY=url, HTTPS_PROXY=url, **trusted)
        return ran.returncode, ran.stdout + ran.stderr

    with open_bench(*sides) as bench, forward_proxy(LOGIN) as proxy:
        trusted = {"REQUESTS_CA_BUNDLE": authorities.file("GitLab", "Port")}
        bench.secrets.extend([PASSWORD, quote(PASSWORD, safe=""), "wr0ng-one"])
        code, _ = run(LOGIN)
        assert code == 0
        assert {one.login for one in proxy.seen} == {LOGIN}
        code, shown = run("ada:wr0ng-one")
        assert code == 4
        assert "407" in shown
        assert "proxy" in shown


@pytest.mark.parametrize("side", CODES)
def test_a_proxy_that_refuses_is_named(side: str, open_bench: Open, authorities: Authorities) -> None:
    (other,) = CODES.keys() - {side}
    with open_bench(*CODES) as bench, forward_proxy(refusal=403) as proxy:
        addresses = {"GitLab": bench.gitlab.url, "Port": bench.port.url}
        # Only the other side is reached without the proxy, under a name that its certificate does not hold.
        addresses[other] = addresses[other].replace("127.0.0.1", "localhost")
        sides = {HOST: addresses["GitLab"], "OCEAN__PORT__BASE_URL": addresses["Port"], SWITCHES[other]: "false"}
        through = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "localhost", "REQUESTS_CA_BUNDLE": authorities.file(side)}
        ran = bench.run("sync", "--mapping", "m.yml", **sides, **through)
    assert ran.returncode == CODES[side], ran.stdout + ran.stderr
    assert proxy.hosts() == {addresses[side].partition("://")[2]}
    assert "the proxy refused" in ran.stderr
    assert "403" in ran.stderr


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process whose environment names no proxy yet."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("way", ["refusing", "absent"])
def test_a_proxys_trouble_is_told_in_words(way: str, bench: Bench, no_proxies: pytest.MonkeyPatch) -> None:
    with forward_proxy(refusal=403) as proxy:
        no_proxies.setenv("HTTPS_PROXY", proxy.url if way == "refusing" else "http://127.0.0.1:9")
        environ = bench.environ(OCEAN__PORT__BASE_URL="https://127.0.0.1:9")
        shown = run_here(environ, bench.folder, no_proxies)
    assert shown.code == 4
    assert "proxy" in shown.err
    assert "('" not in shown.err
    assert "Error(" not in shown.err


@pytest.mark.parametrize(
    "address",
    [
        "http://ada:s3cret-pw#x@127.0.0.1:9",
        "http://ada:s3cret/pw@127.0.0.1:9",
        "http://ada:s3cret-pw@",
        "ada:s3cret-pw@127.0.0.1:9",
        "http://ada:s3cret-pw@127.0.0.1:9",
        "http://ada:s3cret-pw@exa mple:9",
        "ftp://ada:s3cret-pw@127.0.0.1:9",
        "socks5://ada:s3cret-pw@127.0.0.1:9",
    ],
)
def test_an_unusable_proxy_is_no_bug_and_its_password_is_not_shown(
    address: str, bench: Bench, no_proxies: pytest.MonkeyPatch
) -> None:
    no_proxies.setenv("HTTP_PROXY", address)
    # Settings may look at the environment that they are given, requests looks at the process's own.
    shown = run_here(bench.environ(HTTP_PROXY=address), bench.folder, no_proxies, debug=True)
    assert shown.code in (2, 4)
    assert "error: " in shown.err
    assert "s3cret" not in shown.all


# --- how strictly certificates are read


def loose_certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context and its authority's file: the authority does not say what its key is for (RFC 5280)."""
    names = {who: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)]) for who in ("authority", "server")}
    keys = {who: ec.generate_private_key(ec.SECP256R1()) for who in names}
    now = datetime.now(UTC)

    def signed(who: str, extension: x509.ExtensionType, critical: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[who])
            .issuer_name(names["authority"])
            .public_key(keys[who].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical)
        )
        return builder.sign(keys["authority"], hashes.SHA256()).public_bytes(Encoding.PEM)

    files = {who: folder / f"{who}.pem" for who in names}
    files["authority"].write_bytes(signed("authority", x509.BasicConstraints(ca=True, path_length=None), True))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    key = keys["server"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files["server"].write_bytes(signed("server", address, False) + key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(files["server"])
    return made, str(files["authority"])


@pytest.mark.parametrize("way", ["direct", "through a proxy"])
@pytest.mark.parametrize("side", CODES)
def test_a_certificate_that_breaks_the_rules_is_taken_where_strictness_is_off(
    side: str, way: str, tmp_path: Path, no_proxies: pytest.MonkeyPatch
) -> None:
    def strict(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        # As Python does from 3.13 on.
        made = create_urllib3_context(*args, **kwargs)
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        return made

    no_proxies.setattr(urllib3.connection, "create_urllib3_context", strict)
    no_proxies.setattr(connection, "create_urllib3_context", strict)
    context, bundle = loose_certificate(tmp_path)
    contexts = {name: context if name == side else None for name in CODES}
    name = SWITCHES[side].replace("VERIFY", "X509__STRICT")
    with between(tmp_path, contexts["GitLab"], contexts["Port"]) as bench, forward_proxy() as proxy:
        if way != "direct":
            no_proxies.setenv("HTTPS_PROXY", proxy.url)
        environ = bench.environ(REQUESTS_CA_BUNDLE=bundle)
        refused = run_here(environ, tmp_path, no_proxies, mapping_file="m.yml")
        assert (refused.code, "X509__STRICT=false" in refused.err) == (CODES[side], True), refused.all
        taken = run_here({**environ, name: "false"}, tmp_path, no_proxies, mapping_file="m.yml")
        assert (taken.code, taken.err) == (0, "")
        # Whatever else is wrong with a certificate still counts.
        unknown = run_here({**bench.environ(), name: "false"}, tmp_path, no_proxies, mapping_file="m.yml")
        assert unknown.code == CODES[side]
        assert ("CONNECT" in {one.method for one in proxy.seen}) is (way != "direct")
