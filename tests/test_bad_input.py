"""Bad input: whatever is wrong ends the real command with its code, says what to do, and leaves Port as it was."""

import socket
from subprocess import CompletedProcess

import pytest

from conftest import INTEGRATION, Bench
from gitlab_port_export.base.answer import Answer
from gitlab_port_export.base.http import Http
from gitlab_port_export.demo import port_faults as port_standin
from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.demo.world import SAMPLE_TOKENS
from gitlab_port_export.port.client import Port
from testbed.harness import blueprint, mapping_of, resource

pytestmark = pytest.mark.usefixtures("lent_evaluator")

CONFIG = "OCEAN__INTEGRATION__CONFIG__"
HOST, TOKEN, TOKENS = f"{CONFIG}GITLAB_HOST", f"{CONFIG}GITLAB_TOKEN", f"{CONFIG}TOKEN_MAPPING"
ONE_TOKEN = {TOKENS: None}
PROJECTS = """\
resources:
  - kind: project
    selector:
      query: "true"
    port:
      entity:
        mappings:
          identifier: .id | tostring
          title: .name
          blueprint: '"thing"'
"""


def closed_port() -> str:
    """An address on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def assert_refused(ran: CompletedProcess[str], bench: Bench, code: int, *words: str) -> None:
    """The run ended with this code, said all of these words on standard error, and wrote no entity."""
    assert (ran.returncode, ran.stdout) == (code, ""), ran.stderr
    assert [word for word in words if word not in ran.stderr] == [], ran.stderr
    assert ran.stderr.splitlines()[-1].startswith(f"exit {code}: ")
    assert bench.store.writes == 0


def assert_usage(ran: CompletedProcess[str], bench: Bench, *words: str) -> None:
    """The run was refused before anything at all was written to Port."""
    assert_refused(ran, bench, 2, *words)
    assert bench.changing_calls() == []
    assert bench.store.integrations == {}


# --- settings

SETTINGS: dict[str, tuple[dict[str, str | None], tuple[str, ...]]] = {
    "no GitLab token": ({TOKENS: None}, (TOKEN, "is not set", TOKENS)),
    "job token": (
        {**ONE_TOKEN, TOKEN: "glcbt-64_notarealjobtoken"},
        (TOKEN, "CI_JOB_TOKEN", "group access token with read_api"),
    ),
    "the job's own token": (
        {**ONE_TOKEN, TOKEN: "some-other-shape", "CI_JOB_TOKEN": "some-other-shape"},
        (TOKEN, "CI_JOB_TOKEN"),
    ),
    "Azure's variable": ({**ONE_TOKEN, TOKEN: "$(GITLAB_TOKEN)"}, (TOKEN, "Azure Pipelines", "env:")),
    "a host without scheme": ({HOST: "localhost"}, (HOST, "https://", "https://gitlab.example.com")),
    "another event listener": (
        {"OCEAN__EVENT_LISTENER": '{"type": "KAFKA"}'},
        ("OCEAN__EVENT_LISTENER", '{"type":"ONCE"}'),
    ),
    "an identifier that Port forbids": (
        {"OCEAN__INTEGRATION__IDENTIFIER": "my integration!"},
        ("OCEAN__INTEGRATION__IDENTIFIER", "letters, digits and -"),
    ),
    "no JSON": ({TOKENS: "{glpat-abc"}, (TOKENS, "is not JSON (line 1, column 2)", '{"glpat-…": ["my-group/**"]}')),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_setting_is_named_with_what_to_do(name: str, bench: Bench) -> None:
    changes, words = SETTINGS[name]
    assert_usage(bench.run(**changes), bench, *words)
    assert bench.port.requests == []


def test_several_faults_are_listed_at_once_and_no_value_is_shown(bench: Bench) -> None:
    wrong = {"OCEAN__PORT__CLIENT_ID": None, HOST: "hush://", TOKENS: "{hush", "OCEAN__EXPORT__WORKERS": "hush"}
    bench.secrets.append("hush")
    ran = bench.run("sync", "--deadline", "hush", **wrong)
    assert_usage(ran, bench, *wrong, "--deadline")
    assert ran.stderr.count("error: ") == 5


def test_a_wrong_option_is_a_wrong_usage(bench: Bench) -> None:
    # A wrong value is not repeated: it may be a secret.
    for args, named in (
        (["sync", "--bogus"], "--bogus"),
        (["sync", "--output", "xml"], "--output"),
        (["synk"], "synk"),
    ):
        ran = bench.run(*args)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert named in ran.stderr
    assert bench.port.requests == []


# --- GitLab


@pytest.mark.parametrize("way", ["revoked", "expired"])
def test_dead_tokens_end_the_run(way: str, bench: Bench) -> None:
    for secret in SAMPLE_TOKENS:
        setattr(bench.world.tokens[secret], way, True)
    said = {"revoked": "Token was revoked", "expired": "Token is expired"}[way]
    assert_refused(
        bench.run(), bench, 3, "token 1: ", "token 2: ", bench.gitlab.url, said, "make a new one", "read_api"
    )
    assert bench.states() == ["running", "failed"]


def test_an_unknown_token_ends_the_run(bench: Bench) -> None:
    bench.secrets.append("glpat-never-was-one")
    ran = bench.run(**ONE_TOKEN, **{TOKEN: "glpat-never-was-one"})
    assert_refused(ran, bench, 3, "token 1: ", "401", "make a new one with the scope read_api")


def test_one_dead_token_among_two_holds_every_deletion(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    before = bench.held()
    bench.world.delete_project(bench.world.project("research/models"))
    bench.world.tokens[SAMPLE_TOKENS[0]].revoked = True
    ran = bench.run()
    assert ran.returncode == 1
    assert "token 1" in ran.stdout
    assert "Token was revoked" in ran.stdout
    assert "make a new one" in ran.stdout
    assert bench.held() == before
    assert bench.states() == ["running", "failed"]


def test_a_run_that_failed_first_does_not_spoil_the_next(bench: Bench) -> None:
    """The integration and its mapping are in Port then, the blueprints are not."""
    for token in bench.world.tokens.values():
        token.revoked = True
    assert bench.run().returncode == 3
    for token in bench.world.tokens.values():
        token.revoked = False
    ran = bench.run()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert bench.held()["service"]


def test_unreachable_gitlab_ends_the_run(bench: Bench) -> None:
    url = closed_port()
    assert_refused(
        bench.run(**{HOST: url}), bench, 3, url, "Connection refused", "check the host, the network, proxies"
    )


def test_html_in_place_of_gitlab_ends_the_run(bench: Bench) -> None:
    bench.gitlab.faults.append(Fault("", faults.login_page()))
    assert_refused(bench.run(), bench, 3, "text/html", "GITLAB_HOST", "login page")


# --- Port


def test_wrong_port_credentials_end_the_run(bench: Bench) -> None:
    bench.secrets.append("not-the-secret")
    ran = bench.run(OCEAN__PORT__CLIENT_SECRET="not-the-secret")
    assert_refused(ran, bench, 4, bench.port.url, "refused the credentials", "OCEAN__PORT__CLIENT_ID", "_SECRET")
    assert bench.gitlab.requests == []


def test_unreachable_port_ends_the_run(bench: Bench) -> None:
    url = closed_port()
    ran = bench.run(OCEAN__PORT__BASE_URL=url)
    assert_refused(ran, bench, 4, url, "Connection refused", "check OCEAN__PORT__BASE_URL, the network, proxies")
    assert bench.gitlab.requests == []


@pytest.mark.parametrize(
    ("path", "status"), [("", 200), ("", 502), ("GET /v1/integration", 200), ("GET /v1/blueprints", 200)]
)
def test_html_in_place_of_port_ends_the_run(path: str, status: int, bench: Bench) -> None:
    bench.port.faults.append(port_standin.Fault(path, port_standin.html(status)))
    assert_refused(bench.run(), bench, 4, str(status))


@pytest.mark.parametrize(
    ("base", "other"),
    [
        ("https://api.getport.io", "https://api.us.getport.io"),
        ("https://api.us.getport.io", "https://api.getport.io"),
        ("https://api.us.port.io", "https://api.port.io"),
    ],
)
def test_refused_credentials_point_at_the_other_region(base: str, other: str) -> None:
    refusal = Port(Http(base, user_agent="test"), lambda: ("id", "secret"))._refusal(
        Answer(401, {}, b"", base, {"ok": False, "message": "wrong"})
    )
    assert refusal.hint.endswith(f"set OCEAN__PORT__BASE_URL={other}")


# --- the mapping

MAPPINGS: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "not YAML": ("resources: [\n  - a: b: c", ("m.yml:2:", "not valid YAML")),
    "not UTF-8": (b"resources: \xff\xfe", ("m.yml", "UTF-8")),
    "no object": ("- kind: project", ("m.yml", "must be an object with the key 'resources'")),
    "no query": (
        PROJECTS.replace('query: "true"', "includeLabels: true"),
        ("m.yml:", "resource 0 (project)", "selector.query: is missing"),
    ),
    "an unknown selector value": (
        PROJECTS.replace("project", "merge-request").replace('query: "true"', 'query: "true"\n      states: [open]'),
        ("m.yml:5:", "resource 0 (merge-request)", "selector.states", "'open'", "did you mean 'opened'?"),
    ),
    "no jq": (
        PROJECTS.replace(".name", ".name |"),
        ("m.yml:9:11: resource 0 (project): title: not a jq expression: .name |: ", "syntax error"),
    ),
    "no blueprint": (
        PROJECTS.replace("thing", "sevice"),
        (
            "m.yml:10:11: resource 0 (project): blueprint: Port has no blueprint 'sevice'",
            "create the blueprint in Port",
        ),
    ),
}


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_wrong_mapping_is_named_with_its_place(name: str, bench: Bench) -> None:
    bench.store.add_blueprint(blueprint("thing"))
    content, words = MAPPINGS[name]
    assert_usage(bench.run("sync", "--mapping", bench.file("m.yml", content)), bench, *words)
    assert bench.gitlab.requests == []


def test_a_missing_mapping_is_named_with_its_option(bench: Bench) -> None:
    assert_usage(bench.run("sync", "--mapping", "none.yml"), bench, "none.yml: cannot be read", "--mapping")
    assert_usage(bench.run(OCEAN__EXPORT__MAPPING="none.yml"), bench, "none.yml", "OCEAN__EXPORT__MAPPING")


def test_every_fault_of_a_mapping_is_listed_at_once(bench: Bench) -> None:
    text = PROJECTS.replace(".name", ".name |").replace(".id | tostring", ".id |")
    ran = bench.run("plan", "--mapping", bench.file("m.yml", text))
    assert_usage(ran, bench, "m.yml:8:11: resource 0 (project): identifier", "m.yml:9:11: resource 0 (project): title")


def test_default_blueprints_are_not_missed_where_they_are_not_to_be_created(bench: Bench) -> None:
    ran = bench.run(OCEAN__INITIALIZE_PORT_RESOURCES="false")
    assert_usage(ran, bench, "Port has no blueprint 'service'", "OCEAN__INITIALIZE_PORT_RESOURCES=true")
    assert ran.stderr.count("Port has no blueprint") == 7


def test_a_blueprint_that_cannot_hold_the_default_mapping_stops_the_run(bench: Bench) -> None:
    bench.store.add_blueprint(blueprint("service", url="number", readme="string", language="string"))
    ran = bench.run()
    assert_usage(
        ran,
        bench,
        "blueprint service: property url has type number; the default mapping needs string",
        "property description is missing",
        "--mapping FILE",
    )
    assert list(bench.store.blueprints) == ["service"]


def test_a_changed_blueprint_is_not_held_against_the_mapping_in_port(bench: Bench) -> None:
    """Only a mapping that is about to be created demands what the default blueprints have."""
    assert bench.run().returncode == 0
    schema = bench.store.blueprints["gitlabJob"]["schema"]
    del schema["properties"]["queuedSeconds"]
    ran = bench.run()
    assert ran.returncode == 1, ran.stderr
    assert "queuedSeconds" in ran.stdout


def test_identifiers_that_port_forbids_are_one_problem_with_a_count(bench: Bench) -> None:
    bench.store.add_blueprint(blueprint("thing"))
    text = PROJECTS.replace(".id | tostring", ".name_with_namespace")
    ran = bench.run("sync", "--mapping", bench.file("m.yml", text))
    assert ran.returncode == 1
    assert ran.stdout.count("Port forbids the identifier") == 1
    for words in ('"Platform / Gateway"', "(12 times)", "mapping line 8", "field identifier", "rows were left out"):
        assert words in ran.stdout
    assert bench.store.writes == 0


def test_an_unknown_kind_holds_only_its_own_deletions(bench: Bench) -> None:
    for name in ("thing", "other"):
        bench.store.add_blueprint(blueprint(name))
    bench.sync_an_hour_ago(mapping_of(resource("project", "thing"), resource("merge-request", "other")))
    before = bench.held()
    gone = bench.world.project("research/paper-tools")
    bench.world.delete_project(gone)
    text = PROJECTS + PROJECTS.partition("\n")[2].replace("project", "merge-requests").replace("thing", "other")
    ran = bench.run("sync", "--mapping", bench.file("m.yml", text))
    assert ran.returncode == 1
    for words in ("unknown kind 'merge-requests'", "mapping line 11:5", "resource 1", "did you mean 'merge-request'?"):
        assert words in ran.stdout
    assert bench.held()["thing"] == before["thing"] - {str(gone["id"])}
    assert bench.held()["other"] == before["other"]


@pytest.mark.parametrize("place", ["file", "Port"])
def test_a_mapping_without_resources_deletes_nothing(place: str, bench: Bench) -> None:
    bench.sync_an_hour_ago()
    before = bench.held()
    args = ["sync", "--mapping", bench.file("m.yml", "resources: []\n")] if place == "file" else []
    if place == "Port":
        bench.store.integrations[INTEGRATION]["config"] = {"resources": []}
    ran = bench.run(*args)
    assert ran.returncode == 1
    assert "has no resources, so nothing is read and nothing is deleted" in ran.stdout
    assert "add resources to the mapping" in ran.stdout
    assert bench.held() == before
    assert bench.gitlab.count("merge_requests") == 0


# --- the integration


def test_without_the_integration_a_mapping_file_is_enough(bench: Bench) -> None:
    bench.store.integration_access = False
    bench.store.add_blueprint(blueprint("thing"))
    ran = bench.run("sync", "--mapping", bench.file("m.yml", PROJECTS))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Warnings" in ran.stdout
    assert "no resync state is reported" in ran.stdout
    assert len(bench.held()["thing"]) == 12


def test_without_the_integration_and_a_file_there_is_no_mapping(bench: Bench) -> None:
    bench.store.integration_access = False
    assert_refused(bench.run(), bench, 4, INTEGRATION, "may not read", "moderator or administrator", "--mapping")
