"""The files of examples/shards: each fits its system, and its jobs sync the stand-ins, also when a shard fails."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from conftest import Bench
from test_examples import as_json, check, no_secret
from testbed.ci_bed import NAMES, ROOT, SECRETS, Azure, GitHub, Machine, Ran

FILES = ROOT / "examples" / "shards"
SHARDS = ("1", "2", "3", "4")
WRONG = {"PORT_CLIENT_SECRET": "wrong-secret-of-port"}


@pytest.fixture
def machine(bench: Bench) -> Machine:
    return Machine(bench)


class System(Protocol):
    """Runs the jobs of a file as its system does; artifacts go from one job to the next."""

    def survey(self) -> Ran: ...

    def shard(self, number: str, attempt: int = 1, secrets: Mapping[str, str] = {}) -> Ran: ...

    def reconcile(self) -> Ran: ...

    @property
    def report(self) -> Path: ...


@dataclass
class Store:
    """A system's artifacts by name: what one job leaves another one takes. Each job begins with an empty folder."""

    machine: Machine
    kept: dict[str, Path] = field(default_factory=dict)

    def keep(self, name: str, path: Path) -> None:
        if path.is_dir() and any(path.iterdir()):
            assert name not in self.kept, f"an artifact {name} is there already"
            self.kept[name] = self.machine.bench.folder / "artifacts" / name
            shutil.copytree(path, self.kept[name])

    def take(self, name: str, into: Path) -> None:
        shutil.copytree(self.kept[name], into, dirs_exist_ok=True)

    def clean(self) -> None:
        for path in self.machine.work.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@dataclass
class OnGitHub:
    """GitHub Actions: `survey` may be run again as well, and then counts its attempts."""

    machine: Machine
    attempt: int = 1
    reconciled: int = 0

    def __post_init__(self) -> None:
        self.store = Store(self.machine)
        self.text = self.machine.text(FILES / "github-actions.yml")

    @property
    def report(self) -> Path:
        return self.machine.work / "report"

    def survey(self) -> Ran:
        return self.job("survey", {}, self.attempt)

    def shard(self, number: str, attempt: int = 1, secrets: Mapping[str, str] = {}) -> Ran:
        data = yaml.safe_load(self.text)["jobs"]["shard"]
        assert number in map(str, data["strategy"]["matrix"]["shard"])
        assert data["strategy"]["fail-fast"] is False
        return self.job("shard", {"matrix.shard": number}, attempt, secrets)

    def reconcile(self) -> Ran:
        data = yaml.safe_load(self.text)["jobs"]["reconcile"]
        assert data["needs"] == ["survey", "shard"]
        assert data["if"] == "${{ !cancelled() && needs.survey.result == 'success' }}"
        self.reconciled += 1
        return self.job("reconcile", {}, self.reconciled)

    def job(self, name: str, values: Mapping[str, str], attempt: int, secrets: Mapping[str, str] = {}) -> Ran:
        text = self.text
        known = {"needs.survey.outputs.attempt": str(self.attempt), "github.run_attempt": str(attempt), **values}
        for key, value in known.items():
            text = text.replace(f"${{{{ {key} }}}}", value)
        data = yaml.safe_load(text)
        steps = data["jobs"][name]["steps"]
        self.store.clean()
        for step in steps:
            if "download-artifact" in step.get("uses", ""):
                self.download(step["with"])
        job = GitHub(self.machine, secrets={**NAMES, **secrets}, env=data["env"])
        ran = job.job(steps)
        for step in steps:
            if "upload-artifact" in step.get("uses", "") and (ran.code == 0 or step.get("if") == "always()"):
                self.store.keep(step["with"]["name"], self.machine.work / step["with"]["path"])
        return ran

    def download(self, given: Mapping[str, Any]) -> None:
        into = self.machine.work / given["path"]
        if "name" in given:
            self.store.take(given["name"], into)
            return
        assert given["merge-multiple"] is True
        for name in self.store.kept:
            if name.startswith(given["pattern"].rstrip("*")):
                self.store.take(name, into)


@dataclass
class OnGitLab:
    """GitLab CI: a job that is run again replaces its artifacts."""

    machine: Machine

    def __post_init__(self) -> None:
        self.store = Store(self.machine)
        text = self.machine.text(FILES / "gitlab-ci.yml")
        self.jobs = yaml.safe_load(text)
        assert self.jobs["shard"]["parallel"] == len(SHARDS)

    @property
    def report(self) -> Path:
        return self.machine.work / "report"

    def survey(self) -> Ran:
        return self.job("survey", ())

    def shard(self, number: str, attempt: int = 1, secrets: Mapping[str, str] = {}) -> Ran:
        self.store.kept.pop(f"shard {number}", None)
        shutil.rmtree(self.machine.bench.folder / "artifacts" / f"shard {number}", ignore_errors=True)
        numbers = {"CI_NODE_INDEX": number, "CI_NODE_TOTAL": str(self.jobs["shard"]["parallel"])}
        own = dict(zip(("OCEAN__PORT__CLIENT_SECRET",), secrets.values(), strict=False))
        return self.job("shard", ("survey",), {**numbers, **own}, f"shard {number}")

    def reconcile(self) -> Ran:
        assert self.jobs["reconcile"]["needs"] == ["survey", "shard"]
        assert {rule["when"] for rule in self.jobs["reconcile"]["rules"]} == {"always"}
        return self.job("reconcile", tuple(self.store.kept))

    def job(self, name: str, takes: tuple[str, ...], more: Mapping[str, str] = {}, artifact: str = "") -> Ran:
        job, shared = self.jobs[name], self.jobs[".exporter"]
        assert job["extends"] == ".exporter"
        self.store.clean()
        for one in takes:
            self.store.take(one, self.machine.work)
        own = {"CI_SERVER_URL": self.machine.bench.gitlab.url, "GITLAB_CI": "true", "CI": "true"}
        own |= {
            key: value.replace("$CI_SERVER_URL", own["CI_SERVER_URL"]) for key, value in shared["variables"].items()
        }
        ran = self.machine.run(["bash", "-eo", "pipefail"], "\n".join(job["script"]), {**SECRETS, **own, **more})
        if name != "reconcile" and (ran.code == 0 or job["artifacts"].get("when") == "always"):
            kept = self.machine.bench.folder / "kept"
            shutil.rmtree(kept, ignore_errors=True)
            for pattern in job["artifacts"]["paths"]:
                for path in self.machine.work.glob(pattern.rstrip("/")):
                    target = kept / path.name
                    target.parent.mkdir(exist_ok=True)
                    shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
            self.store.keep(artifact or name, kept)
        return ran


@dataclass
class OnAzure:
    """Azure Pipelines: artifacts are downloaded into folders of their names."""

    machine: Machine

    def __post_init__(self) -> None:
        self.store = Store(self.machine)
        text = self.machine.text(FILES / "azure-pipelines.yml")
        self.data = yaml.safe_load(text)
        self.jobs = {job["job"]: job for job in self.data["jobs"]}

    @property
    def workspace(self) -> Path:
        return self.machine.bench.folder / "workspace"

    @property
    def report(self) -> Path:
        return self.machine.work / "staging"

    def survey(self) -> Ran:
        return self.job("survey", {})

    def shard(self, number: str, attempt: int = 1, secrets: Mapping[str, str] = {}) -> Ran:
        assert self.jobs["shard"]["strategy"]["parallel"] == len(SHARDS)
        return self.job("shard", {"System.JobPositionInPhase": number, "System.JobAttempt": str(attempt)}, secrets)

    def reconcile(self) -> Ran:
        job = self.jobs["reconcile"]
        assert job["dependsOn"] == ["survey", "shard"]
        assert job["condition"].startswith("and(not(canceled()), in(dependencies.survey.result, 'Succeeded'")
        return self.job("reconcile", {})

    def job(self, name: str, values: Mapping[str, str], secrets: Mapping[str, str] = {}) -> Ran:
        steps = self.jobs[name]["steps"]
        self.store.clean()
        shutil.rmtree(self.workspace, ignore_errors=True)
        self.workspace.mkdir()
        for step in steps:
            if "download" in step:
                for one in [step["artifact"]] if "artifact" in step else self.store.kept:
                    self.store.take(one, self.workspace / one)
        given = {"System.JobAttempt": "1", "System.TotalJobsInPhase": str(len(SHARDS)), **values}
        env = {key.replace(".", "_").upper(): value for key, value in given.items()}
        env |= {one["name"]: one["value"] for one in self.data["variables"] if "name" in one}
        job = Azure(self.machine, {**NAMES, **secrets}, {**env, "PIPELINE_WORKSPACE": str(self.workspace)})
        ran = job.job(steps)
        for step in steps:
            if "publish" in step and (ran.code == 0 or step.get("condition") == "always()"):
                artifact = re.sub(r"\$\(([\w.]+)\)", lambda found: given[found[1]], step["artifact"])
                path = Path(step["publish"].replace("$(Build.ArtifactStagingDirectory)", str(job.staging)))
                if name != "reconcile":
                    self.store.keep(artifact, path)
        return ran


@dataclass
class OnJenkins:
    """Jenkins: the `sh` steps one by one, in the order of the file; stashes are taken for files that stay."""

    machine: Machine

    def __post_init__(self) -> None:
        self.store = Store(self.machine)
        self.text = self.machine.text(FILES / "Jenkinsfile")
        assert f"values {', '.join(repr(one) for one in SHARDS)}" in self.text
        assert f"for (shard in [{', '.join(repr(one) for one in SHARDS)}])" in self.text
        self.scripts = re.findall(r"\bsh '''(.*?)'''", self.text, re.DOTALL)
        assert len(self.scripts) == 3

    @property
    def report(self) -> Path:
        return self.machine.work / "report"

    def survey(self) -> Ran:
        self.store.clean()
        ran = self.run(0, {})
        self.store.keep("survey", self.machine.work)
        return ran

    def shard(self, number: str, attempt: int = 1, secrets: Mapping[str, str] = {}) -> Ran:
        assert "catchError(buildResult: 'FAILURE', stageResult: 'FAILURE') {\n" in self.text
        self.store.clean()
        self.store.take("survey", self.machine.work)
        own = dict(zip(("OCEAN__PORT__CLIENT_SECRET",), secrets.values(), strict=False))
        ran = self.run(1, {"SHARD": number, **own})
        shutil.rmtree(self.machine.work / "survey")
        self.store.kept.pop(f"evidence-{number}", None)
        shutil.rmtree(self.machine.bench.folder / "artifacts" / f"evidence-{number}", ignore_errors=True)
        self.store.keep(f"evidence-{number}", self.machine.work)
        return ran

    def reconcile(self) -> Ran:
        self.store.clean()
        for name in ("evidence", "report"):
            (self.machine.work / name).mkdir()
        for name in self.store.kept:
            self.store.take(name, self.machine.work)
        return self.run(2, {})

    def run(self, number: int, more: Mapping[str, str]) -> Ran:
        declared = dict(re.findall(r"^        ([A-Z]\w+) = '(.*?)'", self.text, re.MULTILINE))
        return self.machine.run(["sh", "-xe"], self.scripts[number], {**SECRETS, **declared, **more})


SYSTEMS = {
    "github-actions.yml": OnGitHub,
    "gitlab-ci.yml": OnGitLab,
    "azure-pipelines.yml": OnAzure,
    "Jenkinsfile": OnJenkins,
}


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, machine: Machine) -> System:
    return SYSTEMS[request.param](machine)


def test_each_file_has_a_system() -> None:
    assert {path.name for path in FILES.iterdir()} == set(SYSTEMS)


def test_each_is_as_its_system_wants_it(tmp_path: Path) -> None:
    check("github-workflows", FILES / "github-actions.yml")
    check("gitlab-ci", FILES / "gitlab-ci.yml")
    azure: Any = yaml.load((FILES / "azure-pipelines.yml").read_text("utf-8"), Loader=yaml.BaseLoader)
    options = ("--regex-variant", "nonunicode", "--data-transform", "azure-pipelines")
    check("azure-pipelines", as_json(azure, tmp_path / "azure.json"), options=options)
    jenkins = (FILES / "Jenkinsfile").read_text("utf-8")
    assert jenkins.count("{") == jenkins.count("}")
    assert '"' not in re.sub(r"'''.*?'''|^//.*?$", "", jenkins, flags=re.DOTALL | re.MULTILINE)


def test_the_last_job_joins_what_the_others_left_and_names_the_red_ones(system: System, machine: Machine) -> None:
    ran = [system.survey(), system.shard("2"), system.shard("1", secrets=WRONG)]
    # On GitHub the whole story is told.
    whole = isinstance(system, OnGitHub)
    ran += map(system.shard, SHARDS[2:] if whole else ())
    assert [one.code for one in ran] == [0, 0, 4, 0, 0][: len(ran)], [one.all for one in ran]
    # The first shard may not sign in; the last job runs in every case.
    ran.append(system.reconcile())
    assert ran[-1].code == 1, ran[-1].all
    missing = [1] if whole else [1, 3, 4]
    assert [one["why"] for one in problems(system)] == [
        f"shard {number} left no evidence, so nothing is deleted" for number in missing
    ]
    if whole:
        ran += [system.shard("1", attempt=2), system.reconcile()]
        assert ran[-1].code == 0, ran[-1].all
        assert problems(system) == []
        assert len(machine.bench.held()["service"]) > 5
    for one in ran:
        no_secret(machine, one)
    closed = {("--rm", ""), ("--init", ""), ("--read-only", ""), ("--tmpfs", "/tmp")}
    for call in machine.called("docker"):
        assert closed <= {*map(tuple, call["options"])}
        assert not [value for name, value in call["options"] if name == "-e" and "=" in value]


def problems(system: System) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((system.report / "report.json").read_text("utf-8"))["problems"]
    return found


def test_a_workflow_that_is_run_again_as_a_whole_takes_nothing_of_the_first_attempt(machine: Machine) -> None:
    first = OnGitHub(machine)
    first.survey()
    first.shard("1")
    again = OnGitHub(machine, attempt=2)
    again.store.kept = first.store.kept
    assert again.survey().code == 0
    assert again.reconcile().code == 1
    assert "shard 1 left no evidence, so nothing is deleted" in [one["why"] for one in problems(again)]
