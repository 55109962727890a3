"""The report: what the fold counts, which code it gives, how it reads on a terminal, in a pipe, as JSON."""

import base64
import html
import io
import json
import os
import re
import shlex
from collections import Counter
from dataclasses import replace
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitlab_port_export.base.text import Redactor, clean
from gitlab_port_export.model import (
    Create,
    Delete,
    Entity,
    Failed,
    Held,
    Page,
    Problem,
    Scope,
    Skipped,
    Unchanged,
    Update,
    Written,
)
from gitlab_port_export.report import builder as report_builder
from gitlab_port_export.report import console as console_report
from gitlab_port_export.report import json as json_report
from gitlab_port_export.report import markdown, problem_groups
from gitlab_port_export.report.builder import ReportBuilder
from gitlab_port_export.report.exit_code import EXIT_MEANINGS, exit_code, meaning
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.report.values import Counts, Report

PROBLEM = Problem("read", "GitLab refused", hint="give the token access", scope="a/b", kind="issue")
WARNING = replace(PROBLEM, warning=True)
EVIL = "[red]x[/red]\x1b[31m\u202egnp.exe\r\n::error::\x9b2J\ud800"


PLACES = ["identifier", "blueprint", "why", "hint", "scope", "sample", "kind", "origin"]
PREFIXES = ["glpat", "gldt", "glrt", "glcbt", "glptt", "gloas", "glft"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def entity(identifier: object, blueprint: str = "service") -> Entity:
    return Entity.of(blueprint, identifier, {"title": "t"}, 0)


def held(reason: str, *identifiers: str) -> Held:
    return Held("service", identifiers or ("x",), reason, "why it was held", "--allow-deletes service")  # type: ignore[arg-type]  # reason comes from a table of tests


def finish(builder: ReportBuilder, **more: object) -> Report:
    return builder.finish(started="2026-01-02T03:04:05Z", seconds=6.54, **more)  # type: ignore[arg-type]  # passed through as it is


def shown(
    report: Report, environ: dict[str, str] | None = None, stream: io.StringIO | None = None, *, reads: bool = False
) -> str:
    stream = stream or io.StringIO()
    console_report.render(report, Screen.of(stream, environ or {}).console, reads=reads)
    return stream.getvalue()


# --- exit codes


@pytest.mark.parametrize(
    ("problems", "reasons", "failed", "fail_on", "expected"),
    [
        ([], [], 0, "problems", 0),
        ([WARNING], [], 0, "problems", 0),
        ([PROBLEM], [], 0, "problems", 1),
        ([], [], 1, "problems", 1),
        ([PROBLEM], ["problem"], 0, "problems", 1),
        ([PROBLEM], ["limit"], 0, "problems", 1),
        ([], ["limit"], 0, "problems", 5),
        ([], ["empty"], 0, "problems", 5),
        ([], ["dependents"], 0, "problems", 5),
        ([], ["plan"], 0, "problems", 5),
        ([], ["recent"], 0, "problems", 0),
        ([WARNING], ["recent", "limit"], 0, "problems", 5),
        ([PROBLEM], [], 0, "limit", 0),
        ([PROBLEM], ["problem"], 1, "limit", 0),
        ([], ["limit"], 0, "limit", 5),
        ([PROBLEM], ["limit"], 0, "limit", 5),
        ([PROBLEM], ["limit"], 1, "never", 0),
    ],
)
@pytest.mark.parametrize("command", ["sync", "plan"])
def test_the_exit_code_follows_from_problems_and_held_deletions(problems, reasons, failed, fail_on, expected, command):
    found = [held(reason) for reason in reasons]
    assert exit_code(problems, found, 3, failed, command=command, detailed=False, fail_on=fail_on) == expected


@pytest.mark.parametrize(
    ("problems", "reasons", "changes", "fail_on", "expected"),
    [
        ([], [], 1, "problems", 10),
        ([], [], 0, "problems", 0),
        ([WARNING], [], 1, "problems", 10),
        ([PROBLEM], [], 1, "problems", 1),
        ([PROBLEM], [], 1, "never", 0),
        ([], ["limit"], 1, "problems", 10),
        ([], ["limit"], 0, "problems", 5),
    ],
)
def test_a_detailed_plan_tells_changes_apart(problems, reasons, changes, fail_on, expected):
    found = [held(reason) for reason in reasons]
    assert exit_code(problems, found, changes, 0, command="plan", detailed=True, fail_on=fail_on) == expected
    assert exit_code(problems, found, changes, 0, command="sync", detailed=True, fail_on=fail_on) != 10


def test_every_exit_code_has_a_meaning():
    assert set(EXIT_MEANINGS) == {0, 1, 2, 3, 4, 5, 6, 10, 70, 130, 143}
    assert all(EXIT_MEANINGS.values())


def test_a_code_given_from_outside_wins():
    builder = ReportBuilder("sync")
    builder.add(PROBLEM)
    report = finish(builder, code=143)
    assert report.exit_code == 143
    assert meaning(report) == "terminated"


def test_exit_0_is_not_called_in_step_when_it_only_passes():
    builder = ReportBuilder("sync")
    builder.add(PROBLEM)
    assert "--fail-on" in meaning(finish(builder, fail_on="never"))
    builder = ReportBuilder("sync")
    builder.add(held("limit"))
    assert "--fail-on" in meaning(finish(builder, fail_on="never"))
    builder = ReportBuilder("plan")
    builder.add(Create(entity("a")))
    assert "nothing was written" in meaning(finish(builder))
    builder.add(held("limit", "h"))
    assert meaning(finish(builder)) == "the plan is complete, but deletions are held"
    assert meaning(finish(ReportBuilder("plan"))) == EXIT_MEANINGS[0]


# --- the fold

names = st.sampled_from(["service", "issue", "user"])
changes = st.one_of(
    st.builds(lambda name: Create(entity("i", name)), names),
    st.builds(lambda name: Update(entity("i", name), ("title",)), names),
    st.builds(lambda name: Delete(name, "i"), names),
)
events = st.one_of(
    st.builds(Unchanged, names, st.integers(1, 9)),
    changes,
    st.builds(Written, changes),
    st.builds(Failed, changes, st.just("refused")),
    st.builds(lambda name, n: Held(name, ("x",) * n, "limit", "why"), names, st.integers(0, 3)),
)


def expected_counts(command: str, stream: list[object]) -> Counter[tuple[str, str]]:
    verbs = {Create: "created", Update: "updated", Delete: "deleted"}
    counted: Counter[tuple[str, str]] = Counter()
    for event in stream:
        change = getattr(event, "change", event)
        name = change.entity.blueprint if hasattr(change, "entity") else change.blueprint
        match event:
            case Unchanged():
                counted[name, "unchanged"] += event.count
            case Held():
                counted[name, "held"] += len(event.identifiers)
            case Failed():
                counted[name, "failed"] += 1
            case Written():
                counted[name, verbs[type(change)]] += 1
            case _ if command == "plan":
                counted[name, verbs[type(change)]] += 1
    return counted


@given(st.sampled_from(["sync", "plan"]), st.lists(events, max_size=60))
def test_counts_equal_what_was_added(command, stream):
    builder = ReportBuilder(command)
    for event in stream:
        builder.add(event)
    report = finish(builder)
    counted = expected_counts(command, stream)
    for blueprint, counts in report.blueprints.items():
        for name in Counts.__dataclass_fields__:
            assert getattr(counts, name) == counted[blueprint, name]
    assert {name for name, _ in +counted} <= set(report.blueprints)
    assert sum(problem.count for problem in report.problems) == sum(isinstance(e, Failed) for e in stream)
    assert sum(len(one.identifiers) for one in report.held) == sum(
        len(e.identifiers) for e in stream if isinstance(e, Held)
    )


@given(st.lists(st.builds(replace, st.just(PROBLEM), count=st.integers(1, 9), scope=st.text(max_size=2))))
def test_no_occurrence_of_a_problem_is_lost_by_grouping(problems):
    builder = ReportBuilder("sync")
    for problem in problems:
        builder.add(problem)
    found = finish(builder).problems
    assert len(found) == min(1, len(problems))
    assert sum(problem.count for problem in found) == sum(problem.count for problem in problems)


def test_pages_rows_and_skipped_rows_count_for_their_kind():
    builder = ReportBuilder("sync", kinds=["project", "issue"])
    builder.add(Page("project", (0,), Scope(1, "a"), [{}, {}]))
    builder.add(Page("project", (0,), Scope(1, "a"), [{}]))
    builder.add(Skipped(1, "selector", count=4))
    report = finish(builder)
    assert (report.kinds["project"].pages, report.kinds["project"].rows) == (2, 3)
    assert report.kinds["issue"].skipped == 4


def test_an_intended_change_counts_in_a_plan_and_a_confirmed_one_in_a_sync():
    for command, event in (("plan", Create(entity("a"))), ("sync", Written(Create(entity("a"))))):
        builder = ReportBuilder(command)
        builder.add(event)
        assert finish(builder).blueprints == {"service": Counts(created=1)}
    builder = ReportBuilder("sync")
    builder.add(Create(entity("a")))
    assert finish(builder).blueprints == {}


def test_equal_problems_become_one_with_count_and_three_samples():
    builder = ReportBuilder("sync")
    for path in ("a/1", "a/2", "a/3", "a/4"):
        builder.add(replace(PROBLEM, scope=path, count=10))
    builder.add(replace(PROBLEM, why="another"))
    grouped, other = finish(builder).problems
    assert (grouped.count, grouped.scope, grouped.sample) == (40, "", "a/1; a/2; a/3")
    assert (other.count, other.scope, other.sample) == (1, "a/b", "")


def test_what_grouped_problems_share_stays_in_its_field():
    builder = ReportBuilder("sync")
    for name in ("one", "two"):
        builder.add(replace(PROBLEM, entity=name, sample=f"row {name}"))
    (grouped,) = finish(builder).problems
    assert (grouped.scope, grouped.entity, grouped.sample) == ("a/b", "", "one row one; two row two")


def test_a_refused_write_says_why_as_a_problem():
    builder = ReportBuilder("sync")
    builder.add(Failed(Create(entity("a")), "422: wrong type"))
    builder.add(Failed(Delete("service", "b"), "403"))
    report = finish(builder)
    assert [(p.stage, p.why, p.blueprint, p.entity) for p in report.problems] == [
        ("write", "422: wrong type", "service", "a"),
        ("delete", "403", "service", "b"),
    ]
    assert report.exit_code == 1


def test_held_deletions_of_the_same_cause_are_one():
    builder = ReportBuilder("sync")
    builder.add(held("limit", "a"))
    builder.add(held("limit", "b", "c"))
    builder.add(held("recent", "d"))
    report = finish(builder)
    assert [(one.reason, one.identifiers) for one in report.held] == [
        ("limit", ("a", "b", "c")),
        ("recent", ("d",)),
    ]
    assert report.blueprints["service"].held == 4


def test_deletions_of_several_blueprints_held_by_one_problem_are_shown_together():
    builder = ReportBuilder("sync")
    for blueprint, names in (("issue", "ab"), ("job", "c"), ("service", "d")):
        builder.add(Held(blueprint, tuple(names), "problem", "not everything was read", "solve it"))
    for blueprint in ("issue", "job"):
        builder.add(Held(blueprint, ("e",), "recent", "changed in Port", "later"))
    builder.add(Held("user", ("f",), "problem", "something else", "solve it"))
    report = finish(builder)
    assert "\n".join(shown(report).split("Deletions held\n")[1].splitlines()[:12]) == (
        "  issue 2, job 1, service 1: 4 deletions held (problem): not everything was read\n"
        "    → solve it\n"
        "  issue: 1 deletion held (recent): changed in Port\n"
        "    - e\n"
        "    → later\n"
        "  job: 1 deletion held (recent): changed in Port\n"
        "    - e\n"
        "    → later\n"
        "  user: 1 deletion held (problem): something else\n"
        "    - f\n"
        "    → solve it\n"
    )
    text = markdown.render(report)
    text = text.replace("<code>", "").replace("</code>", "")
    held = "- issue 2, job 1, service 1: 4 deletions held (problem): not everything was read<br>→ solve it\n"
    assert f"{held}- issue: 1 deletion held (recent): " in text
    assert text.count("solve it") == 2
    assert "  - a\n" not in text


def test_memory_is_bounded_and_deletes_are_kept(monkeypatch):
    monkeypatch.setattr(report_builder, "MAX_CHANGES", 5)
    builder = ReportBuilder("sync")
    for number in range(20):
        builder.add(Written(Create(entity(f"c{number}"))))
    builder.add(Written(Delete("service", "d", cascade=True)))
    report = finish(builder)
    assert len(report.changes) == 5
    assert Delete("service", "d", cascade=True) in report.changes
    assert report.blueprints["service"] == Counts(created=20, deleted=1)


def test_secrets_are_redacted_before_anything_is_rendered():
    builder = ReportBuilder("sync", redact=Redactor(["hunter2-hunter2"]).redact)
    builder.add(Problem("read", "token hunter2-hunter2", hint="not hunter2-hunter2", sample="hunter2-hunter2"))
    builder.add(Failed(Create(entity("a")), "body hunter2-hunter2"))
    builder.add(Held("service", ("a",), "limit", "hunter2-hunter2"))
    report = finish(builder)
    assert "hunter2" not in shown(report) + json_report.render(report)
    assert "[secret]" in shown(report)


# --- the console


def full_report() -> Report:
    builder = ReportBuilder("sync", kinds=["project", "issue"])
    builder.add(Page("project", (0,), Scope(1, "a"), [{}, {}]))
    builder.add(Skipped(0, "selector"))
    builder.add(Unchanged("service"))
    builder.add(Written(Create(entity("c"))))
    builder.add(Written(Update(entity("u2", "issue"), ("title",))))
    builder.add(Written(Delete("issue", "gone", cascade=True)))
    builder.add(held("limit", "h1", "h2"))
    builder.add(replace(WARNING, why="only a warning"))
    builder.add(replace(PROBLEM, token="token 1", line=12, field="properties.url", count=7, sample="row 5"))
    return finish(builder, integration="my-gitlab", mapping_origin="Port", gitlab_requests=351, port_requests=1)


def test_the_report_reads_from_counts_to_the_exit_code():
    assert shown(full_report()) == (
        "sync of my-gitlab, mapping: Port\n"
        "\n"
        "Deleted with their dependents\n"
        "    - gone: with its dependents\n"
        "\n"
        "Read from GitLab\n"
        "  project: 2 rows, 1 skipped, 1 page\n"
        "\n"
        "blueprint  created  updated  unchanged  deleted  held  failed\n"
        "issue            0        1          0        1     0       0\n"
        "service          1        0          1        0     2       0\n"
        "total            1        1          1        1     2       0\n"
        "\n"
        "Deletions held\n"
        "  service: 2 deletions held (limit): why it was held\n"
        "    - h1\n"
        "    - h2\n"
        "    → --allow-deletes service\n"
        "\n"
        "Problems\n"
        "  read: GitLab refused (7 times)\n"
        "    in a/b, with token 1, kind issue, mapping line 12, field properties.url\n"
        "    for example row 5\n"
        "    → give the token access\n"
        "\n"
        "Warnings\n"
        "  read: only a warning\n"
        "    in a/b, kind issue\n"
        "    → give the token access\n"
        "\n"
        "exit 1: finished with Problems: something was not read, mapped or written"
        " (1 created, 1 updated, 1 deleted, 2 held; 351 GitLab requests, 1 Port request; 6.5 s)\n"
    )


def test_a_narrow_terminal_still_shows_names_and_numbers():
    stream = Terminal()
    console = Screen.of(stream, {"NO_COLOR": "1"}).console
    console.width = 64
    console_report.render(full_report(), console)
    rows = [line.split() for line in stream.getvalue().splitlines()]
    assert ["blueprint", "created", "updated", "unchanged", "deleted", "held", "failed"] in rows
    assert ["issue", "0", "1", "0", "1", "0", "0"] in rows


def test_a_very_narrow_terminal_gets_lines_in_the_place_of_the_table():
    stream = Terminal()
    console = Screen.of(stream, {"NO_COLOR": "1"}).console
    console.width = 48
    console_report.render(full_report(), console)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert "issue: 1 updated, 1 deleted" in lines
    assert "service: 1 created, 1 unchanged, 2 held" in lines
    assert not any("…" in line for line in lines)


def plan_report(changes: int = 60) -> Report:
    builder = ReportBuilder("plan")
    for number in range(changes):
        builder.add(Create(entity(f"c{number:03}")))
    builder.add(Update(entity({"combinator": "and", "rules": []}, "issue"), ()))
    builder.add(Update(entity("i", "issue"), ("title", "properties.url")))
    return finish(builder, plan=["project: 1 request"])


def test_a_plan_lists_every_change_off_a_terminal_and_the_reads_on_demand():
    text = shown(plan_report(), reads=True)
    lines = text.splitlines()
    assert lines.index("    + c000") < lines.index("    + c059") < lines.index("  project: 1 request")
    assert "  project: 1 request" not in shown(plan_report()).splitlines()
    assert "    ~ i: title, properties.url" in lines
    assert "    ~ {'combinator': 'and', 'rules': []}: cannot be compared" in lines
    assert "more" not in text
    assert lines[-1].startswith(
        "exit 0: the plan is complete, nothing was written (60 to create, 2 to update, 0 to del"
    )
    assert ["blueprint", "to", "create", "to", "update", "unchanged"] in [line.split()[:6] for line in lines]


def test_a_terminal_gets_the_first_fifty_changes_of_a_blueprint():
    lines = shown(plan_report(), stream=Terminal(), environ={"NO_COLOR": "1"}).splitlines()
    assert sum(line.lstrip().startswith("+ c") for line in lines) == 50
    assert "    … and 10 more" in [line.rstrip() for line in lines]


def test_a_log_gets_the_first_two_thousand_changes_of_a_blueprint_and_the_fields_that_differ():
    builder = ReportBuilder("plan")
    for number in range(2_010):
        builder.add(Update(entity(f"e{number}"), ("title", "properties.url") if number < 3 else ("title",)))
    lines = shown(finish(builder)).splitlines()
    assert sum(line.startswith("    ~ e") for line in lines) == 2_000
    assert "    fields that differ in 2010 updates: title 2010, properties.url 3" in lines
    assert "    … and 10 more" in lines


def test_changes_that_the_report_dropped_are_still_counted(monkeypatch):
    monkeypatch.setattr(report_builder, "MAX_CHANGES", 5)
    lines = shown(plan_report()).splitlines()
    assert lines[lines.index("  issue") + 1] == "    … and 2 more"
    assert lines[lines.index("  service") + 6] == "    … and 55 more"


@pytest.mark.parametrize("field", PLACES)
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_untrusted_text_cannot_reach_the_terminal_as_it_is(field, stream):
    text = dict.fromkeys(PLACES, "x")
    text[field] = EVIL
    builder = ReportBuilder("plan", kinds=[text["kind"]])
    builder.add(Page(text["kind"], (0,), Scope(1, "a"), [{}]))
    builder.add(Create(entity(text["identifier"], text["blueprint"])))
    builder.add(Update(entity("u", text["blueprint"]), (text["identifier"],)))
    builder.add(Held(text["blueprint"], (text["identifier"],), "limit", text["why"], text["hint"]))
    builder.add(
        Problem(
            "read",
            text["why"],
            hint=text["hint"],
            scope=text["scope"],
            sample=text["sample"],
            kind=text["kind"],
        )
    )
    report = finish(builder, mapping_origin=text["origin"], integration=text["origin"], plan=[text["scope"]])
    out = shown(report, {"NO_COLOR": "1", "COLUMNS": "500"}, stream())
    assert r"[red]x[/red]\x1b[31m\u202egnp.exe\r\n::error::\x9b2J" in out.replace("\n", "").replace(" ", "")
    assert not set(out) & set("\x1b\r\x9b\u202e\ud800")
    assert not any(line.startswith("::") for line in out.splitlines())


@pytest.mark.parametrize(
    ("environ", "terminal", "coloured"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": ""}, False, False),
        (
            {"GITHUB_ACTIONS": "true", "CI": "true", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"},
            False,
            False,
        ),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_colour_is_decided_by_no_color_then_force_color_then_the_terminal(environ, terminal, coloured, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    text = shown(full_report(), dict(os.environ), Terminal() if terminal else io.StringIO())
    assert ("\x1b" in text) is coloured


@pytest.mark.parametrize("columns", ["1", "20", "80"])
def test_off_a_terminal_nothing_is_wrapped_or_padded_whatever_columns_says(columns, monkeypatch):
    for name, value in {"COLUMNS": columns, "LINES": "2", "TERM": "dumb", "GITHUB_ACTIONS": "true"}.items():
        monkeypatch.setenv(name, value)
    long = "a-long-name/" * 60
    builder = ReportBuilder("plan")
    builder.add(Create(entity(long, long)))
    builder.add(replace(PROBLEM, why=long, scope=long, hint=long))
    lines = shown(finish(builder), dict(os.environ)).splitlines()
    assert sum(long in line for line in lines) == 6
    assert [line for line in lines if line != line.rstrip()] == []


def test_even_an_absurdly_long_line_stays_one():
    why = "word " * 250_000 + "end"
    builder = ReportBuilder("sync")
    builder.add(Problem("read", why))
    assert f"  read: {why}" in shown(finish(builder)).splitlines()


def test_a_stream_that_cannot_encode_a_name_gets_an_escape_instead_of_an_error():
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="cp1252", newline="") as stream:
        builder = ReportBuilder("sync")
        builder.add(replace(PROBLEM, why="broken 💥 pipeline"))
        console_report.render(finish(builder), Screen.of(stream, {}).console)
        stream.flush()
        assert b"broken \\U0001f4a5 pipeline" in raw.getvalue()


# --- JSON


def test_json_holds_what_the_table_holds():
    document = json.loads(json_report.render(full_report()))
    assert document["schema_version"] == 1
    assert document["exit"] == {"code": 1, "meaning": EXIT_MEANINGS[1]}
    assert document["requests"] == {"gitlab": 351, "port": 1}
    assert document["total"] == {
        "created": 1,
        "updated": 1,
        "unchanged": 1,
        "deleted": 1,
        "held": 2,
        "failed": 0,
    }
    assert document["blueprints"]["service"]["held"] == 2
    read = {"pages": 1, "rows": 2, "skipped": 1, "unnamed": 0, "requests": 0, "reads": 0, "failed": 0}
    assert document["kinds"]["project"] == read
    assert document["held"] == [
        {
            "blueprint": "service",
            "identifiers": ["h1", "h2"],
            "reason": "limit",
            "why": "why it was held",
            "hint": "--allow-deletes service",
            "more": 0,
            "count": 2,
        }
    ]
    assert document["problems"][1] == {
        "stage": "read",
        "why": "GitLab refused",
        "hint": "give the token access",
        "token": "token 1",
        "scope": "a/b",
        "kind": "issue",
        "line": 12,
        "field": "properties.url",
        "warning": False,
        "count": 7,
        "sample": "row 5",
    }
    assert document["changes"] == [
        {"action": "delete", "blueprint": "issue", "identifier": "gone", "cascade": True},
        {"action": "update", "blueprint": "issue", "identifier": "u2", "fields": ["title"]},
        {"action": "create", "blueprint": "service", "identifier": "c"},
    ]


@given(st.text(st.characters(exclude_categories=[])))
@example("\ud800")
def test_json_is_one_ascii_document_that_strict_parsers_take(text):
    builder = ReportBuilder("plan")
    builder.add(Create(entity(text, "b")))
    builder.add(replace(PROBLEM, why=text))
    out = json_report.render(finish(builder))
    assert out.isascii()
    assert out.endswith("}\n")
    identifier = json.loads(out)["changes"][0]["identifier"]
    identifier.encode()  # a lone surrogate would raise here
    if text.isascii():
        assert identifier == text


def test_an_empty_report_renders():
    report = finish(ReportBuilder("sync"))
    assert json.loads(json_report.render(report))["total"]["created"] == 0
    assert shown(report).splitlines()[-1].startswith("exit 0: Port is in step with GitLab (")


# --- text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 日本 👩‍💻 [b]", "plain é 日本 👩‍💻 [b]"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\r\tc\x00\x7f\x9b", r"a\nb\r\tc\x00\x7f\x9b"),
        ("\u202eevil\u2066\u200b\ufeff\u2028", r"\u202eevil\u2066\u200b\ufeff\u2028"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800x", "\ufffdx"),
        ("\ud83d\ude00", "😀"),
    ],
)
def test_clean_makes_the_invisible_visible(text, expected):
    assert clean(text) == expected


@given(st.text(st.characters(exclude_categories=[])), st.integers(1, 30))
@example("a\ud800\x1b\u2028", 3)
def test_clean_text_is_printable_one_line_and_cut_only_on_demand(text, limit):
    line = clean(text)
    line.encode()
    assert len(line.splitlines()) <= 1
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in line)
    assert clean(line) == line
    assert len(clean(text, limit)) <= limit


SECRETS = st.text(st.sampled_from("ABCXYZ0189+/%=-_~é"), min_size=6, max_size=40)
AROUND = st.text(st.sampled_from("xyz :&?"), max_size=8)


@given(SECRETS, AROUND, AROUND)
def test_a_secret_is_hidden_in_every_form(secret, before, after):
    redact = Redactor([secret]).redact
    for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret)):
        assert redact(before + form + after) == before + "[secret]" + after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert encode(secret.encode()).decode() not in redact(encode(secret.encode()).decode())
        user = encode(f"{before}:{secret}".encode()).decode()
        hidden = redact(f"Basic {user}")
        assert "[secret]" in hidden
        kept = hidden.removeprefix("Basic ").split("[secret]")[0]
        assert len(kept) * 6 // 8 <= len(before) + 1
        assert hidden.endswith("[secret]")


@pytest.mark.parametrize(
    "form",
    [
        html.escape,
        lambda text: html.escape(text, quote=False),
        lambda text: "".join(f"&#{ord(char)};" if not char.isalnum() else char for char in text),
        lambda text: "".join(f"&#x{ord(char):02X};" if not char.isalnum() else char for char in text),
        json.dumps,
        lambda text: json.dumps(json.dumps(text)),
        lambda text: json.dumps(text).replace("/", r"\/"),
        lambda text: text.replace("&", r"\u0026").replace("<", r"\u003C").replace('"', r"\""),
        lambda text: quote(quote(text, safe=""), safe=""),
        repr,
        shlex.quote,
        lambda text: text[: len(text) * 2 // 3] + "…",
    ],
)
def test_a_secret_is_hidden_in_what_others_make_of_it(form):
    for secret in ('Hq7+v/Kd="m2&Zr%9<Ty#4Lp', "it's_a-sécret\\x y"):
        shown = Redactor([secret]).redact(f"before {form(secret)} after")
        assert re.fullmatch(r"before \W*\[secret\]\W* after", shown), shown


def test_a_short_secret_is_hidden_where_it_stands_alone():
    redact = Redactor(["acme1", "tok", "ok"]).redact
    assert redact("user:acme1@host acme12 tok ok") == "user:[secret]@host acme12 tok ok"


@pytest.mark.parametrize("text", ["\\" * 200_000, "%25" * 100_000, "&amp;" * 100_000, "&#000" * 50_000])
def test_hostile_text_does_not_stall_the_search_for_odd_secrets(text):
    assert Redactor(["-_%&secret\\", "&&&&&&&-"]).redact(text) == text


def test_lower_case_percent_escapes_are_hidden_too():
    assert Redactor(["AB/CD+EF"]).redact("x=AB%2fCD%2bEF&y") == "x=[secret]&y"


def test_the_longest_secret_goes_first_and_short_ones_are_left():
    redact = Redactor(["abcdef", "abcdefghi", "", "abc"]).redact
    assert redact("abcdefghi abcdef abc") == "[secret] [secret] abc"


@pytest.mark.parametrize(
    "token",
    [
        *(f"{prefix}-x1Y2z3A4b5C6d7E8f9G0" for prefix in PREFIXES),
        PREFIXES[0] + "-x1Y2z3A4b5C6d7E8f9G0AA.01.0w1a2b3c4",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_123",
    ],
)
def test_what_looks_like_a_token_is_hidden_unasked(token):
    assert Redactor([]).redact(f"Bearer%20{token}, see log.") == "Bearer%20[secret], see log."


def test_ordinary_text_is_left_alone():
    text = "global-settings glfw eyJustice a.b.c https://gitlab.example.com/a/b?x=1"
    assert Redactor(["some-secret"]).redact(text) == text


def test_hostile_text_does_not_stall_the_redactor():
    assert Redactor(["s3cret-s3cret"]).redact("eyJ" * 20_000) == "eyJ" * 20_000


def test_what_is_told_apart_is_bounded_and_counted_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem_groups, "MAX_PROBLEMS", 10)
    builder = ReportBuilder("sync")
    for number in range(100):
        builder.add(Failed(Create(Entity.of("thing", f"{number}", {}, 0)), f"request {number} failed"))
    report = builder.finish(started="", seconds=0)
    assert len(report.problems) == 11
    assert sum(problem.count for problem in report.problems) == report.blueprints["thing"].failed == 100
    assert (report.problems[-1].why, report.problems[-1].count) == (problem_groups.FURTHER, 90)
    assert "request 10 failed" in report.problems[-1].sample


def test_an_entity_that_fails_twice_counts_once() -> None:
    entity = Entity.of("thing", "a", {"title": "x"}, 0)
    builder = ReportBuilder("sync")
    for change in (Update(entity), Update(entity, again=True)):
        builder.add(Failed(change, "no"))
    assert builder.finish(started="", seconds=0).blueprints["thing"] == Counts(failed=1)
