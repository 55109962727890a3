"""The files of examples/live: each fits its system, shows no secret, and hands on enough of every event."""

import json
from typing import Any

import pytest
import yaml

from gitlab_port_export.demo.gitlab_hooks import _filled
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.world import DEVELOPER, Row
from gitlab_port_export.live.events import read_events
from test_examples import as_json, check
from testbed.ci_bed import ROOT
from testbed.harness import acme

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
