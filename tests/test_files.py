"""Kinds `file` and `folder`: what is found, how it is parsed, what it costs, and that nothing is lost to a failure."""

import json
from typing import Any

import pytest

from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_store import World
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

TOKEN = "token-of-reader"


pytestmark = pytest.mark.usefixtures("lent_evaluator")


THINGS = blueprint("thing", object="object", text="string")
FILE = {
    "identifier": '.repo.path + "/" + (.file.path // .file.file_path) | gsub("/"; ":")',
    "properties": {"object": "."},
}
FOLDER = {"identifier": '(.repo.path + "/" + .folder.path) | gsub("/"; ":")', "properties": {"object": "."}}


def small() -> World:
    """A group with a subgroup, an archived, an empty and a personal project, each with files of its own."""
    world, reader, group = acme()
    sub = world.add_group("sub", group)
    app = world.add_project(group, "app", name="The App")
    for path, text in {
        "README.md": "# App\n",
        "package.json": '{"name": "app"}',
        "conf/a.yaml": "a: 1\n",
        "conf/deep/b.yml": "- x\n- y: file://README.md\n",
        "conf/.hidden/c.yml": "c: 2024-01-02\n",
        "docs/README.md": "# Docs\n",
    }.items():
        world.set_file(app, path, text)
    world.set_file(app, "services/one/x", "1", branch="dev")
    world.set_file(app, "README.md", "# Dev\n", branch="dev")
    below = world.add_project(sub, "below", default_branch="trunk")
    world.set_file(below, "README.md", "# Below\n")
    old = world.add_project(group, "old", archived=True)
    world.set_file(old, "README.md", "# Old\n")
    world.add_project(group, "empty", empty_repo=True, default_branch=None)
    own = world.add_project(reader, "own")
    world.set_file(own, "README.md", "# Own\n")
    return world


def file(path: str, *, included: list[str] | None = None, fields: Any = None, **files: Any) -> Any:
    selector: dict[str, Any] = {"files": {"path": path, **files}}
    if included is not None:
        selector["includedFiles"] = included
    return resource("file", selector=selector, **(FILE | (fields or {})))


def folder(*folders: Any, included: list[str] | None = None, fields: Any = None) -> Any:
    selector: dict[str, Any] = {"folders": list(folders)}
    if included is not None:
        selector["includedFiles"] = included
    return resource("folder", selector=selector, **(FOLDER | (fields or {})))


def synced(world: World | GitLabServer, *resources: Any, code: int = 0, **options: Any) -> dict[str, Any]:
    """What each thing holds after a sync: its `object`."""
    report, store, _ = run_sync(world, port_with(THINGS), mapping_of(*resources), **options)
    assert report.exit_code == code, report.problems
    return {name: held[3].get("object") for name, held in store.snapshot()["thing"].items()}


def contents(found: dict[str, Any]) -> dict[str, Any]:
    return {name: row["file"]["content"] for name, row in found.items()}


def v1(world: World | GitLabServer, *resources: Any, **options: Any) -> dict[str, Any]:
    return synced(world, *resources, type="gitlab", **options)


# --- which files ---


PATTERNS = {
    "README.md": {"app:README.md", "app:docs:README.md", "below:README.md", "own:README.md"},
    "**/README.md": {"app:README.md", "app:docs:README.md", "below:README.md", "own:README.md"},
    "docs/README.md": {"app:docs:README.md"},
    "/package.json": {"app:package.json"},
    "conf/*.yaml": {"app:conf:a.yaml"},
    "conf/**/*.y*ml": {"app:conf:a.yaml", "app:conf:deep:b.yml", "app:conf:.hidden:c.yml"},
    "conf/*/*.yml": {"app:conf:deep:b.yml", "app:conf:.hidden:c.yml"},
    "{conf,docs}/**": set(),
    "nothing/here.md": set(),
}
OLD_PATTERNS = {
    "README.md": {"app:README.md", "below:README.md", "old:README.md", "own:README.md"},
    "**/README.md": {"app:README.md", "app:docs:README.md", "below:README.md", "old:README.md", "own:README.md"},
    "conf/*.y*ml": {"app:conf:a.yaml", "app:conf:deep:b.yml", "app:conf:.hidden:c.yml"},
    "{conf,docs}/*.{yaml,md}": {"app:conf:a.yaml", "app:docs:README.md"},
    "conf/[ab].yaml": {"app:conf:a.yaml"},
}


@pytest.mark.parametrize(("type", "patterns"), [("gitlab-v2", PATTERNS), ("gitlab", OLD_PATTERNS)])
def test_patterns(type: str, patterns: dict[str, set[str]]) -> None:
    def numbered(number: int, pattern: str) -> Any:
        return file(pattern, fields={"identifier": f'"{number}:" + ({FILE["identifier"]})'})

    found = synced(small(), *(numbered(*one) for one in enumerate(patterns)), type=type)
    for number, (pattern, expected) in enumerate(patterns.items()):
        mark = f"{number}:"
        assert {name.removeprefix(mark) for name in found if name.startswith(mark)} == expected, pattern


def test_projects_are_chosen_by_name_or_by_path() -> None:
    assert set(v1(small(), file("*.md", repos=["The App"]))) == {"app:README.md", "app:docs:README.md"}
    assert set(synced(small(), file("README.md", repos=["acme/sub/below", "5"]))) == {
        "below:README.md",
        "own:README.md",
    }
    assert set(synced(small(), file("README.md", repos=["acme/old"]))) == {"old:README.md"}


def test_archived_projects_are_no_part_of_a_search_in_groups() -> None:
    assert "old:README.md" not in synced(small(), file("README.md", searchStrategy="groupSearch"))
    for strategy in ("projectSearch", "repositoryTree"):
        assert "old:README.md" in synced(small(), file("README.md", searchStrategy=strategy))


def test_a_named_project_that_no_token_lists_is_asked_for() -> None:
    world = small()
    hidden = world.add_project(world.add_group("public", visibility="public"), "hidden", visibility="public")
    world.set_file(hidden, "README.md", "# Hidden\n")
    found = synced(world, file("README.md", repos=["public/hidden"]))
    assert contents(found) == {"hidden:README.md": "# Hidden\n"}
    assert found["hidden:README.md"]["repo"]["id"] == hidden["id"]
    synced(world, file("README.md", repos=["public/nowhere"]), code=1)


def test_kinds_that_walk_one_project_under_two_names_take_each_their_own() -> None:
    """GitLab does not mind the case of a path, and takes a number for it: only its answer tells that both are one."""
    world = small()
    hidden = world.add_project(world.add_group("public", visibility="public"), "hidden", visibility="public")
    world.set_file(hidden, "conf/a.yaml", "a: 1\n")
    found = synced(
        world,
        file("**/*.yaml", repos=["public/hidden"]),
        folder({"path": "**", "repos": [{"name": str(hidden["id"])}]}),
        file("**/*.yaml", repos=["acme/app"]),
    )
    assert set(found) == {"hidden:conf:a.yaml", "hidden:conf", "app:conf:a.yaml"}


# --- what a row holds ---


def test_the_row_of_gitlab_v2() -> None:
    (row,) = synced(small(), file("package.json")).values()
    assert row["file"]["content"] == {"name": "app"}
    assert {name: row["file"][name] for name in ("project_id", "path", "ref", "file_name", "size")} == {
        "project_id": "1",
        "path": "package.json",
        "ref": "main",
        "file_name": "package.json",
        "size": 15,
    }
    assert row["repo"]["path_with_namespace"] == "acme/app"
    assert "__includedFiles" not in row


def test_the_row_of_gitlab() -> None:
    (row,) = v1(small(), file("package.json")).values()
    assert row["file"]["content"] == {"name": "app"}
    assert "path" not in row["file"]
    assert row["repo"]["name"] == "The App"


def test_yaml_is_a_list_of_documents_or_the_document() -> None:
    every = file("**/*.y*ml")
    assert contents(synced(small(), every)) == {
        "app:conf:a.yaml": [{"a": 1}],
        "app:conf:deep:b.yml": ["x", {"y": "# App\n"}],
        "app:conf:.hidden:c.yml": [{"c": "2024-01-02"}],
    }
    assert contents(v1(small(), every)) == {
        "app:conf:a.yaml": {"a": 1},
        "app:conf:deep:b.yml": ["x", {"y": "file://README.md"}],
        "app:conf:.hidden:c.yml": {"c": "2024-01-02"},
    }
    assert contents(synced(small(), file("conf/a.yaml", skipParsing=True))) == {"app:conf:a.yaml": "a: 1\n"}


def test_included_files_are_texts_or_null() -> None:
    paths = ["/README.md", "package.json", "nothing.txt"]
    (row,) = synced(small(), file("conf/a.yaml", included=paths)).values()
    assert row["__includedFiles"] == {"/README.md": "# App\n", "package.json": '{"name": "app"}', "nothing.txt": None}


def test_what_is_too_large_or_no_text_comes_without_content_and_is_told() -> None:
    world = small()
    app = world.project("acme/app")
    world.set_file(app, "big.json", "[" + "1," * 600_000 + "1]")
    world.set_file(app, "image.json", b"\xff\xd8\xff")
    for type, expected in (("gitlab-v2", {"app:big.json": None, "app:image.json": None}), ("gitlab", {})):
        store = port_with(THINGS)
        report, *_ = run_sync(world, store, mapping_of(file("[bi]*.json")), type=type)
        # In `gitlab` there is no row, so what came of it before is not known to be gone.
        assert report.exit_code == (0 if type == "gitlab-v2" else 1)
        assert {
            name: held[3]["object"]["file"]["content"] for name, held in store.snapshot()["thing"].items()
        } == expected
        told = sorted(problem.why.split(" ")[0] for problem in report.problems)
        assert told == ["big.json", "image.json"]


def test_a_file_that_refers_to_far_more_text_than_it_holds_comes_without_content_and_is_told() -> None:
    world = small()
    app = world.project("acme/app")
    world.set_file(app, "long.md", "x" * 900_000)
    world.set_file(app, "big.json", json.dumps({str(number): "file://long.md" for number in range(5)}))
    store = port_with(THINGS)
    report, *_ = run_sync(world, store, mapping_of(file("big.json")))
    (held,) = store.snapshot()["thing"].values()
    assert held[3]["object"]["file"]["content"] is None
    (told,) = [problem for problem in report.problems if problem.warning]
    assert told.why == "big.json refers to more than 4 MiB of text and comes without its content"
    assert report.exit_code == 0


# --- folders ---


def test_children_of_a_folder_or_folders_that_fit() -> None:
    assert set(synced(small(), folder({"path": "conf"}))) == {"app:conf:deep", "app:conf:.hidden"}
    assert set(synced(small(), folder({"path": "conf/"}))) == {"app:conf:deep", "app:conf:.hidden"}
    assert set(synced(small(), folder({"path": ""}))) == {"app:conf", "app:docs"}
    assert set(synced(small(), folder({"path": "conf/*"}))) == {"app:conf:deep", "app:conf:.hidden"}
    assert set(synced(small(), folder({"path": "**/d*"}))) == {"app:docs", "app:conf:deep"}
    assert set(synced(small(), folder({"path": "*"}, {"path": "**"}, {"path": "conf"}))) == {
        "app:conf",
        "app:docs",
        "app:conf:deep",
        "app:conf:.hidden",
    }


def test_the_row_of_a_folder_and_its_branch() -> None:
    world = small()
    found = synced(world, folder({"path": "services", "repos": [{"name": "acme/app", "branch": "dev"}]}))
    row = found["app:services:one"]
    assert (row["__branch"], row["repo"]["path"], row["folder"]["name"]) == ("dev", "app", "one")
    assert set(row["folder"]) == {"id", "name", "type", "path", "mode"}
    with_files = folder({"path": "services", "repos": [{"name": "1", "branch": "dev"}]}, included=["README.md"])
    assert synced(world, with_files)["app:services:one"]["__includedFiles"] == {"README.md": "# Dev\n"}


def test_folders_of_gitlab_are_those_of_named_projects() -> None:
    assert v1(small(), folder({"path": "conf"})) == {}
    assert set(v1(small(), folder({"path": "conf", "repos": ["The App"]}))) == {"app:conf:deep", "app:conf:.hidden"}
    assert set(v1(small(), folder({"path": "services", "repos": ["The App"], "branch": "dev"}))) == {"app:services:one"}
    assert v1(small(), folder({"path": "con*", "repos": ["The App"]})) == {}


def test_a_branch_that_is_not_there_has_no_folders_and_is_told() -> None:
    store = port_with(THINGS)
    named = folder({"path": "", "repos": [{"name": "acme/sub/below"}]})
    report, *_ = run_sync(small(), store, mapping_of(named))
    assert report.exit_code == 0
    assert [problem.why for problem in report.problems] == ["there is no branch main, so no folders are read"]


# --- what it costs, and what fails ---


def test_each_tree_is_walked_once_for_all_resources() -> None:
    with gitlab_server(small()) as gitlab:
        wanted = (file("**/*.md"), file("conf/*.yaml", included=["README.md"]), folder({"path": "**/d*"}))
        synced(gitlab, *wanted)
        assert gitlab.count("/repository/tree") == 4  # app, below, own; and old for its folders
        read = [request.path for request in gitlab.requests if "/files/" in request.path]
        assert len(read) == len(set(read)) == 5  # four Markdown files, one of which goes beside the YAML file


def test_a_plain_path_is_asked_for_without_a_tree() -> None:
    with gitlab_server(small()) as gitlab:
        assert set(synced(gitlab, file("docs/README.md"))) == {"app:docs:README.md"}
        assert gitlab.count("/repository/tree") == 0
        assert gitlab.count("/repository/files/") == 3


def test_a_long_tree_is_read_to_its_end() -> None:
    world = small()
    app = world.project("acme/app")
    for number in range(250):
        world.set_file(app, f"many/{number:03}/same.txt", "the same text\n")
    assert len(synced(world, file("many/**/same.txt"))) == 250


FAULTS = {
    "forbidden": faults.forbidden(),
    "missing without words": faults.Reply(404, b"<html>", content_type="text/html"),
}


@pytest.mark.parametrize("where", ["/repository/tree", "/repository/files/"])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_not_read_is_not_deleted(fault: str, where: str) -> None:
    world, store = small(), port_with(THINGS)
    mapping = mapping_of(file("**/*.md"), folder({"path": "*"}, fields={"identifier": '"f:" + .folder.path'}))
    run_sync(world, store, mapping)
    before = store.snapshot()
    world.remove_file(world.project("acme/app"), "docs/README.md")
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(Fault(f"/projects/1{where}", FAULTS[fault]))
        report, *_ = run_sync(gitlab, store, mapping)
    assert report.exit_code == 1
    assert store.snapshot().keys() == before.keys()
    assert set(store.snapshot()["thing"]) == set(before["thing"])


@pytest.mark.parametrize("message", ["404 Not Found", "404 Not found", "no such file"])
def test_a_404_in_other_words_counts_when_the_folder_does_not_list_the_file(message: str) -> None:
    """Only then: a file that its folder lists was not read."""
    paths = ["docs/gone.md", "gone/too.md", "gone.md"]
    with gitlab_server(small()) as gitlab:
        gitlab.faults.append(Fault(r"/files/(docs/)?gone", faults.reply_json(404, {"message": message})))
        found = synced(gitlab, file("package.json", included=paths, repos=["acme/app"]))
        assert found["app:package.json"]["__includedFiles"] == dict.fromkeys(paths)
        gitlab.faults.append(Fault(r"/files/docs/README\.md", faults.reply_json(404, {"message": message})))
        synced(gitlab, file("package.json", included=["docs/README.md"], repos=["acme/app"]), code=1)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (faults.not_found(), 1),
        (faults.forbidden(), 1),
        (faults.Reply(404, b"<html>", content_type="text/html"), 1),
        (faults.reply_json(404, {"message": "404 invalid revision or path Not Found"}), 0),
    ],
)
def test_a_folder_is_absent_only_in_words_about_its_path(answer: faults.Reply, code: int) -> None:
    with gitlab_server(small()) as gitlab:
        gitlab.faults.append(Fault(lambda request: "path" in dict(request.query), answer))
        assert synced(gitlab, folder({"path": "conf"}), code=code) == {}


def test_a_file_that_is_gone_is_deleted_and_search_has_no_say() -> None:
    world, store = small(), port_with(THINGS)
    mapping = mapping_of(file("**/*.md", searchStrategy="groupSearch"))
    run_sync(world, store, mapping)
    world.unindexed.update(project for project in world.projects)
    world.remove_file(world.project("acme/app"), "docs/README.md")
    report, *_ = run_sync(world, store, mapping)
    assert report.exit_code == 0
    assert set(store.snapshot()["thing"]) == {"app:README.md", "below:README.md", "own:README.md"}


def test_a_file_that_fails_costs_no_other_one_its_row() -> None:
    with gitlab_server(small()) as gitlab:
        gitlab.faults.append(Fault(r"/files/README\.md", faults.forbidden()))
        found = synced(gitlab, file("**/*.md", repos=["acme/app"]), code=1)
    assert set(found) == {"app:docs:README.md"}
