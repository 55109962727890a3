"""The image without a container engine: its build steps in a scratch folder, its command as a user without rights."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import Bench
from testbed.harness import process_environ

ROOT = Path(__file__).parent.parent
# A user namespace: the process has this number, no entry in /etc/passwd, no group, and no rights of root.
SOMEBODY = "54321"
AS_SOMEBODY = ("unshare", "--user", f"--map-user={SOMEBODY}", f"--map-group={SOMEBODY}")


def can_become_somebody() -> bool:
    """Whether this machine allows it."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run([*AS_SOMEBODY, "id", "-u"], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() == SOMEBODY


as_somebody = pytest.mark.skipif(not can_become_somebody(), reason="unshare cannot make a user namespace here")


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nobody without the rights of root may write."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    yield folder
    assert list(folder.iterdir()) == []


def run(command: list[str], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def become(env: Mapping[str, str], command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as somebody."""
    return run([*AS_SOMEBODY, *command], env, cwd)


@as_somebody
def test_somebody_may_not_write_there(closed: Path) -> None:
    assert become(os.environ, ["touch", "file"], closed).returncode == 1
    assert become(os.environ, ["whoami"], closed).returncode == 1


@as_somebody
@pytest.mark.parametrize("has_temp", [True, False], ids=["with /tmp", "without /tmp"])
def test_any_user_may_run_it_where_nothing_can_be_written(has_temp: bool, bench: Bench, closed: Path) -> None:
    nowhere = {} if has_temp else {"TMPDIR": str(closed)}
    env = process_environ(bench.environ()) | {"HOME": str(closed), "PYTHONDONTWRITEBYTECODE": "1", **nowhere}
    ran = become(env, [sys.executable, "-m", "gitlab_port_export"], closed)
    assert ran.returncode == 0, ran.stderr
    assert len(bench.held()["service"]) > 5


# --- the build


@dataclass
class Build:
    """A Dockerfile carried out in a folder that stands for the root of both stages."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def carry_out(self, text: str) -> None:
        """Do every instruction in order; those that only describe the image are passed over."""
        stages = 0
        lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
        for line in filter(None, map(str.strip, lines)):
            name, _, rest = line.partition(" ")
            match name:
                case "FROM":
                    stages += 1
                    self.env = {}
                case "ENV":
                    given = rest.replace("${PATH}", self.env.get("PATH", "/usr/local/bin:/usr/bin:/bin"))
                    self.env |= dict(one.split("=", 1) for one in shlex.split(given))
                case "WORKDIR":
                    self.cwd = rest
                    self.at(rest).mkdir(parents=True, exist_ok=True)
                case "COPY" if not rest.startswith("--from=build"):
                    self._copy(*rest.rsplit(" ", 1))
                case "RUN":
                    self._run(rest)
                case "USER":
                    self.user = rest
                case "ENTRYPOINT":
                    self.entrypoint = json.loads(rest)
                case "CMD":
                    self.command = json.loads(rest)
                case "COPY" | "ARG" | "LABEL":
                    pass
                case _:
                    raise AssertionError(f"not known here: {line}")
        assert stages == 2

    def at(self, path: str) -> Path:
        """Where an absolute path of the image is."""
        return self.root / path.lstrip("/")

    def outside(self, text: str) -> str:
        """The text with the image's paths as they are here."""
        return re.sub(r"(?<![\w/.])/(?=opt/|build)", f"{self.root}/", text)

    def _copy(self, sources: str, target: str) -> None:
        for source in sources.split():
            place = self.at(self.cwd) / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (place if target.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)

    def _run(self, script: str) -> None:
        programs = self.at("/programs")
        programs.mkdir(exist_ok=True)
        if not (programs / "python").exists():
            (programs / "python").symlink_to(sys.executable)
        kept = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "HTTP", "NO_PROXY"))}
        subprocess.run(
            ["sh", "-ec", self.outside(script)],
            cwd=self.at(self.cwd),
            env={**kept, **self.env, "PATH": f"{programs}:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")},
            check=True,
            timeout=300,
        )


@pytest.mark.timeout(600)
@pytest.mark.skipif(not os.environ.get("IMAGE_STEPS"), reason="downloads what the image installs: set IMAGE_STEPS=1")
def test_the_build_steps_make_an_image_that_syncs(bench: Bench, closed: Path, tmp_path: Path) -> None:
    build = Build(tmp_path / "image")
    build.root.mkdir()
    build.carry_out((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    env = bench.environ() | {name: build.outside(text) for name, text in build.env.items()} | {"HOME": str(closed)}
    program = shutil.which(build.entrypoint[0], path=env["PATH"])
    assert program is not None
    assert program.startswith(str(build.root))

    # As oneself where this machine knows nobody else.
    who = AS_SOMEBODY if can_become_somebody() else ()
    ran = run([*who, program, *build.command], env, closed)
    assert ran.returncode == 0, ran.stderr
    assert len(bench.held()["service"]) > 5
    # Compiled beforehand, as nobody can do it later.
    compiled = list(build.at("/opt/venv").glob("lib/*/site-packages/gitlab_port_export/__pycache__/cli.*.pyc"))
    assert len(compiled) == 1
    assert shutil.which("pip", path=str(build.at("/opt/venv/bin"))) is None
    pip = [str(build.at("/build/tools/bin/pip")), "--python", str(build.at("/opt/venv/bin/python"))]
    checked = run([*pip, "check"], process_environ({}), tmp_path)
    assert checked.returncode == 0, checked.stdout
