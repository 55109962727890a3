"""The deletion policy: what may go, what is held, and the option that releases it."""

from typing import Any

import pytest

from gitlab_port_export.mapping.blueprints import constant_blueprints, feeding, fields_of, shared_blueprints
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Held, Problem
from gitlab_port_export.settings.parse import parse_allow_deletes
from gitlab_port_export.sync.coverage import Searched, coverage_of
from gitlab_port_export.sync.policy import Gone, Policy, Unsettled
from testbed.port_bed import a_mapping

ROW = '(.x // "service")'  # a blueprint that the row decides


def hold(
    gone: int,
    owned: int,
    *,
    produced: bool = True,
    mapping: Mapping | None = None,
    problems: tuple[Problem, ...] = (),
    searched: tuple[int, ...] = (),
    unresolved: tuple[str, ...] = (),
    refused: tuple[str, ...] = (),
    released: dict[str, int | None] | None = None,
    blueprint: str = "service",
) -> Held | None:
    """Ask the policy about so many entities that are gone."""
    chosen = mapping or a_mapping("service")
    events = [*problems, *map(Searched, searched)]
    policy = Policy(
        coverage_of(chosen, range(len(chosen.resources)), events),
        chosen.entity_deletion_threshold,
        released or {},
        Unsettled(frozenset(refused), frozenset(unresolved)),
    )
    return policy.hold(Gone(blueprint, tuple(f"e{n}" for n in range(gone)), (), owned, produced))


def reason(*args: Any, **options: Any) -> str | None:
    held = hold(*args, **options)
    return held.reason if held else None


class TestLimit:
    @pytest.mark.parametrize(
        ("gone", "owned", "held"),
        [(1, 1, None), (9, 9, None), (3, 10, None), (4, 10, "limit"), (3, 9, None), (300, 1000, None),
         (301, 1000, "limit"), (5, 19, None), (6, 19, "limit")],
    )  # fmt: skip
    def test_by_default_three_in_ten_from_ten_on(self, gone: int, owned: int, held: str | None) -> None:
        assert reason(gone, owned) == held

    @pytest.mark.parametrize(
        ("threshold", "gone", "owned", "held"),
        [
            (0, 1, 1, "never"),
            (0, 1, 1000, "never"),
            (0.5, 5, 10, None),
            (0.5, 6, 10, "limit"),
            (0.5, 1, 1, "limit"),
            (0.5, 1, 2, None),
            (1, 1000, 1000, None),
            (0.29, 29, 100, None),  # 100 * 0.29 is a little less than 29
            (0.29, 30, 100, "limit"),
            (0.07, 7, 100, None),
            (0.9, 9, 10, None),
        ],
    )
    def test_the_mapping_may_set_it(self, threshold: float, gone: int, owned: int, held: str | None) -> None:
        assert reason(gone, owned, mapping=a_mapping("service", entityDeletionThreshold=threshold)) == held

    def test_it_is_counted_by_blueprint(self) -> None:
        mapping = a_mapping("service", "group", entityDeletionThreshold=0.5)
        assert reason(2, 2, mapping=mapping, blueprint="service") == "limit"
        assert reason(2, 4, mapping=mapping, blueprint="group") is None


class TestEmptySource:
    @pytest.mark.parametrize("owned", [1, 9, 100])
    def test_nothing_found_and_something_owned(self, owned: int) -> None:
        assert reason(1, owned, produced=False) == "empty"

    @pytest.mark.parametrize(("threshold", "held"), [(0, "never"), (0.5, "empty"), (0.99, "empty"), (1, None)])
    def test_only_a_threshold_of_one_lifts_it(self, threshold: float, held: str | None) -> None:
        mapping = a_mapping("service", entityDeletionThreshold=threshold)
        assert reason(1, 100, produced=False, mapping=mapping) == held

    def test_a_blueprint_that_is_not_mapped_any_more_is_an_empty_source(self) -> None:
        assert reason(1, 100, produced=False, blueprint="dropped") == "empty"


class TestProblems:
    def test_one_of_a_resource_that_feeds_the_blueprint(self) -> None:
        mapping = a_mapping("service", "group")
        problem = (Problem("read", "403 Forbidden", kind="issue", resources=(0,)),)
        held = hold(1, 100, mapping=mapping, problems=problem)
        assert held is not None
        assert (held.reason, held.identifiers) == ("problem", ("e0",))
        assert "issue: 403 Forbidden" in held.why
        assert hold(1, 100, mapping=mapping, problems=problem, blueprint="group") is None

    def test_a_blueprint_that_the_row_decides_may_be_any(self) -> None:
        mapping = a_mapping("service", ROW)
        problem = (Problem("transform", "bad", resources=(1,)),)
        for name in ("service", "group", "dropped"):
            assert reason(1, 100, mapping=mapping, problems=problem, blueprint=name) == "problem"

    def test_one_that_holds_all(self) -> None:
        problem = Problem("inventory", "401", token="token 1", holds_all=True)
        held = hold(1, 100, mapping=a_mapping("group"), problems=(problem,), blueprint="dropped")
        assert held is not None
        assert "token 1: 401" in held.why

    def test_a_warning_holds_nothing(self) -> None:
        warning = Problem("transform", "null", resources=(0,), warning=True, holds_all=True)
        assert hold(1, 100, problems=(warning,)) is None

    @pytest.mark.parametrize("released", [None, 5])
    def test_no_option_and_no_threshold_releases_it(self, released: int | None) -> None:
        mapping = a_mapping("service", entityDeletionThreshold=1)
        problem = (Problem("read", "500", resources=(0,)),)
        assert reason(1, 100, mapping=mapping, problems=problem, released={"service": released}) == "problem"

    def test_it_goes_before_the_other_reasons(self) -> None:
        problem = (Problem("read", "500", resources=(0,)),)
        assert reason(100, 100, produced=False, problems=problem) == "problem"

    def test_entities_found_by_search_prove_no_absence(self) -> None:
        mapping = a_mapping("service", "group")
        assert reason(1, 100, mapping=mapping, searched=(0,)) == "search"
        assert reason(1, 100, mapping=mapping, searched=(1,)) is None
        assert reason(1, 100, mapping=a_mapping(ROW), searched=(0,), blueprint="any") == "search"

    @pytest.mark.parametrize("released", [{}, {"service": None}])
    def test_what_may_still_be_needed_stays(self, released: dict[str, int | None]) -> None:
        assert reason(1, 100, refused=("service",), released=released) == "problem"
        assert reason(1, 100, unresolved=("service",), released=released) == "search"
        assert reason(1, 100, refused=("group",), unresolved=("person",)) is None


class TestRelease:
    @pytest.mark.parametrize(
        ("option", "gone", "held"),
        [("service", 100, None), ("service=100", 100, None), ("service=99", 100, "limit"), ("service=0", 1, "limit"),
         ("group,service=100", 100, None)],
    )  # fmt: skip
    @pytest.mark.parametrize("produced", [True, False])
    def test_of_one_blueprint_up_to_a_number(self, option: str, gone: int, held: str | None, produced: bool) -> None:
        assert reason(gone, 100, produced=produced, released=parse_allow_deletes(option)) == held

    @pytest.mark.parametrize(("produced", "held"), [(True, "limit"), (False, "empty")])
    def test_of_one_blueprint_says_nothing_of_others(self, produced: bool, held: str) -> None:
        assert reason(100, 100, produced=produced, released={"group": None}) == held

    @pytest.mark.parametrize("threshold", [None, 0, 0.5])
    @pytest.mark.parametrize("produced", [True, False])
    def test_a_held_deletion_prints_the_option_that_makes_it(self, threshold: Any, produced: bool) -> None:
        options = {} if threshold is None else {"entityDeletionThreshold": threshold}
        mapping = a_mapping("service", **options)
        held = hold(80, 100, produced=produced, mapping=mapping)
        assert held is not None
        assert held.hint.endswith("run once with --allow-deletes service=80")
        option = held.hint.rpartition("--allow-deletes ")[2]
        assert hold(80, 100, produced=produced, mapping=mapping, released=parse_allow_deletes(option)) is None
        assert reason(81, 100, produced=produced, mapping=mapping, released=parse_allow_deletes(option)) == "limit"

    def test_the_message_names_what_was_asked_for(self) -> None:
        mapping = a_mapping("service", entityDeletionThreshold=0)
        held = hold(8, 100, mapping=mapping, released={"service": 5})
        assert held is not None
        assert held.why == "8 of 100 entities would go; the limit is 5"
        assert held.identifiers == tuple(f"e{n}" for n in range(8))


class TestMapping:
    def test_what_feeds_a_blueprint(self) -> None:
        mapping = a_mapping("service", "group", ROW)
        assert [set(feeding(mapping, name)) for name in ("service", "group", "x")] == [{0, 2}, {1, 2}, {2}]

    def test_the_blueprints_it_names(self) -> None:
        mapping = a_mapping("service", "group", "service", ROW)
        assert constant_blueprints(mapping) == ("service", "group")
        assert shared_blueprints(mapping) is None  # a computed blueprint may be any of them
        assert shared_blueprints(a_mapping("service", "group", "service")) == frozenset({"service"})

    def test_the_fields_it_sets_in_a_blueprint(self) -> None:
        mappings: list[tuple[str, dict[str, Any]]] = [
            ('"service"', {"title": ".name", "properties": {"url": ".web_url"}}),
            ('"group"', {"icon": '"Git"'}),
            (".kind", {"team": ".t", "properties": {"url": ".u"}, "relations": {"group": ".g"}}),
        ]
        mapping = Mapping.model_validate(
            {
                "resources": [
                    {
                        "kind": "project",
                        "selector": {"query": "true"},
                        "port": {"entity": {"mappings": {"identifier": ".id", "blueprint": name, **fields}}},
                    }
                    for name, fields in mappings
                ]
            }
        )
        numbered = tuple(one.model_copy(update={"index": n}) for n, one in enumerate(mapping.resources))
        mapping = mapping.model_copy(update={"resources": numbered})
        dynamic = ("properties.url", "team", "relations.group")
        assert fields_of(mapping, "service") == ("title", "properties.url", "team", "relations.group")
        assert fields_of(mapping, "group") == ("icon", *dynamic)
        assert fields_of(mapping, "other") == dynamic
