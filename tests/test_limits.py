"""Limits: what has no end costs bounded memory and time, and is a fault of that one thing."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import GitLabUnavailable, MachineError, limits_reported
from gitlab_port_export.base.http import Http
from gitlab_port_export.commands.checks.mapping import check_file
from gitlab_port_export.demo.gitlab import Fault, faults, gitlab_server
from gitlab_port_export.demo.gitlab_faults import Recorded, Reply
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import refuse
from gitlab_port_export.demo.serve import JsonHandler, serve
from gitlab_port_export.demo.world import MAINTAINER, World
from gitlab_port_export.jq.pool import Evaluator
from testbed.harness import blueprint, mapping_of, port_with, process_environ, resource, run_sync
from testbed.here import run_here

MIB = 1 << 20
# Room for the interpreter and its threads, and far less than what the bombs unpack to.
MEMORY = 2048 * MIB
BOUNDED = """\
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
runpy.run_module("gitlab_port_export", run_name="__main__")
"""
MAPPING = mapping_of(resource("project", title=".name"), resource("merge-request", "request", title=".title"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A small bench with a mapping in `m.yml`."""
    world = World(datetime.now(UTC))
    reader = world.add_user("reader", "Reader")
    group = world.add_group("acme")
    world.add_member(group, reader, MAINTAINER)
    world.add_token("demo-token-one", reader)
    project = world.add_project(group, "app", name="App")
    world.add_merge_request(project, "First")
    store = port_with(blueprint("thing", text="string"), blueprint("request"))
    with gitlab_server(world) as gitlab, port_server(store) as port:
        found = Bench(world, store, gitlab, port, tmp_path)
        found.file("m.yml", json.dumps(MAPPING))
        yield found


def run_bounded(bench: Bench, *args: str, memory: int = MEMORY) -> subprocess.CompletedProcess[str]:
    """Run the command in a process that gets no more memory."""
    command = [sys.executable, "-c", BOUNDED.format(memory=memory), *args]
    environ = process_environ(bench.environ())
    return bench.checked(
        subprocess.run(command, env=environ, cwd=bench.folder, capture_output=True, text=True, timeout=60, check=False)
    )


# --- answers


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """4 GiB of white space in 4 MiB: a gzip file may have many members."""
    return gzip.compress(b" " * (16 * MIB)) * 256


def test_an_answer_that_unpacks_to_gigabytes_is_a_problem_of_that_read(bench: Bench, bomb: bytes) -> None:
    bench.sync_an_hour_ago(MAPPING)
    bench.world.rename_project(bench.world.project("acme/app"), name="Renamed")
    bench.world.merge_requests.clear()
    reply = Reply(200, bomb, (("Content-Encoding", "gzip"),))
    bench.gitlab.faults.append(Fault("merge_requests", reply))
    ran = run_bounded(bench, "sync", "--mapping", "m.yml")
    assert ran.returncode == 1, ran.stderr
    assert "an answer was larger than 64 MiB" in ran.stdout
    held = bench.store.snapshot()
    assert [title for title, *_ in held["thing"].values()] == ["Renamed"]
    assert len(held["request"]) == 1
    # Fewer rows at once might be less; asking for the same again would give the same.
    asked = [request.query for request in bench.gitlab.requests if "merge_requests" in request.path]
    assert [dict(query)["per_page"] for query in asked] == ["100", "20", "4", "1"]


def test_an_answer_of_port_is_bounded_too(bench: Bench, bomb: bytes) -> None:
    effect = refuse(200, {}, (("Content-Encoding", "gzip"),))
    status, _, headers, content_type = effect.reply or (0, b"", (), "")
    packed = type(effect)(reply=(status, bomb, headers, content_type))
    bench.port.faults.append(PortFault("GET /v1/blueprints", packed))
    ran = run_bounded(bench, "sync", "--mapping", "m.yml")
    assert ran.returncode == 4, ran.stderr
    assert "an answer was larger than 64 MiB" in ran.stderr


def nested(depth: int, inner: str = "1") -> str:
    return '{"a":' * depth + inner + "}" * depth


def test_json_that_nests_without_an_end_is_a_problem_of_that_read(bench: Bench) -> None:
    for body in ("[" * 1_000_000, "[" * 100_000 + "]" * 100_000, f"[{nested(100_000)}]"):
        bench.gitlab.faults[:] = [Fault("merge_requests", Reply(200, body.encode()))]
        report = run_sync(bench.gitlab, bench.port, MAPPING).report
        assert report.exit_code == 1
        assert [(problem.stage, problem.kind) for problem in report.problems] == [("read", "merge-request")]
        assert report.kinds["project"].rows == 1


# Expressions that reach the deep part of a row as jq's input, as a value, as a list, in a key, and in the selector.
REACHING: dict[str, Any] = {
    "in jq": resource("project", title=".custom | [.. | numbers] | tojson"),
    "as a value": resource("project", title=".name", properties={"text": ".custom"}),
    "in a list": resource("project", title=".name", relations={"many": "[.custom]"}),
    "in the selector": resource("project", query=".custom"),
    "as a search": resource("project", identifier="{combinator: .name, rules: [.custom]}"),
    "parsed": resource("project", port={"itemsToParse": "[.custom]"}, title=".name"),
}


def with_a_deep_row(bench: Bench, depth: int) -> None:
    """Let the list of projects hold a second one whose `custom` nests so deeply."""
    rows = [bench.world.project("acme/app"), {**bench.world.project("acme/lib"), "custom": "HERE"}]
    body = json.dumps(rows).replace('"HERE"', nested(depth))
    bench.gitlab.faults[:] = [Fault("^/projects$", Reply(200, body.encode(), (("X-Next-Page", ""),)))]


@pytest.mark.parametrize(("name", "depth"), [*((name, 1000) for name in REACHING), ("as a value", 400)])
def test_a_row_that_nests_deeply_is_a_problem_of_that_row(name: str, depth: int, bench: Bench) -> None:
    bench.world.add_project(bench.world.group("acme"), "lib", name="Lib")
    gone = bench.world.add_project(bench.world.group("acme"), "gone")
    bench.store.add_blueprint(blueprint("target"))
    bench.sync_an_hour_ago(mapping_of(resource("project", properties={"text": ".path"})))
    bench.world.delete_project(gone)
    with_a_deep_row(bench, depth)
    mapping = mapping_of(REACHING[name], resource("merge-request", "request", title=".title"))
    report = run_sync(bench.gitlab, bench.port, mapping).report
    assert report.exit_code == 1
    (problem,) = (one for one in report.problems if "acme/lib" in one.sample)
    assert (problem.stage, problem.kind, problem.resources) == ("transform", "project", (0,))
    assert [held.reason for held in report.held] == ["problem"]
    assert report.blueprints["request"].created == 1
    assert str(gone["id"]) in bench.held()["thing"]
    if name in ("in jq", "as a value", "parsed"):
        assert bench.store.snapshot()["thing"][str(bench.world.project("acme/app")["id"])][0] in ("App", "[]")


def test_what_no_expression_reaches_may_nest_as_it_likes(bench: Bench) -> None:
    bench.world.add_project(bench.world.group("acme"), "lib", name="Lib")
    with_a_deep_row(bench, 1000)
    report = run_sync(bench.gitlab, bench.port, mapping_of(resource("project", title=".name"))).report
    assert (report.exit_code, report.blueprints["thing"].created) == (0, 2)
    # Port's mapping editor gets the other row.
    examples = next(call.body["examples"] for call in bench.port.calls("POST .*/examples$"))
    assert [row["path"] for row in examples] == ["app"]


def test_other_texts_that_nest_deeply_end_no_run(bench: Bench) -> None:
    """An error's message, the id of a row, an entity that somebody else wrote."""
    for status, body in ((403, f'{{"message": {nested(900)}}}'), (200, f'[{{"id": {nested(900)}}}]')):
        bench.gitlab.faults[:] = [Fault("merge_requests", Reply(status, body.encode()))]
        report = run_sync(bench.gitlab, bench.port, MAPPING).report
        assert report.exit_code == 1
        assert [(problem.stage, problem.kind) for problem in report.problems] == [("read", "merge-request")]
    bench.gitlab.faults.clear()
    row = f'{{"identifier": "1", "properties": {{"text": {nested(900)}}}}}'
    body = f'{{"ok": true, "entities": [{row}], "next": null}}'
    effect = type(refuse(200))(reply=(200, body.encode(), (), "application/json"))
    bench.port.faults[:] = [PortFault("/v1/blueprints/thing/entities/search", effect)]
    mapping = mapping_of(resource("project", identifier='"1"', properties={"text": ".name"}))
    report = run_sync(bench.gitlab, bench.port, mapping).report
    assert (report.exit_code, report.blueprints["thing"].updated) == (0, 1)


def test_what_an_expression_nests_deeply_is_a_problem_of_that_row(bench: Bench) -> None:
    bench.world.add_project(bench.world.group("acme"), "lib")
    deep = 'if .path == "lib" then reduce range({}) as $i (1; [.]) else .name end'
    for levels in (300, 1100, 5000):
        mapping = mapping_of(resource("project", properties={"text": deep.format(levels)}))
        report = run_sync(bench.gitlab, bench.port, mapping).report
        assert report.exit_code == 1
        assert [(one.stage, "acme/lib" in one.sample) for one in report.problems] == [("transform", True)]
        assert report.blueprints["thing"].failed == 0


def test_a_mapping_in_port_that_nests_deeply_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    integration = {"installationId": "my-gitlab-v2-integration", "installationAppType": "gitlab-v2"}
    for depth in (200, 900, 100_000):
        config = f'{{"resources": [{nested(depth)}]}}'
        body = f'{{"ok": true, "integration": {json.dumps(integration)[:-1]}, "config": {config}}}}}'
        effect = type(refuse(200))(reply=(200, body.encode(), (), "application/json"))
        bench.port.faults[:] = [PortFault("GET /v1/integration", effect)]
        shown = run_here(bench.environ(), bench.folder, monkeypatch)
        assert shown.code in (2, 4), shown.err
        assert bench.changing_calls() == []


class Dripping(JsonHandler):
    """Sends a whole, right answer, a byte at a time."""

    def answer(self, method: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "22")
        self.end_headers()
        for byte in b"[" + b" " * 20 + b"]":
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            self.server.pause(0.1)


def test_the_deadline_holds_for_a_body_that_drips() -> None:
    """Each byte is in time, all of them are not: the server takes 2.2 s."""
    with serve(Dripping, None) as server:
        http = Http(server.url, user_agent="t", clock=Clock(deadline=0.5))
        try:
            with pytest.raises((Stopped, Unreachable)):
                http.send("GET", "/x")
        finally:
            http.close()


def test_a_body_that_drips_ends_without_a_deadline_too() -> None:
    with serve(Dripping, None) as server:
        http = Http(server.url, user_agent="t", timeout=0.3)
        try:
            with pytest.raises(Unreachable, match=r"longer than 0\.9 s to arrive"):
                http.send("GET", "/x")
            assert http.requests == 1
        finally:
            http.close()


def test_whole_numbers_beyond_64_bits_stay_what_they_are(bench: Bench) -> None:
    big = [2**63, 2**64, -(2**63) - 1, 10**30]
    row = {**bench.world.project("acme/app"), "plain": big[1], "deep": {"list": big}}
    bench.gitlab.faults[:] = [Fault("^/projects$", Reply(200, json.dumps([row]).encode(), (("X-Next-Page", ""),)))]
    bench.store.add_blueprint(blueprint("counted", plain="number", byjq="number", all="object", text="string"))
    fields = {"plain": ".plain", "byjq": ".plain | .", "all": ".deep | {list}", "text": ".plain | tostring"}
    mapping = mapping_of(resource("project", "counted", properties=fields))
    for written in (1, 0):
        report = run_sync(bench.gitlab, bench.port, mapping).report
        assert report.exit_code == 0
        assert report.blueprints["counted"].created == written
    (entity,) = bench.store.snapshot()["counted"].values()
    expected = {"plain": big[1], "byjq": big[1], "all": {"list": big}, "text": str(big[1])}
    assert repr(entity[3]) == repr(expected)


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false"])
def test_jq_that_cannot_be_started_is_said_in_one_line(
    program: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    bench.file("jq.yml", json.dumps({"resources": [resource("project", title=".name | ascii_upcase")]}))
    shown = run_here(bench.environ(), bench.folder, monkeypatch, mapping_file="jq.yml")
    assert "a worker process for jq" in shown.err
    assert "ulimit -u" in shown.err
    assert "bug" not in shown.err
    assert shown.code == 2
    assert bench.changing_calls() == []


# --- mappings

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def refused(bench: Bench, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    shown = run_here(bench.environ(), bench.folder, monkeypatch, **options)
    assert shown.code == 2, shown.all
    assert bench.changing_calls() == []
    return shown.err


def test_aliases_cannot_make_a_mapping_endless(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    billion = "counted with all aliases expanded"
    for text in (f"{BOMB}resources: *i\n", "a: &a\n  - *a\nresources: []\n", f"{BOMB}resources: [{{<<: *i}}]\n"):
        bench.file("bomb.yml", text)
        assert "bomb.yml" in refused(bench, monkeypatch, mapping_file="bomb.yml")
    bench.file("bomb.yml", f"{BOMB}resources: []\n")
    assert billion in refused(bench, monkeypatch, mapping_file="bomb.yml")
    bench.file(".port/resources/port-app-config.yml", f"{BOMB}resources: []\n")
    assert billion in refused(bench, monkeypatch)


def test_a_mapping_has_a_size(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.file("big.yml", json.dumps(MAPPING) + " " * MIB)
    bench.file("deep.yml", f"resources: {'[' * 20_000}")
    bench.file("number.yml", f"resources: {'9' * 500_000}")
    for name, word in {"big": "1048576 bytes", "deep": "deeper", "number": "number"}.items():
        assert word in refused(bench, monkeypatch, mapping_file=f"{name}.yml")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a file without an end")
def test_a_mapping_file_without_an_end(bench: Bench) -> None:
    ran = run_bounded(bench, "sync", "--mapping", "/dev/zero", memory=1024 * MIB)
    assert ran.returncode == 2, ran.stderr


def test_blueprints_are_bounded_as_the_mapping_is(bench: Bench) -> None:
    bench.file(".port/resources/port-app-config.yml", json.dumps(MAPPING))
    schema = "schema: {properties: {text: {type: string, enum: *i}}}"
    blueprints = BOMB.replace("\n", "\n  ").rstrip()
    bench.file(".port/resources/blueprints.json", f"- identifier: other\n  {blueprints}\n  {schema}\n")
    ran = run_bounded(bench, memory=1024 * MIB)
    assert ran.returncode == 2, ran.stderr


# --- lists

ENOUGH = 400


class Endless:
    """Names a next page for ever, or at least more often than anybody should ask."""

    def __init__(self, bench: Bench, path: str, rows: Any, link: bool) -> None:
        self.asked, self._rows, self._link, self._url = 0, rows, link, bench.gitlab.url
        bench.gitlab.faults.append(Fault(self._match(path), faults.Drop()))
        self._fault = bench.gitlab.faults[-1]

    def _match(self, path: str) -> Any:
        def match(request: Recorded) -> bool:
            if not request.path.endswith(path):
                return False
            self.asked += 1
            number = self.asked + 1
            rows = self._rows(self.asked) if callable(self._rows) else self._rows
            headers: list[tuple[str, str]] = []
            if self.asked < ENOUGH:
                following = f"{self._url}/api/v4{path}?id_after={number}&pagination=keyset"
                headers = (
                    [("Link", f'<{following}>; rel="next"')] if self._link else [("X-Next-Page", str(request.page + 1))]
                )
            self._fault.answer = Reply(200, json.dumps(rows).encode(), tuple(headers))
            return True

        return match


@pytest.mark.parametrize("empty", [False, True])
def test_a_list_that_never_ends_is_incomplete(empty: bool, bench: Bench) -> None:
    rows = bench.world.merge_requests[bench.world.project("acme/app")["id"]]
    # One worker, as a fault is one for all requests.
    endless = Endless(bench, "/merge_requests", [] if empty else rows, link=False)
    report = run_sync(bench.gitlab, bench.port, MAPPING, workers=1).report
    assert [(problem.stage, problem.kind) for problem in report.problems] == [("read", "merge-request")]
    assert endless.asked < ENOUGH


@pytest.mark.parametrize("empty", [False, True])
def test_an_inventory_that_never_ends_is_none(empty: bool, bench: Bench) -> None:
    endless = Endless(bench, "/projects", [] if empty else [bench.world.project("acme/app")], link=True)
    with pytest.raises(GitLabUnavailable, match="/projects"):
        run_sync(bench.gitlab, bench.port, MAPPING, workers=1)
    assert endless.asked < ENOUGH


def test_a_list_of_ever_new_rows_ends_with_the_deadline(bench: Bench) -> None:
    class Short(Clock):
        """Time passes with what is asked."""

        @property
        def past_deadline(self) -> bool:
            return endless.asked > 50

    # A list without times, so that nothing but its length is strange.
    labels = mapping_of(resource("label", "request", title=".name"))
    endless = Endless(bench, "/labels", lambda number: [{"id": 10_000 + number, "name": f"label {number}"}], link=False)
    report = run_sync(bench.gitlab, bench.port, labels, clock=Short(), workers=1).report
    assert report.exit_code == 1
    assert "deadline" in " ".join(problem.why for problem in report.problems)
    assert endless.asked < ENOUGH


# --- processes


def alive(pid: int) -> bool:
    """Whether the process still runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("busy", [False, True])
def test_no_worker_outlives_a_killed_run(busy: bool, bench: Bench) -> None:
    reached = threading.Event()

    def hold(request: Recorded) -> bool:
        if held := "merge_requests" in request.path:
            reached.set()
        return held

    expression = "[range(1e12)] | length" if busy else ".name"
    bench.file("busy.yml", json.dumps(mapping_of(resource("project", title=expression), *MAPPING["resources"][1:])))
    bench.gitlab.faults.append(Fault(hold, faults.Slow(60)))
    command = [sys.executable, "-m", "gitlab_port_export", "sync", "--mapping", "busy.yml"]
    with subprocess.Popen(
        command,
        env=process_environ(bench.environ()),
        cwd=bench.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert reached.wait(30)
            lists = Path(f"/proc/{process.pid}/task").glob("*/children")
            workers = [int(child) for found in lists for child in found.read_text().split()]
        finally:
            process.send_signal(signal.SIGKILL)
    assert workers
    deadline = time.monotonic() + 20
    while left := [pid for pid in workers if alive(pid)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        os.sched_yield()


# --- what the machine allows


def test_a_lower_limit_of_memory_than_jq_may_have_is_kept(bench: Bench) -> None:
    mapping = mapping_of(resource("project", title=".name | ascii_upcase"))
    bench.file("m.yml", json.dumps(mapping))
    ran = run_bounded(bench, "sync", "--mapping", "m.yml", memory=900 * MIB)
    assert (ran.returncode, len(bench.held()["thing"])) == (0, 1), ran.stderr


@pytest.mark.parametrize("name", ["jq", "port", "read", "heartbeat"])
def test_a_machine_that_allows_no_further_thread_is_named_and_no_bug(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    start = threading.Thread.start

    def some(thread: threading.Thread) -> None:
        if thread.name.startswith(name):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", some)
    with pytest.raises(MachineError, match="the machine allows no further thread"), limits_reported():
        run_sync(bench.gitlab, bench.port, MAPPING)


def test_a_jq_that_cannot_be_started_is_no_fault_of_the_mapping(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluator.__init__, "__defaults__", (None, 1.0, MIB, MIB))
    bench.file("m.yml", json.dumps(mapping_of(resource("project", title=".name | ascii_upcase"))))
    options = {"mapping_file": "m.yml", "report_json": "report.json"}
    code, _, _ = run_here(bench.environ(), bench.folder, monkeypatch, command="plan", **options)
    (problem,) = json.loads((bench.folder / "report.json").read_text("utf-8"))["problems"]
    assert (code, problem["stage"]) == (2, "transform")
    assert "a worker process for jq ends as soon as it is started" in problem["why"]
    findings = list(check_file(bench.folder / "m.yml"))
    (error,) = (finding for finding in findings if finding.level == "error")
    assert (error.area, error.where) == ("settings", "this machine")


def test_an_expression_that_is_no_jq_is_a_fault_of_the_mapping(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.file("m.yml", json.dumps(mapping_of(resource("project", title=".name |"))))
    options = {"mapping_file": "m.yml", "report_json": "report.json", "ci": "github"}
    code, out, err = run_here(bench.environ(), bench.folder, monkeypatch, command="plan", **options)
    (problem,) = json.loads((bench.folder / "report.json").read_text("utf-8"))["problems"]
    assert (code, problem["stage"]) == (2, "mapping")
    assert "title=gitlab-port-export%3A mapping" in out + err or "gitlab-port-export: mapping" in out + err


def test_the_time_zone_reaches_jq(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    mapping = mapping_of(resource("project", properties={"text": '0 | strflocaltime("%H:%M %Z")'}))
    report, store, _ = run_sync(bench.gitlab, bench.port, mapping)
    assert report.exit_code == 0
    (identifier,) = store.identifiers("thing")
    assert (store.entity("thing", identifier) or {})["properties"]["text"] == "05:30 IST"
