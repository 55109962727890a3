"""The files of examples/actions: Port takes the actions, and the job of each CI system carries out their runs."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gitlab_port_export.access.inputs import NAMES as INPUTS
from gitlab_port_export.access.run import ACTIONS as COMMANDS
from gitlab_port_export.access.run import verb_of
from gitlab_port_export.demo.world import DEVELOPER
from gitlab_port_export.port.defaults import default_blueprints
from test_examples import as_json, check
from testbed.access_bed import SECRET
from testbed.action_bed import ACTIONS, DEFAULTS, EXAMPLES, READER, ActionBed, action_bed, definition
from testbed.ci_bed import Azure, GitHub, Machine, Ran, jenkins, steps_of

SCHEMA = yaml.safe_load((Path(__file__).parent / "data" / "port_actions.yml").read_text("utf-8"))
SYSTEMS = ("gitlab", "gitlab-agent", "github", "azure", "jenkins")
FILES = ("gitlab-ci.yml", "github-actions.yml", "azure-pipelines.yml", "Jenkinsfile")
PORT = {"OCEAN__PORT__CLIENT_ID": "demo-client", "OCEAN__PORT__CLIENT_SECRET": "demo-secret"}
SECRETS = {
    **PORT,
    "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN": READER,
    "OCEAN__EXPORT__GITLAB_WRITE_TOKEN": SECRET,
}
NAMED = dict(
    zip(("PORT_CLIENT_ID", "PORT_CLIENT_SECRET", "GITLAB_TOKEN", "GITLAB_WRITE_TOKEN"), SECRETS.values(), strict=True)
)


# The actions


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_port_takes_each_action_for_each_system(name: str, system: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(definition(name, system))


@pytest.mark.parametrize("name", ACTIONS)
def test_a_form_asks_for_what_the_command_knows_and_its_runs_are_not_public(name: str) -> None:
    found = json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))
    inputs = found["trigger"]["userInputs"]
    assert set(inputs["properties"]) <= set(INPUTS)
    assert set(inputs["required"]) <= set(inputs["order"]) == set(inputs["properties"])
    assert (found["publish"], found["allowAnyoneToViewRuns"]) == (True, False)
    assert verb_of(found["identifier"]) in COMMANDS.values()
    # Nobody takes access away, and nobody becomes an owner, without a second person.
    roles = inputs["properties"].get("role", {}).get("enum", [])
    assert found["requiredApproval"] is (not roles)
    assert "owner" not in roles


def test_every_file_is_told_of_and_every_action_starts_from_a_blueprint_that_ships() -> None:
    page = (EXAMPLES.parents[1] / "docs" / "actions.md").read_text("utf-8")
    assert [file.name for file in EXAMPLES.iterdir() if f"actions/{file.name})" not in page] == []
    known = {one["identifier"]: one for one in default_blueprints()}
    known |= {
        one["identifier"]: one for one in json.loads(DEFAULTS.joinpath("people-blueprints.json").read_text("utf-8"))
    }
    for name in ACTIONS:
        trigger = definition(name)["trigger"]
        blueprint = known[trigger["blueprintIdentifier"]]
        for rule in trigger.get("condition", {}).get("rules", ()):
            assert rule["value"] in blueprint["schema"]["properties"][rule["property"]]["enum"]
        formats = trigger["userInputs"]["properties"].values()
        assert {one["blueprint"] for one in formats if one.get("format") == "entity"} <= set(known)


def test_the_id_of_the_run_is_all_that_any_system_is_sent() -> None:
    for method in json.loads((EXAMPLES / "invocations.json").read_text("utf-8")).values():
        (payload,) = [
            method[key] for key in ("body", "workflowInputs", "payload", "pipelineVariables") if key in method
        ]
        assert list(payload.values()) == ["{{ .run.id }}"]


# The CI files


def test_each_is_as_its_system_wants_it(tmp_path: Path) -> None:
    check("gitlab-ci", EXAMPLES / "gitlab-ci.yml")
    # Newer than the schema: https://github.blog/changelog/2026-05-07-github-actions-concurrency-groups-now-allow-larger-queues
    older = (EXAMPLES / "github-actions.yml").read_text("utf-8").replace("  queue: max\n", "")
    file = tmp_path / "github.yml"
    file.write_text(older, "utf-8")
    check("github-workflows", file)
    azure = yaml.load((EXAMPLES / "azure-pipelines.yml").read_text("utf-8"), Loader=yaml.BaseLoader)
    options = ("--regex-variant", "nonunicode", "--data-transform", "azure-pipelines")
    check("azure-pipelines", as_json(azure, tmp_path / "azure.json"), options=options)


@pytest.mark.parametrize("name", FILES)
def test_the_id_is_never_part_of_a_script(name: str) -> None:
    text = (EXAMPLES / name).read_text("utf-8")
    assert "access run" in text
    for line in text.splitlines():
        if "${{" in line:
            assert re.match(r"\s+OCEAN__\w+: \$\{\{ [\w.]+ \}\}$", line), line


@pytest.mark.parametrize("name", FILES)
def test_limits_stand_in_the_file_and_one_job_runs_at_a_time(name: str) -> None:
    text = (EXAMPLES / name).read_text("utf-8")
    for part in ("OCEAN__EXPORT__WRITE_SCOPES", "OCEAN__EXPORT__MAX_ROLE", "--deadline"):
        assert part in text
    assert any(part in text for part in ("resource_group:", "queue: max", "lockBehavior:", "disableConcurrentBuilds()"))
    assert "--allow" not in text


def on_gitlab(machine: Machine, text: str, payload: Any, system: str) -> Ran:
    """Run the job as GitLab's runner does, in a pipeline that a trigger token started on a protected branch."""
    job = yaml.safe_load(text)["access"]
    file = machine.temp / "TRIGGER_PAYLOAD"
    file.write_text(json.dumps(payload), "utf-8")
    own = {
        "CI_SERVER_URL": machine.bench.gitlab.url,
        "CI_JOB_URL": "https://gitlab.example.com/-/jobs/7",
        "GITLAB_CI": "true",
    }
    given = payload if system == "gitlab-agent" else {"TRIGGER_PAYLOAD": str(file)}
    declared = {
        name: str(value).replace("$CI_SERVER_URL", own["CI_SERVER_URL"]) for name, value in job["variables"].items()
    }
    return machine.run(["bash", "-eo", "pipefail"], "\n".join(job["script"]), {**own, **declared, **given, **SECRETS})


def on_github(machine: Machine, text: str, payload: Any, _: str) -> Ran:
    return GitHub(machine, secrets=NAMED).job(steps_of(text), payload)


def on_azure(machine: Machine, text: str, payload: Any, _: str) -> Ran:
    """Azure fills in what a webhook sends in the values of the file, before it looks for $(NAME)."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        if not isinstance(value, str):
            return value
        return re.sub(r"\$\{\{ parameters\.access\.(\w+) \}\}", lambda found: str(payload[found[1]]), value)

    return Azure(machine, secrets=NAMED).job([filled(step) for step in steps_of(text)])


def on_jenkins(machine: Machine, text: str, payload: Any, _: str) -> Ran:
    (path,) = re.findall(r"key: 'PORT_RUN_ID', value: '\$\.(\w+)'", text)
    # What the trigger plugin puts into the environment of the build.
    machine.program("docker-env", "")
    with_id = text.replace("sh '''", f"sh '''\nPORT_RUN_ID='{payload[path]}'")
    return jenkins(machine, with_id, SECRETS)


JOBS: dict[str, tuple[str, Callable[[Machine, str, Any, str], Ran]]] = {
    "gitlab": ("gitlab-ci.yml", on_gitlab),
    "gitlab-agent": ("gitlab-ci.yml", on_gitlab),
    "github": ("github-actions.yml", on_github),
    "azure": ("azure-pipelines.yml", on_azure),
    "jenkins": ("Jenkinsfile", on_jenkins),
}


@pytest.fixture
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ActionBed]:
    with action_bed(tmp_path, request.param) as found:
        yield found


def job(bed: ActionBed, machine: Machine, system: str, number: str) -> Ran:
    """Run the job that Port starts for a run."""
    file, on_system = JOBS[system]
    sent = [(kind, payload) for one, kind, payload in bed.store.runs.sent if one == number]
    assert len(sent) == 1
    text = machine.text(EXAMPLES / file).replace("my-group,my-group/**", "acme,acme/**")
    return on_system(machine, text, sent[0][1], system)


@pytest.mark.parametrize(("bed", "system"), [(one, one) for one in SYSTEMS], indirect=["bed"])
def test_the_job_carries_out_the_run_and_the_run_shows_it(bed: ActionBed, system: str) -> None:
    machine = Machine(bed.bench)
    number = bed.grant()
    ran = job(bed, machine, system, number)
    assert ran.code == 0, ran.all
    assert bed.access.role("kim") == DEVELOPER
    page = bed.page(number)
    assert (page["status"], page["statusLabel"]) == ("SUCCESS", "Granted: Developer")
    assert "`kim`" in page["summary"]
    assert [key for key in bed.entities() if key.endswith("-kim")]
    assert bed.left_to_do() == []
    shown = ran.unmasked() + str(bed.told()) + json.dumps(machine.calls)
    assert [secret for secret in (SECRET, READER, "demo-secret") if secret in shown] == []


@pytest.mark.parametrize("bed", ["gitlab"], indirect=True)
def test_a_pipeline_variable_does_not_raise_the_limits(bed: ActionBed) -> None:
    """Whoever has the trigger token may set any: https://gitlab.com/gitlab-org/gitlab/-/issues/416619"""
    machine = Machine(bed.bench)
    text = machine.text(EXAMPLES / "gitlab-ci.yml").replace("my-group,my-group/**", "acme/apps")
    number = bed.grant()
    bent = {"PORT_RUN_ID": number, "OCEAN__EXPORT__WRITE_SCOPES": "**", "OCEAN__EXPORT__MAX_ROLE": "owner"}
    ran = on_gitlab(machine, text, bent, "gitlab-agent")
    assert (ran.code, bed.access.writes()) == (6, []), ran.all


# The second one holds all that a shell would act on.
HOSTILE = ("$(GITLAB_WRITE_TOKEN)", '"; id #$(touch here)`touch there`\nOCEAN__EXPORT__MAX_ROLE=owner')


@pytest.mark.parametrize(
    ("bed", "system"), [("github", "github"), ("azure", "azure"), ("gitlab", "gitlab")], indirect=["bed"]
)
def test_an_id_that_somebody_made_up_is_only_refused(bed: ActionBed, system: str) -> None:
    file, on_system = JOBS[system]
    machine = Machine(bed.bench)
    text = machine.text(EXAMPLES / file).replace("my-group,my-group/**", "acme,acme/**")
    for made_up in HOSTILE if system == "azure" else HOSTILE[1:]:
        ran = on_system(machine, text, {"run_id": made_up}, system)
        assert ran.code == 2, ran.all
        assert re.search(r"no id of|is a \$\(NAME\)|holds a secret", ran.all)
        assert SECRET not in ran.unmasked()
    assert (bed.access.writes(), list(machine.work.iterdir())) == ([], list(machine.work.glob("staging")))
    assert [one.path for one in bed.bench.port.requests if SECRET in one.path] == []
