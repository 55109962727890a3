"""What Port holds is read by pages and whole, or it is said that it was not."""

from collections.abc import Iterator
from typing import Any

import pytest

from gitlab_port_export.demo.port import Fault, drop, refuse
from gitlab_port_export.http import Unreachable
from gitlab_port_export.port.catalog import Catalog, read_blueprints, search
from gitlab_port_export.port.client import PortRefused
from gitlab_port_export.port.ledger import Blueprint, Ledger, Missing, Relation, Status
from harness import blueprint, port_with
from port_bed import MINE, Bed, a_bed, thing, things


@pytest.fixture
def bed() -> Iterator[Bed]:
    with a_bed(port_with(things(), blueprint("person"))) as found:
        yield found


def a_catalog(bed: Bed, *fields: str, whole: bool = False) -> Catalog:
    return Catalog(bed.port, read_blueprints(bed.port), lambda name: fields, bed.executor, whole=whole)


def searches(bed: Bed) -> list[Any]:
    return [call.body for call in bed.server.calls("/search$")]


class TestBlueprints:
    def test_properties_and_relations(self, bed: Bed) -> None:
        found = read_blueprints(bed.port)
        assert set(found) == {"thing", "person"}
        assert found["thing"].relations == {"parent": Relation("thing"), "friends": Relation("thing", many=True)}
        assert found["thing"].properties["size"] == {"type": "number", "default": 7}
        assert found["person"] == Blueprint("person", {}, {})

    def test_a_refusal_is_not_an_empty_list(self, bed: Bed) -> None:
        bed.server.faults.append(Fault("GET /v1/blueprints$", refuse(403)))
        with pytest.raises(PortRefused):
            read_blueprints(bed.port)


class TestLedgers:
    def test_all_pages_with_only_the_mapped_fields(self, bed: Bed) -> None:
        bed.seed("thing", *(f"e{n}" for n in range(2500)), properties={"text": "x", "size": 3}, by="anybody")
        bed.server.requests.clear()
        ledger = a_catalog(bed, "title", "properties.text", "relations.friends").ledger("thing")
        assert isinstance(ledger, Ledger)
        assert all(ledger.meet(thing(f"e{n}", text="x")).status is Status.UNCHANGED for n in range(2500))
        first, second, third = searches(bed)
        assert first["limit"] == 1000
        assert first["query"] == {"combinator": "and", "rules": []}  # no rule about the datasource
        # `parent` is not mapped, but what it points at must stay.
        assert first["include"] == ["$identifier", "$title", "text", "friends", "parent"]
        assert "from" not in first
        assert second["from"] != third["from"]
        (query,) = {call.query for call in bed.server.calls("/search$")}
        assert query == (("exclude_calculated_properties", "true"),)

    def test_whole_entities_where_port_overwrites(self, bed: Bed) -> None:
        bed.seed("thing", "a", icon="Git", properties={"size": 3})
        bed.server.requests.clear()
        ledger = a_catalog(bed, "title", whole=True).ledger("thing")
        assert isinstance(ledger, Ledger)
        assert "include" not in searches(bed)[0]
        assert set(ledger.meet(thing("a")).fields) == {"icon", "properties.size"}

    def test_each_is_read_once_and_only_what_port_has(self, bed: Bed) -> None:
        catalog = a_catalog(bed)
        catalog.start(["thing", "thing", "nowhere"])
        assert catalog.ledger("thing") is catalog.ledger("thing")
        missing = catalog.ledger("nowhere")
        assert isinstance(missing, Missing)
        assert missing.why == "Port has no blueprint nowhere"
        assert set(catalog.ledgers) == {"thing"}
        assert len(searches(bed)) == 1

    @pytest.mark.parametrize("effect", [refuse(403), refuse(500), drop(), refuse(200, {"ok": False, "entities": []})])
    def test_one_that_cannot_be_read_says_why(self, bed: Bed, effect: Any) -> None:
        bed.server.faults.append(Fault("/search$", effect))
        catalog = a_catalog(bed)
        found = catalog.ledger("thing")
        assert isinstance(found, Missing)
        assert found.why.startswith("Port's entities of blueprint thing could not be read: ")
        assert catalog.ledgers == {}

    def test_half_a_list_is_none(self, bed: Bed) -> None:
        bed.seed("thing", *(f"e{n}" for n in range(1500)))

        def second(request: Any) -> bool:
            return request.path.endswith("/search") and "from" in request.body

        bed.server.faults.append(Fault(second, refuse(500)))
        assert isinstance(a_catalog(bed).ledger("thing"), Missing)

    def test_pages_that_lead_in_a_circle_end(self, bed: Bed) -> None:
        bed.server.faults.append(Fault("/search$", refuse(200, {"ok": True, "entities": [], "next": "again"})))
        found = a_catalog(bed).ledger("thing")
        assert isinstance(found, Missing)
        assert "circle" in found.why
        with pytest.raises(Unreachable):
            list(search(bed.port, "thing", (), None))


class TestOwned:
    def test_of_all_blueprints_and_both_types_by_pages(self, bed: Bed) -> None:
        bed.seed("thing", *(f"e{n}" for n in range(5001)))
        bed.seed("person", "old", by=f"port-ocean/gitlab/0.1.9/{MINE}/exporter")
        bed.seed("person", "theirs", by="port-ocean/gitlab/0.1.9/other/exporter")
        found = list(a_catalog(bed).owned(MINE))
        assert len(found) == 5002
        assert ("person", "old") in found
        asked = [call.body for call in bed.server.calls("datasource-entities")]
        assert {body["datasource_prefix"] for body in asked} == {"port-ocean/gitlab/", "port-ocean/gitlab-v2/"}
        assert {body["datasource_suffix"] for body in asked} == {f"/{MINE}/exporter"}
        assert len(asked) == 3

    def test_fresh_rows_with_relations_and_times_a_hundred_a_call(self, bed: Bed) -> None:
        names = [f"e{n}" for n in range(250)]
        bed.seed("thing", *names, relations={"parent": "e0"})
        rows = list(a_catalog(bed).fresh("thing", [*names, "not there"]))
        assert sorted(row["identifier"] for row in rows) == sorted(names)
        assert rows[0]["relations"]["parent"] == "e0"
        held = bed.store.entity("thing", "e7")
        assert held is not None
        assert {row["updatedAt"] for row in rows} == {held["updatedAt"]}
        assert [len(body["query"]["rules"][0]["value"]) for body in searches(bed)] == [100, 100, 51]
