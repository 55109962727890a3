"""The stand-in's repositories: trees, files and searches answer as GitLab's do."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.world import MAINTAINER, World
from testbed.harness import acme

TOKEN = "token-of-reader"


@pytest.fixture
def world() -> World:
    world, _, group = acme(role=MAINTAINER)
    app = world.add_project(group, "app")
    for path in ("README.md", "a/b/one.yaml", "a/b/two.yaml", "a/three.json", "z.txt"):
        world.set_file(app, path, f"name of {path}\n\n\n\nname again\n")
    world.set_file(app, "only/here.md", "dev", branch="dev")
    world.add_project(group, "empty", empty_repo=True, default_branch=None)
    return world


@pytest.fixture
def gitlab(world: World) -> Iterator[GitLabServer]:
    with gitlab_server(world) as server:
        yield server


def ask(server: GitLabServer, path: str, /, **params: Any) -> requests.Response:
    headers = {"PRIVATE-TOKEN": TOKEN}
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{server.url}/api/v4{path}", params=params, headers=headers, timeout=10)


def paths(response: requests.Response) -> list[str]:
    return [row["path"] for row in response.json()]


def test_a_tree_lists_one_directory_or_everything_below_it(gitlab: GitLabServer) -> None:
    tree = "/projects/acme%2Fapp/repository/tree"
    assert paths(ask(gitlab, tree)) == ["a", "README.md", "z.txt"]
    assert paths(ask(gitlab, tree, path="a")) == ["a/b", "a/three.json"]
    assert paths(ask(gitlab, tree, path="a", recursive="true")) == [
        "a/b",
        "a/b/one.yaml",
        "a/b/two.yaml",
        "a/three.json",
    ]
    assert paths(ask(gitlab, tree, ref="dev")) == ["only"]


@pytest.mark.parametrize(
    ("project", "params"),
    [("app", {"path": "nowhere"}), ("app", {"ref": "nowhere"}), ("empty", {}), ("nowhere", {})],
)
def test_what_has_no_tree_is_not_found(gitlab: GitLabServer, project: str, params: dict[str, str]) -> None:
    assert ask(gitlab, f"/projects/acme%2F{project}/repository/tree", **params).status_code == 404


def test_a_tree_is_paged_by_token_and_a_full_page_names_a_next_one(gitlab: GitLabServer) -> None:
    tree = "/projects/acme%2Fapp/repository/tree"
    query: dict[str, str] = {"recursive": "true", "per_page": "2", "pagination": "keyset"}
    seen: list[str] = []
    while True:
        answer = ask(gitlab, tree, **query)
        seen += paths(answer)
        if "next" not in answer.links:
            break
        query["page_token"] = seen[-1]
        assert "page_token" in answer.links["next"]["url"]
    assert seen == ["a", "a/b", "README.md", "a/b/one.yaml", "a/b/two.yaml", "a/three.json", "z.txt"]
    assert ask(gitlab, tree, pagination="keyset", page_token="nowhere").status_code == 404
    first = ask(gitlab, tree)
    assert first.headers["X-Next-Page"] == "2"
    assert ask(gitlab, tree, page="2").json() == []


def test_a_file_comes_in_base64_or_raw_and_head_gives_its_size(gitlab: GitLabServer) -> None:
    file = "/projects/acme%2Fapp/repository/files/a%2Fthree.json"
    found = ask(gitlab, file, ref="main").json()
    assert base64.b64decode(found["content"]) == ask(gitlab, f"{file}/raw").content
    assert (found["file_path"], found["ref"]) == ("a/three.json", "main")
    assert ask(gitlab, f"{file}/raw").headers["X-Gitlab-Size"] == str(found["size"])
    assert ask(gitlab, file).status_code == 400
    assert ask(gitlab, file, ref="dev").status_code == 404


def found(server: GitLabServer, search: str, place: str = "projects/acme%2Fapp", **params: Any) -> list[str]:
    return paths(ask(server, f"/{place}/search", scope="blobs", search=search, **params))


def test_a_search_gives_a_row_for_each_place_and_knows_filters(gitlab: GitLabServer) -> None:
    assert found(gitlab, "three.json filename:three.json") == ["a/three.json"]
    assert found(gitlab, "name filename:three.json") == ["a/three.json", "a/three.json"]
    assert found(gitlab, "path:a/b/*.yaml") == ["a/b/one.yaml", "a/b/two.yaml"]
    assert found(gitlab, "readme", "groups/acme") == ["README.md"]
    assert found(gitlab, "nowhere") == []


def test_a_search_is_no_proof_of_absence(world: World, gitlab: GitLabServer) -> None:
    world.search_cap = 1
    assert found(gitlab, "name") == ["README.md"]
    world.unindexed.add(world.project("acme/app")["id"])
    assert found(gitlab, "name") == []


def test_a_group_without_advanced_search_refuses(world: World, gitlab: GitLabServer) -> None:
    world.advanced_search = False
    refused = ask(gitlab, "/groups/acme/search", scope="blobs", search="name")
    assert (refused.status_code, "advanced search" in refused.json()["message"]) == (400, True)
    assert ask(gitlab, "/projects/acme%2Fapp/search", scope="blobs").status_code == 400


def test_other_scopes_search_titles(world: World, gitlab: GitLabServer) -> None:
    world.add_issue(world.project("acme/app"), "A leak")
    issues = ask(gitlab, "/projects/acme%2Fapp/search", scope="issues", search="LEAK").json()
    assert [row["title"] for row in issues] == ["A leak"]
    assert ask(gitlab, "/groups/acme/search", scope="merge_requests", search="leak").json() == []
