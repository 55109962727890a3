"""Counts tell what became of each entity once, whichever of its rows came first, and a plan tells them beforehand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.gitlab_access import MAINTAINER
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.port import port_server as serving
from gitlab_port_export.demo.port_faults import Fault, Recorded, refuse
from gitlab_port_export.model import Create, Update
from gitlab_port_export.report.values import Counts
from gitlab_port_export.sync import diff, write
from testbed.harness import acme, blueprint, environ_for, mapping_of, port_with, resource, run_sync
from testbed.here import run_here

pytestmark = pytest.mark.usefixtures("lent_evaluator")

# One author of a merge request in a group's project and of one in a personal project: one entity of two rows. Groups
# are read first, so the lone project's row comes last, and wins where its project has the lower id.
MAPPING = mapping_of(
    resource("merge-request", "person", identifier=".author.username", properties={"number": ".project_id"})
)


def two_rows(*, better_first: bool) -> tuple[World, int]:
    """The world, and the id of the project whose row wins."""
    world = World(datetime.now(UTC))
    reader, ada = world.add_user("reader"), world.add_user("ada")
    world.add_token("token-of-reader", reader)
    group = world.add_group("acme")
    world.add_member(group, reader, MAINTAINER)
    world.add_project(world.add_user("nobody"), "unseen")
    homes = [(group, "core"), (reader, "lone")]
    projects = [world.add_project(*home) for home in (homes if better_first else reversed(homes))]
    for project in projects:
        world.add_merge_request(project, "Change", author=ada)
    return world, projects[0]["id"]


def store() -> Any:
    return port_with(blueprint("person", number="number"))


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("better_first", [True, False])
def test_an_entity_counts_once_and_a_plan_says_so(better_first: bool, missing: bool) -> None:
    world, winner = two_rows(better_first=better_first)
    mapping = {**MAPPING, "createMissingRelatedEntities": missing}
    with serving(store()) as port:
        for wanted in (Counts(created=1), Counts(unchanged=1)):
            planned = run_sync(world, port, mapping, command="plan").report
            done = run_sync(world, port, mapping).report
            assert planned.blueprints == done.blueprints == {"person": wanted}
            assert [type(change) for change in done.changes] == [Create] * wanted.created
            assert [type(change) for change in planned.changes] == [Create] * wanted.created
            assert port.store.snapshot()["person"]["ada"][3] == {"number": winner}


@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("better_first", [True, False])
def test_an_entity_that_changed_counts_once(
    better_first: bool, missing: bool, room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether there is room for updates to wait for a better row, or they go out at once."""
    if not room:
        monkeypatch.setattr(diff, "MAX_WAITING_BYTES", 0)
        monkeypatch.setattr(write, "MAX_WAITING_BYTES", 0)
    world, winner = two_rows(better_first=better_first)
    mapping = {**MAPPING, "createMissingRelatedEntities": missing}
    held = store()
    with serving(held) as port:
        other = resource("merge-request", "person", identifier=".author.username", properties={"number": "0"})
        run_sync(world, port, mapping_of(other))
        planned = run_sync(world, port, mapping, command="plan").report
        done = run_sync(world, port, mapping).report
    assert planned.blueprints == done.blueprints == {"person": Counts(updated=1)}
    assert [type(change) for change in done.changes] == [Update]
    assert held.snapshot()["person"]["ada"][3] == {"number": winner}


@pytest.mark.parametrize("missing", [True, False])
def test_a_plan_that_is_applied_counts_the_same(missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, winner = two_rows(better_first=False)
    mapping = {**MAPPING, "createMissingRelatedEntities": missing}
    (tmp_path / "m.json").write_text(json.dumps(mapping))
    file: dict[str, Any] = {"mapping_file": Path("m.json"), "as_json": True}
    with gitlab_server(world) as gitlab, serving(store()) as port:
        environ = environ_for(gitlab, port)
        planned = run_here(environ, tmp_path, monkeypatch, command="plan", out=Path("plan.json"), **file)
        done = run_here(environ, tmp_path, monkeypatch, plan=Path("plan.json"), **file)
        assert port.store.snapshot()["person"]["ada"][3] == {"number": winner}
    assert (planned.code, done.code) == (0, 0)
    assert json.loads(planned.out)["total"] == json.loads(done.out)["total"]
    assert json.loads(done.out)["total"]["created"] == 1


def test_a_row_that_port_takes_after_it_refused_the_one_before_creates_the_entity() -> None:
    world, winner = two_rows(better_first=False)

    def beaten(call: Recorded) -> bool:
        rows = call.body.get("entities", ()) if call.path.endswith("/bulk") else ()
        return any(row["properties"]["number"] != winner for row in rows)

    with serving(store()) as port:
        port.faults.append(Fault(beaten, refuse(422)))
        report = run_sync(world, port, MAPPING, workers=1).report  # so that the rows come in the order of the plan
        assert port.store.snapshot()["person"]["ada"][3] == {"number": winner}
    assert report.blueprints == {"person": Counts(created=1, failed=1)}
    assert report.exit_code == 1


def test_a_target_that_the_run_creates_is_found_by_a_search_in_the_same_run() -> None:
    world, _ = two_rows(better_first=True)
    rule = {"property": '"$identifier"', "operator": '"="', "value": ".path"}
    search = {"combinator": '"and"', "rules": [rule]}
    people = resource("project", "person", identifier=".path", relations={"home": search})
    homes = resource("project", "home", identifier=".path")
    held = port_with(blueprint("home"), blueprint("person", {"home": "home"}))
    with serving(held) as port:
        run_sync(world, port, mapping_of(resource("project", "person", identifier=".path")))
        for updated in (1, 0):
            report = run_sync(world, port, mapping_of(people, homes)).report
            assert (report.exit_code, bool(report.blueprints["person"].updated)) == (0, bool(updated))
    assert held.snapshot()["person"]["core"][4] == {"home": "core"}


def test_what_an_expression_finds_by_a_search_is_not_gone_and_the_rest_is_held() -> None:
    """Only the rows tell that such an identifier is a search: the mapping holds an expression."""
    world, _, group = acme()
    for name in ("core", "app"):
        world.add_project(group, name)
    searched = '{combinator: "and", rules: [{property: "$identifier", operator: "=", value: .path}]}'
    held = port_with(blueprint("home"))
    with serving(held) as port:
        run_sync(world, port, mapping_of(resource("project", "home", identifier=".path")))
        world.delete_project(world.project("acme/app"))
        report = run_sync(world, port, mapping_of(resource("project", "home", identifier=searched))).report
    assert [(one.identifiers, one.reason) for one in report.held] == [(("app",), "search")]
    assert set(held.snapshot()["home"]) == {"core", "app"}
