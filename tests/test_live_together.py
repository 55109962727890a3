"""Syncs, events and webhooks side by side: who owns what, what is deleted, and that the newest state stays."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import pytest

from gitlab_port_export.demo.gitlab_hooks import Watch, fire
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.port_faults import Fault, refuse
from gitlab_port_export.demo.port_rules import RefusedError
from gitlab_port_export.demo.port_webhooks import Unknown
from gitlab_port_export.demo.world import Row
from gitlab_port_export.model import Event, Page, Update
from gitlab_port_export.report.values import Counts, Report
from test_hooks import Bed, stand_ins
from testbed.harness import NoWait, blueprint, mapping_of, resource, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

INTEGRATION = "my-gitlab-v2-integration"
# Without times: an issue that a webhook wrote needs no change.
ISSUE = resource("issue", "ticket", title=".title", properties={"state": ".state"}, selector={"state": "opened"})
UNKNOWNS = [
    Unknown(owner=owner, null_clears=other, creates_targets=not other, backwards=other)
    for owner, other in itertools.product(("own", "kept", "none"), (True, False))
]


@contextmanager
def live(unknown: Unknown = UNKNOWNS[0], **mapping: Any) -> Iterator[tuple[Bed, Row, Watch]]:
    """A sync was made and hooks are there; what changes in the world is sent to Port by `Watch.fire`."""
    with stand_ins() as bed:
        bed.port.store.webhooks.unknown = unknown
        bed.port.store.add_blueprint(blueprint("ticket", state="string"))
        config = mapping_of(ISSUE, entityDeletionThreshold=1, **mapping)
        bed.port.store.integrations[INTEGRATION] = {
            "installationId": INTEGRATION,
            "installationAppType": "gitlab-v2",
            "config": config,
        }
        project = bed.world.add_project(bed.group, "web")
        bed.world.add_issue(project, "known")
        run_sync(bed.gitlab, bed.port)
        assert bed.run().exit_code == 0
        yield bed, project, Watch(bed.gitlab.hooks, bed.world, bed.reader)


def owner_of(bed: Bed, identifier: int) -> str:
    found = bed.port.store.entity("ticket", str(identifier))
    assert found
    return str(found["$datasource"])


# --- entities that a webhook wrote


@pytest.mark.parametrize("unknown", UNKNOWNS, ids=lambda one: f"{one.owner}-{one.backwards}")
def test_what_a_webhook_wrote_is_owned_after_the_next_sync_and_deleted_when_gone(unknown: Unknown) -> None:
    with live(unknown, enableMergeEntity=unknown.backwards) as (bed, project, watch):
        known = bed.world.issues[project["id"]][0]
        known["title"] = "renamed"
        new = bed.world.add_issue(project, "new")
        bed.world.touch()
        watch.fire()
        before = bed.port.store.snapshot()
        run_sync(bed.gitlab, bed.port)
        assert bed.port.store.snapshot() == before
        assert {owner_of(bed, one["id"]).split("/")[-2:][0] for one in (known, new)} == {INTEGRATION}
        assert run_sync(bed.gitlab, bed.port, command="plan", detailed=True).report.exit_code == 0
        bed.world.issues[project["id"]].clear()
        bed.world.touch()
        assert run_sync(bed.gitlab, bed.port).report.blueprints == {"ticket": Counts(deleted=2)}


def test_what_other_entities_relate_to_is_owned_again_too() -> None:
    # Each entity of "part" relates to one of "ticket", which the webhook writes.
    part = resource("issue", "part", title=".title", relations={"ticket": ".id | tostring"})
    with live(Unknown(owner="none")) as (bed, project, watch):
        bed.port.store.add_blueprint(blueprint("part", {"ticket": "ticket"}))
        config = bed.port.store.integrations[INTEGRATION]["config"]
        config["resources"].append(part)
        run_sync(bed.gitlab, bed.port)
        known = bed.world.issues[project["id"]][0]
        known["title"] = "renamed"
        bed.world.touch()
        watch.fire()
        assert INTEGRATION not in owner_of(bed, known["id"])
        run_sync(bed.gitlab, bed.port)
        assert INTEGRATION in owner_of(bed, known["id"])


def test_a_plan_names_what_a_sync_would_take_back() -> None:
    with live() as (bed, project, watch):
        bed.world.issues[project["id"]][0]["title"] = "renamed"
        bed.world.touch()
        watch.fire()
        report = run_sync(bed.gitlab, bed.port, command="plan", detailed=True).report
        assert report.exit_code == 10
        assert [change.fields for change in report.changes if isinstance(change, Update)] == [("owner",)]


def test_what_port_does_not_let_a_sync_take_back_is_a_warning() -> None:
    with live() as (bed, project, watch):
        bed.world.issues[project["id"]][0]["title"] = "renamed"
        bed.world.touch()
        watch.fire()
        bed.port.store.refuses = lambda blueprint, row: RefusedError(422, "invalid", "a property is missing")
        report = run_sync(bed.gitlab, bed.port).report
        assert (report.exit_code, report.blueprints) == (0, {"ticket": Counts(unchanged=1)})
        assert [problem.warning for problem in report.problems] == [True]
        assert "a property is missing" in report.problems[0].why


def test_without_a_webhook_an_equal_entity_of_somebody_else_stays_theirs() -> None:
    with live() as (bed, project, _):
        assert bed.run("remove").exit_code == 0
        theirs = bed.world.add_issue(project, "theirs")
        bed.port.store.seed(
            "ticket", [{"identifier": str(theirs["id"]), "title": "theirs", "properties": {"state": "opened"}}]
        )
        bed.port.requests.clear()
        report = run_sync(bed.gitlab, bed.port).report
        assert report.blueprints == {"ticket": Counts(unchanged=2)}
        assert owner_of(bed, theirs["id"]) == ""
        assert len(bed.port.calls("GET /v1/webhooks")) == 1


def test_what_no_sync_ever_produced_stays_and_status_names_it() -> None:
    with live(Unknown(owner="own")) as (bed, project, watch):
        lost = bed.world.add_issue(project, "gone before a sync")
        bed.world.touch()
        watch.fire()
        bed.world.issues[project["id"]].remove(lost)
        bed.world.touch()
        assert run_sync(bed.gitlab, bed.port).report.blueprints == {"ticket": Counts(unchanged=1)}
        report = bed.run("status")
        assert [(one.blueprint, one.count, one.sample) for one in report.strays] == [("ticket", 1, str(lost["id"]))]
        assert report.exit_code == 0


def test_a_port_that_does_not_show_webhooks_costs_a_sync_nothing() -> None:
    with live() as (bed, _, _watch):
        bed.port.store.webhooks.readable = False
        report = run_sync(bed.gitlab, bed.port).report
        assert (report.exit_code, report.problems) == (0, ())
        bed.port.faults.append(Fault("GET /v1/webhooks", refuse(500)))
        report = run_sync(bed.gitlab, bed.port).report
        assert report.exit_code == 0
        assert [problem.warning for problem in report.problems] == [True]


# --- a sync and events at once


def during(bed: Bed, happens: Callable[[], Any]) -> Report:
    """Sync, and let something happen when it has read both sides and written nothing."""
    waiting = [happens]
    bed.port.requests.clear()

    def watch(event: Event) -> None:
        if isinstance(event, Page) and waiting:
            until = time.monotonic() + 10
            while not bed.port.calls("POST .*/ticket/entities/search") and time.monotonic() < until:
                time.sleep(0.01)
            waiting.pop()()

    return run_sync(bed.gitlab, bed.port, watch=watch).report


@pytest.mark.parametrize("way", ["ci", "port", "both"])
@pytest.mark.parametrize("unknown", UNKNOWNS[::2], ids=lambda one: one.owner)
def test_of_two_events_and_a_sync_at_once_the_newest_state_stays(unknown: Unknown, way: str) -> None:
    with live(unknown) as (bed, project, watch):
        issue = bed.world.issues[project["id"]][0]
        issue["title"] = "older, and no event tells of it"
        bed.world.touch()
        watch.payloads()

        def twice() -> None:
            for title in ("newer", "newest"):
                issue["title"] = title
                bed.world.touch()
                payloads = watch.payloads()
                if way != "ci":
                    assert fire(bed.gitlab.hooks, bed.world, payloads[0]) == 1
                if way != "port":
                    assert run_sync(bed.gitlab, bed.port, events=payloads).report.exit_code == 0

        report = during(bed, twice)
        assert report.exit_code == 0
        assert report.left == (
            f"1 that changed in Port while this run was reading, such as ticket {issue['id']}: the newer state stays",
        )
        assert (bed.port.store.entity("ticket", str(issue["id"])) or {})["title"] == "newest"
        run_sync(bed.gitlab, bed.port)
        assert run_sync(bed.gitlab, bed.port, command="plan", detailed=True).report.exit_code == 0
        assert owner_of(bed, issue["id"]).endswith(f"/{INTEGRATION}/exporter")


def test_a_change_in_port_that_is_no_newer_state_is_written_over() -> None:
    with live() as (bed, project, _):
        issue = bed.world.issues[project["id"]][0]
        issue["title"] = "renamed"
        bed.world.touch()
        # Some other field changes: what the mapping sets is as it was read.
        row = {"identifier": str(issue["id"]), "title": "known", "icon": "Jira", "properties": {"state": "opened"}}
        touch = partial(bed.port.store.seed, "ticket", [row])
        report = during(bed, touch)
        assert report.blueprints == {"ticket": Counts(updated=1)}
        assert (bed.port.store.entity("ticket", str(issue["id"])) or {})["title"] == "renamed"


@pytest.mark.parametrize("way", ["ci", "port"])
def test_a_sync_deletes_nothing_that_was_written_after_it_began(way: str) -> None:
    with live() as (bed, project, watch):
        gone = bed.world.issues[project["id"]].pop()
        bed.world.add_issue(project, "stays")
        bed.world.touch()
        watch.payloads()

        def again() -> None:
            """It comes back, and its event is faster than the sync, which has read the list without it."""
            bed.world.issues[project["id"]].append(gone | {"title": "back"})
            bed.world.touch()
            payloads = watch.payloads()
            if way == "ci":
                run_sync(bed.gitlab, bed.port, events=payloads)
            else:
                fire(bed.gitlab.hooks, bed.world, payloads[0])
            bed.world.issues[project["id"]].pop()
            bed.world.touch()

        report = during(bed, again)
        assert str(gone["id"]) in bed.port.store.identifiers("ticket")
        assert report.blueprints["ticket"].deleted == 0


# --- an event that is faster than GitLab itself


class Waiting(NoWait):
    """Notes the waits, which are over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.mark.parametrize(("age", "waits"), [(1, 1), (600, 0)])
def test_what_gitlab_does_not_show_yet_is_looked_for_again_and_nothing_else_is(age: float, waits: int) -> None:
    """https://gitlab.com/gitlab-org/gitlab/-/issues/28461, https://gitlab.com/gitlab-org/gitlab/-/issues/19670"""
    with live() as (bed, project, _):
        clock, before = Waiting(), deepcopy(bed.world)
        made = bed.world.ago(seconds=age)
        new = bed.world.add_issue(project, "new", created_at=made, updated_at=made)
        bed.world.touch()
        bed.gitlab.replica = lambda _: bed.world if clock.waits else before
        payload = Shapes(bed.world).issue(new, bed.reader)
        report = run_sync(bed.gitlab, bed.port, events=[payload], clock=clock).report
        assert len(clock.waits) == waits
        assert report.blueprints == ({"ticket": Counts(created=1)} if waits else {})
        assert len(report.left) == 1 - waits


@pytest.mark.parametrize(("age", "title"), [(1, "newer"), (600, "known")])
def test_what_gitlab_shows_in_an_older_state_than_the_event_s_is_looked_at_again(age: float, title: str) -> None:
    """Of an event that is minutes old, GitLab has had the time."""
    with live() as (bed, project, _):
        clock, before = Waiting(), deepcopy(bed.world)
        row = bed.world.issues[project["id"]][0]
        before.issues[project["id"]][0]["updated_at"] = stamp(bed.world.ago(days=1))
        row |= {"title": "newer", "updated_at": stamp(bed.world.ago(seconds=age))}
        bed.world.touch()
        bed.gitlab.replica = lambda _: bed.world if clock.waits else before
        payload = Shapes(bed.world).issue(row, bed.reader)
        report = run_sync(bed.gitlab, bed.port, events=[payload], clock=clock).report
        assert (report.exit_code, len(clock.waits)) == (0, 1 if age < 30 else 0)
        assert (bed.port.store.entity("ticket", str(row["id"])) or {})["title"] == title
