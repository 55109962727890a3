"""A plan shows what each change does: values field by field, title, links and reason, without secrets."""

import io
import json
import tracemalloc
from dataclasses import replace
from typing import Any, Literal, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from conftest import Bench
from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.demo.world import change_world
from gitlab_port_export.model import Create, Delete, Entity, Problem, Update
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.report import console, html, markdown
from gitlab_port_export.report import json as json_report
from gitlab_port_export.report.builder import ReportBuilder
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.report.values import Details, FieldChange, Report
from gitlab_port_export.sync import plan_values
from gitlab_port_export.sync.field_changes import MAX_TEXT, _same, field_change
from gitlab_port_export.sync.plan_values import GONE, PlanValues
from testbed.here import Printed, run_here

pytestmark = pytest.mark.usefixtures("lent_evaluator")


class Run(Protocol):
    """Runs a command in the bench's folder, in this process."""

    def __call__(self, command: Literal["sync", "plan"] = "plan", **options: Any) -> Printed: ...


@pytest.fixture
def run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(command: Literal["sync", "plan"] = "plan", **options: Any) -> Printed:
        return run_here(bench.environ(), bench.folder, monkeypatch, command=command, **{"as_json": True, **options})

    return call


def changes(ran: Printed) -> dict[tuple[str, str], dict[str, Any]]:
    """The changes of a JSON report by action and identifier."""
    return {(one["action"], one["identifier"]): one for one in json.loads(ran.out)["changes"]}


@pytest.fixture
def changed(bench: Bench) -> Bench:
    bench.sync_an_hour_ago()
    change_world(bench.world)
    bench.port.requests.clear()
    return bench


def searches(bench: Bench) -> int:
    return sum(request.path.endswith("/entities/search") for request in bench.port.requests)


# --- which changes have values


def test_an_update_shows_old_and_new_value_title_and_page_in_gitlab(changed: Bench, run: Run) -> None:
    found = changes(run())["update", "platform/infrastructure"]
    assert found["fields"] == ["title"]
    (value,) = found["values"]
    assert (value["field"], value["new"]) == ("title", "Infrastructure as Code")
    assert value["old"] == "Infra"
    assert found["title"] == "Infrastructure as Code"
    assert found["links"]["gitlab"].endswith("/platform/infrastructure")


def test_a_create_lists_its_fields_and_a_deletion_says_title_and_why(changed: Bench, run: Run) -> None:
    found = changes(run())
    (create,) = [one for (action, _), one in found.items() if action == "create"]
    assert {one["field"]: one for one in create["values"]}["title"]["new"] == "Answer 503 while draining"
    assert create["values"][0]["old"] is None
    gone = found["delete", "payments/cards/fraud-rules"]
    assert (gone["title"], gone["why"]) == ("Fraud Rules", GONE)
    assert "values" not in gone


def test_no_values_asks_port_for_nothing_and_shows_names_of_fields_alone(changed: Bench, run: Run) -> None:
    with_values = run()
    many = searches(changed)
    changed.port.requests.clear()
    without = run(no_values=True)
    assert searches(changed) < many
    assert "Infrastructure as Code" in with_values.out
    assert "Infrastructure as Code" not in without.out
    assert changes(without)["update", "platform/infrastructure"] == {
        "action": "update", "blueprint": "service", "identifier": "platform/infrastructure", "fields": ["title"],
    }  # fmt: skip


def test_a_sync_reads_no_values(changed: Bench, run: Run) -> None:
    ran = run("sync")
    assert ran.code == 0
    assert "values" not in changes(ran)["update", "platform/infrastructure"]


def test_a_plan_without_the_values_of_port_is_whole_and_warns_once(
    changed: Bench, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(run().out)

    def fails(*_: Any) -> Any:
        asked.append(1)
        raise Unreachable("no answer")

    asked: list[int] = []
    monkeypatch.setattr(plan_values, "read_fields", fails)
    ran = run()
    report = json.loads(ran.out)
    assert ran.code == 0
    assert report["total"] == whole["total"]
    (warning,) = report["problems"]
    assert warning["warning"]
    assert "did not give the values" in warning["why"]
    assert asked == [1]


# --- how many


class Reader:
    """Stands in for Port: each entity has the title `old`."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, _blueprint: str, identifiers: Any, _fields: Any) -> dict[str, Any]:
        self.asked.append(list(identifiers))
        return {one: {"identifier": one, "title": "old", "properties": {}} for one in identifiers}


BLUEPRINT = Blueprint("service", {"url": {"type": "string", "format": "url"}, "key": {"encryption": "aes256-gcm"}}, {})


def taker(read: Reader, address: str = "https://api.us.getport.io") -> PlanValues:
    return PlanValues({"service": BLUEPRINT}, read, address, str)


def entity(identifier: str, **properties: Any) -> Entity:
    return Entity.of("service", identifier, {"title": "new", "properties": properties}, 0)


def test_port_is_asked_in_batches_for_the_first_updates_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_values, "MAX_DETAILS", 250)
    read = Reader()
    values = taker(read)
    for number in range(1000):
        values.add(Create(entity(f"c{number}")))
        values.add(Update(entity(f"u{number}"), ("title",)))
    values.finish()
    assert list(map(len, read.asked)) == [100, 100, 50]
    assert len(values.found) == 2 * 250
    assert values.found["service", "u249"].fields == (FieldChange("title", "old", "new"),)


def test_many_changes_of_one_blueprint_leave_room_for_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_values, "MAX_OF_BLUEPRINT", 10)
    values = taker(Reader())
    for number in range(50):
        values.add(Create(entity(f"c{number}")))
        values.add(Delete("service", f"d{number}"))
    values.add(Create(Entity.of("team", "t", {"title": "new"}, 0)))
    values.finish()
    assert len(values.found) == 2 * 10 + 1
    assert ("team", "t") in values.found


def test_a_later_row_of_the_same_entity_gives_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_values, "BATCH", 1)
    read = Reader()
    values = taker(read)
    for change in (Create(entity("c", n=1)), Update(entity("u", n=1), ("title",))):
        values.add(change)
        values.add(Update(entity(change.entity.identifier, n=2), ("properties.n",), again=True))
    values.finish()
    assert values.found["service", "c"].fields[-1] == FieldChange("properties.n", None, 2)
    assert values.found["service", "u"].fields == (
        FieldChange("title", "old", "new"), FieldChange("properties.n", None, 2),
    )  # fmt: skip


def test_links_lead_to_the_application_of_the_region_and_never_run_a_script() -> None:
    values = taker(Reader())
    values.add(Create(entity("a/b c", url="https://gitlab.example.com/a/b")))
    values.add(Create(entity("bad", url="javascript:alert(1)")))
    values.add(Delete("service", "gone"))
    values.finish()
    good, bad, gone = values.found.values()
    assert good.port == "https://app.us.getport.io/serviceEntity?identifier=a%2Fb%20c"
    assert good.gitlab == "https://gitlab.example.com/a/b"
    assert (bad.gitlab, gone.gitlab) == ("", "")
    assert (gone.title, gone.why) == ("old", GONE)
    elsewhere = taker(Reader(), "http://127.0.0.1:3000")
    elsewhere.add(Create(entity("a")))
    assert elsewhere.found["service", "a"].port == ""


# --- how a value is shown


def test_a_long_text_is_cut_around_the_difference() -> None:
    before, after = "a" * 50_000 + "old end", "a" * 50_000 + "new end"
    found = field_change("properties.text", before, after, str)
    assert found.old == "…" + "a" * 40 + "old end"
    assert found.new == "…" + "a" * 40 + "new end"
    begin = field_change("properties.text", "x" + "a" * 900, "y" + "a" * 900, str)
    assert begin.new == "y" + "a" * (MAX_TEXT - 1) + "…"


def test_a_list_shows_what_is_added_and_removed() -> None:
    found = field_change("relations.owners", ["a", "b"], ["b", "c"], str)
    assert (found.is_list, found.added, found.removed, found.more) == (True, ("c",), ("a",), 0)
    many = field_change("properties.tags", None, [f"t{number}" for number in range(25)], str)
    assert (len(many.added), many.removed, many.more) == (10, (), 15)
    gone = field_change("properties.tags", [{"b": 1, "a": 2}], None, str)
    assert gone.removed == ('{"a":2,"b":1}',)


def test_other_values_keep_their_type_and_objects_are_json() -> None:
    assert field_change("properties.n", 1, None, str) == FieldChange("properties.n", 1, None)
    assert field_change("properties.on", False, True, str) == FieldChange("properties.on", False, True)
    assert field_change("properties.o", {"b": 1, "a": 2}, "x", str).old == '{"a":2,"b":1}'


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("properties.apiToken", "hunter2-hunter2", "hunter3-hunter3"),
        ("properties.tokens", ["hunter2-hunter2"], ["hunter3-hunter3"]),
        ("properties.settings", {"password": "hunter2-hunter2"}, {"password": "hunter3-hunter3"}),
        ("properties.text", "a" * 20_000 + " password=hunter2-hunter2", "a" * 20_000 + " password=hunter3-hunter3"),
        ("properties.url", "https://me:hunter2-hunter2@example.com/", "https://me:hunter3-hunter3@example.com/"),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_still_a_difference(field: str, old: Any, new: Any) -> None:
    found = field_change(field, old, new, str)
    assert "hunter" not in repr(found)
    assert found.masked or found.is_list


def test_what_port_encrypts_is_masked_and_the_secrets_of_the_run_too() -> None:
    values = taker(Reader())
    values.add(Create(entity("a", key="private")))
    assert values.found["service", "a"].fields[-1].new == "[masked]"
    assert field_change("title", None, "x 12345", lambda text: text.replace("12345", "[secret]")).new == "x [secret]"


# --- how each form shows it

EVIL = "<script>`@all` ##[error]\x1b[31m\n```\n"
DETAILS = Details(
    f"Title {EVIL}",
    (
        FieldChange("title", f"old {EVIL}", f"new {EVIL}"),
        FieldChange("properties.tags", is_list=True, added=("plus",), removed=("minus",), more=2),
        FieldChange("properties.n", 1, None),
        FieldChange("properties.text", "[masked]", "[masked]", masked=True),
    ),
    port="https://app.port.io/serviceEntity?identifier=u",
    gitlab="https://gitlab.example.com/u",
)


def plan_report() -> Report:
    """A plan of an update, a create and a deletion."""
    builder = ReportBuilder("plan")
    builder.add(Update(entity("u"), ("title",)))
    builder.add(Create(entity("c")))
    builder.add(Delete("service", "d"))
    created = Details("new", (FieldChange("title", None, "new"), FieldChange("properties.n", None, 7)))
    found = {
        ("service", "u"): DETAILS, ("service", "c"): created, ("service", "d"): Details("Old", why=GONE),
    }  # fmt: skip
    return builder.finish(started="2026-01-01T00:00:00+00:00", seconds=1.0, details=found, plan=["project: 1 read"])


def on_console(report: Report) -> list[str]:
    stream = io.StringIO()
    console.render(report, Screen.of(stream, {}).console)
    return stream.getvalue().splitlines()


def test_the_terminal_shows_each_field_below_its_change() -> None:
    lines = on_console(plan_report())
    assert "    - d: Old; not in GitLab, which was read twice" in lines
    assert lines[lines.index("    + c: new") + 1] == "        properties.n: 7"
    update = next(number for number, line in enumerate(lines) if line.startswith("    ~ u: Title"))
    assert lines[update + 1].startswith('        title: "old <script>')
    assert lines[update + 2 : update + 7] == [
        '        properties.tags: −"minus" +"plus" … and 2 more',
        "        properties.n: 1 → nothing",
        '        properties.text: "[masked]" → "[masked]" (differs in what is masked)',
        "        https://gitlab.example.com/u",
        "        https://app.port.io/serviceEntity?identifier=u",
    ]
    assert "\x1b" not in "".join(lines)


def test_markdown_shows_a_plans_changes_first_as_a_diff_that_nothing_can_leave() -> None:
    report = plan_report()
    report = replace(report, problems=(Problem("read", "went wrong"),))
    text = markdown.render(report)
    assert text.index("```diff") < text.index("went wrong")
    lines = text.splitlines()
    assert lines.count("```") == 1
    block = lines[lines.index("```diff") + 1 : lines.index("```")]
    assert {line[0] for line in block} == {"+", "-", "!"}
    assert '-     properties.tags: "minus"' in block
    assert '+     properties.tags: "plus" … and 2 more' in block
    assert "-     properties.n: 1" in block
    assert '(<a href="https://gitlab.example.com/u">GitLab</a>, <a href="https://app.port.io/' in text
    assert len(markdown.render(report, 1_500).encode()) <= 1_500


def test_a_comment_that_is_cut_keeps_the_deletions_and_the_fields_of_the_first_new_entities() -> None:
    builder = ReportBuilder("plan")
    details = {}
    for number in range(3_000):
        builder.add(Create(entity(f"a{number:04}")))
        details["service", f"a{number:04}"] = Details("", (FieldChange("properties.n", None, number),))
    for number in range(20):
        builder.add(Delete("service", f"z{number:02}"))
    text = markdown.render(builder.finish(started="", seconds=1.0, details=details))
    assert len(text.encode()) <= markdown.MAX_BYTES
    assert [f"\n- z{number:02}\n" in text for number in range(20)] == [True] * 20
    assert text.count("properties.n: ") == markdown.MAX_NEW
    assert text.count("\n+ a") >= 300 - 20


def test_many_updates_say_which_fields_differ_how_often() -> None:
    builder = ReportBuilder("plan")
    for number in range(2_000):
        builder.add(Update(entity(f"u{number:04}"), ("title", EVIL) if number < 7 else ("title",)))
    report = builder.finish(started="", seconds=1.0)
    text = markdown.render(report)
    assert f"\nfields that differ in 2000 updates: <code>title</code> 2000, {markdown.code(EVIL)} 7\n" in text
    page = html.render(report)
    assert "fields that differ in 2000 updates: title 2000, " in page
    assert "<script>`" not in page
    assert "fields that differ" not in html.render(plan_report()) + markdown.render(plan_report())


def test_json_has_values_as_data_that_fit_the_schema() -> None:
    document = json.loads(json_report.render(plan_report()))
    Draft202012Validator(json.loads(json_report.schema())).validate(document)
    update = next(one for one in document["changes"] if one["action"] == "update")
    assert update["values"][0]["old"] == f"old {EVIL}"
    assert update["values"][1] == {"field": "properties.tags", "added": ["plus"], "removed": ["minus"], "more": 2}
    assert update["links"]["port"] == "https://app.port.io/serviceEntity?identifier=u"


def test_the_page_shows_a_plans_changes_first_with_values_and_links() -> None:
    page = html.render(replace(plan_report(), problems=(Problem("read", "went wrong"),)))
    assert page.index('id="changes-title"') < page.index("went wrong")
    assert "<script>`" not in page
    assert "<b>properties.tags</b>: <del>&#34;minus&#34;</del> <ins>&#34;plus&#34; … and 2 more</ins>" in page
    assert '<a href="https://gitlab.example.com/u" rel="noopener noreferrer">GitLab' in page
    assert "Old; not in GitLab, which was read twice" in page
    sync = html.render(replace(plan_report(), command="sync", problems=(Problem("read", "went wrong"),)))
    assert sync.index("went wrong") < sync.index('id="changes-title"')


def test_half_of_a_secret_before_what_is_masked_is_not_shown() -> None:
    start = "token=" + "s3cr3t" * 1_400
    before, after = f"{start} password=hunter2-hunter2", f"{start} password=hunter3-hunter3"
    found = field_change("properties.text", before, after, str)
    assert (found.old, found.new, found.masked) == ("[masked]", "[masked]", True)


@given(st.text("ab", max_size=40), st.text("ab", max_size=40))
def test_what_two_texts_have_in_common_is_found_to_the_character(old: str, new: str) -> None:
    lengths = (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other)
    expected = 0 if old == new else next(lengths, min(len(old), len(new)))
    assert _same(old, new) == expected


def test_half_of_a_secret_where_the_part_ends_is_not_shown() -> None:
    filler = "word " * 991
    before, after = (
        f"password={one}\n{filler}{one}{'s3cr3t' * 1_000}" for one in ("hunter2-hunter2", "hunter3-hunter3")
    )
    found = field_change("properties.text", before, after, str)
    assert (found.old, found.new, found.masked) == ("[masked]", "[masked]", True)
    short = field_change("properties.text", before[:300] + " old", after[:300] + " new", str)
    assert (short.old[-3:], short.new[-3:]) == ("old", "new")


def test_long_texts_of_new_entities_are_not_kept() -> None:
    values = taker(Reader())
    tracemalloc.start()
    for number in range(200):
        values.add(Create(entity(f"c{number}", text=f"{number}" + "x" * 100_000)))
        values.add(Update(entity(f"u{number}", text=f"{number}" + "x" * 100_000), ("properties.text",)))
    values.finish()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 2_000_000
