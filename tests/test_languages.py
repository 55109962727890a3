"""Languages: asked for a hundred projects at once, and over REST for everybody whom that leaves out."""

from typing import Any

import pytest

from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab import Fault, gitlab_server
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.gitlab.client import Ask, ReadFailed
from gitlab_port_export.gitlab.plan import make_plan
from gitlab_port_export.model import Row
from testbed.harness import mapping_of, port_with, resource, run_sync
from testbed.parity import BLUEPRINTS
from testbed.reading import Play, Reply, context, graphql, inventory, listing, page, project, script

pytestmark = pytest.mark.usefixtures("lent_evaluator")

ID = "gid://gitlab/Project/"
GO = [{"name": "Go", "share": 60.5}, {"name": "C", "share": 39.5}]
WANTED = {"kind": "project", "includeLanguages": True}


def played(projects: list[Row], together: Any, *tokens: str, rest: Any = None, dialect: Any = "gitlab-v2") -> Play:
    both = inventory(*(listing(token, [], projects) for token in tokens or ("token 1",)))
    play = Play(script(rest or {}), together=together)
    for read in make_plan(context(both, WANTED, dialect=dialect)).reads:
        play.run(read.start(read.scope))
    return play


def everybody(ask: Ask) -> Reply:
    return graphql(dict.fromkeys(ask.variables["ids"], GO))


def some(count: int) -> list[Row]:
    return [project(number, f"g/p{number}") for number in range(1, count + 1)]


def languages(play: Play) -> list[Any]:
    return [row["__languages"] for entry in play.said for row in entry.rows]


def test_a_hundred_projects_a_question() -> None:
    found = played(some(201), everybody)
    assert [len(ask.variables["ids"]) for ask in found.asked_together] == [100, 100]
    assert found.urls == ["/projects/201/languages"]  # one alone gains nothing
    assert languages(found) == [{"Go": 60.5, "C": 39.5}] * 200 + [{}]


def test_what_rows_say_of_the_code_decides_nothing_about_languages() -> None:
    empty, off = project(8, "g/empty", empty_repo=True), project(9, "g/off", repository_access_level="disabled")
    found = played([*some(2), empty, off], everybody)
    assert len(found.asked_together) == 1
    assert found.urls == []
    assert languages(found) == [{"Go": 60.5, "C": 39.5}] * 4


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({}, id="left out"),
        pytest.param({f"{ID}2": None}, id="hidden from the token"),
        pytest.param({f"{ID}2": {"name": "Go"}}, id="another shape"),
        pytest.param({f"{ID}2": [*GO, {"name": "C", "share": None}]}, id="a language without a share"),
        pytest.param({f"{ID}2": [*GO, {"share": 1.0}]}, id="a language without a name"),
        pytest.param({"2": GO}, id="another kind of id"),
        pytest.param({"gid://gitlab/Project/two": GO}, id="no number"),
    ],
)
def test_rest_is_asked_about_whom_graphql_leaves_out(second: dict[str, Any]) -> None:
    rest = {"/projects/2/languages": page({"Rust": 100.0})}
    found = played(some(3), lambda ask: graphql({f"{ID}1": GO, f"{ID}3": []} | second), rest=rest)
    assert languages(found) == [{"Go": 60.5, "C": 39.5}, {"Rust": 100.0}, {}]
    assert found.urls == ["/projects/2/languages"]


@pytest.mark.parametrize(
    "answer",
    [
        ReadFailed("refused", "GraphQL answered with errors"),
        ReadFailed("missing", "404"),
        page({"data": None}),
        page({"data": {"projects": None}}),
        page({"data": {"projects": {"nodes": None}}}),
        page({"data": {"projects": {"nodes": [None, 7, {"id": None, "languages": []}]}}}),
        page({"data": []}),
        page({}),
    ],
)
def test_rest_is_asked_about_all_where_graphql_refuses(answer: Reply) -> None:
    rest = {f"/projects/{number}/languages": page({"Rust": 100.0}) for number in (1, 2)}
    found = played(some(2), lambda ask: answer, rest=rest)
    assert (len(found.asked_together), languages(found)) == (1, [{"Rust": 100.0}] * 2)


def test_another_token_reads_alone() -> None:
    both = inventory(*(listing(token, [], some(2)) for token in ("token 1", "token 2")))
    play = Play(script({}), together=everybody)
    for read in make_plan(context(both, WANTED)).reads:
        play.run(read.start(type(read.scope)(read.scope.id, read.scope.path, read.scope.is_group, "token 2")))
    assert (play.asked_together, [get.token for get in play.asked]) == ([], ["token 2", "token 2"])


# Over real HTTP


def company() -> tuple[World, PortStore]:
    world = World()
    top = world.add_group("top")
    for number in range(5):
        project = world.add_project(top, f"p{number}")
        world.set_languages(project, Go=60.0 + number, Shell=40.0 - number)
    reader = world.add_user("reader")
    world.add_member(top, reader, 40)
    world.add_token("token-of-reader", reader)
    return world, port_with(*BLUEPRINTS)


LANGUAGES = {"selector": {"includeLanguages": True}, "properties": {"object": ".__languages"}}
MAPPING = mapping_of(resource("project", "thing", **LANGUAGES))


def held(store: PortStore) -> Any:
    return {key: entity[3]["object"] for key, entity in store.snapshot()["thing"].items()}


def test_one_question_in_place_of_five() -> None:
    world, store = company()
    report, _, gitlab = run_sync(world, store, MAPPING)
    assert (report.exit_code, gitlab.count("/graphql"), gitlab.count("/languages")) == (0, 1, 0)
    assert held(store) == {str(id): shares for id, shares in world.languages.items()}


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        pytest.param(faults.forbidden(), 1, id="403"),
        pytest.param(faults.not_found(), 1, id="404"),
        pytest.param(faults.unauthorized(), 1, id="401"),
        pytest.param(faults.insufficient_scope(), 1, id="insufficient scope"),
        pytest.param(faults.throttled(), 2, id="429"),
        pytest.param(faults.server_error(), 2, id="500"),
        pytest.param(faults.login_page(), 1, id="HTML 200"),
        pytest.param(faults.not_a_list(), 1, id="no data"),
        pytest.param(faults.reply_json(200, []), 1, id="a list"),
        pytest.param(faults.reply_json(200, {"errors": [{"message": "Query has complexity of 300"}]}), 1, id="errors"),
        pytest.param(faults.Drop(), 2, id="dropped"),
        pytest.param(faults.Truncate(), 2, id="truncated"),
    ],
)
def test_whatever_graphql_does_rest_gives_the_languages(fault: Any, attempts: int) -> None:
    world, store = company()
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(Fault("^/api/graphql$", fault))
        report, *_ = run_sync(gitlab, store, MAPPING)
        assert (gitlab.count("/graphql"), gitlab.count("/languages")) == (attempts, 5)
    assert (report.exit_code, report.problems) == (0, ())
    assert held(store) == {str(id): shares for id, shares in world.languages.items()}


def test_partial_data_with_errors_is_not_used() -> None:
    world, store = company()
    nodes = [{"id": f"{ID}1", "languages": []}]
    partial = {"data": {"projects": {"nodes": nodes}}, "errors": [{"message": "timeout"}]}
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(Fault("^/api/graphql$", faults.reply_json(200, partial)))
        run_sync(gitlab, store, MAPPING)
    assert held(store) == {str(id): shares for id, shares in world.languages.items()}


def test_a_refused_query_and_a_refused_list_hold_what_they_feed() -> None:
    world, store = company()
    run_sync(world, store, MAPPING)
    gone = next(iter(world.projects))
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(Fault("^/api/graphql$", faults.server_error()))
        gitlab.faults.append(Fault(f"^/projects/{gone}/languages$", faults.forbidden()))
        report, *_ = run_sync(gitlab, store, MAPPING)
    assert (report.exit_code, len(held(store))) == (1, 5)
