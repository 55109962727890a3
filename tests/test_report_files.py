"""Report files: each form holds the report, stands hostile names, and is written however a run ends."""

import errno
import io
import json
import os
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt

from conftest import Bench
from gitlab_port_export.base import files as whole
from gitlab_port_export.commands.session import Session
from gitlab_port_export.commands.shard import leave_evidence
from gitlab_port_export.demo.gitlab import Fault
from gitlab_port_export.demo.gitlab_faults import reply_json
from gitlab_port_export.model import (
    Began,
    Create,
    Delete,
    Ended,
    Entity,
    Held,
    Page,
    Problem,
    Scope,
    Unchanged,
    Update,
    Written,
)
from gitlab_port_export.report import builder as report_builder
from gitlab_port_export.report import console, files, html, junit, markdown, openmetrics
from gitlab_port_export.report import json as json_report
from gitlab_port_export.report.builder import ReportBuilder
from gitlab_port_export.report.ci.step_outputs import step_outputs
from gitlab_port_export.report.exit_code import FailOn, exit_code, meaning
from gitlab_port_export.report.formats import FORMATS
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.report.values import Counts, Report
from gitlab_port_export.report.words import LeftOut, left_out
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.shards import evidence
from test_untrusted_text import ALL, HOSTILE, obeyed
from testbed.harness import blueprint, mapping_of, resource

pytestmark = pytest.mark.usefixtures("lent_evaluator")

MORE = ["|a|b|", "`x`", "```\n# head", "</details></code><h1>x", '" onload="x', "@all #1 !2 ~3 $4", "www.example.com"]
NAMES = [*HOSTILE, *MORE, ALL, "\ud800\ufffe\uffff\x00", "a" * 5000, ""]


def report_of(*names: str, command: Any = "sync", changes: int = 1) -> Report:
    """A report in which everything that has a name has each of these names once."""
    now = iter(range(1_000_000))
    builder = ReportBuilder(command, ["project"], clock=lambda: float(next(now)))
    for number, name in enumerate(names):
        builder.add(Began(number, name, name))
        builder.add(Page(name, (0,), Scope(1, name), [{}, {}]))
        builder.add(Ended(number, name, name, 2, 3, name if number % 2 else ""))
        for count in range(changes):
            entity = Entity.of(name, f"{name}{count or ''}", {"title": "kept out"}, 0)
            for change in (Create(entity), Update(entity, (name, "title")), Delete(name, f"{name}{count or ''}")):
                builder.add(change if command == "plan" else Written(change))
        builder.add(Unchanged(name, 4))
        builder.add(Held(name, (name,), "limit", name, name))
        builder.add(Problem("transform", name, name, name, name, name, (0,), 3, name, name, name, sample=name))
        builder.add(Problem("settings", name, warning=True))
    return builder.finish(
        started="2026-01-02T03:04:05+00:00", seconds=9.5, integration="".join(names)[:50], mapping_origin="".join(names)
    )


def test_what_the_fold_keeps_of_a_run() -> None:
    report = report_of("a", "b")
    assert [(one.scope, one.rows, one.requests, one.failure) for one in report.reads] == [
        ("a", 2, 3, ""),
        ("b", 2, 3, "b"),
    ]
    kind = report.kinds["b"]
    assert (kind.reads, kind.failed, kind.requests, kind.rows) == (1, 1, 3, 2)
    assert [span.name for span in report.timeline] == ["inventory", "a", "write", "delete", "b"]
    assert all(0 <= span.start <= span.end for span in report.timeline)
    assert report.timeline[0].end == report.timeline[1].start - 1
    assert not any(change.entity.body for change in report.changes if not isinstance(change, Delete))


def test_a_large_run_leaves_a_sample_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MAX_OF_AN_ACTION": 3, "MAX_CHANGES": 10, "MAX_HELD": 2, "MAX_READS": 2}.items():
        monkeypatch.setattr(report_builder, name, value)
    builder = ReportBuilder("sync")
    for number in range(50):
        for name in ("x", "y", "z"):
            builder.add(Written(Create(Entity.of(name, str(number), {}, 0))))
        builder.add(Written(Delete("z", f"gone {number}")))
        builder.add(Held("x", (f"held {number}",), "limit", "why"))
        builder.add(Ended(number, "issue", f"group {number}", failure="403" if number == 49 else ""))
    report = builder.finish(started="", seconds=1)
    kept = [report_builder.target(change)[0] for change in report.changes]
    assert {name: kept.count(name) for name in kept} == {"x": 3, "y": 3, "z": 4}
    assert sum(isinstance(change, Delete) for change in report.changes) == 3
    assert left_out(report) == LeftOut(changes=190, held=48, reads=47)
    assert [place.failure for place in report.reads].count("403") == 1
    assert report.held[0].count == 50
    assert "190 changes are counted and not kept" in markdown.render(report)
    assert "238 further changes are counted above" in html.render(report)
    assert json.loads(json_report.render(report))["left_out"] == {"changes": 190, "held": 48, "reads": 47}
    names = [case.get("name") for case in ElementTree.fromstring(junit.render(report)).iter("testcase")]
    assert "further reads" in names


# --- JSON


def closed(schema: Any) -> Any:
    """The same schema, which now knows of no other key."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    known = "properties" in schema and isinstance(schema.get("type"), str)
    return found | {"additionalProperties": False} if known else found


@pytest.mark.parametrize("report", [report_of(*NAMES), Report("plan", 3, "", 0.0), report_of("a", command="plan")])
def test_json_is_what_its_schema_says_and_nothing_more(report: Report) -> None:
    schema = json.loads(json_report.schema())
    Draft202012Validator.check_schema(schema)
    text = json_report.render(report)
    document = json.loads(text)
    Draft202012Validator(closed(schema)).validate(document)
    assert "kept out" not in text
    for name in ("reads", "timeline", "problems", "held", "changes"):
        assert bool(document[name]) == bool(report.reads)


# --- markdown


class Rendered(HTMLParser):
    """What a browser makes of markdown's HTML: tags, and the texts inside and outside of code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.code: list[str] = []
        self.prose = ""
        self._open = 0
        self.feed(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "code":
            self._open += 1
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open -= tag == "code"

    def handle_data(self, data: str) -> None:
        if self._open:
            self.code[-1] += data
        else:
            self.prose += data


@pytest.mark.parametrize("command", ["sync", "plan"])
@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_read_as_markdown(name: str, command: str) -> None:
    text = markdown.render(report_of(name, command=command))
    page = Rendered(text)
    usual = {"h3", "p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "ul", "li"}
    assert page.tags <= usual | {"br", "pre"}
    assert obeyed(text) == []
    shown = markdown.clean(name, markdown.MAX_NAME)
    if shown.strip():
        assert page.code.count(shown) >= 4
    # Names stand in code alone, where nobody is notified and nothing becomes a link.
    assert not re.search(r"[@#~$]\w|evil|www", page.prose)


def test_markdown_of_a_plan_opens_and_closes_by_blueprint_and_stays_below_the_limits_of_comments() -> None:
    text = markdown.render(report_of("service", "team", command="plan", changes=3))
    assert "**6 to create, 6 to update, 6 to delete, 2 held**" in text
    assert "<details><summary><code>team</code>: 3 to create, 3 to update, 3 to delete</summary>\n\n```diff\n" in text
    assert "\n+ team1\n" in text
    assert "\n! team2: team, title\n" in text
    assert text.count("<details") == text.count("</details>")
    for changes, names in ((700, ["service"]), (2, [f"blueprint {n} <&|`" * 10 for n in range(120)])):
        report = report_of(*names, command="plan", changes=changes)
        text = markdown.render(report)
        assert len(text.encode()) <= markdown.MAX_BYTES
        assert " more" in text
        assert text.count("<details") == text.count("</details>")
        assert len(markdown.render(report, 300).encode()) <= 300


# --- JUnit

NUMBER = re.compile(r"\d+(\.\d+)?")


def cases_of(text: str) -> dict[tuple[str, str, str], ElementTree.Element]:
    """The cases by suite, class and name, after a look at what Jenkins and Surefire want of a file."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    found = {}
    for suite in root:
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == {"name", "timestamp", "tests", "failures", "errors", "skipped", "time"}
        cases = list(suite)
        for case in cases:
            assert (case.tag, set(case.attrib)) == ("testcase", {"classname", "name", "time"})
            assert NUMBER.fullmatch(case.attrib["time"])
            assert [child.tag for child in case] in (
                [],
                *([one] for one in TAGS),
                *([one, TAGS[2]] for one in TAGS[:2]),
            )
            assert all(set(child.attrib) == {"message", "type"} for child in case.iter("failure"))
            found[suite.attrib["name"], case.attrib["classname"], case.attrib["name"]] = case
        for attribute, tag in (("failures", "failure"), ("skipped", "skipped")):
            assert int(suite.attrib[attribute]) == sum(case.find(tag) is not None for case in cases)
        assert int(suite.attrib["tests"]) == len(cases)
    assert int(root.attrib["tests"]) == len(found)
    return found


TAGS = ("failure", "skipped", "system-out")


def test_junit_has_a_suite_a_kind_and_a_case_a_place() -> None:
    report = report_of("issue", "job")
    cases = cases_of(junit.render(report))
    assert cases["issue", "read.issue", "issue"].find("failure") is None
    failure = cases["job", "read.job", "job"].find("failure")
    assert failure is not None
    assert failure.attrib == {"message": "job", "type": "Problem"}
    assert cases["job", "transform.job", "job"].find("failure") is not None
    skipped = cases["catalog", "delete.catalog", "job"].find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"].startswith("1 deletion held (limit): job; → job")
    warned = cases["run", "settings.run", "settings"]
    assert [child.tag for child in warned] == ["system-out"]
    assert cases["run", "run", "sync"].find("failure") is None
    ended = cases_of(junit.render(replace(report, exit_code=143)))
    assert ended["run", "run", "sync"].find("failure") is not None


@pytest.mark.parametrize("name", NAMES)
def test_junit_holds_any_name(name: str) -> None:
    text = junit.render(report_of(name, "other"))
    assert cases_of(text)
    text.encode()
    assert obeyed(text) == []


@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=[])))
def test_junit_and_metrics_hold_any_text(text: str) -> None:
    report = report_of(text)
    assert cases_of(junit.render(report))
    assert samples(openmetrics.render(report))


# --- OpenMetrics

SAMPLE = re.compile(
    r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (?P<value>-?\d+(\.\d+)?)'
)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """What a strict parser finds: families in one piece, metadata first, no label set twice, nothing after the end."""
    assert text.endswith("# EOF\n")
    found: dict[tuple[str, ...], float] = {}
    family, seen = "", set()
    for line in text.removesuffix("# EOF\n").split("\n")[:-1]:
        if meta := re.fullmatch(r"# (TYPE|UNIT|HELP) (\S+) (.+)", line):
            if meta[1] == "TYPE":
                family = meta[2]
                assert meta[3] == "gauge"
                assert family not in seen
                seen.add(family)
            assert meta[2] == family
            assert meta[1] != "UNIT" or family.endswith(f"_{meta[3]}")
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert sample["name"] == family
        labels = re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', sample["labels"] or "")
        assert len(dict(labels)) == len(labels)
        # These two are on every sample.
        assert [name for name, _ in labels][:2] == ["integration", "mode"]
        plain = (re.sub(r"\\(.)", r"\1", value) for _, value in labels[2:])
        key = (family.removeprefix("gitlab_port_export_"), *plain)
        assert key not in found
        found[key] = float(sample["value"])
    return found


def test_metrics_hold_the_counts() -> None:
    found = samples(openmetrics.render(report_of("issue", "job")))
    assert found["entities", "job", "created"] == 1
    assert found["entities", "job", "unchanged"] == 4
    assert found["kind_requests", "issue"] == 3
    assert found["kind_failed", "job"] == 1
    assert found["problems", "settings", "warning"] == 2
    assert found["exit_code",] == 1
    assert found["start_time_seconds",] == 1767323045
    assert found["duration_seconds",] == 9.5


def test_metrics_name_integration_and_mode_and_a_plan_reports_nothing_as_done() -> None:
    report = replace(report_of("issue"), integration="acme", command="plan", exit_code=0, problems=(), held=())
    text = openmetrics.render(report)
    assert 'gitlab_port_export_exit_code{integration="acme",mode="plan"} 0' in text
    found = samples(text)
    assert {result for family, *labels in found if family == "entities" for result in labels[1:]} == {
        *("to_create", "to_update", "to_delete", "unchanged", "held", "failed")
    }
    assert found["entities", "issue", "to_create"] == 1


def test_metrics_tell_of_the_last_success_and_claim_none() -> None:
    fine = {name: Counts(created=1) for name in ("issue",)}
    report = replace(report_of("issue"), exit_code=0, problems=(), held=(), blueprints=fine)
    assert samples(openmetrics.render(report))["last_success_timestamp_seconds",] == 1767323045 + 9.5
    for other in (
        replace(report, command="plan"),
        replace(report, exit_code=1),
        replace(report, exit_code=5),
        replace(report, skipped=True),
        replace(report, blueprints={"issue": Counts(failed=1)}),  # which --fail-on never lets pass
        replace(report, problems=report_of("issue").problems),
    ):
        assert "last_success" not in openmetrics.render(other)


def test_warnings_fail_a_run_only_where_that_is_asked_for_and_are_called_warnings() -> None:
    warning = Problem("settings", "look at this", warning=True)
    choices: tuple[tuple[FailOn, int], ...] = (("problems", 0), ("warnings", 1), ("limit", 0), ("never", 0))
    for fail_on, code in choices:
        assert exit_code([warning], (), 3, 0, command="sync", fail_on=fail_on) == code
    assert exit_code([], (), 3, 0, command="sync", fail_on="warnings") == 0
    assert exit_code([warning], (), 3, 0, command="plan", detailed=True, fail_on="warnings") == 1
    assert exit_code([warning], (), 3, 0, command="plan", detailed=True) == 10
    report = replace(report_of("issue"), exit_code=1, problems=(warning,), blueprints={"issue": Counts(created=1)})
    assert meaning(report) == "finished with warnings, which --fail-on makes fail"
    # The tests of a CI system show why the job is red.
    assert cases_of(junit.render(report))["run", "run", "sync"].find("failure") is not None
    assert meaning(replace(report, blueprints={"issue": Counts(failed=1)})).startswith("finished with Problems")


def test_fail_on_warnings_is_an_option_and_a_setting(bench: Bench) -> None:
    for args, changes in ((["--fail-on", "warnings"], {}), ([], {"OCEAN__EXPORT__FAIL_ON": "warnings"})):
        assert bench.run("plan", *args, **changes).returncode == 0
        ran = bench.run("plan", *args, **changes, OCEAN__EXPORT__XYZZY="1")
        assert ran.returncode == 1
        assert "exit 1: finished with warnings, which --fail-on makes fail" in ran.stdout
    assert bench.run("plan", OCEAN__EXPORT__XYZZY="1").returncode == 0


def test_every_headline_names_what_failed_and_what_was_held() -> None:
    counts = {"thing": Counts(updated=10, failed=11, held=2)}
    report = replace(report_of("issue"), exit_code=1, blueprints=counts)
    words = "0 created, 10 updated, 0 deleted, 11 failed, 2 held"
    stream = io.StringIO()
    console.render(report, Screen.of(stream, {}).console)
    assert words in stream.getvalue().splitlines()[-1]
    assert words in markdown.render(report).splitlines()[2]
    said = cases_of(junit.render(report))["run", "run", "sync"].find("system-out")
    assert said is not None
    assert words in (said.text or "")
    written_case = cases_of(junit.render(report))["catalog", "write.catalog", "thing"].find("system-out")
    assert written_case is not None
    assert "11 failed" in (written_case.text or "")
    page = html.render(report)
    assert '<b class="bad">11</b> failed' in page
    assert '<b class="warn">2</b> held' in page
    assert {"failed": "11", "held": "2"}.items() <= step_outputs(report).items()
    plan = replace(report, command="plan", exit_code=0, blueprints={"thing": Counts(created=1, held=2)})
    assert "1 to create, 0 to update, 0 to delete, 2 held" in markdown.render(plan)


@pytest.mark.parametrize("name", [name for name in NAMES if name])
def test_metrics_hold_any_name(name: str) -> None:
    assert samples(openmetrics.render(report_of(name)))["kind_rows", markdown.clean(name)] == 2


# --- files


@pytest.mark.parametrize("option", ["--report-json", "--report-markdown", "--report-metrics"])
def test_a_dash_makes_no_file_and_is_explained(option: str, bench: Bench) -> None:
    ran = bench.run("plan", option, "-")
    assert ran.returncode == 2
    assert f"error: {option}: - does not stand for standard output" in ran.stderr
    assert list(bench.folder.iterdir()) == []


def options(folder: Path | str = ".") -> list[str]:
    return [part for one in FORMATS.values() for part in (one.option, f"{folder}/{one.example}")]


def written(bench: Bench) -> dict[str, str]:
    """The report files, after a look at whether each is whole and nothing else is left."""
    found = {path.name: path.read_text(encoding="utf-8") for path in bench.folder.iterdir()}
    assert set(found) == {one.example for one in FORMATS.values()}
    document = json.loads(found["report.json"])
    Draft202012Validator(json.loads(json_report.schema())).validate(document)
    assert cases_of(found["report.xml"])
    assert samples(found[FORMATS["metrics"].example])["exit_code",] == document["exit"]["code"]
    assert found["report.html"].endswith("</html>\n")
    assert f"exit {document['exit']['code']}" in found["report.md"]
    assert [secret for secret in bench.secrets for text in found.values() if secret in text] == []
    return found


def test_a_sync_writes_every_report_and_json_is_what_it_prints(bench: Bench) -> None:
    ran = bench.run("sync", *options(), "--output", "json")
    assert ran.returncode == 0
    assert written(bench)["report.json"] == ran.stdout
    reads = json.loads(ran.stdout)["reads"]
    assert {"kind": "issue", "scope": "platform", "failure": ""}.items() <= next(
        one for one in reads if (one["kind"], one["scope"]) == ("issue", "platform")
    ).items()
    asked = sum("/issues" in request.path for request in bench.gitlab.requests)
    assert json.loads(ran.stdout)["kinds"]["issue"]["requests"] == asked > 0
    assert sum(one["rows"] for one in reads if one["kind"] == "project") == len(bench.held()["service"])


def test_files_may_come_from_the_environment_and_are_replaced(bench: Bench) -> None:
    bench.file("report.md", "before")
    ran = bench.run("plan", OCEAN__EXPORT__REPORT_MARKDOWN="report.md", OCEAN__EXPORT__REPORT_HTML="report.html")
    assert ran.returncode == 0
    assert (bench.folder / "report.md").read_text(encoding="utf-8").startswith("### Plan of <code>my-gitlab")
    assert (bench.folder / "report.html").exists()


def test_a_read_that_is_refused_is_a_failed_case_at_its_place(bench: Bench) -> None:
    bench.gitlab.faults.append(Fault(r"/groups/\d+/issues", reply_json(403, {"message": "403 Forbidden"})))
    assert bench.run("sync", *options()).returncode == 1
    cases = cases_of(written(bench)["report.xml"])
    failed = {(suite, kind) for (suite, kind, _), case in cases.items() if case.find("failure") is not None}
    assert failed == {("issue", "read.issue")}


@pytest.mark.parametrize(
    ("code", "changes", "words"),
    [
        (2, {"OCEAN__EXPORT__WORKERS": "none"}, "WORKERS"),
        (3, {"OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": "http://127.0.0.1:9"}, "127.0.0.1"),
        (4, {"OCEAN__PORT__CLIENT_SECRET": "wrong-secret"}, "credentials"),
    ],
)
def test_a_run_that_ends_early_leaves_its_reports(bench: Bench, code: int, changes: Any, words: str) -> None:
    ran = bench.run("sync", *options(), **changes)
    assert ran.returncode == code
    found = written(bench)
    assert json.loads(found["report.json"])["exit"]["code"] == code
    for name, text in found.items():
        # The other formats hold counts and links.
        shows = {FORMATS[one].example for one in ("markdown", "junit", "json", "html")}
        assert name not in shows or words in text, name


def test_a_folder_that_does_not_exist_ends_the_run_before_anything_is_sent(bench: Bench) -> None:
    ran = bench.run("sync", "--report-json", "none/report.json", "--report-html", ".", "--report-markdown", "report.md")
    assert ran.returncode == 2
    assert "--report-json: the folder none does not exist" in ran.stderr
    assert "--report-html: . is a folder" in ran.stderr
    assert (bench.gitlab.requests, bench.port.requests) == ([], [])
    assert (
        "the folder none does not exist" in Rendered((bench.folder / "report.md").read_text(encoding="utf-8")).code[0]
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shard", "1/2", "--survey", "survey", "--evidence", "."), "--evidence: . is a folder"),
        (
            ("--shard", "1/2", "--survey", "survey", "--evidence", "none/e"),
            "--evidence: the folder none does not exist",
        ),
        (("--since", "last", "--state", "."), "--state: . is a folder"),
        (("--since", "last", "--state", "none/state"), "--state: the folder none does not exist"),
    ],
)
def test_what_a_run_leaves_for_others_needs_a_place_before_anything_is_sent(
    bench: Bench, options: tuple[str, ...], words: str
) -> None:
    ran = bench.run("sync", *options)
    assert (ran.returncode, words in ran.stderr) == (2, True), ran.stderr
    assert (bench.gitlab.requests, bench.port.requests) == ([], [])


def test_evidence_that_cannot_be_written_is_a_problem_of_a_shard_that_wrote(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert bench.run("survey", "--shards", "1", "--out", "survey").returncode == 0
    folder, file = bench.folder / "survey", bench.folder / "evidence"
    settings = load_settings(bench.environ(), None, shard="1/1", survey=str(folder), evidence=str(file))
    monkeypatch.setattr(evidence, "seal", full)
    session = Session(io.StringIO(), io.StringIO(), bench.environ())
    report = leave_evidence(session, settings, folder, evidence.Shard(1, 1), file, lambda _: None)
    assert (report.exit_code, file.exists()) == (1, False)
    assert "No space left on device" in report.failures[-1].why
    assert sum(counts.created for counts in report.blueprints.values()) > 0


def test_two_reports_need_two_files(bench: Bench) -> None:
    ran = bench.run("plan", "--report-json", "x", "--report-html", "./x")
    assert ran.returncode == 2
    assert "is also the file of --report-html" in ran.stderr


def test_a_report_that_cannot_be_written_is_a_problem_that_all_others_tell(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    paths = {"markdown": tmp_path / "report.md", "json": tmp_path / "gone" / "report.json"}
    files.check(paths)
    (tmp_path / "gone").rmdir()
    report = files.publish(ReportBuilder("sync").finish(started="", seconds=0), paths)
    assert report.exit_code == 1
    assert [(one.stage, "could not be written" in one.why) for one in report.problems] == [("report", True)]
    assert "exit 1" in paths["markdown"].read_text(encoding="utf-8")
    quiet = files.publish(ReportBuilder("sync").finish(started="", seconds=0), paths, "never")
    assert (quiet.exit_code, len(quiet.problems)) == (0, 1)
    stopped = files.publish(ReportBuilder("sync").finish(started="", seconds=0, code=143), paths)
    assert stopped.exit_code == 143


def test_nobody_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "report.md"
    place.write_text("before", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        whole.write_whole(place, b"after")
    assert place.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664])
def test_a_file_that_was_there_keeps_its_mode_and_owner(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "report.md"
    place.write_text("before", encoding="utf-8")
    if os.geteuid() == 0:
        os.chown(place, 1234, 2345)
    place.chmod(mode)
    before = place.stat()
    whole.write_whole(place, b"after")
    after = place.stat()
    assert place.read_bytes() == b"after"
    assert (stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == (mode, before.st_uid, before.st_gid)
    assert list(tmp_path.iterdir()) == [place]


def test_a_file_whose_owner_cannot_be_kept_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "report.md"
    place.write_text("before", encoding="utf-8")
    number = place.stat().st_ino

    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(whole.os, "chown", forbidden)
    monkeypatch.setattr(whole.Path, "chmod", forbidden)
    whole.write_whole(place, b"after")
    assert (place.read_bytes(), place.stat().st_ino) == (b"after", number)
    assert list(tmp_path.iterdir()) == [place]


def test_a_pipe_without_a_reader_is_a_problem_and_nobody_waits(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files.check({"json": pipe})
    report = files.publish(ReportBuilder("sync").finish(started="", seconds=0), {"json": pipe})
    assert ["could not be written" in problem.why for problem in report.problems] == [True]
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    whole.write_whole(pipe, b"report")
    assert os.read(reader, 100) == b"report"
    os.close(reader)


def test_no_report_takes_the_place_of_what_is_read(bench: Bench) -> None:
    """Also where the run ends early and leaves a report of that."""
    bench.store.add_blueprint(blueprint("thing"))
    text = json.dumps(mapping_of(resource("project", "thing")))
    bench.file("m.json", text)
    for more in ({}, {"OCEAN__EXPORT__WORKERS": "none"}):
        ran = bench.run("sync", "--mapping", "m.json", "--report-json", "m.json", "--report-markdown", "r.md", **more)
        assert ran.returncode == 2
        assert (bench.folder / "m.json").read_text(encoding="utf-8") == text
        assert (bench.folder / "r.md").exists()
    assert bench.port.requests == []


def test_a_link_stays_a_link_and_a_mounted_file_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, link = tmp_path / "real.md", tmp_path / "link.md"
    link.symlink_to(place)
    whole.write_whole(link, b"one")
    assert (link.is_symlink(), place.read_bytes()) == (True, b"one")

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(whole.os, "replace", busy)
    whole.write_whole(link, b"two")
    assert place.read_bytes() == b"two"
    whole.write_whole(Path(os.devnull), b"three")
    assert {path.name for path in tmp_path.iterdir()} == {"real.md", "link.md"}
