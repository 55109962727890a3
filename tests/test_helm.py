"""The Helm chart: its values, its schema and what it makes of them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gitlab_port_export.settings.sources import read_environ
from gitlab_port_export.settings.variables import unknown
from testbed.ci_bed import CI, ROOT

CHART = ROOT / "examples" / "helm" / "gitlab-port-export"
TEMPLATES = sorted((CHART / "templates").iterdir())
SECRETS = {"port": {"clientId": "an-id", "clientSecret": "a-secret"}, "integration": {"secrets": {"gitlabToken": "t"}}}
with_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")


def values() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))


def schema() -> Any:
    return json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def value_of(path: str) -> Any:
    """The value of `a.b.c`; a KeyError if it is not declared."""
    found: Any = values()
    for name in path.split("."):
        found = found[name]
    return found


def leaves(declared: dict[str, Any], before: str = "") -> list[str]:
    """The paths that templates read: an object that the schema leaves open is one."""
    found = []
    for name, one in declared["properties"].items():
        found += leaves(one, f"{before}{name}.") if "properties" in one else [before + name]
    return found


def used() -> set[str]:
    """The paths of all values that templates name."""
    return {path for file in TEMPLATES for path in re.findall(r"\.Values\.([\w.]+)", file.read_text(encoding="utf-8"))}


def filled(text: str) -> Any:
    """A template with its default values, as far as that goes without helm: other actions are x."""

    def block(found: re.Match[str]) -> str:
        indent = " " * int(found[2])
        return "".join(f"{indent}{line}\n" for line in yaml.safe_dump(value_of(found[1])).splitlines())

    text = re.sub(r"^ *\{\{- toYaml \.Values\.([\w.]+) \| nindent (\d+) }}\n", block, text, flags=re.MULTILINE)
    text = re.sub(r"^ *(?:- )?\{\{-? .*}}\n", "", text, flags=re.MULTILINE)
    return yaml.safe_load(re.sub(r"\{\{.*?}}", "x", text))


def test_every_value_of_a_template_is_declared_and_every_declared_one_is_used() -> None:
    for path in used():
        value_of(path)
    assert set(leaves(schema())) - {"global"} == used()
    with pytest.raises(KeyError):
        value_of("port.clientSekret")


def test_the_schema_takes_the_defaults_and_refuses_a_misspelt_name_and_minutes() -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    jsonschema.validate(values(), schema())
    for wrong in (
        {"port": {"clientid": "x"}},
        {"schedule": "17 * * * *"},
        {"scheduledResyncInterval": 60},
        {"scheduledResyncInterval": "hourly"},
        {"integration": {"type": "github"}},
        {"workload": {"cron": {"resyncTimeoutMinutes": 5}}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema())
    jsonschema.validate({"integration": {"config": {"anything": [1]}, "secrets": {"gitlabToken": "x"}}}, schema())


def test_the_pod_is_as_closed_as_that_of_the_plain_cron_job() -> None:
    ours = filled((CHART / "templates" / "cronjob.yaml").read_text(encoding="utf-8"))
    plain = yaml.safe_load((CI / "kubernetes-cronjob.yaml").read_text(encoding="utf-8"))
    same = ("concurrencyPolicy", "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    assert [ours["spec"][key] for key in same] == [plain["spec"][key] for key in same]
    assert ours["spec"]["concurrencyPolicy"] == "Forbid"
    ours, plain = (one["spec"]["jobTemplate"]["spec"] for one in (ours, plain))
    assert (ours["backoffLimit"], ours["ttlSecondsAfterFinished"]) == (
        plain["backoffLimit"],
        plain["ttlSecondsAfterFinished"],
    )
    ours, plain = (one["template"]["spec"] for one in (ours, plain))
    for key in ("restartPolicy", "automountServiceAccountToken", "securityContext"):
        assert ours[key] == plain[key]
    (ours,), (plain,) = ours["containers"], plain["containers"]
    for key in ("securityContext", "resources", "terminationMessagePolicy"):
        assert ours[key] == plain[key]
    assert ours["securityContext"]["readOnlyRootFilesystem"] is True
    assert plain["volumeMounts"][0] in ours["volumeMounts"]


def test_secrets_reach_the_pod_from_a_secret_alone() -> None:
    cron = (CHART / "templates" / "cronjob.yaml").read_text(encoding="utf-8")
    assert not re.search(r"clientId|clientSecret|integration\.secrets", cron)
    assert "secretRef" in cron
    text = "".join(file.read_text(encoding="utf-8") for file in TEMPLATES)
    names = {*re.findall(r"OCEAN__\w+[A-Z]\b", text), "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN"}
    assert list(unknown(read_environ(dict.fromkeys(names, "{}")))) == []


def test_the_chart_has_the_version_of_the_program() -> None:
    version = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[0]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["appVersion"], chart["name"]) == (version, CHART.name)
    assert f":{version}" in (CHART / "values.yaml").read_text(encoding="utf-8")


@with_helm
@pytest.mark.parametrize(
    "more", [{}, {"mapping": "resources: []\n"}, {"secret": {"create": False, "name": "mine"}}], ids=str
)
def test_helm_renders_the_chart(more: dict[str, Any], tmp_path: Path) -> None:
    given = tmp_path / "values.yaml"
    given.write_text(yaml.safe_dump({**SECRETS, **more}), encoding="utf-8")
    for command in (("lint", "--strict", str(CHART)), ("template", "a", str(CHART))):
        done = subprocess.run(
            ["helm", *command, "-f", str(given)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    made = {one["kind"]: one for one in yaml.safe_load_all(done.stdout) if one}
    pod = made["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert ("Secret" in made) == ("secret" not in more)
    assert ("ConfigMap" in made) == ("mapping" in more)
    assert ("--mapping" in pod["args"]) == ("mapping" in more)
    env = {one["name"]: one["value"] for one in pod["env"]}
    assert env["OCEAN__INTEGRATION__CONFIG__GITLAB_HOST"] == "https://gitlab.example.com"
    assert "a-secret" not in json.dumps(pod)
