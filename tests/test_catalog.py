"""What Port holds is read by pages and whole, or it is said that it was not."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from gitlab_port_export.base import answer
from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.demo.port_faults import Fault, Recorded, drop, refuse
from gitlab_port_export.port import pages
from gitlab_port_export.port.blueprint import Blueprint, Relation
from gitlab_port_export.port.catalog import Catalog, read_blueprints, search
from gitlab_port_export.port.client import PortRefused
from gitlab_port_export.port.keys import target_key
from gitlab_port_export.port.ledger import Ledger, Missing, Status
from testbed.harness import blueprint, port_with
from testbed.port_bed import MINE, Bed, a_bed, thing, things


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

    def test_new_cursors_for_ever_end(self, bed: Bed) -> None:
        bed.seed("thing", "a", "b", "c")
        endless = itertools.count()

        def page(request: Recorded) -> bool:
            if not request.path.endswith(("/search", "/datasource-entities")):
                return False
            rows = [{"identifier": name} for name in ("a", "b", "c")][next(endless) % 3 :]
            content = {
                "ok": True,
                "entities": rows if request.path.endswith("/search") else [],
                "next": f"n{next(endless)}",
            }
            fault.effect = refuse(200, content)
            return True

        fault = Fault(page, refuse(200))
        bed.server.faults.append(fault)
        for found in (a_catalog(bed).ledger("thing"), a_catalog(bed).ledger("person")):
            assert isinstance(found, Missing)
            assert "circle" in found.why
        with pytest.raises(Unreachable, match="do not end"):
            list(a_catalog(bed).owned(MINE))


class TestLargePages:
    """A page is bounded in bytes: where one is too large, for us or for Port, smaller ones are asked for."""

    def limits(self, bed: Bed) -> list[int]:
        return [body["limit"] for body in searches(bed)]

    def test_smaller_pages_are_asked_for_and_larger_ones_again(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answer, "MAX_BODY_BYTES", 300_000)
        monkeypatch.setattr(pages, "COMFORTABLE_BYTES", 100_000)
        bed.seed("thing", *(f"large{n}" for n in range(80)), properties={"text": "x" * 9_000})
        bed.seed("thing", *(f"small{n}" for n in range(1500)), properties={"text": "x"})
        ledger = a_catalog(bed, "properties.text").ledger("thing")
        assert isinstance(ledger, Ledger)
        assert all(ledger.meet(thing(f"large{n}", text="x" * 9_000)).status == Status.UNCHANGED for n in range(80))
        assert all(ledger.meet(thing(f"small{n}", text="x")).status == Status.UNCHANGED for n in range(1500))
        assert self.limits(bed)[:3] == [1000, 250, 62]
        assert len(self.limits(bed)) < 31
        assert self.limits(bed)[-1] > 250

    @pytest.mark.parametrize("status", [413, 500, 502, 504])
    def test_a_page_that_is_too_much_for_port_is_asked_for_in_parts(self, bed: Bed, status: int) -> None:
        bed.seed("thing", *(f"e{n}" for n in range(200)), properties={"text": "x"})

        def large(request: Recorded) -> bool:
            return request.path.endswith("/search") and request.body["limit"] > 100

        bed.server.faults.append(Fault(large, refuse(status)))
        ledger = a_catalog(bed, "properties.text").ledger("thing")
        assert isinstance(ledger, Ledger)
        assert all(ledger.meet(thing(f"e{n}", text="x")).status == Status.UNCHANGED for n in range(200))

    def test_an_entity_that_no_answer_can_hold_is_written_again_and_its_relations_are_known(
        self, bed: Bed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(answer, "MAX_BODY_BYTES", 20_000)
        bed.seed("thing", "a", "c", properties={"text": "x"})
        bed.seed("thing", "huge", properties={"text": "x" * 30_000}, relations={"parent": "c"})
        ledger = a_catalog(bed, "properties.text").ledger("thing")
        assert isinstance(ledger, Ledger)
        assert ledger.meet(thing("huge", text="y")).status == Status.UPDATED
        assert ledger.needs(target_key("thing", "c"))
        assert {ledger.meet(thing(name, text="x")).status for name in ("a", "c")} == {Status.UNCHANGED}

    def test_what_is_ours_and_what_a_search_finds_come_so_too(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answer, "MAX_BODY_BYTES", 5_000)
        bed.seed("thing", *(f"e{n}" for n in range(300)), properties={"text": "needle"})
        assert len(list(a_catalog(bed).owned(MINE))) == 300
        rule = {"property": "text", "operator": "=", "value": "needle"}
        found = list(search(bed.port, "thing", [rule], ["$identifier"]))
        assert sum(map(len, found)) == 300


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
