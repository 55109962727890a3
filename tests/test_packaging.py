"""Packaging: pins with hashes for everything declared, an image that is not root, a command that exists."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import EntryPoint, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LISTS = ("constraints.txt", "build.txt", "dev.txt", "docs.txt")
# Compiled packages: one hash would mean that only one platform can install them.
COMPILED = ("jq", "pydantic-core", "pyyaml", "charset-normalizer")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def declared(name: str) -> list[Requirement]:
    """What pyproject.toml asks for, of the part that one list pins."""
    data = project()
    asked = {
        "constraints.txt": data["project"]["dependencies"],
        "build.txt": data["build-system"]["requires"],
        "dev.txt": data["dependency-groups"]["dev"],
        "docs.txt": data["dependency-groups"]["docs"],
    }
    return [Requirement(line) for line in asked[name]]


def lines_of(name: str) -> list[str]:
    """The requirements of one list, each with its hashes on one line, without comments."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def pins(name: str) -> dict[str, str]:
    return {line.split("==")[0]: line.split("==")[1].split()[0] for line in lines_of(name)}


def docker(instruction: str) -> list[str]:
    """The arguments of every such instruction in the Dockerfile, in order."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"^{instruction} +(.*)", text, re.MULTILINE)


@pytest.mark.parametrize("name", LISTS)
def test_everything_declared_is_pinned_to_a_version_that_it_allows(name: str) -> None:
    pinned = pins(name)
    for wanted in declared(name):
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), wanted


def test_everything_that_the_runtime_pulls_in_is_pinned() -> None:
    pinned = pins("constraints.txt")
    for package in pinned:
        for wanted in map(Requirement, requires(package) or ()):
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                assert canonicalize_name(wanted.name) in pinned, f"{package} needs {wanted}"


@pytest.mark.parametrize("name", LISTS)
def test_every_pin_is_exact_with_hashes_and_from_nowhere_in_particular(name: str) -> None:
    for line in lines_of(name):
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( +--hash=sha256:[0-9a-f]{64})+ *", line), line
    assert "://" not in (ROOT / "requirements" / name).read_text(encoding="utf-8")


def test_compiled_packages_have_hashes_for_every_platform() -> None:
    hashes = {line.split("==")[0]: line.count("--hash=") for line in lines_of("constraints.txt")}
    for package in COMPILED:
        assert hashes[package] > 20, package


def test_the_lists_agree_on_what_they_share() -> None:
    together: dict[str, str] = {}
    for name in LISTS:
        for package, version in pins(name).items():
            assert together.setdefault(package, version) == version, package


def test_the_image_starts_the_command_itself_and_syncs_without_arguments() -> None:
    assert [json.loads(given) for given in docker("ENTRYPOINT")] == [list(project()["project"]["scripts"])]
    assert [json.loads(given) for given in docker("CMD")] == [["sync"]]


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    # A number, since Kubernetes cannot tell for a name that it is not root (runAsNonRoot).
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", docker("USER")[-1])
    assert "HOME=/tmp" in docker("ENV")[-1]


def test_the_image_installs_nothing_without_a_hash() -> None:
    installs = [part for run in docker("RUN") for part in run.split("&&") if " install " in part]
    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-deps --no-index dist/" in install, install


def test_the_build_context_holds_what_the_image_copies_and_no_more() -> None:
    context = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {
        source.split("/")[0] for copy in docker("COPY") if not copy.startswith("--from") for source in copy.split()[:-1]
    }
    assert "*" in context
    assert {line.removeprefix("!") for line in context if line.startswith("!")} == copied


def test_the_command_resolves() -> None:
    if importlib.util.find_spec("gitlab_port_export.cli") is None:
        pytest.skip("there is no gitlab_port_export.cli")
    for name, value in project()["project"]["scripts"].items():
        assert callable(EntryPoint(name, value, "console_scripts").load())


def test_the_changelog_knows_this_version() -> None:
    version = project()["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_ci_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert {"make lint", "make test"} <= set(script.read_text(encoding="utf-8").splitlines())


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_check_runs_every_tool() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--directory", str(ROOT), "check"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    for tool in ("ruff check", "ruff format --check", "mypy", "lint-imports", "pytest -n 4"):
        assert f"/{tool}" in done.stdout
