"""`check`: every finding that it can make, all in one run, the exit code, and that it writes nothing."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import INTEGRATION, Bench
from gitlab_port_export.commands import check
from gitlab_port_export.commands.check import CHECKS
from gitlab_port_export.commands.session import Session
from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import refuse
from gitlab_port_export.demo.world import GUEST, REPORTER, SAMPLE_TOKENS
from gitlab_port_export.gitlab.kinds import SELECTORS
from gitlab_port_export.mapping.load import load_mapping
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.sync.fit import UNKNOWN, misfits, outcome
from testbed.harness import NoWait, blueprint, mapping_of, resource, run_sync
from testbed.here import run_here

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("lent_evaluator")

THING = blueprint("thing", name="string", size="number", state={"type": "string", "enum": ["open", "closed"]})


def findings(bench: Bench, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[int, list[dict[str, str]]]:
    """Check in this process; the exit code and the findings."""
    options = {name: changes.pop(name) for name in list(changes) if name in ("mapping_file", "deadline")}
    monkeypatch.chdir(bench.folder)
    out = io.StringIO()
    session = Session(out, io.StringIO(), bench.environ(**changes), as_json=True, make_clock=NoWait)
    code = check.run(session, **options)
    document = json.loads(out.getvalue())
    assert [secret for secret in bench.secrets if secret in out.getvalue()] == []
    assert document["exit"]["code"] == code
    assert bench.store.writes == 0
    assert bench.changing_calls() == []
    return code, document["findings"]


def of(found: list[dict[str, str]], area: str, level: str = "") -> list[str]:
    return [
        f"{one['where']}: {one['what']}"
        for one in found
        if one["area"] == area and (one["level"] == level if level else one["level"] != "ok")
    ]


def test_all_is_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.add_blueprint(THING)
    file = bench.file("m.yml", json.dumps(mapping_of(resource("project", properties={"name": ".name"}))))
    code, found = findings(bench, monkeypatch, mapping_file=file)
    assert code == 0
    assert [one["what"] for one in found if one["level"] != "ok"] == ["does not exist; the first sync creates it"]
    # Each area is looked at, in the order of CHECKS.
    assert list(dict.fromkeys(one["area"] for one in found)) == list(dict.fromkeys(area for area, _ in CHECKS))


def test_no_rows_are_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    findings(bench, monkeypatch)
    assert {request.path for request in bench.gitlab.requests} == {
        "/user", "/version", "/personal_access_tokens/self", "/groups",
    }  # fmt: skip
    assert len(bench.gitlab.requests) <= 9


# --- settings


def test_faulty_settings_are_all_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"OCEAN__PORT__CLIENT_SECRET": None, "OCEAN__EXPORT__WORKERS": "many"}
    code, found = findings(bench, monkeypatch, **changes)
    assert code == 2
    assert [one["where"] for one in found] == ["OCEAN__PORT__CLIENT_SECRET", "OCEAN__EXPORT__WORKERS"] or {
        one["where"] for one in found
    } == {"OCEAN__PORT__CLIENT_SECRET", "OCEAN__EXPORT__WORKERS"}
    assert bench.port.requests == bench.gitlab.requests == []


def test_a_mapping_file_is_looked_at_beside_faulty_settings(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    file = bench.file("m.yml", json.dumps(mapping_of(resource("isue", title=".a |"))))
    code, found = findings(bench, monkeypatch, mapping_file=file, OCEAN__PORT__CLIENT_ID=None)
    assert code == 2
    assert len(of(found, "settings", "error")) == 1
    assert [line.partition("(isue): ")[2][:25] for line in of(found, "mapping", "error")] == [
        "kind: unknown kind 'isue'",
        "title: not a jq expressio",
    ]


def test_doubtful_settings_are_warnings(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    code, found = findings(bench, monkeypatch, OCEAN__EXPORT__WORKER="3")
    assert code == 0
    assert "OCEAN__EXPORT__WORKERS" in of(found, "settings", "warning")[0]


def test_each_token_names_the_setting_that_it_comes_from(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = SAMPLE_TOKENS
    mapped = {"OCEAN__INTEGRATION__CONFIG": json.dumps({"tokenMapping": {one: ["a/**"], two: ["b/**", "c/*"]}})}
    _, found = findings(bench, monkeypatch, OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING=None, **mapped)
    assert of(found, "settings", "ok")[1:] == [
        "token 1: comes from OCEAN__INTEGRATION__CONFIG (tokenMapping), entry 1 and is for a/**",
        "token 2: comes from OCEAN__INTEGRATION__CONFIG (tokenMapping), entry 2 and is for b/**, c/*",
    ]
    file = {"OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN_FILE": bench.file("token", one)}
    _, found = findings(bench, monkeypatch, OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING=None, **file)
    assert of(found, "settings", "ok")[1:] == [
        "token 1: comes from OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN_FILE and is for everything"
    ]


# --- Port and GitLab


def test_a_missing_integration_is_answered_with_those_that_exist(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def hint() -> str:
        _, found = findings(bench, monkeypatch, OCEAN__INTEGRATION__IDENTIFIER="no-such")
        return next(one["hint"] for one in found if one["where"] == "integration no-such")

    assert hint().endswith("Port shows no GitLab integration")
    for identifier, kind in (("ours", "GitLab"), ("jira-1", "jira"), ("theirs", "gitlab-v2")):
        bench.store.integrations[identifier] = {"installationId": identifier, "installationAppType": kind}
    assert hint() == (
        "Port has ours (gitlab), theirs (gitlab-v2); to go on with one of them set "
        "OCEAN__INTEGRATION__IDENTIFIER=<identifier>"
    )
    del bench.store.integrations["ours"]
    assert hint().endswith("OCEAN__INTEGRATION__IDENTIFIER=theirs")
    bench.port.faults.append(PortFault("GET /v1/integration$", refuse(500)))
    assert hint().endswith("Port shows no GitLab integration")


def expires(days: int) -> Callable[[Bench], None]:
    def arrange(bench: Bench) -> None:
        day = (datetime.now(UTC) + timedelta(days=days)).date()
        bench.world.tokens[SAMPLE_TOKENS[0]].expires_at = day.isoformat()

    return arrange


def token(**changes: Any) -> Callable[[Bench], None]:
    return lambda bench: (
        [setattr(bench.world.tokens[SAMPLE_TOKENS[0]], name, value) for name, value in changes.items()] and None
    )


def gitlab_fault(path: str, answer: Any) -> Callable[[Bench], None]:
    return lambda bench: bench.gitlab.faults.append(Fault(path, answer))


def port_fault(call: str, status: int) -> Callable[[Bench], None]:
    return lambda bench: bench.port.faults.append(PortFault(call, refuse(status)))


def integration(kind: str) -> Callable[[Bench], None]:
    def arrange(bench: Bench) -> None:
        bench.sync_an_hour_ago()
        bench.store.writes = 0
        bench.store.integrations[INTEGRATION]["installationAppType"] = kind

    return arrange


def lowered(bench: Bench) -> None:
    reader = next(user for user in bench.world.users.values() if user["username"] == "research-reader")
    bench.world.remove_member(bench.world.group("research"), reader)
    bench.world.add_member(bench.world.group("research"), reader, GUEST)


PLACES: dict[str, tuple[Callable[[Bench], None], int, str, str, str]] = {
    "wrong credentials": (lambda bench: bench.store.credentials.clear(), 4, "port", "error", "refused the credentials"),
    "no right to the integration": (
        port_fault("GET /v1/integration/", 403), 4, "port", "error", "the credentials may not read it",
    ),
    "no right to blueprints": (
        port_fault("GET /v1/blueprints$", 403), 4, "port", "error", "did not give its blueprints",
    ),
    "another type in Port": (integration("gitlab"), 0, "port", "warning", "has the type gitlab in Port"),
    "GitLab in trouble": (gitlab_fault("/user", faults.login_page()), 3, "gitlab", "error", "answered 200 with"),
    "a revoked token": (token(revoked=True), 3, "gitlab", "error", "token 1: 401"),
    "a token without read_api": (token(scopes=("read_user",)), 3, "gitlab", "error", "lacks the scope read_api"),
    "a token that may write": (
        token(scopes=("api", "sudo")), 0, "gitlab", "warning", "may do more than read: api, sudo",
    ),
    "an administrator's token": (token(admin=True), 0, "gitlab", "warning", "is an administrator's"),
    "a token that ends soon": (expires(13), 0, "gitlab", "warning", "expires in 13 days"),
    "a token that ends today": (expires(0), 0, "gitlab", "warning", "expires today"),
    "an OAuth token": (
        gitlab_fault("/personal_access_tokens/self", faults.unauthorized()), 0, "gitlab", "warning",
        "GitLab does not tell its scopes",
    ),
    "a role too low to be listed": (
        lowered, 0, "gitlab", "warning", "role is below Developer in research: they and their projects are not read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_what_is_wrong_with_port_and_gitlab(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    arrange, code, area, level, words = PLACES[name]
    arrange(bench)
    found_code, found = findings(bench, monkeypatch)
    assert any(words in line for line in of(found, area, level)), found
    assert found_code == code
    assert all(one["hint"] for one in found if one["level"] == "error"), found


def test_accounts_need_an_administrator(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    token(admin=True, scopes=("read_api", "admin_mode"))(bench)
    bench.store.add_blueprint(THING)
    for kind, warnings in (("user", 0), ("project", 2)):
        file = bench.file("m.yml", json.dumps(mapping_of(resource(kind, "thing"))))
        _, found = findings(bench, monkeypatch, mapping_file=file)
        assert len([line for line in of(found, "gitlab", "warning") if line.startswith("token 1")]) == warnings


def test_thirteen_days_and_fourteen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    expires(14)(bench)
    assert not any("expires" in one["what"] for one in findings(bench, monkeypatch)[1])


def test_rows_that_gitlab_hides_are_named_by_kind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lowered(bench)
    mapping = mapping_of(
        *(resource(kind, blueprint="thing") for kind in ("issue", "pipeline", "job", "project")),
        visibility={"useMinAccessLevel": False},
    )
    bench.store.add_blueprint(THING)
    code, found = findings(bench, monkeypatch, mapping_file=bench.file("m.yml", json.dumps(mapping)))
    assert code == 0
    assert [line.removeprefix("groups: the role is below ") for line in of(found, "gitlab", "warning")] == [
        "Planner in research: GitLab silently leaves out confidential issues there (issue)",
        "Reporter in research: GitLab refuses pipelines that are not public there, and nothing of them is deleted "
        "(pipeline)",
        "Reporter in research: GitLab refuses jobs that are not public there, and nothing of them is deleted (job)",
    ]


def test_a_gitlab_that_does_not_know_the_role_planner_refuses_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered(bench)
    refusal = faults.reply_json(400, {"error": "min_access_level does not have a valid value"})
    bench.gitlab.faults.append(Fault(lambda r: ("min_access_level", "15") in r.query, refusal))
    mapping = mapping_of(
        *(resource(kind, blueprint="thing") for kind in ("issue", "project")), visibility={"useMinAccessLevel": False}
    )
    bench.store.add_blueprint(THING)
    code, found = findings(bench, monkeypatch, mapping_file=bench.file("m.yml", json.dumps(mapping)))
    assert code == 0
    assert of(found, "gitlab") == [
        "groups: the role is below Reporter in research: GitLab silently leaves out confidential issues there (issue)"
    ]


def test_another_token_with_a_higher_role_is_enough(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = bench.world.group("payments/cards")
    reader = next(user for user in bench.world.users.values() if user["username"] == "research-reader")
    bench.world.remove_member(cards, reader)
    bench.world.add_member(cards, reader, REPORTER)
    assert of(findings(bench, monkeypatch)[1], "gitlab") == []


def test_a_pattern_that_can_match_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = {
        "OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING": json.dumps({SAMPLE_TOKENS[0]: ["platfrom/**", "payments/**"]})
    }
    _, found = findings(bench, monkeypatch, **patterns)
    (line,) = of(found, "gitlab", "warning")
    assert "'platfrom/**'" in line


@pytest.mark.parametrize(
    ("name", "area", "code"),
    [("OCEAN__PORT__BASE_URL", "port", 4), ("OCEAN__INTEGRATION__CONFIG__GITLAB_HOST", "gitlab", 3)],
)
def test_who_does_not_answer(name: str, area: str, code: int, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    found_code, found = findings(bench, monkeypatch, **{name: "http://127.0.0.1:9"})
    assert found_code == code
    (line,) = of(found, area, "error")
    assert line.startswith("http://127.0.0.1:9: ")
    # The other one is looked at all the same.
    assert any(one["level"] == "ok" and one["area"] == ("port" if area == "gitlab" else "gitlab") for one in found)


def test_a_mapping_that_cannot_be_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    code, found = findings(bench, monkeypatch, mapping_file="nowhere.yml")
    assert code == 2
    assert of(found, "mapping", "error") == ["nowhere.yml: cannot be read: No such file or directory"]


def test_a_blueprint_that_port_lacks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    file = bench.file("m.yml", json.dumps(mapping_of(resource("project", "thinf")), indent=1))
    code, found = findings(bench, monkeypatch, mapping_file=file)
    assert code == 2
    (line,) = of(found, "mapping", "error")
    assert line.endswith("resource 0 (project): blueprint: Port has no blueprint 'thinf'")


def test_a_blueprint_that_port_lacks_beside_one_that_it_has(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.add_blueprint(blueprint("thing"))
    mapping = mapping_of(resource("project", "thing"), resource("group", "thinf"))
    code, found = findings(bench, monkeypatch, mapping_file=bench.file("m.yml", json.dumps(mapping, indent=1)))
    assert code == 2
    (line,) = of(found, "mapping", "error")
    assert line.endswith("resource 1 (group): blueprint: Port has no blueprint 'thinf'")


def test_everything_is_found_in_one_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.credentials.clear()
    for one in bench.world.tokens.values():
        one.revoked = True
    file = bench.file("m.yml", json.dumps(mapping_of(resource("projcet", title=".name |"), colour=1)))
    code, found = findings(bench, monkeypatch, mapping_file=file)
    assert code == 2
    assert len(of(found, "gitlab", "error")) == 2
    assert len(of(found, "port", "error")) == 1
    (kind, title) = of(found, "mapping", "error")
    assert kind.startswith("m.yml:1:")
    assert "resource 0 (projcet): kind: unknown kind 'projcet'" in kind
    assert "title: not a jq expression" in title
    assert any("unknown key 'colour'" in line for line in of(found, "mapping", "warning"))


# --- the mapping beside Port's blueprints

BLUEPRINTS = {
    name: Blueprint.of(data)
    for name, data in {
        "thing": THING | {"calculationProperties": {"age": {}}},
        "needy": {
            **blueprint(
                "needy", {"owner": {"target": "thing", "many": False, "required": True}}, a="string", b="string"
            ),
            "schema": {
                "properties": {"a": {"type": "string"}, "b": {"type": "string", "default": "x"}},
                "required": ["a", "b"],
            },
        },
        "linked": blueprint("linked", {"one": "thing", "many": ["thing"]}),
    }.items()
}


def misfit(blueprint: str, **fields: Any) -> list[str]:
    text = json.dumps(mapping_of(resource("project", blueprint, **fields)), indent=1)
    mapping, _ = load_mapping(text, "m.yml", SELECTORS)
    return [
        f"{mapping.fault(one.resources[0], (one.line, one.column), f'{one.field}: {one.why} → {one.hint}')}"
        if one.resources
        else f"blueprint {one.blueprint}: {one.why} → {one.hint}"
        for one in misfits(mapping, BLUEPRINTS)
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"properties": {"nmae": ".name"}}, "has no property 'nmae' → did you mean 'name'?"),
        ({"properties": {"age": "1"}}, "Port computes this property"),
        ({"properties": {"size": '"big"'}}, "gives a string; the property holds a number → "),
        ({"properties": {"size": ".id | tostring"}}, "gives a string; the property holds a number"),
        ({"properties": {"name": "[1]"}}, "gives an array; the property holds a string"),
        ({"properties": {"name": "true"}}, "gives a boolean; the property holds a string"),
        ({"properties": {"state": "'opn'"}}, "the property cannot be 'opn' → did you mean 'open'?"),
        ({"properties": {"state": '"red"'}}, "cannot be 'red' → possible are open, closed"),
        ({"properties": {"name": "file://README.md", "size": "file://README.md"}}, "properties.size: gives a string"),
    ],
)
def test_properties_that_port_would_refuse(fields: Any, words: str) -> None:
    (line,) = misfit("thing", **fields)
    assert words in line
    assert line.startswith("m.yml:")
    assert ": resource 0 (project): properties." in line


@pytest.mark.parametrize(
    "fields",
    [
        {"properties": {"name": ".x", "size": ".x", "state": ".x"}},
        {"properties": {"size": "null", "state": "null"}},
        {"properties": {"size": "5", "state": '"open"', "name": '"a \\(.b)"'}},
        {"properties": {"size": ".x | length", "name": ".x | tojson"}},
        {"properties": {"size": ".x # | tostring"}},
        {"blueprint_expression": ".kind", "properties": {"whatever": "1"}},
    ],
)
def test_what_fits_or_cannot_be_told(fields: Any) -> None:
    assert misfit("thing", **fields) == []


def test_relations_that_port_would_refuse_are_found() -> None:
    wrong = {"one": "[.a]", "on": ".a", "many": '"x"'}
    found = misfit("linked", relations={"one": "[1]", "on": ".a", "many": '"x"'})
    assert len(found) == len(wrong)
    assert "gives an array; the relation holds one identifier" in found[0]
    assert "has no relation 'on' → did you mean 'one'?" in found[1]
    assert "gives a string; the relation holds identifiers in an array" in found[2]
    assert misfit("linked", relations={"one": '"a"', "many": '["b"]'}) == []


def test_what_is_required_must_be_mapped_somewhere() -> None:
    found = misfit("needy", properties={"b": ".b"})
    assert [line.partition(" → ")[0] for line in found] == [
        "blueprint needy: property a is required and not mapped",
        "blueprint needy: relation owner is required and not mapped",
    ]
    assert misfit("needy", properties={"a": ".a"}, relations={"owner": ".o"}) == []


@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ('"a"', "string", "a"),
        ("'a b'", "string", "a b"),
        ("1.5", "number", 1.5),
        ("{}", "object", {}),
        ("null", None, None),
        (".a", None, UNKNOWN),
        (".a | not", "boolean", UNKNOWN),
        ('.a | "tostring"', None, UNKNOWN),
    ],
)
def test_the_type_of_an_expression_is_known_without_a_row(expression: str, kind: str | None, value: Any) -> None:
    assert outcome(expression) == (kind, value)


def thing(**fields: Any) -> Any:
    return mapping_of(resource("project", "thing", **fields))


# What is wrong with a mapping, whether it is more than a warning, and words that must be said of it.
FAULTS: dict[str, tuple[Any, bool, str]] = {
    "nothing": (thing(properties={"name": ".name"}), False, ""),
    "an unknown property": (thing(properties={"nmae": ".name"}), True, "has no property 'nmae'"),
    "an unknown relation": (thing(relations={"onwer": ".name"}), True, "has no relation 'onwer'"),
    "an unknown kind": (mapping_of(resource("projcet", "thing")), True, "unknown kind 'projcet'"),
    "an unknown selector key": (thing(selector={"onlyActiv": True}), False, "unknown key 'onlyActiv' is ignored"),
    "an empty mapping": (mapping_of(), True, "has no resources"),
    "a number for text": (thing(properties={"name": ".id"}), True, "gives a number; the property holds a string"),
    "a number for a URL": (thing(properties={"site": ".id"}), True, "gives a number; the property holds a string"),
    "text for a number": (thing(properties={"size": ".web_url"}), True, "gives a string; the property holds a number"),
    "no choice": (thing(properties={"state": '"opn"'}), True, "the property cannot be 'opn'"),
    "no URL": (thing(properties={"site": '"here"'}), True, "must be of the format url"),
    "a property that Port computes": (thing(properties={"age": "1"}), True, "Port computes this property"),
    "what is required and not mapped": (
        mapping_of(resource("project", "strict", query="false")), False, "property a is required and not mapped",
    ),
    "what is required, in entities that are replaced": (
        mapping_of(resource("project", "strict", query="false"), enableMergeEntity=False), True, "a is required",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_check_plan_and_sync_judge_alike(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping, fails, words = FAULTS[name]
    site = {"type": "string", "format": "url"}
    data = blueprint("thing", name="string", size="number", site=site, state={"type": "string", "enum": ["open"]})
    bench.store.add_blueprint(data | {"calculationProperties": {"age": {"type": "number", "calculation": "1"}}})
    strict = blueprint("strict", a="string")
    bench.store.add_blueprint({**strict, "schema": {**strict["schema"], "required": ["a"]}})
    file = bench.file("m.yml", json.dumps(mapping, indent=1))
    code, found = findings(bench, monkeypatch, mapping_file=file)
    said = {
        (
            one["what"].partition("): ")[2].partition(": ")[2] or one["what"],
            one.get("hint", ""),
            one["level"] == "error",
        )
        for one in found
        if one["area"] == "mapping" and one["level"] != "ok"
        for place in [one["what"].partition("): ")[2]]
    }
    assert all(words in why for why, _, _ in said)
    assert (len(said), code) == (int(bool(words)), 2 if fails else 0)
    for command in ("plan", "sync"):
        ran = run_here(bench.environ(), bench.folder, monkeypatch, command=command, as_json=True, mapping_file=file)  # type: ignore[arg-type]  # one of both
        problems = [one for one in json.loads(ran.out)["problems"] if one["stage"] == "mapping"]
        assert {(one["why"], one.get("hint", ""), not one["warning"]) for one in problems} == said
        assert ran.code == (1 if fails else 0)


@pytest.mark.parametrize(("option", "hint"), [("servise=2", "did you mean 'service'?"), ("nothing-like-it", "")])
def test_a_release_of_no_blueprint_is_told(
    option: str, hint: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default mapping's blueprints, which a first sync creates, are known as well."""
    ran = run_here(
        bench.environ(), bench.folder, monkeypatch, command="plan", as_json=True, allow_deletes=[option, "gitlabGroup"]
    )
    (told,) = json.loads(ran.out)["problems"]
    assert f"{option.partition('=')[0]!r}: Port has no such blueprint" in told["why"]
    assert (ran.code, told["warning"], told.get("hint", "")) == (0, True, hint)


# --- as a process


def test_the_command_prints_findings_and_what_to_do(bench: Bench) -> None:
    token(scopes=("api",))(bench)
    ran = bench.run("check")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if "may do more than read: api" in line)
    assert lines[at].startswith("warning gitlab   token 1 (catalog): ")
    assert lines[at + 1].strip() == "→ make a new token with the scope read_api alone"
    assert lines[-2:] == ["Checks passed with 2 warnings.", "Next: gitlab-port-export plan"]
    bench.store.credentials.clear()
    refused = bench.run("check", "--mapping", "my file.yml")
    assert refused.returncode == 2
    assert refused.stdout.splitlines()[-1] == (
        "Next: correct what is wrong, then gitlab-port-export check --mapping 'my file.yml'"
    )
    assert bench.run("check").returncode == 4
    assert bench.changing_calls() == []


def test_names_from_gitlab_cannot_steer_a_terminal(bench: Bench) -> None:
    token(name="\x1b[31m\n::error::x")(bench)
    ran = bench.run("check")
    assert "\\x1b[31m\\n::error::x" in ran.stdout


def test_the_page_of_differences_counts_what_the_default_mapping_makes(bench: Bench) -> None:
    """Whoever has a plan with a limit reads it there before the first sync."""
    counts = run_sync(bench.gitlab, bench.port).report.blueprints
    more = sum(counts[name].created for name in ("gitlabIssue", "gitlabPipeline", "gitlabJob"))
    total = sum(one.created for one in counts.values())
    page = " ".join((ROOT / "docs" / "differences.md").read_text("utf-8").split())
    assert f"with {counts['service'].created} projects, it makes {total} entities: {total - more} of the kinds" in page
    assert f"and {more} issues, pipelines and jobs" in page
