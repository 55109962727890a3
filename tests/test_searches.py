"""What search queries find is asked in few requests, and each query gets its own answer."""

from collections.abc import Iterator
from typing import Any

import pytest

from gitlab_port_export.demo.port_faults import Fault, drop, refuse
from gitlab_port_export.port.catalog import Catalog, read_blueprints
from gitlab_port_export.port.searches import Searches
from testbed.harness import blueprint, port_with
from testbed.port_bed import Bed, a_bed, things


@pytest.fixture
def bed() -> Iterator[Bed]:
    with a_bed(port_with(things(born={"type": "string", "format": "date-time"}), blueprint("person"))) as found:
        yield found


def of(bed: Bed) -> Searches:
    blueprints = read_blueprints(bed.port)
    catalog = Catalog(bed.port, blueprints, lambda _: (), bed.executor, whole=False)
    return Searches(bed.port, blueprints, bed.executor, catalog.is_empty)


def query(*rules: tuple[str, str, Any], combinator: str = "and") -> dict[str, Any]:
    found = [{"property": name, "operator": operator, "value": value} for name, operator, value in rules]
    return {"combinator": combinator, "rules": found}


def answers(bed: Bed, *queries: Any, target: str = "thing") -> list[Any]:
    searches = of(bed)
    bed.server.requests.clear()
    searches.ask((target, one) for one in queries)
    return [searches.found(target, one) for one in queries]


def requests(bed: Bed) -> int:
    return len(bed.server.calls("/search$"))


NEEDLE = query(("text", "=", "needle"))


def test_queries_for_different_values_are_one_request(bed: Bed) -> None:
    for n in range(60):
        bed.seed("thing", f"t{n}", properties={"text": f"v{n % 50}"})
    asked = [query(("text", "=", f"v{n}")) for n in range(90)]
    found = answers(bed, *asked)
    assert found[3] == ["t3", "t53"]
    assert found[30] == ["t30"]
    assert found[60] == []
    assert requests(bed) == 1
    (body,) = [call.body for call in bed.server.calls("/search$")]
    assert body["query"]["rules"] == [{"property": "text", "operator": "in", "value": [f"v{n}" for n in range(90)]}]


def test_a_request_holds_a_hundred_values(bed: Bed) -> None:
    bed.seed("thing", *(f"t{n}" for n in range(250)))
    found = answers(bed, *(query(("$identifier", "=", f"t{n}")) for n in range(250)))
    assert found == [[f"t{n}"] for n in range(250)]
    assert requests(bed) == 4  # the first one asks whether there is anything at all


def test_into_an_empty_blueprint_nothing_much_is_asked(bed: Bed) -> None:
    asked = [query(("text", "contains", f"v{n}")) for n in range(600)]
    assert answers(bed, *asked) == [[]] * 600
    assert requests(bed) == 1


def test_nothing_is_asked_where_port_is_known_to_hold_nothing(bed: Bed) -> None:
    blueprints = read_blueprints(bed.port)
    searches = Searches(bed.port, blueprints, bed.executor, lambda _: True)
    bed.server.requests.clear()
    searches.ask([("thing", NEEDLE)])
    assert (searches.found("thing", NEEDLE), requests(bed)) == ([], 0)
    bed.seed("thing", "x", properties={"text": "needle"})
    searches.touch("thing")
    searches.refresh()
    searches.ask([("thing", NEEDLE)])
    assert searches.found("thing", NEEDLE) == ["x"]


def test_nested_queries_on_texts_share_a_request(bed: Bed) -> None:
    bed.seed("thing", "a", title="A", properties={"text": "x"})
    bed.seed("thing", "b", title="B", properties={"text": "x"})
    nested = {"combinator": "and", "rules": [query(("$title", "in", ["A", "C"])), *query(("text", "=", "x"))["rules"]]}
    asked = [nested, query(("text", "=", "x"), ("$identifier", "=", "b")), query(("text", "in", ["x", "y"])),
             query(("text", "=", "y"), ("$title", "=", "B"), combinator="or")]  # fmt: skip
    assert answers(bed, *asked) == [["a"], ["b"], ["a", "b"], ["b"]]
    assert requests(bed) == 1


@pytest.mark.parametrize(
    "rule",
    [("size", "=", 3), ("text", "contains", "needle"), ("text", "=", None), ("born", "=", "2024-01-01T00:00:00Z"),
     ("$team", "=", "red"), ("unknown", "=", "x")],
)  # fmt: skip
def test_what_only_port_can_compare_is_asked_alone(bed: Bed, rule: Any) -> None:
    bed.seed("thing", "a", team=["red"], properties={"size": 3, "text": "a needle", "born": "2024-01-01T00:00:00Z"})
    alone = answers(bed, query(rule))
    assert answers(bed, query(rule), NEEDLE, query(("text", "=", "x"))) == [alone[0], [], []]
    assert requests(bed) == 2


def test_each_query_is_asked_once_until_a_write_may_have_changed_it(bed: Bed) -> None:
    searches = of(bed)
    bed.server.requests.clear()
    for _ in range(3):
        searches.ask([("thing", NEEDLE)])
    assert (searches.found("thing", NEEDLE), requests(bed)) == ([], 1)
    bed.seed("thing", "x", properties={"text": "needle"})
    searches.touch("person")
    assert searches.refresh() == {"person"}
    searches.ask([("thing", NEEDLE)])
    assert searches.found("thing", NEEDLE) == []
    searches.touch("thing")
    assert searches.refresh() == {"thing"}
    searches.ask([("thing", NEEDLE)])
    assert searches.found("thing", NEEDLE) == ["x"]


def test_a_query_that_port_refuses_takes_no_other_along(bed: Bed) -> None:
    bed.seed("thing", "x", properties={"text": "needle"})

    def bad(request: Any) -> bool:
        return "poison" in str(request.body)

    bed.server.faults.append(Fault(bad, refuse(422)))
    assert answers(bed, NEEDLE, query(("text", "=", "poison")), query(("text", "=", "y"))) == [["x"], None, []]


def test_rows_that_match_nothing_by_our_reading_are_asked_for_alone(bed: Bed) -> None:
    """Port may compare otherwise than letter by letter: then it alone says what matches."""
    bed.seed("thing", "x", properties={"text": "needle"})
    together = {"ok": True, "entities": [{"identifier": "x", "properties": {"text": "NEEDLE"}}]}
    bed.server.faults.append(Fault("/search$", refuse(200, together), 1))
    assert answers(bed, NEEDLE, query(("text", "=", "y"))) == [["x"], []]


def test_no_answer_is_not_an_empty_one(bed: Bed) -> None:
    bed.server.faults.append(Fault("/search$", drop()))
    assert answers(bed, NEEDLE, query(("text", "=", "y"))) == [None, None]
    assert answers(bed, NEEDLE, target="nowhere") == [None]


@pytest.mark.parametrize(
    "odd",
    [{}, {"a": 1}, query(), {"rules": NEEDLE["rules"]}, {**NEEDLE, "combinator": "xor"}, {**NEEDLE, "rules": "all"},
     {**NEEDLE, "rules": ["all"]}, {**NEEDLE, "rules": [*NEEDLE["rules"], query()]}],
)  # fmt: skip
def test_what_is_no_query_finds_nothing_and_never_everything(bed: Bed, odd: Any) -> None:
    bed.seed("thing", "x", properties={"text": "needle"})
    assert answers(bed, odd, NEEDLE) == [None, ["x"]]
    assert requests(bed) == 1
