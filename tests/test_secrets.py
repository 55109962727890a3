"""Secrets: whatever fails and whoever repeats them, no stream and no report shows one, and data is not touched."""

import base64
import html
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import pytest

from conftest import Bench
from gitlab_port_export.demo.gitlab import Fault, faults, gitlab_server
from gitlab_port_export.demo.gitlab_faults import Recorded, Reply, reply_json
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import refuse
from gitlab_port_export.demo.world import MAINTAINER, World
from gitlab_port_export.gitlab.client import GitLab
from gitlab_port_export.sync import connect
from gitlab_port_export.sync import line as sync
from testbed.faults import one_evaluator
from testbed.forward_proxy import forward_proxy
from testbed.harness import blueprint, mapping_of, port_with, process_environ, resource
from testbed.here import Printed, run_here

TOKEN = "glpat-Zx81kVbQ3nT6yL0pR4sW"
# GitLab lets an instance choose its own prefix, so a token may look like anything.
PLAIN_TOKEN = "acme_Qw72-Jh5dGf8a"
CLIENT = "p0rtCl1entId9XuTeb3"
SECRET = 'Hq7+v/Kd="m2&Zr%9Ty#4Lp'
PLANTED = (TOKEN, PLAIN_TOKEN, CLIENT, SECRET)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# What a chatty server or a proxy in debug mode repeats of a request.
ECHOES = {
    "plain": " ".join(PLANTED),
    "encoded": " ".join([encoded(f"{CLIENT}:{SECRET}"), encoded(f":{TOKEN}"), quote(SECRET), quote_plus(SECRET)]),
    "quoted": f"{json.dumps(SECRET)} {SECRET!r} {html.escape(SECRET)} Authorization: Bearer {PLAIN_TOKEN}",
    # Messages are quoted up to a length, which leaves most of a secret.
    "cut off at 300": "." * 284 + SECRET,
    "cut off at 500": "." * 484 + SECRET,
}


def revealed(text: str) -> list[str]:
    """The planted secrets of which the text shows more than half, in any spelling."""
    views = {text, unquote(text), unquote_plus(text), html.unescape(text), text.replace("\\", "")}
    for run in re.findall(r"[A-Za-z0-9+/_-]{8,}", text):
        for start in range(4):
            whole = run[start:][: (len(run) - start) // 4 * 4].replace("-", "+").replace("_", "/")
            views.add(base64.b64decode(whole).decode("latin-1"))
    return [secret for secret in PLANTED if any(secret[: len(secret) // 2 + 1] in view for view in views)]


def test_the_search_for_secrets_finds_them() -> None:
    for name, echo in ECHOES.items():
        assert revealed(f"a {echo[:300] if '300' in name else echo[:500]} b"), name
    assert revealed("nothing in here") == []


def small_world() -> World:
    world = World(datetime.now(UTC))
    reader = world.add_user("reader", "Reader")
    group = world.add_group("acme")
    world.add_member(group, reader, MAINTAINER)
    for name in ("app", "lib"):
        project = world.add_project(group, name, name=name)
        world.add_merge_request(project, f"First of {name}")
    for secret in (TOKEN, PLAIN_TOKEN):
        world.add_token(secret, reader)
    return world


MAPPING = mapping_of(
    resource("project", title=".name", properties={"text": ".description"}),
    resource("merge-request", "request", title=".title"),
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench with secrets that cannot be overlooked."""
    store = port_with(blueprint("thing", text="string"), blueprint("request"), credentials={CLIENT: SECRET})
    with gitlab_server(small_world()) as gitlab, port_server(store) as port:
        found = Bench(gitlab.world, store, gitlab, port, tmp_path, list(PLANTED))
        found.file("m.yml", json.dumps(MAPPING))
        yield found


def environ_of(bench: Bench, **changes: str | None) -> dict[str, str]:
    return bench.environ(**{"OCEAN__PORT__CLIENT_ID": CLIENT, "OCEAN__PORT__CLIENT_SECRET": SECRET, **changes})


# --- what fails

# What goes wrong with an echo in it, and the exit codes that this may give.
Failure = tuple[Callable[[Bench, str, Any], None], set[int]]


def gitlab_answers(path: str, reply: Callable[[str], Reply]) -> Callable[[Bench, str, Any], None]:
    def break_it(bench: Bench, echo: str, _: Any) -> None:
        bench.gitlab.faults.append(Fault(path, reply(echo)))

    return break_it


def port_answers(pattern: str, status: int) -> Callable[[Bench, str, Any], None]:
    def break_it(bench: Bench, echo: str, _: Any) -> None:
        bench.port.faults.append(PortFault(pattern, refuse(status, {"ok": False, "error": echo, "message": echo})))

    return break_it


def a_row_is_refused(bench: Bench, echo: str, _: Any) -> None:
    errors = [{"identifier": echo, "index": 0, "statusCode": 422, "error": "no", "message": echo}]
    body = {"ok": False, "entities": [], "errors": errors}
    bench.port.faults.append(PortFault("POST .*/bulk", refuse(207, body)))


def the_main_thread_has_a_bug(bench: Bench, echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError(f"cannot plan {echo}\n::error::{echo}")

    monkeypatch.setattr(sync, "make_plan", broken)


def a_worker_has_a_bug(bench: Bench, echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError(echo)

    monkeypatch.setattr(GitLab, "get", broken)


def preparing_has_a_bug(bench: Bench, echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(2, echo, echo)

    monkeypatch.setattr(connect, "read_blueprints", broken)


def mapped(**fields: Any) -> Callable[[Bench, str, Any], None]:
    def break_it(bench: Bench, echo: str, _: Any) -> None:
        filled = {name: str(value).replace("ECHO", json.dumps(echo)[1:-1]) for name, value in fields.items()}
        kind = filled.pop("kind", "project")
        bench.file("m.yml", json.dumps(mapping_of(resource(kind, "thing", **filled))))

    return break_it


def the_login_page_names_it(echo: str) -> Reply:
    return Reply(200, echo.encode(), (), f"text/html; secret={echo}")


FAILURES: dict[str, Failure] = {
    "GitLab knows no token": (gitlab_answers(".", lambda echo: reply_json(401, {"message": echo})), {3}),
    "GitLab forbids a kind": (gitlab_answers("merge_requests", lambda echo: reply_json(403, {"message": echo})), {1}),
    "GitLab lacks a scope": (
        gitlab_answers(
            "merge_requests",
            lambda echo: reply_json(403, {"error": "insufficient_scope", "error_description": echo, "scope": echo}),
        ),
        {1},
    ),
    "GitLab is in trouble": (gitlab_answers("merge_requests", lambda echo: reply_json(502, {"message": echo})), {1}),
    "GitLab has a login page": (gitlab_answers(".", the_login_page_names_it), {3}),
    "GitLab redirects": (
        gitlab_answers("merge_requests", lambda echo: faults.redirect(f"http://{quote(echo)}.example.com/{echo}")),
        {1},
    ),
    "Port refuses the credentials": (port_answers("access_token", 401), {4}),
    "Port fails over the credentials": (port_answers("access_token", 500), {4}),
    "Port hides its blueprints": (port_answers("GET /v1/blueprints", 403), {4}),
    "Port fails over the integration": (port_answers("GET /v1/integration", 500), {4}),
    "Port creates no integration": (port_answers("POST /v1/integration", 422), {4}),
    "Port refuses a call": (port_answers("POST .*/bulk", 422), {1}),
    "Port refuses a row": (a_row_is_refused, {1}),
    "Port cannot be searched": (port_answers("entities/search", 400), {1}),
    "a bug": (the_main_thread_has_a_bug, {70}),
    "a bug in a worker": (a_worker_has_a_bug, {70}),
    "a bug before anything is read": (preparing_has_a_bug, {70}),
    # Single quotes in an expression become double ones, so that it may compile no more.
    "a mapping that does not compile": (mapped(title='"ECHO" | nope'), {2}),
    "a mapping that fails": (mapped(identifier='error("ECHO")'), {1, 2}),
    "a mapping with a wrong selector": (mapped(query='"ECHO"'), {1, 2}),
    "a mapping of an unknown blueprint": (mapped(blueprint_expression='"ECHO"'), {2}),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_failure_shows_a_secret(failure: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    break_it, codes = FAILURES[failure]
    environ = environ_of(bench)
    with one_evaluator():
        for number, (name, echo) in enumerate(ECHOES.items()):
            with monkeypatch.context() as patch:
                break_it(bench, echo, patch)
                as_json = bool(number % 2)
                shown = run_here(environ, bench.folder, patch, as_json=as_json, debug=True, mapping_file="m.yml")
            assert revealed(shown.all) == [], f"{name}:\n{shown.all}"
            assert shown.code in codes, shown.all
            assert "::error" not in [line.lstrip()[:7] for line in shown.all.splitlines()]
            bench.gitlab.faults.clear()
            bench.port.faults.clear()


def test_a_setting_with_a_secret_in_the_wrong_place(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "OCEAN__EXPORT__WORKERS": TOKEN,
        "OCEAN__INTEGRATION__TYPE": PLAIN_TOKEN,
        "OCEAN__INTEGRATION__IDENTIFIER": SECRET,
        "OCEAN__PORT__BASE_URL": f"https://{CLIENT}:{SECRET}@port.example.com",
        "OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING": f'{{"{PLAIN_TOKEN}": "**", }}',
        "OCEAN__EXPORT__DEADLINE": SECRET,
    }
    for as_json in (False, True):
        shown = run_here(environ_of(bench, **wrong), bench.folder, monkeypatch, as_json=as_json, debug=True)
        assert (shown.code, revealed(shown.all)) == (2, [])


def test_data_that_holds_a_secret_reaches_port_unchanged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(ECHOES.values())
    app = bench.world.project("acme/app")
    app["description"] = text
    for merge_request in bench.world.merge_requests[app["id"]]:
        merge_request["title"] = TOKEN
    for command in ("plan", "sync"):
        for as_json in (False, True):
            shown = run_here(
                environ_of(bench), bench.folder, monkeypatch, command=command, as_json=as_json, mapping_file="m.yml"
            )
            assert (shown.code, revealed(shown.all)) == (0, []), shown.all
    held = bench.store.snapshot()
    _, _, _, properties, _ = held["thing"][str(app["id"])]
    assert properties == {"text": text}
    assert TOKEN in {title for title, *_ in held["request"].values()}


NAMES = {
    "identifiers": resource("project", identifier=".path"),
    "kinds": resource(PLAIN_TOKEN),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_holds_a_secret_is_not_shown(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.world.add_project(bench.world.group("acme"), PLAIN_TOKEN)
    bench.file("m.yml", json.dumps(mapping_of(NAMES[name])))
    for as_json in (False, True):
        shown = run_here(
            environ_of(bench), bench.folder, monkeypatch, command="plan", as_json=as_json, mapping_file="m.yml"
        )
        assert revealed(shown.all) == [], shown.all


# --- where secrets travel


def test_secrets_travel_in_their_header_and_in_the_login_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = bench.folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password netrc-password\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with forward_proxy() as proxy:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        shown = run_here(environ_of(bench), bench.folder, monkeypatch, mapping_file="m.yml")
    assert (shown.code, revealed(shown.all)) == (0, [])
    assert len(proxy.seen) == len(bench.gitlab.requests) + len(bench.port.requests)
    gitlab = bench.gitlab.url.partition("://")[2]
    for one in proxy.seen:
        carried = one.headers.get("Authorization", "")
        others = {name: value for name, value in one.headers.items() if name != "Authorization"}
        assert revealed(f"{one.target} {others}") == []
        if gitlab in one.target:
            assert carried in (f"Bearer {TOKEN}", f"Bearer {PLAIN_TOKEN}")
        elif one.target.endswith("/access_token"):
            assert carried == ""
        else:
            assert carried.startswith("Bearer eyJ")
    for call in bench.port.requests:
        assert call.path.endswith("/access_token") or revealed(f"{call.path} {call.query} {call.body}") == []


def test_a_redirect_carries_no_secret_to_another_host(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with gitlab_server(small_world()) as other, port_server(bench.store) as elsewhere:
        for status in (302, 307):
            away = faults.redirect(f"{other.url}/api/v4/version", status)
            bench.gitlab.faults[:] = [Fault("merge_requests", away)]
            shown = run_here(environ_of(bench), bench.folder, monkeypatch, mapping_file="m.yml")
            assert (shown.code, revealed(shown.all)) == (1, [])
            assert f"the server redirects to {other.url}" in shown.out
        bench.gitlab.faults.clear()
        for pattern in ("POST .*access_token", "GET /v1/blueprints", "POST .*/bulk"):
            headers = (("Location", f"{elsewhere.url}/v1/auth/access_token"),)
            bench.port.faults[:] = [PortFault(pattern, refuse(307, {}, headers))]
            bench.world.project("acme/app")["name"] += "!"
            shown = run_here(environ_of(bench), bench.folder, monkeypatch, mapping_file="m.yml")
            assert (shown.code in (1, 4), revealed(shown.all)) == (True, []), shown.all
        assert (other.requests, elsewhere.requests) == ([], [])


# --- what jq may see

ENVIRONMENT = mapping_of(
    resource("project", properties={"text": "[env, $ENV] | tojson"}),
    resource("merge-request", "request", title="[env.HOME, $ENV.PATH, env.OCEAN__PORT__CLIENT_SECRET] | tojson"),
)


def seen_by_jq(bench: Bench, monkeypatch: pytest.MonkeyPatch, **changes: str) -> list[dict[str, str]]:
    """The environment as the mapping sees it, in both of jq's ways."""
    bench.file("m.yml", json.dumps(ENVIRONMENT))
    environ = environ_of(bench, **changes)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    shown = run_here(environ, bench.folder, monkeypatch, mapping_file="m.yml")
    assert shown.code == 0, shown.all
    held = bench.store.snapshot()
    assert revealed(f"{held} {bench.store.examples}") == []
    (text,) = {properties["text"] for _, _, _, properties, _ in held["thing"].values()}
    # Python itself sets LC_CTYPE where no locale is given.
    return [{name: value for name, value in one.items() if name != "LC_CTYPE"} for one in json.loads(text)]


ACCESS = {"OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS": "true"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        (ACCESS, {}),
        ({"OCEAN__EXPORT__JQ_ENV": "REGION"}, {}),
        ({**ACCESS, "OCEAN__EXPORT__JQ_ENV": "REGION,MISSING"}, {"REGION": "eu"}),
        ({**ACCESS, "OCEAN__EXPORT__JQ_ENV": "REGION,OCEAN__PORT__CLIENT_SECRET"}, {"REGION": "eu"}),
        ({**ACCESS, "OCEAN__EXPORT__JQ_ENV": "OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING,BASIC"}, {}),
    ],
)
def test_jq_sees_what_is_listed_and_no_secret(
    changes: dict[str, str], expected: dict[str, str], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"REGION": "eu", "BASIC": f"Basic {encoded(f'{CLIENT}:{SECRET}')}"}
    assert seen_by_jq(bench, monkeypatch, **more, **changes) == [expected, expected]


# --- what other users of the machine may see


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for found in lists for child in found.read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_processes_show_no_secret(bench: Bench) -> None:
    reached = threading.Event()

    def hold(request: Recorded) -> bool:
        reached.set()
        return True

    bench.gitlab.faults.append(Fault(hold, faults.Slow(60)))
    command = [sys.executable, "-m", "gitlab_port_export", "sync", "--mapping", "m.yml"]
    environ = process_environ(environ_of(bench, **ACCESS, OCEAN__EXPORT__JQ_ENV="REGION", REGION="eu"))
    with subprocess.Popen(
        command, env=environ, cwd=bench.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert reached.wait(30)
            workers = children(process.pid)
            lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in (process.pid, *workers)]
            environs = [Path(f"/proc/{pid}/environ").read_text() for pid in workers]
            held_open = [os.readlink(link) for pid in workers for link in Path(f"/proc/{pid}/fd").iterdir()]
        finally:
            process.send_signal(signal.SIGKILL)
    assert "jq/worker.py" in lines[1]
    assert revealed(" ".join(lines)) == []
    assert set(environs) == {"REGION=eu\0"}
    assert [name for name in held_open if "socket" in name] == []


# --- secrets that change while a run goes on


def rotated(bench: Bench, name: str, secret: str) -> tuple[dict[str, str], Path]:
    """The variables of a run that reads one secret from a file, and that file."""
    file = bench.folder / "secret"
    file.write_text(f"{secret}\n")
    variable = {"token": "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN", "port": "OCEAN__PORT__CLIENT_SECRET"}[name]
    tokens = {} if name == "port" else {"OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING": None}
    return environ_of(bench, **{**tokens, variable: None, f"{variable}_FILE": str(file)}), file


class Once:
    """Does something at the first request that a pattern is found in, and lets every request pass."""

    def __init__(self, pattern: str, action: Callable[[], None]) -> None:
        self._pattern, self._action, self._lock, self.done = pattern, action, threading.Lock(), False

    def __call__(self, request: Any) -> bool:
        with self._lock:
            if not self.done and re.search(self._pattern, f"{request.method} {request.path}"):
                self.done = True
                self._action()
        return False


def test_a_gitlab_token_that_is_rotated_during_a_run_is_read_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ, file = rotated(bench, "token", TOKEN)

    def rotate() -> None:
        file.write_text(PLAIN_TOKEN)
        bench.world.tokens[TOKEN].revoked = True

    once = Once("merge_requests", rotate)
    bench.gitlab.faults.append(Fault(once, faults.Drop()))
    shown = run_here(environ, bench.folder, monkeypatch, mapping_file="m.yml")
    assert once.done
    assert (shown.code, revealed(shown.all)) == (0, []), shown.all
    assert {request.token for request in bench.gitlab.requests} == {TOKEN, PLAIN_TOKEN}
    assert len(bench.held()["request"]) == 2


NEW = "n3w-Secret-0f-Port-Ab12Cd34"


def run_with_rotation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Printed:
    environ, file = rotated(bench, "port", SECRET)

    def rotate() -> None:
        file.write_text(NEW)
        bench.store.credentials[CLIENT] = NEW
        bench.store.revoke_tokens()

    once = Once("POST .*/bulk", rotate)
    bench.port.faults.insert(0, PortFault(once, refuse(500)))
    shown = run_here(environ, bench.folder, monkeypatch, mapping_file="m.yml")
    assert once.done
    return shown


def test_a_port_secret_that_is_rotated_during_a_run_is_read_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run_with_rotation(bench, monkeypatch)
    assert (shown.code, revealed(shown.all)) == (0, []), shown.all
    assert len(bench.held()["thing"]) == 2


def test_a_secret_that_came_during_a_run_is_not_shown_either(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.port.faults.append(
        PortFault(
            lambda request: request.path.endswith("/bulk") and len(bench.port.calls("access_token")) > 1,
            refuse(422, {"ok": False, "error": "no", "message": f"{NEW} is no good"}),
        )
    )
    shown = run_with_rotation(bench, monkeypatch)
    assert "is no good" in shown.all
    assert NEW not in shown.all
