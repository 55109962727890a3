"""The stand-in GitLab's lists of refs, releases, environments, deployments and milestones behave as real ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.gitlab_kinds.milestone import add_milestone
from gitlab_port_export.demo.world import GUEST, REPORTER, Row, World
from test_demo_gitlab import NOW, Reader


@contextmanager
def reading(world: World, token: str = "t") -> Iterator[Reader]:
    with gitlab_server(world) as server:
        reader = Reader(server, token)
        with reader.session:
            yield reader


def small(level: int = REPORTER, **project: Any) -> tuple[World, Row, Row]:
    """A group with a project, and the token "t" of a member of the group."""
    world = World(NOW)
    world.add_token("t", world.add_user("reader"))
    group = world.add_group("g")
    world.add_member(group, world.users[1], level)
    return world, group, world.add_project(group, "p", **project)


def test_refs_come_by_name_and_a_full_page_names_the_next() -> None:
    world, _, project = small()
    for number in (3, 1, 2):
        lists.add_branch(world, project, f"b{number}")
    with reading(world) as reader:
        path = f"/projects/{project['id']}/repository/branches"
        first = reader.get(path, pagination="keyset", per_page=2)
        second = reader.get(first.links["next"]["url"])
        exact = reader.get(path, pagination="keyset", per_page=3)
        last = reader.get(exact.links["next"]["url"])
        assert reader.get(path, pagination="keyset", page_token="nothing").status_code == 404
    assert [row["name"] for row in (*first.json(), *second.json())] == ["b1", "b2", "b3"]
    assert "X-Total" not in first.headers
    assert "Link" not in second.headers
    assert (last.json(), "Link" in last.headers) == ([], False)


def test_the_first_page_of_refs_by_number_always_names_a_second() -> None:
    world, _, project = small()
    lists.add_tag(world, project, "v1")
    with reading(world) as reader:
        path = f"/projects/{project['id']}/repository/tags"
        first, second = reader.get(path), reader.get(path, page=2)
    assert [first.headers[name] for name in ("X-Next-Page", "X-Total", "X-Total-Pages")] == ["2", "1", "1"]
    assert (second.json(), second.headers["X-Next-Page"]) == ([], "")


def test_a_filter_gives_every_branch_at_once_and_a_full_page_links_to_itself() -> None:
    world, _, project = small()
    for number in range(5):
        lists.add_branch(world, project, f"release/{number}")
    lists.add_branch(world, project, "main")
    with reading(world) as reader:
        path = f"/projects/{project['id']}/repository/branches"

        def names(**params: Any) -> list[str]:
            return [row["name"] for row in reader.get(path, **params).json()]

        whole = reader.get(path, pagination="keyset", regex="^release/", per_page=5)
        assert reader.get(whole.links["next"]["url"]).json() == whole.json()
        assert reader.get(path, regex="^release/", per_page=5, page=2).json() == []
        assert len(names(pagination="keyset", search="release", per_page=2)) == 5
        assert names(search="^rel") == names(regex="release/[0-9]") == [f"release/{n}" for n in range(5)]
        assert names(search="in$") == names(search="AI") == ["main"]
        assert reader.get(path, regex="(").status_code == 400


def test_every_project_with_code_has_its_default_branch() -> None:
    world, group, project = small(default_branch="größe/1")
    empty = world.add_project(group, "empty", empty_repo=True)
    with reading(world) as reader:
        path = f"/projects/{project['id']}/repository/branches"
        assert reader.get(f"{path}/gr%C3%B6%C3%9Fe%2F1").json() == reader.get(path).json()[0]
        assert reader.get(f"{path}/main").json() == {"message": "404 Branch Not Found"}
        assert reader.get(f"/projects/{empty['id']}/repository/branches").json() == []


def test_guests_are_refused_code_and_deployments_and_shown_releases_without_tags() -> None:
    world, _, project = small(GUEST)
    lists.fill_lists(world, project, world.users[1])
    with reading(world) as reader:
        for name in ("repository/branches", "repository/tags", "environments", "deployments"):
            assert reader.get(f"/projects/{project['id']}/{name}").status_code == 403
        releases = reader.get(f"/projects/{project['id']}/releases").json()
        assert [("tag_name" in row, "released_at" in row) for row in releases] == [(False, True)] * 2
        assert len(reader.rows(f"/projects/{project['id']}/milestones")) == 1


@pytest.mark.parametrize(
    ("feature", "refused"),
    [
        ("repository", {"repository/branches", "repository/tags", "environments", "deployments"}),
        ("builds", {"environments", "deployments"}),
        ("environments", {"environments", "deployments"}),
        ("releases", {"releases"}),
        ("issues", set()),
    ],
)
def test_what_is_switched_off_is_refused(feature: str, refused: set[str]) -> None:
    world, _, project = small(**{f"{feature}_access_level": "disabled"})
    every = ("repository/branches", "repository/tags", "releases", "environments", "deployments", "milestones")
    with reading(world) as reader:
        found = {name for name in every if reader.get(f"/projects/{project['id']}/{name}").status_code == 403}
    assert found == refused


def test_windows_of_deployments_must_be_their_order() -> None:
    world, _, project = small()
    production = lists.add_environment(world, project, "production")
    for days, status in ((9, "success"), (5, "failed"), (1, "success")):
        lists.add_deployment(world, project, production, None, status, world.ago(days=days))
    since = world.ago(days=6).isoformat()
    with reading(world) as reader:
        path = f"/projects/{project['id']}/deployments"
        refused = (
            {"updated_after": since},
            {"order_by": "updated_at"},
            {"finished_after": since, "order_by": "finished_at"},
            {"finished_after": since, "status": "success"},
            {"finished_after": since, "updated_after": since, "order_by": "finished_at", "status": "success"},
        )
        assert [reader.get(path, **query).status_code for query in refused] == [400] * len(refused)

        def asked(**query: Any) -> list[int]:
            return [row["id"] for row in reader.rows(path, **query)]

        assert asked() == [1, 2, 3]
        assert asked(updated_after=since, order_by="updated_at", sort="desc") == [3, 2]
        assert asked(finished_after=since, order_by="finished_at", status="success") == [3]
        assert asked(environment="production", status="failed") == [2]
        assert asked(environment="staging") == []
        assert "finished_at" not in reader.rows(path)[0]


def test_environments_by_state_and_milestones_by_level() -> None:
    world, group, project = small()
    below = world.add_group("below", group)
    for state in ("available", "stopped"):
        lists.add_environment(world, project, state, state=state)
    add_milestone(world, project, "own")
    add_milestone(world, group, "shared", "closed")
    add_milestone(world, below, "deep")
    with reading(world) as reader:

        def titles(path: str, **query: Any) -> set[str]:
            return {row.get("title") or row["name"] for row in reader.rows(path, **query)}

        assert titles(f"/projects/{project['id']}/environments") == {"available", "stopped"}
        assert titles(f"/projects/{project['id']}/environments", states="stopped") == {"stopped"}
        assert reader.get(f"/projects/{project['id']}/environments", states="gone").status_code == 400
        assert titles(f"/projects/{project['id']}/milestones") == {"own"}
        assert titles(f"/projects/{project['id']}/milestones", include_ancestors=True) == {"own", "shared"}
        assert titles("/groups/g/milestones") == {"shared"}
        assert titles("/groups/g/milestones", state="active") == set()
        assert titles("/groups/g/milestones", include_descendants=True) == {"shared", "deep"}
        assert titles("/groups/g%2Fbelow/milestones", include_ancestors=True) == {"shared", "deep"}
