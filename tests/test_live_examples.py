"""The files of examples/live: each fits its system, shows no secret, and hands on enough of every event."""

import json
from typing import Any

import pytest
import yaml

from conftest import Bench
from gitlab_port_export.demo.gitlab_hooks import Hook, filled, send
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.world import DEVELOPER, Row
from gitlab_port_export.live.events import read_events
from test_examples import as_json, check
from testbed.ci_bed import ROOT, SECRETS, TOKENS, Azure, GitHub, Machine, Ran, jenkins, steps_of
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


@pytest.mark.parametrize("name", ["payload.json", "payload-with-names.json", "github-payload.json"])
@pytest.mark.parametrize("kind", list(payloads()))
def test_the_template_says_as_much_as_the_payload(name: str, kind: str) -> None:
    if name == "payload.json" and kind in ("release", "push", "tag"):
        pytest.skip("what goes by a name is left out on purpose")
    payload = payloads()[kind]
    sent = filled((LIVE / name).read_text("utf-8"), payload)

    def named(text: str) -> list[Any]:
        return [(one.what, one.project, one.group, one.key, one.gone) for one in read_events(text, "x").touched]

    assert named(sent) == named(json.dumps(payload))
    assert "quote" not in sent
    assert "$(" not in sent


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


# --- the jobs themselves, as each system runs them


def hostile(bench: Bench, size: int = 0) -> tuple[Row, Row]:
    """A merge request whose texts attack whoever puts a payload into a script, and the payload of its change."""
    project = bench.world.project("platform/gateway")
    row = bench.world.merge_requests[project["id"]][0]
    row |= {
        "title": """'; echo "$OCEAN__PORT__CLIENT_SECRET"; `id` $(PORT_CLIENT_SECRET) ${{ secrets.X }} $HOME \\""",
        "description": "x" * size,
        "updated_at": stamp(bench.world.now),
    }
    bench.world.touch()
    return row, Shapes(bench.world).merge_request(row, bench.world.users[1])


def start_job(system: str, machine: Machine, payload: Row, *, templated: bool = True) -> Ran:
    """The job that the hook of an example starts for a payload, in the shell and environment of that system."""
    text = machine.text(LIVE / system)
    if system == "gitlab-ci.yml":
        # GitLab puts what its trigger was asked for over the payload.
        sent = filled((LIVE / TEMPLATES[system]).read_text("utf-8"), payload) if templated else json.dumps(payload)
        file = machine.temp / "TRIGGER_PAYLOAD"
        file.write_text(json.dumps(json.loads(sent) | {"id": "42", "ref": "main", "variables": {}}), "utf-8")
        (line,) = yaml.safe_load(text)["event"]["script"]
        own = {"OCEAN__PORT__BASE_URL": machine.bench.port.url, "TRIGGER_PAYLOAD": str(file)}
        own["OCEAN__INTEGRATION__CONFIG__GITLAB_HOST"] = machine.bench.gitlab.url
        return machine.run(["bash", "-eo", "pipefail"], line, {**SECRETS, **own})
    sent = filled((LIVE / TEMPLATES[system]).read_text("utf-8"), payload)
    if system == "Jenkinsfile":
        return jenkins(machine, text, PAYLOAD=sent)
    steps = steps_of(text)
    if system == "github-actions.yml":
        steps[-1]["env"]["PAYLOAD"] = json.dumps(json.loads(sent)["client_payload"], indent=2)
        return GitHub(machine).job(steps)
    steps[-1]["env"]["PAYLOAD"] = json.dumps(json.loads(sent), indent=2)
    return Azure(machine).job(steps)


SYSTEMS = ("gitlab-ci.yml", "github-actions.yml", "azure-pipelines.yml", "Jenkinsfile")
# Those that the first lines of each file name.
TEMPLATES = {
    "gitlab-ci.yml": "payload-with-names.json",
    "github-actions.yml": "github-payload.json",
    "azure-pipelines.yml": "payload.json",
    "Jenkinsfile": "payload-with-names.json",
}


@pytest.mark.parametrize(("system", "templated"), [*((one, True) for one in SYSTEMS), ("gitlab-ci.yml", False)])
def test_the_job_of_an_event_brings_port_up_to_date(system: str, templated: bool, bench: Bench) -> None:
    """Also for a payload of 3 MiB, with texts that would be run if they became part of a script."""
    bench.sync_an_hour_ago()
    machine = Machine(bench)
    row, payload = hostile(bench, size=3 * 1024 * 1024)
    assert f"--template examples/live/{TEMPLATES[system]} " in (LIVE / system).read_text("utf-8")
    ran = start_job(system, machine, payload, templated=templated)
    assert ran.code == 0, ran.all
    assert ran.out.splitlines()[-1].startswith("exit 0: done for a part: an event of GitLab")
    assert (bench.store.entity("gitlabMergeRequest", str(row["id"])) or {})["title"] == row["title"]
    shown = ran.unmasked() + json.dumps(machine.calls)
    assert [secret for secret in TOKENS if secret in shown] == []


@pytest.mark.parametrize("name", sorted(set(TEMPLATES.values())))
def test_what_a_template_makes_fits_into_every_system(name: str) -> None:
    """An environment variable has room for 128 KiB, and GitHub takes 64 KiB, however long the names and texts are."""
    world, ann, group = acme()
    project = world.add_project(group, "web")
    project |= {"path_with_namespace": "/".join(["g" * 250] * 20), "default_branch": "b" * 250}
    payload = Shapes(world).push(project, ann, "b" * 250, added=["file" * 60] * 5000)
    payload["object_attributes"] = {"description": "x" * 2**20, "title": "t" * 255}
    sent = filled((LIVE / name).read_text("utf-8"), payload)
    assert len(sent.encode()) < 20_000
    assert json.loads(sent)


def test_a_name_that_breaks_a_template_is_not_sent_and_counts_as_a_failure(bench: Bench) -> None:
    """As GitLab does; the page says so."""
    hooks = bench.gitlab.hooks
    template = (LIVE / "payload-with-names.json").read_text("utf-8")
    hook = Hook(1, "group", 1, {"url": f"{bench.port.url}/ingest/x", "custom_webhook_template": template})
    bench.port.requests.clear()
    project = bench.world.project("platform/gateway")
    assert send(hooks, hook, Shapes(bench.world).push(project, bench.world.users[1], 'a"b')) == 0
    assert (hook.failures, bench.port.requests) == (1, [])
