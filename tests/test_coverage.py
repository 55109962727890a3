"""Coverage says what was read of each resource, and the policy deletes nothing that was not read whole."""

from collections.abc import Container, Sequence

import pytest

from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Held, Problem, Unnamed
from gitlab_port_export.sync.coverage import Coverage, Gap, Searched, coverage_of
from gitlab_port_export.sync.policy import Gone, Policy
from testbed.harness import mapping_of, resource
from testbed.port_bed import a_mapping

FAILED = Problem("read", "403 Forbidden", scope="acme", kind="project", resources=(0,))


def covered(*events: Gap, read: Container[int] = (0, 1), mapping: Mapping | None = None) -> Coverage:
    """The coverage of a mapping with two resources."""
    return coverage_of(mapping or a_mapping("service", "group"), read, events)


def extents(coverage: Coverage) -> list[str]:
    return [resource.extent for resource in coverage.resources]


def held(coverage: Coverage, blueprint: str = "service") -> Held | None:
    """What the policy says of one of many, although the user released all of them."""
    return Policy(coverage, None, {blueprint: None}).hold(Gone(blueprint, ("e1",), (), 100, True))


def test_a_resource_without_gaps_was_read_whole() -> None:
    assert extents(covered()) == ["whole", "whole"]
    assert held(covered()) is None


@pytest.mark.parametrize("event", [FAILED, Searched(0), Unnamed(0, 0, "identifier", 3)])
def test_a_gap_is_of_its_resource_alone(event: Gap) -> None:
    coverage = covered(event)
    assert extents(coverage) == ["part", "whole"]
    assert coverage.resources[0].gaps == (event,)


def test_a_warning_is_no_gap() -> None:
    assert extents(covered(Problem("read", "slow", resources=(0,), warning=True, holds_all=True))) == ["whole", "whole"]


def test_a_resource_with_a_search_identifier_has_a_gap() -> None:
    query = {"combinator": '"and"', "rules": [{"property": '"x"', "operator": '"="', "value": ".id"}]}
    found = Mapping.model_validate(
        mapping_of(resource("project", "service"), resource("project", "group", identifier=query))
    )
    numbered = tuple(one.model_copy(update={"index": index}) for index, one in enumerate(found.resources))
    coverage = covered(mapping=found.model_copy(update={"resources": numbered}))
    assert [one.gaps for one in coverage.resources] == [(), (Searched(1),)]


@pytest.mark.parametrize(
    ("events", "read", "why"),
    [
        ([FAILED], (0, 1), "403 Forbidden"),
        ([Searched(0)], (0, 1), "found by a search"),
        ([], (1,), "was not read"),
    ],
)
def test_what_was_not_read_whole_justifies_no_deletion_whatever_is_released(
    events: Sequence[Gap], read: Container[int], why: str
) -> None:
    coverage = covered(*events, read=read)
    found = held(coverage)
    assert found is not None
    assert why in found.why
    assert found.hint
    assert held(coverage, "group") is None


def test_a_problem_of_everything_holds_blueprints_that_no_resource_feeds_too() -> None:
    coverage = covered(Problem("inventory", "401", holds_all=True))
    assert extents(coverage) == ["part", "part"]
    assert [held(coverage, name) is not None for name in ("service", "group", "dropped")] == [True, True, True]


def test_rows_without_identifier_can_be_released() -> None:
    coverage = covered(Unnamed(0, 0, "identifier", 3))
    assert held(coverage) is None
    unreleased = Policy(coverage, None, {}).hold(Gone("service", ("e1",), (), 100, True))
    assert unreleased is not None
    assert unreleased.reason == "unnamed"


def test_a_gap_counts_for_every_blueprint_where_the_row_decides() -> None:
    coverage = covered(FAILED, mapping=a_mapping('(.x // "service")', "group"))
    assert [held(coverage, name) is not None for name in ("service", "group", "dropped")] == [True, True, True]


def test_a_problem_of_an_unknown_resource_holds_everything() -> None:
    coverage = covered(Problem("write", "of a file", resources=(-1,)))
    assert [held(coverage, name) is not None for name in ("service", "group", "dropped")] == [True, True, True]
