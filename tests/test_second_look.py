"""Nothing is deleted on one look: rows leave and join while lists are read, and what GitLab still has stays."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import Edit, Fault, GitLabServer, faults, gitlab_server
from gitlab_port_export.demo.gitlab_faults import Recorded
from gitlab_port_export.demo.gitlab_pages import HeaderList, Limits
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import slow
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import DEVELOPER, OWNER, Row, World
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.model import Delete
from gitlab_port_export.report.values import Report
from testbed.company import close, now
from testbed.harness import (
    acme,
    blueprint,
    environ_for,
    mapping_file,
    mapping_of,
    port_with,
    resource,
    run_command,
    run_sync,
)
from testbed.kinds import subject_of
from testbed.subject import Churn

pytestmark = pytest.mark.usefixtures("lent_evaluator")

MANY = 150


def uncounted(_: Recorded, headers: HeaderList) -> HeaderList:
    """Say of no list how long it is, as GitLab does of long ones."""
    return [one for one in headers if one[0] not in ("X-Total", "X-Total-Pages")]


def entity(kind: str, identifier: str = ".id | tostring", **selector: Any) -> Any:
    return resource(kind, identifier=identifier, title="null", selector=selector)


def rows_of(churn: Churn) -> Callable[[World, Row, Row], None]:
    """Return what fills a world with more than a page of rows of a kind."""

    def fill(world: World, group: Row, project: Row) -> None:
        for number in range(1000, 1000 + MANY):
            churn.add(world, group, project, number)

    return fill


@dataclass
class Bed:
    """A GitLab and a Port that a first run has filled."""

    world: World
    group: Row
    project: Row
    gitlab: GitLabServer
    store: PortStore
    mapping: Any
    options: dict[str, Any]

    def after(self, pattern: str | Callable[[Recorded], bool], change: Callable[[], object], **more: Any) -> None:
        """Let a change follow the first answer to a request."""
        self.gitlab.edits.append(Edit(pattern, change, **more))

    def sync(self, **options: Any) -> Report:
        """Run, with whatever happens meanwhile; the requests of that run are left to look at."""
        self.gitlab.requests.clear()
        return run_sync(self.gitlab, self.store, self.mapping, **{**self.options, **options}).report

    @property
    def held(self) -> set[str]:
        return self.store.identifiers("thing")

    @property
    def there(self) -> set[str]:
        """What GitLab has now, as a first run into an empty Port finds it."""
        self.gitlab.edits.clear()
        store = port_with(blueprint("thing"))
        assert run_sync(self.gitlab, store, self.mapping, **self.options).report.exit_code == 0
        return store.identifiers("thing")


@contextmanager
def filled(
    fill: Callable[[World, Row, Row], object], *resources: Any, threshold: float = 1, **options: Any
) -> Iterator[Bed]:
    """A group `acme` with the project `one`, filled, and a Port that a run has filled from it."""
    world, _, group = acme()
    project = world.add_project(group, "one")
    fill(world, group, project)
    mapping = mapping_of(*resources, entityDeletionThreshold=threshold)
    with gitlab_server(world) as gitlab:
        # It is filled so long ago that nothing counts as changed during a later run.
        store = port_with(blueprint("thing"), clock=lambda: time.time() - 3600)
        bed = Bed(world, group, project, gitlab, store, mapping, options)
        assert bed.sync().exit_code == 0
        bed.store.clock = time.time
        yield bed


@pytest.mark.parametrize("kind", KINDS)
def test_of_every_kind_what_remains_stays_when_one_row_leaves_and_one_joins_between_two_pages(kind: str) -> None:
    churn = subject_of(kind).churn
    with filled(rows_of(churn), resource(kind, title="null", **churn.fields)) as bed:
        before = bed.held
        assert len(before) >= MANY

        def one_leaves_and_one_joins() -> None:
            churn.leave(bed.world, bed.group, bed.project)
            # Behind all others in every order.
            churn.add(bed.world, bed.group, bed.project, 5000)

        bed.after(churn.list, one_leaves_and_one_joins, page=churn.page)
        report = bed.sync()
        assert [edit.times for edit in bed.gitlab.edits] == [0]
        assert report.exit_code == churn.code, report.problems
        assert before & bed.there <= bed.held


# Merge requests


def open_ones(count: int = MANY) -> Callable[[World, Row, Row], None]:
    """Fill the project with open merge requests that nobody touched for days."""

    def fill(world: World, group: Row, project: Row) -> None:
        for number in range(count):
            world.add_merge_request(project, f"m{number}")

    return fill


def merge_requests(*states: str) -> Any:
    return resource("merge-request", title=".title", selector={"states": list(states or ("opened",))})


def asked(bed: Bed, endpoint: str = "merge_requests") -> list[dict[str, str]]:
    """The queries for merge requests of the last run."""
    return [dict(one.query) for one in bed.gitlab.requests if one.path.endswith(f"/{endpoint}")]


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("command", ["sync", "plan"])
def test_a_row_that_slips_from_page_two_to_page_one_stays(counts: bool, command: Any) -> None:
    with filled(open_ones(250), merge_requests()) as bed:
        rows = bed.world.merge_requests[bed.project["id"]]
        close(rows[240])
        gone = {str(rows[240]["id"])}

        def churn() -> None:
            close(rows[0])
            bed.world.add_merge_request(bed.project, "new", created_at=bed.world.now)

        bed.after("/merge_requests$", churn, page=1)
        report = bed.sync(command=command)
        assert report.exit_code == 0
        assert {one.identifier for one in report.changes if isinstance(one, Delete)} == gone
        counts_of = report.blueprints["thing"]
        # The one that slipped is counted, and the one that joined came with the pages that were left.
        assert (counts_of.created, counts_of.unchanged, counts_of.deleted) == (1, 249, 1)
        assert report.kinds["merge-request"].rows == 249


def test_a_row_that_was_merged_between_the_lists_of_two_states_stays() -> None:
    with filled(open_ones(), merge_requests("merged", "opened")) as bed:
        row = bed.world.merge_requests[bed.project["id"]][3]

        def merge() -> None:
            row.update(state="merged", merged_at=now(), updated_at=now(), title="merged")

        def merged(request: Recorded) -> bool:
            return ("state", "merged") in request.query

        bed.after(merged, merge)
        report = bed.sync(workers=1)
        assert (report.exit_code, report.blueprints["thing"].deleted) == (0, 0)
        assert str(row["id"]) in bed.held
        # It is written as it is now.
        assert bed.store.entity("thing", str(row["id"]))["title"] == "merged"  # type: ignore[index]  # it is there
        assert bed.sync().blueprints["thing"].updated == 0


@pytest.mark.parametrize("states", [["opened"], ["opened", "merged", "closed"]])
def test_a_merge_request_that_is_being_merged_stays(states: list[str]) -> None:
    """Meanwhile it is locked, and GitLab lists it neither with the open ones nor with the merged ones."""
    with filled(open_ones(20), merge_requests(*states)) as bed:
        row = bed.world.merge_requests[bed.project["id"]][3]
        row.update(state="locked", updated_at=now())
        report = bed.sync()
        assert (report.exit_code, report.blueprints["thing"].deleted) == (0, 0)
        assert str(row["id"]) in bed.held
        assert bed.sync().blueprints["thing"].updated == 0
        close(row)
        assert bed.sync().blueprints["thing"].deleted == (0 if "closed" in states else 1)


def test_what_a_transferred_project_holds_stays() -> None:
    with filled(open_ones(5), merge_requests()) as bed:
        member = bed.world.users[1]
        other = bed.world.add_group("other")
        bed.world.add_member(other, member, OWNER)
        bed.world.add_merge_request(bed.world.add_project(other, "two"), "first")
        moving = bed.world.add_project(other, "three")
        bed.world.add_merge_request(moving, "it moves")
        assert bed.sync().exit_code == 0
        before = bed.held
        bed.after("/groups/1/merge_requests$", lambda: bed.world.transfer_project(moving, bed.group))
        bed.sync(workers=1)
        assert before == bed.held


def test_a_project_that_moves_from_the_pattern_of_one_token_to_that_of_another_stays() -> None:
    def fill(world: World, group: Row, project: Row) -> None:
        other = world.add_group("other")
        world.add_member(other, world.users[1], OWNER)
        world.add_project(other, "two")
        world.add_project(group, "three")
        world.add_token("token-of-other", world.users[1])

    patterns = {"token-of-other": ["other/**"], "token-of-reader": ["acme/**"]}
    with filled(fill, entity("project"), tokens=patterns) as bed:
        moving, other = bed.world.project("acme/three"), bed.world.group("other")

        def listed(request: Recorded) -> bool:
            return (request.path, request.token) == ("/projects", "token-of-other")

        bed.after(listed, lambda: bed.world.transfer_project(moving, other))
        assert bed.sync(workers=1).exit_code == 0
        assert str(moving["id"]) in bed.held


def test_a_person_who_moves_from_an_unread_list_to_one_that_was_read_stays() -> None:
    def fill(world: World, group: Row, project: Row) -> None:
        world.add_member(world.add_group("second", group), world.add_user("moves"), DEVELOPER)

    with filled(fill, entity("member", ".username")) as bed:
        moves = bed.world.users[2]

        def move() -> None:
            bed.world.remove_member(bed.world.group("acme/second"), moves)
            bed.world.add_member(bed.group, moves, DEVELOPER)

        bed.after("/groups/1/members$", move)
        assert bed.sync(workers=1).exit_code == 0
        assert bed.held == {"reader", "moves"}


def test_what_an_archived_project_takes_out_of_a_list_costs_no_other_row() -> None:
    def fill(world: World, group: Row, project: Row) -> None:
        first = world.add_project(group, "first")
        for number in range(20):
            world.add_merge_request(first, f"f{number}")
        open_ones(200)(world, group, project)

    with filled(fill, merge_requests()) as bed:
        first = bed.world.project("acme/first")
        bed.after("/merge_requests$", lambda: first.update(archived=True), page=1)
        assert bed.sync().exit_code == 0
        assert bed.there <= bed.held
        assert bed.sync().blueprints["thing"].deleted == 20
        assert bed.held == bed.there


def test_what_was_deleted_costs_no_other_row() -> None:
    with filled(open_ones(250), merge_requests()) as bed:
        rows = bed.world.merge_requests[bed.project["id"]]

        def churn() -> None:
            rows.pop(0)
            bed.world.add_merge_request(bed.project, "new", created_at=bed.world.now)

        bed.after("/merge_requests$", churn, page=1)
        assert bed.sync().exit_code == 0
        assert bed.there <= bed.held
        assert bed.sync().blueprints["thing"].deleted == 1
        assert bed.held == bed.there


def test_rows_that_come_and_go_in_every_look_are_held_and_the_next_run_decides() -> None:
    with filled(open_ones(20), merge_requests()) as bed:
        rows = bed.world.merge_requests[bed.project["id"]]
        for row in rows[:3]:
            row["state"] = "closed"

        def reopen(row: Row) -> Callable[[], object]:
            return lambda: row.update(state="opened")

        for row in rows[:2]:
            bed.after("/merge_requests$", reopen(row))
        # One edit a request: the second waits for the second look.
        bed.gitlab.edits[1].match = once_before("/merge_requests$")
        report = bed.sync()
        assert [(one.reason, one.identifiers) for one in report.held] == [("recent", (str(rows[2]["id"]),))]
        assert report.exit_code == 0
        assert len(bed.held) == 20
        assert bed.sync().blueprints["thing"].deleted == 1


def once_before(ending: str) -> Callable[[Recorded], bool]:
    """Match the second request for a path, but for what is being merged."""
    seen: list[Recorded] = []

    def match(request: Recorded) -> bool:
        if request.path.endswith(ending.strip("$")) and ("state", "locked") not in request.query:
            seen.append(request)
        return len(seen) == 2

    return match


class TestQuiet:
    """A long list that is proved to be as it was read is not read again."""

    def bed(self) -> Any:
        return filled(open_ones(450), merge_requests())

    def close_some(self, bed: Bed) -> None:
        """Close five a day ago."""
        for row in bed.world.merge_requests[bed.project["id"]][100:105]:
            row |= {"state": "closed", "updated_at": stamp(datetime.now(UTC) - timedelta(days=1))}
        bed.world.touch()

    def test_deleting_some_of_many_costs_two_requests_a_list_and_two_inventories(self) -> None:
        with self.bed() as bed:
            assert bed.sync().gitlab_requests == 3 + 5 + 1
            self.close_some(bed)
            report = bed.sync()
            assert report.blueprints["thing"].deleted == 5
            more = sorted(one.path for one in bed.gitlab.requests[9:])
            # The third is for those that are being merged; the second inventory is for what a low role leaves out.
            assert more == [*2 * ["/groups"], *3 * ["/groups/1/merge_requests"], *4 * ["/projects"]]
            moved, counted, locked = asked(bed)[-3:]
            assert locked["state"] == "locked"
            assert "state" not in moved
            assert moved["updated_after"]
            assert "updated_after" not in counted
            assert counted["per_page"] == "1"

    @pytest.mark.parametrize("kind", ["issue", "pipeline", "deployment"])
    def test_other_lists_that_can_be_asked_what_was_updated(self, kind: str) -> None:
        churn = subject_of(kind).churn

        def fill(world: World, group: Row, project: Row) -> None:
            rows_of(churn)(world, group, project)
            for _ in range(100):
                churn.add(world, group, project, 5000)

        with filled(fill, resource(kind, title="null", **churn.fields)) as bed:
            rows = getattr(bed.world, f"{kind}s")[bed.project["id"]]
            gone = {str(rows.pop(9)["id"]), str(rows.pop(200)["id"])}
            bed.world.touch()
            report = bed.sync()
            assert (report.exit_code, report.blueprints["thing"].deleted) == (0, 2)
            assert gone & bed.held == set()
            assert [one["per_page"] for one in asked(bed, f"{kind}s")] == [*3 * ["100"], *2 * ["1"]]

    def test_a_filter_whose_rows_change_without_an_update_is_read_again(self) -> None:
        with filled(open_ones(0), entity("issue", labels="bug")) as bed:
            for number in range(250):
                bed.world.add_issue(bed.project, f"i{number}", labels=["bug"])
            bed.sync()
            bed.world.issues[bed.project["id"]].pop(9)
            assert bed.sync().blueprints["thing"].deleted == 1
            assert [one["per_page"] for one in asked(bed, "issues")] == 6 * ["100"]

    @pytest.mark.parametrize("query", [{"username": "reader"}, {"name": "nightly"}])
    def test_what_leaves_and_joins_a_filter_without_an_update_costs_no_other_row(self, query: dict[str, str]) -> None:
        """A user or a pipeline is renamed, and no pipeline is updated by that."""
        days_ago = stamp(datetime.now(UTC) - timedelta(days=2))

        def fill(world: World, group: Row, project: Row) -> None:
            for _ in range(300):
                row = world.add_pipeline(project, user=world.users[1], name="nightly")
                row.update(created_at=days_ago, updated_at=days_ago)

        with filled(fill, entity("pipeline", apiQueryParams=query)) as bed:
            rows = bed.world.pipelines[bed.project["id"]]
            joins, slips = rows.pop(250), str(rows[100]["id"])

            def churn() -> None:
                rows.pop(0)
                rows.insert(249, joins)

            bed.after("/pipelines$", churn, page=1)
            assert bed.sync().exit_code == 0
            assert slips in bed.held

    def test_what_is_imported_while_a_list_is_read_costs_no_other_row(self) -> None:
        """It joins the list with the times that it had where it comes from."""
        with self.bed() as bed:
            self.close_some(bed)
            bed.project["import_status"] = "started"
            rows = bed.world.merge_requests[bed.project["id"]]
            slips = str([row for row in rows if row["state"] == "opened"][100]["id"])

            def churn() -> None:
                rows.pop(0)
                bed.world.add_merge_request(
                    bed.project, "m", created_at=bed.world.now, updated_at=rows[0]["updated_at"]
                )

            bed.after("/merge_requests$", churn, page=1)
            assert bed.sync().exit_code == 0
            assert slips in bed.held

    def test_a_run_that_deletes_nothing_looks_once(self) -> None:
        with self.bed() as bed:
            assert len(asked(bed)) == 5

    @pytest.mark.parametrize("what", ["moved", "left", "uncounted", "refused", "inventory"])
    def test_a_list_that_may_have_changed_is_read_again(self, what: str) -> None:
        with self.bed() as bed:
            self.close_some(bed)
            rows = bed.world.merge_requests[bed.project["id"]]
            match what:
                case "moved":
                    bed.after("/merge_requests$", lambda: rows[7].update(updated_at=now()), page=5)
                case "left":
                    bed.after("/merge_requests$", lambda: rows.pop(7), page=5)
                case "uncounted":
                    bed.gitlab.proxy = uncounted
                case "refused":
                    bed.gitlab.faults.append(Fault(lambda one: ("per_page", "1") in one.query, faults.forbidden()))
                case "inventory":
                    new = bed.world.add_project(bed.group, "new", archived=True)
                    bed.after("/merge_requests$", lambda: new.update(archived=False), page=5)
            report = bed.sync()
            assert report.exit_code == 0
            assert report.blueprints["thing"].deleted == 5
            assert [one["page"] for one in asked(bed) if one["per_page"] == "100"].count("2") >= 2

    def test_a_project_that_comes_hides_no_row_that_goes(self) -> None:
        """As many rows join with a project as were deleted, so that no count changes."""
        with self.bed() as bed:
            self.close_some(bed)
            new = bed.world.add_project(bed.group, "new", archived=True)
            bed.world.add_merge_request(new, "joins", created_at=bed.world.now)
            assert "451" in {str(row["id"]) for row in bed.world.merge_requests[new["id"]]}
            rows = bed.world.merge_requests[bed.project["id"]]
            slips = str([row for row in rows if row["state"] == "opened"][100]["id"])

            def churn() -> None:
                rows.pop(0)
                new["archived"] = False

            bed.after("/merge_requests$", churn, page=1)
            assert bed.sync().exit_code == 0
            assert slips in bed.held


class TestQuietWindows:
    """So is a list that was read in windows: each window is proved."""

    @contextmanager
    def bed(self) -> Iterator[Bed]:
        with filled(open_ones(45), merge_requests(), window=8) as bed:
            bed.gitlab.limits = Limits(per_page=3, counted=10)
            assert bed.sync().exit_code == 0
            for row in bed.world.merge_requests[bed.project["id"]][20:23]:
                row |= {"state": "closed", "updated_at": stamp(datetime.now(UTC) - timedelta(days=1))}
            bed.world.touch()
            yield bed

    def opened(self, bed: Bed, size: str) -> list[tuple[tuple[str, str], ...]]:
        """The questions about open ones, oldest first, of pages of that size."""
        found = [one for one in asked(bed) if one["per_page"] == size and one.get("sort") == "asc"]
        return [tuple(sorted(one.items())) for one in found if one.get("state") == "opened"]

    def test_deleting_some_costs_one_request_a_window(self) -> None:
        with self.bed() as bed:
            assert bed.sync().blueprints["thing"].deleted == 3
            counts, pages = self.opened(bed, "1"), self.opened(bed, "100")
            assert len(set(counts)) == len(counts) >= 5
            assert len(set(pages)) == len(pages) > 14

    @pytest.mark.parametrize("what", ["moved", "left the first", "left the last", "joined in the past", "refused"])
    def test_a_window_that_may_have_changed_is_read_again(self, what: str) -> None:
        with self.bed() as bed:
            rows, long_ago = bed.world.merge_requests[bed.project["id"]], datetime(2020, 1, 1, tzinfo=UTC)
            changes: dict[str, Callable[[], object]] = {
                "moved": lambda: rows[7].update(updated_at=now()),
                "left the first": lambda: rows.pop(0),
                "left the last": rows.pop,
                "joined in the past": lambda: bed.world.add_merge_request(bed.project, "m", created_at=long_ago),
                "refused": lambda: bed.gitlab.faults.append(Fault(counts_one, faults.forbidden())),
            }
            bed.after(second_inventory(), changes[what])
            assert bed.sync().blueprints["thing"].deleted == 3
            assert [edit.times for edit in bed.gitlab.edits] == [0]
            whole = [one for one in self.opened(bed, "100") if not any(name.startswith("created") for name, _ in one)]
            assert [dict(one)["page"] for one in whole] == ["1", "1"]


def counts_one(request: Recorded) -> bool:
    return {("per_page", "1"), ("sort", "asc"), ("state", "opened")} <= set(request.query)


def second_inventory() -> Callable[[Recorded], bool]:
    """Match the second request for all groups, after the lists were read for the first time."""
    seen: list[Recorded] = []

    def match(request: Recorded) -> bool:
        if request.path == "/groups":
            seen.append(request)
        return request.path == "/groups" and len(seen) == 2

    return match


class TestUnsure:
    """A second look that fails proves nothing."""

    @pytest.mark.parametrize("pattern", ["/merge_requests$", "/groups$", "/projects$", ""])
    def test_what_cannot_be_read_again_is_held(self, pattern: str) -> None:
        with filled(open_ones(20), merge_requests()) as bed:
            close(bed.world.merge_requests[bed.project["id"]][0])
            bed.after("/merge_requests$", lambda: bed.gitlab.faults.append(Fault(pattern, faults.forbidden())))
            report = bed.sync()
            assert [one.reason for one in report.held] == ["problem"]
            assert report.exit_code == 1
            assert len(bed.held) == 20
            bed.gitlab.faults.clear()
            assert bed.sync().blueprints["thing"].deleted == 1

    def test_a_row_that_can_no_longer_be_mapped_is_held(self) -> None:
        nothing = resource("merge-request", identifier="if .draft then null else .id end", title="null")
        with filled(open_ones(20), nothing) as bed:
            row = bed.world.merge_requests[bed.project["id"]][0]
            row["state"] = "closed"
            bed.after("/merge_requests$", lambda: row.update(state="opened", draft=True))
            report = bed.sync()
            assert [one.reason for one in report.held] == ["unnamed"]
            assert len(bed.held) == 20


class TestLimit:
    """The limit's share is of what was ours when the run began."""

    def test_what_the_run_creates_does_not_count_however_long_port_takes_to_list_what_is_ours(self) -> None:
        with filled(open_ones(100), merge_requests(), threshold=0.3) as bed:
            rows = bed.world.merge_requests[bed.project["id"]]
            for row in rows[:40]:
                row["state"] = "closed"
            for number in range(60):
                bed.world.add_merge_request(bed.project, f"new {number}")
            with port_server(bed.store) as port:
                port.faults.append(PortFault("datasource-entities$", slow(0.5), 2))
                report = run_sync(bed.gitlab, port, bed.mapping).report
            (held,) = report.held
            assert (held.reason, held.why) == ("limit", "40 of 100 entities would go; the limit is 30")
            assert report.blueprints["thing"].created == 60

    def test_what_no_resource_feeds_any_more_is_not_looked_for(self) -> None:
        with filled(open_ones(3), entity("project")) as bed:
            alone = bed.mapping
            bed.store.add_blueprint(blueprint("mr"))
            bed.mapping = mapping_of(*alone["resources"], resource("merge-request", "mr"), entityDeletionThreshold=1)
            assert bed.sync().blueprints["mr"].created == 3
            bed.mapping = alone
            assert bed.sync().blueprints["mr"].deleted == 3
            assert bed.gitlab.count("/groups") == 1

    def test_what_is_held_by_the_limit_is_not_looked_at_again(self) -> None:
        with filled(open_ones(100), merge_requests(), threshold=0.3) as bed:
            for row in bed.world.merge_requests[bed.project["id"]][:40]:
                row["state"] = "closed"
            assert bed.sync().exit_code == 5
            assert len(asked(bed)) == 1


def test_a_plan_file_deletes_what_both_looks_of_the_plan_lacked(tmp_path: Path) -> None:
    with filled(open_ones(250), merge_requests()) as bed, port_server(bed.store) as port:
        rows = bed.world.merge_requests[bed.project["id"]]
        close(rows[240])

        def churn() -> None:
            close(rows[0])
            bed.world.add_merge_request(bed.project, "new", created_at=bed.world.now)

        bed.after("/merge_requests$", churn, page=1)
        environ, mapping = environ_for(bed.gitlab, port), str(mapping_file(bed.mapping, tmp_path))
        planned = run_command(["plan", "--mapping", mapping, "--out", "a.plan"], environ, tmp_path)
        assert planned.returncode == 0, planned.stderr
        done = run_command(["sync", "--mapping", mapping, "--plan", "a.plan"], environ, tmp_path)
        assert done.returncode == 0, done.stderr
        gone = {str(rows[240]["id"])}
        assert bed.held == {str(row["id"]) for row in rows} - gone


def test_what_one_row_of_a_project_denies_is_asked_before_it_is_deleted() -> None:
    branches = entity("branch", ".name", defaultBranchOnly=False)

    def fill(world: World, group: Row, project: Row) -> None:
        lists.add_branch(world, project, "main")
        lists.add_branch(world, world.add_project(group, "two"), "other")

    with filled(fill, branches) as bed:
        bed.project["empty_repo"] = True
        assert bed.sync().exit_code == 0
        assert bed.held == {"main", "other"}
