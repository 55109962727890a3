"""The commands `access` and `account` as people run them: exit codes, forms of the output, tokens, hostile text."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitlab_port_export.commands.changes import Change
from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.demo.gitlab_faults import Recorded
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import drop
from gitlab_port_export.demo.world import DEVELOPER, Row
from testbed.access_bed import SECRET
from testbed.action_bed import READER, ActionBed, action_bed
from testbed.here import Printed

pytestmark = pytest.mark.usefixtures("lent_evaluator")

WRITE_TOKEN, WRITE_SCOPES = "OCEAN__EXPORT__GITLAB_WRITE_TOKEN", "OCEAN__EXPORT__WRITE_SCOPES"
KIM = {"person": "kim", "role": "developer", "group": "acme"}
# What a name may hold: commands of CI systems, terminal sequences, markup, and a mark that turns the reading direction.
HOSTILE = "Kim \x1b[31m##vso[task.setvariable variable=x]y\n::error::z <b>&\u202e glpat-hidden-0a1b2c3d"


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[ActionBed]:
    with action_bed(tmp_path) as found:
        yield found


def without(bed: ActionBed, *names: str) -> dict[str, str]:
    return {name: text for name, text in bed.environ().items() if name not in names}


def audit_of(ran: Printed) -> Row:
    (line,) = [line for line in ran.err.splitlines() if line.startswith('{"audit"')]
    found: Row = json.loads(line)["audit"]
    return found


def test_the_command_line_grants_shows_plans_and_revokes(bed: ActionBed) -> None:
    bench = bed.bench
    environ = {name: text for name, text in bed.environ().items() if name != "BUILD_URL"}
    ran = bench.run("access", "grant", "kim", "--role", "developer", "--group", "acme", "-o", "json", **environ)
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert (document["command"], document["result"], document["exit"]["code"]) == ("access grant", "created", 0)
    assert document["after"]["role"] == "Developer"
    shown = bench.run("access", "show", "kim", "--group", "acme", **environ)
    assert shown.returncode == 0
    assert "role: Developer" in shown.stdout
    again = bench.run("access", "revoke", "kim", "--group", "acme", "--plan", "--detailed-exitcode", **environ)
    assert again.returncode == 10
    assert "would send: DELETE /groups/" in again.stdout
    assert bed.access.role("kim") == DEVELOPER


def test_faults_of_a_command_line_are_told_at_once_and_nothing_is_asked(bed: ActionBed) -> None:
    bed.access.gitlab.requests.clear()
    given = {"person": "a@b.c,d@e.f", "role": "develper", "group": "12", "project": "acme/web", "expires": "2020-02-30"}
    ran = bed.run("grant", given)
    assert ran.code == 2
    for part in ("PERSON: expected", "did you mean developer?", "give one of them", "is no full path", "is no date"):
        assert part in ran.err
    assert bed.access.gitlab.requests == []


def test_the_token_of_the_sync_is_never_used_to_write(bed: ActionBed) -> None:
    ran = bed.run("grant", KIM, environ=without(bed, WRITE_TOKEN))
    assert (ran.code, bed.access.writes(), bed.access.role("kim")) == (2, [], None)
    assert f"{WRITE_TOKEN} is not set" in ran.err


def test_show_and_a_plan_read_with_the_token_of_the_sync_where_there_is_no_other(bed: ActionBed) -> None:
    bed.access.gitlab.requests.clear()
    environ = without(bed, WRITE_TOKEN)
    planned = bed.run("grant", {**KIM, "group": "acme"}, Change(plan=True), environ=environ)
    shown = bed.run("show", {"person": "jane", "group": "acme"}, environ=environ)
    assert (planned.code, shown.code) == (0, 0), planned.all + shown.all
    assert "would be created" in planned.out
    assert {request.token for request in bed.access.gitlab.requests} == {READER}


def test_only_the_write_token_writes(bed: ActionBed) -> None:
    bed.access.gitlab.requests.clear()
    assert bed.run("grant", KIM).code == 0
    wrote = [request for request in bed.access.gitlab.requests if request.method != "GET"]
    assert [request.token for request in wrote if "graphql" not in request.path] == [SECRET]


@pytest.mark.parametrize("command", ["plan", "check", "sync"])
def test_no_command_that_reads_sends_or_opens_the_write_token(bed: ActionBed, command: str) -> None:
    bed.access.gitlab.requests.clear()
    environ = {name: text for name, text in bed.environ().items() if name != WRITE_TOKEN}
    # The file does not exist: whoever opens it fails.
    ran = bed.bench.run(command, **environ, **{f"{WRITE_TOKEN}_FILE": "/nowhere/write-token"})
    assert ran.returncode in (0, 5), ran.stderr
    assert "write-token" not in ran.stdout + ran.stderr
    assert {request.token for request in bed.access.gitlab.requests} == {READER}
    writes = bed.bench.run("access", "grant", "kim", "--role", "guest", "--group", "acme", **environ,
                           **{f"{WRITE_TOKEN}_FILE": "/nowhere/write-token"})  # fmt: skip
    assert writes.returncode == 2
    assert "names a file that cannot be read" in writes.stderr


def test_a_port_that_is_away_ends_as_4_before_anything_is_changed(bed: ActionBed) -> None:
    bed.bench.port.faults.append(PortFault(lambda request: True, drop()))
    ran = bed.run("grant", KIM)
    assert (ran.code, bed.access.writes(), bed.access.role("kim")) == (4, [], None)


def test_a_gitlab_that_is_away_ends_as_3(bed: ActionBed) -> None:
    bed.access.gitlab.faults.append(Fault(lambda request: True, faults.bad_gateway()))
    assert bed.run("grant", KIM).code == 3


def test_a_guard_ends_as_6_with_the_audit_line_also_when_quiet(bed: ActionBed) -> None:
    ran = bed.run("grant", {**KIM, "role": "owner"}, environ={**bed.environ(), "OCEAN__EXPORT__MAX_ROLE": "guest"})
    assert ran.code == 6
    audit = audit_of(ran)
    assert (audit["result"], audit["guard"], audit["gitlab_user"]) == ("refused", "ceiling", "writer")


def test_the_audit_line_says_who_changed_what_for_whom(bed: ActionBed) -> None:
    bed.access.act("grant", "kim", role="guest")
    environ = {**bed.environ(), "GITLAB_USER_LOGIN": "ada"}
    ran = bed.run("grant", KIM, Change(reason="on call"), environ=environ)
    audit = audit_of(ran)
    assert {name: audit[name] for name in ("command", "result", "asked_by", "before", "after", "reason")} == {
        "command": "access grant", "result": "updated", "asked_by": "ada", "before": "Guest", "after": "Developer",
        "reason": "on call",
    }  # fmt: skip
    assert audit["person"] == {"id": bed.access.user("kim")["id"], "username": "kim"}
    assert audit["scope"] == {"kind": "group", "id": bed.access.acme["id"], "path": "acme"}
    assert audit["job"]


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
def test_hostile_names_are_shown_and_mean_nothing(bed: ActionBed, as_json: bool) -> None:
    for place in (bed.access.user("kim"), bed.access.acme):
        place["name"] = HOSTILE
    bed.access.fault(faults.reply_json(403, {"message": f"no {HOSTILE} {SECRET}"}))
    for ran in (bed.run("grant", KIM, as_json=as_json), bed.run("grant", KIM, as_json=as_json)):
        for text in ("\x1b", "##vso", "\n::error::", "\u202e", "glpat-hidden", SECRET):
            assert text not in ran.all
        if as_json:
            json.loads(ran.out)


def test_a_role_with_a_hostile_custom_name_is_cleaned_too(bed: ActionBed) -> None:
    roles = bed.access.world.rows_of("member_role", bed.access.acme)
    roles.append({"id": 9, "name": HOSTILE, "base_access_level": 20, "group_id": bed.access.acme["id"]})
    ran = bed.run("grant", {**KIM, "role": "custom:9"})
    assert ran.code == 0, ran.all
    for text in ("\x1b", "##vso", "\n::error::", "\u202e", "glpat-hidden"):
        assert text not in ran.all


@pytest.mark.parametrize("role", ["custom:12", "minimal"])
def test_a_role_that_is_not_there_is_wrong_usage(bed: ActionBed, role: str) -> None:
    ran = bed.run("grant", {"person": "kim", "role": role, "project": "acme/apps/web"})
    assert (ran.code, bed.access.writes()) == (2, [])


def test_a_place_that_the_token_does_not_see_ends_as_3(bed: ActionBed) -> None:
    ran = bed.run("grant", {**KIM, "group": "nowhere"})
    assert ran.code == 3
    assert "GitLab shows no group nowhere to the write token" in ran.err


def test_every_request_of_a_debug_run_is_logged_without_the_token(bed: ActionBed) -> None:
    ran = bed.bench.run(
        "access", "grant", "kim", "--role", "guest", "--group", "acme", "--debug",
        **{name: text for name, text in bed.environ().items() if name != "BUILD_URL"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "/members" in ran.stderr
    assert SECRET not in ran.stdout + ran.stderr


def test_a_read_that_is_refused_names_no_secret(bed: ActionBed) -> None:
    def members(request: Recorded) -> bool:
        return "/members/" in request.path

    bed.access.gitlab.faults.append(Fault(members, faults.reply_json(403, {"message": f"{SECRET} may not"})))
    ran = bed.run("grant", KIM)
    assert ran.code == 3
    assert "nothing was changed" in ran.err
