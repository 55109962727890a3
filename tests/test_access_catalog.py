"""After a change of access the catalog is right at once: a plan finds nothing to do for accounts and roles."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from gitlab_port_export.access.catalog import LAGS, MOST_PLACES, write_through
from gitlab_port_export.access.values import EntityDone, Held, Outcome, Person, Place, Role, ScopeName, Wish
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, faults, gitlab_server
from gitlab_port_export.demo.gitlab_access import DEVELOPER, GUEST, MAINTAINER
from gitlab_port_export.demo.gitlab_kinds.invitation import add_invitation
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import refuse
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.port.defaults import default_blueprints
from gitlab_port_export.port.runs import RunPage
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.sync.prepare import Run, prepare
from testbed.harness import NoWait, acme, environ_for, mapping_file, run_sync
from testbed.parity import SOAK

pytestmark = pytest.mark.usefixtures("lent_evaluator")

DEFAULTS = files("gitlab_port_export.port.defaults")
ROOT = "token-of-root"
ROLE = {GUEST: "Guest", DEVELOPER: "Developer", MAINTAINER: "Maintainer"}


@dataclass
class Bed:
    """A GitLab and a Port in step, and what a command sees of both."""

    world: World
    gitlab: GitLabServer
    port: PortServer
    mapping: Any
    tokens: list[str] | None
    folder: Path

    def sync(self, command: Any = "sync") -> Any:
        """Run a sync in this process, or a plan."""
        return run_sync(self.gitlab, self.port, self.mapping, tokens=self.tokens, command=command).report

    def prepared(self) -> Run:
        environ = environ_for(self.gitlab, self.port, self.tokens, "gitlab-v2")
        file = mapping_file(self.mapping, self.folder)
        return prepare(load_settings(environ, dotenv=None, mapping_file=file), NoWait(), writes=True)

    def below(self, place: Place) -> list[Any]:
        if not place.is_group:
            return []
        group = self.world.groups[place.id]
        rows = [row for row in self.world.family(group) if row is not group]
        found = [("group", row["full_path"], row["id"]) for row in rows]
        return found + [("project", row["path_with_namespace"], row["id"]) for row in self.world.projects_below(group)]

    def follow(self, outcome: Outcome, run_id: str = "") -> Outcome:
        run = self.prepared()
        try:
            page = RunPage(run.port, run_id) if run_id else None
            return write_through(run, self.below, page)(outcome)
        finally:
            run.close()

    def user(self, name: str) -> Row:
        return next(row for row in self.world.users.values() if row["username"] == name)

    def source(self, path: str) -> Row:
        groups = (row for row in self.world.groups.values() if row["full_path"] == path)
        return next(groups, None) or self.world.project(path)

    def outcome(self, name: str, path: str, result: Any, before: int = 0) -> Outcome:
        user, source = self.user(name), self.source(path)
        kind: Any = "group" if "full_path" in source else "project"
        held = Held(Role(before, ROLE.get(before, "")), None, "direct", path) if before else None
        return Outcome(
            "access grant", result, Wish("grant", name, ScopeName(kind, path)),
            Person(user["id"], name, user["name"], "active", row=user),
            Place(kind, source["id"], path, source["name"]), before=held,
        )  # fmt: skip

    def entities(self, blueprint: str) -> dict[str, Any]:
        return {key: value[3] for key, value in self.port.store.snapshot()[blueprint].items()}


def people(source: str | None = None, **changes: Any) -> Any:
    """The default mapping's groups and projects with the accounts and roles that ship, and open invitations."""
    usual = yaml.safe_load(DEFAULTS.joinpath("mapping.yml").read_text("utf-8"))["resources"]
    text = DEFAULTS.joinpath("people-mapping.yml").read_text("utf-8")
    sample = yaml.safe_load(text)["resources"]
    if source:
        sample[0]["selector"]["source"] = source
    sample[1]["selector"] |= changes
    hidden = [line[4:] for line in text.splitlines() if line.startswith(("  # - ", "  #   "))]
    kinds = ("group-with-members", "project")
    resources = [one for one in usual if one["kind"] in kinds] + sample
    levels = {"visibility": {"useMinAccessLevel": False}}
    return {**levels, "resources": resources + yaml.safe_load("\n".join(hidden))}


def company() -> World:
    """`acme` with a subgroup and projects; jane maintains one project, joe the top group, ann nothing yet."""
    world, _, top = acme()
    jane, joe, _ = (world.add_user(name, name.title()) for name in ("jane", "joe", "ann"))
    world.add_token(ROOT, world.add_user("root"), admin=True)
    team = world.add_group("team", top)
    core, _ = world.add_project(top, "core"), world.add_project(team, "api")
    world.add_member(core, jane, MAINTAINER)
    world.add_member(top, joe, DEVELOPER)
    return world


@pytest.fixture(params=[None, "members", "users"])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    tokens = [ROOT] if request.param == "users" else ["token-of-reader"]
    with started(company(), people(request.param), tokens, tmp_path) as found:
        yield found


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Bed]:
    with started(company(), people(), ["token-of-reader"], tmp_path) as found:
        yield found


@contextmanager
def started(world: World, mapping: Any, tokens: list[str] | None, folder: Path) -> Iterator[Bed]:
    store = PortStore.default()
    # What one command wrote was written long ago when the next one runs.
    store.clock = lambda: time.time() - 3600
    for one in (*default_blueprints(), *json.loads(DEFAULTS.joinpath("people-blueprints.json").read_text("utf-8"))):
        store.add_blueprint(one)
    with gitlab_server(world) as gitlab, port_server(store) as port:
        bed = Bed(world, gitlab, port, mapping, tokens, folder)
        assert bed.sync().exit_code == 0
        port.requests.clear()
        gitlab.requests.clear()
        yield bed


Change = Callable[[Bed], Outcome]


def grant(name: str, path: str, level: int, before: int = 0) -> Change:
    def change(bed: Bed) -> Outcome:
        if before:
            bed.world.remove_member(bed.source(path), bed.user(name))
        bed.world.add_member(bed.source(path), bed.user(name), level)
        bed.world.touch()
        made = bed.outcome(name, path, "updated" if before else "created", before)
        return replace(made, after=Held(Role(level, ROLE.get(level, "")), None, "direct", path))

    return change


def revoke(name: str, path: str, before: int) -> Change:
    def change(bed: Bed) -> Outcome:
        bed.world.remove_member(bed.source(path), bed.user(name))
        bed.world.touch()
        return bed.outcome(name, path, "removed", before)

    return change


# One after the other in one GitLab.
STEPS = {
    "a first role in a project": grant("ann", "acme/core", DEVELOPER),
    "a role in a subgroup": grant("jane", "acme/team", GUEST),
    "a lower role in the group above": grant("ann", "acme", GUEST),
    "a higher role in a project": grant("jane", "acme/core", 50, MAINTAINER),
    "a lower role in a group": grant("joe", "acme", GUEST, DEVELOPER),
    "a direct role above an inherited one": grant("joe", "acme/team", MAINTAINER),
    "the end of a role in a project": revoke("jane", "acme/core", 50),
    "the end of a direct role above an inherited one": revoke("joe", "acme/team", MAINTAINER),
    "a role in a project below": grant("joe", "acme/team/api", DEVELOPER),
    "the end of a role in a group, of which one below is left": revoke("joe", "acme", GUEST),
    "the end of a role that is kept from a project": revoke("ann", "acme", GUEST),
}


def left_to_do(bed: Bed) -> list[str]:
    """What a plan would do, but for who is no member of any group any more: only a full sync sees that."""
    report = bed.sync("plan")
    assert report.exit_code == 0, report.problems
    found = [
        f"{name}: {what}"
        for name, counts in report.blueprints.items()
        for what in ("created", "updated", "deleted", "held")
        if getattr(counts, what)
    ]
    return [one for one in found if one != "gitlabMember: deleted"]


def test_a_plan_finds_nothing_to_do_after_each_change(bed: Bed) -> None:
    for name, change in STEPS.items():
        followed = bed.follow(change(bed))
        assert (name, followed.problems) == (name, ())
        assert followed.entities, name
        assert (name, left_to_do(bed)) == (name, [])
    gone = {(one.blueprint, one.identifier) for one in followed.entities if one.action == "delete"}
    assert gone == {("gitlabAccess", key) for key in ("group-1-ann", "group-2-ann", "project-2-ann")}


def test_a_plan_finds_nothing_to_do_after_changes_at_random(tmp_path: Path) -> None:
    for seed in range(10 if SOAK else 1):
        chance = Random(seed)
        with started(company(), people("members"), ["token-of-reader"], tmp_path) as bed:
            for _ in range(10):
                outcome = at_random(bed, chance)
                followed = bed.follow(outcome)
                assert followed.problems == (), (seed, outcome)
                # An account without any role goes with the next sync.
                left = [one for one in left_to_do(bed) if one != "gitlabUser: deleted"]
                assert left == [], (seed, outcome)


def at_random(bed: Bed, chance: Random) -> Outcome:
    """Grant, change or end some role of somebody."""
    name, path = (
        chance.choice(("ann", "jane", "joe")),
        chance.choice(("acme", "acme/team", "acme/core", "acme/team/api")),
    )
    source, level = bed.source(path), chance.choice((GUEST, DEVELOPER, MAINTAINER, 50))
    held = bed.world.group_members if "full_path" in source else bed.world.project_members
    row = next((row for row in held[source["id"]] if row["username"] == name), None)
    if row and chance.random() < 0.5:
        return revoke(name, path, row["access_level"])(bed)
    return grant(name, path, level, row["access_level"] if row else 0)(bed)


def test_a_role_that_ended_is_deleted_with_what_it_gave_below(plain: Bed) -> None:
    gone = {"group-1-joe", "group-2-joe", "project-1-joe", "project-2-joe"}
    assert gone <= plain.entities("gitlabAccess").keys()
    followed = plain.follow(revoke("joe", "acme", DEVELOPER)(plain))
    assert {one.identifier for one in followed.entities if one.action == "delete"} == gone
    assert not gone & plain.entities("gitlabAccess").keys()
    # Whether he has a role elsewhere, a full sync knows.
    assert "joe" in plain.entities("gitlabUser")
    assert followed.problems == ()


def test_entities_are_tied_to_the_run_and_stay_the_exporters(plain: Bed) -> None:
    runs = plain.port.store.runs
    number = runs.start(plain.port.store, "gitlab_access_grant", {})
    followed = plain.follow(grant("ann", "acme/core", DEVELOPER)(plain), number)
    assert set(runs.affected[number]) == {(one.blueprint, one.identifier) for one in followed.entities}
    assert ("gitlabAccess", "project-1-ann") in runs.affected[number]
    entity = plain.port.store.entity("gitlabAccess", "project-1-ann") or {}
    assert entity["$datasource"].endswith("/my-gitlab-v2-integration/exporter")


def test_a_deletion_is_tied_to_the_run(plain: Bed) -> None:
    number = plain.port.store.runs.start(plain.port.store, "gitlab_access_revoke", {})
    plain.follow(revoke("joe", "acme", DEVELOPER)(plain), number)
    assert ("gitlabAccess", "group-1-joe") in plain.port.store.runs.affected[number]


def test_entities_are_written_untied_where_somebody_ended_the_run(plain: Bed) -> None:
    number = plain.port.store.runs.start(plain.port.store, "gitlab_access_grant", {})
    plain.port.store.runs.held[number]["status"] = "FAILURE"
    followed = plain.follow(grant("ann", "acme/core", DEVELOPER)(plain), number)
    assert (followed.problems, plain.port.store.runs.affected[number]) == ((), [])
    assert "project-1-ann" in plain.entities("gitlabAccess")


def test_entities_are_written_untied_where_somebody_ends_the_run_in_the_middle(plain: Bed) -> None:
    number = plain.port.store.runs.start(plain.port.store, "gitlab_access_grant", {})

    def end(asked: Any) -> bool:
        if asked.path.endswith("/bulk"):
            plain.port.store.runs.held[number]["status"] = "FAILURE"
        return False

    plain.port.faults.append(PortFault(end, refuse(500)))
    followed = plain.follow(grant("ann", "acme/core", DEVELOPER)(plain), number)
    assert followed.problems == ()
    assert "project-1-ann" in plain.entities("gitlabAccess")
    assert left_to_do(plain) == []


def test_only_this_persons_roles_are_written(plain: Bed) -> None:
    # Somebody else's change is the next sync's.
    plain.world.add_member(plain.source("acme/core"), plain.user("joe"), MAINTAINER)
    followed = plain.follow(grant("ann", "acme/core", DEVELOPER)(plain))
    assert {one.identifier for one in followed.entities if one.blueprint == "gitlabAccess"} == {"project-1-ann"}


def test_what_another_list_tells_of_an_account_is_kept(tmp_path: Path) -> None:
    world = company()
    jane = next(row for row in world.project_members[1] if row["username"] == "jane")
    # GitLab shows an address to owners of some groups alone.
    jane["email"] = "jane@example.com"
    with started(world, people("members"), ["token-of-reader"], tmp_path) as bed:
        assert bed.entities("gitlabUser")["jane"]["email"] == "jane@example.com"
        followed = bed.follow(grant("jane", "acme/team", GUEST)(bed))
        assert bed.entities("gitlabUser")["jane"]["email"] == "jane@example.com"
        assert left_to_do(bed) == []
        assert any("user: 1 entity that other rows may give" in note for note in followed.notes)


# What keeps an entity


REVOKED = revoke("joe", "acme", DEVELOPER)


@pytest.mark.parametrize(
    "answer", [faults.server_error(), faults.reply_json(403, {}), faults.reply_json(200, {"id": 1})]
)
def test_an_answer_that_proves_nothing_deletes_nothing(plain: Bed, answer: Any) -> None:
    before = plain.entities("gitlabAccess").keys()
    plain.gitlab.faults.append(Fault(r"/members/all/\d+$", answer))
    followed = plain.follow(REVOKED(plain))
    assert plain.entities("gitlabAccess").keys() == before
    assert all(one.action == "upsert" for one in followed.entities)


def test_a_list_that_was_not_read_whole_deletes_nothing_and_is_a_problem(plain: Bed) -> None:
    before = plain.entities("gitlabAccess").keys()
    plain.gitlab.faults.append(Fault(r"/groups/1/members$", faults.server_error()))
    followed = plain.follow(REVOKED(plain))
    assert plain.entities("gitlabAccess").keys() == before
    assert any(not one.warning for one in followed.problems)


def test_entities_of_others_are_not_deleted(plain: Bed) -> None:
    for entity in plain.port.store.by_identifier("gitlabAccess").values():
        entity.datasource = "port-ocean/gitlab-v2/1.0/another/exporter"
    before = plain.entities("gitlabAccess").keys()
    assert [one for one in plain.follow(REVOKED(plain)).entities if one.action == "delete"] == []
    assert plain.entities("gitlabAccess").keys() == before


def test_a_mapping_that_allows_no_deletion_keeps_the_role_and_says_so(plain: Bed) -> None:
    plain.mapping["entityDeletionThreshold"] = 0
    followed = plain.follow(REVOKED(plain))
    assert "group-1-joe" in plain.entities("gitlabAccess")
    assert [(one.stage, one.warning, one.count) for one in followed.problems] == [("delete", True, 4)]


IDENTIFIERS = {
    "not the place": ".username",
    "not the person": '"\\(.__scope.kind)-\\(.__scope.id)"',
    "the same for a group and a project": '"\\(.__scope.id)-\\(.username)"',
    "the role too": '"\\(.__scope.kind)-\\(.__scope.id)-\\(.username)-\\(.access_level)"',
    "no more than its name": ".name",
}  # fmt: skip


@pytest.mark.parametrize("what", IDENTIFIERS)
def test_a_role_is_not_deleted_where_its_identifier_tells(what: str, tmp_path: Path) -> None:
    mapping = people()
    mapping["resources"][3]["port"]["entity"]["mappings"]["identifier"] = IDENTIFIERS[what]
    with started(company(), mapping, ["token-of-reader"], tmp_path) as bed:
        before = bed.entities("gitlabAccess").keys()
        followed = bed.follow(REVOKED(bed))
        assert before <= bed.entities("gitlabAccess").keys()
        assert [one for one in followed.entities if one.action == "delete"] == []


# Invitations


def test_an_invitation_shows_at_once_and_goes_at_once(plain: Bed) -> None:
    source = plain.source("acme")
    place, wish = Place("group", source["id"], "acme", "acme"), Wish("grant", "new@example.com")
    invited = Outcome("access grant", "invited", wish, None, place)
    add_invitation(plain.world, source, "new@example.com")
    plain.world.touch()
    assert plain.follow(invited).entities == (EntityDone("upsert", "gitlabInvitation", "group-1-new@example.com"),)
    assert left_to_do(plain) == []
    plain.world.rows_of("invitation", source).clear()
    plain.world.touch()
    ended = plain.follow(replace(invited, command="access revoke", result="removed"))
    assert ended.entities == (EntityDone("delete", "gitlabInvitation", "group-1-new@example.com"),)
    assert left_to_do(plain) == []


# Replicas


@pytest.mark.parametrize("times", [2, None])
def test_what_the_reading_token_does_not_see_yet_is_waited_for_a_while(plain: Bed, times: int | None) -> None:
    outcome = grant("ann", "acme/core", DEVELOPER)(plain)
    plain.gitlab.faults.append(Fault(r"^/projects/1/members/\d+$", faults.not_found(), times=times))
    followed = plain.follow(outcome)
    assert "project-1-ann" in plain.entities("gitlabAccess")
    assert [one.why for one in followed.problems] == ([] if times else [LAGS])


# Bounds


def test_beyond_so_many_places_only_the_place_itself_is_read(plain: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitlab_port_export.access.catalog.MOST_PLACES", 2)
    assert MOST_PLACES == 500
    followed = plain.follow(grant("ann", "acme", GUEST)(plain))
    assert {one.identifier for one in followed.entities if one.blueprint == "gitlabAccess"} == {"group-1-ann"}
    assert any("3 groups and projects are below acme" in note for note in followed.notes)


def test_a_mapping_without_people_writes_nothing_and_says_so(plain: Bed) -> None:
    plain.mapping = {"resources": plain.mapping["resources"][:1]}
    plain.mapping["resources"][0]["kind"] = "project"
    followed = plain.follow(grant("ann", "acme", GUEST)(plain))
    assert (followed.entities, followed.problems) == ((), ())
    assert any("no entity was written" in note for note in followed.notes)
    assert plain.port.calls("POST .*/bulk") == []


def test_a_place_that_no_token_of_the_sync_lists_is_said(plain: Bed) -> None:
    hidden = plain.world.add_group("hidden")
    plain.world.add_member(hidden, plain.user("ann"), DEVELOPER)
    followed = plain.follow(plain.outcome("ann", "hidden", "created"))
    assert any("hidden: no token of the sync lists it" in note for note in followed.notes)
    assert followed.problems == ()


def test_what_port_refuses_is_a_problem(plain: Bed) -> None:
    plain.port.faults.append(PortFault("POST .*/gitlabAccess/entities/bulk", refuse(403)))
    followed = plain.follow(grant("ann", "acme/core", DEVELOPER)(plain))
    assert [(one.stage, one.sample, one.warning) for one in followed.problems] == [("write", "project-1-ann", False)]


def test_a_deadline_while_following_is_a_problem_of_a_change_that_was_made(plain: Bed) -> None:
    outcome = grant("ann", "acme/core", DEVELOPER)(plain)
    run = plain.prepared()
    run.gitlab.http.clock.stop()
    followed = write_through(run, plain.below, None)(outcome)
    run.close()
    assert [one.stage for one in followed.problems] == ["write"]
    assert followed.result == "created"
