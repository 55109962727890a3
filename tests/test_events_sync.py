"""`sync --event`: what an event names stands in Port as a full sync would leave it, for few requests."""

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_faults import forbidden
from gitlab_port_export.demo.gitlab_kinds.milestone import add_milestone
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.world import DEVELOPER, MAINTAINER, Row, World
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.touched import What
from gitlab_port_export.live.events import READERS, event_of
from gitlab_port_export.model import Page
from gitlab_port_export.report.values import Counts, writes
from testbed.harness import Ran, acme, blueprint, mapping_of, port_with, resource, run_sync
from testbed.kinds import subject_of

# What tells rows of a kind apart, where not the id.
NAMED = '.__project.path_with_namespace + "/" + '
IDENTIFIERS = {
    "branch": f"{NAMED}.name",
    "tag": f"{NAMED}.name",
    "release": f"{NAMED}.tag_name",
    "file": '.repo.path_with_namespace + "/" + .file.path',
    "folder": '.repo.path_with_namespace + "/" + .folder.path',
    "skill": '.repo.path_with_namespace + "/" + .skill.skillMdPath',
    "plugin": ".repo.path_with_namespace",
    "access": '"\\(.__scope.kind)-\\(.__scope.id)-\\(.id)"',
}
SELECTORS: dict[str, Row] = {
    "merge-request": {"states": ["opened", "merged"]},
    "file": {"files": {"path": "**/*.yaml"}},
    "folder": {"folders": [{"path": "*"}]},
    "branch": {"defaultBranchOnly": False},
    "user": {"source": "users"},
    "issue": {"state": "opened"},
}


def named(kind: str) -> str:
    return kind.replace("-", "_")


def whole(kind: str, **selector: Any) -> Any:
    """A resource whose entities hold their whole row."""
    return resource(
        kind,
        named(kind),
        identifier=IDENTIFIERS.get(kind, ".id | tostring"),
        properties={"row": ". | tojson"},
        selector=SELECTORS.get(kind, {}) | selector,
    )


@dataclass
class Bed:
    """A world with one of everything, and its stand-ins."""

    world: World
    ann: Row
    group: Row
    project: Row
    gitlab: GitLabServer
    port: PortServer
    version: int = 18
    shapes: Shapes = field(init=False)

    def __post_init__(self) -> None:
        self.shapes = Shapes(self.world, self.version)

    def sync(self, mapping: Any, **more: Any) -> Ran:
        return run_sync(self.gitlab, more.pop("port", self.port), mapping, **more)


def new_port() -> Any:
    return port_with(*(blueprint(named(kind), row="string") for kind in KINDS), clock=lambda: time.time() - 3600)


@pytest.fixture
def bed() -> Iterator[Bed]:
    world, ann, group = acme()
    world.tokens["token-of-reader"].admin = True
    shop = world.add_group("shop", group)
    project = world.add_project(shop, "web")
    other = world.add_project(shop, "other")
    world.add_member(shop, ann, MAINTAINER)
    for one in (project, other):
        lists.fill_lists(world, one, ann)
        world.add_merge_request(one, "First")
        world.add_issue(one, "First")
        world.add_job(world.add_pipeline(one), "build")
        world.set_file(one, "a/one.yaml", "a: 1")
        world.set_file(one, ".claude-plugin/plugin.json", '{"name": "p"}')
        world.set_file(one, "skills/x/SKILL.md", "---\nname: x\n---\nHello")
    add_milestone(world, shop, "Of the group")
    with gitlab_server(world) as gitlab, port_server(new_port()) as port:
        yield Bed(world, ann, group, project, gitlab, port)


def merge_request(bed: Bed) -> Row:
    row = bed.world.merge_requests[bed.project["id"]][0]
    row |= {"title": "Renamed", "updated_at": row["updated_at"]}
    return bed.shapes.merge_request(row, bed.ann)


def merge_request_made(bed: Bed) -> Row:
    return bed.shapes.merge_request(bed.world.add_merge_request(bed.project, "New"), bed.ann, "open")


def comment(bed: Bed) -> Row:
    row = bed.world.merge_requests[bed.project["id"]][0]
    row["user_notes_count"] = 9
    return {"object_kind": "note", "project": Shapes.project(bed.project), "merge_request": {"iid": row["iid"]}}


def issue(bed: Bed) -> Row:
    row = bed.world.issues[bed.project["id"]][0]
    row["title"] = "Renamed"
    return bed.shapes.issue(row, bed.ann)


def pipeline(bed: Bed) -> Row:
    row = bed.world.pipelines[bed.project["id"]][0]
    job = bed.world.jobs[bed.project["id"]][0]
    row["status"] = job["status"] = "failed"
    job["pipeline"]["status"] = "failed"
    return bed.shapes.pipeline(row, bed.ann)


def job(bed: Bed) -> Row:
    row = bed.world.jobs[bed.project["id"]][0]
    row["status"] = "canceled"
    return bed.shapes.job(row, bed.ann)


def job_alone(bed: Bed) -> Row:
    payload = job(bed)
    del payload["pipeline_id"]
    return payload


def deployment(bed: Bed) -> Row:
    row = bed.world.deployments[bed.project["id"]][0]
    row["status"] = "failed"
    return bed.shapes.deployment(bed.project, row["id"], "failed")


def environment(bed: Bed) -> Row:
    row = bed.world.environments[bed.project["id"]][0]
    row["external_url"] = "https://changed.example.com"
    id = bed.world.deployments[bed.project["id"]][0]["id"]
    return bed.shapes.deployment(bed.project, id) | {"environment": {"id": row["id"]}}


def release(bed: Bed) -> Row:
    lists.add_release(bed.world, bed.project, "v2.0", bed.ann)
    return bed.shapes.release(bed.project, "v2.0")


def tag(bed: Bed) -> Row:
    lists.add_tag(bed.world, bed.project, "v9/odd+name")
    return bed.shapes.tag_push(bed.project, bed.ann, "v9/odd+name")


def branch(bed: Bed) -> Row:
    lists.add_branch(bed.world, bed.project, "feat/new")
    return bed.shapes.push(bed.project, bed.ann, "feat/new")


def files(bed: Bed) -> Row:
    bed.world.set_file(bed.project, "b/two.yaml", "b: 2")
    bed.world.set_file(bed.project, "a/one.yaml", "a: 3")
    bed.world.set_file(bed.project, ".claude-plugin/plugin.json", '{"name": "q"}')
    bed.world.set_file(bed.project, "skills/y/SKILL.md", "---\nname: y\n---\nHi")
    return bed.shapes.push(bed.project, bed.ann, added=["b/two.yaml"], modified=["a/one.yaml"])


def milestone(bed: Bed) -> Row:
    row = bed.world.milestones[bed.project["id"]][0]
    row["title"] = "Later"
    return {"object_kind": "milestone", "project": Shapes.project(bed.project), "object_attributes": {"id": row["id"]}}


def group_milestone(bed: Bed) -> Row:
    shop = bed.world.group("acme/shop")
    row = bed.world.group_milestones[shop["id"]][0]
    row["title"] = "Later"
    return {"object_kind": "milestone", "object_attributes": {"id": row["id"], "group_id": shop["id"]}}


def project_made(bed: Bed) -> Row:
    return bed.shapes.project_event(bed.world.add_project(bed.group, "new"))


def project_renamed(bed: Bed) -> Row:
    project = bed.world.add_project(bed.group, "new")
    before = bed.shapes.project_event(project, "project_rename")
    bed.world.rename_project(project, "Newer", "newer")
    return before


def group_made(bed: Bed) -> Row:
    return bed.shapes.subgroup(bed.world.add_group("tools", bed.group))


def member(bed: Bed) -> Row:
    bob = bed.world.add_user("bob")
    shop = bed.world.group("acme/shop")
    bed.world.add_member(shop, bob, DEVELOPER)
    return bed.shapes.member(shop, bob, DEVELOPER)


def project_member(bed: Bed) -> Row:
    bob = bed.world.add_user("bob")
    bed.world.add_member(bed.project, bob, DEVELOPER)
    return {
        "event_name": "user_add_to_team",
        "project_id": bed.project["id"],
        "project_path_with_namespace": bed.project["path_with_namespace"],
        "user_id": bob["id"],
    }


def user(bed: Bed) -> Row:
    bed.ann["name"] = "Ann Renamed"
    return {"event_name": "user_rename", "user_id": bed.ann["id"]}


def work_item(bed: Bed) -> Row:
    payload = issue(bed)
    return payload | {"object_kind": "work_item", "event_type": "work_item"}


def reaction(bed: Bed) -> Row:
    row = bed.world.merge_requests[bed.project["id"]][0]
    row["upvotes"] = 7
    return {"object_kind": "emoji", "project": Shapes.project(bed.project), "merge_request": {"iid": row["iid"]}}


def repository_update(bed: Bed) -> Row:
    lists.add_branch(bed.world, bed.project, "feat/system")
    return {"event_name": "repository_update", "project_id": bed.project["id"], "refs": ["refs/heads/feat/system"]}


def project_changed(bed: Bed) -> Row:
    bed.project["description"] = "Another"
    return bed.shapes.project_event(bed.project, "project_update")


def project_moved(bed: Bed) -> Row:
    bed.world.transfer_project(bed.project, bed.group)
    return bed.shapes.project_event(bed.project, "project_transfer")


def project_gone(bed: Bed) -> Row:
    bed.world.delete_project(bed.project)
    return bed.shapes.project_event(bed.project, "project_destroy")


def group_gone(event: str) -> Callable[[Bed], Row]:
    def edit(bed: Bed) -> Row:
        shop = bed.world.group("acme/shop")
        bed.world.delete_group(shop)
        return bed.shapes.subgroup(shop, event)

    return edit


def group_of_system(bed: Bed) -> Row:
    """A system hook does not tell where the group is."""
    made = bed.world.add_group("tools", bed.group)
    return {"event_name": "group_create", "group_id": made["id"], "name": made["name"], "path": made["path"]}


def group_renamed(bed: Bed) -> Row:
    shop = bed.world.group("acme/shop")
    bed.world.rename_group(shop, "store")
    return bed.shapes.subgroup(shop, "group_rename")


def member_promoted(bed: Bed) -> Row:
    shop = bed.world.group("acme/shop")
    bed.world.remove_member(shop, bed.ann)
    bed.world.add_member(shop, bed.ann, DEVELOPER)
    return bed.shapes.member(shop, bed.ann, DEVELOPER, "user_update_for_group")


def member_left(bed: Bed) -> Row:
    shop = bed.world.group("acme/shop")
    bed.world.remove_member(shop, bed.ann)
    return bed.shapes.member(shop, bed.ann, DEVELOPER, "user_remove_from_group")


def of_project(event: str, *, stays: bool) -> Callable[[Bed], Row]:
    def edit(bed: Bed) -> Row:
        bed.world.add_member(bed.project, bed.ann, DEVELOPER)
        if not stays:
            bed.world.remove_member(bed.project, bed.ann)
            bed.project["description"] = "so that there is something to write"
        return {"event_name": event, "project_id": bed.project["id"], "user_id": bed.ann["id"]}

    return edit


def user_made(bed: Bed) -> Row:
    return {"event_name": "user_create", "user_id": bed.world.add_user("bob")["id"]}


def user_gone(bed: Bed) -> Row:
    bob = bed.world.users.pop(bed.world.add_user("bob")["id"])
    return {"event_name": "user_destroy", "user_id": bob["id"]}


Sample = tuple[Callable[[Bed], Row], tuple[str, ...]]
# By what the payload says it is, and what is special: how the world changes, and the kinds that read it again.
EVENTS: dict[str, Sample] = {
    "merge_request": (merge_request, ("merge-request",)),
    "merge_request: new": (merge_request_made, ("merge-request",)),
    "note": (comment, ("merge-request",)),
    "emoji": (reaction, ("merge-request",)),
    "issue": (issue, ("issue",)),
    "work_item": (work_item, ("issue",)),
    "pipeline": (pipeline, ("pipeline", "job")),
    "build": (job, ("job",)),
    "build: without its pipeline": (job_alone, ("job",)),
    "deployment": (deployment, ("deployment",)),
    "deployment: of an environment": (environment, ("environment",)),
    "release": (release, ("release",)),
    "tag_push": (tag, ("tag",)),
    "push: a branch": (branch, ("branch",)),
    "push: files": (files, ("file", "folder", "skill", "plugin")),
    "repository_update": (repository_update, ("branch",)),
    "milestone": (milestone, ("milestone",)),
    "milestone: of a group": (group_milestone, ("milestone",)),
    "project_create": (project_made, ("project", "project-with-members")),
    "project_rename": (project_renamed, ("project",)),
    "project_update": (project_changed, ("project", "project-with-members")),
    "project_transfer": (project_moved, ("project",)),
    "subgroup_create": (group_made, ("group", "group-with-members")),
    "group_create": (group_of_system, ("group",)),
    "group_rename": (group_renamed, ("group", "group-with-members")),
    "user_add_to_group": (member, ("group-with-members", "access", "member")),
    "user_update_for_group": (member_promoted, ("group-with-members",)),
    "user_remove_from_group": (member_left, ("group-with-members",)),
    "user_add_to_team": (project_member, ("project-with-members", "access")),
    "user_update_for_team": (of_project("user_update_for_team", stays=True), ("project-with-members",)),
    "user_remove_from_team": (of_project("user_remove_from_team", stays=False), ("project-with-members",)),
    "user_create": (user_made, ("user",)),
    "user_rename": (user, ("user",)),
}
# Events after which nothing is left to be read: what Port holds stays until a full run, and the report says so.
GONE: dict[str, Sample] = {
    "project_destroy": (project_gone, ("project",)),
    "subgroup_destroy": (group_gone("subgroup_destroy"), ("group",)),
    "group_destroy": (group_gone("group_destroy"), ("group",)),
    "user_destroy": (user_gone, ("user",)),
}


def test_no_kind_of_event_is_without_a_sample() -> None:
    assert {name.partition(":")[0] for name in EVENTS} | set(GONE) == set(READERS)


@pytest.mark.parametrize("type", ["gitlab-v2", "gitlab"])
@pytest.mark.parametrize("name", EVENTS)
def test_port_equals_what_a_full_sync_leaves(bed: Bed, name: str, type: str) -> None:
    edit, read = EVENTS[name]
    mapping = mapping_of(*(whole(kind) for kind in read))
    assert bed.sync(mapping, type=type).report.exit_code == 0
    payload = edit(bed)
    assert event_of(payload) == name.partition(":")[0]
    bed.world.touch()
    report = bed.sync(mapping, type=type, events=[payload]).report
    assert report.exit_code == 0, report.problems
    with port_server(new_port()) as fresh:
        bed.sync(mapping, type=type, port=fresh)
        changed = 0
        for kind in read:
            after, wanted = rows(bed.port, kind), rows(fresh, kind)
            changed += writes(report.blueprints.get(named(kind), Counts()))
            left = {key for key in wanted if key not in after or after[key] != wanted[key]}
            assert left == LEFT.get((name, kind), set()), kind
    # In `gitlab` rows do not show the role.
    assert bool(changed) != ((name, type) == ("user_update_for_group", "gitlab"))


# What is below, and depends on the members or the path of a group, is more than the event names.
LEFT: dict[tuple[str, str], set[str]] = {("user_add_to_group", "access"): {"project-1-2", "project-2-2"}}


@pytest.mark.parametrize("name", GONE)
def test_what_an_event_says_to_be_gone_stays_until_a_full_run_and_is_named(bed: Bed, name: str) -> None:
    edit, (kind,) = GONE[name]
    mapping = mapping_of(whole(kind))
    bed.sync(mapping)
    payload = edit(bed)
    assert event_of(payload) == name
    bed.world.touch()
    before = rows(bed.port, kind)
    report = bed.sync(mapping, events=[payload]).report
    assert (report.exit_code, report.blueprints) == (0, {})
    assert rows(bed.port, kind) == before
    assert any("gone or a selector leaves it out" in one or "no token lists it" in one for one in report.left)


def rows(port: PortServer, kind: str) -> dict[str, Any]:
    found = ((name, port.store.entity(named(kind), name)) for name in port.store.identifiers(named(kind)))
    return {name: one["properties"]["row"] for name, one in found if one}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_with_events_can_be_read_again(kind: str) -> None:
    assert (KINDS[kind].again is None) is subject_of(kind).silent


def test_everything_that_an_event_names_is_read_by_some_kind() -> None:
    assert {what for kind in KINDS.values() if kind.again for what in kind.again.of} == set(get_args(What))


def test_a_merge_request_takes_few_requests_however_much_there_is(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request", states=["opened", "closed", "merged"]), whole("project"))
    for number in range(250):
        bed.world.add_merge_request(bed.project, f"More {number}")
    bed.sync(mapping)
    payload = merge_request(bed)
    bed.world.touch()
    report = bed.sync(mapping, events=[payload]).report
    assert report.blueprints["merge_request"] == Counts(updated=1)
    assert report.gitlab_requests <= 6
    assert report.port_requests <= 6


def test_events_are_folded_and_each_object_is_read_once(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request"), whole("issue"))
    bed.sync(mapping)
    payloads = [merge_request(bed), issue(bed), merge_request(bed), comment(bed)]
    bed.world.touch()
    report = bed.sync(mapping, events=payloads).report
    assert report.part == "4 events of GitLab"
    assert {kind: counts.rows for kind, counts in report.kinds.items()} == {"merge-request": 1, "issue": 1}
    assert report.blueprints == {"merge_request": Counts(updated=1), "issue": Counts(updated=1)}


def test_what_no_mapped_kind_reads_ends_well_and_is_told(bed: Bed) -> None:
    mapping = mapping_of(whole("issue"))
    bed.sync(mapping)
    report = bed.sync(mapping, events=[merge_request(bed), {"object_kind": "wiki_page"}]).report
    assert report.exit_code == 0
    assert report.gitlab_requests == 0
    assert report.left == (
        "wiki_page: no kind of the mapping is read for it",
        "merge-request 1 of acme/shop/web: no kind of the mapping is read for it",
    )


def test_what_a_selector_leaves_out_ends_well_and_stays(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request", states=["opened"]))
    bed.sync(mapping)
    row = bed.world.merge_requests[bed.project["id"]][0]
    row |= {"state": "merged", "merged_at": row["updated_at"]}
    bed.world.touch()
    report = bed.sync(mapping, events=[bed.shapes.merge_request(row, bed.ann, "merge")]).report
    assert report.exit_code == 0
    assert report.left == (
        "merge-request 1 of acme/shop/web: it is gone or a selector leaves it out, so what Port holds of it stays",
    )
    assert str(row["id"]) in rows(bed.port, "merge-request")


def test_windows_of_selectors_count(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request", states=["merged"], updatedAfter=10))
    bed.sync(mapping)
    old, new = (
        bed.world.add_merge_request(bed.project, "Done", state="merged", updated_at=bed.world.ago(days=days))
        for days in (11, 9)
    )
    bed.world.touch()
    bed.sync(mapping, events=[bed.shapes.merge_request(one, bed.ann) for one in (old, new)])
    assert set(rows(bed.port, "merge-request")) == {str(new["id"])}


def test_what_the_token_mapping_leaves_out_is_not_read(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request"))
    tokens = {"token-of-reader": ["acme/shop/other"]}
    bed.sync(mapping, tokens=tokens)
    report = bed.sync(mapping, tokens=tokens, events=[merge_request_made(bed)]).report
    assert report.exit_code == 0
    assert report.left == ("merge-request 2 of acme/shop/web: no token lists it, or the token mapping leaves it out",)
    assert len(rows(bed.port, "merge-request")) == 1


def test_of_several_tokens_the_one_with_the_highest_role_reads(bed: Bed) -> None:
    bob = bed.world.add_user("bob")
    bed.world.add_token("token-of-bob", bob)
    bed.world.add_member(bed.project, bob, 10)
    mapping = mapping_of(whole("merge-request"), visibility={"useMinAccessLevel": False})
    tokens = {"token-of-bob": ["**"], "token-of-reader": ["**"]}
    report = bed.sync(mapping, tokens=tokens, events=[merge_request(bed)]).report
    assert report.exit_code == 0
    assert report.blueprints == {"merge_request": Counts(created=1)}


def test_selectors_of_active_groups_count(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request", includeOnlyActiveGroups=False))
    bed.sync(mapping)
    report = bed.sync(mapping, events=[merge_request_made(bed)]).report
    assert (report.exit_code, report.blueprints) == (0, {})
    mapping = mapping_of(whole("merge-request", includeOnlyActiveGroups=True))
    report = bed.sync(mapping, events=[merge_request_made(bed)]).report
    assert report.blueprints == {"merge_request": Counts(created=1)}


def test_an_event_beside_a_running_sync_changes_no_state(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request"))
    bed.sync(mapping)
    before = deepcopy(bed.port.store.integrations)
    bed.sync(mapping, events=[merge_request(bed)])
    assert bed.port.store.integrations == before


def test_an_entity_of_several_rows_is_made_and_not_changed(bed: Bed) -> None:
    people = resource(
        "group-with-members",
        "member",
        port={"itemsToParse": ".__members"},
        identifier=".item.username",
        properties={"row": ".item.access_level | tostring"},
    )
    mapping = mapping_of(people)
    bed.sync(mapping)
    shop, bob = bed.world.group("acme/shop"), bed.world.add_user("bob")
    bed.world.add_member(shop, bob, DEVELOPER)
    report = bed.sync(mapping, events=[bed.shapes.member(shop, bob, DEVELOPER)]).report
    assert report.blueprints == {"member": Counts(created=1)}
    assert rows(bed.port, "member") == {"reader": "50", "bob": "30"}
    left = "group-with-members: 1 entity that other rows may give as well, which only a full run compares"
    assert left in report.left


def test_what_a_later_resource_sets_is_left_to_it(bed: Bed) -> None:
    ids = ".path_with_namespace"
    mapping = mapping_of(
        resource("project", "project", identifier=ids, title=".name", properties={"row": '"of the project"'}),
        resource("file", "project", identifier=".repo.path_with_namespace", properties={"row": '"of the file"'}, **{
            "selector": {"files": {"path": "a/one.yaml"}}
        }),
    )  # fmt: skip
    bed.sync(mapping)
    bed.project["name"] = "Renamed"
    bed.world.touch()
    report = bed.sync(mapping, events=[bed.shapes.project_event(bed.project, "project_update")]).report
    entity = bed.port.store.entity("project", "acme/shop/web")
    assert entity is not None
    assert (entity["title"], entity["properties"]["row"]) == ("Renamed", "of the file")
    assert report.blueprints == {"project": Counts(updated=1)}


def once(act: Callable[[], Any], kind: str) -> Callable[[Any], None]:
    """What calls `act` when the first page of a kind was read."""
    left = [act]

    def watch(event: Any) -> None:
        if isinstance(event, Page) and event.kind == kind and left:
            left.pop()()

    return watch


def test_of_two_events_at_once_the_newest_state_stays(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request"))
    bed.sync(mapping)
    row = bed.world.merge_requests[bed.project["id"]][0]

    def change(title: str) -> Row:
        row["title"] = title
        bed.world.touch()
        return bed.shapes.merge_request(row, bed.ann)

    def second() -> None:
        bed.sync(mapping, events=[change("Third")])

    report = bed.sync(mapping, events=[change("Second")], watch=once(second, "merge-request")).report
    assert '"title":"Third"' in rows(bed.port, "merge-request")[str(row["id"])]
    assert report.exit_code == 0


def test_an_event_while_a_sync_goes_on_has_the_last_word(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request"))
    bed.sync(mapping)
    row = bed.world.merge_requests[bed.project["id"]][0]

    def event() -> None:
        row["title"] = "Second"
        bed.world.touch()
        bed.sync(mapping, events=[bed.shapes.merge_request(row, bed.ann)])

    bed.sync(mapping, watch=once(event, "merge-request"))
    assert '"title":"Second"' in rows(bed.port, "merge-request")[str(row["id"])]


def test_a_sync_deletes_nothing_that_an_event_wrote_after_it_began(bed: Bed) -> None:
    mapping = mapping_of(whole("merge-request"))
    gone, moved = (bed.world.add_merge_request(bed.project, f"More {number}") for number in range(2))
    bed.sync(mapping)
    listed = bed.world.merge_requests[bed.project["id"]]
    for row in (gone, moved):
        listed.remove(row)
    bed.world.touch()

    def event() -> None:
        # The lists of the sync come from a replica that does not have it; the event finds it.
        listed.append(moved | {"title": "Changed"})
        bed.world.touch()
        bed.sync(mapping, events=[bed.shapes.merge_request(listed[-1], bed.ann)])
        listed.pop()
        bed.world.touch()

    report = bed.sync(mapping, watch=once(event, "merge-request")).report
    assert report.blueprints["merge_request"].deleted == 1
    assert [(held.reason, held.identifiers) for held in report.held] == [("recent", (str(moved["id"]),))]
    assert '"title":"Changed"' in rows(bed.port, "merge-request")[str(moved["id"])]
    assert str(gone["id"]) not in rows(bed.port, "merge-request")


def branch_deleted(bed: Bed) -> Row:
    rows = bed.world.branches[bed.project["id"]]
    rows[:] = [row for row in rows if row["name"] != "fix/drain"]
    return bed.shapes.push(bed.project, bed.ann, "fix/drain", gone=True)


def tag_deleted(bed: Bed) -> Row:
    bed.world.tags[bed.project["id"]].pop()
    return bed.shapes.tag_push(bed.project, bed.ann, "v1.2", gone=True)


def release_deleted(bed: Bed) -> Row:
    bed.world.releases[bed.project["id"]].pop()
    return bed.shapes.release(bed.project, "v1.2", "delete")


def milestone_deleted(bed: Bed) -> Row:
    row = bed.world.milestones[bed.project["id"]].pop()
    found = {"object_kind": "milestone", "action": "delete", "object_attributes": {"id": row["id"]}}
    return found | {"project": Shapes.project(bed.project)}


DELETED = {
    "branch": (branch_deleted, "acme/shop/web/fix/drain"),
    "tag": (tag_deleted, "acme/shop/web/v1.2"),
    "release": (release_deleted, "acme/shop/web/v1.2"),
    "milestone": (milestone_deleted, "1"),
}


def sync_an_hour_ago(bed: Bed, mapping: Any) -> None:
    """What Port holds was written an hour ago."""
    bed.sync(mapping)
    bed.port.store.clock = time.time


@pytest.mark.parametrize("kind", DELETED)
def test_what_is_proved_gone_is_deleted_where_its_entity_follows_from_the_event(bed: Bed, kind: str) -> None:
    edit, identifier = DELETED[kind]
    mapping = mapping_of(whole(kind))
    sync_an_hour_ago(bed, mapping)
    assert identifier in rows(bed.port, kind)
    payload = edit(bed)
    bed.world.touch()
    before = rows(bed.port, kind)
    report = bed.sync(mapping, events=[payload]).report
    assert (report.exit_code, report.left) == (0, ())
    assert before.keys() - rows(bed.port, kind).keys() == {identifier}
    assert report.blueprints[kind] == Counts(deleted=1)


@pytest.mark.parametrize(
    ("identifier", "options"),
    [
        (".name", {}),
        (f"{NAMED}.name | length | tostring", {}),
        (f"{NAMED}.commit.id", {}),
        (f'{NAMED}.name + (.message // "")', {}),
        (f"{NAMED}.name", {"entityDeletionThreshold": 0}),
    ],
)
def test_what_does_not_follow_or_may_not_be_deleted_stays(bed: Bed, identifier: str, options: Any) -> None:
    one = resource("tag", "tag", identifier=identifier, properties={"row": ".name"})
    mapping = mapping_of(one, **options)
    sync_an_hour_ago(bed, mapping)
    before = rows(bed.port, "tag")
    payload = tag_deleted(bed)
    bed.world.touch()
    report = bed.sync(mapping, events=[payload]).report
    assert report.exit_code == 0
    assert rows(bed.port, "tag") == before
    assert report.left or report.held


def test_what_still_exists_or_cannot_be_read_is_not_deleted(bed: Bed) -> None:
    mapping = mapping_of(whole("tag"))
    sync_an_hour_ago(bed, mapping)
    payload = bed.shapes.tag_push(bed.project, bed.ann, "v1.2", gone=True)
    bed.sync(mapping, events=[payload])
    assert "acme/shop/web/v1.2" in rows(bed.port, "tag")
    tag_deleted(bed)
    bed.world.touch()
    bed.gitlab.faults.append(Fault("/repository/tags$", forbidden()))
    report = bed.sync(mapping, events=[payload]).report
    assert report.left == (
        "tag v1.2 of acme/shop/web: it is gone or a selector leaves it out, so what Port holds of it stays",
    )
    assert "acme/shop/web/v1.2" in rows(bed.port, "tag")


def test_what_another_kind_may_give_too_is_not_deleted(bed: Bed) -> None:
    releases = resource("release", "tag", identifier=f"{NAMED}.tag_name", title=".name")
    mapping = mapping_of(whole("tag"), releases)
    sync_an_hour_ago(bed, mapping)
    bed.sync(mapping, events=[tag_deleted(bed)])
    assert "acme/shop/web/v1.2" in rows(bed.port, "tag")


def test_what_something_relates_to_is_not_deleted(bed: Bed) -> None:
    bed.port.store.add_blueprint(blueprint("user_of_tag", {"tag": "tag"}))
    mapping = mapping_of(whole("tag"))
    sync_an_hour_ago(bed, mapping)
    bed.port.store.seed("user_of_tag", [{"identifier": "x", "relations": {"tag": "acme/shop/web/v1.2"}}])
    report = bed.sync(mapping, events=[tag_deleted(bed)]).report
    assert "acme/shop/web/v1.2" in rows(bed.port, "tag")
    assert [held.why for held in report.held] == ["other entities relate to it"]


@pytest.mark.parametrize("threshold", [0, 0.1, 1])
def test_what_port_does_not_hold_is_no_deletion_to_speak_of(bed: Bed, threshold: float) -> None:
    """A branch that was made and deleted again, and that no sync ever wrote."""
    mapping = mapping_of(whole("branch"), entityDeletionThreshold=threshold)
    bed.sync(mapping)
    payload = bed.shapes.push(bed.project, bed.ann, "short-lived", gone=True)
    report = bed.sync(mapping, events=[payload]).report
    assert (report.exit_code, report.held, report.blueprints) == (0, (), {})


def test_what_somebody_else_wrote_is_not_deleted(bed: Bed) -> None:
    mapping = mapping_of(whole("tag"))
    bed.port.store.seed("tag", [{"identifier": "acme/shop/web/v1.2"}])
    bed.sync(mapping, events=[tag_deleted(bed)])
    assert bed.port.store.identifiers("tag") == {"acme/shop/web/v1.2"}


@pytest.mark.parametrize("owned", [True, False])
def test_where_only_owned_projects_are_listed_merge_requests_of_the_groups_come_all_the_same(
    bed: Bed, owned: bool
) -> None:
    """Ocean's `gitlab` lists owned projects, and reads merge requests of all that is below its groups."""
    world, bob = bed.world, bed.world.add_user("bob")
    world.add_token("token-of-bob", bob)
    world.add_member(bed.group, bob, 50 if owned else DEVELOPER)
    mapping = mapping_of(whole("project"), whole("merge-request"), filterOwnedProjects=True)
    row = world.merge_requests[bed.project["id"]][0]
    payloads = [bed.shapes.merge_request(row, bed.ann), bed.shapes.project_event(bed.project, "project_update")]
    report = bed.sync(mapping, type="gitlab", tokens="token-of-bob", events=payloads).report
    assert report.exit_code == 0
    with port_server(new_port()) as fresh:
        bed.sync(mapping, type="gitlab", tokens="token-of-bob", port=fresh)
        for kind, key in (("merge-request", str(row["id"])), ("project", str(bed.project["id"]))):
            assert rows(bed.port, kind).get(key) == rows(fresh, kind).get(key), kind
    assert rows(bed.port, "merge-request")
    assert bool(rows(bed.port, "project")) is owned


def test_what_inherits_members_is_left_to_full_runs_and_named(bed: Bed) -> None:
    mapping = mapping_of(whole("group-with-members"), whole("project-with-members", includeInheritedMembers=True))
    bed.sync(mapping)
    report = bed.sync(mapping, events=[member(bed)]).report
    assert report.left == (
        "group-with-members: inherited members of groups below",
        "project-with-members: inherited members of projects below",
    )
    assert bed.sync(mapping, events=[project_member(bed)]).report.left == ()


def test_entities_that_stand_in_files_are_left_to_full_runs_and_named(bed: Bed) -> None:
    mapping = mapping_of(whole("issue"), specPath="port.yml")
    bed.world.set_file(bed.project, "port.yml", "identifier: x\nblueprint: issue\n")
    report = bed.sync(mapping, events=[bed.shapes.push(bed.project, bed.ann, added=["port.yml"])]).report
    assert "specPath: entities that stand in files" in report.left


def test_a_late_event_of_a_group_that_was_renamed_since_finds_it(bed: Bed) -> None:
    mapping = mapping_of(whole("group"))
    bed.sync(mapping)
    shop = bed.world.group("acme/shop")
    shop["description"] = "Changed"
    bed.world.touch()
    payload = bed.shapes.subgroup(shop) | {"full_path": "acme/old-shop", "path": "old-shop"}
    assert bed.sync(mapping, events=[payload]).report.blueprints == {"group": Counts(updated=1)}
