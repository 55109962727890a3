"""A run of a Port action is carried out as it asks, told how it went, and ended on every way out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.access.audit import ci_job
from gitlab_port_export.access.inputs import LONGEST, checked, read_request
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.commands.changes import Change
from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import Recorded, drop, refuse
from gitlab_port_export.demo.port_runs import Unknown
from gitlab_port_export.demo.world import DEVELOPER, GUEST, MAINTAINER
from testbed.access_bed import is_write
from testbed.action_bed import JOB, READER, ActionBed, action_bed, definition
from testbed.harness import blueprint, run_command, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[ActionBed]:
    with action_bed(tmp_path) as found:
        yield found


def entity_of(bed: ActionBed, person: str) -> str:
    return next(key for key in bed.entities() if key == f"group-{bed.access.acme['id']}-{person}")


def is_final(asked: Recorded) -> bool:
    """Say whether a request sends the final status of a run."""
    return asked.method == "PATCH" and "status" in (asked.body or {})


def ended(bed: ActionBed, number: str) -> tuple[str, str]:
    page = bed.page(number)
    return page["status"], page.get("statusLabel", "")


# What is asked for


def test_a_grant_from_a_groups_entity_changes_gitlab_and_the_catalog_at_once(bed: ActionBed) -> None:
    number = bed.grant(expires="2099-01-31")
    ran = bed.run(run=number)
    assert ran.code == 0, ran.all
    member = bed.access.member("kim") or {}
    assert (member["access_level"], member["expires_at"], len(bed.access.writes())) == (DEVELOPER, "2099-01-31", 1)
    assert ended(bed, number) == ("SUCCESS", "Granted: Developer")
    page = bed.page(number)
    assert page["link"] == JOB
    assert "`kim` (id " in page["summary"]
    assert "until 2099-01-31" in page["summary"]
    assert ("gitlabAccess", entity_of(bed, "kim")) in bed.store.runs.affected[number]
    assert bed.entities()[entity_of(bed, "kim")]["role"] == "Developer"
    # Port ties entities to a run that is in progress, so its end comes last.
    assert is_final(bed.bench.port.requests[-1])
    audit = json.loads(bed.log(number)[-1])["audit"]
    assert (audit["asked_by"], audit["run"], audit["reason"]) == ("ada@example.com", number, "on call")
    assert bed.left_to_do() == []


def test_a_grant_from_a_persons_entity_takes_the_place_from_the_form(bed: ActionBed) -> None:
    inputs = {"project": "acme/apps/web", "role": "maintainer", "reason": "review"}
    number = bed.start("gitlab_access_grant_on_user", inputs, "jane")
    assert bed.run(run=number).code == 0
    assert bed.access.role("jane", bed.access.web) == MAINTAINER
    assert ended(bed, number) == ("SUCCESS", "Granted: Maintainer")
    assert bed.left_to_do() == []


def test_a_revoke_takes_person_and_place_from_the_entity(bed: ActionBed) -> None:
    number = bed.revoke(entity_of(bed, "jane"))
    assert bed.run(run=number).code == 0
    assert (bed.access.role("jane"), ended(bed, number)) == (None, ("SUCCESS", "Revoked: Developer"))
    assert not [key for key in bed.entities() if key.endswith("-jane")]
    assert bed.left_to_do() == []


def test_an_address_without_account_is_invited_and_the_label_says_so(bed: ActionBed) -> None:
    number = bed.grant("new@example.org", "guest")
    assert bed.run(run=number).code == 0
    assert [row["invite_email"] for row in bed.access.world.rows_of("invitation", bed.access.acme)] == [
        "new@example.org"
    ]
    assert ended(bed, number) == ("SUCCESS", "Invited, not yet accepted")


def test_a_second_run_for_the_same_writes_nothing(bed: ActionBed) -> None:
    bed.run(run=bed.grant())
    bed.access.freed()
    bed.bench.port.requests.clear()
    number = bed.grant()
    assert bed.run(run=number).code == 0
    assert (bed.access.writes(), ended(bed, number)) == ([], ("SUCCESS", "Nothing to do"))
    assert bed.bench.port.calls("POST .*/(bulk|delete)$") == []


@pytest.mark.parametrize("unknown", [Unknown(entity_inputs="object"), Unknown(tells_blueprint=False)])
def test_what_is_not_known_of_runs_does_not_matter(bed: ActionBed, unknown: Unknown) -> None:
    bed.store.runs.unknown = unknown
    inputs = {"group": "acme", "role": "maintainer", "reason": "review"}
    number = bed.start("gitlab_access_grant_on_user", inputs, "jane")
    assert bed.run(run=number).code == 0
    assert (bed.access.role("jane"), ended(bed, number)[0]) == (MAINTAINER, "SUCCESS")


def test_the_audit_line_names_who_acts_for_whom(bed: ActionBed) -> None:
    inputs = {"person": "kim", "role": "guest", "group": "acme"}
    number = bed.store.runs.start(
        bed.store, "gitlab_access_grant", inputs, by="ada@example.com", impersonated="bo@example.com"
    )
    assert bed.run("grant", run=number).code == 0
    audit = json.loads(bed.log(number)[-1])["audit"]
    assert (audit["asked_by"], audit["impersonated_by"]) == ("ada@example.com", "bo@example.com")


def test_an_account_is_blocked_and_the_catalog_says_so(tmp_path: Path) -> None:
    with action_bed(tmp_path, admin=True) as bed:
        bed.more["OCEAN__EXPORT__WRITE_SCOPES"] = "**"
        number = bed.start("gitlab_account_block", {"reason": "left"}, "jane")
        assert bed.run(run=number).code == 0
        assert (bed.access.user("jane")["state"], ended(bed, number)) == ("blocked", ("SUCCESS", "Account blocked"))
        assert bed.entities("gitlabUser")["jane"]["state"] == "blocked"
        assert bed.left_to_do() == []


def test_a_grant_from_a_projects_entity_is_one_in_that_project(bed: ActionBed) -> None:
    found = definition("grant-on-group")
    found["identifier"], found["trigger"]["blueprintIdentifier"] = "gitlab_access_grant_on_project", "service"
    bed.store.runs.actions[found["identifier"]] = found
    inputs = {"person": "kim", "role": "guest", "reason": "review"}
    number = bed.start("gitlab_access_grant_on_project", inputs, "acme/apps/web")
    assert bed.run(run=number).code == 0
    assert (bed.access.role("kim", bed.access.web), bed.access.role("kim")) == (GUEST, None)


def test_names_of_blueprints_and_fields_are_the_mappings_own(bed: ActionBed) -> None:
    config = bed.store.integrations["my-gitlab-v2-integration"]["config"]
    part = next(one for one in config["resources"] if one["kind"] == "access")["port"]["entity"]["mappings"]
    part |= {"identifier": '"\\(.__scope.kind):\\(.__scope.id):\\(.id)"', "blueprint": '"role"', "relations": {}}
    numbers, texts = {"number": ".id", "place": ".__scope.id"}, {"who": ".username", "where": ".__scope.full_path"}
    part["properties"] = {**numbers, **texts, "what": ".__scope.kind"}
    types = {**dict.fromkeys(numbers, "number"), **dict.fromkeys((*texts, "what"), "string")}
    bed.store.add_blueprint(blueprint("role", **types))
    assert run_sync(bed.bench.gitlab, bed.bench.port, None, tokens=[READER]).report.exit_code in (0, 5)
    found = definition("revoke")
    found["trigger"]["blueprintIdentifier"] = "role"
    del found["trigger"]["condition"]
    bed.store.runs.actions["gitlab_access_revoke"] = found
    jane = bed.access.user("jane")["id"]
    number = bed.revoke(f"group:{bed.access.acme['id']}:{jane}")
    assert bed.run(run=number).code == 0
    assert bed.access.role("jane") is None
    assert not [one for one in bed.entities("role") if one.endswith(f":{jane}")]


AZURE = {"SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/", "SYSTEM_TEAMPROJECT": "a b", "BUILD_BUILDID": "7"}
GITHUB = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/access", "GITHUB_RUN_ID": "7"}
JOBS = {
    "https://gitlab.example.com/-/jobs/7": {"CI_JOB_URL": "https://gitlab.example.com/-/jobs/7"},
    "https://github.com/acme/access/actions/runs/7": GITHUB,
    "https://dev.azure.com/acme/a%20b/_build/results?buildId=7": AZURE,
    JOB: {"BUILD_URL": JOB},
    "": {"BUILD_BUILDID": "7"},
}


@pytest.mark.parametrize("address", JOBS)
def test_the_link_of_a_run_is_the_page_of_the_job(address: str) -> None:
    assert ci_job(JOBS[address]) == address


# What must be the same person


def test_a_name_that_belongs_to_another_id_now_is_refused(bed: ActionBed) -> None:
    number = bed.revoke(entity_of(bed, "jane"))
    bed.access.user("jane")["username"] = "jane.doe"
    bed.access.member("jane")
    other = bed.access.world.add_user("jane", "Another Jane")
    bed.access.world.add_member(bed.access.acme, other, GUEST)
    ran = bed.run(run=number)
    assert (ran.code, bed.access.writes()) == (6, []), ran.all
    assert ended(bed, number)[0] == "FAILURE"
    assert ended(bed, number)[1].startswith("Refused: ")


def test_an_entity_that_is_gone_meanwhile_changes_nothing(bed: ActionBed) -> None:
    name = entity_of(bed, "jane")
    number = bed.revoke(name)
    bed.store.delete("gitlabAccess", [name], cascade=False)
    assert bed.run(run=number).code == 2
    assert (bed.access.writes(), ended(bed, number)[0]) == ([], "FAILURE")


def test_an_entity_that_the_mapping_does_not_give_changes_nothing(bed: ActionBed) -> None:
    number = bed.revoke(entity_of(bed, "jane"))
    config = bed.store.integrations["my-gitlab-v2-integration"]["config"]
    config["resources"] = [one for one in config["resources"] if one["kind"] != "access"]
    ran = bed.run(run=number)
    assert (ran.code, bed.access.writes(), ended(bed, number)[0]) == (2, [], "FAILURE")
    assert "gives no entities of gitlabAccess" in ran.err


def test_a_run_that_is_cancelled_while_gitlab_is_looked_at_changes_nothing(bed: ActionBed) -> None:
    number = bed.grant()

    def cancel(asked: Any) -> bool:
        if asked.path == "/user":
            bed.page(number).update(status="FAILURE", statusLabel="Cancelled")
        return False

    bed.bench.gitlab.faults.append(Fault(cancel, faults.server_error()))
    assert bed.run(run=number).code == 2
    assert (bed.access.writes(), ended(bed, number)) == ([], ("FAILURE", "Cancelled"))


def test_a_run_that_is_cancelled_while_gitlab_is_changed_is_a_problem_of_a_change_that_was_made(bed: ActionBed) -> None:
    number = bed.grant()

    def cancel(asked: Any) -> bool:
        if is_write(asked):
            bed.page(number).update(status="FAILURE", statusLabel="Cancelled")
        return False

    bed.bench.gitlab.faults.append(Fault(cancel, faults.server_error()))
    ran = bed.run(run=number)
    assert (ran.code, bed.access.role("kim"), ended(bed, number)[1]) == (1, DEVELOPER, "Cancelled")
    assert "was ended as FAILURE by somebody else" in ran.out
    # Port ties no entity to it, and they are right all the same.
    assert (bed.store.runs.affected[number], bed.left_to_do()) == ([], [])


def test_a_role_that_relates_to_no_account_names_nobody(bed: ActionBed) -> None:
    number = bed.revoke(entity_of(bed, "jane"))
    bed.store.delete("gitlabUser", ["jane"], cascade=False)
    ran = bed.run(run=number)
    assert (ran.code, bed.access.writes(), ended(bed, number)[0]) == (2, [], "FAILURE")
    assert "PERSON is missing" in ran.err


def test_an_entity_that_relates_to_its_own_kind_ends_no_run_in_a_circle(bed: ActionBed) -> None:
    config = bed.store.integrations["my-gitlab-v2-integration"]["config"]
    user = next(one for one in config["resources"] if one["kind"] == "user")["port"]["entity"]["mappings"]
    del user["properties"]["id"]
    user["relations"] = {"same": ".username"}
    blueprint = bed.store.blueprints["gitlabUser"]
    blueprint["relations"]["same"] = {"target": "gitlabUser", "many": False, "required": False}
    bed.store.get("gitlabUser", "jane").relations = {"same": "jane"}
    number = bed.start("gitlab_access_grant_on_user", {"group": "acme/apps", "role": "guest", "reason": "x"}, "jane")
    assert bed.run(run=number).code in (0, 6)
    assert ended(bed, number)[0] in ("SUCCESS", "FAILURE")


def test_without_a_token_to_read_with_the_change_is_made_and_the_catalog_is_left(bed: ActionBed) -> None:
    environ = {name: text for name, text in bed.environ().items() if "TOKEN" not in name or "WRITE" in name}
    number = bed.grant()
    ran = bed.run(run=number, environ=environ)
    assert (ran.code, bed.access.role("kim"), ended(bed, number)[0]) == (0, DEVELOPER, "SUCCESS")
    assert "no token to read with" in bed.page(number)["summary"]


# Which runs


@pytest.mark.parametrize("status", ["WAITING_FOR_APPROVAL", "DECLINED", "SUCCESS", "FAILURE"])
def test_a_run_that_is_not_in_progress_is_left_alone(bed: ActionBed, status: str) -> None:
    number = bed.grant()
    bed.page(number)["status"] = status
    ran = bed.run(run=number)
    assert (ran.code, bed.access.writes(), bed.page(number)["status"]) == (2, [], status)
    assert bed.bench.port.calls("PATCH|/logs") == []
    assert "is not in progress" in ran.err


@pytest.mark.parametrize(
    ("verb", "options"), [("revoke", {}), ("grant", {"action": "other"}), ("run", {"action": "x"})]
)
def test_a_run_of_another_action_is_left_alone(bed: ActionBed, verb: str, options: Any) -> None:
    number = bed.grant()
    ran = bed.run(verb, run=number, **options)
    assert (ran.code, bed.access.writes(), bed.page(number)["status"]) == (2, [], "IN_PROGRESS")
    assert bed.bench.port.calls("PATCH|/logs") == []


def test_an_action_may_have_another_name(bed: ActionBed) -> None:
    inputs = {"person": "kim", "role": "guest", "group": "acme"}
    number = bed.store.runs.start(bed.store, "give_access", inputs)
    assert bed.run("grant", run=number, action="give_access").code == 0
    assert bed.access.role("kim") == GUEST


@pytest.mark.parametrize("number", ["r_nobody", "a b", "$(id)", "x" * 200, "../../v1/blueprints", "r\nPATCH"])
def test_an_id_that_is_none_ends_as_wrong_usage(bed: ActionBed, number: str) -> None:
    assert bed.run(run=number).code == 2
    assert bed.access.writes() == []


def test_a_run_that_was_carried_out_is_not_carried_out_again(bed: ActionBed) -> None:
    number = bed.grant()
    assert bed.run(run=number).code == 0
    bed.access.world.remove_member(bed.access.acme, bed.access.user("kim"))
    bed.access.freed()
    assert bed.run(run=number).code == 2
    assert (bed.access.writes(), bed.access.role("kim")) == ([], None)


def test_a_run_that_is_delivered_twice_at_once_is_carried_out_once(bed: ActionBed) -> None:
    number = bed.grant()
    asked: list[str] = []
    other: list[Any] = []

    def beside() -> float:
        """After the run was read, before GitLab is asked: the other job, from its beginning to its end."""
        asked.append("")
        if len(asked) == 7:
            ran = run_command(["access", "run", "--run", number], bed.environ(), bed.bench.folder)
            other.append(bed.bench.checked(ran))
        return 0

    bed.bench.port.latency = beside
    assert bed.run(run=number).code == 0
    assert (other[0].returncode, bed.access.effects) == (0, ["add"])
    assert ended(bed, number) == ("SUCCESS", "Granted: Developer")


# What else ends a run


@pytest.mark.parametrize("given", [{"person": "jane"}, {"role": "owner"}, {"group": "acme"}, {"expires": "never"}])
def test_options_that_say_the_same_are_refused_and_the_run_is_ended(bed: ActionBed, given: Any) -> None:
    number = bed.grant()
    assert bed.run("grant", given, run=number).code == 2
    assert (bed.access.writes(), ended(bed, number)) == ([], ("FAILURE", "Refused: inputs or settings"))


def test_a_guard_ends_the_run_with_the_reason(bed: ActionBed) -> None:
    bed.more["OCEAN__EXPORT__MAX_ROLE"] = "guest"
    number = bed.grant()
    assert bed.run(run=number).code == 6
    status, label = ended(bed, number)
    assert (status, label.split(":")[0], bed.access.writes()) == ("FAILURE", "Refused", [])
    assert "why: " in bed.page(number)["summary"]


def test_a_setting_that_is_missing_ends_the_run(bed: ActionBed) -> None:
    number = bed.grant()
    environ = bed.environ()
    del environ["OCEAN__EXPORT__GITLAB_WRITE_TOKEN"]
    assert bed.run(run=number, environ=environ).code == 2
    assert ended(bed, number)[0] == "FAILURE"


FAULTY = [{"OCEAN__EXPORT__MAX_ROLE": "king"}, {"OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": "x y"}]


@pytest.mark.parametrize(("changes", "way"), [(FAULTY[0], "option"), (FAULTY[1], "variable"), (FAULTY[0], "request")])
def test_faulty_settings_end_the_run(bed: ActionBed, changes: dict[str, str], way: str) -> None:
    number = bed.grant()
    request = {"request": write(bed, {"run_id": number})} if way == "request" else {}
    option = {"run": number} if way == "option" else request
    variable = {"OCEAN__EXPORT__RUN": number} if way == "variable" else {}
    ran = bed.run(environ=bed.environ(**changes, **variable), **option)
    assert ran.code == 2
    assert (bed.access.writes(), ended(bed, number)) == ([], ("FAILURE", "Refused: inputs or settings"))
    assert next(iter(changes)) in bed.page(number)["summary"]


def test_a_port_that_is_not_set_is_no_bug(bed: ActionBed) -> None:
    number = bed.grant()
    environ = {**bed.environ(), "OCEAN__PORT__CLIENT_SECRET": ""}
    assert bed.run(run=number, environ=environ).code == 2


def test_faulty_settings_do_not_end_a_run_of_another_action(bed: ActionBed) -> None:
    number = bed.grant()
    assert bed.run("revoke", run=number, environ=bed.environ(OCEAN__EXPORT__MAX_ROLE="king")).code == 2
    assert bed.page(number)["status"] == "IN_PROGRESS"


def test_a_gitlab_that_is_away_ends_the_run(bed: ActionBed) -> None:
    number = bed.grant()
    bed.bench.gitlab.faults.append(Fault(".*", faults.server_error()))
    assert bed.run(run=number).code == 3
    assert ended(bed, number) == ("FAILURE", "Failed: GitLab")


def test_a_bug_ends_the_run_and_shows_no_text_of_it(bed: ActionBed, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("in the middle of glpat-something")

    monkeypatch.setattr("gitlab_port_export.access.line.decide", broken)
    number = bed.grant()
    assert bed.run(run=number).code == 70
    assert ended(bed, number) == ("FAILURE", "Failed: a bug in the exporter")
    assert "glpat" not in str(bed.told())


def test_a_catalog_that_cannot_be_written_is_said_and_the_change_stays(bed: ActionBed) -> None:
    number = bed.grant()
    bed.bench.port.faults.append(PortFault("POST .*/gitlabAccess/entities/bulk", refuse(403)))
    assert bed.run(run=number).code == 1
    assert bed.access.role("kim") == DEVELOPER
    assert ended(bed, number) == ("FAILURE", "Granted: Developer; the catalog is behind")


def test_a_port_that_does_not_take_the_end_is_a_problem_of_a_change_that_was_made(bed: ActionBed) -> None:
    number = bed.grant()
    bed.bench.port.faults.append(PortFault(is_final, refuse(403)))
    ran = bed.run(run=number)
    assert (ran.code, bed.access.role("kim")) == (1, DEVELOPER)
    assert "may be open still" in ran.all


def test_a_port_that_refuses_before_ends_as_4_and_changes_nothing(bed: ActionBed) -> None:
    number = bed.grant()
    bed.store.runs.readable = False
    assert bed.run(run=number).code == 4
    assert bed.access.writes() == []


# A plan


def test_a_plan_of_a_run_is_logged_and_leaves_it_open_for_the_command(bed: ActionBed) -> None:
    number = bed.grant()
    ran = bed.run(change=Change(plan=True, detailed=True), run=number)
    assert (ran.code, bed.access.writes(), bed.page(number)["status"]) == (10, [], "IN_PROGRESS")
    assert bed.log(number) == ["plan: no role → Developer, by POST /groups/1/members"]
    assert bed.run(run=number).code == 0
    assert bed.access.role("kim") == DEVELOPER


# A request


def write(bed: ActionBed, content: Any) -> Path:
    file = bed.bench.folder / "request.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


@pytest.mark.parametrize("more", [{}, {"id": "42", "ref": "main", "variables": {}}])
def test_a_request_that_holds_a_run_alone_is_that_run(bed: ActionBed, more: dict[str, Any]) -> None:
    number = bed.grant()
    assert bed.run(request=write(bed, {"run_id": number, **more})).code == 0
    assert (bed.access.role("kim"), ended(bed, number)[0]) == (DEVELOPER, "SUCCESS")


def test_a_request_with_inputs_needs_no_right_to_read_the_run(bed: ActionBed) -> None:
    number = bed.grant()
    bed.store.runs.readable = False
    inputs = {"run_id": number, "person": "kim", "role": "guest", "group": "acme"}

    def patch_alone(asked: Any) -> bool:
        bed.store.runs.readable = asked.method != "GET"
        return False

    bed.bench.port.faults.append(PortFault(patch_alone, refuse(403)))
    assert bed.run("grant", request=write(bed, inputs)).code == 0
    assert (bed.access.role("kim"), bed.page(number)["status"]) == (GUEST, "SUCCESS")


def test_a_run_that_can_be_read_wins_over_a_request(bed: ActionBed) -> None:
    number = bed.grant("kim", "guest")
    forged = {"run_id": number, "person": "jane", "role": "owner", "group": "acme"}
    assert bed.run("grant", request=write(bed, forged)).code == 0
    assert (bed.access.role("kim"), bed.access.role("jane")) == (GUEST, DEVELOPER)
    again = {**forged, "run_id": bed.revoke(entity_of(bed, "jane"))}
    assert bed.run("grant", request=write(bed, again)).code == 2
    assert bed.access.role("jane") == DEVELOPER


def test_a_request_without_a_run_is_carried_out_by_hand(bed: ActionBed) -> None:
    assert bed.run("grant", request=write(bed, {"person": "kim", "role": "guest", "group": "acme"})).code == 0
    assert bed.access.role("kim") == GUEST
    assert bed.left_to_do() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"1", b'{"run_id": 7}', b'{"run_id": "a b"}', b"x" * 70_000])
def test_a_request_that_is_none_is_wrong_usage(bed: ActionBed, content: bytes) -> None:
    assert bed.run("grant", request=write(bed, content)).code == 2
    assert bed.access.writes() == []


def test_a_request_and_a_run_are_not_given_together(bed: ActionBed) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        read_request("r_1", Path("x"))


# Hostile inputs

HOSTILE = {
    "person": ["jane\nrole: owner", "jane\x00", "jane\u202edlo", "a" * 400, 7, ["jane"], {"identifier": ["x"]}, True],
    "group": ["acme\r\n", {"path": "acme"}, 1.5],
    "role": ["x" * 101, {}, "own\ter"],
    "expires": [20990101, "2099-01-31T00:00:00.000Z"],
    "reason": ["one\ntwo", "y" * 1001, "\x1b[31mred"],
    "below": ["yes", 1],
    "username": ["7"],
    "allow": ["bot"],
    "expire": ["2099-01-31"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in HOSTILE.items() for value in values])
def test_a_hostile_input_is_refused_and_ends_the_run(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        checked({"role": "guest", name: value})
    assert len(caught.value.faults) == 1
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_all_faults_of_a_form_are_told_at_once_and_the_run_is_ended(bed: ActionBed) -> None:
    number = bed.grant()
    inputs = bed.page(number)["properties"]
    inputs |= {"person": "kim\nlee", "role": 7, "extra": "x", "expires": "z" * 30}
    ran = bed.run(run=number)
    assert (ran.code, bed.access.writes()) == (2, [])
    assert [name for name in ("person", "role", "extra", "expires") if f"input {name}" not in ran.err] == []
    assert ended(bed, number) == ("FAILURE", "Refused: inputs or settings")
    assert bed.page(number)["summary"].count("\n- `input") == 4


def test_inputs_that_are_empty_are_not_given() -> None:
    assert checked({"person": " jane ", "expires": "", "project": None, "below": True}) == {
        "person": "jane", "below": "remove",
    }  # fmt: skip
    assert set(LONGEST) == {"person", "group", "project", "role", "expires", "reason", "below"}


@pytest.mark.parametrize("name", ["person", "group", "project"])
def test_what_the_entity_tells_may_not_be_an_input_too(bed: ActionBed, name: str) -> None:
    number = bed.revoke(entity_of(bed, "jane"))
    bed.page(number)["properties"][name] = "acme"
    assert bed.run(run=number).code == 2
    assert (bed.access.writes(), ended(bed, number)[0]) == ([], "FAILURE")


def test_markdown_of_others_means_nothing_in_the_summary(bed: ActionBed) -> None:
    number = bed.grant(reason="`</code><img src=x> [a](http://evil) **b**")
    assert bed.run(run=number).code == 0
    assert "- reason: `'</code><img src=x> [a](http://evil) **b**`" in bed.page(number)["summary"]


def test_a_lost_write_is_read_again_and_made_once(bed: ActionBed) -> None:
    number = bed.grant()
    bed.access.fault(faults.Lost())
    assert bed.run(run=number).code == 0
    assert (bed.access.effects, ended(bed, number)) == (["add"], ("SUCCESS", "Granted: Developer"))


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_end_is_sent_once(bed: ActionBed, applied: bool) -> None:
    number = bed.grant()
    final = PortFault(
        lambda asked: asked.method == "PATCH" and "status" in (asked.body or {}), drop(applied=applied), 1
    )
    bed.bench.port.faults.append(final)
    assert bed.run(run=number).code == 0
    sent = [one for one in bed.bench.port.calls("PATCH .*/runs/") if "status" in one.body]
    assert (len(sent), ended(bed, number)[0]) == (1 if applied else 2, "SUCCESS")
