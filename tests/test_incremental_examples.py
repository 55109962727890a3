"""The files of examples/incremental: each fits its system, and two of its runs are a full and an incremental one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import Bench
from gitlab_port_export.incremental.places import BLUEPRINT
from test_examples import as_json, check, no_secret, with_node
from testbed.ci_bed import CI, ROOT, Azure, GitHub, Machine, Ran, gitlab, jenkins, steps_of

FILES = ROOT / "examples" / "incremental"


@pytest.fixture
def machine(bench: Bench) -> Machine:
    return Machine(bench)


def run_job(machine: Machine, name: str) -> Ran:
    """Run the job of a file as its system does."""
    text = machine.text(FILES / name)
    match name:
        case "github-actions.yml":
            return GitHub(machine).job(steps_of(text))
        case "azure-pipelines.yml":
            return Azure(machine).job(steps_of(text))
        case "Jenkinsfile":
            return jenkins(machine, text)
    return gitlab(machine, text, "gitlab-port-export")


def test_each_is_as_its_system_wants_it(tmp_path: Path) -> None:
    check("github-workflows", FILES / "github-actions.yml")
    check("gitlab-ci", FILES / "gitlab-ci.yml")
    azure: Any = yaml.load((FILES / "azure-pipelines.yml").read_text("utf-8"), Loader=yaml.BaseLoader)
    options = ("--regex-variant", "nonunicode", "--data-transform", "azure-pipelines")
    check("azure-pipelines", as_json(azure, tmp_path / "azure.json"), options=options)


@pytest.mark.parametrize(
    "name",
    ["github-actions.yml", "azure-pipelines.yml", "Jenkinsfile", pytest.param("gitlab-ci.yml", marks=with_node)],
)
def test_the_first_run_is_a_full_one_and_the_second_reads_what_changed(name: str, machine: Machine) -> None:
    first = run_job(machine, name)
    assert first.code == 0, first.all
    assert "full run: Port holds no state of an earlier run" in first.all
    assert "exit 0: Port is in step with GitLab" in first.all
    assert len(machine.bench.store.identifiers(BLUEPRINT)) == 1
    second = run_job(machine, name)
    assert second.code == 0, second.all
    assert "incremental: changes since " in second.all
    assert "exit 0: Port has every change since " in second.all
    for ran in (first, second):
        no_secret(machine, ran)


@pytest.mark.parametrize("name", ["gitlab-ci.yml", "github-actions.yml", "azure-pipelines.yml", "Jenkinsfile"])
def test_each_is_the_hourly_example_with_the_option_and_another_schedule(name: str) -> None:
    hourly, often = ((folder / name).read_text("utf-8").splitlines() for folder in (CI, FILES))
    added = [line.strip() for line in often if line not in hourly and not line.startswith(("#", "//"))]
    assert [line for line in added if "--since last" in line]
    schedules = ("cron", "displayName: Every 10 minutes", "triggers")
    assert not [line for line in added if "--since last" not in line and not any(one in line for one in schedules)]
