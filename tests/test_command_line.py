"""The habits of the command line: short options, completion, what a line that cannot be read is answered, the log."""

import json
import subprocess
import sys

import pytest

from conftest import Bench
from gitlab_port_export import __version__
from gitlab_port_export.report.exit_code import EXIT_MEANINGS
from testbed.harness import process_environ

COMMANDS = ("sync", "plan", "check", "preview", "mapping", "mapping show", "hooks", "schema", "demo")
HINT = "gitlab-port-export {} --help lists the options"
REFUSED = {
    "--mapping m.yml": ("--mapping stands before the command", "write it after the command: gitlab-port-export sync"),
    "--out p plan": ("--out stands before the command", "write it after the command: gitlab-port-export plan --out …"),
    "-q check": ("-q stands before the command", "write it after the command: gitlab-port-export check -q …"),
    "--limit 3": ("--limit stands before the command", "write it after the command: gitlab-port-export preview"),
    "--nothing": ("there is no option --nothing", "gitlab-port-export --help lists the commands"),
    "--mappin m.yml": ("there is no option --mappin", "did you mean --mapping?"),
    "sync --wokers 3": ("there is no option --wokers", "did you mean --workers?"),
    "sync --workers x": ("--workers is not valid; expected a whole number from 1 to 100", HINT.format("sync")),
    "sync --ci": ("--ci needs a value; expected auto", HINT.format("sync")),
    "sync --debug=1": ("--debug takes no value", HINT.format("sync")),
    "sync -o xml": ("--output is not valid; expected table or json", HINT.format("sync")),
    "plan --fail-on x": ("--fail-on is not valid; expected problems, warnings, limit or never", HINT.format("plan")),
    "snyc": ("there is no command 'snyc'", "did you mean sync?"),
    "nothing": ("there is no command 'nothing'", "the commands are sync, plan"),
    "mapping": ("mapping needs a command", "the commands are mapping show, mapping init, mapping diff"),
    "mapping shwo": ("there is no command 'mapping shwo'", "did you mean mapping show?"),
    "mapping diff": ("FILE is missing", HINT.format("mapping diff")),
    "preview": ("KIND is missing", HINT.format("preview")),
    "preview issue more": ("preview takes no argument 'more' here", HINT.format("preview")),
    "preview issue --limit 0": ("--limit is not valid: input should be greater", HINT.format("preview")),
    "hooks make": ("ACTION is not valid; expected plan, apply, status or remove", HINT.format("hooks")),
}


@pytest.mark.parametrize("line", REFUSED)
def test_every_misuse_is_answered_in_the_same_form(line: str, bench: Bench) -> None:
    what, hint = REFUSED[line]
    ran = bench.run(*line.split())
    first, second, last = ran.stderr.splitlines()
    assert ran.returncode == 2
    assert first.startswith(f"error: {what}")
    assert second.startswith(f"→ {hint}")
    assert last == f"exit 2: {EXIT_MEANINGS[2]}"
    assert ran.stdout == ""
    assert bench.port.requests == []


def test_a_misuse_is_json_where_json_was_asked_for(bench: Bench) -> None:
    for command in ("sync", "check"):
        ran = bench.run(command, "-o", "json", "--wokers", "3")
        assert ran.returncode == 2
        assert json.loads(ran.stdout)["problems"][0]["why"] == "there is no option --wokers"


def test_a_secret_in_the_wrong_place_is_not_shown(bench: Bench) -> None:
    for args in (("sync", "glpat-0123456789abcdef"), ("glpat-0123456789abcdef",)):
        assert "0123456789abcdef" not in bench.run(*args).stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_short_option_everywhere(command: str, bench: Bench) -> None:
    short, long = (bench.run(*command.split(), option) for option in ("-h", "--help"))
    assert short.returncode == 0
    assert short.stdout == long.stdout
    assert short.stdout.startswith(f"Usage: gitlab-port-export {command} ")


def test_the_version_has_a_short_option(bench: Bench) -> None:
    assert bench.run("-V").stdout == f"{__version__}\n"


def test_short_options_mean_what_the_long_ones_do(bench: Bench) -> None:
    assert json.loads(bench.run("plan", "-o", "json").stdout)["command"] == "plan"
    assert "debug: " in bench.run("plan", "-v").stderr
    assert "debug: " not in bench.run("plan").stderr


def test_quiet_says_only_what_is_wrong(bench: Bench) -> None:
    bench.file(".env", "OCEAN__CLIENT_TIMEOUT=30\n")
    assert ".env sets" in bench.run("check").stderr
    ran = bench.run("check", "-q")
    assert ran.stderr == ""
    assert "takes the credentials" in ran.stdout
    assert "debug: " not in bench.run("check", "-q", APPLICATION__LOG_LEVEL="DEBUG").stderr
    assert "debug: " in bench.run("check", "-q", "-v").stderr
    refused = bench.run("check", "-q", "--env-file", "none.env")
    assert "none.env" in refused.stdout


def test_the_log_is_one_json_object_a_line(bench: Bench) -> None:
    bench.file(".env", "OCEAN__CLIENT_TIMEOUT=30\n")
    for ran in (
        bench.run("plan", "--log-format", "json", "--debug"),
        bench.run("plan", "--debug", OCEAN__EXPORT__LOG_FORMAT="json"),
    ):
        lines = [json.loads(line) for line in ran.stderr.splitlines()]
        assert {line["level"] for line in lines} >= {"info", "debug"}
        assert all(line.keys() == {"time", "level", "message"} for line in lines)


def test_what_ends_a_run_is_in_the_form_of_the_log(bench: Bench) -> None:
    ran = bench.run("sync", OCEAN__PORT__CLIENT_ID=None, OCEAN__EXPORT__LOG_FORMAT="json")
    first, *_ = [json.loads(line) for line in ran.stderr.splitlines()]
    assert (first["level"], first["message"]) == ("error", "error: OCEAN__PORT__CLIENT_ID: is not set; expected the "
        "client ID that Port shows under Credentials")  # fmt: skip


# --- completion


def completed(bench: Bench, shell: str, line: str) -> str:
    words = f"gitlab-port-export {line}"
    return bench.run(
        _GITLAB_PORT_EXPORT_COMPLETE=f"complete_{shell}",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
        _TYPER_COMPLETE_ARGS=words,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    ).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_options_and_values_are_completed(shell: str, bench: Bench) -> None:
    for line, found in {
        "pl": ["plan"],
        "mapping ": ["show", "init", "diff"],
        "sync --fail": ["--fail-on"],
        "sync --fail-on ": ["problems", "warnings", "limit", "never"],
        "hooks ": ["plan", "apply"],
    }.items():
        shown = completed(bench, shell, line)
        assert [word for word in found if word not in shown] == []
    assert bench.port.requests == []


def test_completion_loads_nothing_that_only_a_run_needs() -> None:
    shown = (
        "import sys, atexit; atexit.register(lambda: print(*sys.modules))\n"
        "from gitlab_port_export.cli import main; main()"
    )
    environ = process_environ(
        {"_GITLAB_PORT_EXPORT_COMPLETE": "complete_bash", "COMP_WORDS": "x pl", "COMP_CWORD": "1"}
    )
    ran = subprocess.run([sys.executable, "-c", shown], env=environ, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "plan" in loaded
    assert (
        loaded & {"requests", "jq", "rich", "gitlab_port_export.commands.session", "gitlab_port_export.sync"} == set()
    )
