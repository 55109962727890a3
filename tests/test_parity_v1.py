"""What `gitlab` (the token mapping's type) leaves in Port, against an independent model of it."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given

from gitlab_port_export.demo.gitlab_access import MAINTAINER
from gitlab_port_export.demo.gitlab_store import World
from test_parity_v2 import LISTS, each
from testbed.by_chance import BY_CHANCE, mappings, tokens, worlds
from testbed.harness import mapping_of, resource
from testbed.parity import ONE, SOAK, TWO, Case, Party, check, company, guest_and_owner, parties, whole

pytestmark = pytest.mark.usefixtures("lent_evaluator")

FILL = ("merge_requests", "issues", "pipelines")
ANY_OWNER: dict[str, Any] = {"filterOwnedProjects": False}
Tokens = Mapping[str, list[str]]


def one(kind: str, root: Mapping[str, Any] | None = None, **selector: Any) -> Case:
    """A case with one resource that keeps whole rows, for both tokens everywhere."""
    return Case(FILL, mapping_of(whole(kind, selector=selector), **(ANY_OWNER if root is None else root)))


SELECTORS: dict[str, Case] = {
    "owned projects": one("project", {}),
    "owned projects, leniently": one("project", {"filterOwnedProjects": "yes"}),
    "projects of anybody": one("project", {"filterOwnedProjects": False}),
    "projects, not filtered": one("project", {"filterOwnedProjects": None}),
    "public projects": one("project", {**ANY_OWNER, "projectVisibilityFilter": "public"}),
    "owned internal projects": one("project", {"projectVisibilityFilter": "internal"}),
    "projects, visibility does not matter": one("project", {**ANY_OWNER, "projectVisibilityFilter": None}),
    "projects with labels": one("project", includeLabels=True),
    "projects with labels, leniently": one("project", includeLabels="on"),
    "projects without labels": one("project", includeLabels=False),
    "groups": one("group"),
    "groups with members": one("group-with-members"),
    "groups with members and bots": one("group-with-members", includeBotMembers=True),
    "groups with inherited members": one("group-with-members", includeInheritedMembers=True),
    "groups with members as they are": one("group-with-members", includeVerboseMemberObject=True),
    "projects with members": one("project-with-members"),
    "projects with all members as they are": one(
        "project-with-members", includeInheritedMembers=True, includeBotMembers="true", includeVerboseMemberObject=True
    ),
    "merge requests": one("merge-request"),
    "issues": one("issue"),
    "pipelines": one("pipeline"),
    "jobs": one("job"),
    "jobs of owned projects": one("job", {}),
    "lists": Case(("lists",), mapping_of(*LISTS["all that there are"])),
    "branches by text": Case(("lists",), mapping_of(*LISTS["branches by text"], **ANY_OWNER)),
    "pipelines of public projects": one("pipeline", {**ANY_OWNER, "projectVisibilityFilter": "public"}),
}


@each(parties(SELECTORS))
def test_selectors(party: Party) -> None:
    check(company(party.fill), party.mapping, type="gitlab", blueprints=party.blueprints)


TOKENS: dict[str, Tokens] = {
    "both see everything": {ONE: ["**"], TWO: ["**"]},
    "everything, in two ways": {ONE: ["**/*", "*"]},
    "each its own": {ONE: ["acme/**", "acme"], TWO: ["beta/**", "beta"]},
    "overlapping": {ONE: ["acme/**"], TWO: ["acme/app/**", "**/secret"]},
    "overlapping, the other way": {TWO: ["acme/app/**", "**/secret"], ONE: ["acme/**"]},
    "one project exactly": {ONE: ["acme/core"]},
    "the shorter name of two": {ONE: ["acme/app1"], TWO: ["acme/app"]},
    "a prefix": {ONE: ["acme/app*"]},
    "a name anywhere": {ONE: ["**/core", "**/lib"], TWO: ["**/dotfiles"]},
    "letters": {ONE: ["acme/[a-c]*", "acme/app?"]},
    "nested roots": {ONE: ["acme/**", "acme/app/**", "acme/app/deep/api"]},
    "only a subgroup": {ONE: ["beta/inner/**"]},
    "a subgroup of the other's root": {ONE: ["beta/**"], TWO: ["beta/*"]},
    "personal": {ONE: ["ada/*"], TWO: ["second/dotfiles"]},
    "case counts": {ONE: ["acme/core", "acme/app"], TWO: ["**/secret"]},
}


def rows_of(*kinds: str) -> tuple[Any, ...]:
    """Resources that keep the whole rows of several kinds in one blueprint."""
    row: dict[str, Any] = {"properties": {"object": "."}}
    return tuple(resource(kind, identifier=f'"{kind}-\\(.id)"', **row) for kind in kinds)


PROJECT_KINDS, GROUP_KINDS = ("project", "group", "pipeline", "job"), ("merge-request", "issue")


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_and_patterns(name: str) -> None:
    mapping = mapping_of(*rows_of(*PROJECT_KINDS, *GROUP_KINDS), **ANY_OWNER)
    check(company(FILL), mapping, type="gitlab", tokens=TOKENS[name], again=SOAK)


# Who owns a project matters to its tokens' patterns in these ways.
OWNED = TOKENS if SOAK else ("everything, in two ways", "each its own", "the shorter name of two", "personal")


@pytest.mark.parametrize("name", OWNED)
def test_tokens_and_patterns_of_owned_projects(name: str) -> None:
    mapping = mapping_of(*rows_of(*PROJECT_KINDS))
    check(company(FILL), mapping, type="gitlab", tokens=TOKENS[name], empty=None, again=SOAK)


# Where only a project's own name tells whether a pattern matches, each token reads the groups for its own patterns.
APART = {"a name anywhere"}
# Roots that meet, names anywhere, a project alone, a place below a root, personal projects: each finds its lists anew.
UNOWNED = TOKENS if SOAK else ("overlapping", "a name anywhere", "one project exactly", "only a subgroup", "personal")


@pytest.mark.parametrize("name", UNOWNED)
def test_merge_requests_and_issues_do_not_ask_who_owns_the_project(name: str) -> None:
    """`filterOwnedProjects` hides projects, yet Ocean reads merge requests and issues by group."""
    check(
        company(FILL),
        mapping_of(*rows_of(*GROUP_KINDS)),
        type="gitlab",
        tokens=TOKENS[name],
        empty=None,
        apart=name in APART,
        again=SOAK,
    )


@pytest.mark.parametrize("root", [ANY_OWNER, {}])
def test_a_guest_above_and_an_owner_below(root: dict[str, Any]) -> None:
    check(guest_and_owner(), mapping_of(*rows_of(*GROUP_KINDS), **root), type="gitlab")


def test_enrichments_of_one_resource_do_not_show_in_another() -> None:
    flags = {"flag": 'has("__members")', "known": 'has("__labels")'}
    mapping = mapping_of(
        resource("project-with-members", identifier='"p\\(.id)"', properties=flags),
        resource("project", identifier='"l\\(.id)"', properties=flags, selector={"includeLabels": True}),
        resource("project", properties=flags),
        resource("pipeline", identifier='"b\\(.id)"', properties={"flag": '.__project | has("__languages")'}),
        **ANY_OWNER,
    )
    check(company(FILL), mapping, type="gitlab")


def test_an_administrator_sees_all() -> None:
    world = company(FILL)
    root = next(user for user in world.users.values() if user["username"] == "root")
    world.add_token("token-of-root", root, admin=True)
    check(world, mapping_of(*rows_of("group", "issue"), **ANY_OWNER), type="gitlab", tokens={"token-of-root": ["**"]})


def test_the_token_with_the_highest_role_reads_a_shared_place() -> None:
    world = company(FILL)
    world.add_member(world.group("gamma"), world.users[2], MAINTAINER)
    check(world, mapping_of(*rows_of("project", "issue", "merge-request"), **ANY_OWNER), type="gitlab")


@pytest.mark.timeout(300)
@BY_CHANCE
@given(worlds(), mappings(v1=True), tokens())
def test_any_world_and_mapping(world: World, mapping: dict[str, Any], tokens: dict[str, list[str]]) -> None:
    check(world, mapping, type="gitlab", tokens=tokens, empty=None)
