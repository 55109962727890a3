"""Against ConductorOne's connector: a sync of accounts and roles tells what it lists, and asks GitLab far less."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import requests

from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_access import DEVELOPER, GUEST, MAINTAINER, MINIMAL, OWNER, PLANNER, REPORTER
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World
from testbed.harness import blueprint, mapping_of, port_with, resource, run_sync

TOKEN = "token-of-reader"
# The levels that the connector knows by name: https://github.com/ConductorOne/baton-gitlab
KNOWN = {MINIMAL: "Minimal", GUEST: "Guest", REPORTER: "Reporter", DEVELOPER: "Developer", MAINTAINER: "Maintainer",
         OWNER: "Owner"}  # fmt: skip
# About what the connector asks for in one sync of the world of `large`.
PEER_REQUESTS = 3_362

Grant = tuple[int, str, int, str]


class Peer:
    """What the connector asks on GitLab.com: the groups that the token's user owns, and members again and again."""

    def __init__(self, gitlab: GitLabServer) -> None:
        self.url, self.requests = gitlab.url, 0
        groups = list(self._pages("/groups?owned=true"))
        tops = [group for group in groups if not group["parent_id"]]
        self.groups = {group["id"] for group in groups}
        projects = [project for top in tops for project in self._pages(f"/groups/{top['id']}/projects")]
        self.projects = {project["id"] for project in projects}
        # Accounts: the members of each top-level group and of each project.
        people = [row for top in tops for row in self._pages(f"/groups/{top['id']}/members/all")]
        people += [row for id in self.projects for row in self._pages(f"/projects/{id}/members/all")]
        self.accounts = {row["id"] for row in people}
        # Grants: the members of each group and, once more, of each project.
        self.grants = set(self._grants("group", self.groups)) | set(self._grants("project", self.projects))

    def _grants(self, kind: str, ids: set[int]) -> Iterator[Grant]:
        for id in ids:
            for row in self._pages(f"/{kind}s/{id}/members/all"):
                yield row["id"], kind, id, KNOWN.get(row["access_level"], "")

    def _pages(self, path: str) -> Iterator[Row]:
        page = "1"
        while page:
            self.requests += 1
            more = "&" if "?" in path else "?"
            answer = requests.get(
                f"{self.url}/api/v4{path}{more}per_page=100&page={page}",
                headers={"Private-Token": TOKEN},
                timeout=30,
            )
            yield from answer.json()
            page = answer.headers.get("X-Next-Page", "")


def peer_requests(world: World) -> int:
    """How many requests the connector makes, without making them."""

    def pages(count: int) -> int:
        return max(1, -(-count // 100))

    def everybody(group: Row) -> set[int]:
        above = world.ancestors(group["id"])
        return {row["id"] for one in above for row in world.group_members[one["id"]]}

    groups = list(world.groups.values())
    tops = [group for group in groups if not group["parent_id"]]
    projects = [(top, world.projects[id]) for top in tops for id in world.projects_in[top["id"]]]
    of_groups = {group["id"]: pages(len(everybody(group))) for group in groups}
    of_projects = [
        pages(len(everybody(top) | {row["id"] for row in world.project_members[project["id"]]}))
        for top, project in projects
    ]
    lists = pages(len(groups)) + sum(pages(len(world.projects_in[top["id"]])) for top in tops)
    return lists + sum(of_groups[top["id"]] for top in tops) + sum(of_groups.values()) + 2 * sum(of_projects)


def begin(members: int) -> tuple[World, Row]:
    world = World(datetime.now(UTC))
    reader = world.add_user("reader")
    world.add_token(TOKEN, reader)
    acme = world.add_group("acme")
    world.add_member(acme, reader, OWNER)
    for number in range(members):
        level = (GUEST, REPORTER, DEVELOPER, MAINTAINER)[number % 4]
        world.add_member(acme, world.add_user(f"person-{number:04}"), level)
    return world, acme


def small() -> World:
    """A company with two top-level groups, a subgroup, an invited group, a bot, and people in projects alone."""
    world, acme = begin(7)
    apps, other = world.add_group("apps", acme), world.add_group("other")
    reader = world.users[1]
    world.add_member(other, reader, OWNER)
    web, tool = world.add_project(acme, "web"), world.add_project(other, "tool")
    guest, bot = world.add_user("guest"), world.add_user("project_1_bot_0a1b", bot=True)
    world.add_member(web, guest, DEVELOPER, "2030-01-01")
    world.add_member(web, bot, MAINTAINER)
    world.add_member(apps, guest, MAINTAINER)
    world.add_member(other, world.add_user("planner"), PLANNER)
    world.add_member(tool, world.users[2], OWNER)
    world.share_group(other, apps, REPORTER)
    return world


def large() -> World:
    """A company of 1,070 people in one group of 151 projects with a few subgroups."""
    world, acme = begin(1_069)
    for number in range(151):
        project = world.add_project(acme, f"project-{number:03}")
        world.add_member(project, world.users[2 + number], OWNER)
    for number in range(2):
        world.add_group(f"team-{number}", acme)
    return world


def ours(world: World | GitLabServer, query: str = "true") -> Any:
    """A sync of accounts, groups, projects and roles."""
    key = '"\\(.__scope.kind):\\(.__scope.id):\\(.id)"'
    selector = {"query": query, "includeBotMembers": True}
    resources = (
        resource("user", identifier='"user:\\(.id)"', properties={"object": "."}, selector=selector),
        resource("access", identifier=key, properties={"object": "."}, selector=selector),
        resource("group", identifier='"group:\\(.id)"', properties={"object": "."}, selector={"query": query}),
        resource("project", identifier='"project:\\(.id)"', properties={"object": "."}, selector={"query": query}),
    )
    mapping = mapping_of(*resources, visibility={"useMinAccessLevel": False})
    return run_sync(world, port_with(blueprint("thing", object="object")), mapping, tokens=TOKEN)


def grants_of(rows: Mapping[str, Any]) -> set[Grant]:
    """The roles among the entities of a sync, in the connector's words."""
    found = [entity[3]["object"] for key, entity in rows.items() if key.count(":") == 2]
    return {
        (row["id"], row["__scope"]["kind"], row["__scope"]["id"], KNOWN.get(row["access_level"], "")) for row in found
    }


def test_accounts_groups_projects_and_grants_are_those_that_the_connector_lists() -> None:
    with gitlab_server(small()) as gitlab:
        peer = Peer(gitlab)
        assert peer.requests == peer_requests(gitlab.world)
        rows = ours(gitlab).store.snapshot()["thing"]
    ids = Counter(key.partition(":")[0] for key in rows if key.count(":") == 1)
    assert {int(key[5:]) for key in rows if key.startswith("user:")} >= peer.accounts
    assert {int(key[6:]) for key in rows if key.startswith("group:") and key.count(":") == 1} == peer.groups
    assert {int(key[8:]) for key in rows if key.startswith("project:") and key.count(":") == 1} == peer.projects
    assert grants_of(rows) == peer.grants
    assert ids["user"] >= len(peer.accounts)


def test_the_roles_that_the_connector_has_no_name_for_are_told_by_name() -> None:
    rows = ours(small()).store.snapshot()["thing"]
    assert "Planner" in {entity[3]["object"].get("access_role") for entity in rows.values()}


def test_gitlab_is_asked_a_fifteenth_as_often() -> None:
    world = large()
    assert peer_requests(world) >= PEER_REQUESTS
    ran = ours(world, query="false")
    assert ran.report.exit_code in (0, 5)
    assert len(ran.gitlab.requests) <= PEER_REQUESTS / 15
