"""The registry of report formats: every row works, is documented, and a new row needs no other edit of the code."""

import json
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Bench
from gitlab_port_export.report import files, formats
from gitlab_port_export.report.formats import FORMATS, Format
from gitlab_port_export.report.values import Report
from test_report_files import NAMES, report_of
from test_untrusted_text import ALL, obeyed
from testbed.harness import process_environ

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "reports.md"
REPORT = Report("sync", 0, "2026-01-01T00:00:00+00:00", 1.0)

# A row for a format whose renderer stands in this module's place: what somebody who adds a format writes.
MADE_UP = """
import sys, types
from gitlab_port_export.report import formats
renderer = types.ModuleType("gitlab_port_export.report.made_up")
renderer.render = lambda report: f"made up: {report.command} {report.exit_code}"
sys.modules[renderer.__name__] = renderer
row = formats.Format("made-up", "made_up", "Write a made-up report.", "made.up", "made up", "nobody")
formats.FORMATS = {**formats.FORMATS, row.name: row}
from gitlab_port_export.cli import main
main()
"""


def generated(text: str) -> str:
    """The page as `make docs` writes it."""
    page: str = runpy.run_path(str(ROOT / "tools" / "report_docs.py"))["generated"](text)
    return page


def test_the_documentation_lists_every_format() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert generated(text) == text, "run `make docs`"
    assert all(f"`{one.option} FILE`" in text for one in FORMATS.values())


def test_the_documentation_shows_a_plan_as_it_is() -> None:
    samples = runpy.run_path(str(ROOT / "tools" / "plan_samples.py"))
    text = DOCS.read_text(encoding="utf-8")
    assert samples["generated"](text, samples["make_plan"]()) == text, "run `make docs`"
    pictures = [ROOT / "docs" / "images" / name for name, *_ in samples["PICTURES"]]
    assert all(f"images/{one.name}" in text and one.stat().st_size < 150_000 for one in pictures)


def test_a_format_that_is_not_documented_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    new = replace(FORMATS["json"], name="made-up")
    monkeypatch.setattr(formats, "FORMATS", {**FORMATS, new.name: new})
    text = DOCS.read_text(encoding="utf-8")
    assert generated(text) != text


@pytest.mark.parametrize("one", FORMATS.values(), ids=FORMATS)
def test_every_format_is_named_after_its_row_and_writes_its_file(one: Format, tmp_path: Path) -> None:
    path = tmp_path / one.example
    assert files.publish(REPORT, {one.name: path}).problems == ()
    assert path.read_text(encoding="utf-8") == one.render(REPORT)
    assert re.fullmatch("[A-Z].*[.]", one.help)


@pytest.mark.parametrize("command", ["sync", "plan"])
@pytest.mark.parametrize("one", FORMATS.values(), ids=FORMATS)
def test_no_format_holds_a_command_or_the_value_of_an_entity(one: Format, command: str) -> None:
    report = replace(report_of(*NAMES, command=command), links=((ALL, "https://example.com/"),))
    text = one.render(report)
    assert obeyed(text) == []
    assert "kept out" not in text
    assert text.endswith("\n")


def test_a_new_row_is_an_option_a_setting_and_a_file(bench: Bench) -> None:
    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", MADE_UP, *arguments],
            env=process_environ(bench.environ(**changes)),
            cwd=bench.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    assert "--report-made-up" in run("plan", "--help").stdout
    ran = run("plan", "--report-made-up", "a.txt")
    assert (bench.folder / "a.txt").read_text(encoding="utf-8") == f"made up: plan {ran.returncode}", ran.stderr
    run("plan", OCEAN__EXPORT__REPORT_MADE_UP="b.txt")
    assert (bench.folder / "b.txt").read_text(encoding="utf-8") == "made up: plan 0"
    ran = run("plan", "--report-made-up", "none/c.txt")
    assert (ran.returncode, "--report-made-up: the folder none does not exist" in ran.stderr) == (2, True)


def test_dotenv_and_annotations_are_formats_like_the_others(tmp_path: Path) -> None:
    report = replace(REPORT, links=(("Page", "https://example.com/"),))
    paths = {name: tmp_path / FORMATS[name].example for name in ("dotenv", "annotations")}
    files.publish(report, paths)
    assert "PORT_EXPORT_CREATED=0\n" in paths["dotenv"].read_text(encoding="utf-8")
    assert json.loads(paths["annotations"].read_text(encoding="utf-8"))["gitlab-port-export"]
