"""The paths of README and docs as users walk them: a clean copy of the project, the pages' own commands, processes."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from conftest import Bench
from gitlab_port_export.demo.world import change_world
from testbed.ci_bed import ROOT, SECRETS, Azure, Machine, Ran
from testbed.harness import run_sync
from testbed.pages import after, blocks, commands, section

LEFT_BEHIND = (".git", ".venv", "build", "dist", "__pycache__", "*_cache", ".hypothesis", "node_modules")
IN_STEP = "exit 0: Port is in step with GitLab"
OCEAN = "port-ocean/gitlab-v2/0.48.0/my-gitlab-v2-integration/exporter"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project as a stranger has it."""
    folder = tmp_path_factory.mktemp("clean") / "gitlab-port-export"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_BEHIND), symlinks=True)
    return folder


def link(checkout: Path) -> None:
    """Make the virtual environment that `make` would, of the packages that are here: nothing is downloaded."""
    venv = checkout / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(venv)], check=True, timeout=60)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "here.pth").write_text(f"{checkout / 'src'}\n{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
    command = venv / "bin" / "gitlab-port-export"
    command.write_text(f"#!{venv}/bin/python\nfrom gitlab_port_export.cli import main\nmain()\n", encoding="utf-8")
    command.chmod(0o755)
    (venv / ".runtime-installed").touch()


@pytest.fixture
def machine(bench: Bench, checkout: Path) -> Machine:
    """A machine on which nothing of this project is installed; `docker` runs what is in the checkout."""
    made = Machine(bench)
    for name in ("gitlab-port-export", "pip"):
        (made.bin / name).unlink()
    made.program("python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    docker = (made.bin / "docker").read_text(encoding="utf-8")
    docker = docker.replace('"PYTHONPATH": PATHS}', f'"OCEAN__PORT__BASE_URL": "{bench.port.url}"}}')
    made.program("docker", docker.replace(sys.executable, str(checkout / ".venv" / "bin" / "python")))
    return made


def walk(machine: Machine, checkout: Path, script: str, env: Mapping[str, str] | None = None) -> Ran:
    """Run commands in the checkout with the addresses of the stand-ins; the first that fails ends it."""
    for address, url in (("gitlab.example.com", machine.bench.gitlab.url), ("api.getport.io", machine.bench.port.url)):
        script = script.replace(f"https://{address}", url)
    kept = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "HTTP", "NO_PROXY", "LANG"))}
    given = {**kept, "OCEAN__PORT__BASE_URL": machine.bench.port.url, **(env or {})}
    return machine.run(["bash", "-e"], script, given, checkout, timeout=400)


def activated(script: str) -> str:
    """The commands, where the program is on the path as README says."""
    return f"{commands(section('README.md', 'Install'))[1]}\n{script}"


def steady(text: str) -> list[str]:
    """The lines of a report without seconds and numbers of requests."""
    return re.sub(r"; \d+ GitLab requests, .*", ")", text).splitlines()


# --- README and docs/get-started.md


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    "installs",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                not os.environ.get("IMAGE_STEPS"), reason="downloads what README installs: set IMAGE_STEPS=1"
            ),
        ),
    ],
    ids=["linked", "installed"],
)
def test_readme_leads_from_a_clean_folder_to_a_catalog_in_step(
    installs: bool, machine: Machine, checkout: Path, bench: Bench
) -> None:
    shutil.rmtree(checkout / ".venv", ignore_errors=True)
    if not installs:
        link(checkout)
    # Try it in a minute.
    demo = section("README.md", "Try it in a minute")
    ran = walk(machine, checkout, commands(demo)[0])
    assert ran.code == 0, ran.all
    (shown,) = blocks(demo, "text")
    found = steady(ran.out)
    assert [line for line in steady(shown) if line not in (*found, "…")] == []

    # Install.
    steps = commands(section("README.md", "Install"))
    assert len(steps) == 5
    activate = steps[1]
    ran = walk(machine, checkout, "\n".join(steps if installs else (activate, steps[-1])))
    assert ran.code == 0, ran.all
    assert "Usage: gitlab-port-export" in ran.out

    # Set it up in CI: what the page tells to do before the first sync, then that twice.
    page = section("README.md", "Set it up in CI")
    (run,) = blocks(page, "sh")
    host = {"OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": bench.gitlab.url}
    before = walk(machine, checkout, "\n".join((activate, *commands(page))), SECRETS | host)
    assert before.code == 0, before.all
    assert "Next: gitlab-port-export plan" in before.out
    assert bench.held() == {}
    for _ in range(2):
        ran = walk(machine, checkout, run, SECRETS)
        assert ran.code == 0, ran.all
        assert IN_STEP in ran.out
    assert "0 created, 0 updated, 0 deleted" in ran.out
    assert len(bench.held()["service"]) > 5


def test_get_started_leads_through_its_six_steps(machine: Machine, checkout: Path, bench: Bench) -> None:
    link(checkout)
    page = (ROOT / "docs" / "get-started.md").read_text(encoding="utf-8")
    demo, *steps = commands(page)
    assert demo == commands(section("README.md", "Try it in a minute"))[0]
    script = re.sub(r"(OCEAN__\w+)=…", lambda found: f"{found[1]}={SECRETS[found[1]]}", "\n".join(steps))
    assert "…" not in script
    ran = walk(machine, checkout, f"{script}\ngitlab-port-export sync\n")
    assert ran.code == 0, ran.all
    assert ran.out.count(IN_STEP) == 2
    assert "0 created, 0 updated, 0 deleted" in ran.out.splitlines()[-1]
    assert len(bench.held()["service"]) > 5
    headings = re.findall(r"^## (\d)\. ", page, re.MULTILINE)
    assert headings == ["1", "2", "3", "4", "5", "6"]


# --- docs/reports.md: a plan that somebody reviews


def test_a_plan_is_reviewed_and_applied_with_the_two_commands_of_the_page(
    machine: Machine, checkout: Path, bench: Bench
) -> None:
    link(checkout)
    bench.sync_an_hour_ago()
    change_world(bench.world)
    before = bench.store.snapshot()
    (script,) = blocks(section("docs/reports.md", "Plan and apply in two steps"), "sh")
    plan, apply = script.split("# somebody looks at plan.md, for example in a merge request\n")
    env = SECRETS | {"OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": bench.gitlab.url}
    ran = walk(machine, checkout, activated(plan), env)
    assert ran.code == 0, ran.all
    assert bench.store.snapshot() == before
    review = (checkout / "plan.md").read_text(encoding="utf-8")
    assert '-     title: "Infra"\n+     title: "Infrastructure as Code"' in review
    assert apply.strip() in ran.err
    asked = len(bench.gitlab.requests)
    ran = walk(machine, checkout, activated(apply), env)
    assert ran.code == 0, ran.all
    assert len(bench.gitlab.requests) == asked
    assert bench.store.get("service", "platform/infrastructure").title == "Infrastructure as Code"
    assert walk(machine, checkout, activated(apply), env).code == 2


# --- docs/migrating-from-ocean.md


@pytest.fixture
def ocean(bench: Bench) -> dict[str, str]:
    """A catalog that Ocean wrote an hour ago, since when GitLab has changed; the variables of Ocean's job."""
    bench.sync_an_hour_ago(tokens=SECRETS["OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN"])
    for blueprint, identifiers in bench.held().items():
        for identifier in identifiers:
            bench.store.get(blueprint, identifier).datasource = OCEAN
    change_world(bench.world)
    return {
        **SECRETS,
        "OCEAN__INTEGRATION__CONFIG__GITLAB_URL": bench.gitlab.url,
        "OCEAN__PORT__BASE_URL": bench.port.url,
    }


def moved(bench: Bench, ran: Ran) -> None:
    """The run took over what Ocean wrote: the changes since then were written, and nothing else."""
    assert ran.code == 0, ran.all
    assert IN_STEP in ran.out
    assert "(1 created, 1 updated, 7 deleted;" in ran.out
    assert "payments/cards/fraud-rules" not in bench.held()["service"]
    assert len(bench.store.integrations) == 1


def test_a_rehearsal_beside_ocean_shows_what_a_sync_would_do_and_writes_nothing(
    machine: Machine, checkout: Path, bench: Bench, ocean: dict[str, str]
) -> None:
    link(checkout)
    before = bench.store.snapshot()
    (script,) = blocks(section("docs/migrating-from-ocean.md", "Rehearse"), "sh")
    ran = walk(machine, checkout, script, ocean)
    assert ran.code == 0, ran.all
    first = ran.out.splitlines()[0]
    assert first.startswith("plan of my-gitlab-v2-integration, mapping: integration my-gitlab-v2-integration in Port")
    assert "(1 to create, 1 to update, 7 to delete;" in ran.out
    assert bench.store.snapshot() == before


def test_a_job_of_jenkins_moves_by_the_lines_that_the_page_changes(
    machine: Machine, checkout: Path, bench: Bench, ocean: dict[str, str]
) -> None:
    link(checkout)
    (diff,) = blocks(section("docs/migrating-from-ocean.md", "Jenkins"), "diff")
    moved(bench, walk(machine, checkout, after(diff), ocean))


def test_a_job_of_azure_moves_by_the_lines_that_the_page_changes(
    machine: Machine, checkout: Path, bench: Bench, ocean: dict[str, str]
) -> None:
    link(checkout)
    (diff,) = blocks(section("docs/migrating-from-ocean.md", "Azure DevOps"), "diff")
    steps = yaml.safe_load(after(diff).replace("https://api.getport.io", bench.port.url))
    moved(bench, Azure(machine, ocean).job(steps))


def test_a_job_of_gitlab_moves_by_the_lines_that_the_page_changes(
    machine: Machine, checkout: Path, bench: Bench, ocean: dict[str, str]
) -> None:
    link(checkout)
    (diff,) = blocks(section("docs/migrating-from-ocean.md", "GitLab"), "diff")
    job = yaml.safe_load(after(diff).replace("https://api.getport.io", bench.port.url))["ingest_data"]
    assert job["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "schedule"'}]
    script = activated("\n".join(job["script"]))
    moved(bench, walk(machine, checkout, script, {**ocean, **job["variables"], "GITLAB_CI": "true"}))


def test_a_mapping_moves_from_gitlab_to_gitlab_v2_by_the_steps_of_the_page(
    machine: Machine, checkout: Path, bench: Bench
) -> None:
    link(checkout)
    token = SECRETS["OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN"]
    run_sync(bench.gitlab, bench.port, type="gitlab", tokens=token)
    page = re.sub(r"\n +", " ", section("docs/migrating-from-ocean.md", "From `gitlab` to `gitlab-v2`"))
    show, plan, preview = re.findall(r"`([^`]*gitlab-port-export [^`]+)`", page)
    env = SECRETS | {
        "OCEAN__INTEGRATION__IDENTIFIER": "my-gitlab-integration",
        "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": bench.gitlab.url,
    }
    steps = "\n".join((show, plan, preview.replace("KIND", "pipeline")))
    ran = walk(machine, checkout, activated(steps), env)
    assert ran.code == 0, ran.all
    assert ran.out.startswith("plan of my-gitlab-integration, mapping: mapping.yml, nothing was written\n")
    before = len(bench.held()["gitlabPipeline"])
    ran = walk(machine, checkout, activated(plan.replace(" plan ", " sync ")), env)
    assert ran.code == 0, ran.all
    assert IN_STEP in ran.out
    assert len(bench.held()["gitlabPipeline"]) > before
    assert list(bench.store.integrations) == ["my-gitlab-integration"]
