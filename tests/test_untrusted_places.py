"""Untrusted places: what lies in the working directory or at home neither steers a run nor receives a secret."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.demo.gitlab import Fault, faults, gitlab_server
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.settings.load import ci_choice, load_settings, report_files
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.settings.sources import in_ci
from testbed.harness import blueprint, mapping_of, process_environ, resource, running

MINIMAL = {
    "OCEAN__PORT__CLIENT_ID": "id-3f7a9c",
    "OCEAN__PORT__CLIENT_SECRET": "secret-8b1d4e",
    "OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN": "glpat-5c2e7d1a9b",
}
JOBS = [
    {"CI": "true"},
    {"CI": "woodpecker"},
    {"GITHUB_ACTIONS": "true"},
    {"GITLAB_CI": "true"},
    {"TF_BUILD": "True"},
    {"JENKINS_URL": "https://jenkins.example.com/"},
    {"TEAMCITY_VERSION": "2025.1"},
    {"BUILDKITE": "true"},
    {"BITBUCKET_BUILD_NUMBER": "7"},
    {"CODEBUILD_BUILD_ID": "x:1"},
    {"bamboo_buildKey": "A-B"},
    {"GO_PIPELINE_NAME": "nightly"},
]
HOST, URL = "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST", "OCEAN__INTEGRATION__CONFIG__GITLAB_URL"
FILE = "OCEAN__EXPORT__ENV_FILE"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planted(*lines: str, name: str = ".env") -> None:
    Path(name).write_text("".join(f"{line}\n" for line in lines))


def load(environ: dict[str, str] | None = None, **options: Any) -> Settings:
    return load_settings(MINIMAL | (environ or {}), **options)


# --- which file is read


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_in_ci_no_file_is_read_that_was_not_named(job: dict[str, str], folder: Path) -> None:
    planted("OCEAN__EXPORT__WORKERS=3", "OCEAN__EXPORT__REPORT_JSON=r.json", "OCEAN__EXPORT__CI=none")
    assert in_ci(job)
    found = load(job)
    assert (found.workers, found.reports, found.ci) == (10, {}, "auto")
    assert report_files(MINIMAL | job) == {}
    assert ci_choice(MINIMAL | job) == "auto"
    assert found.file_notes == (".env is not read in CI, where others may have put it; to take it: --env-file .env",)
    for named in (load(job, env_file=Path(".env")), load({**job, FILE: ".env"})):
        assert (named.workers, named.reports) == (3, {"json": Path("r.json")})
        (line,) = named.file_notes
        assert line == ".env sets OCEAN__EXPORT__CI, OCEAN__EXPORT__REPORT_JSON, OCEAN__EXPORT__WORKERS"


def test_a_machine_of_ones_own_is_no_ci(folder: Path) -> None:
    planted("OCEAN__EXPORT__WORKERS=3")
    for environ in ({}, {"CI": "false"}, {"CI": ""}, {"GITHUB_ACTIONS": "false"}, {"HOME": "/root"}):
        found = load(environ)
        assert found.workers == 3
        assert found.file_notes == (".env sets OCEAN__EXPORT__WORKERS",)
    assert load({"OCEAN__EXPORT__WORKERS": "4"}).file_notes == ()


def test_missing_credentials_in_ci_are_explained_by_the_file_that_is_not_read(folder: Path) -> None:
    planted(*(f"{name}={text}" for name, text in MINIMAL.items()))
    with pytest.raises(UsageError) as caught:
        load_settings({"CI": "true"})
    assert "--env-file .env" in caught.value.hint


def test_a_file_that_was_named_must_be_there_and_its_values_are_not_shown(folder: Path) -> None:
    for name in ("missing.env", ".", "$(FILE)"):
        with pytest.raises(UsageError) as caught:
            load({FILE: name})
        assert caught.value.exit_code == 2
    planted('OCEAN__INTEGRATION__CONFIG={"gitlabHost": "https://gitlab.example.com", "glpat-oops": 1}', name="a.env")
    found = load({FILE: "a.env"})
    assert found.gitlab_url == "https://gitlab.example.com"
    assert "oops" not in " ".join(found.file_notes)
    assert "gitlab.example.com" not in " ".join(found.file_notes)


# --- what a file that was merely found may set


LEFT_OUT = {
    "OCEAN__EXPORT__ALLOW_DELETES=thing": "allow_deletes",
    "OCEAN__SSL__PORT__VERIFY=false": "verify_port",
    "OCEAN__SSL__THIRD_PARTY__VERIFY=false": "verify_gitlab",
    'OCEAN__SSL={"thirdParty": {"verify": false, "x509": {"strict": false}}}': "verify_gitlab",
    "OCEAN__SSL__PORT__X509__STRICT=false": "strict_port",
    "REQUESTS_CA_BUNDLE=ca.pem": "verify_port",
    "SSL_CERT_FILE=ca.pem": "verify_gitlab",
    "OCEAN__EXPORT__REPORT_JSON=../../r.json": "report_json",
    'OCEAN__EXPORT={"reportHtml": "r.html", "allowDeletes": "thing"}': "report_html",
    "ocean__export__report_dotenv=x": "report_dotenv",
    "OCEAN__EXPORT__ENV_FILE=other.env": "env_file",
}


@pytest.mark.parametrize("line", LEFT_OUT)
def test_verification_releases_and_reports_never_come_from_a_file_that_was_found(line: str, folder: Path) -> None:
    planted(line)
    found, expected = load(), load({"CI": "true"})
    assert found.model_dump(exclude={"file_notes", "resources_path"}) == expected.model_dump(
        exclude={"file_notes", "resources_path"}
    )
    assert report_files(MINIMAL) == {}
    if "OCEAN" in line.upper():
        name = line.partition("=")[0]
        assert name in " ".join(found.file_notes)
        assert "not named by --env-file, cannot set" in " ".join(found.file_notes)


REFUSED = [
    "OCEAN__PORT__BASE_URL=https://port.evil.example",
    'OCEAN__PORT={"baseUrl": "https://port.evil.example"}',
    f"{HOST}=https://gitlab.evil.example",
    f"{URL}=https://gitlab.evil.example",
    'OCEAN__INTEGRATION={"config": {"gitlabHost": "https://gitlab.evil.example"}}',
    "INTEGRATION__SECRETS__GITLAB_URL=https://gitlab.evil.example",
    "OCEAN__EXPORT__MAPPING=evil.yml",
    "OCEAN__RESOURCES_PATH=evil",
    "OCEAN__EXPORT__JQ_ENV=AWS_SECRET_ACCESS_KEY",
    "OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS=true",
]


@pytest.mark.parametrize("line", REFUSED)
def test_an_address_or_a_mapping_in_a_file_that_was_found_ends_the_run(line: str, folder: Path) -> None:
    planted(line)
    with pytest.raises(UsageError) as caught:
        load()
    (fault,) = map(str, caught.value.faults)
    assert "to take it: --env-file .env" in fault
    assert "evil" not in fault


def test_an_address_that_the_environment_sets_makes_that_of_a_file_moot(folder: Path) -> None:
    planted(*REFUSED[:3], *REFUSED[6:])
    own = {
        URL: "https://gitlab.example.com",
        "OCEAN__PORT__BASE_URL": "https://api.us.getport.io",
        "OCEAN__EXPORT__MAPPING": "m.yml",
        "OCEAN__RESOURCES_PATH": "r",
        "OCEAN__EXPORT__JQ_ENV": "REGION",
        "OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS": "true",
    }
    found = load(own)
    assert (found.gitlab_url, found.port_base_url) == (own[URL], own["OCEAN__PORT__BASE_URL"])
    assert (found.mapping_file, found.resources_path, found.jq_env) == (Path("m.yml"), Path("r"), ("REGION",))
    assert found.file_notes == ()


def test_no_other_file_is_opened_for_a_file_that_was_found(folder: Path) -> None:
    name = "OCEAN__PORT__CLIENT_SECRET_FILE"
    os.mkfifo("pipe")  # reading it would never end
    planted(f"{name}=pipe")
    with pytest.raises(UsageError) as caught:
        load_settings({name: text for name, text in MINIMAL.items() if "CLIENT_SECRET" not in name})
    assert f"{name} in .env: is not taken" in str(caught.value)
    # The environment's own secret goes before it.
    assert load().port_client_secret.get_secret_value() == "secret-8b1d4e"


# --- a whole job


def test_a_planted_file_in_a_job_receives_nothing_and_steers_nothing(bench: Bench) -> None:
    bench.store.add_blueprint(blueprint("thing"))
    mapping = json.dumps(mapping_of(resource("project")))
    bench.file("m.yml", mapping)
    bench.file(".port/resources/port-app-config.yml", json.dumps(mapping_of(resource("group"))))
    job = {"CI": "true", HOST: None, URL: bench.gitlab.url}
    with gitlab_server(bench.world) as gitlab, port_server(bench.store) as port:
        bench.file(
            ".env",
            f"OCEAN__PORT__BASE_URL={port.url}\n{HOST}={gitlab.url}\nOCEAN__EXPORT__REPORT_JSON=r.json\n"
            "OCEAN__EXPORT__ALLOW_DELETES=thing\nOCEAN__EXPORT__MAPPING=m.yml\nHTTP_PROXY=http://127.0.0.1:9\n",
        )
        ran = bench.run("sync", **job)
        assert (gitlab.requests, port.requests) == ([], [])
    assert ran.returncode == 0, ran.stderr
    assert "mapping: the default mapping" in ran.stdout
    assert not (bench.folder / "r.json").exists()
    assert [line.partition(" is not read in CI")[0] for line in ran.stderr.splitlines()] == [".env", ".port/resources"]
    # Named, the folder counts again.
    named = bench.run("plan", **job, OCEAN__RESOURCES_PATH=".port/resources", OCEAN__INTEGRATION__IDENTIFIER="new-one")
    assert "mapping: .port/resources/port-app-config.yml" in named.stdout


PLANTED_MODULES = (
    "requests",
    "typer",
    "rich",
    "jq",
    "yaml",
    "orjson",
    "dotenv",
    "sitecustomize",
    "usercustomize",
    "ctypes",
)


@pytest.mark.parametrize("start", ["module", "script", "script with an empty PYTHONPATH entry"])
def test_no_module_is_imported_from_the_working_directory(start: str, bench: Bench) -> None:
    for name in PLANTED_MODULES:
        if start.endswith("entry") and name.endswith("customize"):
            continue  # Python itself imports these before our first line; -I keeps them out
        bench.file(f"{name}.py", "open('imported', 'a').write(__name__ + ' ')\nraise SystemExit(99)\n")
    code = "import sys; sys.argv[0] = 'gitlab-port-export'; from gitlab_port_export.__main__ import main; main()"
    script = bench.file("../bin/gitlab-port-export", code)
    command = ["-m", "gitlab_port_export"] if start == "module" else [str(bench.folder / script)]
    environ = process_environ(bench.environ())
    if start.endswith("entry"):
        environ["PYTHONPATH"] = os.pathsep.join(("", environ.get("PYTHONPATH", "")))
    ran = subprocess.run(
        [sys.executable, *command, "plan"], env=environ, cwd=bench.folder, capture_output=True, text=True, check=False
    )
    assert not (bench.folder / "imported").exists(), (bench.folder / "imported").read_text()
    assert ran.returncode == 0, ran.stderr


# --- at home


def test_jq_reads_no_definitions_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".jq").write_text('def tojson: "planted"; def length: "planted"; def mine: "planted";')
    # jq asks for the home of the user where HOME is not set.
    for environ in ({"HOME": str(tmp_path), "REGION": "eu"}, {"REGION": "eu"}):
        evaluator = Evaluator(environ, workers=1)
        try:
            assert evaluator.compile_errors(["mine", "length"])[1] is None
            assert "mine" in str(evaluator.compile_errors(["mine"])[0])
            found = evaluator.submit("[length, env, $ENV, $ENV.HOME]", b"[1]").result()
            assert json.loads(found) == [1, environ, environ, environ.get("HOME")]
        finally:
            evaluator.close()


# --- what is left behind


def test_a_crash_would_leave_no_core_file(bench: Bench) -> None:
    reached = threading.Event()
    bench.gitlab.faults.append(Fault(lambda request: not reached.set(), faults.Slow(60)))
    with running([sys.executable, "-m", "gitlab_port_export", "plan"], bench.environ(), bench.folder) as process:
        assert reached.wait(30)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        ((soft, hard),) = re.findall(r"Max core file size +(\S+) +(\S+)", limits)
        assert (soft, hard) == ("0", "0")


def test_no_command_shows_the_login_of_a_proxy(bench: Bench) -> None:
    proxy = "http://ada:pa%40ss-w0rd@127.0.0.1:9"
    bench.secrets.extend(["pa%40ss-w0rd", "pa@ss-w0rd"])
    for command in ("plan", "check", "preview project"):
        ran = bench.run(*command.split(), "--debug", HTTP_PROXY=proxy)
        assert ran.returncode != 0
        assert "proxy" in ran.stdout + ran.stderr


def test_a_bug_beside_the_run_shows_no_secret_and_no_traceback(bench: Bench) -> None:
    script = """
import sys
from gitlab_port_export.port import integration
from gitlab_port_export.sync import resync
from gitlab_port_export.cli import main
integration.REFRESH_SECONDS = 0
states = []
tell = integration.set_state
def set_state(*args):
    states.append(args)
    if len(states) > 1 and args[2] == "running":
        raise KeyError("::error::demo-secret\\nTraceback")
    return tell(*args)
integration.set_state = set_state
sys.argv = ["gitlab-port-export", "sync"]
main()
"""
    environ = process_environ(bench.environ())
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environ, cwd=bench.folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert line.startswith("warning: a bug in the exporter, beside the run: KeyError: ")
    assert "[secret]" in line
    assert "demo-secret" not in line
