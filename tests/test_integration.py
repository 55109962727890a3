"""The integration object, the first blueprints and the examples, and every request fits Port's published document."""

import itertools
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gitlab_port_export import __version__
from gitlab_port_export.base.answer import Answer
from gitlab_port_export.base.errors import PortUnavailable, UsageError
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_faults import Fault, Recorded, drop, html, refuse
from gitlab_port_export.demo.port_integrations import add_integration
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import change_world, sample_world
from gitlab_port_export.port.catalog import read_blueprints
from gitlab_port_export.port.defaults import default_blueprints
from gitlab_port_export.port.integration import (
    EXAMPLES_PER_KIND,
    create,
    create_blueprints,
    fetch,
    instant_of,
    send_examples,
    set_state,
    store_config,
    unfit,
    user_agent,
)
from gitlab_port_export.port.masking import MOST_TEXT
from testbed.harness import blueprint, mapping_of, port_with, resource, run_sync
from testbed.port_bed import Bed, a_bed, breaches

pytestmark = pytest.mark.usefixtures("lent_evaluator")

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def bed() -> Iterator[Bed]:
    with a_bed(PortStore.default()) as found:
        yield found


def test_who_we_are_to_port() -> None:
    assert user_agent("gitlab", "my-own") == f"port-ocean/gitlab/{__version__}/my-own/exporter"


class TestFetch:
    def test_there_is_none_yet(self, bed: Bed) -> None:
        found = fetch(bed.port, "mine")
        assert (found.exists, found.accessible, found.dialect, found.config) == (False, True, None, None)
        assert bed.server.requests[-1].query == (("byField", "installationId"),)

    @pytest.mark.parametrize(
        ("held", "kind"), [("gitlab", "gitlab"), ("GitLab-V2", "gitlab-v2"), ("github", None), ("", None)]
    )
    def test_its_type_and_mapping(self, bed: Bed, held: str, kind: str | None) -> None:
        add_integration(bed.store, {"installationId": "mine", "installationAppType": held, "config": {"resources": []}})
        found = fetch(bed.port, "mine")
        assert (found.exists, found.dialect, found.config) == (True, kind, {"resources": []})

    def test_an_empty_mapping_is_none(self, bed: Bed) -> None:
        add_integration(bed.store, {"installationId": "mine", "installationAppType": "gitlab", "config": {}})
        assert fetch(bed.port, "mine").config is None

    def test_credentials_that_may_not_look(self, bed: Bed) -> None:
        bed.store.integration_access = False
        found = fetch(bed.port, "mine")
        assert (found.exists, found.accessible) == (False, False)

    @pytest.mark.parametrize("effect", [refuse(500), drop(), html(200), refuse(200, {"ok": True}), refuse(422)])
    def test_anything_else_is_not_taken_for_none(self, bed: Bed, effect: Any) -> None:
        bed.server.faults.append(Fault("GET /v1/integration", effect))
        with pytest.raises(PortUnavailable):
            fetch(bed.port, "mine")


class TestCreate:
    def test_once_and_again(self, bed: Bed) -> None:
        for _ in range(2):
            assert create(bed.port, "mine", "gitlab", {"resources": []})
        held = bed.store.integrations["mine"]
        assert (held["installationAppType"], held["version"], held["config"]) == (
            "gitlab",
            __version__,
            {"resources": []},
        )

    @pytest.mark.parametrize("applied", [True, False])
    def test_a_lost_answer(self, bed: Bed, applied: bool) -> None:
        bed.server.faults.append(Fault("POST /v1/integration", drop(applied=applied), times=1))
        assert create(bed.port, "mine", "gitlab", {})

    def test_credentials_that_may_not(self, bed: Bed) -> None:
        bed.store.integration_access = False
        assert not create(bed.port, "mine", "gitlab", {})

    @pytest.mark.parametrize("effect", [refuse(500), drop(), refuse(422)])
    def test_anything_else_ends_the_run(self, bed: Bed, effect: Any) -> None:
        bed.server.faults.append(Fault("POST /v1/integration", effect))
        with pytest.raises(PortUnavailable):
            create(bed.port, "mine", "gitlab", {})

    def test_a_first_mapping(self, bed: Bed) -> None:
        create(bed.port, "mine", "gitlab", {})
        assert store_config(bed.port, "mine", {"resources": []})
        assert bed.store.integrations["mine"]["config"] == {"resources": []}
        bed.server.faults.append(Fault("PATCH", drop()))
        assert not store_config(bed.port, "mine", {"resources": []})


class TestState:
    def test_the_answer_gives_ports_own_instant(self, bed: Bed) -> None:
        create(bed.port, "mine", "gitlab", {})
        bed.store.clock = lambda: 1_000_000_000.0
        instant = set_state(bed.port, "mine", "running", NOW)
        held = bed.store.integrations["mine"]["resyncState"]
        assert instant == held["updatedAt"]
        assert held == {
            "status": "running", "lastResyncStart": "2026-01-02T03:04:05.000Z", "lastResyncEnd": None,
            "nextResync": None, "intervalInMinuets": None, "updatedAt": instant,
        }  # fmt: skip

    @pytest.mark.parametrize("state", ["completed", "failed", "aborted"])
    def test_an_end_has_a_time(self, bed: Bed, state: Any) -> None:
        create(bed.port, "mine", "gitlab", {})
        set_state(bed.port, "mine", state, NOW)
        held = bed.store.integrations["mine"]["resyncState"]
        assert held["status"] == state
        assert held["lastResyncEnd"].endswith("Z")

    @pytest.mark.parametrize("effect", [refuse(500), drop(), html(200), refuse(403)])
    def test_a_refusal_is_no_instant(self, bed: Bed, effect: Any) -> None:
        bed.server.faults.append(Fault("resync-state", effect))
        assert set_state(bed.port, "mine", "running", NOW) is None

    def test_without_an_instant_in_the_body_the_date_counts(self, bed: Bed) -> None:
        bed.server.faults.append(
            Fault("resync-state", refuse(200, {"ok": True}, (("Date", "Fri, 02 Jan 2026 03:04:05 GMT"),)))
        )
        assert set_state(bed.port, "mine", "running", NOW) is not None

    @pytest.mark.parametrize(
        ("header", "instant"),
        [("Fri, 02 Jan 2026 03:04:05 GMT", "2026-01-02T03:04:05.000Z"), ("yesterday", None), (None, None)],
    )
    def test_the_date_of_an_answer(self, header: str | None, instant: str | None) -> None:
        headers = {} if header is None else {"date": header}
        assert instant_of(Answer(200, headers, b"", "")) == instant


class TestExamples:
    def test_a_few_of_each_kind(self, bed: Bed) -> None:
        create(bed.port, "mine", "gitlab", {})
        rows = [{"id": n, "token": "abc"} for n in range(EXAMPLES_PER_KIND + 3)]
        send_examples(bed.port, "mine", {"merge-request": rows, "project": rows[:1]})
        assert [row["id"] for row in bed.store.examples["mine", "merge-request"]] == list(range(EXAMPLES_PER_KIND))
        assert bed.store.examples["mine", "project"] == [{"id": 0, "token": "[masked]"}]

    def test_a_huge_row_is_left_out_and_a_long_text_is_cut(self, bed: Bed) -> None:
        create(bed.port, "mine", "gitlab", {})
        rows = [{"id": 1, "readme": "QUJD" * 300_000}, {"id": 2, "readme": "QUJD" * 1_200_000}]
        send_examples(bed.port, "mine", {"project": rows})
        (row,) = bed.store.examples["mine", "project"]
        assert (row["id"], len(row["readme"]) <= MOST_TEXT + 1) == (1, True)

    @pytest.mark.parametrize("effect", [refuse(500), refuse(403), drop()])
    def test_a_refusal_is_no_matter(self, bed: Bed, effect: Any) -> None:
        bed.server.faults.append(Fault("examples", effect))
        send_examples(bed.port, "mine", {"project": [{"id": 1}]})


class TestBlueprints:
    def test_all_of_the_default_mapping(self, bed: Bed) -> None:
        made = create_blueprints(bed.port, {}, default_blueprints())
        held = read_blueprints(bed.port)
        assert set(made) == set(held) == {one["identifier"] for one in default_blueprints()}
        assert unfit(held, default_blueprints()) == []
        assert held["gitlabMergeRequest"].relations["project"].target == "service"

    def test_only_the_missing_ones_and_existing_ones_stay_untouched(self, bed: Bed) -> None:
        (service,) = (one for one in default_blueprints() if one["identifier"] == "service")
        mine = {**service, "title": "My service", "relations": {}}
        mine["schema"] = {"properties": {**service["schema"]["properties"], "own": {"type": "string"}}, "required": []}
        bed.store.add_blueprint(mine)
        before = json.dumps(bed.store.blueprints["service"])
        made = create_blueprints(bed.port, read_blueprints(bed.port), default_blueprints())
        assert "service" not in made
        assert json.dumps(bed.store.blueprints["service"]) == before
        assert [call.path for call in bed.server.calls("PATCH .*/service")] == []

    def test_one_that_somebody_made_meanwhile_stays_untouched(self, bed: Bed) -> None:
        theirs = {"identifier": "gitlabMergeRequest", "title": "Theirs", "schema": {"properties": {}}}
        bed.store.add_blueprint(theirs)
        assert "gitlabMergeRequest" not in create_blueprints(bed.port, {}, default_blueprints())
        held = bed.store.blueprints["gitlabMergeRequest"]
        assert (held["title"], held["relations"]) == ("Theirs", {})

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            ({"schema": {"properties": {}}}, "property url is missing"),
            ({"schema": {"properties": {"url": {"type": "number"}}}}, "property url has type number"),
            ({"relations": {"other": {"target": "service"}}}, "needs a relation project to service"),
            (
                {"relations": {}, "schema": {"properties": {"url": {"type": "string"}, "own": {"type": "string"}}}},
                "needs a relation project to service",
            ),
            (
                {"relations": {"project": {"target": "service", "many": True}}},
                "needs a relation project to service",
            ),
        ],
    )
    def test_one_that_cannot_hold_the_mapping_is_a_fault_and_nothing_is_made(
        self, bed: Bed, change: Any, fault: str
    ) -> None:
        wanted = [
            blueprint("service", url="string"),
            blueprint("mr", {"project": "service"}, url="string"),
        ]
        bed.store.add_blueprint(wanted[0])
        bed.store.add_blueprint({**wanted[1], **change})
        missing = blueprint("other")
        with pytest.raises(UsageError) as raised:
            create_blueprints(bed.port, read_blueprints(bed.port), [missing, *wanted])
        assert fault in str(raised.value)
        assert set(bed.store.blueprints) == {"service", "mr"}

    def test_what_reads_along_relations_comes_last(self, bed: Bed) -> None:
        team = blueprint("team", {"boss": "person"}, size="number")
        person = blueprint("person", {"team": "team"})
        person["mirrorProperties"] = {"teamSize": {"path": "team.size", "title": "Size"}}
        person["calculationProperties"] = {"double": {"type": "number", "calculation": ".properties.x"}}
        person["ownership"] = {"type": "Inherited", "path": "team"}
        create_blueprints(bed.port, {}, [person, team])
        held = bed.store.blueprints["person"]
        assert held["relations"] == person["relations"]
        for name in ("mirrorProperties", "calculationProperties", "ownership"):
            assert held[name] == person[name]
        assert [list(call.body) for call in bed.server.calls("PATCH /v1/blueprints/person")] == [
            ["relations", "ownership"],
            ["mirrorProperties", "calculationProperties"],
        ]

    @pytest.mark.parametrize("calls", range(1, 12))
    def test_a_run_that_ends_between_the_steps_is_taken_up_by_the_next_one(self, bed: Bed, calls: int) -> None:
        team = blueprint("team", {"boss": "person"}, size="number")
        person = blueprint("person", {"team": "team"})
        person["mirrorProperties"] = {"teamSize": {"path": "team.size", "title": "Size"}}
        defaults = [person, team, blueprint("alone", text="string")]
        with a_bed(PortStore.default()) as whole:
            create_blueprints(whole.port, {}, defaults)
            done = [call for call in whole.server.calls("/v1/blueprints") if call.method != "GET"]
        count = itertools.count(1)

        def late(request: Recorded) -> bool:
            return "/blueprints" in request.path and request.method != "GET" and next(count) >= calls

        bed.server.faults.append(Fault(late, refuse(403)))
        if calls <= len(done):
            with pytest.raises(PortUnavailable):
                create_blueprints(bed.port, {}, defaults)
        bed.server.faults.clear()
        create_blueprints(bed.port, read_blueprints(bed.port), defaults)
        assert without_times(bed.store.blueprints) == without_times(whole.store.blueprints)
        bed.server.requests.clear()
        assert create_blueprints(bed.port, read_blueprints(bed.port), defaults) == []
        assert [call for call in bed.server.requests if call.method != "GET"] == []

    @pytest.mark.parametrize("effect", [refuse(403), refuse(500), drop()])
    @pytest.mark.parametrize("where", ["POST /v1/blueprints$", "PATCH /v1/blueprints"])
    def test_a_refusal_ends_the_run(self, bed: Bed, where: str, effect: Any) -> None:
        bed.server.faults.append(Fault(where, effect))
        with pytest.raises(PortUnavailable, match="the default blueprints could not be created"):
            create_blueprints(bed.port, {}, default_blueprints())


def without_times(blueprints: dict[str, Any]) -> dict[str, Any]:
    """Blueprints without when they were made and changed."""
    return {
        name: {key: value for key, value in held.items() if not key.endswith("At")}
        for name, held in sorted(blueprints.items())
    }


@pytest.mark.parametrize("calls", [2, 8, 9, 12])
def test_a_first_install_that_was_cut_off_is_completed_by_the_next_run(calls: int) -> None:
    """Seven blueprints are made bare, then six get their relations."""
    world, store = sample_world(datetime.now(UTC)), PortStore.default()
    count = itertools.count(1)

    def late(request: Recorded) -> bool:
        return "/blueprints" in request.path and request.method in ("POST", "PATCH") and cut_off(request)

    def cut_off(request: Recorded) -> bool:
        named = re.search("/blueprints(/[A-Za-z]+)?$", request.path)
        return named is not None and next(count) >= calls

    with port_server(store) as server:
        server.faults.append(Fault(late, refuse(403)))
        with pytest.raises(PortUnavailable):
            run_sync(world, server)
        server.faults.clear()
        planned = run_sync(world, server, command="plan").report
        report = run_sync(world, server).report
    whole = PortStore.default()
    assert (planned.exit_code, report.exit_code) == (0, 0)
    assert planned.blueprints == report.blueprints == run_sync(world, whole).report.blueprints
    assert store.snapshot() == whole.snapshot()
    assert without_times(store.blueprints) == without_times(whole.blueprints)


class TestContract:
    """Every request of real runs, checked against Port's own OpenAPI document where that is at hand."""

    def test_a_first_run_a_second_one_and_one_after_changes(self) -> None:
        world, store = sample_world(datetime.now(UTC)), PortStore.default()
        with port_server(store) as server:
            for run in range(3):
                if run == 1:
                    change_world(world)
                assert run_sync(world, server).report.exit_code == 0
        assert {call.path.rpartition("/")[2] for call in server.requests} >= {
            "bulk", "search", "delete", "datasource-entities", "resync-state", "examples", "blueprints", "access_token",
        }  # fmt: skip
        assert breaches(server.requests) == []

    def test_searches_nulls_teams_and_overwriting(self) -> None:
        query = {"combinator": '"and"', "rules": [{"property": '"url"', "operator": '"="', "value": ".web_url"}]}
        nulls: dict[str, Any] = {"title": "null", "icon": "null", "team": "null", "properties": {"url": "null"}}
        mapping = mapping_of(
            resource(
                "project", "service", title=".name", icon='"Git"', team='["a", "b"]', properties={"url": ".web_url"}
            ),
            resource("project", "copy", relations={"service": query, "services": query}),
            resource("project", "empty", **nulls, relations={"service": "null", "services": "null"}),
            resource("project", "service", identifier=query, properties={"size": "3"}),
            resource("project", "owned", team=query),
            enableMergeEntity=False,
            createMissingRelatedEntities=False,
            entityDeletionThreshold=1,
        )
        relations = {"service": "service", "services": ["service"]}
        names = {name: blueprint(name, relations, url="string") for name in ("copy", "empty")}
        store = port_with(
            blueprint("service", url="string", size="number"), blueprint("_team", url="string"), blueprint("owned"),
            *names.values(),
        )  # fmt: skip
        world = sample_world(datetime.now(UTC))
        with port_server(store) as server:
            run_sync(world, server, mapping)
            world.delete_project(world.project("payments/cards/fraud-rules"))
            run_sync(world, server, mapping)
        assert breaches(server.requests) == []

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/v1/blueprints/x/entities/bulk", {"entities": []}),
            ("POST", "/v1/blueprints/x/entities/bulk", {"entities": [{"identifier": "a", "title": None}]}),
            ("POST", "/v1/blueprints/x/entities/bulk", {"entities": [{"identifier": "a b"}]}),
            ("POST", "/v1/blueprints/x/bulk/entities/delete", {"entities": ["a"] * 101}),
            ("POST", "/v1/blueprints/x/entities/search", {"limit": 1001}),
            ("POST", "/v1/auth/access_token", {"clientId": "a", "clientSecret": "b", "more": 1}),
            ("POST", "/v1/nothing", {}),
            ("GET", "/v1/blueprints", {"body": "none"}),
        ],
    )
    def test_a_breach_is_seen(self, method: str, path: str, body: Any) -> None:
        assert len(breaches([Recorded(method, path, (), body, "")])) >= 1
