"""Upserts and deletions in bulk: within Port's limits, and nothing counts that Port did not confirm."""

import json
import threading
from collections import Counter
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.jsontext import encode
from gitlab_port_export.demo import port_rules
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_faults import Fault, Recorded, drop, html, refuse
from gitlab_port_export.demo.port_rules import RefusedError
from gitlab_port_export.model import Create, Delete, Failed, Held, Skipped, Update, Written
from gitlab_port_export.port.blueprint import Blueprint, Relation
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.port.halving import Tries
from gitlab_port_export.port.identifiers import is_identifier
from gitlab_port_export.port.order import blueprint_order, dependency_order
from gitlab_port_export.port.upsert import Batch, Rules, upsert
from gitlab_port_export.port.writer import Writer, as_sent
from gitlab_port_export.report.builder import ReportBuilder
from testbed.faults import Leap
from testbed.harness import NoWait, blueprint, port_with
from testbed.port_bed import Bed, a_bed, of, signed_in, thing, things, written

BULK = r"POST .*/entities/bulk$"
QUERY = {"combinator": "and", "rules": [{"property": "text", "operator": "=", "value": "needle"}]}


def job(*, required: bool = True, target: str = "thing") -> dict[str, Any]:
    """A blueprint whose entities need, or only have, a `thing`."""
    return blueprint("job", {"thing": {"target": target, "many": False, "required": required}}, text="string")


@pytest.fixture
def bed() -> Iterator[Bed]:
    with a_bed(port_with(things(), job(required=False))) as found:
        yield found


def bulks(bed: Bed) -> list[list[str]]:
    """The identifiers of each bulk upsert that was answered."""
    return [[row["identifier"] for row in call.body["entities"]] for call in bed.server.calls(BULK) if call.status]


class TestBatches:
    def test_twenty_of_one_blueprint_a_call(self, bed: Bed) -> None:
        entities = [thing(str(n), blueprint="job" if n % 2 else "thing", text="x") for n in range(90)]
        bed.fields = ("properties.text",)
        events = bed.sync(*entities)
        assert len(written(events)) == 90
        sizes = {name: sorted(len(b.body["entities"]) for b in bed.server.calls(f"/{name}/entities/bulk"))
                 for name in ("thing", "job")}  # fmt: skip
        assert sizes == {"thing": [5, 20, 20], "job": [5, 20, 20]}

    def test_a_smaller_number_if_so_set(self, bed: Bed) -> None:
        bed.rules = Rules(batch_length=3)
        bed.sync(*(thing(str(n), text="x") for n in range(7)))
        assert sorted(map(len, bulks(bed))) == [1, 3, 3]

    @pytest.mark.parametrize(("letter", "fewest"), [("x", 2), ("é", 2), ('"', 2), ("\U0001f600", 2)])
    def test_no_call_is_larger_than_a_mebibyte(self, bed: Bed, letter: str, fewest: int) -> None:
        bed.sync(*(thing(str(n), text=letter * 20_000) for n in range(25)))
        calls = bed.server.calls(BULK)
        assert {call.status for call in calls} == {200}
        sizes = [len(json.dumps(call.body, separators=(",", ":"), ensure_ascii=False).encode()) for call in calls]
        assert max(sizes) <= 1 << 20
        assert len(sizes) == fewest
        assert len(bed.store.identifiers("thing")) == 25

    def test_an_entity_that_is_too_large_alone_fails_alone(self, bed: Bed) -> None:
        events = bed.sync(thing("huge", text="x" * (1 << 20)), thing("small", text="x"))
        assert written(events) == [("create", "small")]
        (failed,) = of(Failed, events)
        assert failed.change.entity.identifier == "huge"
        assert failed.why == "the entity is larger than 1024 KiB, which is Port's limit"

    def test_an_entity_that_no_call_can_hold_is_not_sent(self, bed: Bed) -> None:
        events = bed.sync(*(thing(str(n), text="x" * (1 << 20)) for n in range(30)))
        assert len(of(Failed, events)) == 30
        assert bed.server.calls(BULK) == []

    @pytest.mark.parametrize(
        ("rules", "query"),
        [
            (Rules(), {"merge": "true", "create_missing_related_entities": "true"}),
            (Rules(merge=False), {"merge": "false", "create_missing_related_entities": "true"}),
            (Rules(create_missing=False), {"merge": "true", "create_missing_related_entities": "false"}),
        ],
    )
    def test_the_mappings_flags_go_along(self, bed: Bed, rules: Rules, query: dict[str, str]) -> None:
        bed.rules = rules
        bed.sync(thing("a", text="x"))
        (call,) = bed.server.calls(BULK)
        assert dict(call.query) == {"upsert": "true", "validation_only": "false", **query}
        assert call.user_agent == "port-ocean/gitlab-v2/1.0.0/mine/exporter"


class TestNulls:
    def test_what_the_schema_of_bulk_upserts_has_no_null_for(self) -> None:
        empty = {"title": None, "icon": None, "team": None}
        sent = as_sent(thing("a", meta=empty, relations={"parent": None}, text=None))
        assert sent == {
            "identifier": "a", "title": "a", "team": [], "properties": {"text": None}, "relations": {"parent": None},
        }  # fmt: skip

    def test_the_entity_itself_stays_as_it_is(self) -> None:
        entity = thing("a", meta={"title": None, "icon": None})
        as_sent(entity)
        assert entity.body == {"title": None, "icon": None}


class TestRefusals:
    def test_a_row_that_port_refuses_fails_alone(self, bed: Bed) -> None:
        events = bed.sync(*(thing(str(n), size=n if n != 3 else "three") for n in range(6)))
        assert len(written(events)) == 5
        (failed,) = of(Failed, events)
        assert failed.change.entity.identifier == "3"
        assert failed.why == '422: property "size" must be number'
        assert [call.status for call in bed.server.calls(BULK)] == [207]

    def test_a_call_that_is_too_large_is_halved(self, bed: Bed) -> None:
        def large(request: Recorded) -> bool:
            return request.path.endswith("/bulk") and len(request.body["entities"]) > 5

        bed.server.faults.append(Fault(large, refuse(413, {"ok": False, "error": "payload_too_large"})))
        events = bed.sync(*(thing(str(n), text="x") for n in range(20)))
        assert len(written(events)) == 20
        assert sorted(len(b.body["entities"]) for b in bed.server.calls(BULK) if b.status == 200) == [5] * 4

    def test_one_that_concerns_no_row_is_not_repeated_for_each(self, bed: Bed) -> None:
        bed.server.faults.append(Fault(BULK, refuse(403, {"ok": False, "error": "forbidden", "message": "no"})))
        events = bed.sync(*(thing(str(n), text="x") for n in range(20)))
        assert [one.why for one in of(Failed, events)] == ["403: no"] * 20
        assert len(bed.server.calls(BULK)) == 1

    def test_a_blueprint_that_vanishes_midway_stops_its_own_rows(self, bed: Bed) -> None:
        bed.fields = ("properties.text",)

        def vanish(request: Recorded) -> bool:
            if request.path.endswith("/job/entities/bulk"):
                bed.store.blueprints.pop("job", None)
            return False

        bed.server.faults.append(Fault(vanish, refuse(500)))
        events = bed.sync(thing("a", text="x"), thing("j", blueprint="job", text="x"), thing("b", text="x"))
        assert sorted(written(events)) == [("create", "a"), ("create", "b")]
        (failed,) = of(Failed, events)
        assert "404" in failed.why

    @pytest.mark.parametrize(
        "body",
        [
            {"ok": True, "entities": [], "errors": []},
            {"ok": True, "entities": [{"created": True, "identifier": "a", "index": 0}], "errors": []},
            {"ok": True, "entities": [{"created": True, "identifier": "a", "index": 0}]},
            {"ok": True},
        ],
    )
    @pytest.mark.parametrize("status", [200, 207])
    def test_a_row_that_is_not_confirmed_failed(self, bed: Bed, status: int, body: Any) -> None:
        bed.server.faults.append(Fault(BULK, refuse(status, body), times=1))
        events = bed.sync(thing("a", text="x"), thing("b", text="x"))
        confirmed = [row["identifier"] for row in body.get("entities", ())]
        assert [name for _, name in written(events)] == confirmed
        failed = of(Failed, events)
        assert [one.change.entity.identifier for one in failed] == [n for n in ("a", "b") if n not in confirmed]
        assert {one.why for one in failed} == {"Port did not confirm the row"}

    def test_a_200_that_is_no_json_confirms_nothing(self, bed: Bed) -> None:
        bed.server.faults.append(Fault(BULK, html(200)))
        events = bed.sync(thing("a", text="x"))
        assert written(events) == []
        assert len(of(Failed, events)) == 1


class TestRowsThatPassLater:
    """A row of a call may have a status of its own that says: not now."""

    def refuse_rows(self, bed: Bed, status: int, names: Container[str], times: int | None = 1) -> None:
        """Let Port refuse these rows of each call, so often, and time leap over every wait."""
        bed.port.http.go_on_with(Leap())
        met: Counter[str] = Counter()

        def refuses(_: str, row: dict[str, Any]) -> RefusedError | None:
            name = row["identifier"]
            met[name] += name in names
            if name in names and (times is None or met[name] <= times):
                return RefusedError(status, "internal_error", "not now")
            return None

        bed.store.refuses = refuses

    @pytest.mark.parametrize("status", [409, 429, 500, 503])
    def test_they_are_sent_again_alone(self, bed: Bed, status: int) -> None:
        self.refuse_rows(bed, status, ("3", "5"))
        events = bed.sync(*(thing(str(n), text="x") for n in range(20)))
        assert len(written(events)) == 20
        assert of(Failed, events) == []
        assert [len(call) for call in bulks(bed)] == [20, 2]

    @pytest.mark.parametrize("status", [409, 429, 500, 503])
    def test_one_that_never_passes_fails_alone_after_a_few_attempts(self, bed: Bed, status: int) -> None:
        self.refuse_rows(bed, status, ("3",), times=None)
        events = bed.sync(*(thing(str(n), text="x") for n in range(20)))
        assert len(written(events)) == 19
        (failed,) = of(Failed, events)
        assert failed.why == f"{status}: not now"
        assert [len(call) for call in bulks(bed)] == [20, 1, 1, 1]

    def test_what_a_rows_content_forbids_is_not_repeated(self, bed: Bed) -> None:
        self.refuse_rows(bed, 422, ("3",), times=None)
        assert len(of(Failed, bed.sync(*(thing(str(n), text="x") for n in range(20))))) == 1
        assert len(bulks(bed)) == 1

    def test_where_no_row_ever_passes_the_attempts_end(self, bed: Bed) -> None:
        self.refuse_rows(bed, 500, [str(n) for n in range(600)], times=None)
        events = bed.sync(*(thing(str(n), text="x") for n in range(600)))
        assert len(of(Failed, events)) == 600
        assert len(bulks(bed)) <= 30 + 25  # eight in vain, and what was under way beside them

    @pytest.mark.parametrize("header", [("retry-after", "7"), None])
    def test_the_wait_is_the_one_that_port_asks_for(self, header: tuple[str, str] | None) -> None:
        clock = Leap()
        answer = {
            "ok": False,
            "entities": [],
            "errors": [{"identifier": "a", "index": 0, "statusCode": 503, "error": "busy", "message": "busy"}],
        }
        with (
            port_server(port_with(things())) as server,
            signed_in(server, clock=clock) as port,
            ThreadPoolExecutor(1) as executor,
        ):
            server.faults.append(Fault(BULK, refuse(207, answer, (header,) if header else ()), times=1))
            writer = Writer(port, Rules(), executor, 8)
            list(writer.add(Create(thing("a", text="x"))))
            assert len(written(list(writer.finish({})))) == 1
        assert clock.leapt == 7 if header else 0.5 <= clock.leapt < 1

    def test_a_run_that_ends_meanwhile_keeps_what_was_confirmed(self) -> None:
        class EndsWithTheFirstWait(NoWait):
            def sleep(self, seconds: float) -> None:
                self.stop()
                super().sleep(seconds)

        clock = EndsWithTheFirstWait()
        found: list[Any] = []

        def refuses(_: str, row: dict[str, Any]) -> RefusedError | None:
            return RefusedError(500, "internal_error", "not now") if row["identifier"] == "a" else None

        with (
            port_server(port_with(things(), refuses=refuses)) as server,
            signed_in(server, clock=clock) as port,
            ThreadPoolExecutor(1) as executor,
        ):
            writer = Writer(port, Rules(), executor, 8)
            for name in ("a", "b"):
                found += writer.add(Create(thing(name, text="x")))
            with pytest.raises(Stopped):
                found.extend(writer.finish({}))
        assert written(found) == [("create", "b")]


class TestCallsThatARowRefuses:
    def poison(self, bed: Bed, effect: Any, *names: str) -> None:
        def poisoned(request: Recorded) -> bool:
            rows = request.body.get("entities", ()) if request.path.endswith("/bulk") else ()
            return any(row["identifier"] in names for row in rows)

        bed.server.faults.append(Fault(poisoned, effect))

    @pytest.mark.parametrize(
        "effect",
        [
            *(refuse(status) for status in (400, 404, 409, 422, 500, 503, 504)),
            html(403, "<html>blocked by a firewall</html>"),
            drop(),
        ],
        ids=["400", "404", "409", "422", "500", "503", "504", "firewall", "drop"],
    )
    def test_the_row_is_found_and_the_others_are_written(self, bed: Bed, effect: Any) -> None:
        self.poison(bed, effect, "3", "17")
        events = bed.sync(*(thing(str(n), text="x") for n in range(40)))
        assert len(written(events)) == 38
        assert sorted(one.change.entity.identifier for one in of(Failed, events)) == ["17", "3"]

    def test_the_calls_for_it_are_few(self, bed: Bed) -> None:
        self.poison(bed, refuse(422), "13")
        assert len(written(bed.sync(*(thing(str(n), text="x") for n in range(20))))) == 19
        assert len(bed.server.calls(BULK)) <= 11  # 20, then two halves five times

    @pytest.mark.parametrize("status", [401, 403])
    def test_what_concerns_the_credentials_is_not_divided(self, bed: Bed, status: int) -> None:
        self.poison(bed, refuse(status), "3")
        assert len(of(Failed, bed.sync(*(thing(str(n), text="x") for n in range(20))))) == 20
        assert len(bed.server.calls(BULK)) <= 4  # a refused token is renewed three times

    @pytest.mark.parametrize("status", [400, 422])
    def test_where_every_row_is_refused_the_calls_are_bounded_and_a_good_half_goes_on(
        self, bed: Bed, status: int
    ) -> None:
        bad = {str(n) for n in range(600)} - {str(n) for n in range(500, 510)}
        self.poison(bed, refuse(status), *bad)
        bed.executor = ThreadPoolExecutor(1)
        events = bed.sync(*(thing(str(n), text="x") for n in range(600)))
        assert len(written(events)) == 10
        assert len(of(Failed, events)) == 590
        assert len(bed.server.calls(BULK)) <= 150  # 600 rows one by one were 1,170


class TestWhatPortsSchemaForbids:
    """It would refuse whole calls, and comes from an expression that gives the same in every row."""

    @pytest.mark.parametrize(
        ("field", "entity"),
        [
            ("relations.parent", {"relations": {"parent": "no spaces"}}),
            ("relations.parent", {"relations": {"parent": ""}}),
            ("relations.parent", {"relations": {"parent": True}}),
            ("relations.parent", {"relations": {"parent": "x" * 1001}}),
            ("relations.friends", {"relations": {"friends": ["a", "b,c"]}}),
            ("relations.friends", {"relations": {"friends": [None]}}),
            ("title", {"meta": {"title": ["a"]}}),
            ("icon", {"meta": {"icon": 5}}),
            ("team", {"meta": {"team": 5}}),
            ("team", {"meta": {"team": ["a", 5]}}),
        ],
    )
    def test_it_is_seen_before_sending_once_and_the_other_rows_go_on(
        self, bed: Bed, field: str, entity: dict[str, Any]
    ) -> None:
        wrong = [thing(str(n), text="x", **entity) for n in range(600)]
        events = bed.sync(
            *wrong, *(thing(f"good-{n}", text="x", relations={"parent": "é/@_.+:\\=-"}) for n in range(5))
        )
        assert len(written(events)) == 5
        assert len(bed.server.calls(BULK)) == 1
        builder = ReportBuilder("sync")
        for event in events:
            builder.add(event)
        (problem,) = builder.finish(started="", seconds=0).problems
        assert (problem.field, problem.count) == (field, 600)
        assert problem.sample

    def test_a_plan_says_so_too(self, bed: Bed) -> None:
        events = bed.sync(thing("a", relations={"parent": "no spaces"}), thing("b", text="x"), writes=False)
        assert [one.change.entity.identifier for one in of(Failed, events)] == ["a"]
        assert [one.entity.identifier for one in of(Create, events)] == ["b"]

    def test_what_it_refuses_is_what_the_stand_in_refuses(self) -> None:
        for name in ("a b", ".", "..", "a", "é", "ß/x", "a,b", "x" * 1000, "x" * 1001, "", "a\n", "日本", "½", "a(b)"):
            assert is_identifier(name) == port_rules.is_identifier(name)


def test_equal_causes_are_one_problem_although_port_names_the_row(bed: Bed) -> None:
    bed.rules = Rules(create_missing=False)
    builder = ReportBuilder("sync")
    for event in bed.sync(*(thing(str(n), relations={"parent": f"nobody-{n}"}) for n in range(50))):
        builder.add(event)
    (problem,) = builder.finish(started="", seconds=0).problems
    assert problem.count == 50
    assert problem.why == '404: Related entity with identifier "…" was not found in blueprint "thing"'
    assert "nobody-" in problem.sample


class TestLostAnswers:
    @pytest.mark.parametrize("applied", [True, False])
    @pytest.mark.parametrize("effect", [drop, lambda *, applied: refuse(504, applied=applied)])
    def test_it_is_asked_again(self, bed: Bed, effect: Any, applied: bool) -> None:
        bed.server.faults.append(Fault(BULK, effect(applied=applied), times=2))
        events = bed.sync(thing("a", text="x"))
        assert written(events) == [("create", "a")]
        assert len(bed.server.calls(BULK)) == 3

    def test_without_an_answer_nothing_counts_although_it_was_applied(self, bed: Bed) -> None:
        bed.server.faults.append(Fault(BULK, drop(applied=True)))
        events = bed.sync(thing("a", text="x"))
        assert bed.store.identifiers("thing") == {"a"}
        assert written(events) == []
        (failed,) = of(Failed, events)
        assert failed.why.startswith("no answer from Port")
        assert failed.change == Create(thing("a", text="x"))


class TestMissingTargets:
    """With `createMissingRelatedEntities: false` Port refuses a row whose target is not there (yet)."""

    @pytest.fixture
    def strict(self, bed: Bed) -> Bed:
        bed.rules, bed.fields = Rules(create_missing=False), ("relations.parent", "relations.thing")
        return bed

    def test_they_are_tried_once_more_at_the_end_targets_first(self, strict: Bed) -> None:
        names = [str(n) for n in range(30)]
        chain = [thing(name, relations={"parent": str(int(name) - 1)}) for name in reversed(names[1:])]
        jobs = [thing("j", blueprint="job", relations={"thing": "29"})]
        events = strict.sync(*jobs, *chain, thing("0", relations={"parent": None}))
        assert sorted(name for _, name in written(events)) == sorted([*names, "j"])
        assert of(Failed, events) == []

    def test_one_that_stays_away_fails_its_row_only(self, strict: Bed) -> None:
        events = strict.sync(thing("a", relations={"parent": "nobody"}), thing("b", relations={"parent": "a"}))
        assert [one.change.entity.identifier for one in of(Failed, events)] == ["a", "b"]
        assert "404" in of(Failed, events)[0].why
        tries = [name for call in bulks(strict) for name in call]
        assert sorted(tries) == ["a", "a", "b", "b"]

    def test_a_relation_to_itself_needs_nobody(self, strict: Bed) -> None:
        assert written(strict.sync(thing("a", relations={"parent": "a"}))) == [("create", "a")]

    def test_a_circle_is_written_in_two_steps(self, strict: Bed) -> None:
        events = strict.sync(
            thing("a", relations={"parent": "b"}),
            thing("b", relations={"parent": "a"}),
            thing("d", relations={"parent": "c"}),
            thing("c", relations={"parent": None}),
        )
        assert sorted(written(events)) == [("create", name) for name in "abcd"]
        assert of(Failed, events) == []
        held = strict.store.snapshot()["thing"]
        assert [held[name][4]["parent"] for name in "abd"] == ["b", "a", "c"]

    def test_when_port_creates_them_nobody_waits(self, bed: Bed) -> None:
        events = bed.sync(thing("a", relations={"parent": "b"}), thing("b", relations={"parent": "a"}))
        assert len(written(events)) == 2
        assert len(bed.server.calls(BULK)) == 1


class TestSearchedEntities:
    def test_one_that_another_resource_has_just_made_is_found_at_the_end(self, bed: Bed) -> None:
        events = bed.sync(thing(QUERY, size=3, at=1), thing("found", text="needle"))
        assert sorted(written(events)) == [("create", "found"), ("update", "found")]
        assert bed.store.snapshot()["thing"]["found"][3] == {"text": "needle", "size": 3}

    def test_one_that_is_nowhere_is_left_out_as_in_ocean(self, bed: Bed) -> None:
        events = bed.sync(thing(QUERY, size=3, at=1), thing("other", text="x"))
        assert written(events) == [("create", "other")]
        assert of(Failed, events) == []
        (skipped,) = of(Skipped, events)
        assert (skipped.resource, skipped.reason) == (1, "identifier")

    def test_a_missing_relation_target_is_no_missing_entity(self, bed: Bed) -> None:
        bed.rules = Rules(create_missing=False)
        bed.seed("thing", "found", properties={"text": "needle"})
        # Port says `not_found` for both; only the entity that was not found has no name.
        (failed,) = of(Failed, bed.sync(thing("a", relations={"parent": "nobody"})))
        assert "was not found" in failed.why
        assert failed.sample == "nobody"


class TestOrderOfChanges:
    def test_a_second_change_of_an_entity_waits_for_the_first(self, bed: Bed) -> None:
        """Two calls under way end in any order, and inside one call Port promises none."""
        open_gate = threading.Event()

        def first(request: Recorded) -> bool:
            if request.path.endswith("/bulk") and "old" in json.dumps(request.body):
                open_gate.wait(5)
            return False

        bed.server.faults.append(Fault(first, refuse(500)))
        changes: list[Create | Update] = [Create(thing("a", text="old")), Update(thing("a", text="new"))]
        writer = Writer(bed.port, Rules(batch_length=1), bed.executor, 8)
        events = [event for change in changes for event in writer.add(change)]
        threading.Timer(0.05, open_gate.set).start()
        events += writer.finish({})
        assert written(events) == [("create", "a"), ("update", "a")]
        assert bed.store.snapshot()["thing"]["a"][3]["text"] == "new"

    def test_they_never_share_a_call(self, bed: Bed) -> None:
        writer = Writer(bed.port, Rules(), bed.executor, 8)
        texts = ["one", "two", "three", "four"]
        for text in texts:
            assert list(writer.add(Update(thing("a", text=text)))) == []
        assert list(writer.add(Update(thing("b", text="x")))) == []
        assert len(written(list(writer.finish({})))) == 5
        sent = [[row["properties"]["text"] for row in c.body["entities"]] for c in bed.server.calls(BULK)]
        assert sent == [["one", "x"], ["two"], ["three"], ["four"]]

    def test_a_third_change_does_not_pass_the_second(self, bed: Bed) -> None:
        writer = Writer(bed.port, Rules(batch_length=2), bed.executor, 0)
        events: list[Any] = []
        for name, text in (("a", "one"), ("a", "two"), ("b", "x"), ("a", "three")):
            events += writer.add(Update(thing(name, text=text)))
        assert written(events) == [("update", "a"), ("update", "b")]  # the first is written, the second still waits
        events += writer.finish({})
        assert len(written(events)) == 4
        assert bed.store.snapshot()["thing"]["a"][3]["text"] == "three"

    def test_a_row_that_was_written_later_is_not_written_over(self, bed: Bed) -> None:
        bed.store.add_blueprint(blueprint("_user", text="string"))
        bed.store.change_blueprint("job", {"relations": {"user": {"target": "_user"}}}, partial=True)
        writer = Writer(bed.port, Rules(), bed.executor, 8)
        for relations, text in (({"user": "nobody"}, "old"), (None, "new")):
            list(writer.add(Update(thing("j", blueprint="job", relations=relations, text=text))))
        events = list(writer.finish({}))
        assert written(events) == [("update", "j")]
        assert of(Failed, events) == []
        assert bed.store.snapshot()["job"]["j"][3]["text"] == "new"


class TestStopped:
    def test_what_is_under_way_is_waited_for_and_nothing_more_is_sent(self, bed: Bed) -> None:
        writer = Writer(bed.port, Rules(batch_length=2), bed.executor, 8)
        for name in ("a", "b", "c"):
            list(writer.add(Create(thing(name, text="x"))))
        assert sorted(written(list(writer.abandon(10)))) == [("create", "a"), ("create", "b")]
        assert bed.store.identifiers("thing") == {"a", "b"}

    def test_what_was_confirmed_before_a_call_was_stopped_counts(self) -> None:
        clock = NoWait()
        found: list[Any] = []

        def second(request: Recorded) -> bool:
            if "two" in json.dumps(request.body):
                clock.stop()
                return True
            return False

        with (
            port_server(port_with(things())) as server,
            signed_in(server, clock=clock) as port,
            ThreadPoolExecutor(1) as executor,
        ):
            server.faults.append(Fault(second, refuse(500)))
            writer = Writer(port, Rules(batch_length=1), executor, 8)
            for text in ("one", "two"):
                found += writer.add(Create(thing(text, text=text)))
            with pytest.raises(Stopped):
                found.extend(writer.finish({}))  # keeps what came before the exception
            found += writer.abandon(10)
        assert written(found) == [("create", "one")]


class TestOrder:
    @staticmethod
    def blueprints(**targets: str) -> dict[str, Blueprint]:
        return {
            name: Blueprint(name, {}, {target: Relation(target) for target in found.split()})
            for name, found in targets.items()
        }

    def test_targets_come_first(self) -> None:
        found = blueprint_order("abc", self.blueprints(a="b", b="c", c=""))
        assert found == ["c", "b", "a"]

    def test_what_is_not_in_the_list_does_not_count(self) -> None:
        assert blueprint_order(["a", "x"], self.blueprints(a="b elsewhere")) == ["a", "x"]

    def test_a_circle_takes_nobody_elses_place(self) -> None:
        """What needs the circle comes after it, and what it needs before, as does all that has no part in it."""
        found = blueprint_order(
            ["user", "team", "job", "pipeline", "root"],
            self.blueprints(job="pipeline", pipeline="team", team="user", user="team root", root="root"),
        )
        assert (found[0], set(found[1:3]), found[3:]) == ("root", {"user", "team"}, ["pipeline", "job"])

    def test_entities_of_one_blueprint(self) -> None:
        blueprints = {"thing": Blueprint.of(things())}
        entities = [
            thing("child", relations={"parent": "root", "friends": ["child"]}),
            thing("root", relations={"friends": ["elsewhere"]}),
            thing("x", relations={"parent": "y"}),
            thing("y", relations={"parent": "x"}),
            thing("after", relations={"parent": "x"}),
        ]
        groups = [{one.identifier for one in group} for group in dependency_order(entities, blueprints)]
        assert groups == [{"root"}, {"child"}, {"x", "y"}, {"after"}]

    def test_a_long_chain_does_not_end_the_run(self) -> None:
        chain = [thing(str(n), relations={"parent": str(n + 1)}) for n in range(3000)]
        assert len(list(dependency_order(chain, {"thing": Blueprint.of(things())}))) == 3000


class TestDeleter:
    @pytest.fixture
    def held(self, bed: Bed) -> Bed:
        bed.seed("thing", *(str(n) for n in range(250)))
        bed.server.requests.clear()
        return bed

    def delete(self, bed: Bed, *names: str, cascade: bool = False, of_blueprint: str = "thing") -> list[Any]:
        return list(Deleter(bed.port, cascade=cascade).delete(of_blueprint, names))

    def test_a_hundred_a_call_without_dependents(self, held: Bed) -> None:
        events = self.delete(held, *(str(n) for n in range(250)))
        assert len(written(events)) == 250
        calls = held.server.calls("bulk/entities/delete$")
        assert [len(call.body["entities"]) for call in calls] == [100, 100, 50]
        assert {call.query for call in calls} == {(("delete_dependents", "false"),)}
        assert held.store.identifiers("thing") == set()

    def test_one_that_is_gone_already_is_deleted(self, held: Bed) -> None:
        assert written(self.delete(held, "1", "not there")) == [("delete", "1"), ("delete", "not there")]

    @pytest.mark.parametrize("applied", [True, False])
    def test_a_lost_answer_is_asked_for_again(self, held: Bed, applied: bool) -> None:
        held.server.faults.append(Fault("entities/delete", drop(applied=applied), times=1))
        assert len(written(self.delete(held, "1", "2"))) == 2

    def test_one_that_port_still_has_is_not_deleted(self, held: Bed) -> None:
        answer = {"ok": True, "deletedEntities": ["1"]}
        held.server.faults.append(Fault("entities/delete", refuse(200, answer)))
        held.store.delete("thing", ["1"], cascade=False)
        events = self.delete(held, "1", "2")
        assert written(events) == [("delete", "1")]
        assert [one.change for one in of(Failed, events)] == [Delete("thing", "2")]

    @pytest.mark.parametrize(("status", "most"), [(403, 1), (500, 80)])
    def test_a_refusal_that_is_about_no_entity_is_not_repeated_for_each(
        self, held: Bed, status: int, most: int
    ) -> None:
        text = {"ok": False, "error": "forbidden", "message": "a role is required"}
        held.server.faults.append(Fault("entities/delete", refuse(status, text)))
        events = self.delete(held, *(str(n) for n in range(100)), cascade=True)
        assert len(of(Failed, events)) == 100
        assert len(held.server.calls("entities/delete")) <= most

    @pytest.mark.parametrize("status", [500, 400, 409])
    def test_one_that_refuses_the_whole_call_is_found_by_halving(self, held: Bed, status: int) -> None:
        def poisoned(request: Recorded) -> bool:
            return request.path.endswith("/delete") and "7" in request.body["entities"]

        held.server.faults.append(Fault(poisoned, refuse(status, {"ok": False, "error": "oops", "message": "no"})))
        events = self.delete(held, *(str(n) for n in range(100)))
        assert len(written(events)) == 99
        assert [one.change.identifier for one in of(Failed, events)] == ["7"]

    def test_no_answer_fails_what_was_asked(self, held: Bed) -> None:
        held.server.faults.append(Fault("entities/delete", drop()))
        assert len(of(Failed, self.delete(held, "1", "2"))) == 2

    def test_port_may_answer_404_for_one_that_is_gone(self, held: Bed) -> None:
        def missing(request: Recorded) -> bool:
            return request.path.endswith("/delete") and "not there" in request.body["entities"]

        held.server.faults.append(Fault(missing, refuse(404, {"ok": False, "error": "not_found"})))
        assert len(written(self.delete(held, "1", "2", "not there", "3"))) == 4
        assert held.store.identifiers("thing").isdisjoint({"1", "2", "3"})

    @pytest.fixture
    def needed(self) -> Iterator[Bed]:
        with a_bed(port_with(things(), job())) as found:
            found.seed("thing", "free", "needed")
            found.store.seed("job", [{"identifier": "j", "relations": {"thing": "needed"}}], "somebody else")
            yield found

    @pytest.mark.parametrize("status", [422, 403, 409, 500])
    def test_what_others_need_is_held_and_named_whatever_the_status(self, needed: Bed, status: int) -> None:
        needed.store.dependents_status = status
        events = self.delete(needed, "free", "needed")
        assert written(events) == [("delete", "free")]
        (held,) = of(Held, events)
        assert (held.blueprint, held.identifiers, held.reason) == ("thing", ("needed",), "dependents")
        assert '"j" of "job"' in held.why
        assert "deleteDependentEntities: true" in held.hint
        assert needed.store.identifiers("job") == {"j"}

    @pytest.mark.parametrize("status", [422, 403])
    def test_it_goes_with_its_dependents_only_on_the_users_word(self, needed: Bed, status: int) -> None:
        needed.store.dependents_status = status
        events = self.delete(needed, "free", "needed", cascade=True)
        assert [one.change for one in of(Written, events)] == [
            Delete("thing", "free"),
            Delete("thing", "needed", cascade=True),
        ]
        assert needed.store.identifiers("job") == set()
        calls = [call for call in needed.server.calls("delete") if ("delete_dependents", "true") in call.query]
        assert [call.body["entities"] for call in calls] == [["needed"]]

    def test_a_cascade_counts_only_when_it_is_confirmed(self, needed: Bed) -> None:
        def cascading(request: Recorded) -> bool:
            return ("delete_dependents", "true") in request.query

        needed.server.faults.append(Fault(cascading, refuse(200, {"ok": True, "deletedEntities": []})))
        assert [type(one) for one in self.delete(needed, "needed", cascade=True)] == [Failed]

    def test_a_malformed_call_is_not_taken_for_dependents(self, held: Bed) -> None:
        refusal = {"ok": False, "error": "invalid_request", "message": "entities must be array"}
        held.server.faults.append(Fault("entities/delete", refuse(422, refusal)))
        assert [type(one) for one in self.delete(held, "1", cascade=True)] == [Failed]


def test_upsert_leaves_the_sorting_to_port(bed: Bed) -> None:
    changes = (Create(thing("b", text="x")), Create(thing("a", text="x")))
    batch = Batch("thing", changes, tuple(encode(as_sent(one.entity)) for one in changes))
    outcome = upsert(bed.port, Rules(), batch, Tries())
    assert outcome.written == changes
    assert (outcome.failed, outcome.again) == ((), ())


def test_blueprints_may_have_a_slash(bed: Bed) -> None:
    bed.store.add_blueprint(blueprint("a/b:c", text="string"))
    bed.fields = ("properties.text",)
    assert written(bed.sync(thing("x/y", blueprint="a/b:c", text="x"))) == [("create", "x/y")]
    assert written(list(Deleter(bed.port, cascade=False).delete("a/b:c", ["x/y"]))) == [("delete", "x/y")]
