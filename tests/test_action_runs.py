"""A run of a Port action is read whole, gets each log line once at most, and one final status whatever is lost."""

import os
import signal
from collections.abc import Iterator
from typing import Any, ClassVar

import jsonschema
import pytest

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import Interrupted, PortUnavailable, UsageError
from gitlab_port_export.commands.signals import signals
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_faults import Effect, Fault, Recorded, drop, html, refuse
from gitlab_port_export.demo.port_runs import Unknown
from gitlab_port_export.port.client import Port, PortRefused
from gitlab_port_export.port.runs import IN_PROGRESS, RunPage, read_emails, read_run
from testbed.port_bed import breaches, port_api, signed_in, with_shapes

INPUTS = {"person": "jane", "role": "developer", "group": "acme/web"}


@pytest.fixture
def server() -> Iterator[PortServer]:
    with port_server() as found:
        yield found
        assert breaches(found.requests) == []


@pytest.fixture
def port(server: PortServer) -> Iterator[Port]:
    with signed_in(server) as found:
        yield found


def start(server: PortServer, **more: object) -> str:
    return server.store.runs.start(server.store, "gitlab_access_grant", INPUTS, **more)  # type: ignore[arg-type]  # each by name


class TestReading:
    def test_a_run_tells_action_inputs_entity_and_who_asked(self, server: PortServer, port: Port) -> None:
        number = start(server, entity="jane", blueprint="gitlabUser", impersonated="bob@example.com")
        run = read_run(port, number)
        assert (run.id, run.status, run.action) == (number, IN_PROGRESS, "gitlab_access_grant")
        assert (run.inputs, run.blueprint, run.entity) == (INPUTS, "gitlabUser", "jane")
        emails = read_emails(port, frozenset({run.created_by, run.impersonated_by}))
        assert emails == {run.created_by: "ada@example.com", run.impersonated_by: "bob@example.com"}

    def test_a_run_as_the_first_version_of_the_api_shows_it_is_read_too(self, server: PortServer, port: Port) -> None:
        number = start(server)
        server.store.runs.held[number] |= {"action": "gitlab_access_grant", "endedAt": None, "approval": None}
        assert read_run(port, number).action == "gitlab_access_grant"
        server.requests.clear()

    def test_a_run_that_is_not_there_is_a_wrong_option(self, port: Port) -> None:
        with pytest.raises(UsageError, match="no action run r_1"):
            read_run(port, "r_1")

    def test_an_id_is_one_segment_of_the_path(self, server: PortServer, port: Port) -> None:
        with pytest.raises(UsageError):
            read_run(port, "../users?x=1#")
        assert server.requests[-1].path == "/v1/actions/runs/..%2Fusers%3Fx%3D1%23"

    @pytest.mark.parametrize("effect", [refuse(403), refuse(200, {"ok": True, "run": {}}), html(200)])
    def test_an_answer_that_is_no_run_ends_before_anything_changed(
        self, server: PortServer, port: Port, effect: Effect
    ) -> None:
        number = start(server)
        server.faults.append(Fault("GET .*/runs/", effect))
        with pytest.raises(PortUnavailable):
            read_run(port, number)

    def test_people_who_may_not_be_read_stay_ids(self, server: PortServer, port: Port) -> None:
        server.store.runs.people_readable = False
        assert read_emails(port, frozenset({"user_1"})) == {}


class TestReporting:
    def test_a_page_shows_link_label_lines_and_how_it_ended(self, server: PortServer, port: Port) -> None:
        number = start(server)
        page = RunPage(port, number)
        page.begin("Reading GitLab", "https://ci.example.com/job/1")
        page.note("jane becomes Developer of acme/web")
        assert server.store.runs.held[number]["status"] == IN_PROGRESS
        page.end("SUCCESS", "Granted: Developer", "**jane** is Developer")
        run = server.store.runs.held[number]
        assert (run["status"], run["statusLabel"], run["link"]) == (
            "SUCCESS", "Granted: Developer", "https://ci.example.com/job/1",
        )  # fmt: skip
        assert [line["message"] for line in server.store.runs.logs[number]] == ["jane becomes Developer of acme/web"]

    def test_a_second_end_is_not_sent(self, server: PortServer, port: Port) -> None:
        page = RunPage(port, start(server))
        page.end("SUCCESS", "Done", "")
        page.end("FAILURE", "Failed", "")
        page.note("too late")
        assert len(server.calls("PATCH|logs")) == 1

    @pytest.mark.parametrize("applied", [False, True])
    @pytest.mark.parametrize("late", ["refused", "ignored", "taken"])
    @pytest.mark.parametrize("times", [1, 2])
    def test_a_lost_answer_is_read_again_and_the_run_ends_once(
        self, server: PortServer, port: Port, applied: bool, late: str, times: int
    ) -> None:
        server.store.runs.unknown = Unknown(late=late)  # type: ignore[arg-type]  # one of its words
        number = start(server)
        server.faults.append(Fault("PATCH", drop(applied=applied), times))
        RunPage(port, number).end("SUCCESS", "Done", "")
        assert server.store.runs.held[number]["status"] == "SUCCESS"
        assert len(server.calls("PATCH")) == (1 if applied else times + 1)

    def test_a_final_status_of_somebody_else_stays(
        self, server: PortServer, port: Port, caplog: pytest.LogCaptureFixture
    ) -> None:
        number = start(server)
        RunPage(port, number).end("FAILURE", "Cancelled", "")
        RunPage(port, number).end("SUCCESS", "Done", "")
        assert server.store.runs.held[number]["statusLabel"] == "Cancelled"
        assert "had ended as FAILURE" in caplog.text

    def test_a_run_that_cannot_be_ended_is_said_to_be_open(self, server: PortServer, port: Port) -> None:
        number = start(server)
        server.faults.append(Fault("PATCH", refuse(403)))
        with pytest.raises(PortUnavailable, match="may be open still"):
            RunPage(port, number).end("SUCCESS", "Done", "")
        assert server.store.runs.held[number]["status"] == IN_PROGRESS

    @pytest.mark.parametrize("effect", [drop(applied=True), refuse(502, applied=True), refuse(503), drop()])
    def test_a_log_line_comes_once_at_most(self, server: PortServer, port: Port, effect: Effect) -> None:
        number = start(server)
        server.faults.append(Fault("POST .*/logs", effect, 1))
        page = RunPage(port, number)
        page.note("first")
        page.note("second")
        lines = [line["message"] for line in server.store.runs.logs[number]]
        assert (lines, page.lost) == (["first", "second"] if effect.applied else ["second"], 1)

    def test_a_command_whose_time_is_over_still_ends_its_run(self, server: PortServer, port: Port) -> None:
        number = start(server)
        port.http.go_on_with(Clock(deadline=0))
        RunPage(port, number).end_late("FAILURE", "Out of time", "")
        assert server.store.runs.held[number]["status"] == "FAILURE"

    def test_a_signal_waits_until_the_run_has_ended(self, server: PortServer, port: Port) -> None:
        number = start(server)

        def stop(asked: Recorded) -> bool:
            if asked.method == "PATCH":
                os.kill(os.getpid(), signal.SIGTERM)
            return asked.method == "PATCH"

        # The first try is not carried out.
        server.faults.append(Fault(stop, drop(), 1))
        with pytest.raises(Interrupted), signals():
            RunPage(port, number).end_late("FAILURE", "Stopped", "")
        assert server.store.runs.held[number]["status"] == "FAILURE"

    def test_long_texts_are_cut_to_what_a_page_takes(self, server: PortServer, port: Port) -> None:
        number = start(server)
        page = RunPage(port, number)
        page.note("x" * 2_000_000)
        page.end("FAILURE", "y" * 5000, "z" * 2_000_000)
        assert server.store.runs.held[number]["status"] == "FAILURE"
        assert page.lost == 0


class TestTyingEntities:
    BODY = {"entities": [{"identifier": "jane"}]}
    PATH = "/blueprints/user/entities/bulk"

    @pytest.fixture(autouse=True)
    def _blueprint(self, server: PortServer) -> None:
        server.store.add_blueprint({"identifier": "user", "title": "User", "schema": {"properties": {}}})

    def write(self, port: Port, number: str) -> None:
        port.ask("POST", self.PATH, params=(("upsert", "true"), ("run_id", number)), payload=self.BODY)

    def test_entities_are_tied_while_the_run_is_in_progress(self, server: PortServer, port: Port) -> None:
        number = start(server)
        self.write(port, number)
        assert server.store.runs.affected[number] == [("user", "jane")]
        assert RunPage(port, number).in_progress

    def test_entities_of_an_ended_run_are_refused(self, server: PortServer, port: Port) -> None:
        number = start(server)
        page = RunPage(port, number)
        page.end("SUCCESS", "Done", "")
        assert not page.in_progress
        with pytest.raises(PortRefused, match="not in progress"):
            self.write(port, number)
        assert server.store.identifiers("user") == set()

    def test_entities_of_an_ended_run_may_be_written_untied(self, server: PortServer, port: Port) -> None:
        server.store.runs.unknown = Unknown(late_entities="untied")
        number = start(server)
        RunPage(port, number).end("SUCCESS", "Done", "")
        self.write(port, number)
        assert (server.store.identifiers("user"), server.store.runs.affected[number]) == ({"jane"}, [])

    def test_entities_of_an_unknown_run_are_refused(self, port: Port) -> None:
        with pytest.raises(PortRefused, match="ActionRun"):
            self.write(port, "r_nobody")


class TestStandIn:
    """What the stand-in Port does with actions and their runs, as Port documents it."""

    ACTION: ClassVar[dict[str, Any]] = {
        "identifier": "grant", "requiredApproval": True,
        "trigger": {
            "type": "self-service", "operation": "CREATE",
            "userInputs": {"properties": {"role": {"type": "string"}, "days": {"type": "number", "default": 7}},
                           "required": ["role"], "order": ["role"]},
        },
        "invocationMethod": {
            "type": "GITHUB", "org": "acme", "repo": "access", "workflow": "grant.yml",
            "workflowInputs": {"run_id": "{{ .run.id }}", "who": "for {{ .trigger.by.user.email }}"},
        },
    }  # fmt: skip

    def ask(self, port: Port, method: str, path: str, payload: Any = None) -> tuple[int, Any]:
        answer = port.call(method, path, payload=payload, attempts=1)
        return answer.status, answer.data

    def test_a_form_starts_a_run_and_its_approval_sends_it(self, server: PortServer, port: Port) -> None:
        assert self.ask(port, "POST", "/actions", self.ACTION)[0] == 201
        status, answer = self.ask(port, "POST", "/actions/grant/runs", {"properties": {"role": "guest"}})
        run = answer["run"]
        assert (status, run["status"], run["properties"]) == (202, "WAITING_FOR_APPROVAL", {"role": "guest", "days": 7})
        assert server.store.runs.sent == []
        assert self.ask(port, "PATCH", f"/actions/runs/{run['id']}/approval", {"status": "APPROVE"})[0] == 201
        payload = {"run_id": run["id"], "who": "for ada@example.com"}
        assert server.store.runs.sent == [(run["id"], "GITHUB", payload)]
        assert read_run(port, run["id"]).status == IN_PROGRESS
        server.requests[:] = [one for one in server.requests if one.path != "/v1/actions"]

    def test_a_run_that_is_declined_is_never_sent(self, server: PortServer, port: Port) -> None:
        number = start(server, approval=True)
        assert self.ask(port, "PATCH", f"/actions/runs/{number}/approval", {"status": "DECLINE"})[0] == 201
        assert (read_run(port, number).status, server.store.runs.sent) == ("DECLINED", [])
        assert self.ask(port, "PATCH", f"/actions/runs/{number}/approval", {"status": "APPROVE"})[0] == 422

    def test_inputs_that_the_form_does_not_have_are_refused(self, server: PortServer, port: Port) -> None:
        server.store.runs.actions["grant"] = self.ACTION
        for inputs in ({}, {"role": "guest", "group": "x"}):
            assert self.ask(port, "POST", "/actions/grant/runs", {"properties": inputs})[0] == 422

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("GET", "", None, 200), ("PATCH", "", {"statusLabel": "Reading"}, 200),
            ("PATCH", "", {"link": ["a", "b"], "externalRunId": "7"}, 200), ("POST", "/logs", {"message": "m"}, 201),
        ],
    )  # fmt: skip
    def test_answers_fit_the_published_schemas(
        self, server: PortServer, port: Port, method: str, path: str, body: Any, status: int
    ) -> None:
        found, answer = self.ask(port, method, f"/actions/runs/{start(server)}{path}", body)
        schema = with_shapes(port_api()["routes"][f"{method} /v1/actions/runs/{{run}}{path}"][status])
        jsonschema.Draft202012Validator(schema).validate(answer)
        assert found == status

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("PATCH", "", {"status": "DONE"}), ("PATCH", "", {"label": "x"}), ("PATCH", "", {"summary": 1}),
            ("PATCH", "", {"link": [1]}), ("POST", "/logs", {}), ("POST", "/logs", {"message": "m", "level": "x"}),
        ],
    )  # fmt: skip
    def test_what_the_schema_lacks_is_refused(
        self, server: PortServer, port: Port, method: str, path: str, body: Any
    ) -> None:
        assert self.ask(port, method, f"/actions/runs/{start(server)}{path}", body)[0] == 422
        server.requests.clear()

    def test_an_input_of_an_entity_may_come_as_an_object(self, server: PortServer, port: Port) -> None:
        runs = server.store.runs
        fields = {"group": {"type": "string", "format": "entity", "blueprint": "gitlabGroup"}}
        runs.actions["gitlab_access_grant"] = {"trigger": {"userInputs": {"properties": fields}}}
        runs.unknown = Unknown(entity_inputs="object")
        run = read_run(port, start(server))
        assert run.inputs["group"] == {"identifier": "acme/web", "title": "acme/web", "blueprint": "gitlabGroup"}
        assert run.raw == INPUTS
