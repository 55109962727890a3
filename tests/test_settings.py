"""Settings: what the environment, `.env`, files and options say, and how faults are told."""

import json
import traceback
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.settings.parse import parse_allow_deletes, parse_duration
from gitlab_port_export.settings.settings import Settings, Token
from gitlab_port_export.sync.connect import jq_environ

CONFIG = "OCEAN__INTEGRATION__CONFIG__"
ID, SECRET, TOKEN = "id-3f7a9c", "secret-8b1d4e", "glpat-5c2e7d1a9b"
PORT = {"OCEAN__PORT__CLIENT_ID": ID, "OCEAN__PORT__CLIENT_SECRET": SECRET}
CONFIG_NAME = "OCEAN__INTEGRATION__CONFIG"
MINIMAL = {**PORT, f"{CONFIG}GITLAB_TOKEN": TOKEN}


def load(*environs: dict[str, str], dotenv: Path | None = None, **options: Any) -> Settings:
    merged = {name: text for environ in environs for name, text in environ.items()}
    return load_settings(merged, dotenv, **options)


def faults(*environs: dict[str, str], **options: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(*environs, **options)
    return list(map(str, caught.value.faults))


def only_fault(*environs: dict[str, str], **options: Any) -> str:
    (fault,) = faults(*environs, **options)
    return fault


def why(found: Settings) -> list[str]:
    return [problem.why for problem in found.warnings]


def shape(found: Settings) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(token.alias, token.secret.get_secret_value(), token.patterns) for token in found.tokens]


def test_minimum_gives_the_defaults() -> None:
    found = load(MINIMAL)
    assert found.port_client_id.get_secret_value() == ID
    assert found.port_client_secret.get_secret_value() == SECRET
    assert shape(found) == [("token 1", TOKEN, ("**",))]
    assert found.model_dump(exclude={"port_client_id", "port_client_secret", "tokens"}) == {
        "port_client_id_file": None,
        "port_client_secret_file": None,
        "port_base_url": "https://api.getport.io",
        "gitlab_url": "https://gitlab.com",
        "token_mapping_only": False,
        "integration_identifier": None,
        "integration_type": None,
        "initialize_port_resources": True,
        "send_raw_data_examples": True,
        "client_timeout": 60.0,
        "batch_length": 20,
        "batch_bytes": 1048576,
        "jq_env": (),
        "resources_path": Path(".port/resources"),
        "verify_port": True,
        "verify_gitlab": True,
        "plain_expressions": True,
        "write_token": None,
        "write_scopes": (),
        "max_role": "maintainer",
        "run": None,
        "request": None,
        "action": None,
        "strict_port": True,
        "strict_gitlab": True,
        "log_level": "INFO",
        "log_format": "text",
        "reads": False,
        "no_values": False,
        "workers": 10,
        "rate": None,
        "deadline": None,
        "allow_deletes": {},
        "fail_on": "problems",
        "on_overlap": "run",
        "ci": "auto",
        "env_file": None,
        "mapping_file": None,
        "since": None,
        "full_every": 86_400.0,
        "lookback": 600.0,
        "state": "port",
        "only": (),
        "kinds": (),
        "event": None,
        "processes": 1,
        "shards": 2,
        "together": (),
        "shard": None,
        "survey": None,
        "evidence": None,
        "attempt": 1,
        "max_age": 6 * 3600.0,
        "reports": {},
        "warnings": (),
        "ignored": (),
        "file_notes": (),
        "logins": (),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("OCEAN__PORT__BASE_URL", "port_base_url", "PORT_BASE_URL", "portBaseUrl", "port_region", "PORT_REGION"),
        *("OCEAN__PORT_BASE_URL", "OCEAN__PORT__BASEURL", "OCEAN__PORT__REGION", "OCEAN__PORT_REGION"),
    ],
)
@pytest.mark.parametrize("text", ["us", "US", "https://api.us.getport.io", "api.us.getport.io/v1"])
def test_ports_region_is_read_under_every_name_of_ports_pages(name: str, text: str) -> None:
    found = load(MINIMAL, {name: text})
    assert found.port_base_url == "https://api.us.getport.io"
    assert found.warnings == ()


def test_the_region_may_stand_in_an_object_and_the_usual_name_wins() -> None:
    assert load(MINIMAL, {"OCEAN__PORT": '{"baseUrl": "us"}'}).port_base_url == "https://api.us.getport.io"
    assert load(MINIMAL, {"OCEAN__PORT": '{"region": "us"}'}).port_base_url == "https://api.us.getport.io"
    both = {"OCEAN__PORT__BASE_URL": "eu", "PORT_REGION": "us"}
    assert load(MINIMAL, both).port_base_url == "https://api.getport.io"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("us-east", "is not an address that begins with https:// or http://; expected eu, us or an address"),
        ("https://app.us.port.io/home", "is the address of Port's pages; that of its API is https://api.us.port.io"),
        ("app.getport.io", "is the address of Port's pages; that of its API is https://api.getport.io"),
    ],
)
def test_what_is_no_region_is_answered(text: str, said: str) -> None:
    assert said in only_fault(MINIMAL, {"PORT_REGION": text})


def test_every_setting_is_read() -> None:
    found = load(
        MINIMAL,
        {
            "OCEAN__PORT__BASE_URL": "https://api.us.getport.io/v1/",
            f"{CONFIG}GITLAB_HOST": "https://GitLab.Example.com:443/git/api/v4/",
            "OCEAN__INTEGRATION__IDENTIFIER": "My-GitLab",
            "OCEAN__INTEGRATION__TYPE": "GitLab",
            "OCEAN__INITIALIZE_PORT_RESOURCES": "False",
            "OCEAN__SEND_RAW_DATA_EXAMPLES": "no",
            "OCEAN__CLIENT_TIMEOUT": "7.5",
            "OCEAN__UPSERT_ENTITIES_BATCH_MAX_LENGTH": "5",
            "OCEAN__UPSERT_ENTITIES_BATCH_MAX_SIZE_IN_BYTES": "1000",
            "OCEAN__RESOURCES_PATH": "elsewhere",
            "APPLICATION__LOG_LEVEL": "debug",
            "OCEAN__EXPORT__WORKERS": "3",
            "OCEAN__EXPORT__DEADLINE": "1h30m",
            "OCEAN__EXPORT__ALLOW_DELETES": "service, gitlabGroup=20",
            "OCEAN__EXPORT__FAIL_ON": "Never",
            "OCEAN__EXPORT__MAPPING": "my.yml",
            "OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS": "1",
            "OCEAN__EXPORT__JQ_ENV": "REGION, STAGE",
            "OCEAN__EVENT_LISTENER__TYPE": "once",
        },
    )
    assert found.port_base_url == "https://api.us.getport.io"
    assert found.gitlab_url == "https://gitlab.example.com/git"
    assert (found.integration_identifier, found.integration_type) == ("my-gitlab", "gitlab")
    assert (found.initialize_port_resources, found.send_raw_data_examples) == (False, False)
    assert (found.client_timeout, found.batch_length, found.batch_bytes) == (7.5, 5, 1000)
    assert (found.resources_path, found.log_level, found.workers) == (Path("elsewhere"), "DEBUG", 3)
    assert (found.deadline, found.fail_on, found.mapping_file) == (5400.0, "never", Path("my.yml"))
    assert found.allow_deletes == {"service": None, "gitlabGroup": 20}
    assert found.jq_env == ("REGION", "STAGE")
    assert found.warnings == ()


def test_settings_are_frozen_and_show_no_secret() -> None:
    found = load(PORT, {f"{CONFIG}TOKEN_MAPPING": json.dumps({TOKEN: ["**"]})})
    with pytest.raises(ValidationError, match="frozen"):
        found.workers = 3  # type: ignore[misc]  # that it fails is what is tested
    assert not [text for text in (ID, SECRET, TOKEN) if text in f"{found!r} {found} {found.tokens!r}"]
    assert found.secrets() == (ID, SECRET, TOKEN)


@pytest.mark.parametrize(
    "environ",
    [
        {name.lower(): text for name, text in MINIMAL.items()},
        {**PORT, f"{CONFIG}GITLABTOKEN": TOKEN},
        {**PORT, "OCEAN__INTEGRATION__SECRETS__GITLAB_TOKEN": TOKEN},
        {**PORT, "INTEGRATION__SECRETS__GITLAB_TOKEN": TOKEN},
        {**PORT, "OCEAN__INTEGRATION__CONFIG": json.dumps({"gitlabToken": TOKEN})},
        {**PORT, "OCEAN__INTEGRATION__CONFIG": json.dumps({"gitlab_token": f" {TOKEN} "})},
        {**PORT, "OCEAN__INTEGRATION": json.dumps({"config": {"gitlabToken": TOKEN, "gitlabHost": None}})},
        {**PORT, "OCEAN__INTEGRATION": json.dumps({"secrets": {"gitlabToken": TOKEN}})},
        {
            "OCEAN__PORT": json.dumps({"clientId": ID, "client_secret": SECRET}),
            f"{CONFIG}GITLAB_TOKEN": TOKEN + "\n",
        },
    ],
)
def test_spellings(environ: dict[str, str]) -> None:
    found = load(environ)
    assert found.secrets() == (ID, SECRET, TOKEN)
    assert found.warnings == ()


def test_json_values_need_not_be_text() -> None:
    found = load(MINIMAL, {"OCEAN__EXPORT": '{"workers": 4, "failOn": "limit"}'})
    assert (found.workers, found.fail_on) == (4, "limit")


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        ("OCEAN__INTEGRATION__CONFIG", f"{CONFIG}GITLAB_HOST"),
        ("OCEAN__INTEGRATION", f"{CONFIG}GITLABHOST"),
        ("OCEAN__INTEGRATION", "OCEAN__INTEGRATION__CONFIG"),
        ("INTEGRATION__SECRETS__GITLAB_HOST", f"{CONFIG}GITLAB_HOST"),
        ("OCEAN__INTEGRATION__CONFIG", "INTEGRATION__SECRETS__GITLAB_HOST"),
        (f"{CONFIG}GITLABHOST", f"{CONFIG}GITLAB_HOST"),
        (f"{CONFIG}gitlab_host".lower(), f"{CONFIG}GITLAB_HOST"),
    ],
)
def test_the_more_exact_name_wins(weak: str, strong: str) -> None:
    def value(name: str, host: str) -> str:
        inner = {"gitlabHost": host}
        whole = {"OCEAN__INTEGRATION": {"config": inner}, "OCEAN__INTEGRATION__CONFIG": inner}
        return json.dumps(whole[name]) if name in whole else host

    pair = {strong: value(strong, "https://b.example.com"), weak: value(weak, "https://a.example.com")}
    assert load(MINIMAL, pair).gitlab_url == "https://b.example.com"


def test_option_wins_over_environment_over_dotenv(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        "OCEAN__EXPORT__WORKERS=1\nocean__client_timeout=2\nOCEAN__EXPORT__FAIL_ON=limit\n"
        f'{CONFIG}GITLAB_TOKEN="glpat-$HOME${{HOME}}"\nEMPTY\n'
    )
    environ = {**PORT, "OCEAN__EXPORT__WORKERS": "3", "OCEAN__CLIENT_TIMEOUT": "4"}
    found = load(environ, dotenv=dotenv, workers=5, client_timeout=None)
    assert (found.workers, found.client_timeout, found.fail_on) == (5, 4.0, "limit")
    assert shape(found)[0][1] == "glpat-$HOME${HOME}"  # a dollar in a secret is no reference


def test_a_name_of_an_upper_layer_wins_over_its_other_name_below(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{CONFIG}GITLAB_HOST=https://a.example.com\n")
    found = load(MINIMAL, {f"{CONFIG}GITLAB_URL": "https://b.example.com"}, dotenv=dotenv)
    assert found.gitlab_url == "https://b.example.com"
    assert load(MINIMAL, dotenv=dotenv, host="https://c.example.com").gitlab_url == "https://c.example.com"


def test_layers_are_not_mixed_within_one_setting(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{CONFIG}TOKEN_MAPPING='{json.dumps({'below': ['a/**']})}'\n")
    found = load(PORT, {f"{CONFIG}TOKEN_MAPPING": json.dumps({"above": ["b/**"]})}, dotenv=dotenv)
    assert shape(found) == [("token 1", "above", ("b/**",))]


def test_nothing_is_read_but_what_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load(MINIMAL)
    for name in ("workers", "WORKERS", "OCEAN__EXPORT__WORKERS", "TOKEN_MAPPING_ONLY", "LISTENER", "LAYERS"):
        monkeypatch.setenv(name, "1")
    (tmp_path / ".env").write_text("WORKERS=1\nOCEAN__EXPORT__WORKERS=1\n")
    monkeypatch.chdir(tmp_path)
    assert load(MINIMAL) == expected
    assert Settings(port_client_id=SecretStr(ID), port_client_secret=SecretStr(SECRET)).workers == 10


def test_a_fault_that_is_overridden_is_none(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("OCEAN__EXPORT__WORKERS=$(WORKERS)\n")
    assert load(MINIMAL, {"OCEAN__EXPORT__WORKERS": "3"}, dotenv=dotenv).workers == 3
    fault = only_fault(MINIMAL, dotenv=dotenv)
    assert fault.startswith("OCEAN__EXPORT__WORKERS in .env: is a $(NAME)")


def test_dotenv_that_is_missing_or_no_text(tmp_path: Path) -> None:
    assert load(MINIMAL, dotenv=tmp_path / "none").workers == 10
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")
    assert "cannot be read" in only_fault(MINIMAL, dotenv=tmp_path / ".env")


def test_options_are_named_as_options() -> None:
    assert only_fault(MINIMAL, workers=0).startswith("--workers: is not valid; expected a whole number from 1")
    assert only_fault(MINIMAL, mapping_file="$(FILE)").startswith("--mapping: ")
    found = load(MINIMAL, allow_deletes=["a", "b=2"], send_raw_data_examples=False, deadline="", mapping_file=Path("m"))
    assert (found.allow_deletes, found.send_raw_data_examples) == ({"a": None, "b": 2}, False)
    assert (found.deadline, found.mapping_file) == (None, Path("m"))
    with pytest.raises(TypeError, match="nonsense"):
        load(MINIMAL, nonsense=1)


def test_secrets_from_files(tmp_path: Path) -> None:
    texts = {"PORT__CLIENT_ID": ID, "PORT__CLIENT_SECRET": SECRET, "INTEGRATION__CONFIG__GITLAB_TOKEN": TOKEN}
    environ = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(f" {text}\n")
        environ[f"OCEAN__{name}_FILE"] = str(tmp_path / name)
    found = load(environ)
    assert found.secrets() == (ID, SECRET, TOKEN)
    assert found.port_client_id_file == tmp_path / "PORT__CLIENT_ID"
    assert found.port_client_secret_file == tmp_path / "PORT__CLIENT_SECRET"
    assert found.tokens[0].file == tmp_path / "INTEGRATION__CONFIG__GITLAB_TOKEN"


def test_token_mapping_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(json.dumps({"one": ["a/**"]}))
    found = load(PORT, {"INTEGRATION__SECRETS__TOKEN_MAPPING_FILE": str(tmp_path / "tokens")})
    assert shape(found) == [("token 1", "one", ("a/**",))]
    assert found.tokens[0].file is None  # the file does not hold this token alone


def test_secret_file_faults(tmp_path: Path) -> None:
    name = f"{CONFIG}GITLAB_TOKEN_FILE"
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read (No such file" in only_fault(PORT, {name: str(tmp_path / "none")})
    assert "cannot be read (Is a directory" in only_fault(PORT, {name: str(tmp_path)})
    assert "is empty" in only_fault(PORT, {name: str(tmp_path / "empty")})
    assert "not UTF-8" in only_fault(PORT, {name: str(tmp_path / "binary")})
    both = only_fault(MINIMAL, {name: str(tmp_path / "empty")})
    assert both == f"{name}: is set and so is {CONFIG}GITLAB_TOKEN; set only one of them"


def test_all_faults_come_at_once_one_line_each() -> None:
    found = faults(
        {
            "OCEAN__PORT__CLIENT_ID": "  ",
            "OCEAN__PORT__BASE_URL": "ftp://x",
            "OCEAN__EXPORT__WORKERS": "many",
            "OCEAN__EVENT_LISTENER": '{"type":"POLLING"}',
            f"{CONFIG}GITLAB_HOST": "nonsense",
        }
    )
    assert sorted(line.split(":")[0] for line in found) == [
        "OCEAN__EVENT_LISTENER (type)",
        "OCEAN__EXPORT__WORKERS",
        f"{CONFIG}GITLAB_HOST",
        f"{CONFIG}GITLAB_TOKEN",
        "OCEAN__PORT__BASE_URL",
        "OCEAN__PORT__CLIENT_ID",
        "OCEAN__PORT__CLIENT_SECRET",
    ]
    assert not [line for line in found if "\n" in line or "many" in line]


def test_a_fault_does_not_hide_one_that_needs_several_variables() -> None:
    found = faults(
        MINIMAL,
        {
            f"{CONFIG}GITLAB_HOST": "https://a.example.com",
            f"{CONFIG}GITLAB_URL": "https://b.example.com",
            "OCEAN__SSL__PORT__VERIFY": "perhaps",
        },
    )
    assert len(found) == 2
    assert any("is another address than" in line for line in found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OCEAN__EXPORT__WORKERS", "0"),
        ("OCEAN__EXPORT__WORKERS", "101"),
        ("OCEAN__EXPORT__WORKERS", "1.5"),
        ("OCEAN__EXPORT__WORKERS", "9" * 5000),
        ("OCEAN__EXPORT__DEADLINE", "soon"),
        ("OCEAN__EXPORT__DEADLINE", "0"),
        ("OCEAN__EXPORT__ALLOW_DELETES", "a="),
        ("OCEAN__EXPORT__ALLOW_DELETES", "a,a=3"),
        ("OCEAN__EXPORT__FAIL_ON", "always"),
        ("OCEAN__UPSERT_ENTITIES_BATCH_MAX_LENGTH", "21"),
        ("OCEAN__UPSERT_ENTITIES_BATCH_MAX_SIZE_IN_BYTES", "1048577"),
        ("OCEAN__CLIENT_TIMEOUT", "inf"),
        ("OCEAN__CLIENT_TIMEOUT", "nan"),
        ("OCEAN__CLIENT_TIMEOUT", "-1"),
        ("OCEAN__INITIALIZE_PORT_RESOURCES", "maybe"),
        ("OCEAN__SSL__THIRD_PARTY__VERIFY", "ca.pem"),
        ("OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS", "some"),
        ("APPLICATION__LOG_LEVEL", "loud"),
        ("OCEAN__INTEGRATION__TYPE", "github"),
        ("OCEAN__INTEGRATION__IDENTIFIER", "my_gitlab"),
        ("OCEAN__INTEGRATION__IDENTIFIER", "a/b"),
        ("OCEAN__EVENT_LISTENER__TYPE", "KAFKA"),
        ("OCEAN__PORT__BASE_URL", "api.getport.io:port"),
    ],
)
def test_wrong_values(name: str, text: str) -> None:
    fault = only_fault(MINIMAL, {name: text})
    assert fault.startswith(f"{name}: ")
    assert "; expected " in fault


def test_deeply_nested_json_ends_no_run() -> None:
    # Python's limit lies between; near it either reader may be the one that gives up.
    for depth in (900, *range(970, 1000, 5), 100_000):
        assert outcome(MINIMAL | {"OCEAN__INTEGRATION": '{"config": ' + "[" * depth + "]" * depth + "}"})


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("OCEAN__INTEGRATION", '{"config": ' + "[" * 5000 + "]" * 5000 + "}", "is nested too deeply"),
        (f"{CONFIG}TOKEN_MAPPING", "[" * 5000 + "]" * 5000, "is nested too deeply"),
        ("OCEAN__INTEGRATION__CONFIG", "a: " + "[" * 5000 + "]" * 5000, "is not JSON"),
    ],
)
def test_what_nests_too_deeply_is_refused_in_our_words(name: str, text: str, why: str) -> None:
    said = outcome(MINIMAL | {name: text})
    assert f"{name}: {why}" in said
    assert "recursion" not in said


def test_listener_says_what_to_set() -> None:
    for text in ('{"type":"POLLING"}', "ONCE", "{}}", "[]"):
        assert '{"type":"ONCE"}' in only_fault(MINIMAL, {"OCEAN__EVENT_LISTENER": text})
    assert load(MINIMAL, {"OCEAN__EVENT_LISTENER": '{"type":"Once","interval":60}'}).warnings == ()


@pytest.mark.parametrize("name", ["OCEAN__PORT__CLIENT_SECRET", f"{CONFIG}GITLAB_TOKEN", "OCEAN__INTEGRATION__CONFIG"])
def test_azure_leaves_an_undefined_variable_in_place(name: str) -> None:
    fault = only_fault({**MINIMAL, name: "$(MY_SECRET)"})
    assert fault.startswith(f"{name}: is a $(NAME) that Azure Pipelines did not replace")


def test_quotes_of_a_shell_are_recognised() -> None:
    assert "quotes" in only_fault({**MINIMAL, "OCEAN__PORT__CLIENT_ID": f'"{ID}"'})
    assert "quotes" in only_fault(MINIMAL, {"OCEAN__EVENT_LISTENER": '\'{"type":\n"ONCE"}\''})


@pytest.mark.parametrize("token", ["glpat a", "gl\npat", "glpat-ü", "a\tb", "a\u200bb", "a\udcffb"])
def test_tokens_that_no_header_can_carry(token: str) -> None:
    fault = only_fault(PORT, {f"{CONFIG}GITLAB_TOKEN": token})
    assert fault.startswith(f"{CONFIG}GITLAB_TOKEN: ")
    assert token not in fault
    assert token not in only_fault(PORT, {f"{CONFIG}TOKEN_MAPPING": json.dumps({token: ["**"]})})


def test_job_token_is_explained() -> None:
    job = {"CI_JOB_TOKEN": "job-token-1"}
    for token in ("job-token-1", "glcbt-64_abc"):
        fault = only_fault(PORT, job, {f"{CONFIG}GITLAB_TOKEN": token})
        assert fault.startswith(f"{CONFIG}GITLAB_TOKEN: holds a CI_JOB_TOKEN")
        assert "read_api" in fault
        fault = only_fault(PORT, job, {f"{CONFIG}TOKEN_MAPPING": json.dumps({token: ["**"]})})
        assert fault.startswith(f"{CONFIG}TOKEN_MAPPING: holds a CI_JOB_TOKEN")
    assert shape(load(MINIMAL, job))[0][1] == TOKEN


def test_tokens_keep_their_order_and_merge_their_patterns() -> None:
    mapping = {"glpat-b": ["b/**", "c"], TOKEN: ["x/**", "**"], "glpat-a": ["a", "a"]}
    found = load(MINIMAL, {f"{CONFIG}TOKEN_MAPPING": json.dumps(mapping)})
    assert shape(found) == [
        ("token 1", TOKEN, ("**", "x/**")),
        ("token 2", "glpat-b", ("b/**", "c")),
        ("token 3", "glpat-a", ("a",)),
    ]
    assert found.default_dialect == "gitlab-v2"


def test_only_a_token_mapping_means_the_first_integration() -> None:
    found = load(PORT, {"OCEAN__INTEGRATION__CONFIG": json.dumps({"tokenMapping": {"one": ["**/*"]}})})
    assert shape(found) == [("token 1", "one", ("**/*",))]
    assert found.default_dialect == "gitlab"


@pytest.mark.parametrize(
    "text",
    [
        '{"s3cret": []}',
        '{"s3cret": "**"}',
        '{"s3cret": [""]}',
        '{"s3cret": [1]}',
        '{"s3cret": ["a"], "s3cret": ["b"]}',
        '{"s3cret": ["a"]',
        '{"": ["a"]}',
        "{}",
        "[]",
        "s3cret",
        "[" * 100_000,
    ],
)
def test_wrong_token_mappings(text: str) -> None:
    fault = only_fault(PORT, {f"{CONFIG}TOKEN_MAPPING": text})
    assert fault.startswith(f"{CONFIG}TOKEN_MAPPING: ")
    assert '{"glpat-…": ["my-group/**"]}' in fault
    assert "s3cret" not in fault


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://gitlab.example.com", "https://gitlab.example.com"),
        ("https://gitlab.example.com/", "https://gitlab.example.com"),
        ("HTTPS://GitLab.example.com:443//", "https://gitlab.example.com"),
        ("gitlab.example.com", "https://gitlab.example.com"),
        ("gitlab.example.com:8443/git/", "https://gitlab.example.com:8443/git"),
        ("https://gitlab.example.com/git/api/v4", "https://gitlab.example.com/git"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://localhost:80", "http://localhost"),
    ],
)
def test_host_is_normalised(text: str, url: str) -> None:
    for name in ("GITLAB_HOST", "GITLAB_URL"):
        found = load(MINIMAL, {CONFIG + name: text})
        assert found.gitlab_url == url
        assert found.warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        "https://user:s3cret@gitlab.example.com",
        "https://s3cret@gitlab.example.com",
        "https://gitlab.example.com?private_token=s3cret",
        "https://gitlab.example.com/#s3cret",
        "https://",
        "https://git lab",
        "https://gitlab.example.com:99999",
        "https://gitlab.example.com:s3cret",
        "https://[s3cret",
        "ftp://gitlab.example.com",
        "gitlab",
        "localhost:8080",
        "user:s3cret@gitlab.example.com",
        "glpat-s3cret",
    ],
)
def test_wrong_hosts(text: str) -> None:
    fault = only_fault(MINIMAL, {f"{CONFIG}GITLAB_HOST": text})
    assert fault.startswith(f"{CONFIG}GITLAB_HOST: ")
    assert "https://gitlab.example.com" in fault
    assert "s3cret" not in fault


def test_host_and_url_that_differ() -> None:
    host = {f"{CONFIG}GITLAB_HOST": "https://gitlab.example.com/"}
    fault = only_fault(MINIMAL, host, {f"{CONFIG}GITLAB_URL": "https://other.example.com"})
    assert f"{CONFIG}GITLAB_HOST" in fault
    assert f"{CONFIG}GITLAB_URL" in fault
    same = load(MINIMAL, host, {f"{CONFIG}GITLAB_URL": "gitlab.example.com"})
    assert same.gitlab_url == "https://gitlab.example.com"


def test_another_gitlab_than_the_jobs_own_must_be_meant() -> None:
    job = {"CI_SERVER_URL": "https://gitlab.example.com"}
    assert f"{CONFIG}GITLAB_HOST=$CI_SERVER_URL" in only_fault(MINIMAL, job)
    assert load(MINIMAL, job, {f"{CONFIG}GITLAB_HOST": "https://gitlab.com"}).gitlab_url == "https://gitlab.com"
    for harmless in ("https://gitlab.com/", "", "what"):
        assert load(MINIMAL, {"CI_SERVER_URL": harmless}).gitlab_url == "https://gitlab.com"


def test_open_http_is_a_warning() -> None:
    (said,) = why(load(MINIMAL, {f"{CONFIG}GITLAB_HOST": "http://gitlab.example.com"}))
    assert "GitLab" in said
    (said,) = why(load(MINIMAL, {"OCEAN__PORT__BASE_URL": "http://127.0.0.1.example.com"}))
    assert "Port" in said


def test_certificates(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("requests", "curl", "ssl", "ci")}
    for file in files.values():
        trustme.CA().cert_pem.write_to_path(file)
    own = {"CI_SERVER_URL": "https://gitlab.example.com", f"{CONFIG}GITLAB_HOST": "gitlab.example.com"}
    environ = {**MINIMAL, **own, "CI_SERVER_TLS_CA_FILE": str(files["ci"])}
    found = load(environ)
    assert (found.verify_port, found.verify_gitlab) == (True, str(files["ci"]))
    other = load(environ, {f"{CONFIG}GITLAB_HOST": "https://gitlab.com"})
    assert other.verify_gitlab is True  # the job's own CA does not vouch for another instance
    assert load(environ, {"CI_SERVER_TLS_CA_FILE": "/not/in/this/container"}).verify_gitlab is True
    found = load(MINIMAL, {"CI_SERVER_TLS_CA_FILE": str(files["ci"])})
    assert (found.verify_port, found.verify_gitlab) == (True, str(files["ci"]))
    for name, key in (
        ("SSL_CERT_FILE", "ssl"),
        ("CURL_CA_BUNDLE", "curl"),
        ("REQUESTS_CA_BUNDLE", "requests"),
    ):
        environ[name] = str(files[key])
        found = load(environ)
        assert (found.verify_port, found.verify_gitlab) == (str(files[key]), str(files[key]))
    assert only_fault(environ, {"REQUESTS_CA_BUNDLE": "/none"}).startswith("REQUESTS_CA_BUNDLE: ")


def test_unverified_certificates_are_possible_and_loud() -> None:
    found = load(MINIMAL, {"OCEAN__SSL": '{"thirdParty": {"verify": false}}'})
    assert (found.verify_port, found.verify_gitlab) == (True, False)
    assert "certificate of GitLab" in why(found)[0]
    assert load(MINIMAL, {"OCEAN__SSL__PORT__VERIFY": "0"}).verify_port is False


def test_jq_sees_nothing_unless_both_say_so() -> None:
    access, names = "OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS", "OCEAN__EXPORT__JQ_ENV"
    for alone in ({access: "true"}, {names: "REGION"}):
        found = load(MINIMAL, alone)
        assert found.jq_env == ()
        assert len(found.warnings) == 1
    found = load(MINIMAL, {access: "true", names: "REGION OCEAN__PORT__CLIENT_SECRET OCEAN__EXPORT"})
    assert found.jq_env == ("REGION", "OCEAN__PORT__CLIENT_SECRET", "OCEAN__EXPORT")
    assert " names OCEAN__PORT__CLIENT_SECRET, OCEAN__EXPORT: " in why(found)[0]
    assert " names ocean__port: " in why(load(MINIMAL, {access: "true", names: "ocean__port"}))[0]


def test_unknown_names_warn_with_the_nearest() -> None:
    found = load(MINIMAL, {"OCEAN__EXPORT__WORKER": "3", "OCEAN__XYZZY": "1", "OCEANIC": "1"})
    assert sorted(why(found)) == [
        "OCEAN__EXPORT__WORKER is not known; did you mean OCEAN__EXPORT__WORKERS?",
        "OCEAN__XYZZY is not known",
    ]
    assert {(problem.stage, problem.warning) for problem in found.warnings} == {("settings", True)}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("OCEAN__EXPORT__WORKER", "OCEAN__EXPORT__WORKERS"),
        ("OCEAN__EXPORT__ALLOW_DELETE", "OCEAN__EXPORT__ALLOW_DELETES"),
        ("OCEAN__PORT__CLIENTSECRETS", "OCEAN__PORT__CLIENT_SECRET"),
        (f"{CONFIG}GITLAB_TOKENS", f"{CONFIG}GITLAB_TOKEN"),
        ("OCEAN__EXPROT__WORKERS", "OCEAN__EXPORT__WORKERS"),
        ("OCEAN__EXPORT__TOKEN", None),
        ("OCEAN__EXPORT__CLIENT_SECRET", None),
        ("OCEAN__EXPORT__HOST", None),
        ("OCEAN__EXPORT__UNTIL", None),
        ("OCEAN__EXPORT__REPORT_XML", None),
        ("OCEAN__PORT__ORG_ID", None),
        ("OCEAN__PORT__ZONE", None),
        (f"{CONFIG}GITLAB_GROUP", None),
        ("OCEAN__SSL__VERIFY", None),
    ],
)
def test_a_suggestion_is_near_and_of_the_same_section(name: str, near: str | None) -> None:
    (said,) = why(load(MINIMAL, {name: "1"}))
    assert said == f"{name} is not known" + (f"; did you mean {near}?" if near else "")


PLACEHOLDERS = {
    "is the name of a variable that nothing replaced": ["$GITLAB_TOKEN", "${GITLAB_TOKEN}", "%GITLAB_TOKEN%", "$X"],
    "is a $(NAME) that Azure Pipelines did not replace": ["$(GITLAB_TOKEN)", "$(gitlab.token)"],
    "is a ${{ … }} that GitHub Actions did not replace": ["${{ secrets.GITLAB_TOKEN }}", "${{secrets.X}}"],
    "is what is shown in the place of a secret": [
        *(
            "[MASKED]",
            "****",
            "***",
            "[secret]",
            "[REDACTED]",
            "<token>",
            "xxxxxxxx",
            "glpat-xxxxxxxx",
            "glpat-…",
            "••••••",
        ),
    ],
    "is the path of a file": ["/run/secrets/gitlab_token", "/builds/a/b.tmp/GITLAB_TOKEN", "~/token", "C:\\token.txt"],
}


@pytest.mark.parametrize("name", ["GITLAB_TOKEN", "CLIENT_SECRET", "TOKEN_MAPPING"])
@pytest.mark.parametrize("said", PLACEHOLDERS)
def test_what_stands_in_the_place_of_a_secret_is_recognised_and_explained(said: str, name: str) -> None:
    for text in PLACEHOLDERS[said]:
        given = {
            "GITLAB_TOKEN": {f"{CONFIG}GITLAB_TOKEN": text},
            "CLIENT_SECRET": {"OCEAN__PORT__CLIENT_SECRET": text},
            "TOKEN_MAPPING": {f"{CONFIG}TOKEN_MAPPING": json.dumps({TOKEN: ["a"], text: ["**"]})},
        }
        fault = only_fault(MINIMAL, given[name])
        assert said in fault, text
        assert name in fault


def test_a_file_that_is_named_in_the_place_of_its_secret_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    fault = only_fault(MINIMAL, {f"{CONFIG}GITLAB_TOKEN": str(tmp_path / "token")})
    assert "add _FILE to the name of the variable" in fault
    assert load(PORT, {f"{CONFIG}GITLAB_TOKEN_FILE": str(tmp_path / "token")}).secrets() == (ID, SECRET, TOKEN)
    (tmp_path / "unfilled").write_text("${GITLAB_TOKEN}\n")
    assert "nothing replaced" in only_fault(PORT, {f"{CONFIG}GITLAB_TOKEN_FILE": str(tmp_path / "unfilled")})


def test_secrets_that_only_look_odd_are_taken() -> None:
    for text in ("a$b", "$a-b", "pa$$word", "/Ab3+/x9Q==", "x9", "glpat-xxxxxxy", "[x", "aXxX"):
        assert load(MINIMAL, {"OCEAN__PORT__CLIENT_SECRET": text}).port_client_secret.get_secret_value() == text


def test_a_listener_that_waits_is_to_be_removed() -> None:
    assert "remove it" in only_fault(MINIMAL, {"OCEAN__EVENT_LISTENER": '{"type":"POLLING"}'})
    assert "remove it" in only_fault(MINIMAL, {"OCEAN__EVENT_LISTENER__TYPE": "KAFKA"})


def test_an_identifier_may_begin_with_a_dash() -> None:
    assert load(MINIMAL, {"OCEAN__INTEGRATION__IDENTIFIER": "-A"}).integration_identifier == "-a"


def test_the_login_of_a_proxy_is_a_secret() -> None:
    found = load(
        MINIMAL, {"HTTPS_PROXY": "http://ada:pa%40ss-w0rd@proxy:3128", "http_proxy": "http://t0ken-only@proxy"}
    )
    assert {"pa%40ss-w0rd", "pa@ss-w0rd", "t0ken-only"} <= set(found.secrets())
    assert "ss-w0rd" not in repr(found)
    assert load(MINIMAL, {"HTTPS_PROXY": "http://proxy:3128"}).secrets() == (ID, SECRET, TOKEN)


def test_strictness_of_certificates_is_read_for_each_side() -> None:
    found = load(MINIMAL, {"OCEAN__SSL__THIRD_PARTY__X509__STRICT": "false"})
    assert (found.strict_port, found.strict_gitlab, found.warnings) == (True, False, ())
    assert load(MINIMAL, {"OCEAN__SSL": '{"port": {"x509": {"strict": false}}}'}).strict_port is False
    assert "true or false" in only_fault(MINIMAL, {"OCEAN__SSL__PORT__X509__STRICT": "some"})


def test_unknown_names_help_when_something_is_missing() -> None:
    with pytest.raises(UsageError) as caught:
        load({**MINIMAL, "OCEAN__PORT__CLIENT_SECRET": "", "OCEAN__PORT__CLIENTS_SECRET": SECRET})
    assert "did you mean OCEAN__PORT__CLIENT_SECRET?" in caught.value.hint


def test_a_secret_in_the_place_of_a_key_is_not_shown() -> None:
    found = load(MINIMAL, {"OCEAN__INTEGRATION__CONFIG": json.dumps({"appHost": "x", "glpat-oops": ["**"]})})
    (said,) = why(found)
    assert said.startswith("OCEAN__INTEGRATION__CONFIG (key 2) is not known")
    assert "oops" not in said.lower()


def test_names_that_one_run_does_not_need() -> None:
    found = load(
        MINIMAL,
        {
            "OCEAN__BASE_URL": "$(URL)",
            "OCEAN__SCHEDULED_RESYNC_INTERVAL": "60",
            "OCEAN__METRICS": '{"enabled": true}',
            "OCEAN__METRICS__ENABLED": "true",
            "OCEAN__EVENT_LISTENER__BROKERS": "x",
            f"{CONFIG}APP_HOST": "https://app.example.com",
            f"{CONFIG}TOKEN_GROUP_HOOKS_OVERRIDE_MAPPING": "{}",
            "OCEAN__PROCESSING_MODE": "ocean-core",
        },
    )
    assert found.warnings == ()
    assert set(found.ignored) == {
        "OCEAN__BASE_URL (live events only)",
        "OCEAN__SCHEDULED_RESYNC_INTERVAL",
        "OCEAN__METRICS",
        "OCEAN__METRICS__ENABLED",
        "OCEAN__EVENT_LISTENER__BROKERS",
        f"{CONFIG}APP_HOST (live events only)",
        f"{CONFIG}TOKEN_GROUP_HOOKS_OVERRIDE_MAPPING (live events only)",
        "OCEAN__PROCESSING_MODE",
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OCEAN__PROCESSING_MODE", "dsp"),
        ("OCEAN__OAUTH_ACCESS_TOKEN_FILE_PATH", "/token"),
    ],
)
def test_names_whose_silence_would_surprise(name: str, text: str) -> None:
    (said,) = why(load(MINIMAL, {name: text}))
    assert said.startswith(f"{name} is not ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("25m", 1500), ("90s", 90), ("1h30m", 5400), ("1H 5s", 3605), ("90", 90), ("0.5", 0.5), ("1.5h", 5400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1", "1h30", "m", "5 days", "1e9", "inf", "٣s", "30m1h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time above 0"):
        parse_duration(text)


def test_allowed_deletes() -> None:
    assert parse_allow_deletes(" service,gitlabGroup=20,, ") == {"service": None, "gitlabGroup": 20}
    assert parse_allow_deletes("") == {}
    for wrong in ("=3", "a=b", "a=-1", "a b"):
        with pytest.raises(ValueError, match="is not a list"):
            parse_allow_deletes(wrong)


def test_settings_can_be_built_by_hand() -> None:
    token = Token("token 1", SecretStr(TOKEN), ("**",))
    found = Settings(port_client_id=SecretStr(ID), port_client_secret=SecretStr(SECRET), tokens=(token,), workers=2)
    assert found.secrets() == (ID, SECRET, TOKEN)
    assert found.allow_deletes == {}


NAMES = st.sampled_from(
    [
        *(
            "OCEAN__PORT__CLIENT_ID",
            "OCEAN__PORT__CLIENT_SECRET",
            "OCEAN__PORT__BASE_URL",
            "OCEAN__PORT",
            "OCEAN__",
        ),
        *(
            "OCEAN__INTEGRATION",
            "OCEAN__INTEGRATION__CONFIG",
            "OCEAN__INTEGRATION__SECRETS",
            "INTEGRATION__SECRETS",
        ),
        *(CONFIG + name for name in ("GITLAB_TOKEN", "GITLAB_HOST", "GITLABURL", "TOKEN_MAPPING", "APP_HOST")),
        *(
            "OCEAN__INTEGRATION__IDENTIFIER",
            "OCEAN__INTEGRATION__TYPE",
            "OCEAN__EVENT_LISTENER",
            "OCEAN__METRICS",
        ),
        *("OCEAN__EXPORT__WORKERS", "OCEAN__EXPORT__DEADLINE", "OCEAN__EXPORT__ALLOW_DELETES", "OCEAN__SSL"),
        *("OCEAN__RESOURCES_PATH", "OCEAN__EXPORT__JQ_ENV", "APPLICATION__LOG_LEVEL", "CI_SERVER_URL"),
        *("OCEAN__PORT__CLIENT_ID_FILE", "REQUESTS_CA_BUNDLE", "CI_JOB_TOKEN", "OCEAN__CLIENT_TIMEOUT"),
    ]
)
MARK = "s3cr3t"
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cc"]), max_size=30),
    st.sampled_from(["ONCE", "true", "5", "{}", '{"type":"ONCE"}', "https://gitlab.example.com", "gitlab.example.com"]),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just(MARK)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2),
            st.dictionaries(st.sampled_from(["config", "gitlabToken", "tokenMapping", "clientId", MARK]), inner),
        ),
        max_leaves=5,
    ).map(json.dumps),
)


def outcome(environ: dict[str, str]) -> str:
    """Return everything that is shown to the user; anything but a UsageError fails the test."""
    try:
        return f"warnings: {load(environ).warnings!r}"
    except UsageError as error:
        return "".join(traceback.format_exception(error)) + error.hint if error.faults else ""


@hypothesis_settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, st.tuples(TEXTS, st.sampled_from(["", MARK]), TEXTS).map("".join), max_size=8))
def test_any_environment_loads_or_says_why_without_a_value(environ: dict[str, str]) -> None:
    said = outcome(environ)
    assert said
    assert MARK not in said.lower()


@pytest.mark.parametrize("name", ["git+lab", "a/b", "a\\b", "@team", "service.v2"])
def test_every_blueprint_that_a_report_can_name_can_be_released(name: str) -> None:
    assert parse_allow_deletes(f"{name}=3,other") == {name: 3, "other": None}


def test_the_configuration_may_be_lines_of_name_and_value() -> None:
    given = {**MINIMAL, CONFIG_NAME: f"gitlabUrl: https://gitlab.example.com # ours\ngitlabToken: '{TOKEN}'\n"}
    given.pop("OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN", None)
    found = load(given)
    assert (found.gitlab_url, shape(found)) == ("https://gitlab.example.com", [("token 1", TOKEN, ("**",))])
    # A token that looks like a number stays a text.
    assert shape(load({**given, CONFIG_NAME: "gitlab_token: 0123456789"}))[0][1] == "0123456789"
    for text in ("no lines", "- a list", "a: [", "a: &x {b: *x}", "a: &x [*x]", "1: " + "[" * 5000):
        fault = next(one for one in faults({**given, CONFIG_NAME: text}) if one.startswith(CONFIG_NAME))
        assert "is not" in fault
        assert text not in fault


# --- what only the commands that change GitLab look at

WRITING = {
    "OCEAN__EXPORT__WRITE_SCOPES": "acme,acme/**",
    "OCEAN__EXPORT__MAX_ROLE": "Developer",
}


def test_a_sync_opens_neither_the_write_token_nor_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "write-token"
    file.write_text("glpat-writes-2b7f", "utf-8")
    opened: list[str] = []
    read = Path.read_text

    def spy(path: Path, *given: Any, **named: Any) -> str:
        opened.append(path.name)
        return read(path, *given, **named)

    monkeypatch.setattr(Path, "read_text", spy)
    found = load(MINIMAL, WRITING, {"OCEAN__EXPORT__GITLAB_WRITE_TOKEN_FILE": str(file)})
    assert (found.write_token, found.write_scopes, found.max_role) == (None, (), "maintainer")
    assert (opened, found.warnings) == ([], ())
    assert load(MINIMAL, {"OCEAN__EXPORT__GITLAB_WRITE_TOKEN": "x"}).write_token is None
    writing = load(MINIMAL, WRITING, {"OCEAN__EXPORT__GITLAB_WRITE_TOKEN_FILE": str(file)}, apart=True)
    assert (writing.write_scopes, writing.max_role) == (("acme", "acme/**"), "developer")
    assert opened == ["write-token"]
    assert "glpat-writes-2b7f" in writing.secrets()


def test_with_a_write_token_a_command_that_writes_needs_no_other() -> None:
    environ = {name: text for name, text in MINIMAL.items() if not name.endswith("GITLAB_TOKEN")}
    environ |= {"OCEAN__EXPORT__GITLAB_WRITE_TOKEN": "glpat-writes-2b7f"}
    assert load(environ, apart=True).tokens == ()
    assert "is not set" in only_fault(environ)


def test_a_file_that_was_found_names_no_scope_and_no_token_to_write_with(tmp_path: Path) -> None:
    found = tmp_path / ".env"
    found.write_text("OCEAN__EXPORT__WRITE_SCOPES=acme\nOCEAN__EXPORT__GITLAB_WRITE_TOKEN=glpat-theirs-77\n", "utf-8")
    settings = load(MINIMAL, dotenv=found, apart=True)
    assert (settings.write_scopes, settings.write_token) == ((), None)
    found.write_text("OCEAN__EXPORT__MAX_ROLE=owner\n", "utf-8")
    assert "is not taken" in only_fault(MINIMAL, dotenv=found, apart=True)
    assert load(MINIMAL, dotenv=found).max_role == "maintainer"


def test_jq_never_sees_the_write_token_although_a_sync_does_not_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "OCEAN__EXPORT__GITLAB_WRITE_TOKEN"
    monkeypatch.setenv(name, "a-token-without-a-known-shape")
    monkeypatch.setenv("REGION", "eu-1")
    both = {"OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS": "true", "OCEAN__EXPORT__JQ_ENV": f"REGION,{name}"}
    found = load(MINIMAL, both)
    assert jq_environ(found).keys() - {"TZ"} == {"REGION"}
    assert f"names {name}" in why(found)[0]
