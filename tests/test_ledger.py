"""The ledger knows what is the same to Port and what is not, in a few bytes an entity."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitlab_port_export.model import Entity, Shape
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.keys import relation_targets, target_key
from gitlab_port_export.port.ledger import Comparison, Ledger, Status
from testbed.port_bed import FIELDS, examples, thing, things

BLUEPRINT = Blueprint.of(things(list={"type": "array", "default": ["a", 1]}, extra={"type": "object"}))
NUMBERS = (0, 1, -1, -2, 0.5, 2**53, 10**20, 1e22)


def a_ledger(
    held: Any = None, *, fields: tuple[str, ...] = (*FIELDS, "properties.list", "properties.extra"), whole: bool = False
) -> Ledger:
    """A ledger that holds the entity `a`, with this of it in Port."""
    ledger = Ledger(BLUEPRINT, fields, whole=whole)
    ledger.hold([{"identifier": "a", "title": "a", **(held or {})}])
    return ledger


def differing(held: Any, ours: Any, *, whole: bool = False) -> tuple[str, ...]:
    """The fields in which `ours` (meta, properties, relations) differs from what Port holds."""
    parts = {"meta": {}, "properties": {}, "relations": {}} | ours
    entity = thing("a", meta=parts["meta"], relations=parts["relations"], **parts["properties"])
    return a_ledger(held, whole=whole).meet(entity).fields


class TestEqual:
    @pytest.mark.parametrize(
        ("held", "ours"),
        [
            ({}, {"properties": {"text": None}}),
            ({"properties": {"text": None}}, {"properties": {"text": None}}),
            ({"properties": {"size": 7}}, {"properties": {"size": None}}),
            ({"properties": {"size": 7}}, {"properties": {"size": 7.0}}),
            ({"properties": {"list": ["a", 1]}}, {"properties": {"list": None}}),
            ({"properties": {"list": ["a", 1.0]}}, {"properties": {"list": None}}),
            ({"properties": {"size": 1}}, {"properties": {"size": 1.0}}),
            ({"properties": {"size": 0}}, {"properties": {"size": -0.0}}),
            ({"properties": {"extra": {"a": 1, "b": [2]}}}, {"properties": {"extra": {"b": [2.0], "a": 1}}}),
            ({"title": "a"}, {"meta": {"title": None}}),
            ({"title": "a"}, {"meta": {"title": ""}}),
            ({"title": "a"}, {"meta": {"title": "a"}}),
            ({"icon": "Git"}, {"meta": {"icon": None}}),
            ({}, {"meta": {"icon": None}}),
            ({"team": ["x", "y"]}, {"meta": {"team": ["y", "x"]}}),
            ({"team": ["x"]}, {"meta": {"team": "x"}}),
            ({"team": ["x"]}, {"meta": {"team": ["x", "x"]}}),
            ({"team": []}, {"meta": {"team": None}}),
            ({}, {"meta": {"team": []}}),
            ({"relations": {"parent": None}}, {"relations": {"parent": None}}),
            ({"relations": {"friends": []}}, {"relations": {"friends": None}}),
            ({"relations": {}}, {"relations": {"friends": []}}),
            ({"relations": {"friends": ["x", "y"]}}, {"relations": {"friends": ["y", "x", "y"]}}),
            ({"properties": {"text": "unmapped"}, "relations": {"parent": "p"}}, {"properties": {"size": None}}),
        ],
    )
    def test_the_same_to_port(self, held: Any, ours: Any) -> None:
        assert differing(held, ours) == ()

    @pytest.mark.parametrize(
        ("held", "ours", "field"),
        [
            ({"properties": {"text": "x"}}, {"properties": {"text": None}}, "properties.text"),
            ({}, {"properties": {"text": ""}}, "properties.text"),
            ({"properties": {"text": ""}}, {"properties": {"text": None}}, "properties.text"),
            ({"properties": {"size": 8}}, {"properties": {"size": None}}, "properties.size"),
            ({"properties": {"size": 8}}, {"properties": {"size": 7}}, "properties.size"),
            ({}, {"properties": {"size": 7}}, "properties.size"),
            ({"properties": {"size": -1}}, {"properties": {"size": -2}}, "properties.size"),
            ({"properties": {"size": -1}}, {"properties": {"size": -2.0}}, "properties.size"),
            ({"properties": {"size": 0}}, {"properties": {"size": None}}, "properties.size"),
            ({"properties": {"size": 1}}, {"properties": {"size": True}}, "properties.size"),
            ({"properties": {"size": 0}}, {"properties": {"size": False}}, "properties.size"),
            ({"properties": {"size": 5}}, {"properties": {"size": "5"}}, "properties.size"),
            ({"properties": {"extra": {"x": -1}}}, {"properties": {"extra": {"x": -2}}}, "properties.extra"),
            ({"properties": {"extra": {"x": 1}}}, {"properties": {"extra": {"x": True}}}, "properties.extra"),
            ({"properties": {"extra": {"x": None}}}, {"properties": {"extra": {}}}, "properties.extra"),
            ({"properties": {"list": [1, 2]}}, {"properties": {"list": [2, 1]}}, "properties.list"),
            ({"properties": {"list": []}}, {"properties": {"list": None}}, "properties.list"),
            ({"title": "b"}, {"meta": {"title": None}}, "title"),
            ({"icon": "Git"}, {"meta": {"icon": "GitLab"}}, "icon"),
            ({"team": ["x"]}, {"meta": {"team": None}}, "team"),
            ({"team": ["x"]}, {"meta": {"team": ["x", "y"]}}, "team"),
            ({"relations": {"parent": "p"}}, {"relations": {"parent": None}}, "relations.parent"),
            ({"relations": {"parent": "p"}}, {"relations": {"parent": "q"}}, "relations.parent"),
            ({"relations": {"friends": ["x"]}}, {"relations": {"friends": ["x", "y"]}}, "relations.friends"),
        ],
    )
    def test_not_the_same_to_port(self, held: Any, ours: Any, field: str) -> None:
        assert differing(held, ours) == (field,)

    def test_every_two_numbers_differ_and_each_is_itself(self) -> None:
        def codes(value: float) -> list[int]:
            return a_ledger().codes(Entity.of("thing", "a", {"properties": {"size": value}}, 0))

        found = [codes(value) for value in NUMBERS]
        assert found == [codes(float(value) if value != 10**20 else value) for value in NUMBERS]
        assert len({tuple(code) for code in found}) == len(NUMBERS)

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x, min_size=1)))
    @examples(100, 2000)
    def test_a_value_is_equal_to_itself(self, value: Any) -> None:
        body = {"properties": {"extra": value}}
        assert differing(body, {"properties": {"extra": value}}) == ()


class TestWhole:
    """With `enableMergeEntity: false` Port overwrites, so what we do not set counts too."""

    @pytest.mark.parametrize(
        ("held", "ours"),
        [
            ({"title": "a", "team": [], "relations": {"friends": []}}, {"properties": {"text": None}}),
            ({"properties": {"size": 7}}, {}),
            ({"properties": {"text": None}}, {"meta": {"title": None}}),
        ],
    )
    def test_nothing_more_is_nothing_less(self, held: Any, ours: Any) -> None:
        assert differing(held, ours, whole=True) == ()

    @pytest.mark.parametrize(
        ("held", "field"),
        [
            ({"title": "other"}, "title"),
            ({"icon": "Git"}, "icon"),
            ({"team": ["x"]}, "team"),
            ({"properties": {"text": "x"}}, "properties.text"),
            ({"relations": {"parent": "p"}}, "relations.parent"),
        ],
    )
    def test_what_we_do_not_set_is_to_go(self, held: Any, field: str) -> None:
        assert differing(held, {}, whole=True) == (field,)
        assert differing(held, {}) == ()

    def test_an_icon_that_is_mapped_to_null_goes_only_when_overwriting(self) -> None:
        ours = {"meta": {"icon": None}}
        assert differing({"icon": "Git"}, ours, whole=True) == ("icon",)
        assert differing({"icon": "Git"}, ours) == ()


class TestDuplicates:
    @pytest.mark.parametrize(
        ("better", "worse"),
        [((1, 9), (2, 1)), ((1, 1), (1, 2)), ((0, 0), (0, 1))],
        ids=["lowest scope", "then lowest row", "of one scope"],
    )
    def test_the_better_row_wins_whichever_came_first(self, better: Any, worse: Any) -> None:
        good, bad = thing("a", text="good", order=better), thing("a", text="bad", order=worse)
        ledger = a_ledger({"properties": {"text": "good"}})
        assert ledger.meet(bad) == Comparison(Status.UPDATED, ("properties.text",))
        assert ledger.meet(good) == Comparison(Status.UNCHANGED, (), duplicate=True)
        assert ledger.meet(bad) == Comparison(Status.UNCHANGED, (), duplicate=True, lost=True)
        assert ledger.unchanged == 1

    def test_of_two_equal_places_the_later_wins(self) -> None:
        ledger = a_ledger({"properties": {"text": "second"}})
        ledger.meet(thing("a", text="first"))
        assert not ledger.meet(thing("a", text="second")).lost

    def test_a_later_resource_wins_and_is_no_duplicate(self) -> None:
        ledger = a_ledger({"properties": {"text": "x"}})
        assert ledger.meet(thing("a", text="x", at=1, order=(9, 9))).status is Status.UNCHANGED
        verdict = ledger.meet(thing("a", text="y", at=0))
        assert (verdict.lost, verdict.duplicate) == (True, False)

    def test_a_created_entity_is_overwritten_by_a_better_row_only_where_it_differs(self) -> None:
        ledger = a_ledger()
        assert ledger.meet(thing("b", text="x", order=(3, 3))) == Comparison(Status.CREATED)
        assert ledger.meet(thing("b", text="x", order=(2, 2))) == Comparison(Status.CREATED, (), True, lost=True)
        found = ledger.meet(thing("b", text="y", order=(1, 1)))
        assert found == Comparison(Status.CREATED, ("properties.text",), duplicate=True)
        assert ledger.meet(thing("b", text="x", order=(2, 2))).lost


class TestWhatWasProduced:
    def test_only_what_was_met_or_found(self) -> None:
        ledger = a_ledger()
        ledger.hold([{"identifier": "searched"}, {"identifier": "untouched"}])
        assert not ledger.any_produced
        ledger.meet(thing("new"))
        ledger.patch(thing("searched"))
        produced = [name for name in ("a", "searched", "untouched", "new", "unheard of") if ledger.produced(name)]
        assert produced == ["searched", "new"]
        assert ledger.any_produced

    def test_an_entity_that_two_pages_show_is_one(self) -> None:
        ledger = a_ledger()
        ledger.hold([{"identifier": "a", "properties": {"text": "newer"}}])
        assert ledger.meet(thing("a", text="newer")).status is Status.UNCHANGED
        assert ledger.unchanged == 1

    def test_a_relation_that_the_mapping_does_not_set_is_remembered_by_who_has_it(self) -> None:
        ledger = a_ledger({"relations": {"parent": "p", "friends": ["f"]}}, fields=("title", "relations.friends"))
        parent, friend = target_key("thing", "p"), target_key("thing", "f")
        assert not ledger.needs(parent)
        ledger.meet(thing("a"))
        assert ledger.needs(parent)
        assert not ledger.needs(friend)  # mapped: what this run says of it counts


def test_relation_targets_are_what_is_named_and_known() -> None:
    relations = {"parent": "p", "friends": ["x", "y"], "unknown": "z"}
    found = relation_targets(BLUEPRINT, relations.items())
    assert set(found) == {target_key("thing", name) for name in ("p", "x", "y")}
    query = {"combinator": "and", "rules": []}
    assert relation_targets(BLUEPRINT, [("parent", None), ("friends", query)]) == []


def test_a_blueprint_is_read_with_what_port_leaves_out() -> None:
    bare = Blueprint.of({"identifier": "x", "schema": None, "relations": None})
    assert (bare.properties, bare.relations) == ({}, {})


@given(st.permutations(("title", "icon", "properties.text", "properties.size", "team", "relations.friends")))
def test_the_order_of_fields_does_not_matter(names: list[str]) -> None:
    fields = ("title", "icon", "properties.text", "properties.size", "team", "relations.friends")
    values = {"title": "t", "icon": "Git", "properties.text": "x", "properties.size": 7, "team": ["a"]}
    values["relations.friends"] = ["f", "e"]
    ledger = a_ledger(fields=fields)
    same = Entity("thing", "a", Shape(fields), tuple(values[name] for name in fields), 0)
    other = Entity("thing", "a", Shape(tuple(names)), tuple(values[name] for name in names), 0)
    assert ledger.codes(same) == ledger.codes(other)
    assert len(set(ledger.codes(same))) == len(fields)


@pytest.mark.parametrize(
    ("ours", "held", "alike"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000Z", True),
        ("2024-01-01T01:00:00.5+01:00", "2024-01-01T00:00:00.500Z", True),
        ("2024-01-01T00:00:00.000+00:00", "2024-01-01T00:00:00Z", True),
        ("2024-01-01T00:00:00.000Z", "2024-01-01T00:00:00.001Z", False),
        ("2024-01-01T00:00:00.000001Z", "2024-01-01T00:00:00.000Z", False),
        ("no date", "no date", True),
        ("0001-01-01T00:00:00+23:00", "0001-01-01T00:00:00+22:00", False),
    ],
)
def test_an_instant_is_the_same_however_port_writes_it(ours: str, held: str, alike: bool) -> None:
    ledger = Ledger(Blueprint.of(things(born={"type": "string", "format": "date-time"})), ["properties.born"])
    ledger.hold([{"identifier": "a", "properties": {"born": held}}])
    assert (ledger.meet(thing("a", born=ours)).status is Status.UNCHANGED) is alike
