"""What GitLab hides from low roles without a word: the code of a project, confidential issues."""

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen

import pytest

from gitlab_port_export.demo.gitlab import Fault, GitLabServer, faults, gitlab_server
from gitlab_port_export.demo.gitlab_access import GUEST, OWNER
from gitlab_port_export.demo.gitlab_store import World
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

TOKEN = "token-of-reader"
PATH = '(.repo.path + "/" + (.file.path // .file.file_path // .folder.path // .skill.skillMdPath)) | gsub("/"; ":")'
SEARCH = {"searchQueries": [{"name": "go", "query": "go"}]}

pytestmark = pytest.mark.usefixtures("lent_evaluator")


def small() -> World:
    world, _, group = acme()
    for name in ("app", "tool"):
        project = world.add_project(group, name)
        for path in ("README.md", "docs/a/README.md", "skills/go/SKILL.md"):
            world.set_file(project, path, "Write it in Go.\n")
        world.set_file(project, ".claude-plugin/plugin.json", '{"name": "helper"}')
    world.set_file(world.project("acme/app"), "port.yml", "{identifier: held, blueprint: thing}")
    return world


def hide_default_branch(gitlab: GitLabServer, name: str) -> None:
    """List the projects as GitLab does to who may not read the code of one."""
    asked = Request(f"{gitlab.url}/api/v4/projects", headers={"Authorization": f"Bearer {TOKEN}"})
    with urlopen(asked) as answer:
        rows = json.loads(answer.read())
    for row in rows:
        if row["path"] == name:
            del row["default_branch"]
    gitlab.faults.append(Fault("^/projects$", faults.reply_json(200, rows, ("X-Next-Page", ""))))


WAYS = {
    "file": resource("file", identifier=PATH, selector={"files": {"path": "README.md"}}),
    "folder": resource("folder", identifier=PATH, selector={"folders": [{"path": "docs", "repos": ["app", "tool"]}]}),
    "skill": resource("skill", identifier=PATH),
    "plugin": resource("plugin", identifier=".repo.path"),
    "files": resource(
        "project", identifier=".path", selector={"includedFiles": ["README.md"]},
        properties={"object": ".__includedFiles"},
    ),
    "searches": resource(
        "project", identifier=".path", selector=SEARCH, properties={"object": ".__searchQueries"}
    ),
    "older file": resource("project", identifier=".path", properties={"text": "file://README.md"}),
    "older search": resource("project", identifier=".path", properties={"flag": "search://scope=blobs&&query=go"}),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_code_that_is_hidden_is_not_gone(way: str) -> None:
    store, type = port_with(blueprint("thing", object="object", text="string", flag="boolean")), "gitlab-v2"
    if way == "folder":
        type = "gitlab"  # there a folder's branch is the default one
    mapping = mapping_of(WAYS[way])
    with gitlab_server(small()) as gitlab:
        assert run_sync(gitlab, store, mapping, type=type).report.exit_code == 0
        before = store.snapshot()
        assert before["thing"]
        hide_default_branch(gitlab, "app")
        report, *_ = run_sync(gitlab, store, mapping, type=type)
    assert store.snapshot() == before
    assert "GitLab hides the project's default branch" in " ".join(problem.why for problem in report.problems)
    assert report.exit_code == 1


def test_files_of_gitops_that_are_hidden_hold_all_deletions() -> None:
    world, store = small(), port_with(blueprint("thing"))
    mapping: Any = mapping_of(resource("project", identifier=".path"), specPath="port.yml")
    assert run_sync(world, store, mapping).report.exit_code == 0
    world.delete_project(world.project("acme/tool"))
    with gitlab_server(world) as gitlab:
        hide_default_branch(gitlab, "app")
        report, *_ = run_sync(gitlab, store, mapping)
    assert (report.exit_code, set(store.snapshot()["thing"])) == (1, {"app", "held", "tool"})


def test_what_a_guest_is_shown_does_not_stand_in_for_what_the_owner_was_refused() -> None:
    world, store = World(datetime.now(UTC)), port_with(blueprint("thing"))
    app = world.add_project(world.add_group("acme"), "app")
    for name, role in (("owner", OWNER), ("guest", GUEST)):
        user = world.add_user(name)
        world.add_token(f"token-of-{name}", user)
        world.add_member(app, user, role)
    world.add_issue(app, "open")
    world.add_issue(app, "secret", confidential=True)
    mapping = mapping_of(
        resource("issue", identifier=".iid | tostring"), visibility={"useMinAccessLevel": False}
    )  # fmt: skip
    store.clock = lambda: time.time() - 3600
    with gitlab_server(world) as gitlab:
        assert run_sync(gitlab, store, mapping).report.exit_code == 0
        store.clock = time.time
        refused = Fault(lambda asked: asked.path.endswith("/issues") and "owner" in asked.token, faults.server_error())
        gitlab.faults.append(refused)
        report, *_ = run_sync(gitlab, store, mapping)
    assert (report.exit_code, set(store.snapshot()["thing"])) == (1, {"1", "2"})
