"""The CI examples: each is run with a stand-in for docker, and must pass no secret on a command line."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitlab_port_export.settings import load_settings

ROOT = Path(__file__).parent.parent
CI = ROOT / "examples" / "ci"
NAMES = ("github-actions.yml", "gitlab-ci.yml", "azure-pipelines.yml", "Jenkinsfile")
HELD = 5  # an exit code of ours that a pipeline must not lose
VALUES = {
    "OCEAN__PORT__CLIENT_ID": "id-8c1f",
    "OCEAN__PORT__CLIENT_SECRET": "secret-2b7e",
    "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN": "token-f00d",
    "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": "https://gitlab.example.com",
}
# What each system starts for a script: Azure alone sets neither errexit nor pipefail.
SHELLS = {
    "github-actions.yml": ["bash", "-e", "-o", "pipefail"],
    "gitlab-ci.yml": ["bash", "-e", "-o", "pipefail"],
    "azure-pipelines.yml": ["bash"],
    "Jenkinsfile": ["sh", "-x", "-e"],
}
# Both write what they were started with beside them: the arguments, and the names that docker would hand on.
STAND_IN = f"""#!/bin/sh
printf '%s\\n' "$@" > "$STAND_IN_DIR/argv"
env > "$STAND_IN_DIR/env"
echo '{{"exit_code": {HELD}}}'
exit {HELD}
"""


def text_of(name: str) -> str:
    return (CI / name).read_text(encoding="utf-8")


def parsed(name: str) -> dict[Any, Any]:
    data = yaml.safe_load(text_of(name))
    assert isinstance(data, dict)
    return data


def sync_step(name: str) -> tuple[str, dict[str, str]]:
    """The script that syncs, and the environment that the file itself declares for it."""
    match name:
        case "github-actions.yml":
            step = parsed(name)["jobs"]["sync"]["steps"][0]
            return step["run"], step["env"]
        case "azure-pipelines.yml":
            step = parsed(name)["jobs"][0]["steps"][1]
            return step["script"], step["env"]
        case "gitlab-ci.yml":
            job = parsed(name)["gitlab-port-export"]
            return "\n".join(job["script"]), job["variables"]
        case _:
            text = text_of(name)
            script = re.search(r"\bsh '''(.*?)'''", text, re.DOTALL)
            assert script, "the script must be in single quotes, or Groovy fills in the secrets"
            bound = dict.fromkeys(re.findall(r"variable: '(\w+)'", text), "a credential")
            return script[1], bound | dict(re.findall(r"^ +(OCEAN__\w+) = '(.*)'", text, re.MULTILINE))


def ocean_names(name: str) -> set[str]:
    """The names that an example sets or passes; what stands in comments is advice, not use."""
    code = re.sub(r"(^|\s)(#|//\s).*", "", text_of(name))
    return set(re.findall(r"OCEAN__\w+", code))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_passes_its_exit_code_keeps_the_result_and_shows_no_secret(name: str, tmp_path: Path) -> None:
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for program in ("docker", "gitlab-port-export"):
        (stand_ins / program).write_text(STAND_IN, encoding="utf-8")
        (stand_ins / program).chmod(0o755)
    script, declared = sync_step(name)
    given = {key: VALUES[key] for key in declared if key in VALUES}
    if name == "gitlab-ci.yml":  # CI/CD variables reach the job by themselves
        given = VALUES

    done = subprocess.run(
        [*SHELLS[name], "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{stand_ins}:/usr/bin:/bin", "STAND_IN_DIR": str(stand_ins), **given},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == HELD
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == {"exit_code": HELD}
    argv = (stand_ins / "argv").read_text(encoding="utf-8").split()
    assert argv[-3:] == ["sync", "--output", "json"]
    seen = (stand_ins / "env").read_text(encoding="utf-8")
    reached = {argv[i + 1] for i, word in enumerate(argv) if word == "-e"} or set(VALUES)
    for key, value in VALUES.items():
        assert key in reached
        assert f"{key}={value}" in seen
        assert value not in " ".join(argv) + done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_written_into_a_script(name: str) -> None:
    script, _ = sync_step(name)
    assert not re.search(r"(-e|--env)[ =]+\w+=", text_of(name))
    assert "$" not in script  # neither the shell nor the CI system has anything to fill in


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_known_to_the_exporter(name: str) -> None:
    used = ocean_names(name)
    assert used
    values = {key: VALUES.get(key, "x") for key in used}
    settings = load_settings({**VALUES, **values}, dotenv=None)
    assert settings.warnings == ()


@pytest.mark.parametrize("name", NAMES)
def test_the_comment_on_top_names_the_three_secrets(name: str) -> None:
    top = re.match(r"(?:(?:#|//) .*\n)+", text_of(name))
    assert top
    for secret in ("client_id", "client_secret", "gitlab_token"):
        assert secret in top[0].lower().replace("-", "_")


@pytest.mark.parametrize("name", NAMES)
def test_the_image_is_this_version(name: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert re.findall(r"registry\.example\.com/\S+", text_of(name)) == [
        f"registry.example.com/gitlab-port-export:{version}"
    ]


def test_github_asks_for_no_permission_and_never_overlaps() -> None:
    workflow = parsed("github-actions.yml")
    assert workflow["permissions"] == {}
    assert workflow["concurrency"] == {"group": "gitlab-port-export", "cancel-in-progress": False}
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}  # YAML 1.1 reads the key `on` as true
    job = workflow["jobs"]["sync"]
    assert job["timeout-minutes"] == 30
    assert job["steps"][1]["if"] == "always()"
    assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", job["steps"][1]["uses"])


def test_gitlab_starts_a_shell_and_never_overlaps() -> None:
    job = parsed("gitlab-ci.yml")["gitlab-port-export"]
    assert job["image"]["entrypoint"] == [""]
    assert job["resource_group"]
    assert job["timeout"] == "30 minutes"
    assert job["artifacts"]["when"] == "always"
    assert {"if": '$CI_PIPELINE_SOURCE == "schedule"'} in job["rules"]
    assert not any("CLIENT" in key or "TOKEN" in key for key in job["variables"])


def test_azure_maps_each_secret_by_name_and_never_overlaps() -> None:
    pipeline = parsed("azure-pipelines.yml")
    assert pipeline["lockBehavior"] == "sequential"
    assert pipeline["schedules"][0]["batch"] is True
    job = pipeline["jobs"][0]
    assert job["timeoutInMinutes"] == 30
    assert job["steps"][2]["condition"] == "always()"
    _, env = sync_step("azure-pipelines.yml")
    assert [key for key, value in env.items() if re.fullmatch(r"\$\(\w+\)", value)] == list(VALUES)[:3]


def test_jenkins_binds_credentials_and_never_overlaps() -> None:
    text = text_of("Jenkinsfile")
    for wanted in ("withCredentials([", "disableConcurrentBuilds()", "timeout(time: 30, unit: 'MINUTES')"):
        assert wanted in text
    assert '"' not in text  # a Groovy string in double quotes would fill in $NAME
    assert text.count("{") == text.count("}")
