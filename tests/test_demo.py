"""The demo command: two syncs of a sample company, on this machine alone, with output that a pipe can take."""

import os
import re
import shlex
import signal
import sys
from itertools import takewhile
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen

import pytest

from testbed.harness import process_environ, run_command, running

# Notes the host of every connection that any of the demo's processes makes; Python runs this file at its start.
WITNESS = """
import pathlib, socket

seen = pathlib.Path(__file__).with_name("hosts.txt")
connect = socket.socket.connect

def noted(self, address):
    with seen.open("a") as file:
        file.write(f"{address[0]}\\n")
    return connect(self, address)

socket.socket.connect = noted
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("demo")
    (found / "sitecustomize.py").write_text(WITNESS)
    return found


@pytest.fixture(scope="module")
def ran(folder: Path) -> CompletedProcess[str]:
    """The demo, run once for all tests, with settings around it that are none of its business."""
    path = os.pathsep.join(filter(None, [str(folder), *map(os.path.abspath, _python_path())]))
    (folder / ".env").write_text("OCEAN__PORT__BASE_URL=https://port.example.com\n")
    env = {"PYTHONPATH": path, "OCEAN__PORT__CLIENT_ID": "of-somebody", "HTTP_PROXY": "http://127.0.0.1:1"}
    with running([sys.executable, "-m", "gitlab_port_export", "demo"], env, folder) as process:
        out, err = process.communicate(timeout=100)
    return CompletedProcess(process.args, process.returncode, out, err)


def _python_path() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


def test_both_syncs_succeed(ran: CompletedProcess[str]) -> None:
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("$ gitlab-port-export sync\n") == 2
    assert len(re.findall("^exit 0: Port is in step with GitLab", ran.stdout, re.MULTILINE)) == 2


def test_the_second_sync_writes_only_the_difference(ran: CompletedProcess[str]) -> None:
    ends = [[int(n) for n in end] for end in re.findall(r"(\d+) created, (\d+) updated, (\d+) deleted", ran.stdout)]
    first, second = ends
    assert first[1:] == [0, 0]
    assert second == [1, 1, 7]
    assert f"Only the difference was written: {sum(second)} entities, after {first[0]} before." in ran.stdout
    held = [int(number) for number in re.findall(r"^  \w+: (\d+)$", ran.stdout, re.MULTILINE)]
    assert sum(held) == first[0] + second[0] - second[2]


def test_the_settings_it_shows_are_the_names_to_use(ran: CompletedProcess[str]) -> None:
    for name in ("OCEAN__PORT__BASE_URL", "OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING", "OCEAN__EVENT_LISTENER"):
        assert f"\n  {name}=" in ran.stdout
    assert "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN" in ran.stdout


def test_a_pipe_gets_plain_lines_in_order(ran: CompletedProcess[str]) -> None:
    assert "\x1b" not in ran.stdout
    steps = ["A small company's GitLab", "exit 0", "Meanwhile in GitLab", "exit 0", "The catalog now holds", "for real"]
    assert re.search(".*?".join(steps), ran.stdout, re.DOTALL)


def test_it_speaks_to_this_machine_alone(ran: CompletedProcess[str], folder: Path) -> None:
    assert ran.returncode == 0
    assert set((folder / "hosts.txt").read_text().split()) == {"127.0.0.1"}


def test_both_servers_stay_for_other_commands_until_ctrl_c(tmp_path: Path) -> None:
    """Also where the demo was started in the background of a script, where shells let SIGINT be ignored."""
    command = ["bash", "-c", f"trap '' INT; exec {sys.executable} -m gitlab_port_export demo --keep"]
    with Popen(command, cwd=tmp_path, env=process_environ({}), stdout=PIPE, text=True) as demo:
        try:
            assert demo.stdout
            lines = list(takewhile(lambda line: line != "  gitlab-port-export plan\n", demo.stdout))
            exported = (shlex.split(line)[1] for line in lines if line.startswith("  export "))
            settings = dict(setting.split("=", 1) for setting in exported)
            plan = run_command(["plan", "--detailed-exitcode"], settings, tmp_path)
            assert (plan.returncode, plan.stderr) == (0, "")
            demo.send_signal(signal.SIGINT)
            rest, _ = demo.communicate(timeout=60)
        finally:
            demo.kill()
    assert demo.returncode == 0
    assert "To run it for real" in rest


# The demo without its syncs.
KEEP = """
from gitlab_port_export.demo import command

command._sync = lambda settings: 0
raise SystemExit(command.run_demo(keep=True))
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_may_be_ended_as_soon_as_it_says_so(sent: signal.Signals, tmp_path: Path) -> None:
    with Popen([sys.executable, "-c", KEEP], cwd=tmp_path, env=process_environ({}), stdout=PIPE, text=True) as demo:
        try:
            assert demo.stdout
            assert any("until Ctrl-C" in line for line in demo.stdout)
            demo.send_signal(sent)
            demo.communicate(timeout=60)
        finally:
            demo.kill()
    assert demo.returncode == 0
