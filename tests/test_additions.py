"""What is added to rows: included files, searches, and Ocean's older `file://` and `search://` properties."""

from typing import Any

import pytest

from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_store import World
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

THINGS = blueprint("thing", object="object", text="string", flag="boolean")


pytestmark = pytest.mark.usefixtures("lent_evaluator")


def small() -> World:
    """Two projects with files, one with nothing in it."""
    world, _, group = acme()
    app = world.add_project(group, "app")
    world.set_file(app, "README.md", "# App\nIt is written in Go.\n")
    world.set_file(app, "docs/a/README.md", "# About a\n")
    world.set_file(app, "docs/b/notes.txt", "Notes on Go\n")
    world.set_file(app, "docs/a/README.md", "# On dev\n", branch="dev")
    world.set_file(world.add_project(group, "tool"), "main.rs", "fn main() {}\n")
    world.add_project(group, "empty", empty_repo=True, default_branch=None)
    world.add_merge_request(app, "Change")
    return world


def synced(world: World | GitLabServer, *resources: Any, code: int = 0, **options: Any) -> dict[str, Any]:
    """What each thing holds after a sync: its properties."""
    report, store, _ = run_sync(world, port_with(THINGS), mapping_of(*resources), **options)
    assert report.exit_code == code, report.problems
    return {name: held[3] for name, held in store.snapshot()["thing"].items()}


def projects(*, selector: Any = None, **properties: str) -> Any:
    return resource("project", identifier=".path", selector=selector or {}, properties=properties)


# --- selectors of `project`


def test_included_files_of_projects() -> None:
    selector = {"includedFiles": ["README.md", "/main.rs"]}
    found = synced(small(), projects(selector=selector, object=".__includedFiles"))
    assert {name: held["object"] for name, held in found.items()} == {
        "app": {"README.md": "# App\nIt is written in Go.\n", "/main.rs": None},
        "tool": {"README.md": None, "/main.rs": "fn main() {}\n"},
        "empty": {"README.md": None, "/main.rs": None},
    }


def test_search_queries_of_projects() -> None:
    selector = {
        "searchQueries": [{"name": "go", "query": "go"}, {"name": "mr", "scope": "merge_requests", "query": "change"}]
    }
    found = synced(small(), projects(selector=selector, object=".__searchQueries"))
    assert {name: held["object"] for name, held in found.items()} == {
        "app": {"go": True, "mr": True},
        "tool": {"go": False, "mr": False},
        "empty": {"go": False, "mr": False},
    }


def test_a_search_that_gitlab_refuses_is_null_and_told() -> None:
    selector = {"searchQueries": [{"name": "odd", "scope": "nothing", "query": "go"}]}
    store = port_with(THINGS)
    report, *_ = run_sync(small(), store, mapping_of(projects(selector=selector, object=".__searchQueries")))
    assert (report.exit_code, {problem.warning for problem in report.problems}) == (0, {True})
    assert store.snapshot()["thing"]["app"][3] == {"object": {"odd": None}}


FAILED_SEARCH = faults.reply_json(400, {"message": "400 Bad request - the search engine did not answer"})


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        *((where, fault) for where in ("/repository/files/", "/search") for fault in (
            faults.forbidden(), faults.login_page(), faults.reply_json(404, {})
        )),
        ("/search", faults.gateway_list()),
        ("/search", FAILED_SEARCH),
    ],
)  # fmt: skip
def test_an_addition_that_fails_changes_nothing_in_port(where: str, fault: faults.Reply) -> None:
    selector = {"includedFiles": ["README.md"], "searchQueries": [{"name": "go", "query": "go"}]}
    mapping = mapping_of(projects(selector=selector, object="{a: .__includedFiles, b: .__searchQueries}"))
    world, store = small(), port_with(THINGS)
    run_sync(world, store, mapping)
    before = store.snapshot()
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(Fault(f"/projects/1{where}", fault))
        report, *_ = run_sync(gitlab, store, mapping)
    assert report.exit_code == 1
    assert store.snapshot() == before


# --- older properties

GO = "search://scope=blobs&&query=go"


@pytest.mark.parametrize("type", ["gitlab", "gitlab-v2"])
def test_files_and_searches_of_projects(type: str) -> None:
    found = synced(small(), projects(text="file://README.md", flag=GO), type=type)
    assert found == {
        "app": {"text": "# App\nIt is written in Go.\n", "flag": True},
        "tool": {"flag": False},
        "empty": {"flag": False},
    }


@pytest.mark.parametrize("type", ["gitlab", "gitlab-v2"])
def test_files_and_searches_of_folders(type: str) -> None:
    """Ocean's `gitlab` looks in the folder, `gitlab-v2` from the repository's root."""
    named = {"path": "docs", "repos": ["app"] if type == "gitlab" else [{"name": "acme/app"}]}
    folders = resource(
        "folder",
        identifier=".folder.name",
        selector={"folders": [named]},
        properties={"text": "file://README.md", "flag": GO},
    )
    app = "# App\nIt is written in Go.\n"
    assert synced(small(), folders, type=type) == {
        "a": {"text": "# About a\n", "flag": False} if type == "gitlab" else {"text": app, "flag": True},
        "b": {"flag": True} if type == "gitlab" else {"text": app, "flag": True},
    }


def test_a_folders_branch_counts() -> None:
    folders = resource(
        "folder",
        identifier=".folder.name",
        selector={"folders": [{"path": "docs", "repos": ["app"], "branch": "dev"}]},
        properties={"text": "file://README.md"},
    )
    assert synced(small(), folders, type="gitlab") == {"a": {"text": "# On dev\n"}}


@pytest.mark.parametrize(
    ("text", "flags"),
    {
        "search:// scope = blobs && query = main ": {"gitlab-v2": (False, True), "gitlab": (None, None)},
        "search://query=main&&scope=blobs": {"gitlab-v2": (False, True), "gitlab": (None, None)},
        "search://scope=blobs": {"gitlab-v2": (None, None), "gitlab": (None, None)},
        "search://scope=merge_requests&&query=change": {"gitlab-v2": (True, False), "gitlab": (True, False)},
    }.items(),
)
def test_spellings_of_searches(text: str, flags: dict[str, Any]) -> None:
    for type, expected in flags.items():
        found = synced(small(), projects(flag=text), type=type)
        assert tuple(found[name].get("flag") for name in ("app", "tool")) == expected, type


def test_rows_that_are_no_project_have_no_files() -> None:
    rows = resource("merge-request", identifier=".iid | tostring", properties={"text": "file://README.md"})
    groups = resource("group", identifier=".path", properties={"text": "file://README.md", "flag": GO})
    with gitlab_server(small()) as gitlab:
        assert synced(gitlab, rows, groups) == {"1": {}, "acme": {}}
        assert gitlab.count("/repository/") + gitlab.count("/search") == 0


def test_parsed_items_have_older_properties_too_and_jq_sees_nothing_of_them() -> None:
    items = resource(
        "project",
        port={"itemsToParse": ".topics"},
        identifier=".item",
        properties={"text": "file://main.rs", "object": 'del(.item) | {has: has("__legacy")}'},
    )
    world = small()
    world.project("acme/tool")["topics"] = ["one", "two"]
    expected = {"text": "fn main() {}\n", "object": {"has": False}}
    assert synced(world, items) == {"one": expected, "two": expected}


def test_each_file_is_read_once_for_all_fields_and_resources() -> None:
    more = resource(
        "project", identifier='.path + "-2"', title="file://README.md", properties={"text": "file://README.md"}
    )
    with gitlab_server(small()) as gitlab:
        synced(gitlab, projects(text="file://README.md"), more)
        assert gitlab.count("/repository/files/") == 2


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("fault", [faults.forbidden(), faults.login_page(), faults.server_error()])
def test_a_property_that_fails_is_left_as_it_is_in_port(fault: faults.Reply, merge: bool) -> None:
    world, store = small(), port_with(THINGS)
    mapping = mapping_of(
        resource("project", identifier=".path", title=".name", properties={"text": "file://README.md", "flag": GO}),
        enableMergeEntity=merge,
    )
    run_sync(world, store, mapping)
    world.rename_project(world.project("acme/app"), name="The App")
    world.delete_project(world.project("acme/tool"))
    before = store.snapshot()["thing"]
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(Fault("/projects/1/(repository/files|search)", fault))
        report, *_ = run_sync(gitlab, store, mapping)
    after = store.snapshot()["thing"]
    assert report.exit_code == 1
    assert after.keys() == before.keys()
    assert after["app"][3] == before["app"][3]
    assert after["app"][0] == ("The App" if merge else "app")
