"""What `gitlab-v2` leaves in Port, against an independent model of it: every kind, every selector, odd mappings."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from gitlab_port_export.demo.gitlab_access import DEVELOPER, MAINTAINER
from gitlab_port_export.demo.gitlab_store import World
from testbed.by_chance import BY_CHANCE, mappings, tokens, worlds
from testbed.harness import mapping_of, resource
from testbed.parity import ONE, SOAK, TWO, Case, Party, check, company, guest_and_owner, parties, whole

pytestmark = pytest.mark.usefixtures("lent_evaluator")

MRS, ISSUES, BUILDS = ("merge_requests",), ("issues",), ("pipelines",)
ALL_STATES = ["opened", "closed", "merged"]


def one(kind: str, *fill: str, root: Mapping[str, Any] | None = None, **selector: Any) -> Case:
    """A case with one resource that keeps whole rows."""
    return Case(fill, mapping_of(whole(kind, selector=selector), **(root or {})))


def open_to_all(**options: Any) -> dict[str, Any]:
    return {"visibility": {"useMinAccessLevel": False, **options}}


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


SELECTORS: dict[str, Case] = {
    "projects": one("project"),
    "projects with languages": one("project", includeLanguages=True),
    "projects with languages, leniently": one("project", includeLanguages="yes"),
    "projects without languages, leniently": one("project", includeLanguages="off"),
    "projects: only active": one("project", includeOnlyActiveProjects=True),
    "projects: only inactive": one("project", includeOnlyActiveProjects=False),
    "projects: activity does not matter": one("project", includeOnlyActiveProjects=None),
    "projects: active as text": one("project", includeOnlyActiveProjects="true"),
    "groups": one("group"),
    "groups: only active": one("group", includeOnlyActiveGroups=True),
    "groups: only inactive": one("group", includeOnlyActiveGroups="false"),
    "members": one("member"),
    "members with bots": one("member", includeBotMembers=True),
    "members: inherited": one("member", includeInheritedMembers=True),
    "members of active groups": one("member", includeOnlyActiveGroups=True),
    "groups with members": one("group-with-members"),
    "groups with members and bots": one("group-with-members", includeBotMembers="true"),
    "groups with all members": one("group-with-members", includeInheritedMembers=True, includeBotMembers=True),
    "projects with members": one("project-with-members"),
    "projects with members and bots": one("project-with-members", includeBotMembers=True),
    "projects with all members": one("project-with-members", includeInheritedMembers=True, includeBotMembers=True),
    "active projects with members": one("project-with-members", includeOnlyActiveProjects=True),
    "merge requests": one("merge-request", *MRS),
    "merge requests of all states": one("merge-request", *MRS, states=ALL_STATES),
    "merge requests: a state repeated": one("merge-request", *MRS, states=["merged", "opened", "merged"]),
    "merge requests: half days": one("merge-request", *MRS, states=ALL_STATES, updatedAfter=10.5),
    "merge requests: days as text": one("merge-request", *MRS, states=ALL_STATES, updatedAfter="30"),
    "merge requests: since now": one("merge-request", *MRS, states=ALL_STATES, updatedAfter=0),
    "merge requests of active groups": one("merge-request", *MRS, states=ALL_STATES, includeOnlyActiveGroups=True),
    "merge requests of inactive groups": one("merge-request", *MRS, includeOnlyActiveGroups=False),
    "issues": one("issue", *ISSUES),
    "open issues": one("issue", *ISSUES, state="opened"),
    "closed issues": one("issue", *ISSUES, state="closed"),
    "incidents": one("issue", *ISSUES, issueType="incident"),
    "issues with two labels": one("issue", *ISSUES, labels="bug,team::core"),
    "issues of archived projects too": one("issue", *ISSUES, nonArchived=False),
    "issues of archived projects too, leniently": one("issue", *ISSUES, nonArchived="no"),
    "new issues": one("issue", *ISSUES, updatedAfter="30.5"),
    "issues: no window": one("issue", *ISSUES, updatedAfter=0),
    "issues of active groups": one("issue", *ISSUES, includeOnlyActiveGroups=True),
    "pipelines": one("pipeline", *BUILDS),
    "pipelines of active projects": one("pipeline", *BUILDS, includeOnlyActiveProjects=True),
    "failed pipelines": one("pipeline", *BUILDS, apiQueryParams={"status": "failed", "ref": None}),
    "finished pipelines": one("pipeline", *BUILDS, apiQueryParams={"scope": "finished"}),
    "the last pipeline of each branch": one("pipeline", *BUILDS, apiQueryParams={"scope": "branches"}),
    "child pipelines": one("pipeline", *BUILDS, apiQueryParams={"source": "parent_pipeline"}),
    "pipelines of a ref": one("pipeline", *BUILDS, apiQueryParams={"ref": "feature/ü"}),
    "pipelines by name and user": one("pipeline", *BUILDS, apiQueryParams={"name": "Nightly", "username": "ada"}),
    "new pipelines": one("pipeline", *BUILDS, apiQueryParams={"created_after": days_ago(3.5)}),
    "pipelines of a period": one(
        "pipeline", *BUILDS, apiQueryParams={"updated_after": days_ago(30.5), "updated_before": days_ago(1.5)}
    ),
    "jobs": one("job", *BUILDS),
    "jobs of active projects": one("job", *BUILDS, includeOnlyActiveProjects="true"),
    "jobs of failed pipelines": one("job", *BUILDS, pipelineQueryParams={"status": "failed"}),
    "jobs of branches": one("job", *BUILDS, pipelineQueryParams={"scope": "branches"}),
    "everything that is visible": one("project", root=open_to_all()),
    "groups that are visible": one("group", root=open_to_all()),
    "from reporter on": one("project", root={"visibility": {"minAccessLevel": "20"}}),
    "from maintainer on": one("group", root={"visibility": {"minAccessLevel": 40}}),
    "issues of what is visible": one("issue", *ISSUES, root=open_to_all(), includeOnlyActiveGroups=True),
}


def check_party(party: Party) -> None:
    check(company(party.fill), party.mapping, blueprints=party.blueprints)


def each(cases: Mapping[str, Party]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("party", cases.values(), ids=list(cases))


@each(parties(SELECTORS))
def test_selectors(party: Party) -> None:
    check_party(party)


def listed(kind: str, **selector: Any) -> Any:
    """A resource whose rows may have no id: each is known by where it lives and what it is called."""
    home = "((.__project // .__group) | .path_with_namespace // .full_path)"
    return whole(kind, identifier=f'{home} + "@{kind}-\\(.id // .tag_name // .name)"', selector=selector)


BRANCHES: dict[str, Any] = {"defaultBranchOnly": False}
LISTS: dict[str, tuple[Any, ...]] = {
    "all that there are": tuple(
        listed(kind) for kind in ("release", "tag", "branch", "deployment", "environment", "label", "milestone")
    ),
    "of active projects": (
        listed("release", includeOnlyActiveProjects=True),
        listed("branch", includeOnlyActiveProjects="true"),
        listed("deployment", includeOnlyActiveProjects=True),
        listed("label", includeOnlyActiveGroups=True, includeOnlyActiveProjects=True),
    ),
    "of inactive projects and groups": (
        listed("tag", includeOnlyActiveProjects=False),
        listed("environment", includeOnlyActiveProjects=False),
        listed("milestone", includeOnlyActiveGroups=False, includeOnlyActiveProjects=True),
    ),
    "default branches, whatever else": (listed("branch", defaultBranchOnly="yes", regex="x", search="y"),),
    "all branches": (listed("branch", **BRANCHES),),
    "branches by text": (listed("branch", defaultBranchOnly="false", search="release"),),
    "branches by their beginning": (listed("branch", **BRANCHES, search="^release"),),
    "branches by their end": (listed("branch", **BRANCHES, search="0$"),),
    "branches by expression before text": (listed("branch", **BRANCHES, search="main", regex="^[a-z]+/"),),
    "branches that do not exist": (listed("branch", **BRANCHES, regex="^none$"), listed("environment")),
    "deployments by state": (listed("deployment", apiQueryParams={"status": "failed", "environment": None}),),
    "deployments to an environment": (listed("deployment", apiQueryParams={"environment": "production"}),),
    "deployments of a period": (
        listed("deployment", apiQueryParams={"updatedAfter": days_ago(40), "updatedBefore": days_ago(0.7)}),
    ),
    "deployments that finished": (
        listed("deployment", apiQueryParams={"finishedAfter": days_ago(40), "status": "success"}),
    ),
    "deployments that had finished": (
        listed("deployment", apiQueryParams={"finishedBefore": days_ago(40), "status": "success"}),
    ),
    "by state and level": (
        listed("environment", states=["available", "stopping", "available"]),
        listed("label", scopes=["group"]),
        listed("milestone", state="closed", scopes=["project"]),
    ),
}


@each(parties({name: Case(("lists",), mapping_of(*resources)) for name, resources in LISTS.items()}))
def test_lists(party: Party) -> None:
    check_party(party)


def test_no_state_is_no_merge_request() -> None:
    check(company(MRS), mapping_of(whole("merge-request", selector={"states": []})), empty=True)


def thing(kind: str = "project", blueprint: str = "thing", **more: Any) -> Any:
    return resource(kind, blueprint, **more)


# Mappings of projects and issues whose expressions are odd in one way each.
MAPPINGS: dict[str, tuple[Any, ...]] = {
    "null, empty and false identifiers are no entities": (
        thing(identifier="if .id < 4 then null elif .id < 7 then '' elif .id < 9 then false else .path end"),
    ),
    "numbers as identifiers": (thing(identifier=".id", properties={"number": ".id", "count": "1.5"}),),
    "no blueprint, no entity": (thing(blueprint_expression='if .id % 2 == 0 then "thing" else null end'),),
    "a blueprint by row": (thing(blueprint_expression='if .archived then "other" else "thing" end', title=".name"),),
    "an expression that yields nothing": (thing(title="empty", properties={"text": "empty", "more": ".name"}),),
    "an expression that fails for some rows": (
        thing(
            properties={
                "text": 'if .id % 2 == 0 then error("no") else .path end',
                "number": "if .id % 3 == 0 then .name + 1 else .id end",
                "more": ".path",
            }
        ),
    ),
    "several outputs": (thing(properties={"text": ".path, .name", "list": "(.topics, 1)", "more": ".topics[]"}),),
    "comments": (thing(identifier=".path # not .id", properties={"text": ".name # comment", "more": "# none\n.path"}),),
    "definitions": (
        thing(properties={"text": "def up: ascii_upcase; .path | up", "number": "def f(x): x * 2; f(.id)"}),
    ),
    "single quotes": (
        thing(
            identifier=".namespace.path + '-' + .path",
            title="'Project:' + .name",
            properties={"text": "if .path == 'core' then 'yes' else 'no' end", "more": ".description + 'its'"},
            query=".path != 'web'",
        ),
    ),
    "comparisons and alternatives": (
        thing(query=".archived | not", properties={"flag": ".archived", "known": 'has("x") | not'}),
    ),
    "languages are there or not": (
        thing(properties={"flag": 'has("__languages")', "object": ".__languages"}),
        thing("project", "other", selector={"includeLanguages": True}, properties={"flag": 'has("__languages")'}),
    ),
    "icons and teams": (
        thing(icon='if .archived then "Box" else null end', team='[.namespace.path, "all"]', title="null"),
        thing("project", "other", team='"one team"', icon="'GitLab'"),
    ),
    "relations": (
        thing(
            relations={"one": ".namespace.path", "many": "[.path, .namespace.path, .path]"},
            properties={"text": ".path"},
        ),
        thing("project", "other", relations={"one": ".id | tostring", "many": "[]"}),
        thing("group", "target", identifier=".path", title=".name"),
    ),
    "empty relations": (thing(relations={"one": "null", "many": "empty"}, properties={"text": ".path"}),),
    "several resources of a kind": (
        thing(query=".archived", properties={"text": '"old"'}),
        thing(query=".archived | not", properties={"text": '"new"'}),
    ),
    "resources that feed one blueprint": (
        thing(properties={"text": ".name", "number": ".id", "flag": "true"}, title=".name"),
        thing(properties={"more": ".path", "number": "0 - .id", "flag": "null"}, relations={"one": ".path"}),
        thing("group", identifier=".full_path", title=".name", properties={"text": ".path"}),
    ),
    "items": (
        thing(
            port={"itemsToParse": ".topics"},
            identifier="(.id | tostring) + .item",
            properties={"object": ".", "text": ".item"},
        ),
    ),
    "items by another name, the list kept": (
        thing(
            port={"itemsToParse": ".topics", "itemsToParseName": "topic", "itemsToParseTopLevelTransform": "false"},
            identifier="(.id | tostring) + .topic",
            properties={"list": ".topics", "text": ".topic", "flag": 'has("item")'},
        ),
    ),
    "items of a pipe": (
        thing(
            "group-with-members",
            port={"itemsToParse": ".__members | map(select(.access_level >= 30))"},
            identifier=".path + '-' + .item.username",
            properties={"number": ".item.access_level", "flag": 'has("__members")'},
        ),
    ),
    "items that are no list": (
        thing(
            port={"itemsToParse": "if .archived then {} else [.path, .name] end"},
            identifier='.item | ascii_downcase | gsub("[^a-z]"; "x")',
        ),
        thing("group", "other"),
    ),
    "items behind a variable": (
        thing(
            port={"itemsToParse": ". as $row | .topics"},
            identifier="(.id | tostring) + .item",
            properties={"flag": 'has("topics")'},
        ),
    ),
    "items in brackets": (
        thing(
            port={"itemsToParse": "(.topics // [])"},
            identifier="(.id | tostring) + .item",
            properties={"flag": 'has("topics")'},
            query=".item != 'go'",
        ),
    ),
    "items of one row that are the same entity": (
        thing(port={"itemsToParse": "[1, 2, 3]"}, identifier=".path", properties={"number": ".item"}),
    ),
    "rows that are the same entity": (
        thing(identifier=".namespace.path", properties={"text": ".path", "number": ".id"}),
        thing("member", "other", identifier=".username", properties={"number": ".access_level", "text": ".expires_at"}),
    ),
    "a property with a default": (
        resource("project", "defaulted", properties={"text": "if .archived then 'x' else null end", "number": ".id"}),
        resource("group", "defaulted", identifier='"g\\(.id)"', properties={"number": ".id"}),
    ),
    "several entities of a row": (
        {
            "kind": "project",
            "selector": {"query": "true"},
            "port": {
                "entity": {
                    "mappings": [
                        {"identifier": ".path", "blueprint": '"thing"', "title": ".name"},
                        {"identifier": ".namespace.path", "blueprint": '"other"', "properties": {"number": "1"}},
                    ]
                }
            },
        },
    ),
    "mappings of a row that are the same entity": (
        {
            "kind": "project",
            "selector": {"query": "true"},
            "port": {
                "entity": {
                    "mappings": [
                        {
                            "identifier": ".namespace.path",
                            "blueprint": '"thing"',
                            "title": ".path",
                            "properties": {"text": ".name", "number": ".id"},
                        },
                        {
                            "identifier": ".path",
                            "blueprint": 'if .archived then "other" else "thing" end',
                            "properties": {"more": ".name", "flag": "true"},
                        },
                        {
                            "identifier": ".namespace.path",
                            "blueprint": '"thing"',
                            "properties": {"more": ".path", "number": "if .archived then null else 0 - .id end"},
                        },
                    ]
                }
            },
        },
    ),
}


@each(parties({name: Case((), mapping_of(*resources)) for name, resources in MAPPINGS.items()}, by_kind=False))
def test_mappings(party: Party) -> None:
    check_party(party)


# Expressions that reach a row's keys in ways of their own.
EXPRESSIONS = (
    *(".name", '."path"', '.["path"]', '.["path"] + .name', ".namespace.kind", '.namespace["path"]', ".topics[0]"),
    *(".topics[0:1]", ".missing.deep", ".name?", ".topics[]?", ".. | .kind?", "[..] | length", "keys | length"),
    *('has("archived")', "to_entries | map(.key) | length", 'getpath(["namespace", "path"])', ". as $row | $row.path"),
    *(
        ". as {name: $n, $path} | [$n, $path]",
        "{name, path}",
        '{"path", id: .name}',
        "{(.path): .name}",
        '.["na" + "me"]',
    ),
    *(
        "{a: .namespace | .kind, path}",
        '"\\(.name) of \\(.namespace | .path)"',
        '@base64 "\\(.path)"',
        "def name: .path; name",
    ),
    *(
        "def f(x): x | length; f(.name)",
        "reduce .topics[] as $t (.path; . + $t)",
        "[limit(1; .path, .name)]",
        "first(.[])",
    ),
    *(
        "label $out | .path, break $out",
        "try error(.name) catch .",
        ".name as $n | .path as $p | {$n, $p}",
        "with_entries(.)",
    ),
    *(
        "select(.archived) | .path",
        '.namespace | select(.kind == "user") | .path',
        "map_values(type) | .path",
        "del(.name)",
    ),
    *(
        "if .archived then .path elif .id > 3 then .name else .namespace | .path end",
        '.archived and (.name | test("a"))',
    ),
    *(
        ".path |= ascii_upcase | .path",
        '.id as $id | .topics | map("\\($id)\\(.)")',
        "[.[] | strings] | length",
        "type",
    ),
    *(
        "[paths] | length",
        "path(.name)",
        '.name # "\n',
        "# only\n.path",
        "$__loc__.file, .path",
        "tojson | length",
        '[splits("a")?]',
    ),
)


def test_expressions() -> None:
    """Each stands in a resource of its own, so that what one of them reaches cannot help another."""
    resources = [
        thing(
            identifier=f'"{number}-\\(.id)"',
            query=".id < 9",
            properties={"text": f"({text}\n) | tojson"},
        )
        for number, text in enumerate(EXPRESSIONS)
    ]
    check(company(), mapping_of(*resources))


@pytest.mark.parametrize("query", ["null", ".name", "empty", 'error("no")', '.archived // "no"'])
def test_a_selector_that_gives_no_boolean_leaves_out_rows_with_a_problem(query: str) -> None:
    mapping = mapping_of(resource("project", query=query, properties={"text": ".name"}), whole("group", "other"))
    report = check(company(), mapping, exit_code=1)
    assert {problem.stage for problem in report.problems} == {"transform"}


@pytest.mark.parametrize("fields", [{"identifier": "error"}, {"blueprint_expression": '.id | ltrimstr("x") + "y"'}])
def test_an_error_in_the_key_leaves_out_rows_with_a_problem(fields: dict[str, str]) -> None:
    report = check(company(), mapping_of(resource("project", **fields), whole("group", "other")), exit_code=1)
    assert [problem.count for problem in report.problems if not problem.warning] == [15]


# Several tokens: what each may read, and what of it their patterns let through.
TOKENS: dict[str, Mapping[str, list[str]]] = {
    "both see everything": {ONE: ["**"], TWO: ["**"]},
    "each its own": {ONE: ["acme/**", "acme"], TWO: ["beta/**", "beta"]},
    "one project exactly": {ONE: ["acme/core"]},
    "a prefix": {ONE: ["acme/app*"]},
    "a name anywhere": {ONE: ["**/core", "**/lib"], TWO: ["**/dotfiles"]},
    "below a group": {ONE: ["acme/**"]},
    "the second sees less": {ONE: ["acme/app/**"], TWO: ["**"]},
    "overlapping roots": {ONE: ["acme/**"], TWO: ["acme/app/**", "second/*"]},
    "only a subgroup": {ONE: ["beta/inner/**"]},
    "personal": {ONE: ["ada/*"], TWO: ["second/dotfiles"]},
}


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_and_patterns(name: str) -> None:
    kinds = ("project", "group", "member", "merge-request", "issue", "pipeline", "job")
    row: dict[str, Any] = {"properties": {"object": "."}}
    mapping = mapping_of(*(resource(kind, identifier=f'"{kind}-\\(.id)"', **row) for kind in kinds))
    check(company((*MRS, *ISSUES, *BUILDS)), mapping, tokens=TOKENS[name], again=SOAK)


def test_a_guest_above_and_an_owner_below() -> None:
    mapping = mapping_of(whole("merge-request"), whole("issue", "other"), visibility={"minAccessLevel": 10})
    check(guest_and_owner(), mapping)


def test_patterns_and_active_groups() -> None:
    mapping = mapping_of(whole("merge-request", selector={"includeOnlyActiveGroups": True}))
    check(company(MRS), mapping, tokens={ONE: ["acme/**"]})


@pytest.mark.parametrize("merge", [True, False])
def test_entity_mappings_of_one_resource_are_laid_over_each_other(merge: bool) -> None:
    two = thing()
    two["port"]["entity"]["mappings"] = [
        {"identifier": ".path", "blueprint": '"thing"', "title": ".name", "properties": {"text": ".name"}},
        {"identifier": ".path", "blueprint": '"thing"', "properties": {"text": ".path", "number": ".id"}},
        {"identifier": ".namespace.path", "blueprint": '"thing"', "properties": {"number": ".id"}},
        {"identifier": ".namespace.path", "blueprint": '"thing"', "properties": {"text": ".path", "flag": "true"}},
    ]
    check(company(), mapping_of(two, enableMergeEntity=merge))


def test_whole_entities_replace_each_other() -> None:
    mapping = mapping_of(
        thing(properties={"text": ".name", "number": ".id"}),
        thing(properties={"text": ".path"}),
        enableMergeEntity=False,
    )
    check(company(), mapping)


def test_resources_whose_blueprint_depends_on_the_row_are_laid_over_each_other() -> None:
    blueprint = 'if .archived then "other" else "thing" end'
    mapping = mapping_of(
        thing(
            blueprint_expression=blueprint,
            selector={"includeLanguages": True},
            properties={"text": ".name", "number": ".id"},
        ),
        thing(blueprint_expression=blueprint, properties={"more": ".path", "number": "0 - .id"}),
    )
    check(company(), mapping)


def test_only_the_path_that_is_parsed_is_taken_out() -> None:
    mapping = mapping_of(
        thing(
            "group-with-members",
            port={"itemsToParse": ".default_branch_protection_defaults.allowed_to_push[0].access_level | [.]"},
            properties={"number": ".item", "object": ".default_branch_protection_defaults"},
        )
    )
    check(company(), mapping)


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("merge-request", "includeOnlyActiveGroups"),
        ("issue", "includeOnlyActiveGroups"),
        ("pipeline", "includeOnlyActiveProjects"),
        ("job", "includeOnlyActiveProjects"),
        ("member", "includeOnlyActiveGroups"),
        ("project-with-members", "includeOnlyActiveProjects"),
        ("deployment", "includeOnlyActiveProjects"),
        ("label", "includeOnlyActiveGroups"),
    ],
)
def test_a_list_that_two_selectors_need_is_read_once(kind: str, option: str) -> None:
    check(
        company((*MRS, *ISSUES, *BUILDS, "lists")),
        mapping_of(whole(kind), whole(kind, "other", selector={option: True})),
    )


def test_languages_that_two_selectors_need_are_read_once() -> None:
    languages = {"includeLanguages": True}
    active = {**languages, "includeOnlyActiveProjects": True}
    check(company(), mapping_of(whole("project", selector=languages), whole("project", "other", selector=active)))


def test_kinds_share_what_they_need() -> None:
    mapping = mapping_of(
        whole("project"),
        whole("group"),
        whole("member", "other"),
        thing("group-with-members", identifier=".full_path"),
        thing("project-with-members", identifier=".path_with_namespace"),
        thing("pipeline", "other", identifier='"pipeline-\\(.id)"'),
        thing("job", identifier='"job-\\(.id)"', relations={"many": "[.pipeline.id | tostring]"}),
        thing("job", "other", query='.status == "failed"', identifier='"job-\\(.id)"'),
    )
    check(company(BUILDS), mapping)


def busy_world(pipelines: int, jobs: int, **more: Any) -> World:
    """One project with many pipelines, the newest last, as many jobs in each and one of them tried again."""
    world = company()
    project = world.project("acme/core")
    for number in range(pipelines):
        when = world.ago(hours=pipelines - number)
        ref = "feature" if number == 0 else "main"
        pipeline = world.add_pipeline(project, created_at=when, updated_at=when, ref=ref, **more)
        world.add_job(pipeline, "job 0", "failed", retried=True)
        for name in range(jobs):
            world.add_job(pipeline, f"job {name}")
    return world


BUSY = {
    "pipelines beyond one page": (130, 1, {}),
    "jobs beyond one page": (2, 130, {}),
    "one old pipeline": (12, 60, {"ref": "feature"}),
    "all but one": (5, 60, {"ref": "main"}),
}


@pytest.mark.parametrize("name", BUSY)
def test_many_pipelines_and_jobs(name: str) -> None:
    pipelines, jobs, query = BUSY[name]
    mapping = mapping_of(
        resource(
            "job", properties={"text": ".name", "number": ".pipeline.id"}, selector={"pipelineQueryParams": query}
        ),
        resource("pipeline", "other", properties={"text": ".ref"}),
    )
    check(busy_world(pipelines, jobs), mapping)


def test_everything_beyond_one_page() -> None:
    world = company()
    core, ada = world.project("acme/core"), world.users[3]
    for number in range(205):
        world.add_merge_request(core, f"Change {number}", author=ada)
        world.add_issue(core, f"Issue {number}", author=ada)
        world.add_member(world.group("acme/app"), world.add_user(f"user{number}"), DEVELOPER)
        world.add_project(world.group("acme/app"), f"p{number}")
    parts: dict[str, Any] = {"properties": {"text": ".title", "more": ".username"}}
    kinds = ("merge-request", "issue", "member", "group-with-members", "project")
    check(world, mapping_of(*(resource(kind, identifier=f'"{kind}-\\(.id)"', **parts) for kind in kinds)))


def test_the_row_of_the_lowest_project_wins_however_it_was_read() -> None:
    world = World(company().now)
    reader, ada = world.add_user("reader"), world.add_user("ada")
    world.add_token(ONE, reader)
    group = world.add_group("acme")
    world.add_member(group, reader, MAINTAINER)
    world.add_project(world.add_user("nobody"), "unseen")
    lone, core = world.add_project(reader, "lone"), world.add_project(group, "core")
    for project in (core, lone):
        world.add_merge_request(project, "Change", author=ada)
    assert group["id"] < lone["id"] < core["id"]
    check(world, mapping_of(resource("merge-request", identifier=".author.username", properties={"number": ".id"})))


@pytest.mark.timeout(300)
@BY_CHANCE
@given(worlds(), mappings(v1=False), tokens())
def test_any_world_and_mapping(world: World, mapping: dict[str, Any], tokens: dict[str, list[str]]) -> None:
    check(world, mapping, type="gitlab-v2", tokens=tokens, empty=None)
