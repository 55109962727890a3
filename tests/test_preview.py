"""`preview`: rows beside what the mapping makes of them, each field with its value or error, with few requests."""

import io
import json
from pathlib import Path
from typing import Any

import jq
import pytest
from rich.console import Console

from conftest import Bench
from gitlab_port_export.base.errors import ExportError
from gitlab_port_export.commands import preview as previewing
from gitlab_port_export.commands.preview_output import render
from gitlab_port_export.commands.preview_values import FieldSample, MappedSample, Preview, PreviewRequest, RowSample
from gitlab_port_export.commands.session import Session
from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.port.defaults import default_mapping_text
from testbed.harness import NoWait, mapping_of, resource, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

ROW = {"id": 7, "name": "a\x1b[31mb", "runners_token": "GR1348941-not-for-logs", "tags": ["x", "y"], "web_url": "u"}

# Versions of jq put it differently.
NO_INDEX = jq.compile("try .a.x catch .").input_value({"a": "text"}).first()


def previewed(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    *,
    environ: Any = None,
    row: str | None = None,
    **options: Any,
) -> tuple[int, Any]:
    """Preview in this process; the exit code and what it says as JSON, or the error's text."""
    bare = options.pop("bare", False)
    wanted = PreviewRequest(kind, options.pop("limit", 3), options.pop("index", None), row, bare)
    monkeypatch.chdir(bench.folder)
    out, err = io.StringIO(), io.StringIO()
    environ = bench.environ() if environ is None else environ
    session = Session(out, err, environ, as_json=True, make_clock=NoWait)
    try:
        code = previewing.run(session, wanted, **options)
    except ExportError as error:
        return error.exit_code, f"{error} → {error.hint}"
    assert bench.store.writes == 0
    assert bench.changing_calls() == []
    return code, json.loads(out.getvalue())


def saved(bench: Bench, monkeypatch: pytest.MonkeyPatch, mapping: Any, row: Any = ROW) -> tuple[int, Any]:
    """Preview a saved row with a mapping file, without settings and without asking anybody."""
    files = {
        "mapping_file": Path(bench.file("m.yml", json.dumps(mapping))),
        "row": bench.file("row.json", json.dumps(row)),
    }
    found = previewed(bench, monkeypatch, "project", environ={}, **files)
    assert bench.port.requests == bench.gitlab.requests == []
    return found


def fields(sample: Any) -> dict[str, Any]:
    (mapped,) = sample["mapped"]
    return {name: field.get("error") or field["value"] for name, field in mapped["fields"].items()}


# --- a saved row


def test_a_saved_row_needs_nobody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = mapping_of(resource("project", title=".name", properties={"n": ".tags | length", "bad": ".name.x"}))
    code, found = saved(bench, monkeypatch, mapping)
    (sample,) = found["rows"]
    assert code == 0
    assert fields(sample) == {
        "identifier": "7",
        "blueprint": "thing",
        "title": ROW["name"],
        "properties.n": 2,
        "properties.bad": NO_INDEX,
    }
    assert sample["entities"] == [
        {"blueprint": "thing", "identifier": "7", "title": ROW["name"], "properties": {"n": 2, "bad": None}}
    ]
    assert sample["mapped"][0]["selector"] == {"expression": "true", "line": 1, "value": True}
    assert [problem["field"] for problem in found["problems"]] == ["properties.bad"]


def test_secrets_in_a_row_are_masked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = saved(bench, monkeypatch, mapping_of(resource("project")))
    assert found["rows"][0]["row"]["runners_token"] == "[masked]"


def test_a_masked_secret_shows_in_no_value_error_or_entity(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = str(ROW["runners_token"])
    row = {**ROW, "password_policy": "enabled", "token_expires_at": "2030-01-01T00:00:00Z", "policy": "enabled"}
    expressions = {"whole": ".", "one": ".runners_token", "two": ".runners_token | error", "p": ".policy"}
    code, found = saved(bench, monkeypatch, mapping_of(resource("project", properties=expressions)), row)
    shown = fields(found["rows"][0])
    assert code == 0
    assert (shown["properties.one"], shown["properties.two"]) == ("[secret]", "[secret]")
    assert shown["properties.p"] == "enabled"
    assert shown["properties.whole"]["token_expires_at"] == "2030-01-01T00:00:00Z"
    assert secret not in json.dumps(found)


@pytest.mark.parametrize(
    "row",
    [
        {"repo": "x", "file": {"path": "a"}},
        {"repo": [1], "folder": {"path": 5}},
        {"__legacy": 5},
        {"__legacy": [1]},
        {"file": [1], "name": {"a": 1}, "tag_name": [1]},
        {"id": 10**25, "project_id": -(10**25)},
    ],
)
@pytest.mark.parametrize("fields", [{"title": "file://a"}, {"port": {"itemsToParse": ".file.content"}}])
def test_an_odd_row_is_shown_and_no_bug(row: Any, fields: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    code, found = saved(bench, monkeypatch, mapping_of(resource("project", **fields)), row)
    assert code in (0, 1), found
    assert len(found["rows"]) == 1


@pytest.mark.parametrize("levels", [300, 900])
def test_a_row_that_nests_too_deeply_is_a_problem(levels: int, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    deep: Any = {}
    for _ in range(levels):
        deep = {"a": deep}
    code, found = saved(bench, monkeypatch, mapping_of(resource("project")), [{"id": 1, "deep": deep}, ROW])
    assert (code, len(found["rows"])) == (1, 1)
    assert [problem["why"] for problem in found["problems"]] == ["a row nests more than 254 levels deep"]


def test_values_that_cannot_be_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "reduce range({}) as $i (1; [.])"
    expressions = {"big": '"9" * 5000 | fromjson', "deep": deep.format(300), "deeper": deep.format(5000)}
    _, found = saved(bench, monkeypatch, mapping_of(resource("project", properties=expressions)))
    shown = fields(found["rows"][0])
    assert shown["properties.deep"] == "gives what nests more than 254 levels deep"
    assert "properties.big" in shown
    assert "properties.deeper" in shown


def test_a_secret_that_came_during_a_preview_is_not_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(bench.file("token", bench.secrets[0]))
    name = "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN"
    environ = {key: text for key, text in bench.environ().items() if not key.startswith(name)}
    new = "another-secret-of-today"
    bench.world.tokens[new] = bench.world.tokens[bench.secrets[0]]
    bench.world.project("platform/gateway")["description"] = f"curl -H 'PRIVATE-TOKEN: {new}'"
    preview = previewing.preview

    def rotated(*given: Any) -> Preview:
        file.write_text(new, encoding="utf-8")
        return preview(*given)

    monkeypatch.setattr(previewing, "preview", rotated)
    mapping = mapping_of(resource("project", query='.path == "gateway"', properties={"d": ".description"}))
    options = {"mapping_file": Path(bench.file("m.yml", json.dumps(mapping))), "limit": 1}
    code, found = previewed(bench, monkeypatch, "project", environ=environ | {f"{name}_FILE": str(file)}, **options)
    assert code == 0, found
    assert "[secret]" in fields(found["rows"][0])["properties.d"]
    assert new not in json.dumps(found)


def test_a_list_of_saved_rows_and_the_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = saved(bench, monkeypatch, mapping_of(resource("project")), [{"id": number} for number in range(9)])
    assert [sample["row"]["id"] for sample in found["rows"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("query", "verdict", "note", "code"),
    [
        (".id > 9", False, "left out: the selector gives false", 0),
        (".id", 7, "the selector must give true or false; it gave 7", 1),
        ("empty", "gives nothing", "the selector must give true or false; it gave nothing", 1),
        ('error("no")', "no", "no", 1),
    ],
)
def test_verdicts_of_the_selector(
    query: str, verdict: Any, note: str, code: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_code, found = saved(bench, monkeypatch, mapping_of(resource("project", query=query, title=".name")))
    (sample,) = found["rows"]
    selector = sample["mapped"][0]["selector"]
    assert selector.get("error", selector.get("value")) == verdict
    assert sample["notes"] == [note]
    assert sample["entities"] == []
    # What the fields would give is shown all the same.
    assert fields(sample)["title"] == ROW["name"]
    assert found_code == code


def test_no_field_hides_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"halts": "halt", "nojq": ".a |", "fine": ".id", "none": "empty", "more": "input"}
    code, found = saved(bench, monkeypatch, mapping_of(resource("project", properties=broken)))
    shown = fields(found["rows"][0])
    assert shown["properties.fine"] == 7
    assert shown["properties.halts"] == "the expression ends the program (halt)"
    assert "syntax error" in shown["properties.nojq"]
    assert shown["properties.none"] is None
    assert "`input` has no meaning here" in shown["properties.more"]
    assert code == 2


def test_parsed_items_and_lists_of_mappings(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    one = resource("project", port={"itemsToParse": ".tags"}, query='.item != "y"')
    entities = [
        {"identifier": ".item", "blueprint": '"a"'},
        {"identifier": ".item + .name", "blueprint": '"b"', "icon": ".x.y"},
    ]
    one["port"]["entity"]["mappings"] = entities
    _, found = saved(bench, monkeypatch, mapping_of(one))
    (sample,) = found["rows"]
    assert [(mapped["entity"], mapped["selector"]["value"]) for mapped in sample["mapped"]] == [
        (0, True), (1, True), (0, False), (1, False),
    ]  # fmt: skip
    assert [mapped["fields"]["identifier"]["value"] for mapped in sample["mapped"]][::2] == ["x", "y"]
    assert [entity["blueprint"] for entity in sample["entities"]] == ["a", "b"] or sample["notes"]


@pytest.mark.parametrize("content", ["[1]", "{", '"text"'])
def test_a_file_that_holds_no_row(content: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = Path(bench.file("m.yml", json.dumps(mapping_of(resource("project")))))
    row = bench.file("row.json", content)
    code, said = previewed(bench, monkeypatch, "project", environ={}, mapping_file=mapping, row=row)
    assert code == 2
    assert said.startswith("row.json: ")


# --- rows of GitLab


@pytest.mark.parametrize(
    "kind", ["member", "group-with-members", "project", "merge-request", "issue", "pipeline", "job"]
)
def test_what_is_shown_is_what_a_sync_writes(kind: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    code, found = previewed(bench, monkeypatch, kind, limit=2)
    assert code == 0
    assert len(found["rows"]) == 2
    asked = bench.gitlab.count()
    assert asked <= 10
    store = run_sync(bench.gitlab).store
    for sample in found["rows"]:
        for entity in sample["entities"]:
            held = store.entity(entity["blueprint"], entity["identifier"])
            assert held is not None
            assert held["title"] == entity["title"]
            assert {name: held["properties"].get(name) for name in entity["properties"]} == entity["properties"]


def test_few_requests_in_a_large_place(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    group = bench.world.group("research")
    for number in range(250):
        bench.world.add_project(group, f"p{number}")
    previewed(bench, monkeypatch, "project", limit=1)
    # Sign-in to GitLab, groups, one page of three of projects; two projects' languages are under way at a time.
    assert bench.gitlab.count() <= 6


def test_only_the_wanted_resource(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = mapping_of(resource("project"), resource("group"), resource("project", query=".archived"))
    file = Path(bench.file("m.yml", json.dumps(mapping)))
    both = previewed(bench, monkeypatch, "project", mapping_file=file, limit=1)[1]["rows"]
    assert [sample["resource"] for sample in both] == [0, 2]
    one = previewed(bench, monkeypatch, "project", mapping_file=file, limit=1, index=2)[1]["rows"]
    assert [sample["resource"] for sample in one] == [2]
    assert previewed(bench, monkeypatch, "project", mapping_file=file, index=1) == (
        2, "m.yml: resource 1 is not of the kind 'project' → resources are counted from 0; of this kind are 0, 2",
    )  # fmt: skip
    code, said = previewed(bench, monkeypatch, "projct", mapping_file=file)
    assert (code, said) == (2, "there is no kind 'projct' → did you mean 'project'?")
    assert bench.port.requests == []


def test_a_refused_read_is_a_problem(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.gitlab.faults.append(Fault("/issues", faults.forbidden()))
    code, found = previewed(bench, monkeypatch, "issue")
    assert (code, found["rows"]) == (1, [])
    assert "403" in found["problems"][0]["why"]


def test_dead_tokens_end_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for token in bench.world.tokens.values():
        token.revoked = True
    assert previewed(bench, monkeypatch, "issue")[0] == 3


def test_a_token_in_a_row_is_not_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.world.project("platform/gateway")["description"] = f"curl -H 'PRIVATE-TOKEN: {bench.secrets[0]}'"
    mapping = mapping_of(resource("project", query='.path == "gateway"', properties={"d": ".description"}))
    file = Path(bench.file("m.yml", json.dumps(mapping)))
    found = previewed(bench, monkeypatch, "project", mapping_file=file, limit=1)[1]
    assert "[secret]" in fields(found["rows"][0])["properties.d"]
    assert bench.secrets[0] not in json.dumps(found)


# --- a kind that is not mapped, and what of a row is shown


def mapped_file(bench: Bench, *resources: Any) -> Path:
    return Path(bench.file("m.yml", json.dumps(mapping_of(*resources))))


def test_a_kind_that_is_not_mapped_shows_its_rows_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    file = mapped_file(bench, resource("project"))
    code, found = previewed(bench, monkeypatch, "issue", limit=1, mapping_file=file)
    (sample,) = found["rows"]
    assert code == 0
    assert sample["row"]["iid"]
    assert (sample["resource"], sample["mapped"], sample["entities"]) == (None, [], [])
    assert sample["notes"] == ["not mapped: the mapping has no resource of this kind"]


def test_a_kind_that_needs_a_selector_says_which(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = previewed(bench, monkeypatch, "file", mapping_file=mapped_file(bench, resource("project")))
    assert code == 2
    assert "selector.files: is missing" in said
    assert "write a mapping of file with such a selector" in said


def test_a_number_of_a_resource_is_of_no_use_where_none_is_mapped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = mapped_file(bench, resource("project"))
    code, said = previewed(bench, monkeypatch, "issue", index=0, mapping_file=file)
    assert (code, said) == (2, "m.yml has no resource of the kind 'issue' → leave out --index to see rows of it")


def test_fields_that_expressions_use_come_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"a": 1, "id": 7, "b": 2, "name": "n", "c": {"d": 3}, "tags": []}
    used = resource("project", title='.["name"] // ."tags"', properties={"d": ".c.d"})
    _, found = saved(bench, monkeypatch, mapping_of(used), row)
    assert list(found["rows"][0]["row"]) == ["id", "name", "tags", "c", "a", "b"]
    assert found["rows"][0]["row"] == row


def test_rows_can_be_left_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    file = mapped_file(bench, resource("project"))
    row = bench.file("row.json", json.dumps(ROW))
    _, found = previewed(bench, monkeypatch, "project", row=row, mapping_file=file, bare=True)
    assert found["rows"][0]["row"] is None
    assert found["rows"][0]["entities"]
    shown = bench.run("preview", "project", "--row", row, "--mapping", str(file), "--no-row").stdout
    assert "identifier: .id | tostring" in shown
    assert '"id"' not in shown


# --- what it looks like

SAMPLE = Preview(
    "project",
    "m.yml",
    (
        RowSample(
            0, "a/b", {"id": 7, "name": "a\x1b[31m"},
            (MappedSample(0, FieldSample("selector.query", "true", True), (FieldSample("title", ".n", "a\x1b[31m"),)),),
            (), ("left out",),
        ),
    ),
    (),
)  # fmt: skip


def drawn(*, terminal: bool) -> str:
    out = io.StringIO()
    render(SAMPLE, str, Console(file=out, force_terminal=terminal, color_system=None, width=100, markup=False))
    return out.getvalue()


def test_side_by_side_on_a_terminal_and_below_each_other_elsewhere() -> None:
    beside = [line for line in drawn(terminal=True).splitlines() if '"id": 7' in line]
    assert "= true" in beside[0]
    below = drawn(terminal=False).splitlines()
    assert below.index('  "id": 7,') < below.index("selector.query: true") < below.index("title: .n")
    assert "\x1b" not in drawn(terminal=False)
    assert r"a\u001b[31m" in drawn(terminal=False)


def test_the_command_prints_rows_and_the_value_of_each_field(bench: Bench) -> None:
    bench.file("m.yml", default_mapping_text("gitlab-v2"))
    bench.file("row.json", json.dumps({"id": 5, "title": "##vso[task.x]", "references": {"full": "a/b!5"}}))
    bare = dict.fromkeys(bench.environ())
    ran = bench.run("preview", "merge-request", "--row", "row.json", "--mapping", "m.yml", **bare)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert 'relations.project: .references.full | split("!")[0]\n  = "a/b"\n' in ran.stdout
    assert "##vso[" not in ran.stdout
    assert ran.stdout.endswith("exit 0: 1 shown\n")
    refused = bench.run("preview", "isue", "--output", "json")
    document = json.loads(refused.stdout)
    assert (refused.returncode, document["command"], document["exit"]) == (2, "preview", {"code": 2})
    assert document["problems"][0]["hint"] == "did you mean 'issue'?"
    missing = bench.run("preview", "merge-request", "--row", "row.json", **bare)
    assert missing.returncode == 2
    assert "OCEAN__PORT__CLIENT_ID" in missing.stderr
    live = bench.run("preview", "issue", "--limit", "1")
    assert live.returncode == 0
    assert "exit 0: 1 shown" in live.stdout
