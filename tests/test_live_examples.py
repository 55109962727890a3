"""The files of examples/live: each fits its system, shows no secret, and hands on enough of every event."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.gitlab_hooks import _filled
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.world import DEVELOPER, Row
from gitlab_port_export.live.events import read_events
from test_examples import as_json, check
from testbed.ci_bed import ROOT
from testbed.harness import (
    acme,
    blueprint,
    environ_for,
    mapping_file,
    mapping_of,
    port_with,
    process_environ,
    resource,
    run_sync,
)

LIVE = ROOT / "examples" / "live"


def payloads() -> dict[str, Row]:
    """A payload of each kind, with texts that break what is put together carelessly."""
    world, ann, group = acme()
    world.add_member(group, ann, DEVELOPER)
    project = world.add_project(world.add_group("shop", group), "web")
    shapes = Shapes(world)
    title = 'a "quote", $(PORT_CLIENT_SECRET) and ${{ secrets.X }}\n'
    pipeline = world.add_pipeline(project, name=title)
    return {
        "merge request": shapes.merge_request(world.add_merge_request(project, title), ann),
        "issue": shapes.issue(world.add_issue(project, title), ann),
        "pipeline": shapes.pipeline(pipeline, ann),
        "job": shapes.job(world.add_job(pipeline, title), ann),
        "deployment": shapes.deployment(project, 4),
        "note": {"object_kind": "note", "project": {"id": project["id"]}, "merge_request": {"iid": 3, "title": title}},
        "project": shapes.project_event(project),
        "group": shapes.subgroup(world.group("acme/shop")),
        "member": shapes.member(group, ann, DEVELOPER),
        "milestone": {"object_kind": "milestone", "object_attributes": {"id": 3, "group_id": 5, "title": title}},
        "release": shapes.release(project, "v1"),
        "push": shapes.push(project, ann),
        "tag": shapes.tag_push(project, ann, "v1"),
    }


@pytest.mark.parametrize("name", ["payload.json", "github-payload.json"])
@pytest.mark.parametrize("kind", list(payloads()))
def test_the_template_says_as_much_as_the_payload(name: str, kind: str) -> None:
    if name == "payload.json" and kind in ("release", "push", "tag"):
        pytest.skip("what goes by a name is left out on purpose")
    payload = payloads()[kind]
    filled = _filled((LIVE / name).read_text("utf-8"), payload)

    def named(text: str) -> list[Any]:
        return [(one.what, one.project, one.group, one.key, one.gone) for one in read_events(text, "x").touched]

    assert named(filled) == named(json.dumps(payload))
    assert "quote" not in filled
    assert "$(" not in filled


def test_github_takes_the_payload() -> None:
    """It takes ten keys at the top at most: https://docs.github.com/rest/repos/repos#create-a-repository-dispatch-event"""
    template = json.loads((LIVE / "github-payload.json").read_text("utf-8"))
    assert set(template) == {"event_type", "client_payload"}
    assert len(template["client_payload"]) <= 10


def test_each_is_as_its_system_wants_it(tmp_path: Any) -> None:
    check("github-workflows", LIVE / "github-actions.yml")
    check("gitlab-ci", LIVE / "gitlab-ci.yml")
    azure = yaml.load((LIVE / "azure-pipelines.yml").read_text("utf-8"), Loader=yaml.BaseLoader)
    options = ("--regex-variant", "nonunicode", "--data-transform", "azure-pipelines")
    check("azure-pipelines", as_json(azure, tmp_path / "azure.json"), options=options)


@pytest.mark.parametrize("name", ["gitlab-ci.yml", "github-actions.yml", "azure-pipelines.yml", "Jenkinsfile"])
def test_no_payload_is_part_of_a_script(name: str) -> None:
    text = (LIVE / name).read_text("utf-8")
    assert "sync --event" in text
    for line in text.splitlines():
        if "${{" in line and "PAYLOAD" in line:
            assert line.strip().startswith("PAYLOAD: ")


@dataclass(frozen=True)
class Job:
    """What the job of an example gives to `sync --event`: the argument, and what is on standard input."""

    argument: str
    stdin: str = ""


def job_of(system: str, payload: Row, folder: Path) -> Job:
    """The job that the hook of an example starts for a payload."""
    if system == "gitlab-ci.yml":
        file = folder / "TRIGGER_PAYLOAD"
        file.write_text(json.dumps(payload), "utf-8")
        return Job(str(file))
    if system == "github-actions.yml":
        sent = json.loads(_filled((LIVE / "github-payload.json").read_text("utf-8"), payload))
        return Job("-", json.dumps(sent["client_payload"], indent=2))
    if system == "azure-pipelines.yml":
        return Job("-", _filled((LIVE / "payload.json").read_text("utf-8"), payload))
    return Job("-", json.dumps(payload))


@pytest.mark.parametrize("system", ["gitlab-ci.yml", "github-actions.yml", "azure-pipelines.yml", "Jenkinsfile"])
def test_the_job_of_an_event_brings_port_up_to_date(system: str, tmp_path: Path) -> None:
    """Only the command itself is run, as the script of each example has it."""
    world, ann, group = acme()
    project = world.add_project(group, "web")
    row = world.add_merge_request(project, "First")
    script = (LIVE / system).read_text("utf-8")
    mapping = mapping_of(resource("merge-request", "mr", title=".title"))
    with gitlab_server(world) as gitlab, port_server(port_with(blueprint("mr"))) as port:
        run_sync(gitlab, port, mapping)
        row["title"] = "Second"
        world.touch()
        job = job_of(system, Shapes(world).merge_request(row, ann), tmp_path)
        assert "sync --event -" in script if job.argument == "-" else 'sync --event "$TRIGGER_PAYLOAD"' in script
        file = mapping_file(mapping, tmp_path)
        done = subprocess.run(
            [sys.executable, "-m", "gitlab_port_export", "sync", "--mapping", file, "--event", job.argument],
            input=job.stdin, env=process_environ(environ_for(gitlab, port)), cwd=tmp_path, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith("exit 0: done for a part: an event of GitLab")
        assert (port.store.entity("mr", str(row["id"])) or {})["title"] == "Second"
