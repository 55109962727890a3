"""Accounts and access: who has which role where and what gives it, over real HTTP and against a naive count."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest
import yaml
from hypothesis import given

from gitlab_port_export.demo.gitlab import Fault, GitLabServer, Recorded, faults, gitlab_server
from gitlab_port_export.demo.gitlab_access import DEVELOPER, GUEST, MAINTAINER, MINIMAL, OWNER, REPORTER
from gitlab_port_export.demo.gitlab_kinds.invitation import add_invitation
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import sample_world
from gitlab_port_export.gitlab.kinds.shared.objects import note
from gitlab_port_export.model import Scope
from gitlab_port_export.port.defaults import default_blueprints
from gitlab_port_export.report.values import Report
from testbed.by_chance import BY_CHANCE, worlds
from testbed.faults import one_evaluator
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync
from testbed.parity import ONE as READER
from testbed.parity import SOAK, TWO, read_twice

DEFAULTS = files("gitlab_port_export.port.defaults")
KEY = '"\\(.__scope.full_path):\\(.username)"'
ADMIN, ROOT = "token-of-admin", "root-token-000"
ALL_LEVELS = {"visibility": {"useMinAccessLevel": False}}


def access_resource(**selector: Any) -> Any:
    return resource("access", identifier=KEY, properties={"object": "."}, selector=selector)


def user_resource(**selector: Any) -> Any:
    return resource("user", identifier=".username", properties={"object": "."}, selector=selector)


def store() -> PortStore:
    return port_with(blueprint("thing", object="object"))


def rows_in(found: PortStore) -> dict[str, Row]:
    return {key.replace(":", " "): entity[3]["object"] for key, entity in found.snapshot()["thing"].items()}


def synced(
    world: World | GitLabServer, *resources: Any, port: Any = None, code: int = 0, **options: Any
) -> tuple[dict[str, Row], GitLabServer, Report]:
    """The rows that a run brought to Port, by identifier; nothing is read twice."""
    ran = run_sync(world, port or store(), mapping_of(*resources, **ALL_LEVELS), **options)
    assert ran.report.exit_code == code, ran.report.problems
    return rows_in(ran.store), ran.gitlab, ran.report


def told(rows: Mapping[str, Row]) -> dict[str, tuple[Any, ...]]:
    """Role, membership, origin and end of each row."""
    names = ("access_role", "__membership", "__inherited_from", "expires_at")
    return {key: tuple(row[name] for name in names) for key, row in rows.items()}


@pytest.fixture
def world() -> World:
    """A group with a subgroup, two invited groups and a personal project; `reader` owns the top."""
    world = World(datetime.now(UTC))
    reader, ada, bo, cy = (world.add_user(name, name.title()) for name in ("reader", "ada", "bo", "cy"))
    acme = world.add_group("acme")
    team = world.add_group("team", acme)
    guild, club = world.add_group("guild"), world.add_group("club")
    api, core = world.add_project(team, "api"), world.add_project(acme, "core")
    tool = world.add_project(ada, "tool")
    world.add_token(READER, reader)
    world.add_member(acme, reader, OWNER)
    world.add_member(acme, ada, DEVELOPER)
    world.add_member(team, ada, GUEST, expires_at="2030-01-01")
    world.add_member(team, bo, DEVELOPER, expires_at="2031-01-01")
    world.add_member(api, ada, MAINTAINER)
    world.add_member(tool, reader, DEVELOPER)
    world.add_member(guild, reader, GUEST)
    world.add_member(club, reader, GUEST)
    world.add_member(guild, bo, OWNER)
    world.add_member(guild, cy, OWNER, expires_at="2029-05-05")
    world.add_member(club, cy, OWNER)
    world.add_member(acme, world.add_user("group_1_bot_0badcafe", "bot", bot=True), REPORTER)
    world.add_member(acme, world.add_user("minimal"), MINIMAL)
    world.share_group(team, guild, REPORTER, expires_at="2028-01-01")
    world.share_project(core, club, REPORTER)
    return world


def run_access(world: World, *, root: Any = None, **selector: Any) -> tuple[dict[str, Row], GitLabServer]:
    ran = run_sync(world, store(), mapping_of(access_resource(**selector), **(root or ALL_LEVELS)))
    assert ran.report.exit_code == 0, ran.report.problems
    assert read_twice(ran.gitlab) == []
    return rows_in(ran.store), ran.gitlab


@pytest.fixture(autouse=True, scope="module")
def one() -> Iterator[None]:
    with one_evaluator():
        yield


# Access


def test_every_role_comes_with_what_gives_it(world: World) -> None:
    rows, gitlab = run_access(world)
    owner = ("Owner", "direct", None, None)
    assert told(rows) == {
        "acme reader": owner,
        "acme ada": ("Developer", "direct", None, None),
        "acme minimal": ("Minimal access", "direct", None, None),
        "acme/team reader": ("Owner", "inherited", "acme", None),
        # The own membership is the lower one.
        "acme/team ada": ("Developer", "inherited", "acme", None),
        "acme/team bo": ("Developer", "direct", None, "2031-01-01"),
        # The invitation ends before the membership in the invited group does, and allows less.
        "acme/team cy": ("Reporter", "invited", "guild", "2028-01-01"),
        "acme/team/api reader": ("Owner", "inherited", "acme", None),
        "acme/team/api ada": ("Maintainer", "direct", None, None),
        "acme/team/api bo": ("Developer", "inherited", "acme/team", "2031-01-01"),
        "acme/team/api cy": ("Reporter", "invited", "guild", "2028-01-01"),
        "acme/core reader": ("Owner", "inherited", "acme", None),
        "acme/core ada": ("Developer", "inherited", "acme", None),
        "acme/core cy": ("Reporter", "invited", "club", None),
        "ada/tool ada": owner,
        "ada/tool reader": ("Developer", "direct", None, None),
        "guild reader": ("Guest", "direct", None, None),
        "guild bo": owner,
        "guild cy": ("Owner", "direct", None, "2029-05-05"),
        "club reader": ("Guest", "direct", None, None),
        "club cy": owner,
    }
    assert rows["acme/team bo"]["__scope"] == {"kind": "group", "id": 2, "full_path": "acme/team"}
    assert rows["acme/team/api bo"]["access_level"] == DEVELOPER
    # Members and members/all of 4 groups, members of 3 projects; one project has an invited group, and one group
    # somebody whom only an invitation explains.
    assert gitlab.count("/members") == 4 * 2 + 3 + 1
    assert sorted(request.path for request in gitlab.requests if "/members" not in request.path) == [
        "/groups", "/groups/2", "/projects", "/projects", "/user",
    ]  # fmt: skip


def test_of_equal_roles_the_nearest_counts(world: World) -> None:
    world.add_member(world.project("acme/core"), world.users[2], DEVELOPER, expires_at="2032-01-01")
    rows, _ = run_access(world)
    assert told(rows)["acme/core ada"] == ("Developer", "direct", None, "2032-01-01")
    assert told(rows)["acme/team ada"] == ("Developer", "inherited", "acme", None)


def test_both_types_give_the_same(world: World) -> None:
    new, _ = run_access(world)
    mapping = mapping_of(access_resource(), user_resource(), filterOwnedProjects=None)
    old = run_sync(world, store(), mapping, type="gitlab")
    assert old.report.exit_code == 0, old.report.problems
    assert told({key: row for key, row in rows_in(old.store).items() if "__scope" in row}) == told(new)


def test_direct_members_take_one_request_a_place(world: World) -> None:
    rows, gitlab = run_access(world, includeInheritedMembers=False)
    assert told(rows)["acme/team ada"] == ("Guest", "direct", None, "2030-01-01")
    assert {row["__membership"] for row in rows.values()} == {"direct"}
    assert "acme/team cy" not in rows
    assert gitlab.count("/members") == 4 + 3
    assert gitlab.count("/members/all") == 0


def test_scopes_and_bots_are_chosen(world: World) -> None:
    rows, _ = run_access(world, scopes=["project"], includeBotMembers="yes")
    assert {key.split()[0] for key in rows} == {"acme/team/api", "acme/core", "ada/tool"}
    assert told(rows)["acme/core group_1_bot_0badcafe"] == ("Reporter", "inherited", "acme", None)
    groups, _ = run_access(world, scopes=["group"])
    assert {row["__scope"]["kind"] for row in groups.values()} == {"group"}
    assert not any("bot" in key for key in groups)


def test_member_kinds_and_accounts_share_the_lists(world: World) -> None:
    others = [resource(kind, identifier=f'"{kind}:\\(.id)"') for kind in ("group-with-members", "project-with-members")]
    ran = run_sync(world, store(), mapping_of(access_resource(), user_resource(), *others, **ALL_LEVELS))
    assert ran.report.exit_code == 0
    assert ran.gitlab.count("/members") == 4 * 2 + 3 + 1
    # The accounts ask once who is an administrator, beside the first contact.
    assert ran.gitlab.count("/user") == 2


def test_a_hidden_group_above_is_no_explanation(world: World) -> None:
    """A token of the subgroup alone: what comes from above is all there, without where it comes from."""
    sub = world.add_user("sub")
    world.add_token(TWO, sub)
    world.add_member(world.group("acme/team"), sub, MAINTAINER)
    ran = run_sync(world, store(), mapping_of(access_resource()), tokens=[TWO])
    rows = rows_in(ran.store)
    assert told(rows) == {
        "acme/team reader": ("Owner", "indirect", None, None),
        "acme/team ada": ("Developer", "indirect", None, None),
        "acme/team bo": ("Developer", "direct", None, "2031-01-01"),
        "acme/team cy": ("Reporter", "indirect", None, "2029-05-05"),
        "acme/team sub": ("Maintainer", "direct", None, None),
        "acme/team/api reader": ("Owner", "indirect", None, None),
        "acme/team/api ada": ("Maintainer", "direct", None, None),
        "acme/team/api bo": ("Developer", "inherited", "acme/team", "2031-01-01"),
        "acme/team/api cy": ("Reporter", "indirect", None, "2029-05-05"),
        "acme/team/api sub": ("Maintainer", "inherited", "acme/team", None),
    }


def test_groups_that_the_patterns_leave_out_still_explain(world: World) -> None:
    mapping = mapping_of(access_resource(), **ALL_LEVELS)
    rows = rows_in(run_sync(world, store(), mapping, tokens={READER: ["acme/team/**"]}).store)
    assert {key.split()[0] for key in rows} == {"acme/team/api"}
    assert told(rows)["acme/team/api reader"] == ("Owner", "inherited", "acme", None)


def test_of_several_invited_groups_the_one_with_the_person_counts(world: World) -> None:
    core, ann = world.project("acme/core"), world.add_user("ann")
    world.share_project(core, world.group("guild"), DEVELOPER, expires_at="2027-07-07")
    world.add_member(world.group("guild"), ann, OWNER)
    rows, _ = run_access(world)
    assert told(rows)["acme/core ann"] == ("Developer", "invited", "guild", "2027-07-07")
    # In both; the guild's invitation allows more.
    assert told(rows)["acme/core cy"] == ("Developer", "invited", "guild", "2027-07-07")
    assert told(rows)["acme/core bo"] == ("Developer", "invited", "guild", "2027-07-07")


@pytest.mark.parametrize("fault", [faults.server_error(), faults.login_page(), faults.gateway_list()])
def test_an_invited_group_that_was_not_read_makes_nobody_come_from_elsewhere(world: World, fault: Any) -> None:
    """Who came with which group is told by its members; a guess would be written over what is known."""
    world.share_project(world.project("acme/core"), world.group("guild"), DEVELOPER, expires_at="2027-07-07")
    port, mapping = store(), mapping_of(access_resource(scopes=["project"]), **ALL_LEVELS)
    run_sync(world, port, mapping)
    before = port.snapshot()
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(Fault(f"/groups/{world.group('guild')['id']}/members", fault))
        report = run_sync(gitlab, port, mapping).report
    assert (report.exit_code, port.snapshot()) == (1, before)


def test_an_older_gitlab_does_not_cap_what_invited_groups_bring(world: World) -> None:
    core = world.project("acme/core")
    listed = [{**row, "access_level": OWNER} for row in world.group_members[4]]
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(
            Fault(f"/projects/{core['id']}/members/all", faults.reply_json(200, listed, ("X-Next-Page", "")))
        )
        ran = run_sync(gitlab, store(), mapping_of(access_resource(), **ALL_LEVELS))
    assert told(rows_in(ran.store))["acme/core cy"] == ("Reporter", "invited", "club", None)


def naive(world: World) -> dict[tuple[str, int], int]:
    """Everybody's level in every place by trying each way to get one; minimal access counts in its group alone."""
    best: dict[tuple[str, int], int] = {}

    def give(place: str, person: int, level: int) -> None:
        best[place, person] = max(level, best.get((place, person), 0))

    for group in world.groups.values():
        for above in world.ancestors(group["id"]):
            for row in world.group_members.get(above["id"], ()):
                if row["access_level"] > MINIMAL or above is group:
                    give(group["full_path"], row["id"], row["access_level"])
    groups = dict(best)
    for project in world.projects.values():
        path = project["path_with_namespace"]
        for row in world.project_members.get(project["id"], ()):
            give(path, row["id"], row["access_level"])
        for (place, person), level in groups.items():
            if place == path.rpartition("/")[0] and level > MINIMAL:
                give(path, person, level)
            for share in project["shared_with_groups"]:
                if place == share["group_full_path"] and level > MINIMAL:
                    give(path, person, min(level, share["group_access_level"]))
    return best


@BY_CHANCE
@given(world=worlds())
def test_roles_are_those_of_a_naive_count(world: World) -> None:
    tokens = list(world.tokens)
    ran = run_sync(world, store(), mapping_of(access_resource(), user_resource(), **ALL_LEVELS), tokens=tokens)
    # A user without any role lists nothing, which no pattern matches.
    assert [one for one in ran.report.problems if "matches no group" not in one.why] == []
    found = {key: row for key, row in rows_in(ran.store).items() if "__scope" in row}
    seen = {row["__scope"]["full_path"] for row in found.values()}
    levels = {(row["__scope"]["full_path"], row["id"]): row["access_level"] for row in found.values()}
    expected = {key: level for key, level in naive(world).items() if key[0] in seen}
    assert levels == expected
    accounts = {row["id"] for row in rows_in(ran.store).values() if "__source" in row}
    assert accounts == {person for _, person in expected}


# Accounts


def with_admin(world: World) -> World:
    world.add_token(ADMIN, world.add_user(ROOT, "Root"), admin=True)
    world.accounts[2] = {"last_activity_on": "2026-04-30", "current_sign_in_at": "2026-04-29T08:00:00.000Z"}
    world.add_user("idle", "Nowhere A. Member", state="deactivated")
    return world


def test_an_administrators_token_lists_all_accounts_in_pages(world: World) -> None:
    with_admin(world)
    for number in range(230):
        world.add_user(f"user-{number:03}")
    rows, gitlab, _ = synced(world, user_resource(), tokens=[ADMIN])
    assert len(rows) == 4 + 1 + 2 + 230
    assert rows["ada"]["last_activity_on"] == "2026-04-30"
    assert rows["ada"]["current_sign_in_at"] == "2026-04-29T08:00:00.000Z"
    assert rows["ada"]["__source"] == "users"
    assert rows["ada"].keys() & {"current_sign_in_ip", "last_sign_in_ip"} == set()
    assert rows["idle"]["state"] == "deactivated"
    assert rows[ROOT]["is_admin"]
    assert "group_1_bot_0badcafe" not in rows
    assert gitlab.count("/users") == 3
    assert gitlab.count("/members") == 0


def test_bots_are_accounts_too_where_they_are_wanted(world: World) -> None:
    rows, *_ = synced(with_admin(world), user_resource(includeBotMembers=True), tokens=[ADMIN])
    assert rows["group_1_bot_0badcafe"]["bot"] is True
    members, *_ = synced(world, user_resource(includeBotMembers=True), tokens=[READER])
    assert members["group_1_bot_0badcafe"]["bot"] is True


def test_elsewhere_the_members_of_what_is_read_are_the_accounts(world: World) -> None:
    ran = run_sync(world, store(), mapping_of(user_resource(), **ALL_LEVELS))
    rows = rows_in(ran.store)
    assert set(rows) == {"reader", "ada", "bo", "cy", "minimal"}
    assert rows["ada"] == {
        "id": 2, "username": "ada", "name": "Ada", "state": "active", "locked": False, "public_email": None,
        "email": None, "bot": None, "avatar_url": None, "web_url": "https://gitlab.example.com/ada",
        "__source": "members",
    }  # fmt: skip
    assert ran.gitlab.count("/users") == 0


def test_what_one_list_hides_another_one_may_tell(world: World) -> None:
    world.group_members[2][1]["email"] = "bo@example.com"
    ran = run_sync(world, store(), mapping_of(user_resource(), **ALL_LEVELS))
    assert rows_in(ran.store)["bo"]["email"] == "bo@example.com"


def test_an_object_does_not_depend_on_which_list_comes_first() -> None:
    project, later, group = Scope(1, "a/b"), Scope(7, "z", is_group=True), Scope(2, "a", is_group=True)
    lists = {project: "project@example.com", later: "later@example.com", group: "group@example.com"}
    for order in (tuple(lists), tuple(lists)[::-1]):
        seen: Any = {}
        for scope in order:
            told = {"name": "" if scope.is_group else "Bo", "bot": None}
            note(seen, scope, [{"id": 5, "email": lists[scope], **told}])
        rows = {id: {name: value for name, (_, value) in known.items()} for id, known in seen.items()}
        assert rows == {5: {"id": 5, "email": "group@example.com", "name": "Bo", "bot": None}}


def test_a_token_that_is_for_some_groups_only_lists_no_accounts(world: World) -> None:
    with_admin(world)
    rows, gitlab, _ = synced(world, user_resource(), tokens={ADMIN: ["guild"]}, OCEAN__EXPORT__WORKERS=1)
    assert set(rows) == {"reader", "bo", "cy"}
    assert gitlab.count("/users") == 0
    everybody, *_ = synced(world, user_resource(source="users"), tokens={ADMIN: ["guild"]})
    assert "idle" in everybody


def test_the_source_can_be_chosen(world: World) -> None:
    members, gitlab, _ = synced(with_admin(world), user_resource(source="members"), tokens=[ADMIN])
    assert "idle" not in members
    assert gitlab.count("/user") == 1
    _, _, report = synced(world, user_resource(source="users"), tokens=[READER], code=1)
    (problem,) = report.problems
    assert problem.kind == "user"
    assert "no token is an administrator's" in problem.why


# What goes wrong


@pytest.mark.parametrize(
    ("match", "admin", "kinds"),
    [
        ("^/groups/1/members$", False, {"access", "user"}),
        ("^/groups/2/members/all$", False, {"access", "user"}),
        ("^/groups/2$", False, {"access"}),
        ("^/projects/1/members$", False, {"access", "user"}),
        ("^/projects/2/members/all$", False, {"access", "user"}),
        ("^/users$", True, {"user"}),
        ("^/user$", False, {"user"}),
    ],
)
@pytest.mark.parametrize("answer", [faults.forbidden(), faults.server_error()])
def test_a_refusal_is_a_problem_and_deletes_nothing(
    world: World, match: str, admin: bool, kinds: set[str], answer: faults.Reply
) -> None:
    if admin:
        with_admin(world)
    tokens = [ADMIN] if admin else [READER]
    mapping = mapping_of(access_resource(), resource("user", "person", identifier=".username"), **ALL_LEVELS)
    held = port_with(blueprint("thing", object="object"), blueprint("person"))
    with gitlab_server(world) as gitlab, port_server(held) as port:
        assert run_sync(gitlab, port, mapping, tokens=tokens).report.exit_code == 0
        before, gitlab.requests[:] = held.snapshot(), []

        # The first contact asks for the user too, and has to get through.
        def later(request: Recorded) -> bool:
            return bool(re.search(match, request.path)) and any(one.path == "/projects" for one in gitlab.requests)

        gitlab.faults.append(Fault(later, answer))
        report = run_sync(gitlab, port, mapping, tokens=tokens).report
        assert report.exit_code == 1
        assert kinds <= {problem.kind for problem in report.problems}
        assert held.snapshot() == before


ANSWERS = (faults.forbidden(), faults.bad_gateway(), faults.Drop(), faults.Truncate())
PLACES = (("^/groups/1/members$", False), ("^/groups/1/members/all$", False), ("^/users$", True))


# Every answer of one list and one of every list; `make soak` crosses them.
@pytest.mark.parametrize(
    ("match", "admin", "answer"),
    [
        (*place, answer)
        for number, place in enumerate(PLACES)
        for other, answer in enumerate(ANSWERS)
        if SOAK or number == 1 or other == number
    ],
)
def test_a_later_page_that_fails_deletes_nothing(world: World, match: str, admin: bool, answer: Any) -> None:
    if admin:
        with_admin(world)
    for number in range(120):
        world.add_member(world.group("acme"), world.add_user(f"user-{number:03}"), REPORTER)
    tokens = [ADMIN] if admin else [READER]
    mapping = mapping_of(user_resource(), access_resource(scopes=["group"]), **ALL_LEVELS)
    held = store()
    with gitlab_server(world) as gitlab, port_server(held) as port:
        assert run_sync(gitlab, port, mapping, tokens=tokens).report.exit_code == 0
        before = held.snapshot()

        def later(request: Recorded) -> bool:
            return bool(re.search(match, request.path)) and (request.page > 1 or "cursor" in dict(request.query))

        gitlab.faults.append(Fault(later, answer))
        assert run_sync(gitlab, port, mapping, tokens=tokens).report.exit_code == 1
        assert held.snapshot() == before


def test_an_administrator_who_is_none_for_the_list_gives_no_accounts(world: World) -> None:
    """GET /user says so, and yet the list is the one for everybody."""
    with_admin(world)
    with gitlab_server(world) as gitlab:
        plain = [dict(row) for row in world.users.values()]
        gitlab.faults.append(Fault("^/users$", faults.reply_json(200, plain)))
        _, _, report = synced(gitlab, user_resource(), tokens=[ADMIN], code=1)
    assert "as to no administrator" in report.problems[0].why


def test_who_left_is_deleted(world: World) -> None:
    held = port_with(blueprint("thing", object="object"), blueprint("person"))
    mapping = mapping_of(
        access_resource(),
        resource("user", "person", identifier=".username", selector={"source": "members"}),
        entityDeletionThreshold=1,
        **ALL_LEVELS,
    )
    with gitlab_server(world) as gitlab, port_server(held) as port:
        run_sync(gitlab, port, mapping)
        world.remove_member(world.group("guild"), world.users[4])
        world.remove_member(world.group("club"), world.users[4])
        world.project("acme/core")["shared_with_groups"] = []
        held.clock, clock = (lambda: datetime.now(UTC).timestamp() + 60), held.clock
        assert run_sync(gitlab, port, mapping).report.exit_code == 0
        held.clock = clock
    assert not any("cy" in key for key in held.snapshot()["thing"])
    assert "cy" not in held.snapshot()["person"]


# What ships


def test_the_sample_fills_its_blueprints() -> None:
    world = sample_world(datetime.now(UTC))
    blueprints = json.loads(DEFAULTS.joinpath("people-blueprints.json").read_text("utf-8"))
    sample = yaml.safe_load(DEFAULTS.joinpath("people-mapping.yml").read_text("utf-8"))
    usual = yaml.safe_load(DEFAULTS.joinpath("mapping.yml").read_text("utf-8"))["resources"]
    held = PortStore.default()
    for one in (*default_blueprints(), *blueprints):
        held.add_blueprint(one)
    mapping = {"resources": [one for one in usual if one["kind"] in ("group-with-members", "project")]}
    mapping["resources"] += sample["resources"]
    report, *_ = run_sync(world, held, mapping)
    assert report.exit_code == 0, report.problems
    found = held.snapshot()
    title, _, _, properties, relations = found["gitlabAccess"]["project-1-chen.wei"]
    assert title == "chen.wei: Developer of platform/gateway"
    assert properties["membership"] == "direct"
    assert relations == {"user": "chen.wei", "service": "platform/gateway"}
    assert found["gitlabUser"]["ada.nwosu"][3]["source"] == "members"
    ada = next(row for row in world.users.values() if row["username"] == "ada.nwosu")
    assert found["gitlabUser"]["ada.nwosu"][3]["id"] == ada["id"]


def test_the_sample_of_invitations_fills_its_blueprint_and_shows_no_secret() -> None:
    world, held = sample_world(datetime.now(UTC)), PortStore.default()
    for one in (*default_blueprints(), *json.loads(DEFAULTS.joinpath("people-blueprints.json").read_text("utf-8"))):
        held.add_blueprint(one)
    # Only owners may read invitations, so their resource is a comment.
    text = "\n".join(re.findall(r"^  # (-? .*)$", DEFAULTS.joinpath("people-mapping.yml").read_text("utf-8"), re.M))
    usual = yaml.safe_load(DEFAULTS.joinpath("mapping.yml").read_text("utf-8"))["resources"]
    resources = [one for one in usual if one["kind"] in ("group-with-members", "project")] + yaml.safe_load(text)
    add_invitation(world, world.group("platform"), "ida@example.com", OWNER, "2027-01-31", created_by_name="Ada")
    world.add_token(ROOT, next(iter(world.users.values())), admin=True)
    report, *_ = run_sync(world, held, {"resources": resources}, tokens=[ROOT])
    assert report.exit_code == 0, report.problems
    title, _, _, properties, relations = held.snapshot()["gitlabInvitation"]["group-1-ida@example.com"]
    assert title == "ida@example.com: Owner of platform"
    assert (properties["invitedBy"], properties["expiresAt"], relations) == ("Ada", "2027-01-31", {"group": "platform"})
    assert "never-to-be-shown" not in str((held.snapshot(), held.examples))


@pytest.mark.parametrize(("selector", "code", "deleted"), [({}, 5, 0), ({"source": "members"}, 0, 3)])
def test_accounts_without_a_role_go_only_where_the_selector_chose_members(
    selector: dict[str, Any], code: int, deleted: int
) -> None:
    world, reader, group = acme()
    world.add_token(ADMIN, reader, admin=True)
    for number in range(17):
        world.add_member(group, world.add_user(f"member{number}"), DEVELOPER)
    for number in range(3):
        world.add_user(f"stranger{number}")
    port = port_with(blueprint("thing", object="object"), clock=lambda: time.time() - 3600)
    assert run_sync(world, port, mapping_of(user_resource(), **ALL_LEVELS), tokens=[ADMIN]).report.exit_code == 0
    port.clock = time.time
    world.tokens[ADMIN] = replace(world.tokens[ADMIN], admin=False)
    report = run_sync(world, port, mapping_of(user_resource(**selector), **ALL_LEVELS), tokens=[ADMIN]).report
    assert (report.exit_code, report.blueprints["thing"].deleted) == (code, deleted), report.problems
    if not selector:
        (held,) = report.held
        assert (held.reason, held.count) == ("role", 3)
        assert "source: members" in held.hint
        assert "--allow-deletes thing=3" in held.hint
