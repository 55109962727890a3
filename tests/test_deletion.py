"""What is ours and no longer produced goes, sources before targets, and everything that may not go stays."""

from collections.abc import Iterator
from typing import Any

import pytest

from gitlab_port_export.demo.port_faults import Fault, drop, refuse
from gitlab_port_export.demo.port_rules import JsonObject
from gitlab_port_export.model import Delete, Failed, Held, Problem, Written
from testbed.harness import blueprint, port_with
from testbed.port_bed import AGENT, Bed, a_bed, a_mapping, of, thing, things, written

QUERY = {"combinator": "and", "rules": [{"property": "text", "operator": "=", "value": "needle"}]}
FREE = {"entityDeletionThreshold": 1}


def required(target: str) -> JsonObject:
    """A relation that an entity cannot be without."""
    return {"target": target, "many": False, "required": True}


@pytest.fixture
def bed() -> Iterator[Bed]:
    """A Port with a tree of blueprints (job → pipeline → thing), and a mapping that holds nothing by itself."""
    store = port_with(
        things(),
        blueprint("pipeline", {"thing": "thing", "twin": "pipeline"}, text="string"),
        blueprint("job", {"pipeline": required("pipeline"), "thing": "thing"}, text="string"),
    )
    fields = ("properties.text", "relations.parent", "relations.thing")
    with a_bed(store, fields=fields, mapping=a_mapping("thing", "pipeline", "job", **FREE)) as found:
        yield found


def held(events: Any) -> dict[tuple[str, str], tuple[str, ...]]:
    """(blueprint, reason) → identifiers of what was held."""
    return {(one.blueprint, one.reason): one.identifiers for one in of(Held, events)}


def run(bed: Bed, *entities: Any, **options: Any) -> Any:
    return bed.sync(*entities, delete=True, **options)


class TestOurs:
    def test_what_was_not_produced_goes(self, bed: Bed) -> None:
        bed.seed("thing", "stays", "goes")
        events = run(bed, thing("stays", text="x"), thing("new", text="x"))
        assert written(events) == [("create", "new"), ("update", "stays"), ("delete", "goes")]
        assert bed.store.identifiers("thing") == {"stays", "new"}

    @pytest.mark.parametrize(
        "owner",
        [
            "somebody else",
            "",
            "port-ocean/gitlab-v2/1.0.0/mine/gitops",
            "port-ocean/gitlab-v2/1.0.0/other/exporter",
            "port-ocean/gitlab-v2/1.0.0/not-mine/exporter",
            "port-ocean/github/1.0.0/mine/exporter",
            "port-ocean/gitlab-v3/1.0.0/mine/exporter",
            "port-ocean/gitlab-v2/1.0.0/mine",
            "x/port-ocean/gitlab-v2/1.0.0/mine/exporter",
        ],
    )
    def test_what_others_wrote_stays(self, bed: Bed, owner: str) -> None:
        bed.seed("thing", "theirs", by=owner)
        assert written(run(bed, thing("new", text="x"))) == [("create", "new")]
        assert bed.store.identifiers("thing") == {"theirs", "new"}

    @pytest.mark.parametrize(
        "owner", [AGENT, "port-ocean/gitlab/0.2.3/mine/exporter", "port-ocean/gitlab-v2/9/mine/exporter"]
    )
    def test_what_ocean_wrote_under_our_identifier_is_ours(self, bed: Bed, owner: str) -> None:
        bed.seed("thing", "goes", by=owner)
        assert written(run(bed, thing("new", text="x"))) == [("create", "new"), ("delete", "goes")]

    def test_what_ocean_wrote_is_compared_and_not_written_again(self, bed: Bed) -> None:
        bed.seed("thing", "a", properties={"text": "x"}, by="port-ocean/gitlab/0.2.3/mine/exporter")
        assert written(run(bed, thing("a", text="x"))) == []

    def test_what_somebody_takes_over_during_the_run_stays(self, bed: Bed) -> None:
        bed.seed("thing", "goes", "taken")

        def take_over() -> None:  # and Port may not count that as a change
            bed.store.get("thing", "taken").datasource = "port-ocean/github/1.0.0/mine/exporter"

        events = run(bed, thing("new", text="x"), before_deleting=take_over)
        assert written(events) == [("create", "new"), ("delete", "goes")]
        assert bed.store.identifiers("thing") == {"taken", "new"}

    def test_a_blueprint_that_is_not_mapped_any_more(self, bed: Bed) -> None:
        bed.seed("job", "old")
        assert written(run(bed, thing("a", text="x"))) == [("create", "a"), ("delete", "old")]
        bed.mapping = a_mapping("thing")
        bed.seed("job", "old")
        assert held(run(bed, thing("a", text="x"))) == {("job", "empty"): ("old",)}
        bed.released = {"job": 1}
        assert written(run(bed, thing("a", text="x"))) == [("delete", "old")]

    def test_a_plan_says_what_would_go_and_asks_for_no_change(self, bed: Bed) -> None:
        bed.seed("thing", "goes", "stays")
        bed.server.requests.clear()
        events = run(bed, thing("stays", text=None), writes=False)
        assert of(Delete, events) == [Delete("thing", "goes")]
        assert bed.server.calls("/delete|/bulk") == []
        assert bed.store.identifiers("thing") == {"goes", "stays"}

    def test_more_than_a_page_of_each(self, bed: Bed) -> None:
        names = [f"e{n}" for n in range(5200)]
        bed.seed("thing", *names)
        events = run(bed, thing("e0", text=None))
        assert len(written(events)) == 5199
        assert bed.store.identifiers("thing") == {"e0"}


class TestHeld:
    def test_the_limit(self, bed: Bed) -> None:
        bed.mapping = a_mapping("thing")
        bed.seed("thing", *(f"e{n}" for n in range(10)))
        produced = [thing(f"e{n}", text=None) for n in range(6)]
        events = run(bed, *produced)
        assert held(events) == {("thing", "limit"): ("e6", "e7", "e8", "e9")}
        assert written(events) == []
        bed.released = {"thing": 4}
        assert len(written(run(bed, *produced))) == 4

    def test_an_empty_source(self, bed: Bed) -> None:
        bed.mapping = a_mapping("thing", "job")
        bed.seed("thing", "a")
        assert held(run(bed, thing("j", blueprint="job", text="x"))) == {("thing", "empty"): ("a",)}

    def test_a_problem_of_a_resource_that_feeds_it(self, bed: Bed) -> None:
        bed.seed("thing", "a")
        bed.seed("pipeline", "p")
        events = run(bed, Problem("read", "403", resources=(0,)), thing("new", text="x"))
        assert held(events) == {("thing", "problem"): ("a",)}
        assert written(events) == [("create", "new"), ("delete", "p")]

    def test_what_a_search_found_is_produced_and_the_rest_is_held(self, bed: Bed) -> None:
        bed.seed("thing", "found", properties={"text": "needle"})
        bed.seed("thing", "other")
        events = run(bed, thing(QUERY, relations={"parent": None}))
        assert held(events) == {("thing", "search"): ("other",)}
        assert not any(kind == "delete" for kind, _ in written(events))

    @pytest.mark.parametrize("effect", [refuse(403), refuse(500), drop()])
    def test_nothing_goes_when_port_does_not_list_what_is_ours(self, bed: Bed, effect: Any) -> None:
        bed.seed("thing", "goes")
        bed.server.faults.append(Fault("datasource-entities", effect))
        events = run(bed, thing("new", text="x"))
        (problem,) = of(Problem, events)
        assert (problem.stage, problem.holds_all) == ("delete", True)
        assert bed.store.identifiers("thing") == {"goes", "new"}

    def test_nothing_goes_when_its_second_page_is_missing(self, bed: Bed) -> None:
        bed.seed("thing", *(f"e{n}" for n in range(5200)))

        def second(request: Any) -> bool:
            return request.path.endswith("datasource-entities") and "from" in request.body

        bed.server.faults.append(Fault(second, refuse(500)))
        assert len(of(Problem, run(bed, thing("e0", text=None)))) == 1
        assert len(bed.store.identifiers("thing")) == 5200

    def test_nothing_goes_when_port_does_not_show_what_would(self, bed: Bed) -> None:
        bed.seed("thing", "goes")

        def verifying(request: Any) -> bool:
            return bool(request.path.endswith("/search") and request.body["query"]["rules"])

        bed.server.faults.append(Fault(verifying, refuse(500)))
        assert len(of(Problem, run(bed, thing("new", text="x")))) == 1
        assert "goes" in bed.store.identifiers("thing")

    def test_a_ledger_that_cannot_be_read_holds_what_it_would_have_shown(self, bed: Bed) -> None:
        bed.seed("thing", "a")
        bed.seed("pipeline", "p")
        bed.server.faults.append(Fault("POST .*/thing/entities/search", refuse(403)))
        events = run(bed, thing("new", text="x"))
        assert held(events) == {("thing", "problem"): ("a",)}
        assert written(events) == [("delete", "p")]


class TestRecent:
    def test_what_changed_in_port_after_the_run_began_stays(self, bed: Bed) -> None:
        bed.seed("thing", "old", "touched")
        events = run(bed, thing("new", text="x"), before_deleting=lambda: bed.seed("thing", "touched", title="T"))
        assert held(events) == {("thing", "recent"): ("touched",)}
        assert bed.store.identifiers("thing") == {"new", "touched"}

    def test_what_changed_in_the_millisecond_in_which_the_run_began_stays(self, bed: Bed) -> None:
        bed.seed("thing", "old")
        instant = bed.store.get("thing", "old").updated_at
        assert held(run(bed, thing("new", text="x"), instant=instant)) == {("thing", "recent"): ("old",)}
        assert "old" in bed.store.identifiers("thing")

    def test_what_somebody_took_over_meanwhile_stays(self, bed: Bed) -> None:
        bed.seed("thing", "taken")
        started = bed.store.now()
        bed.seed("thing", "taken", by="somebody else")
        assert written(run(bed, thing("new", text="x"), instant=started)) == [("create", "new")]
        assert "taken" in bed.store.identifiers("thing")

    def test_what_somebody_deleted_meanwhile_is_no_matter(self, bed: Bed) -> None:
        bed.seed("thing", "old", "gone")
        events = run(
            bed, thing("new", text="x"), before_deleting=lambda: bed.store.delete("thing", ["gone"], cascade=False)
        )
        assert written(events) == [("create", "new"), ("delete", "old")]
        assert of(Failed | Held, events) == []

    @pytest.mark.parametrize("instant", ["not a time", "2020-01-01T00:00:00", "2000-01-01T00:00:00.000Z"])
    def test_without_an_instant_that_can_be_compared_everything_is_recent(self, bed: Bed, instant: str) -> None:
        bed.seed("thing", "old")
        events = run(bed, thing("new", text="x"), instant=instant)
        assert held(events) == {("thing", "recent"): ("old",)}

    def test_what_a_recent_one_relates_to_stays_too(self, bed: Bed) -> None:
        bed.seed("thing", "target", "loose")
        bed.seed("pipeline", "source", relations={"thing": "target"})

        def touch() -> None:
            bed.seed("pipeline", "source", relations={"thing": "target"})

        events = run(bed, thing("new", text="x"), before_deleting=touch)
        assert held(events) == {("pipeline", "recent"): ("source",)}
        assert bed.store.identifiers("thing") == {"new", "target"}


class TestTargets:
    """Never deleted: what any of our entities that stay relates to."""

    def test_of_what_was_produced(self, bed: Bed) -> None:
        bed.seed("thing", "target", "loose")
        events = run(bed, thing("p", blueprint="pipeline", relations={"thing": "target"}))
        assert written(events) == [("create", "p"), ("delete", "loose")]
        assert of(Held, events) == []

    def test_bare_ones_that_port_made_for_us(self, bed: Bed) -> None:
        source = thing("p", blueprint="pipeline", relations={"thing": "bare"})
        run(bed, source)
        assert written(run(bed, source)) == []
        assert bed.store.identifiers("thing") == {"bare"}
        run(bed, thing("p", blueprint="pipeline", relations={"thing": None}))
        assert written(run(bed, thing("p", blueprint="pipeline", relations={"thing": None}))) == []
        assert bed.store.identifiers("thing") == set()

    def test_of_what_is_held(self, bed: Bed) -> None:
        bed.seed("thing", "target", "loose")
        bed.seed("pipeline", "source", relations={"thing": "target"})
        events = run(bed, Problem("read", "403", resources=(1,)), thing("new", text="x"))
        assert held(events) == {("pipeline", "problem"): ("source",)}
        assert bed.store.identifiers("thing") == {"new", "target"}

    def test_of_what_is_needed_by_what_is_held(self, bed: Bed) -> None:
        bed.seed("thing", "top", "loose")
        bed.seed("thing", "middle", relations={"parent": "top"})
        bed.seed("pipeline", "source", relations={"thing": "middle"})
        run(bed, Problem("read", "403", resources=(1,)), thing("new", text="x"))
        assert bed.store.identifiers("thing") == {"new", "middle", "top"}

    def test_along_a_chain_of_what_stays(self, bed: Bed) -> None:
        """Produced → not produced but needed → needed by that one."""
        bed.seed("thing", "top", "loose")
        bed.seed("thing", "middle", relations={"parent": "top"})
        events = run(bed, thing("p", blueprint="pipeline", relations={"thing": "middle"}))
        assert bed.store.identifiers("thing") == {"top", "middle"}
        assert of(Held | Failed, events) == []

    def test_by_a_relation_that_the_mapping_does_not_set(self, bed: Bed) -> None:
        bed.seed("pipeline", "twin", "loose")
        bed.seed("pipeline", "p", relations={"twin": "twin"})
        run(bed, thing("p", blueprint="pipeline", text="x"))
        assert bed.store.identifiers("pipeline") == {"p", "twin"}

    def test_such_a_relation_of_what_goes_keeps_nothing(self, bed: Bed) -> None:
        bed.seed("pipeline", "twin", "stays")
        bed.seed("pipeline", "p", relations={"twin": "twin"})
        run(bed, thing("stays", blueprint="pipeline", text="x"))
        assert bed.store.identifiers("pipeline") == {"stays"}

    def test_of_what_could_not_be_deleted(self, bed: Bed) -> None:
        bed.seed("thing", "target", "loose")
        bed.seed("pipeline", "source", relations={"thing": "target"})
        bed.server.faults.append(Fault("/pipeline/bulk/entities/delete", refuse(403)))
        events = run(bed, thing("new", text="x"))
        assert held(events) == {("thing", "dependents"): ("target",)}
        assert [one.change for one in of(Failed, events)] == [Delete("pipeline", "source")]
        assert bed.store.identifiers("thing") == {"new", "target"}

    def test_what_stays_is_read_again_only_where_it_can_relate_to_what_goes(self, bed: Bed) -> None:
        bed.seed("thing", "goes", *(f"e{n}" for n in range(150)))
        bed.seed("job", "held")
        bed.mapping = a_mapping("thing", "job", **FREE)
        bed.server.requests.clear()
        run(bed, Problem("read", "403", resources=(0,)), thing("new", text="x"), thing("j", blueprint="job", text="x"))
        verified = [call.path for call in bed.server.calls("/search$") if call.body["query"]["rules"]]
        assert verified == ["/v1/blueprints/job/entities/search"]

    def test_a_relation_that_others_have_to_ours_is_emptied(self, bed: Bed) -> None:
        bed.seed("thing", "ours")
        bed.seed("pipeline", "theirs", relations={"thing": "ours"}, by="somebody else")
        assert ("delete", "ours") in written(run(bed, thing("new", text="x")))
        assert bed.store.snapshot()["pipeline"]["theirs"][4] == {}


class TestOrder:
    def test_sources_before_targets(self, bed: Bed) -> None:
        bed.seed("thing", "t", "u")
        bed.seed("pipeline", "p", relations={"thing": "t"})
        bed.seed("job", "j", relations={"pipeline": "p"})
        events = run(bed, thing("new", text="x"))
        assert written(events)[1:3] == [("delete", "j"), ("delete", "p")]
        assert of(Held | Failed, events) == []
        assert bed.store.identifiers("thing") == {"new"}

    def test_inside_one_blueprint(self, bed: Bed) -> None:
        """Port refuses an entity that another one needs, even where both are named in the call."""
        bed.store.change_blueprint("pipeline", {"relations": {"twin": required("pipeline")}}, partial=True)
        names = [f"p{n}" for n in range(6)]
        for name, before in zip(names, ["p0", *names], strict=False):
            bed.seed("pipeline", name, relations={"twin": before} if name != before else {})
        events = run(bed, thing("new", text="x"))
        assert written(events)[1:] == [("delete", name) for name in reversed(names)]
        assert of(Held | Failed, events) == []

    def test_in_spite_of_a_circle_of_blueprints(self, bed: Bed) -> None:
        bed.store.change_blueprint("thing", {"relations": {"main": {"target": "pipeline"}}}, partial=True)
        bed.seed("thing", "t")
        bed.seed("pipeline", "p", relations={"thing": "t"})
        bed.seed("job", "j", relations={"pipeline": "p"})
        assert of(Held | Failed, run(bed, thing("new", text="x"))) == []
        assert bed.store.identifiers("pipeline") == bed.store.identifiers("job") == set()

    def test_no_call_asks_for_dependents(self, bed: Bed) -> None:
        bed.seed("thing", "t")
        bed.seed("job", "j")
        run(bed, thing("new", text="x"))
        assert {call.query for call in bed.server.calls("/delete")} == {(("delete_dependents", "false"),)}


class TestDependents:
    @pytest.fixture
    def needed(self, bed: Bed) -> Bed:
        bed.seed("pipeline", "p")
        bed.store.seed("job", [{"identifier": "j", "relations": {"pipeline": "p"}}], "somebody else")
        return bed

    @pytest.mark.parametrize("options", [{}, {"deleteDependentEntities": False}])
    def test_are_held_by_default(self, needed: Bed, options: Any) -> None:
        needed.mapping = a_mapping("thing", "pipeline", "job", **FREE, **options)
        assert held(run(needed, thing("new", text="x"))) == {("pipeline", "dependents"): ("p",)}
        assert needed.store.identifiers("job") == {"j"}

    def test_go_along_when_the_mapping_says_so(self, needed: Bed) -> None:
        needed.mapping = a_mapping("thing", "pipeline", "job", **FREE, deleteDependentEntities=True)
        events = run(needed, thing("new", text="x"))
        assert [one.change for one in of(Written, events)][1:] == [Delete("pipeline", "p", cascade=True)]
        assert needed.store.identifiers("job") == set()
