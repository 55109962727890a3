"""What GitLab leaves out for a lower role alone is not gone; what the user leaves out is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from gitlab_port_export.demo.gitlab import Edit, Fault, GitLabServer, faults, gitlab_server
from gitlab_port_export.demo.gitlab_access import GUEST, MAINTAINER, OWNER, REPORTER
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import Row, World
from gitlab_port_export.report.values import Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync
from testbed.kinds import subject_of

pytestmark = pytest.mark.usefixtures("lent_evaluator")

PROJECTS, REQUESTS = resource("project", "service"), resource("merge-request")


class Bed(NamedTuple):
    """Groups g0 to g5 beside `acme`, with a project and a merge request each, and a Port that a run has filled."""

    world: World
    reader: Row
    groups: list[Row]
    projects: list[Row]
    gitlab: GitLabServer
    store: PortStore
    run: Callable[..., Report]

    def fall(self, place: Row, role: int) -> None:
        """Give the reader a lower role in a group or project."""
        self.world.remove_member(place, self.reader)
        self.world.add_member(place, self.reader, role)

    @property
    def requests(self) -> set[str]:
        return self.store.identifiers("thing")


@contextmanager
def filled(*resources: Any, type: str = "gitlab-v2", in_projects: bool = False, **options: Any) -> Iterator[Bed]:
    world, reader, _ = acme()
    groups = [world.add_group(f"g{number}") for number in range(6)]
    projects = [world.add_project(group, "p") for group in groups]
    for place in projects if in_projects else groups:
        world.add_member(place, reader, OWNER)
    for project in projects:
        world.add_merge_request(project, "m")
    store = port_with(blueprint("thing"), blueprint("service"), clock=lambda: time.time() - 3600)
    mapping = mapping_of(*resources, entityDeletionThreshold=1, **options)
    with gitlab_server(world) as gitlab:

        def run(**more: Any) -> Report:
            return run_sync(gitlab, store, mapping, type=type, **more).report

        assert run().exit_code == 0
        assert len(store.identifiers("thing")) == len(projects)
        store.clock = time.time
        yield Bed(world, reader, groups, projects, gitlab, store, run)


@pytest.mark.parametrize("command", ["sync", "plan"])
def test_what_a_role_that_falls_to_reporter_leaves_out_of_the_listing_stays(command: str) -> None:
    with filled(REQUESTS) as bed:
        bed.fall(bed.groups[0], REPORTER)
        before, report = bed.requests, bed.run(command=command)
        assert (report.exit_code, bed.requests) == (5, before)
        assert [(one.blueprint, one.reason, one.count) for one in report.held] == [("thing", "role", 1)]
        assert "GitLab still shows them in g0/p" in report.held[0].why
        assert "30 (visibility.minAccessLevel)" in report.held[0].why
        assert "--allow-deletes thing=1" in report.held[0].hint


def test_a_role_that_is_given_back_takes_up_what_was_held() -> None:
    with filled(REQUESTS) as bed:
        bed.fall(bed.groups[0], REPORTER)
        bed.run()
        bed.fall(bed.groups[0], OWNER)
        report = bed.run()
        assert (report.exit_code, report.held, report.problems) == (0, (), ())


def test_projects_that_are_not_owned_any_more_stay_where_only_owned_ones_are_listed() -> None:
    with filled(PROJECTS, REQUESTS, type="gitlab", in_projects=True, filterOwnedProjects=True) as bed:
        bed.fall(bed.projects[0], MAINTAINER)
        before, report = bed.store.snapshot(), bed.run()
        assert (report.exit_code, bed.store.snapshot()) == (5, before)
        assert {one.reason for one in report.held} == {"role"}
        assert "filterOwnedProjects" in report.held[0].why


def test_what_a_guest_is_refused_stays_where_the_project_was_exported() -> None:
    with filled(PROJECTS, REQUESTS, in_projects=True) as bed:
        bed.fall(bed.projects[0], GUEST)
        bed.gitlab.faults.append(Fault(f"/projects/{bed.projects[0]['id']}/merge_requests", faults.forbidden()))
        before, report = bed.store.snapshot(), bed.run()
        assert (report.exit_code, bed.store.snapshot()) == (5, before)
        assert {(one.blueprint, one.reason) for one in report.held} == {("service", "role"), ("thing", "role")}


def test_what_a_guest_is_refused_stays_where_nothing_tells_whether_the_project_was_exported() -> None:
    with filled(REQUESTS, in_projects=True) as bed:
        bed.fall(bed.projects[0], GUEST)
        bed.gitlab.faults.append(Fault(f"/projects/{bed.projects[0]['id']}/merge_requests", faults.forbidden()))
        before, report = bed.requests, bed.run()
        assert (report.exit_code, bed.requests) == (5, before)
        assert "g0/p may hold them and was not read" in report.held[0].why


def test_a_project_that_was_never_exported_holds_nothing() -> None:
    with filled(PROJECTS, REQUESTS) as bed:
        other = bed.world.add_project(bed.world.add_group("other"), "p")
        bed.world.add_member(other, bed.reader, GUEST)
        bed.gitlab.faults.append(Fault(f"/projects/{other['id']}/merge_requests", faults.forbidden()))
        (gone,) = bed.world.merge_requests[bed.projects[1]["id"]]
        bed.world.merge_requests[bed.projects[1]["id"]].clear()
        report = bed.run()
        assert (report.exit_code, report.held, report.problems) == (0, (), ())
        assert str(gone["id"]) not in bed.requests


def test_what_the_selector_leaves_out_is_deleted_whatever_the_role() -> None:
    archived = resource("merge-request", selector={"includeOnlyActiveGroups": True})
    active = resource("project", "service", selector={"includeOnlyActiveProjects": True})
    with filled(archived, active) as bed:
        bed.projects[0]["archived"] = True
        bed.fall(bed.groups[1], REPORTER)
        report = bed.run()
        assert {(one.blueprint, one.count) for one in report.held} == {("thing", 1), ("service", 1)}
        assert str(bed.projects[0]["id"]) not in bed.store.identifiers("service")
        assert str(bed.projects[1]["id"]) in bed.store.identifiers("service")


def test_what_the_user_releases_is_deleted_although_a_lower_role_sees_it() -> None:
    with filled(REQUESTS) as bed:
        bed.fall(bed.groups[0], REPORTER)
        report = bed.run(allow_deletes="thing=1")
        assert (report.exit_code, len(bed.requests)) == (0, len(bed.projects) - 1)


def test_a_listing_of_low_roles_that_fails_holds_all() -> None:
    with filled(REQUESTS) as bed:
        bed.fall(bed.groups[0], REPORTER)
        bed.gitlab.faults.append(
            Fault(lambda asked: asked.path.endswith("/projects") and ("min_access_level", "10") in asked.query,
                  faults.forbidden())
        )  # fmt: skip
        before, report = bed.requests, bed.run()
        assert (report.exit_code, bed.requests) == (1, before)


def test_a_group_with_the_id_of_a_project_does_not_speak_for_it() -> None:
    with filled(PROJECTS, REQUESTS, in_projects=True) as bed:
        # The group, of which Port holds nothing, has the id of the project that fell.
        group = bed.world.add_group("twin")
        while group["id"] < bed.projects[0]["id"]:
            group = bed.world.add_group(f"twin{group['id']}")
        bed.world.add_member(group, bed.reader, GUEST)
        bed.fall(bed.projects[0], GUEST)
        bed.gitlab.faults.append(Fault(f"/projects/{bed.projects[0]['id']}/merge_requests", faults.forbidden()))
        before, report = bed.store.snapshot(), bed.run()
        assert (report.exit_code, bed.store.snapshot()) == (5, before)


def test_what_slipped_in_the_first_look_stays_where_the_role_falls_before_the_second() -> None:
    """The first look had the group and missed a row; the second one does not have the group."""
    churn = subject_of("merge-request").churn
    world, reader, group = acme()
    project = world.add_project(group, "one")
    world.add_member(world.add_group("other"), reader, OWNER)
    for number in range(1000, 1150):
        churn.add(world, group, project, number)
    store = port_with(blueprint("thing"), clock=lambda: time.time() - 3600)
    mapping = mapping_of(resource("merge-request", **churn.fields), entityDeletionThreshold=1)
    with gitlab_server(world) as gitlab:
        assert run_sync(gitlab, store, mapping).report.exit_code == 0
        before, store.clock = store.identifiers("thing"), time.time

        def one_leaves_and_one_joins() -> None:
            churn.leave(world, group, project)
            churn.add(world, group, project, 5000)

        def role_falls() -> None:
            world.remove_member(group, reader)
            world.add_member(group, reader, REPORTER)

        gitlab.edits += [
            Edit(churn.list, one_leaves_and_one_joins, page=churn.page), Edit(churn.list, role_falls, page=2)
        ]  # fmt: skip
        report = run_sync(gitlab, store, mapping).report
        assert [edit.times for edit in gitlab.edits] == [0, 0]
        gitlab.edits.clear()
        there = port_with(blueprint("thing"))
        run_sync(gitlab, there, mapping | {"visibility": {"minAccessLevel": 10}})
        assert before & there.identifiers("thing") <= store.identifiers("thing")
        assert report.exit_code in (0, 5), report.problems
