"""The command `mapping`: the mapping in use with its origin, one to begin with, and what another one would change."""

import json
from typing import Any, get_args

import pytest
import yaml

from conftest import INTEGRATION, Bench
from gitlab_port_export.demo.port_faults import Fault, refuse
from gitlab_port_export.gitlab.kinds import SELECTORS
from gitlab_port_export.mapping.compare import MappingChanges, compare
from gitlab_port_export.mapping.load import load_mapping, mapping_from_object
from gitlab_port_export.model import Dialect
from gitlab_port_export.port.defaults import Preset, default_mapping_text, preset_text
from testbed.harness import mapping_of, resource, schema_validator

CONFIG = mapping_of(resource("project", "service"), resource("issue", "gitlabIssue"), deleteDependentEntities=True)


def in_port(bench: Bench, config: Any) -> None:
    bench.store.integrations[INTEGRATION] = {
        "installationId": INTEGRATION,
        "installationAppType": "gitlab-v2",
        "config": config,
    }


# --- show


def test_the_mapping_in_port_is_shown_with_its_origin(bench: Bench) -> None:
    in_port(bench, CONFIG)
    ran = bench.run("mapping", "show")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == f"# The mapping in use: integration {INTEGRATION} in Port"
    assert yaml.safe_load(ran.stdout) == CONFIG
    assert "\n  - kind: project\n" in ran.stdout
    assert bench.gitlab.requests == []


def test_a_text_of_several_lines_is_shown_as_such(bench: Bench) -> None:
    in_port(bench, mapping_of(resource("project", title="if .a\nthen .b\nelse .c end\n")))
    shown = bench.run("mapping", "show").stdout
    assert "title: |\n            if .a\n            then .b\n" in shown


def test_the_mapping_in_use_is_shown_as_json(bench: Bench) -> None:
    in_port(bench, CONFIG)
    document = json.loads(bench.run("mapping", "show", "--output", "json").stdout)
    assert document["mapping"] == CONFIG
    assert document["mapping_origin"] == f"integration {INTEGRATION} in Port"


def test_a_mapping_file_is_shown_with_its_comments_and_asks_nobody(bench: Bench) -> None:
    bench.file("m.yml", "# of the platform team\nresources: []\n")
    ran = bench.run("mapping", "show", "--mapping", "m.yml")
    assert ran.stdout == "# The mapping in use: m.yml\n# of the platform team\nresources: []\n"
    assert bench.port.requests == []


def test_a_new_integration_shows_the_default_mapping(bench: Bench) -> None:
    ran = bench.run("mapping", "show")
    assert "the default mapping, which the first sync gives" in ran.stdout.splitlines()[0]
    assert yaml.safe_load(ran.stdout) == yaml.safe_load(default_mapping_text("gitlab-v2"))


def test_a_faulty_mapping_is_shown_too(bench: Bench) -> None:
    in_port(bench, {"resources": [{"kind": "project"}]})
    ran = bench.run("mapping", "show")
    assert ran.returncode == 0
    assert yaml.safe_load(ran.stdout) == {"resources": [{"kind": "project"}]}


def test_a_mapping_cannot_steer_a_terminal_or_a_ci_system(bench: Bench) -> None:
    in_port(bench, mapping_of(resource("project", title="'\x1b[2J' + '##vso[task.setvariable]'")))
    shown = bench.run("mapping", "show").stdout
    assert "##vso" not in shown
    assert "##vso" not in bench.run("mapping", "show", "--output", "json").stdout


def test_credentials_that_may_not_read_the_integration_are_told(bench: Bench) -> None:
    bench.store.integration_access = False
    ran = bench.run("mapping", "show")
    assert ran.returncode == 4
    assert "may not read the integration" in ran.stderr
    assert ran.stdout == ""


# --- init


@pytest.mark.parametrize("preset", get_args(Preset))
@pytest.mark.parametrize("dialect", get_args(Dialect))
def test_each_mapping_to_begin_with_has_no_doubts(preset: Preset, dialect: Dialect) -> None:
    text = preset_text(preset, dialect)
    assert load_mapping(text, "m", SELECTORS)[1] == ()
    assert list(schema_validator().iter_errors(yaml.safe_load(text))) == []


def test_a_mapping_to_begin_with_maps_what_its_name_says() -> None:
    kinds = {name: kinds_of(yaml.safe_load(preset_text(name, "gitlab-v2"))) for name in get_args(Preset)}
    assert kinds["ocean"] == ["member", "group-with-members", "project", "folder", "merge-request"]
    assert kinds["people"] == ["user", "access"]
    assert preset_text("full", "gitlab") == default_mapping_text("gitlab")


def kinds_of(data: Any) -> list[str]:
    return [one["kind"] for one in data["resources"]]


def test_init_writes_a_commented_file_without_settings_and_says_what_is_next(bench: Bench) -> None:
    bare = dict.fromkeys(bench.environ())
    ran = bench.run("mapping", "init", "--preset", "ocean", "--out", "m.yml", **bare)
    assert ran.returncode == 0, ran.stderr
    text = (bench.folder / "m.yml").read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=mapping.schema.json\n")
    assert "check --mapping m.yml" in ran.stderr
    assert bench.run("mapping", "init", "--preset", "ocean", **bare).stdout.endswith(preset_text("ocean", "gitlab-v2"))
    assert bench.port.requests == []


def test_init_replaces_no_file(bench: Bench) -> None:
    bench.file("m.yml", "mine")
    ran = bench.run("mapping", "init", "--out", "m.yml")
    assert ran.returncode == 2
    assert "error: --out: m.yml exists and is not replaced" in ran.stderr
    assert (bench.folder / "m.yml").read_text("utf-8") == "mine"


def test_init_to_a_folder_that_is_not_there_is_told(bench: Bench) -> None:
    ran = bench.run("mapping", "init", "--out", "none/m.yml")
    assert ran.returncode == 2
    assert "cannot be written: No such file or directory" in ran.stderr


# --- diff


def changes(old: Any, new: Any) -> MappingChanges:
    return compare(*(mapping_from_object(one, "m", SELECTORS)[0] for one in (old, new)))


def names(found: MappingChanges) -> list[tuple[int | None, int | None, list[str]]]:
    return [(one.old, one.new, [field.name for field in one.fields]) for one in found.resources]


def test_equal_mappings_do_not_differ_however_they_are_written() -> None:
    assert not changes(CONFIG, CONFIG)
    written = mapping_of(resource("project", "service", query=True, selector={"includeLanguages": "no"}))  # type: ignore[arg-type]  # YAML's boolean
    assert not changes(mapping_of(resource("project", "service")), written)


def test_fields_that_changed_came_and_went_are_named() -> None:
    old = mapping_of(resource("project", title=".name", properties={"a": ".a", "b": ".b"}))
    new = mapping_of(resource("project", title=".path", properties={"a": ".a", "c": ".c"}))
    found = changes(old, new)
    assert names(found) == [(0, 0, ["title", "properties.b", "properties.c"])]
    assert (found.lost, found.narrowed) == (frozenset(), frozenset())


def test_a_resource_keeps_its_partner_where_others_come_and_go() -> None:
    old = mapping_of(resource("project", "a"), resource("issue", "b"), resource("issue", "c"))
    new = mapping_of(resource("label", "d"), resource("issue", "c", title=".title"), resource("project", "a"))
    found = changes(old, new)
    assert names(found) == [(None, 0, []), (2, 1, ["title"]), (1, None, [])]
    assert found.reordered
    assert found.lost == {"b"}


@pytest.mark.parametrize(
    "changed",
    [
        {"query": ".archived | not"},
        {"selector": {"includeOnlyActiveProjects": True}},
        {"identifier": ".path"},
        {"port": {"itemsToParse": ".topics"}},
    ],
)
def test_what_decides_on_rows_or_identifiers_may_lose_entities(changed: Any) -> None:
    found = changes(mapping_of(resource("project", "a")), mapping_of(resource("project", "a", **changed)))
    assert (found.lost, found.narrowed) == (frozenset(), {"a"})


def test_options_that_decide_which_rows_are_read_may_lose_entities_of_all() -> None:
    old, new = CONFIG, CONFIG | {"visibility": {"minAccessLevel": 40}}
    assert changes(old, new).narrowed == {"service", "gitlabIssue"}
    found = changes(CONFIG, {"resources": CONFIG["resources"]})
    assert [option.name for option in found.options] == ["deleteDependentEntities"]
    assert not found.narrowed


def test_a_blueprint_that_a_row_decides_may_be_any() -> None:
    computed = resource("project", blueprint_expression=".kind")
    assert changes(mapping_of(computed), mapping_of(resource("project", "a"))).lost == {None}
    assert changes(mapping_of(resource("project", "a")), mapping_of(computed)).lost == frozenset()


def test_one_of_several_entity_mappings_is_named_by_its_number() -> None:
    def two(title: str) -> Any:
        one = resource("project", "a")
        block = one["port"]["entity"]
        block["mappings"] = [block["mappings"], block["mappings"] | {"blueprint": '"b"', "title": title}]
        return mapping_of(one)

    found = changes(two(".a"), two(".b"))
    assert names(found) == [(0, 0, ["mappings.1.title"])]
    assert not found.narrowed


def test_diff_counts_the_owned_entities_that_could_go(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    whole = yaml.safe_load(default_mapping_text("gitlab-v2"))
    left = [one for one in whole["resources"] if one["kind"] not in ("job", "issue")]
    next(one for one in left if one["kind"] == "pipeline")["selector"]["query"] = '.status == "success"'
    bench.file("m.yml", json.dumps(whole | {"resources": left}))
    ran = bench.run("mapping", "diff", "m.yml", "--output", "json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    held = {name: bench.store.count(name) for name in ("gitlabIssue", "gitlabJob", "gitlabPipeline")}
    assert document["could_go"] == [
        {"blueprint": "gitlabIssue", "owned": held["gitlabIssue"], "unfed": True},
        {"blueprint": "gitlabJob", "owned": held["gitlabJob"], "unfed": True},
        {"blueprint": "gitlabPipeline", "owned": held["gitlabPipeline"], "unfed": False},
    ]
    assert bench.gitlab.requests == []


def test_diff_says_what_changes_and_which_command_tells_more(bench: Bench) -> None:
    in_port(bench, CONFIG)
    bench.file("m.yml", json.dumps(mapping_of(resource("project", "service", title=".name"))))
    ran = bench.run("mapping", "diff", "m.yml", "--detailed-exitcode")
    assert ran.returncode == 10
    assert ran.stdout.splitlines() == [
        f"from integration {INTEGRATION} in Port to m.yml",
        "~ deleteDependentEntities: true → false",
        "~ resource 0 (project → service)",
        "    + title: .name",
        "- resource 1 (issue → gitlabIssue)",
        "exit 10: there are differences",
    ]


def test_a_resource_that_moved_or_came_is_named_by_its_number_in_the_file(bench: Bench) -> None:
    in_port(bench, mapping_of(resource("project", "service"), resource("issue", "gitlabIssue")))
    new = (resource("label", "label"), resource("project", "service"), resource("issue", "gitlabIssue", title=".title"))
    bench.file("m.yml", json.dumps(mapping_of(*new)))
    shown = bench.run("mapping", "diff", "m.yml").stdout.splitlines()
    assert "+ resource 0 of the file (label → label)" in shown
    assert "~ resource 1 (issue → gitlabIssue), resource 2 of the file" in shown


def test_no_difference_exits_0_also_with_the_detailed_exit_code(bench: Bench) -> None:
    in_port(bench, CONFIG)
    bench.file("m.yml", json.dumps(CONFIG))
    ran = bench.run("mapping", "diff", "m.yml", "--detailed-exitcode")
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "exit 0: no difference")


def test_a_faulty_file_is_no_difference(bench: Bench) -> None:
    in_port(bench, CONFIG)
    bench.file("m.yml", "resources: 5\n")
    ran = bench.run("mapping", "diff", "m.yml")
    assert ran.returncode == 2
    assert "error: m.yml:1:1: resources: must be a list; got 5" in ran.stderr


def test_counts_that_port_does_not_give_are_told_as_not_known(bench: Bench) -> None:
    in_port(bench, CONFIG)
    bench.port.faults.append(Fault("POST .*/datasource-entities", refuse(403)))
    bench.file("m.yml", json.dumps(mapping_of(resource("project", "service"))))
    shown = bench.run("mapping", "diff", "m.yml").stdout
    assert "how many entities could go is not known" in shown
