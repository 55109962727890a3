"""Entities become the changes that Port needs, and a second run over the same entities needs none."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitlab_port_export.demo.port_drafts import Content
from gitlab_port_export.demo.port_faults import Fault, refuse
from gitlab_port_export.model import Create, Entity, Failed, Problem, Skipped, Unchanged, Update, Written
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.ledger import Ledger
from gitlab_port_export.port.upsert import Rules
from gitlab_port_export.report.builder import ReportBuilder
from gitlab_port_export.report.values import Counts
from gitlab_port_export.sync import diff
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.merge import merge_shared
from testbed.harness import blueprint, port_with
from testbed.port_bed import FIELDS, Bed, a_bed, examples, of, thing, things, written

EVERYTHING = (*FIELDS, "properties.flag", "properties.tags", "properties.extra", "relations.owner", "relations.groups")
WIDE = things(
    flag={"type": "boolean", "default": False}, tags={"type": "array", "default": ["a"]}, extra={"type": "object"}
)
WIDE["relations"] |= {
    "owner": {"target": "person", "many": False, "required": False},
    "groups": {"target": "person", "many": True, "required": False},
}
QUERY = {"combinator": "and", "rules": [{"property": "text", "operator": "=", "value": "needle"}]}


class NoSearches:
    """Answers nothing: nobody asks."""

    def ask(self, wanted: Any) -> None: ...

    def found(self, target: str, query: Any) -> None: ...

    def shows(self, blueprint: str) -> bool:
        return True

    def touch(self, *blueprints: str) -> None: ...

    def refresh(self) -> set[str]:
        return set()


@pytest.fixture
def bed() -> Iterator[Bed]:
    with a_bed(port_with(things())) as found:
        yield found


class TestChanges:
    def test_what_port_lacks_is_created_and_what_it_holds_so_is_counted(self, bed: Bed) -> None:
        bed.seed("thing", "same", properties={"text": "x"})
        bed.seed("thing", "other", properties={"text": "x"}, by="somebody else")
        events = bed.sync(thing("same", text="x"), thing("other", text="y"), thing("new", text="z"))
        assert written(events) == [("create", "new"), ("update", "other")]
        assert of(Unchanged, events) == [Unchanged("thing", 1)]
        assert of(Update, [one.change for one in of(Written, events)])[0].fields == ("properties.text",)
        assert not any(of(Written, bed.sync(thing("same", text="x"), thing("other", text="y"), thing("new", text="z"))))

    def test_creates_pass_at_once_and_updates_when_all_rows_were_seen(self) -> None:
        ledger = Ledger(Blueprint.of(things()), FIELDS)
        ledger.hold([{"identifier": "a"}])
        differ = Differ(lambda name: ledger, NoSearches())
        rows = iter([thing("a", text="x"), thing("b", text="x"), thing("c", text="x")])
        changes = differ.run(rows)
        assert next(changes) == Create(thing("b", text="x"))
        assert next(rows) == thing("c", text="x")  # it was not asked for yet
        assert next(changes) == Update(thing("a", text="x"), ("properties.text",))

    def test_what_waits_does_not_grow_with_the_changes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(diff, "MAX_WAITING_BYTES", 10_000)
        ledger = Ledger(Blueprint.of(things()), FIELDS)
        ledger.hold([{"identifier": str(n)} for n in range(200)])
        differ = Differ(lambda name: ledger, NoSearches())
        waiting: list[int] = []

        def rows() -> Iterator[Entity]:
            for n in range(200):
                yield thing(str(n), text="x" * 500)
                waiting.append(len(differ.waiting.updates))

        found = [one.entity.identifier for one in of(Update, differ.run(rows()))]
        assert found == [str(n) for n in range(200)]
        assert 5 < max(waiting) < 20
        assert waiting[-1] > max(waiting) * 3 // 4

    def test_other_events_pass_as_they_came(self, bed: Bed) -> None:
        problem = Problem("read", "why")
        assert bed.sync(problem, thing("a", text="x"))[0] is problem

    def test_unmapped_fields_stay_as_they_are(self, bed: Bed) -> None:
        bed.fields = ("properties.text",)
        bed.seed("thing", "a", title="A", icon="Git", team=["red"], properties={"size": 3}, relations={"parent": "a"})
        bed.sync(thing("a", text="x"))
        title, icon, team, properties, relations = bed.store.snapshot()["thing"]["a"]
        assert (title, icon, team, properties, relations) == (
            "A", "Git", ["red"], {"size": 3, "text": "x"}, {"parent": "a"},
        )  # fmt: skip

    def test_with_merging_off_whole_entities_are_compared(self, bed: Bed) -> None:
        bed.rules, bed.fields = Rules(merge=False), ("properties.text",)
        bed.seed("thing", "a", icon="Git", properties={"text": "x"})
        assert written(bed.sync(thing("a", text="x"))) == [("update", "a")]
        assert bed.store.snapshot()["thing"]["a"] == ("a", None, [], {"text": "x"}, {})
        assert written(bed.sync(thing("a", text="x"))) == []

    def test_a_blueprint_that_cannot_be_read_is_a_problem_of_the_resource(self, bed: Bed) -> None:
        events = bed.sync(thing("a", blueprint="nowhere", at=3), thing("b", text="x"))
        (problem,) = of(Problem, events)
        assert (problem.stage, problem.blueprint, problem.resources) == ("diff", "nowhere", (3,))
        assert written(events) == [("create", "b")]

    def test_entities_of_such_a_blueprint_are_counted_and_not_told_one_by_one(self, bed: Bed) -> None:
        events = bed.sync(*(thing(str(n), blueprint="nowhere", at=n % 2) for n in range(1000)))
        problems = of(Problem, events)
        assert [(one.resources, one.count) for one in problems] == [((0,), 1), ((1,), 1), ((0,), 499), ((1,), 499)]
        builder = ReportBuilder("sync")
        for event in events:
            builder.add(event)
        assert [one.count for one in builder.finish(started="", seconds=0).problems] == [500, 500]

    @pytest.mark.parametrize("status", [403, 500])
    def test_entities_that_port_does_not_show_are_not_written_blindly(self, bed: Bed, status: int) -> None:
        bed.server.faults.append(Fault("POST .*/thing/entities/search", refuse(status)))
        events = bed.sync(thing("a", text="x"))
        assert len(events) == 1
        assert str(status) in of(Problem, events)[0].why
        assert bed.store.writes == 0


class TestDuplicates:
    @pytest.mark.parametrize("rows", list(itertools.permutations([(1, 5), (1, 7), (2, 1)])))
    def test_the_lowest_scope_then_the_lowest_row_wins_in_any_order(self, bed: Bed, rows: Any) -> None:
        entities = [thing("a", text=str(order), order=order) for order in rows]
        first = bed.sync(*entities)
        assert bed.store.snapshot()["thing"]["a"][3]["text"] == "(1, 5)"
        assert len(of(Skipped, first)) == 2
        assert {skipped.reason for skipped in of(Skipped, first)} == {"duplicate"}
        for again in itertools.permutations(entities):
            assert written(bed.sync(*again)) == []

    def test_an_update_is_taken_back_when_a_better_row_is_as_port_has_it(self, bed: Bed) -> None:
        bed.seed("thing", "a", properties={"text": "good"})
        events = bed.sync(thing("a", text="bad", order=(2, 2)), thing("a", text="good", order=(1, 1)))
        assert written(events) == []
        assert of(Unchanged, events) == [Unchanged("thing", 1)]

    @pytest.mark.parametrize("held", ["good", "old"])
    def test_a_better_row_that_comes_after_its_update_went_out_is_written_and_counted_once(
        self, bed: Bed, held: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(diff, "MAX_WAITING_BYTES", 0)
        bed.seed("thing", "a", properties={"text": held, "size": 1})
        events = bed.sync(
            thing("a", text="bad", order=(3, 3)),
            thing("a", text="good", order=(1, 1)),
            thing("a", text="worse", order=(2, 2)),
        )
        assert bed.store.snapshot()["thing"]["a"][3] == {"text": "good", "size": 1}
        assert [one.change.again for one in of(Written, events)] == [False, True]
        assert len(of(Skipped, events)) == 2
        builder = ReportBuilder("sync")
        for event in events:
            builder.add(event)
        assert builder.finish(started="", seconds=0).blueprints == {"thing": Counts(updated=1)}
        monkeypatch.undo()
        assert written(bed.sync(thing("a", text="bad", order=(3, 3)), thing("a", text="good", order=(1, 1)))) == []

    def test_a_better_row_after_a_refused_update_counts_as_updated(
        self, bed: Bed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(diff, "MAX_WAITING_BYTES", 0)
        bed.seed("thing", "a", properties={"text": "old"})
        events = bed.sync(
            thing("a", text="bad", size="three", order=(2, 2)), thing("a", text="good", size=3, order=(1, 1))
        )
        builder = ReportBuilder("sync")
        for event in events:
            builder.add(event)
        assert builder.finish(started="", seconds=0).blueprints == {"thing": Counts(updated=1, failed=1)}
        assert bed.store.snapshot()["thing"]["a"][3] == {"text": "good", "size": 3}

    def test_resources_of_one_blueprint_are_merged_later_fields_winning(self, bed: Bed) -> None:
        def entities() -> Iterator[Any]:
            yield thing("a", at=1, text="later", order=(9, 9))
            yield thing("a", at=0, text="earlier", size=3)

        bed.sync(*merge_shared(entities(), frozenset({"thing"})))
        assert bed.store.snapshot()["thing"]["a"][3] == {"text": "later", "size": 3}
        assert written(bed.sync(*merge_shared(entities(), frozenset({"thing"})))) == []


class TestSearches:
    def test_a_relation_found_by_search_is_asked_once_and_compared(self, bed: Bed) -> None:
        bed.seed("thing", "target", properties={"text": "needle"}, by="somebody else")
        rows = [thing(name, relations={"parent": QUERY}) for name in ("a", "b", "c")]
        assert written(bed.sync(*rows)) == [("create", name) for name in ("a", "b", "c")]
        assert bed.store.snapshot()["thing"]["a"][4] == {"parent": "target"}
        bed.server.requests.clear()
        assert written(bed.sync(*rows)) == []
        asked = [r for r in bed.server.calls("/search$") if r.body["query"]["rules"]]
        assert [r.body["query"]["rules"][0]["rules"] for r in asked] == [QUERY["rules"]]

    def test_what_it_finds_now_counts(self, bed: Bed) -> None:
        bed.seed("thing", "target", properties={"text": "needle"})
        row = thing("a", relations={"friends": QUERY})
        bed.sync(row)
        bed.seed("thing", "second", properties={"text": "needle"})
        assert written(bed.sync(row)) == [("update", "a")]
        assert set(bed.store.snapshot()["thing"]["a"][4]["friends"]) == {"target", "second"}
        assert written(bed.sync(row)) == []

    def test_what_it_finds_is_a_relation_target_that_stays(self, bed: Bed) -> None:
        bed.seed("thing", "target", properties={"text": "needle"})
        events = bed.sync(thing("a", relations={"parent": QUERY}), delete=True)
        assert written(events) == [("create", "a")]

    @pytest.mark.parametrize("status", [422, 500])
    def test_one_that_port_does_not_answer_is_a_problem_and_no_reason_to_write(self, bed: Bed, status: int) -> None:
        bed.seed("thing", "target", properties={"text": "needle"})
        row = thing("a", relations={"parent": QUERY}, size=1)
        bed.sync(row)
        bed.server.faults.append(Fault(of_the_search, refuse(status)))
        events = bed.sync(row)
        assert of(Written, events) == []
        (problem,) = of(Problem, events)
        assert (problem.warning, problem.field) == (False, "relations.parent")
        bed.sync(thing("a", relations={"parent": QUERY}, size=2))  # Port finds the target itself
        assert bed.store.snapshot()["thing"]["a"][3:] == ({"size": 2}, {"parent": "target"})

    def test_teams_found_by_search_are_compared(self, bed: Bed) -> None:
        bed.store.add_blueprint(blueprint("_team", text="string"))
        bed.seed("_team", "red", properties={"text": "needle"})
        row = thing("a", meta={"team": QUERY})
        assert written(bed.sync(row)) == [("create", "a")]
        assert bed.store.snapshot()["thing"]["a"][2] == ["red"]
        assert written(bed.sync(row)) == []
        bed.seed("_team", "blue", properties={"text": "needle"})
        assert written(bed.sync(row)) == [("update", "a")]
        assert written(bed.sync(row)) == []

    def test_an_entity_found_by_search_is_compared_and_counts_as_produced(self, bed: Bed) -> None:
        bed.seed("thing", "found", properties={"text": "needle"})
        row = thing(QUERY, size=3)
        assert written(bed.sync(row)) == [("update", "found")]
        assert written(bed.sync(row, delete=True)) == []
        assert bed.store.snapshot()["thing"]["found"][3] == {"text": "needle", "size": 3}

    def test_an_entity_found_by_search_keeps_its_title_where_the_row_has_none(self, bed: Bed) -> None:
        bed.seed("thing", "found", title="Found", properties={"text": "needle"})
        bed.sync(thing(QUERY, size=3, meta={"title": None}))
        assert bed.store.snapshot()["thing"]["found"][0] == "Found"

    def test_of_rows_that_find_the_same_entity_the_lowest_wins_in_each_run(self, bed: Bed) -> None:
        bed.seed("thing", "found", properties={"text": "needle"})
        other = {**QUERY, "combinator": "or"}
        rows = [thing(QUERY, size=1, order=(2, 1)), thing(other, size=2, order=(1, 1))]
        for order, expected in ((rows, [("update", "found")]), (rows, []), (rows[::-1], [])):
            events = bed.sync(*order)
            assert written(events) == expected
            assert [one.reason for one in of(Skipped, events)] == ["duplicate"]
        assert bed.store.snapshot()["thing"]["found"][3]["size"] == 2

    def test_a_row_with_the_identifier_has_the_say_of_what_it_sets(self, bed: Bed) -> None:
        bed.fixed = frozenset({"properties.text", "title"})
        mine = thing("found", text="needle", meta={"title": "Mine"})
        found = thing(QUERY, size=3, at=1, meta={"title": "Theirs"})
        assert written(bed.sync(mine, found)) == [("create", "found"), ("update", "found")]
        assert bed.store.snapshot()["thing"]["found"][0] == "Mine"
        assert bed.store.snapshot()["thing"]["found"][3] == {"text": "needle", "size": 3}
        assert written(bed.sync(mine, found)) == []

    def test_an_entity_that_no_search_finds_is_left_out_and_one_of_two_is_a_problem(self, bed: Bed) -> None:
        (skipped,) = of(Skipped, bed.sync(thing(QUERY, size=3)))
        assert skipped.reason == "identifier"
        bed.seed("thing", "x", "y", properties={"text": "needle"})
        events = bed.sync(thing(QUERY, size=3))
        assert [one.warning for one in of(Problem, events)] == [False]
        assert written(events) == []

    def test_a_relation_to_one_of_two_is_left_as_it_is_and_said(self, bed: Bed) -> None:
        bed.seed("thing", "x", "y", properties={"text": "needle"})
        bed.seed("thing", "a", relations={"parent": "y"})
        events = bed.sync(thing("a", relations={"parent": QUERY}), thing("b", relations={"parent": QUERY}, size=1))
        assert written(events) == [("create", "b")]
        assert [one.warning for one in of(Problem, events)] == [True, True]
        assert bed.store.snapshot()["thing"]["a"][4] == {"parent": "y"}
        assert bed.store.snapshot()["thing"]["b"][4] == {}

    def test_what_the_same_run_writes_is_found_whatever_comes_first(self, bed: Bed) -> None:
        row, target = thing("a", relations={"parent": QUERY}), thing("target", text="needle")
        assert written(bed.sync(row, target)) == [("create", "target"), ("create", "a")]
        assert bed.store.snapshot()["thing"]["a"][4] == {"parent": "target"}
        assert written(bed.sync(target, row)) == []

    def test_what_is_otherwise_unchanged_is_related_to_what_the_run_wrote(self, bed: Bed) -> None:
        row = thing("a", relations={"parent": QUERY}, size=1)
        bed.sync(row)
        bed.seed("thing", "target", properties={"text": "other"})
        target = thing("target", text="needle")
        assert written(bed.sync(row, target)) == [("update", "target"), ("update", "a")]
        assert written(bed.sync(row, target)) == []

    def test_searches_that_find_each_other_end_and_are_at_rest(self, bed: Bed) -> None:
        def seeks(name: str, other: str) -> Entity:
            rule = {"property": "$identifier", "operator": "=", "value": other}
            return thing(name, relations={"parent": {"combinator": "and", "rules": [rule]}})

        ring = [seeks("a", "b"), seeks("b", "c"), seeks("c", "a")]
        bed.sync(*ring)
        held = bed.store.snapshot()["thing"]
        assert {name: held[name][4]["parent"] for name in held} == {"a": "b", "b": "c", "c": "a"}
        assert written(bed.sync(*ring)) == []

    def test_a_target_that_port_creates_for_another_relation_is_found(self, bed: Bed) -> None:
        rule = {"property": "$identifier", "operator": "=", "value": "made"}
        seeking = thing("a", relations={"friends": {"combinator": "and", "rules": [rule]}, "parent": "made"})
        bed.sync(seeking)
        assert bed.store.snapshot()["thing"]["a"][4] == {"parent": "made", "friends": ["made"]}
        assert written(bed.sync(seeking)) == []

    def test_of_more_hits_than_port_takes_the_same_ones_remain(self, bed: Bed) -> None:
        names = [f"t{n:03}" for n in range(130)]
        bed.seed("thing", *reversed(names), properties={"text": "needle"})
        row = thing("a", relations={"friends": QUERY})
        events = bed.sync(row)
        assert [one.warning for one in of(Problem, events)] == [True]
        assert bed.store.snapshot()["thing"]["a"][4] == {"friends": names[:100]}
        assert written(bed.sync(row)) == []


def of_the_search(request: Any) -> bool:
    return bool(request.path.endswith("/search") and request.body["query"]["rules"])


# --- any entities, any Port: one run brings agreement, a second one writes nothing

NUMBERS = st.sampled_from([0, -0.0, 1, 1.0, 2**53, 2**53 + 1, -(2**63), 2**64, 10**30, 1e300, 5e-324])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | NUMBERS
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["a", "b", "c/d", "é", "1", "A"])
MANY = st.none() | st.lists(NAMES, max_size=4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "title": st.none() | st.sampled_from(["", "a", "b"]) | st.text(),
    "icon": st.none() | st.sampled_from(["Git", "GitLab"]),
    "team": st.none() | st.sampled_from(["red", "blue"]) | st.lists(st.sampled_from(["red", "blue"]), max_size=3),
    "properties.text": st.none() | st.sampled_from(["", "7", "[1]"]) | st.text(),
    "properties.size": st.none()
    | st.sampled_from([7, 7.0, 1, 1.0, -1, -2, 0])
    | NUMBERS
    | st.floats(allow_nan=False, allow_infinity=False),
    "properties.flag": st.none() | st.booleans(),
    "properties.tags": st.none() | st.sampled_from([["a"], []]) | st.lists(JSON, max_size=3),
    "properties.extra": st.none() | st.dictionaries(st.text(max_size=3), JSON, max_size=3),
    "relations.parent": st.none() | NAMES,
    "relations.friends": MANY,
    "relations.owner": st.none() | NAMES,
    "relations.groups": MANY,
}


@st.composite
def rows(draw: st.DrawFn, fields: tuple[str, ...], places: st.SearchStrategy[tuple[int, int]]) -> Entity:
    body: dict[str, Any] = {}
    for name in fields:
        head, _, key = name.partition(".")
        value = draw(VALUES[name])
        if key:
            body.setdefault(head, {})[key] = value
        else:
            body[head] = value
    return Entity.of("thing", draw(NAMES), body, 0, draw(places))


@st.composite
def situations(draw: st.DrawFn) -> Any:
    fields = tuple(draw(st.lists(st.sampled_from(EVERYTHING), unique=True)))
    # Rows that share a place would leave the winner to the order of reading.
    place = itertools.count()
    places = st.tuples(st.integers(0, 2), st.builds(lambda: next(place)))
    entities = draw(st.lists(rows(fields, places), max_size=8))
    held = draw(st.lists(rows(EVERYTHING, places), max_size=4))
    # How many bytes of updates may wait in the first run.
    most = draw(st.sampled_from([0, 500, diff.MAX_WAITING_BYTES]))
    return fields, entities, held, draw(st.permutations(entities)), draw(st.booleans()), draw(st.booleans()), most


@given(situations())
@examples(40, 1500)
def test_a_second_run_writes_nothing(situation: Any) -> None:
    fields, entities, held, shuffled, merge, show_nulls, most = situation
    store = port_with(blueprint("person"), WIDE, show_nulls=show_nulls)
    for row in held:
        team = row.body["team"]
        teams = [team] if isinstance(team, str) else team
        store.seed("thing", [{"identifier": row.identifier, **row.body, "team": teams}], "somebody else")
    with a_bed(store, fields=fields, rules=Rules(merge=merge)) as bed:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(diff, "MAX_WAITING_BYTES", most)
            first = bed.sync(*entities)
        assert of(Failed | Problem, first) == []
        winners = {
            name: min((one for one in entities if one.identifier == name), key=lambda one: one.order)
            for name in {one.identifier for one in entities}
        }
        for name, winner in winners.items():
            assert_as_mapped(winner, store.snapshot()["thing"][name], merge=merge)
        writes = store.writes
        second = bed.sync(*shuffled)
        assert of(Written | Failed | Problem, second) == []
        assert store.writes == writes
        assert sum(one.count for one in of(Unchanged, second)) == len(winners)


def assert_as_mapped(entity: Entity, held: Content, *, merge: bool) -> None:
    """Check what Port holds, field by field, against what the mapping gave; written down anew on purpose."""
    title, icon, team, properties, relations = held
    body = entity.body
    if "title" in body:
        assert title == (body["title"] or entity.identifier)
    # No bulk write can take an icon away while merging: a null stays what a worse row or somebody else put there.
    if body.get("icon") or ("icon" in body and not merge):
        assert icon == body["icon"]
    if "team" in body:
        wanted = body["team"] or []
        assert set(team) == set([wanted] if isinstance(wanted, str) else wanted)
    defaults = {"size": 7, "flag": False, "tags": ["a"]}
    for name, value in (body.get("properties") or {}).items():
        if value is None:
            assert properties.get(name) in (None, defaults.get(name))
        else:
            assert properties[name] == value
    for name, value in (body.get("relations") or {}).items():
        if isinstance(value, list) or value is None:
            assert set(relations.get(name) or []) == set(value or [])
        else:
            assert relations[name] == value


def seeking(name: str, value: str) -> Any:
    return {"combinator": "and", "rules": [{"property": name, "operator": "=", "value": value}]}


SEEKS = st.builds(seeking, st.sampled_from(["$identifier", "$title"]), NAMES) | st.builds(
    seeking, st.just("text"), st.sampled_from(["", "7", "x"])
)
FOUND = {
    "properties.text": st.sampled_from(["", "7", "x"]) | st.none(),
    "title": st.none() | NAMES,
    **{name: SEEKS | VALUES[name] for name in EVERYTHING if name.startswith("relations.")},
}


@st.composite
def merged_situations(draw: st.DrawFn) -> Any:
    """Rows of up to three resources, some with the same key, in which searches find what other rows write."""
    place = itertools.count()
    entities = []
    for resource in range(draw(st.integers(1, 3))):
        fields = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=6))
        for _ in range(draw(st.integers(0, 5))):
            body: dict[str, Any] = {}
            for name in fields:
                head, _, key = name.partition(".")
                value = draw(FOUND.get(name, VALUES[name]))
                body.update({head: {**body.get(head, {}), key: value}} if key else {head: value})
            order = (draw(st.integers(0, 2)), next(place))
            entities.append(Entity.of(draw(st.sampled_from(["thing", "person"])), draw(NAMES), body, resource, order))
    return entities, draw(st.permutations(entities)), draw(st.booleans()), draw(st.booleans())


@given(merged_situations())
@examples(40, 3000)
def test_a_second_run_of_merged_and_searching_rows_writes_nothing(situation: Any) -> None:
    entities, shuffled, merge, create_missing = situation
    person = {**WIDE, "identifier": "person", "relations": {**WIDE["relations"]}}
    store = port_with(blueprint("person"), WIDE)
    store.change_blueprint("person", person, partial=False)
    rules = Rules(merge=merge, create_missing=create_missing)
    shared = frozenset({"thing", "person"})
    with a_bed(store, fields=EVERYTHING, rules=rules) as bed:
        refused = of(Failed, bed.sync(*merge_shared(entities, shared, by_field=merge)))
        writes, first = store.writes, store.snapshot()
        second = bed.sync(*merge_shared(shuffled, shared, by_field=merge))
        if create_missing:
            assert of(Written | Failed, second) == []
        # What Port refused is sent again, and Port may have made the entity before it looked for its target.
        if not refused:
            assert (store.writes, store.snapshot()) == (writes, first)
