"""Text that others wrote: it reaches Port as it is, and no terminal, log or CI system obeys it."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.base.text import clean
from gitlab_port_export.demo.gitlab import Fault, faults, gitlab_server
from gitlab_port_export.demo.gitlab_faults import Reply, reply_json
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import refuse
from gitlab_port_export.demo.world import MAINTAINER, World
from gitlab_port_export.gitlab.client import GitLab
from gitlab_port_export.sync import line as sync
from testbed.harness import blueprint, mapping_of, port_with, resource
from testbed.here import Printed, run_here

pytestmark = pytest.mark.usefixtures("lent_evaluator")

TOKEN = "demo-token-one"
HOSTILE = [
    "::error file=app.py::leading",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;https://evil.example.com\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31m",
    "one\r\n::error::two",
    "one\n  ::set-output name=a::b",
    "one\u2028::error::two\x85::error::three",
    "##vso[task.setvariable variable=PATH]evil",
    "see ##[error]this",
    "##teamcity[buildStatus text='broken']",
    "section_start:1700000000:evil\r\x1b[0Kevil",
    "[bold red]loud[/bold red] [/] [link=https://evil.example.com]x[/link]",
    "\u202egnp.exe\u2066 \u200bhidden\ufeff",
    "nul\x00 bell\x07 back\x08\x08\x08 form\x0c",
    "]]> <script>alert(1)</script> &lt; `code` | **bold** | [x](javascript:1)",
    "%0A::error::encoded {} {0} %s %(x)s $HOME \\x1b \\n",
    "日本 👩‍💻 é",
]
ALL = " ".join(HOSTILE)


def obeyed(text: str) -> list[str]:
    """What of a stream a terminal or a CI system would obey."""
    found = re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ufeff]", text)
    found += [line for line in text.splitlines() if line.lstrip().startswith("::")]
    return found + re.findall(r"##\w*\[", text)


def test_the_search_for_commands_finds_them() -> None:
    harmless = (HOSTILE.index(one) for one in HOSTILE if not obeyed(one))
    assert [HOSTILE[index][:5] for index in harmless] == ["[bold", "]]> <", "%0A::", HOSTILE[-1][:5]]


@pytest.mark.parametrize("text", [*HOSTILE, ALL, "###vso[x]", "#####[x]", "\t::x::", "\ud800"])
def test_clean_text_is_not_obeyed(text: str) -> None:
    assert obeyed(clean(text)) == []
    assert clean(clean(text)) == clean(text)


def test_ordinary_marks_stay() -> None:
    for text in ("std::vector", "a ## b [c]", "## Title", "#1 [x]", "C# [x]", "[bold]x[/bold]"):
        assert clean(text) == text


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench in which everything with a name has a hostile one."""
    world = World(datetime.now(UTC))
    reader = world.add_user("reader\x1b[31m", ALL)
    group = world.add_group("acme", name=ALL, description=ALL)
    world.add_member(group, reader, MAINTAINER)
    world.add_token(TOKEN, reader)
    project = world.add_project(group, "app", name=ALL, description=ALL, topics=HOSTILE)
    for text in HOSTILE:
        world.add_merge_request(project, text, description=ALL)
    store = port_with(blueprint("thing", text="string", list="array"))
    with gitlab_server(world) as gitlab, port_server(store) as port:
        yield Bench(world, store, gitlab, port, tmp_path)


def show(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *resources: Any, as_json: bool = False, **options: Any
) -> Printed:
    """Run in this process; whatever it writes is obeyed by nobody, and JSON is JSON."""
    if resources:
        options["mapping_file"] = bench.file("m.yml", json.dumps(mapping_of(*resources)))
    shown = run_here(bench.environ(), bench.folder, monkeypatch, as_json=as_json, debug=True, **options)
    if as_json:
        assert json.loads(shown.out)["exit"]["code"] == shown.code
        # Nothing but the ## of commands is left raw inside of JSON.
        assert obeyed(shown.out.replace("##", "# ")) == []
    else:
        assert obeyed(shown.out) == []
    assert obeyed(shown.err) == []
    return shown


# --- names


def test_names_reach_port_as_they_are(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = {"text": ".description", "list": "[.topics // empty] | flatten"}
    kinds = ("group", "project", "merge-request")
    resources = [
        resource(kind, identifier=f'"{kind}-\\(.id)"', title=".title // .name", properties=properties) for kind in kinds
    ]
    for command in ("plan", "sync", "plan"):
        for as_json in (False, True):
            assert show(bench, monkeypatch, *resources, command=command, as_json=as_json).code == 0
    held = list(bench.store.snapshot()["thing"].values())
    assert {title for title, *_ in held} == {ALL, *HOSTILE}
    assert {properties["text"] for _, _, _, properties, _ in held} == {ALL}
    assert [properties["list"] for _, _, _, properties, _ in held if properties["list"]] == [HOSTILE]


def test_the_real_command_is_as_careful(bench: Bench) -> None:
    bench.file("m.yml", json.dumps(mapping_of(resource("merge-request", identifier=".title"))))
    ran = bench.run("sync", "--mapping", "m.yml", "--debug", FORCE_COLOR="")
    assert ran.returncode == 1
    assert "forbids the identifier" in ran.stdout
    assert obeyed(ran.stdout + ran.stderr) == []


def test_a_lone_surrogate_costs_no_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes U+FFFD, as no UTF-8 can hold it."""
    row = {"id": 7, "name": "a\ud800b", "path": "x", "path_with_namespace": "acme/x\udfff", "web_url": "\ud83d"}
    row |= {"namespace": {"id": 1, "kind": "group", "full_path": "acme"}, "description": "\ud83d\ude00"}
    reply = Reply(200, json.dumps([{**bench.world.project("acme/app"), **row}]).encode(), (("X-Total", "1"),))
    bench.gitlab.faults += [Fault("^/projects$", reply, 1), Fault("^/projects$", reply_json(200, [], ("X-Total", "1")))]
    one = resource("project", title=".name", properties={"text": ".description"})
    for command in ("plan", "sync"):
        for as_json in (False, True):
            shown = show(bench, monkeypatch, one, command=command, as_json=as_json)
            assert shown.code == 0, shown.all
    title, _, _, properties, _ = bench.store.snapshot()["thing"]["7"]
    assert (title, properties["text"]) == ("a\ufffdb", "😀")


def test_very_long_text_is_cut_in_messages_and_nowhere_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "long " * 20_000
    bench.world.project("acme/app")["description"] = long
    bench.gitlab.faults.append(Fault("merge_requests", reply_json(403, {"message": long})))
    project = resource("project", properties={"text": ".description"})
    shown = show(bench, monkeypatch, project, resource("merge-request"))
    assert shown.code == 1
    assert "403: long long" in shown.out
    assert max(map(len, shown.all.splitlines())) < 2000
    ((_, _, _, properties, _),) = bench.store.snapshot()["thing"].values()
    assert properties["text"] == long


# --- messages


def gitlab_says(path: str, status: int = 403) -> Callable[[Bench, str, Any], list[Any]]:
    def prepare(bench: Bench, text: str, _: Any) -> list[Any]:
        bench.gitlab.faults.append(Fault(path, reply_json(status, {"message": text})))
        return [resource("merge-request")]

    return prepare


def gitlab_redirects(bench: Bench, text: str, _: Any) -> list[Any]:
    # A header holds one line of Latin-1.
    where = "".join(char for char in text if char.isprintable() and char.isascii())
    bench.gitlab.faults.append(Fault("merge_requests", faults.redirect(f"http://{where}\x1b[31m")))
    return [resource("merge-request")]


def gitlab_has_a_type(bench: Bench, text: str, _: Any) -> list[Any]:
    header = "".join(char for char in text if char.isprintable() and char.isascii())
    bench.gitlab.faults.append(Fault("merge_requests", Reply(200, b"hm", (), f"{header}\x1b[31m")))
    return [resource("merge-request")]


def port_says(pattern: str, status: int) -> Callable[[Bench, str, Any], list[Any]]:
    def prepare(bench: Bench, text: str, _: Any) -> list[Any]:
        body = {"ok": False, "error": text, "message": text, "details": {text: text}}
        bench.port.faults.append(PortFault(pattern, refuse(status, body)))
        return [resource("project")]

    return prepare


def port_refuses_a_row(bench: Bench, text: str, _: Any) -> list[Any]:
    errors = [{"identifier": text, "index": 0, "statusCode": 422, "error": text, "message": text}]
    bench.port.faults.append(PortFault("POST .*/bulk", refuse(207, {"ok": False, "entities": [], "errors": errors})))
    return [resource("project")]


def port_has_odd_blueprints(bench: Bench, text: str, _: Any) -> list[Any]:
    bench.store.blueprints[text] = {**blueprint("thing"), "identifier": text}
    return [resource("project", blueprint_expression='"other"')]


def mapped(kind: str = "project", **fields: Any) -> Callable[[Bench, str, Any], list[Any]]:
    def prepare(bench: Bench, text: str, _: Any) -> list[Any]:
        quoted = json.dumps(text)
        filled = {name: str(value).replace("TEXT", quoted) for name, value in fields.items()}
        return [resource(text if kind == "TEXT" else kind, **filled)]

    return prepare


def unknown_keys(bench: Bench, text: str, _: Any) -> list[Any]:
    one = resource("project", selector={text: text}, properties={text: ".id"})
    return [{**one, text: text}]


def a_bug(bench: Bench, text: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    def broken(*_: Any) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(sync, "make_plan", broken)
    return [resource("project")]


def a_bug_in_a_worker(bench: Bench, text: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    def broken(*_: Any, **__: Any) -> None:
        raise ExceptionGroup(text, [RuntimeError(f"first\n{text}"), OSError(5, text, text)])

    monkeypatch.setattr(GitLab, "get", broken)
    return [resource("project")]


MESSAGES = {
    "GitLab forbids": gitlab_says("merge_requests"),
    "GitLab finds nothing": gitlab_says("merge_requests", 404),
    "GitLab knows no token": gitlab_says(".", 401),
    "GitLab redirects": gitlab_redirects,
    "GitLab answers something else": gitlab_has_a_type,
    "Port refuses the credentials": port_says("access_token", 401),
    "Port refuses a call": port_says("/bulk", 422),
    "Port refuses a row": port_refuses_a_row,
    "Port refuses the integration": port_says("POST /v1/integration", 422),
    "Port has odd blueprints": port_has_odd_blueprints,
    "an odd kind": mapped(kind="TEXT"),
    "odd keys": unknown_keys,
    "an odd blueprint": mapped(blueprint_expression="TEXT"),
    "a blueprint from the row": mapped(blueprint_expression=".name"),
    "an identifier from the row": mapped(kind="merge-request", identifier=".title"),
    "an error from the row": mapped(kind="merge-request", identifier="error(.title)", title="error(.title)"),
    "an expression that is none": mapped(title="nope TEXT"),
    "a selector that is none": mapped(query="TEXT"),
    "a bug": a_bug,
    "a bug in a worker": a_bug_in_a_worker,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_no_message_is_obeyed(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, as_json in ((ALL, False), (ALL, True), (HOSTILE[0], False), (HOSTILE[7], False)):
        with monkeypatch.context() as patch:
            resources = MESSAGES[name](bench, text, patch)
            assert show(bench, patch, *resources, as_json=as_json).code in (1, 2, 3, 4, 70)
        bench.gitlab.faults.clear()
        bench.port.faults.clear()
        bench.store.blueprints.pop(text, None)


def test_a_mapping_file_with_an_odd_name_or_odd_text(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("\x1b[31mred.yml", "::error::x.yml", "##[error]\n::x.yml", "\u202elmy.yml"):
        bench.file(text, json.dumps(mapping_of(resource("projekt"))))
        shown = show(bench, monkeypatch, mapping_file=text)
        assert shown.code == 1, shown.all
        assert show(bench, monkeypatch, mapping_file=f"missing {text}").code == 2
    for content in (f"resources: [{{kind: &a{ALL}", f"{ALL}: [", "\x1b[31m", "%TAG ! \x1b", "!<\x1b[31m> x", "'\\"):
        bench.file("odd.yml", content)
        assert show(bench, monkeypatch, mapping_file="odd.yml").code == 2


def test_json_is_not_obeyed_either(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure Pipelines looks for ##vso[…] anywhere in a line."""
    resources = MESSAGES["GitLab forbids"](bench, HOSTILE[7], monkeypatch)
    shown = show(bench, monkeypatch, *resources, as_json=True)
    assert HOSTILE[7] in json.loads(shown.out)["problems"][0]["why"]
    assert obeyed(shown.out) == []
