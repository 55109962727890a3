"""The CI bench: runs the scripts of a CI file as that system would, with native stand-ins for docker and pip."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from conftest import Bench
from testbed.harness import process_environ

ROOT = Path(__file__).parent.parent.parent
CI = ROOT / "examples" / "ci"
NODE = Path(os.environ.get("NODE_TOOLS", ROOT / "build" / "node")).resolve()
SECRETS = {
    "OCEAN__PORT__CLIENT_ID": "demo-client",
    "OCEAN__PORT__CLIENT_SECRET": "demo-secret",
    "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN": "demo-token-one",
}
TOKENS = tuple(SECRETS.values())[1:]
# The names by which the CI systems of the examples hold them.
NAMES = dict(zip(("PORT_CLIENT_ID", "PORT_CLIENT_SECRET", "GITLAB_TOKEN"), SECRETS.values(), strict=True))

# What docker would do with the command line, without a container: only what is passed reaches the program, paths are
# only there where they are mounted (under the same name), and an option that is not known here is refused.
DOCKER = """
FLAGS = {"--rm", "--init", "--read-only", "-i"}
VALUES = {"--tmpfs", "--user", "--platform", "-e", "--env-file", "-v", "-w"}
words, options = sys.argv[1:], []
assert words.pop(0) == "run"
while words and words[0].startswith("-"):
    word = words.pop(0)
    if word not in FLAGS | VALUES:
        sys.exit(f"docker: unknown flag: {word}")
    options.append((word, words.pop(0) if word in VALUES else ""))
image, *args = words
env = {"PATH": os.environ["PATH"], "HOME": "/tmp", "PYTHONUNBUFFERED": "1", "PYTHONPATH": PATHS}
mounts, cwd = [], tempfile.mkdtemp(dir=HERE)
for name, value in options:
    if name == "-e":
        if "=" not in value:
            value = f"{value}={os.environ[value]}" if value in os.environ else ""
        env.update([value.split("=", 1)] if value else [])
    elif name == "--env-file":
        lines = open(value).read().splitlines()
        env.update(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    elif name == "-v":
        outside, inside = value.split(":")
        assert outside == inside and os.path.isabs(outside), f"mounted elsewhere: {value}"
        assert os.path.exists(outside), f"docker would make a folder of {outside}"
        mounts.append(outside)
    elif name == "-w":
        cwd = value
for option, file in zip(args, args[1:]):
    path = os.path.join(cwd, file)
    if option.startswith("--report-") and not any(os.path.commonpath([one, path]) == one for one in mounts):
        sys.exit(f"{path} would stay inside of the container")
record({"image": image, "args": args, "options": options, "env": sorted(env), "mounts": mounts})
os.chdir(cwd)
os.execve(sys.executable, [sys.executable, "-m", "gitlab_port_export", *(args or ["sync"])], env)
"""
NATIVE = """
record({"args": sys.argv[1:], "env": sorted(os.environ)})
os.environ["PYTHONPATH"] = PATHS
os.execv(sys.executable, [sys.executable, "-m", "gitlab_port_export", *sys.argv[1:]])
"""
# A virtual environment that has the command already and whose pip installs nothing.
PYTHON = """
if sys.argv[1:4] != ["-I", "-m", "venv"]:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
record({"args": sys.argv[1:]})
folder = os.path.join(sys.argv[-1], "bin")
os.makedirs(folder, exist_ok=True)
for name in ("pip", "gitlab-port-export"):
    if not os.path.lexists(os.path.join(folder, name)):
        os.symlink(os.path.join(HERE, name), os.path.join(folder, name))
"""
PIP = """
record({"args": sys.argv[1:], "env": sorted(os.environ)})
"""
PROGRAMS = {"docker": DOCKER, "gitlab-port-export": NATIVE, "python3": PYTHON, "pip": PIP}


@dataclass(frozen=True)
class Ran:
    """How a script ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        """Both streams."""
        return self.out + self.err

    def unmasked(self) -> str:
        """Both streams without the lines that tell a CI system what to hide."""
        masks = ("::add-mask::", "##vso[task.setsecret]")
        return "\n".join(line for line in self.all.splitlines() if not line.startswith(masks))


@dataclass
class Machine:
    """A build machine: programs on its PATH, a working folder, and what the programs were called with."""

    bench: Bench
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.bin, self.work, self.temp):
            folder.mkdir()
        self.bin.chmod(0o755)
        paths = process_environ({}).get("PYTHONPATH", str(ROOT / "src"))
        for name, body in PROGRAMS.items():
            head = (
                f"#!{sys.executable}\nimport json, os, sys, tempfile\nHERE, PATHS = {str(self.bin)!r}, {paths!r}\n"
                f"def record(call):\n"
                f"    open({str(self.log)!r}, 'a').write(json.dumps({{'program': {name!r}, **call}}) + '\\n')\n"
            )
            self.program(name, head + body)

    @property
    def bin(self) -> Path:
        """Where the stand-ins of programs are."""
        return self.bench.folder / "bin"

    @property
    def work(self) -> Path:
        """The working folder of a job."""
        return self.bench.folder / "work"

    @property
    def temp(self) -> Path:
        """The job's folder for temporary files."""
        return self.bench.folder / "temp"

    @property
    def log(self) -> Path:
        """What the programs write down of their calls."""
        return self.bench.folder / "calls"

    def program(self, name: str, text: str) -> None:
        """Put a program on the PATH."""
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def text(self, file: Path) -> str:
        """A file with the addresses of the stand-ins in it."""
        text = file.read_text(encoding="utf-8")
        return text.replace("https://gitlab.example.com", self.bench.gitlab.url).replace(
            "https://api.getport.io", self.bench.port.url
        )

    def run(
        self, shell: Iterable[str], script: str, env: Mapping[str, str], cwd: Path | None = None, timeout: float = 60
    ) -> Ran:
        """Run a script as `shell FILE`, with nothing but `env` and the PATH."""
        file = self.temp / "script.sh"
        file.write_text(script, encoding="utf-8")
        path = {"PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin", "HOME": str(self.temp)}
        done = subprocess.run(
            [*shell, str(file)],
            cwd=cwd or self.work,
            env={**path, **env},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if self.log.exists():
            self.calls[:] = map(json.loads, self.log.read_text(encoding="utf-8").splitlines())
        return Ran(done.returncode, done.stdout, done.stderr)

    def called(self, program: str) -> list[dict[str, Any]]:
        """The calls of one program, in order."""
        return [call for call in self.calls if call["program"] == program]


# --- GitHub Actions


@dataclass
class GitHub:
    """What a job of GitHub Actions leaves: how each step ended, outputs, summary, kept files."""

    machine: Machine
    secrets: Mapping[str, str] = field(default_factory=lambda: NAMES)
    env: dict[str, str] = field(default_factory=dict)
    github: Mapping[str, str] = field(default_factory=dict)
    ran: Ran = field(default_factory=lambda: Ran(0, "", ""))
    kept: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for file in (self.outputs_file, self.summary_file):
            file.touch()

    @property
    def outputs_file(self) -> Path:
        return self.machine.temp / "output"

    @property
    def summary_file(self) -> Path:
        return self.machine.temp / "summary"

    @property
    def outputs(self) -> dict[str, str]:
        lines = self.outputs_file.read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def summary(self) -> str:
        return self.summary_file.read_text(encoding="utf-8")

    def job(self, steps: Iterable[dict[str, Any]], inputs: Mapping[str, str] | None = None) -> Ran:
        """Run the steps as the runner does: after one that failed only those that always run."""
        for step in steps:
            condition = str(step.get("if", "success()"))
            if self.ran.code and condition != "always()":
                continue
            if condition == "inputs.image == ''" and (inputs or {}).get("image"):
                continue
            if "run" in step:
                self._script(step, inputs or {})
            elif step["uses"].startswith("actions/upload-artifact@"):
                self._keep(step["with"]["path"])
        return self.ran

    def _script(self, step: dict[str, Any], inputs: Mapping[str, str]) -> None:
        assert "${{" not in step["run"], "an expression inside of a script becomes part of it"
        assert step["shell"] == "bash"
        runner = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(self.outputs_file),
            "GITHUB_STEP_SUMMARY": str(self.summary_file),
            "GITHUB_WORKSPACE": str(self.machine.work),
            "RUNNER_TEMP": str(self.machine.temp),
        }
        own = {name: self._value(str(value), inputs) for name, value in step.get("env", {}).items()}
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
        ran = self.machine.run(shell, step["run"], {**runner, **self.env, **own})
        self.ran = Ran(self.ran.code or ran.code, self.ran.out + ran.out, self.ran.err + ran.err)

    def _value(self, text: str, inputs: Mapping[str, str]) -> str:
        def known(found: re.Match[str]) -> str:
            match found[1].split("."):
                case ["secrets", name]:
                    return self.secrets.get(name, "")
                case ["inputs", name]:
                    return inputs.get(name, "")
                case ["github", "action_path"]:
                    return str(ROOT)
                case ["github", *names]:
                    return self.github[".".join(names)]
            raise AssertionError(f"not known here: {found[0]}")

        return re.sub(r"\$\{\{ *([\w.]+) *\}\}", known, text)

    def _keep(self, pattern: str) -> None:
        folder = self.machine.work / pattern
        self.kept += sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []


# --- Azure Pipelines


@dataclass
class Azure:
    """What a job of Azure Pipelines leaves."""

    machine: Machine
    secrets: Mapping[str, str] = field(default_factory=lambda: NAMES)
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def staging(self) -> Path:
        return self.machine.work / "staging"

    def job(self, steps: Iterable[dict[str, Any]]) -> Ran:
        """Run the scripts, after one that failed only those that run all the same; macros are replaced everywhere."""
        self.staging.mkdir(exist_ok=True)
        variables = {
            "Build.ArtifactStagingDirectory": str(self.staging),
            "Build.SourcesDirectory": str(self.machine.work),
            **self.secrets,
        }
        agent = {
            "TF_BUILD": "True",
            "BUILD_ARTIFACTSTAGINGDIRECTORY": str(self.staging),
            "AGENT_TEMPDIRECTORY": str(self.machine.temp),
            **self.env,
        }

        def value(text: str) -> str:
            return re.sub(r"\$\(([\w.]+)\)", lambda found: variables.get(found[1], found[0]), text)

        whole = Ran(0, "", "")
        for step in steps:
            if "script" in step and (whole.code == 0 or step.get("condition") == "succeededOrFailed()"):
                own = {name: value(text) for name, text in step.get("env", {}).items()}
                cwd = Path(value(step.get("workingDirectory", str(self.machine.work))))
                assert not [name for name in self.secrets if f"$({name})" in step["script"]]
                # Azure starts a script without errexit.
                ran = self.machine.run(["bash", "--noprofile", "--norc"], value(step["script"]), {**agent, **own}, cwd)
                whole = Ran(whole.code or ran.code, whole.out + ran.out, whole.err + ran.err)
        return whole


# --- Jenkins


def jenkins(machine: Machine, text: str, secrets: Mapping[str, str] = SECRETS, **more: str) -> Ran:
    """Run the one `sh` of a Jenkinsfile with the credentials and the environment that the file declares, and `more`."""
    (script,) = re.findall(r"\bsh '''(.*?)'''", text, re.DOTALL)
    assert '"""' not in text, "a Groovy string in double quotes would fill in $NAME"
    bound = {name: secrets[name] for name in re.findall(r"variable: '(\w+)'", text)}
    declared = dict(re.findall(r"^ +(OCEAN__\w+) = '(.*)'", text, re.MULTILINE))
    env = {"JENKINS_URL": "https://jenkins.example.com/", "WORKSPACE": str(machine.work), **declared, **bound, **more}
    return machine.run(["sh", "-xe"], script, env)


def stage_of(text: str, name: str) -> str:
    """The block of a stage of a Jenkinsfile, which is indented as its head is."""
    (found,) = re.findall(rf"^( +)stage\('{name}'\) {{\n(.*?)^\1}}\n", text, re.DOTALL | re.MULTILINE)
    return str(found[1])


def jenkins_stage(machine: Machine, text: str, name: str, secrets: Mapping[str, str], **more: str) -> Ran:
    """Run each `sh` of a stage with its own credentials; after one that failed only if `catchError` holds it."""
    bound = r"withCredentials\(\[([^]]*)\]\) {\s+(?://.*\s+)*"
    step = rf"(catchError\(.*\n\s+)?(?:{bound})?\bsh (?:'''((?s:.*?))'''|'(.*)')"
    declared = dict(re.findall(r"^        ([A-Z]\w+) = '(.*?)'", text, re.MULTILINE))
    whole = Ran(0, "", "")
    for held, credentials, script, line in re.findall(step, stage_of(text, name).partition("steps {")[2]):
        own = {one: secrets[one] for one in re.findall(r"variable: '(\w+)'", credentials)}
        env = {"JENKINS_URL": "https://jenkins.example.com/", **declared, **own, **more}
        ran = machine.run(["sh", "-xe"], script or line, env)
        whole = Ran(whole.code or ran.code, whole.out + ran.out, whole.err + ran.err)
        if ran.code and not held:
            break
    return whole


# --- GitLab CI

# What gitlab-ci-local needs besides node and git; it copies the working folder, which nothing here looks at.
RSYNC = "#!/bin/sh\nexit 0\n"


def gitlab(machine: Machine, text: str, job: str, secrets: Mapping[str, str] = SECRETS, **files: str) -> Ran:
    """Run a job with gitlab-ci-local's shell executor, in the machine's working folder."""
    machine.program("rsync", RSYNC)
    (machine.work / ".gitlab-ci.yml").write_text(text, encoding="utf-8")
    for name, content in files.items():
        path = machine.work / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    own = {
        "CI_SERVER_URL": machine.bench.gitlab.url,
        "CI_PIPELINE_SOURCE": "schedule",
        "CI_PROJECT_DIR": str(machine.work),
        "CI_JOB_URL": "https://gitlab.example.com/acme/catalog/-/jobs/7",
        "GITLAB_CI": "true",
    }
    given = " ".join(f"--variable '{name}={value}'" for name, value in own.items())
    script = f"""
        git init --quiet --initial-branch main .
        git add --all
        git -c user.email=ci@example.com -c user.name=ci commit --quiet --message all
        node {NODE}/node_modules/.bin/gitlab-ci-local --force-shell-executor --no-json-schema-validation {given} "{job}"
    """
    return machine.run(["bash", "-e"], script, {"GCL_IGNORE_PREDEFINED_VARS": ",".join(own), **secrets})


def steps_of(text: str) -> list[dict[str, Any]]:
    """The steps of the only job of a workflow or pipeline, or of a composite action."""
    data = yaml.safe_load(text)
    if "runs" in data:
        return list(data["runs"]["steps"])
    jobs = data["jobs"]
    (job,) = jobs.values() if isinstance(jobs, dict) else jobs
    return list(job["steps"])
