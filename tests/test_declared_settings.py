"""A setting is declared once: its variable, option, messages and row in the documentation follow from its field."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup, TyperOption

from gitlab_port_export.cli import app
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.settings.settings import SETTINGS, Parts, Settings
from gitlab_port_export.settings.variables import OBJECTS, key_of, nearest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "settings.md"
PORT = {"OCEAN__PORT__CLIENT_ID": "id", "OCEAN__PORT__CLIENT_SECRET": "secret-8b1d4e"}
MINIMAL = {**PORT, "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN": "glpat-5c2e7d1a9b"}
# Fields that `load_settings` makes of several settings, or of where they came from.
MADE = {
    *("port_client_id_file", "port_client_secret_file", "gitlab_url", "tokens", "token_mapping_only", "jq_env"),
    *("verify_port", "verify_gitlab", "reports", "warnings", "ignored", "file_notes", "logins"),
}


def options() -> dict[str, dict[str, TyperOption]]:
    """Return {command: {name of the option: option}}, also of commands of two words, such as `mapping show`."""
    return {
        name: {opt: one for one in command.params if isinstance(one, TyperOption) for opt in one.opts}
        for name, command in commands(typer.main.get_command(app))
    }


def commands(group: Any, start: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command that does something, by its words."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{start}{name} ")
        else:
            yield f"{start}{name}", command


OPTIONS = options()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_declared_in_full(name: str) -> None:
    setting = SETTINGS[name]
    assert setting.variable == setting.variable.upper()
    assert "__" in setting.variable
    assert setting.about.endswith("."), "a sentence for the documentation and the help"
    assert setting.expected, "what a wrong value is told to be"
    assert bool(setting.option) == bool(setting.on), "an option has commands, and commands need an option"
    assert setting.option == "" or setting.option.startswith("--")
    assert set(setting.on) <= OPTIONS.keys()
    assert not set("|\n") & set(setting.about + setting.default), "the row of a table holds neither"


def test_every_field_is_a_setting_or_made_of_some() -> None:
    assert {name for model in (Settings, Parts) for name in model.model_fields} - SETTINGS.keys() == MADE


def test_no_two_settings_have_the_same_variable_or_option() -> None:
    assert len({key_of(setting.variable) for setting in SETTINGS.values()}) == len(SETTINGS)
    names = [setting.option for setting in SETTINGS.values() if setting.option]
    assert len(set(names)) == len(names)


# Options of a command's own, which mean something else there.
OWN = {"hooks": {"--kind"}}


@pytest.mark.parametrize("command", OPTIONS)
def test_a_command_has_the_options_of_its_settings_with_their_help(command: str) -> None:
    own = OWN.get(command, set())
    declared = {one.option: one for one in SETTINGS.values() if one.option and one.option not in own}
    assert {name for name in OPTIONS[command] if name in declared} == {
        name for name, setting in declared.items() if command in setting.on
    }
    for name, option in OPTIONS[command].items():
        assert option.help, name
        assert name not in declared or option.help == declared[name].help


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_is_known_and_nearly_its_name_is_recognised(name: str) -> None:
    variable = SETTINGS[name].variable
    key = key_of(variable)
    if key.rpartition("__")[0] in OBJECTS and len(key.rpartition("__")[2]) > 3:
        assert nearest(f"{key}X") == variable


def test_the_table_of_settings_is_current() -> None:
    text = PAGE.read_text("utf-8")
    assert runpy.run_path(str(ROOT / "tools" / "settings_docs.py"))["generated"](text) == text
    assert all(f"| `{setting.variable}` |" in text for setting in SETTINGS.values())


def test_report_files_are_settings_like_others() -> None:
    found = load_settings({**MINIMAL, "OCEAN__EXPORT__REPORT_JUNIT": "a.xml"}, None, report_json=Path("b.json"))
    assert found.reports == {"junit": Path("a.xml"), "json": Path("b.json")}


def test_a_new_report_format_is_a_setting_and_an_option(tmp_path: Path) -> None:
    script = """
from dataclasses import replace
from gitlab_port_export.report.formats import FORMATS
FORMATS["one-more"] = replace(FORMATS["json"], name="one-more", help="One more.")
from gitlab_port_export.settings.load import report_files
print(report_files({"OCEAN__EXPORT__REPORT_ONE_MORE": "more.txt"}, None))
from gitlab_port_export.cli import app
app(["plan", "--help"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "{'one-more': PosixPath('more.txt')}" in done.stdout, done.stderr
    assert re.search(r"--report-one-more <path>\s+One more\.", done.stdout), done.stdout


FIELD = """\
    made_up: Annotated[
        int, Setting("OCEAN__EXPORT__MADE_UP", "Made up.", expected="up to 9", option="--made-up", on=_RUNS)
    ] = Field(default=3, le=9)
"""
SCRIPT = """
import runpy, sys
from pathlib import Path
from typing import Any
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.settings.load import load_settings

minimal = eval(sys.argv[1])
print("default", load_settings(minimal, None).made_up)
print("variable", load_settings({**minimal, "ocean__export__madeUp": "5"}, None).made_up)
print("object", load_settings({**minimal, "OCEAN__EXPORT": '{"madeUp": 6}'}, None).made_up)
print("option", load_settings({**minimal, "OCEAN__EXPORT__MADE_UP": "5"}, None, made_up=7).made_up)
Path("file").write_text("OCEAN__EXPORT__MADE_UP=8")
found = load_settings(minimal, None, env_file=Path("file"))
print("file", found.made_up, *found.file_notes)
found = load_settings(minimal, Path("file"))
print("found", found.made_up, *found.file_notes)
print(*(one.why for one in load_settings({**minimal, "OCEAN__EXPORT__MADEUPS": "1"}, None).warnings))
for options in ({}, {"made_up": 10}):
    try:
        load_settings({**minimal, "OCEAN__EXPORT__MADE_UP": "$X"}, None, **options)
    except UsageError as error:
        print(*error.faults)
print(runpy.run_path(sys.argv[2])["generated"]("<!-- generated: settings -->\\n<!-- end -->\\n"))
"""
SEEN = """\
default 3
variable 5
object 6
option 7
file 8 file sets OCEAN__EXPORT__MADE_UP
found 3 file, not named by --env-file, cannot set OCEAN__EXPORT__MADE_UP
OCEAN__EXPORT__MADEUPS is not known; did you mean OCEAN__EXPORT__MADE_UP?
OCEAN__EXPORT__MADE_UP: is the name of a variable that nothing replaced
--made-up: is not valid; expected up to 9
| `OCEAN__EXPORT__MADE_UP` | `--made-up` | `3` | Made up. |
"""


def test_one_new_field_is_seen_everywhere(tmp_path: Path) -> None:
    copy = tmp_path / "src" / "gitlab_port_export"
    shutil.copytree(ROOT / "src" / "gitlab_port_export", copy, ignore=shutil.ignore_patterns("__pycache__"))
    module = copy / "settings" / "settings.py"
    before, mark, after = module.read_text("utf-8").partition("    env_file: Annotated[\n")
    module.write_text(before + FIELD + mark + after, "utf-8")
    environ = {**os.environ, **MINIMAL, "PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"}

    def ran(*arguments: str, **more: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, env={**environ, **more}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    seen = ran("-c", SCRIPT, repr(MINIMAL), str(ROOT / "tools" / "settings_docs.py"))
    for line in SEEN.splitlines():
        assert line in seen, seen
    for command, has in (("sync", True), ("plan", True), ("check", False)):
        shown = ran("-m", "gitlab_port_export", command, "--help")
        assert ("--made-up <int>" in shown and "Made up. [3]" in shown) is has, shown
    assert "--made-up: is not valid; expected up to 9" in ran("-m", "gitlab_port_export", "plan", "--made-up", "10")
    told = ran("-m", "gitlab_port_export", "check", "--output", "json", OCEAN__EXPORT__MADE_UP="10")
    assert "OCEAN__EXPORT__MADE_UP" in told
    assert "is not valid; expected up to 9" in told
