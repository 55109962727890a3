"""CI systems: which one this is, what it is told, what it is not, and that no name in GitLab can steer it."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.model import Create, Delete, Entity, Held, Problem, Update
from gitlab_port_export.report import annotations as links_report
from gitlab_port_export.report import console, dotenv
from gitlab_port_export.report.ci import CHOICES, SYSTEMS, detect, github, gitlab, output
from gitlab_port_export.report.ci.annotation import MAX_ANNOTATIONS, annotations
from gitlab_port_export.report.ci.step_outputs import step_outputs
from gitlab_port_export.report.ci.system import CiSystem, RunFacts, Sign
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.report.values import Counts, Report
from test_untrusted_text import ALL, HOSTILE, obeyed
from test_untrusted_text import bench as evil_bench  # noqa: F401  # a fixture, found by its name
from testbed.harness import mapping_of, process_environ, resource, run_command
from testbed.here import run_here

PROBLEM = Problem("read", "GitLab refused", hint="give the token access", scope="a/b", kind="issue", count=7)
HELD = Held("service", ("x", "y"), "limit", "too many", "--allow-deletes service")
# The variable that tells each system, by its name; GitHub and Azure write the value in other ways of case.
JOBS = {one.name: {one.sign.name: (one.sign.value or "https://ci.example.com/").title()} for one in SYSTEMS.values()}


def report(code: int = 0, *problems: Problem, held: tuple[Held, ...] = (), **fields: Any) -> Report:
    counts = Counts(created=1, updated=2, deleted=3, held=sum(len(one.identifiers) for one in held))
    changes = (
        Create(Entity.of("service", "new", {}, 0)),
        Update(Entity.of("service", "known", {}, 0), ("title",)),
        Delete("service", "old"),
    )
    given = {"changes": changes, "blueprints": {"service": counts}, **fields}
    return Report("sync", code, "2026-01-01T00:00:00+00:00", 1.0, problems=problems, held=held, **given)


class Pipe(io.StringIO):
    """A stream that says whether it is a terminal or a file."""

    def __init__(self, *, terminal: bool = False, file: Path | None = None) -> None:
        super().__init__()
        self._terminal, self._file = terminal, file

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        if self._file is None:
            raise io.UnsupportedOperation
        return os.open(self._file, os.O_RDWR | os.O_CREAT)


def told(environ: dict[str, str], one: Report, *, choice: str = "auto", as_json: bool = False) -> tuple[str, str]:
    """What a output writes to (standard output, standard error)."""
    out, err = Pipe(), Pipe()
    line = output.connect(choice, environ, out, err, as_json=as_json)
    line.mask(["top-secret"])
    line.show(one, lambda room: "# Summary\n")
    return out.getvalue(), err.getvalue()


# --- which system


@pytest.mark.parametrize("system", JOBS)
def test_the_system_is_known_by_its_variable(system: str) -> None:
    assert detect(JOBS[system]) == SYSTEMS[system]


@pytest.mark.parametrize("environ", [{}, {"CI": "true"}, {"GITHUB_ACTIONS": ""}, {"GITLAB_CI": "false"}])
def test_elsewhere_it_is_none(environ: dict[str, str]) -> None:
    assert detect(environ) is None
    assert told(environ, report(1, PROBLEM)) == ("", "")


@pytest.mark.parametrize("system", JOBS)
def test_nothing_is_told_where_nobody_asked(system: str) -> None:
    assert told(JOBS[system], report(1, PROBLEM), choice="none") == ("", "")


def test_jenkins_is_told_nothing() -> None:
    assert told(JOBS["jenkins"], report(1, PROBLEM)) == ("", "")


@pytest.mark.parametrize(
    ("choice", "environ", "wanted"),
    [
        ("github", {"RUNNER_DEBUG": "1"}, True),
        ("azure", {"SYSTEM_DEBUG": "True"}, True),
        ("gitlab", {"CI_DEBUG_TRACE": "true"}, True),
        ("github", {"RUNNER_DEBUG": ""}, False),
        ("jenkins", {"RUNNER_DEBUG": "1"}, False),
        ("none", {"RUNNER_DEBUG": "1"}, False),
    ],
)
def test_the_systems_own_switch_for_debugging(choice: str, environ: dict[str, str], wanted: bool) -> None:
    assert output.connect(choice, environ, Pipe(), Pipe(), as_json=False).wants_debug is wanted


# --- where it is told


@pytest.mark.parametrize("system", ["github", "azure"])
def test_beside_json_it_goes_to_standard_error(system: str) -> None:
    out, err = told(JOBS[system], report(1, PROBLEM), as_json=True)
    assert out == ""
    assert "GitLab refused" in err


def test_what_goes_into_a_file_holds_no_command(tmp_path: Path) -> None:
    out, err = Pipe(file=tmp_path / "out"), Pipe()
    line = output.connect("auto", JOBS["github"], out, err, as_json=False)
    line.mask(["top-secret"])
    assert (line.fold, out.getvalue(), err.getvalue()) == (None, "", "::add-mask::top-secret\n")
    line = output.connect("auto", JOBS["github"], out, Pipe(file=tmp_path / "err"), as_json=False)
    assert line.stream is None
    line.mask(["top-secret"])
    line.show(report(1, PROBLEM), lambda room: "")


@pytest.mark.parametrize(
    ("environ", "terminal"), [({}, False), (JOBS["gitlab"], False), (JOBS["github"], True)], ids=str
)
def test_a_secret_is_not_written_where_it_would_be_seen(environ: dict[str, str], terminal: bool) -> None:
    for choice in ("github", "azure", "gitlab", "jenkins"):
        out = Pipe(terminal=terminal)
        output.connect(choice, environ, out, Pipe(), as_json=False).mask(["top-secret"])
        assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("script", "system"),
    [
        ("result=$(COMMAND)", "github"),
        ("result=$(COMMAND)", "azure"),
        ("result=$(COMMAND 2>&1)", "github"),
        ("result=$(true; COMMAND 2>&1 >kept; true)", "github"),
        ("result=$(COMMAND 2>&1 >kept)", "azure"),
        ("COMMAND 2>&1 | cat >kept", "github"),
        ("COMMAND 2>kept", "azure"),
        ("COMMAND | tee kept", "azure"),
    ],
)
def test_no_secret_is_captured_with_the_output(script: str, system: str, bench: Bench) -> None:
    command = f"{sys.executable} -m gitlab_port_export plan"
    whole = f'{script.replace("COMMAND", command)}; echo "$result" > result'
    environ = process_environ(bench.environ(**JOBS[system]))
    ran = subprocess.run(
        ["bash", "-c", whole], env=environ, cwd=bench.folder, capture_output=True, text=True, check=True
    )
    kept = (bench.folder / "result").read_text(encoding="utf-8")
    if (bench.folder / "kept").exists():
        kept += (bench.folder / "kept").read_text(encoding="utf-8")
    assert "exit 0" in kept + ran.stdout
    assert [secret for secret in bench.secrets if secret in kept + ran.stdout] == []
    mark = {"github": "::add-mask::", "azure": "##vso[task.setsecret]"}[system]
    # Where the system reads standard error itself, it learns all of them.
    if "2>" not in script:
        assert {f"{mark}{secret}" for secret in bench.secrets} <= set(ran.stderr.splitlines())


def test_secrets_are_masked_before_anything_else() -> None:
    assert told(JOBS["github"], report())[1].splitlines()[0] == "::add-mask::top-secret"
    assert told(JOBS["azure"], report())[1].splitlines()[0] == "##vso[task.setsecret]top-secret"
    line = output.connect("auto", JOBS["github"], Pipe(), err := Pipe(), as_json=False)
    line.mask(["", "tiny", "a%0Ab%25c"])
    assert err.getvalue() == "::add-mask::a%250Ab%2525c\n"


# --- GitHub


def test_github_annotates_what_fails_as_an_error() -> None:
    out, _ = told(JOBS["github"], report(1, PROBLEM, replace(PROBLEM, warning=True), held=(HELD,)))
    assert out.splitlines() == [
        "::error title=gitlab-port-export%3A read::"
        "GitLab refused (7 times); in a/b, kind issue; → give the token access",
        "::warning title=gitlab-port-export%3A read::"
        "GitLab refused (7 times); in a/b, kind issue; → give the token access",
        "::warning title=gitlab-port-export%3A deletions held::"
        "service: 2 deletions held (limit): too many; → --allow-deletes service",
    ]
    assert "::error" not in told(JOBS["github"], report(0, PROBLEM, held=(HELD,)))[0]
    assert "::error title=gitlab-port-export%3A deletions held" in told(JOBS["github"], report(5, held=(HELD,)))[0]


def test_github_gets_ten_annotations_of_a_level_at_most() -> None:
    many = [replace(PROBLEM, why=f"why {number}", warning=number % 2 == 0) for number in range(60)]
    lines = told(JOBS["github"], report(1, *many))[0].splitlines()
    for level in ("error", "warning"):
        of_level = [line for line in lines if line.startswith(f"::{level} ")]
        assert len(of_level) == MAX_ANNOTATIONS == 10
        assert of_level[-1].endswith("::and 21 more, all of them are in the report")


def test_github_gets_outputs_and_a_summary_on_lines_of_their_own(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.write_text("earlier=1\n", encoding="utf-8")
    environ = {**JOBS["github"], **{name: str(file) for name, file in files.items()}}
    line = output.connect("auto", environ, Pipe(), Pipe(), as_json=False)
    rooms: list[int] = []
    files["GITHUB_STEP_SUMMARY"].write_text("earlier=1", encoding="utf-8")
    files["GITHUB_OUTPUT"].write_text("earlier=1", encoding="utf-8")
    line.show(
        report(1, PROBLEM, held=(HELD,)), lambda room: rooms.append(room) or "# Überblick\n", machine=Path("r.json")
    )
    assert files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines() == [
        *(
            "earlier=1",
            "created=1",
            "updated=2",
            "deleted=3",
            "failed=0",
            "held=2",
            "problems=1",
            "exit-code=1",
            "report=r.json",
        )
    ]
    assert files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8") == "earlier=1\n# Überblick\n"
    assert rooms == [1_048_576 - len("earlier=1\n")]


def test_files_that_are_not_there_or_not_ours_do_not_matter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    environ = {**JOBS["github"], "GITHUB_OUTPUT": str(tmp_path / "none"), "GITHUB_STEP_SUMMARY": str(locked)}
    output.connect("auto", environ, Pipe(), Pipe(), as_json=False).show(report(), lambda room: "x")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["locked"]


# --- Azure


def test_azure_logs_issues_and_shows_the_summary(tmp_path: Path) -> None:
    environ = {**JOBS["azure"], "AGENT_TEMPDIRECTORY": str(tmp_path)}
    lines = told(environ, report(1, PROBLEM))[0].splitlines()
    assert lines == [
        "##vso[task.logissue type=error]gitlab-port-export: read: "
        "GitLab refused (7 times); in a/b, kind issue; → give the token access",
        f"##vso[task.uploadsummary]{tmp_path}/gitlab-port-export.md",
    ]
    assert (tmp_path / "gitlab-port-export.md").read_text(encoding="utf-8") == "# Summary\n"


def test_azure_shows_the_summary_that_was_asked_for_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = output.connect("auto", JOBS["azure"], out := Pipe(), Pipe(), as_json=False)
    (tmp_path / "summary.md").touch()
    line.show(report(), lambda room: "", summary=Path("summary.md"))
    assert out.getvalue() == f"##vso[task.uploadsummary]{tmp_path}/summary.md\n"
    # Azure fails a step that names a file which could not be written.
    line.show(report(), lambda room: "", summary=Path("missing.md"))
    assert "missing" not in out.getvalue()


@pytest.mark.parametrize(
    ("one", "marked"),
    [
        (report(0), False),
        (report(0, PROBLEM), True),
        (report(1, PROBLEM), False),
        (report(0, held=(HELD,)), True),
        (report(0, held=(replace(HELD, reason="recent"),)), False),
        (report(0, replace(PROBLEM, warning=True)), False),
        (report(0, blueprints={"service": Counts(failed=1)}), True),
    ],
)
def test_azure_marks_a_run_that_only_passes(one: Report, marked: bool) -> None:
    complete = "##vso[task.complete result=SucceededWithIssues;]"
    assert (complete in told(JOBS["azure"], one)[0].splitlines()) is marked


# --- GitLab


def test_gitlab_gets_variables_for_later_jobs() -> None:
    assert dotenv.render(report(1, PROBLEM)).splitlines() == [
        *("PORT_EXPORT_CREATED=1", "PORT_EXPORT_UPDATED=2", "PORT_EXPORT_DELETED=3"),
        *("PORT_EXPORT_FAILED=0", "PORT_EXPORT_HELD=0"),
        *("PORT_EXPORT_PROBLEMS=1", "PORT_EXPORT_EXIT_CODE=1"),
    ]


def test_gitlab_gets_links_for_the_page_of_the_job() -> None:
    environ = {"CI_JOB_URL": "https://gitlab.example.com/a/-/jobs/7", "CI_PROJECT_DIR": "/builds/a"}
    links = gitlab.links(environ, "https://api.us.getport.io", "/builds/a/report/r 1.html")
    assert links == (
        ("Report of this run", "https://gitlab.example.com/a/-/jobs/7/artifacts/file/report/r%201.html"),
        ("Data sources in Port", "https://app.us.getport.io/settings/data-sources"),
    )
    assert json.loads(links_report.render(report(links=links))) == {
        "gitlab-port-export": [{"external_link": {"label": label, "url": url}} for label, url in links]
    }
    # What is not kept as an artifact has no address, nor has an unknown Port.
    assert gitlab.links(environ, "http://127.0.0.1:1", "/elsewhere/r.html") == ()


# --- folding


def fold_of(system: str) -> output.Fold:
    fold = output.connect("auto", JOBS[system], Pipe(), Pipe(), as_json=False).fold
    assert fold is not None
    return fold


def shown(one: Report, system: str = "") -> str:
    stream = io.StringIO()
    console.render(one, Screen.of(stream, {}).console, fold_of(system) if system else None)
    return stream.getvalue()


def test_changes_of_a_sync_are_shown_where_they_can_be_folded_away() -> None:
    inside = "  service\n    + new\n    ~ known: title\n    - old\n    … and 3 more\n"
    assert f"::group::Changes\n{inside}::endgroup::\n" in shown(report(), "github")
    assert f"##[group]Changes\n{inside}##[endgroup]\n" in shown(report(), "azure")
    section = re.compile(
        r"\x1b\[0Ksection_start:(\d+):changes\[collapsed=true\]\r\x1b\[0KChanges\n"
        + re.escape(inside)
        + r"\x1b\[0Ksection_end:(\d+):changes\r\x1b\[0K\n"
    )
    assert section.search(shown(report(), "gitlab"))
    assert "+ new" not in shown(report())


def test_no_system_is_nothing_to_fold_for() -> None:
    for environ in ({}, JOBS["jenkins"]):
        assert output.connect("auto", environ, Pipe(), Pipe(), as_json=False).fold is None


# --- hostile names


def hostile(text: str) -> Report:
    problem = Problem("read", text, hint=text, scope=text, kind=text, token=text, sample=text, entity=text, field=text)
    return report(
        1,
        problem,
        replace(problem, warning=True),
        held=(Held(text, (text,), "limit", text, text),),
        blueprints={text: Counts(created=1)},
        changes=(Create(Entity.of(text, text, {}, 0)), Delete(text, text)),
        integration=text,
        mapping_origin=text,
    )


@pytest.mark.parametrize("text", [*HOSTILE, ALL, "\ud800", "%AZP250A##vso[x]", "a]b;c=d::e,f", "]##vso[task.complete]"])
def test_no_name_is_obeyed_by_any_surface(text: str) -> None:
    one = hostile(text)
    for line in told(JOBS["github"], one)[0].splitlines():
        rest = re.sub(r"^::(error|warning) title=[^:,]*::", "", line)
        assert rest != line
        assert obeyed(rest) == []
        assert not re.search("%(?!25)", rest)
    for line in told(JOBS["azure"], one)[0].splitlines():
        rest = re.sub(r"^##vso\[task\.logissue type=(error|warning)\]", "", line)
        assert rest != line
        assert obeyed(rest) == []
        assert not re.search("%(?!AZP25)", rest)
    for system in ("github", "azure", "gitlab"):
        lines = shown(one, system).split("\n")
        markers = (r"::group::Changes|::endgroup::", r"##\[(group\]Changes|endgroup\])", r"\x1b\[0Ksection_\w+:.*")
        inside = [line for line in lines if not re.fullmatch("|".join(markers), line)]
        assert len(lines) - len(inside) == 2
        assert obeyed("\n".join(inside)) == []
    lines = github.output_lines(RunFacts(one, lambda _: "", machine=Path(text))).splitlines()
    assert set(step_outputs(one, text)) == {line.split("=")[0] for line in lines}
    assert all(re.fullmatch(r"[A-Z_]+=\S.*", line) for line in dotenv.render(one).splitlines())
    assert len(dotenv.render(one)) < 5000


def test_a_very_long_name_is_cut() -> None:
    for one in annotations(hostile("long " * 20_000)):
        assert len(one.text) <= 1000


def test_a_hostile_title_cannot_break_out_of_its_group() -> None:
    for text in (*HOSTILE, ALL):
        for fold in map(fold_of, ("github", "azure")):
            opens, _ = fold(text)
            assert len(opens.splitlines()) == 1
            assert obeyed(re.sub(r"^(::group::|##\[group\])", "", opens)) == []
        opens, closes = fold_of("gitlab")(text)
        assert re.fullmatch(
            r"\x1b\[0Ksection_start:\d+:[a-z0-9_.-]+\[collapsed=true\]\r\x1b\[0K[^\x00-\x1f\x7f]*", opens
        )
        assert re.fullmatch(r"\x1b\[0Ksection_end:\d+:[a-z0-9_.-]+\r\x1b\[0K", closes)


# --- the whole command

# What of each system's output is a command: a system without a row here fails the test below.
MARKS = {
    "github": r"::(add-mask::.*|(error|warning) title=[^:]*::(?P<text>.*)|group::Changes|endgroup::)",
    "azure": r"##vso\[task\.(setsecret\].*|logissue type=\w+\](?P<text>.*)|uploadsummary\]/.*)"
    r"|##\[(group\]Changes|endgroup\])",
    "gitlab": r"\x1b\[0Ksection_(start:\d+:changes\[collapsed=true\]\r\x1b\[0KChanges|end:\d+:changes\r\x1b\[0K)",
    "jenkins": "never",
}


def job_in(system: str, folder: Path) -> dict[str, str]:
    """The variables of a job of that system, and the files that it makes for one."""
    files = {name: folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")} if system == "github" else {}
    for file in files.values():
        file.touch()
    more = {"AGENT_TEMPDIRECTORY": str(folder)} if system == "azure" else {}
    return {**JOBS[system], **more, **{name: str(file) for name, file in files.items()}}


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
@pytest.mark.parametrize("system", JOBS)
def test_a_run_among_hostile_names_is_told_in_the_systems_words_alone(
    system: str,
    as_json: bool,
    evil_bench: Bench,  # noqa: F811  # the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = evil_bench.folder
    mapping = mapping_of(resource("merge-request", identifier=".title"), resource("project", title=".name"))
    evil_bench.file("m.yml", json.dumps(mapping))
    environ = {**evil_bench.environ(), **job_in(system, folder)}
    ran = run_here(environ, folder, monkeypatch, as_json=as_json, mapping_file="m.yml")
    assert ran.code == 1, ran.all
    kept = []
    for line in ran.all.split("\n"):
        mark = re.fullmatch(MARKS[system], line)
        kept.append((mark.groupdict().get("text") or "") if mark else line)
    assert obeyed("\n".join(kept)) == []
    assert "forbids the identifier" in ran.all
    if as_json:
        assert json.loads(ran.out)["exit"]["code"] == 1
    else:
        assert ran.out.endswith("s)\n")
        assert "exit 1: " in ran.out.splitlines()[-1]
    summary = {"github": "GITHUB_STEP_SUMMARY", "azure": "gitlab-port-export.md"}.get(system)
    if summary:
        assert "(exit 1: " in (folder / summary).read_text(encoding="utf-8")
        assert "<script" not in (folder / summary).read_text(encoding="utf-8")


def test_the_real_command_masks_its_secrets_first_and_shows_none(bench: Bench) -> None:
    environ = bench.environ(**job_in("github", bench.folder))
    ran = run_command(["plan", "--report-json", "r.json"], environ, bench.folder)
    lines = ran.stderr.splitlines()
    assert set(lines[:4]) == {f"::add-mask::{secret}" for secret in ("demo-client", *bench.secrets)}
    assert not [secret for secret in bench.secrets if secret in ran.stdout + "\n".join(lines[4:])]
    assert ran.returncode == 0, ran.stderr
    assert "report=r.json" in (bench.folder / "GITHUB_OUTPUT").read_text(encoding="utf-8").splitlines()


def test_what_ends_a_run_is_told_too(bench: Bench) -> None:
    environ = bench.environ(**job_in("github", bench.folder), OCEAN__PORT__CLIENT_SECRET=None)
    ran = run_command(["sync"], environ, bench.folder)
    assert ran.returncode == 2
    assert ran.stdout.startswith("::error title=gitlab-port-export%3A settings::OCEAN__PORT__CLIENT_SECRET: is not set")
    assert "exit-code=2" in (bench.folder / "GITHUB_OUTPUT").read_text(encoding="utf-8").splitlines()
    # Also where the choice is as faulty as the rest, or was made not to hear of it.
    for arguments, changes in (
        (["--ci", "none"], {}),
        ([], {"OCEAN__EXPORT__CI": "None"}),
        (["--ci", "jenkins"], {"OCEAN__EXPORT__CI": "github"}),
    ):
        assert run_command(["sync", *arguments], {**environ, **changes}, bench.folder).stdout == ""
    ran = run_command(["sync"], {**environ, "OCEAN__EXPORT__CI": "travis"}, bench.folder)
    assert "OCEAN__EXPORT__CI: is not valid; expected auto, github, gitlab, azure, jenkins or none" in ran.stderr
    assert "::error" in ran.stdout


def test_the_systems_switch_for_debugging_is_ours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {**bench.environ(), "RUNNER_DEBUG": "1"}
    assert " debug: " not in run_here(environ, bench.folder, monkeypatch, command="plan").err
    shown = run_here({**environ, **JOBS["github"]}, bench.folder, monkeypatch, command="plan")
    assert " debug: " in shown.err


# --- the registry

MADE_UP = CiSystem(
    name="made-up",
    title="Made Up CI",
    sign=Sign("MADE_UP", "yes"),
    debug=Sign("MADE_UP_DEBUG"),
    fold=lambda title, _: (f"<{title}", ">"),
    mask=lambda secret: f"hide {secret}",
    lines=lambda facts: [f"{one.level}: {one.title}" for one in annotations(facts.report)],
    appended={"MADE_UP_FILE": lambda facts, taken: f"exit={facts.report.exit_code} after {taken}\n"},
    links=lambda _environ, _port, page: (("Report", page),),
)


def test_a_new_row_is_detected_and_folds_masks_annotates_and_links(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environ = {"MADE_UP": "Yes", "MADE_UP_DEBUG": "1", "MADE_UP_FILE": str(tmp_path / "file")}
    out, err = Pipe(), Pipe()
    line = output.connect("auto", environ, out, err, as_json=False, systems={**SYSTEMS, MADE_UP.name: MADE_UP})
    assert (line.system, line.wants_debug) == (MADE_UP, True)
    assert line.fold is not None
    assert line.fold("Changes") == ("<Changes", ">")
    line.mask(["top-secret"])
    line.show(report(1, PROBLEM), lambda _: "")
    assert (out.getvalue(), err.getvalue()) == ("error: gitlab-port-export: read\n", "hide top-secret\n")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "exit=1 after 0\n"
    assert line.links("https://api.getport.io", Path("page.html")) == (("Report", "page.html"),)
    assert line.to("none").system is None
    assert line.to("github").to("made-up").system == MADE_UP


def test_the_choices_of_ci_are_the_registry(bench: Bench) -> None:
    row = 'System(name="made-up", title="Made Up", sign=system.Sign("MADE_UP"))'
    made_up = (
        "from gitlab_port_export.report import ci; from gitlab_port_export.report.ci import system; "
        f"row = system.Ci{row}; ci.SYSTEMS = {{**ci.SYSTEMS, row.name: row}}; "
        "ci.CHOICES = ('auto', *ci.SYSTEMS, 'none'); from gitlab_port_export.cli import main; main()"
    )
    environ = process_environ(bench.environ())
    command = [sys.executable, "-c", made_up, "plan"]
    for arguments, changes in ((["--ci", "made-up"], {}), ([], {"OCEAN__EXPORT__CI": "made-up"})):
        ran = subprocess.run(
            [*command, *arguments],
            env={**environ, **changes},
            cwd=bench.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr


def table_of(text: str) -> dict[str, list[str]]:
    """The table of docs/ci.md that has a column for each system, by the first cell of each row."""
    lines = [line for line in text.partition("## What the system shows")[2].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_the_documentation_has_a_column_for_each_system() -> None:
    text = (Path(__file__).parents[1] / "docs" / "ci.md").read_text(encoding="utf-8")
    table = table_of(text)
    systems = list(SYSTEMS.values())
    assert table[""] == [one.title for one in systems]
    assert table["detected by"] == [f"`{one.sign.name}`" for one in systems]
    assert table["more logging"] == [f"`{one.debug.name}`" if one.debug else "`--debug`" for one in systems]
    assert [cell == "folded in the log" for cell in table["changes"]] == [bool(one.fold) for one in systems]
    assert [cell == "masked in all further logs" for cell in table["secrets"]] == [bool(one.mask) for one in systems]
    assert [cell != "in the log" for cell in table["problems and held deletions"]] == [
        bool(one.lines) for one in systems
    ]
    for one in systems:
        for variable in one.appended or ():
            assert f"`{variable}`" in text
    assert f"`--ci {'|'.join(CHOICES[1:])}`" in text
