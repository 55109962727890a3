"""Kinds `skill` and `plugin`: what is found, what a row tells, what it costs, and that a failure deletes nothing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.gitlab.kinds.plugin import plugin_of
from gitlab_port_export.gitlab.kinds.skill import USUAL, parted, root_of, skill_of
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync
from testbed.parity import read_twice

TOKEN = "token-of-reader"
THINGS = blueprint("thing", object="object")
SKILL = {"identifier": '(.repo.path + "/" + .skill.skillMdPath) | gsub("/"; ":")', "properties": {"object": "."}}
PLUGIN = {"identifier": ".repo.path", "properties": {"object": "."}}
FRONT = "---\nname: Ship it\ndescription: How we ship\nsince: 2026-01-02\n---\n\n# Steps\n"


pytestmark = pytest.mark.usefixtures("lent_evaluator")


@pytest.fixture
def world() -> World:
    """A group with a project that has skills, two that are plugins, one with neither, and one without anything."""
    world, _, group = acme()
    app = world.add_project(group, "app", name="The App", default_branch="trunk")
    for path in (
        ".agents/skills/ship/SKILL.md",
        ".agents/skills/deep/er/SKILL.md",
        "skills/SKILL.md",
        "tools/lint/SKILL.md",
        "tools/Case/skill.md",
        ".claude/settings.json",
        "README.md",
    ):
        world.set_file(app, path, FRONT if path.endswith("ship/SKILL.md") else f"# {path}\n")
    both = world.add_project(group, "both", name="Both Worlds")
    world.set_file(both, ".claude-plugin/marketplace.json", json.dumps({"name": "m", "plugins": [{"name": "c"}]}))
    world.set_file(both, ".cursor-plugin/plugin.json", '{"name": "cur", "displayName": "Cursor One", "version": "1.2"}')
    world.set_file(both, ".pi/extensions/any.ts", "x")
    pi = world.add_project(group, "pi", name="Pi")
    world.set_file(pi, ".pi/extensions/deep/any.ts", "x")
    world.set_file(pi, "gemini-extension.json", '{"name": "  ", "description": "file://about.txt"}')
    world.set_file(pi, "about.txt", "About")
    world.set_file(pi, ".kimi-plugin/plugin.json", "[1]")
    plain = world.add_project(group, "plain")
    world.set_file(plain, "README.md", "#")
    world.add_project(group, "empty", empty_repo=True, default_branch=None)
    return world


def skill(**selector: Any) -> Any:
    return resource("skill", selector=selector, **SKILL)


def plugin(**selector: Any) -> Any:
    return resource("plugin", selector=selector, **PLUGIN)


def synced(world: World | GitLabServer, *resources: Any, code: int = 0, **options: Any) -> dict[str, Any]:
    report, store, gitlab = run_sync(world, port_with(THINGS), mapping_of(*resources), **options)
    assert report.exit_code == code, report.problems
    assert read_twice(gitlab) == []
    return {name: held[3]["object"] for name, held in store.snapshot()["thing"].items()}


def both_types(world: World, *resources: Any) -> dict[str, Any]:
    found = synced(world, *resources)
    assert synced(world, *resources, type="gitlab").keys() == found.keys()
    return found


# Skills


def test_the_usual_folders_are_looked_into(world: World) -> None:
    found = both_types(world, skill())
    assert set(found) == {
        "app:.agents:skills:ship:SKILL.md",
        "app:.agents:skills:deep:er:SKILL.md",
        "app:skills:SKILL.md",
    }
    row = found["app:.agents:skills:ship:SKILL.md"]
    assert row["skill"] == {
        "name": "Ship it",
        "description": "How we ship",
        "instructions": "# Steps\n",
        "frontmatter": {"name": "Ship it", "description": "How we ship", "since": "2026-01-02"},
        "path": ".agents/skills/ship",
        "skillMdPath": ".agents/skills/ship/SKILL.md",
        "root": ".agents/skills",
    }
    assert row["repo"]["path_with_namespace"] == "acme/app"
    assert row["__branch"] == "trunk"


@pytest.mark.parametrize(
    ("path", "found"),
    {
        "tools/**/SKILL.md": {"tools:lint:SKILL.md"},
        # First a pattern has to mean the path as it is written, and so it does with an asterisk.
        "tools/*/*.md": {"tools:lint:SKILL.md", "tools:Case:skill.md"},
        "tools/lint/SKILL.md": {"tools:lint:SKILL.md"},
        "tools/none/SKILL.md": set(),
        "nowhere/x/SKILL.md": set(),
        "**/SKILL.md": {
            "tools:lint:SKILL.md",
            "skills:SKILL.md",
            ".agents:skills:ship:SKILL.md",
            ".agents:skills:deep:er:SKILL.md",
        },
        "*.md": set(),
        "**/*.json": set(),
    }.items(),
)
def test_patterns(world: World, path: str, found: set[str]) -> None:
    assert set(synced(world, skill(paths=[{"path": path}]))) == {f"app:{one}" for one in found}


def test_paths_of_some_projects(world: World) -> None:
    other = world.project("acme/plain")
    world.set_file(other, "tools/x/SKILL.md", "x")
    world.set_file(other, "more/SKILL.md", "x")
    only = {"path": "tools/**/SKILL.md", "repos": ["acme/app"]}
    assert set(synced(world, skill(paths=[only]))) == {"app:tools:lint:SKILL.md"}
    found = synced(world, skill(paths=[only, {"path": "more/**/SKILL.md"}]))
    assert set(found) == {"app:tools:lint:SKILL.md", "plain:more:SKILL.md"}
    assert set(synced(world, skill(paths=[{**only, "repos": ["plain"]}]), type="gitlab")) == {"plain:tools:x:SKILL.md"}


def test_what_the_root_does_not_show_costs_nothing(world: World) -> None:
    with gitlab_server(world) as gitlab:
        synced(gitlab, skill(), plugin())
        # Four roots (nothing is asked of an empty repository); .agents, .claude and skills of one project, .pi of two;
        # and that .claude/skills is not there is told apart from a repository that cannot be read.
        assert gitlab.count("/repository/tree") == 4 + 3 + 2 + 1
        # Three skills; two manifests of claude, of which one is there, and cursor's; gemini's, what it names, and
        # kimi's; and one more of agents, whose folder the first project has for its skills.
        assert gitlab.count("/repository/files") == 3 + 3 + 3 + 1


def test_equal_resources_share_what_they_read(world: World) -> None:
    with gitlab_server(world) as gitlab:
        synced(gitlab, skill(), skill(), plugin(), plugin(providers=["pi"]))
        assert gitlab.count("/repository/") == 10 + 10


@pytest.mark.parametrize(
    ("text", "front", "body"),
    [
        ("# Plain\n", {}, "# Plain\n"),
        ("---\nname: a\n---\n\n\nBody", {"name": "a"}, "Body"),
        ("---\r\nname: a\r\n---\r\nBody\r\n", {"name": "a"}, "Body\n"),
        ("---\nname: a\n", {}, "---\nname: a\n"),
        ("---\n---\nBody", {}, "Body"),
        ("--- name: a --- Body", {"name": "a"}, " Body"),
        ("---\n[: bad\n---\nBody", {}, "Body"),
        ("---\n- a: 1\n---\nBody", {}, "Body"),
        ("---\njust text\n---\nBody", {}, "Body"),
        ("---\nname: !!python/object/apply:os.system [ls]\n---\nBody", {}, "Body"),
        ("---\nwhen: 2024-13-45\n---\nBody", {"when": "2024-13-45"}, "Body"),
        ("---\na: a---b\nc: 1\n---\nBody", {"a": "a"}, "b\nc: 1\n---\nBody"),
    ],
)
def test_front_matter(text: str, front: Row, body: str) -> None:
    assert parted(text) == (front, body)


def test_front_matter_is_bounded() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert parted(f"---\n{bomb}---\nBody") == ({}, "Body")
    assert parted(f"---\n{'[' * 5000}\n---\nBody") == ({}, "Body")


def test_a_skill_without_a_name_is_called_as_its_folder() -> None:
    patterns = tuple(entry.path for entry in USUAL)
    for front in ("", "---\nname: ' '\n---\n", "---\nname: 7\ndescription: [x]\n---\n"):
        row = skill_of("skills/ship/SKILL.md", front, patterns)
        assert (row["name"], row["description"]) == ("ship", "")
    root = skill_of("SKILL.md", "", ("SKILL.md",))
    assert (root["name"], root["path"], root["root"]) == ("", ".", ".")


@pytest.mark.parametrize(
    ("path", "patterns", "root"),
    [
        (".agents/skills/a/SKILL.md", ["skills/**/SKILL.md", ".agents/skills/**/SKILL.md"], ".agents/skills"),
        ("skills/a/SKILL.md", ["**/SKILL.md"], "**"),
        ("a/SKILL.md", ["SKILL.md"], "a"),
        ("x/y/a/SKILL.md", ["SKILL.md"], "x/y"),
        ("x/a/SKILL.md", ["X/a/skill.md"], "X/a"),
        ("x/a/SKILL.md", ["x/*/*.md"], "x/*/*.md"),
        ("x/a/SKILL.md", ["other/**/SKILL.md"], "x"),
    ],
)
def test_the_root_of_a_skill(path: str, patterns: list[str], root: str) -> None:
    assert root_of(path, tuple(patterns)) == root


def test_a_manifest_that_refers_to_far_more_text_than_it_holds_is_a_problem(world: World) -> None:
    pi = world.project("acme/pi")
    world.set_file(pi, "about.txt", "x" * 900_000)
    texts = {str(number): "file://about.txt" for number in range(5)}
    world.set_file(pi, "gemini-extension.json", json.dumps({"name": "none", **texts}))
    report, *_ = run_sync(world, port_with(THINGS), mapping_of(plugin()))
    assert report.exit_code == 1
    (told,) = [problem.why for problem in report.problems]
    assert told == "gemini-extension.json refers to more than 4 MiB of text"


def test_a_skill_that_is_no_text_or_too_large_is_a_problem_and_costs_no_other_one(world: World) -> None:
    app = world.project("acme/app")
    world.set_file(app, "skills/bin/SKILL.md", b"\xff\xfe")
    world.set_file(app, "skills/big/SKILL.md", "x" * (1024 * 1024 + 1))
    report, store, _ = run_sync(world, port_with(THINGS), mapping_of(skill()))
    assert len(store.snapshot()["thing"]) == 3
    told = [problem for problem in report.problems if not problem.warning]
    assert {problem.why.split()[0] for problem in told} == {"skills/bin/SKILL.md", "skills/big/SKILL.md"}
    assert report.exit_code == 1


# Plugins


def test_plugins_of_all_programs(world: World) -> None:
    found = both_types(world, plugin())
    assert set(found) == {"both", "pi"}
    nothing = dict.fromkeys(("claude", "cursor", "codex", "agents", "kimi", "opencode", "pi", "antigravity"), False)
    empty: dict[str, Any] = {name: {} for name in nothing}
    assert found["both"]["plugin"] == empty | {
        "name": "cur",
        "displayName": "Cursor One",
        "description": "",
        "version": "1.2",
        "supports": nothing | {"claude": True, "cursor": True, "pi": True},
        "claude": {"name": "c", "marketplaceName": "m"},
        "cursor": {"name": "cur", "displayName": "Cursor One", "version": "1.2"},
        "pi": {"detected": True},
    }
    assert found["pi"]["plugin"] == empty | {
        # A blank name is none, a manifest that is no object is ignored, and a deeper file is no extension.
        "name": "Pi",
        "displayName": "Pi",
        "description": "About",
        "version": None,
        "supports": nothing | {"antigravity": True},
        "antigravity": {"name": "  ", "description": "About"},
    }
    assert (found["both"]["repo"]["path"], found["both"]["__branch"]) == ("both", "main")


def test_only_some_programs_and_projects(world: World) -> None:
    assert set(synced(world, plugin(providers=["claude"]))) == {"both"}
    assert synced(world, plugin(providers=["claude"]))["both"]["plugin"]["name"] == "c"
    assert set(synced(world, plugin(repos=["acme/pi"]))) == {"pi"}
    assert set(synced(world, plugin(repos=["Pi"]), type="gitlab")) == {"pi"}
    assert synced(world, plugin(providers=[])) == {}
    with pytest.raises(UsageError, match="providers"):
        synced(world, plugin(providers=["emacs"]))


def test_a_named_project_that_is_not_listed_is_asked_for(world: World) -> None:
    world.add_group("far", visibility="public")
    far = world.add_project(world.group("far"), "ext", visibility="public")
    world.set_file(far, ".codex-plugin/plugin.json", '{"name": "codex one"}')
    assert synced(world, plugin(repos=["far/ext"]))["ext"]["plugin"]["name"] == "codex one"


ALL = ("claude", "cursor", "codex", "agents", "kimi", "opencode", "pi", "antigravity")


@pytest.mark.parametrize(
    ("contents", "folders", "expected"),
    [
        ({}, set(), None),
        ({".claude-plugin/plugin.json": {}}, set(), None),
        ({}, {".opencode/plugins"}, {"name": "P", "opencode": {"detected": True}}),
        (
            {
                ".agents/plugins/marketplace.json": {
                    "name": "m", "interface": {"display_name": "Shown"}, "plugins": [{"name": "a1"}, {"name": "a2"}],
                },
            },
            set(),
            {"name": "a1", "displayName": "Shown", "agents": {
                "name": "a1", "marketplaceName": "m", "interface": {"display_name": "Shown"},
                "plugins": [{"name": "a1"}, {"name": "a2"}],
            }},
        ),
        (
            {
                ".claude-plugin/plugin.json": {"name": "c", "version": "2"},
                ".claude-plugin/marketplace.json": {"description": "M", "plugins": [{"name": "other"}]},
                ".codex-plugin/plugin.json": {"name": "x", "description": "X", "version": "3"},
            },
            set(),
            {"name": "c", "version": "2", "description": "X",
             "claude": {"name": "c", "version": "2", "marketplaceName": None}},
        ),
        (
            {".claude-plugin/marketplace.json": {"name": "m", "description": "M", "plugins": ["no object"]}},
            set(),
            {"name": "P", "description": "M", "claude": {"name": "P", "marketplaceName": "m"}},
        ),
        (
            {
                "gemini-extension.json": {"name": "g", "version": "9"},
                ".kimi-plugin/plugin.json": {"name": "k", "version": 7},
            },
            set(),
            {"name": "k", "version": "9", "displayName": "k"},
        ),
    ],
)  # fmt: skip
def test_what_a_plugin_is_called(contents: dict[str, Row], folders: set[str], expected: Row | None) -> None:
    found = plugin_of({"name": "P", "path": "p"}, contents, folders, ALL)
    if expected is None or found is None:
        assert found is expected
    else:
        assert {name: found[name] for name in expected} == expected


# What goes wrong


@pytest.mark.parametrize(
    ("match", "kinds"),
    [
        ("/projects/1/repository/tree", {"skill", "plugin"}),
        ("/repository/files/.agents/skills/ship", {"skill"}),
        ("/projects/2/repository/files/.cursor-plugin/plugin.json", {"plugin"}),
        ("/projects/3/repository/files/about.txt", {"plugin"}),
    ],
)
@pytest.mark.parametrize("answer", [faults.forbidden(), faults.server_error(), faults.login_page()])
def test_a_failure_is_a_problem_and_deletes_nothing(
    world: World, match: str, kinds: set[str], answer: faults.Reply
) -> None:
    store, mapping = port_with(THINGS), mapping_of(skill(), plugin())
    with gitlab_server(world) as gitlab, port_server(store) as port:
        assert run_sync(gitlab, port, mapping).report.exit_code == 0
        before = store.snapshot()
        gitlab.faults.append(Fault(match, answer))
        report = run_sync(gitlab, port, mapping).report
        assert report.exit_code == 1
        assert {problem.kind for problem in report.problems if not problem.warning} == kinds
        assert store.snapshot() == before


def test_a_skill_that_is_gone_is_deleted(world: World) -> None:
    store, mapping = port_with(THINGS), mapping_of(skill(), plugin(), entityDeletionThreshold=1)
    with gitlab_server(world) as gitlab, port_server(store) as port:
        store.clock = lambda: datetime.now(UTC).timestamp() - 3600
        run_sync(gitlab, port, mapping)
        store.clock = lambda: datetime.now(UTC).timestamp()
        world.touch()
        del world.files[1][""]["skills/SKILL.md"]
        del world.files[2][""][".cursor-plugin/plugin.json"]
        assert run_sync(gitlab, port, mapping).report.exit_code == 0
        held = store.snapshot()["thing"]
    assert "app:skills:SKILL.md" not in held
    assert held["both"][3]["object"]["plugin"]["name"] == "c"
