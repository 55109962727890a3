"""What users of other incremental syncs met, tried here; each test names the report that it comes from."""

import time
from collections.abc import Iterator

import pytest

from gitlab_port_export.demo import gitlab_changes as changes
from gitlab_port_export.demo.gitlab_faults import forbidden
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.incremental.state import state_of
from test_incremental_machine import Rhythm, a_rhythm

pytestmark = pytest.mark.usefixtures("lent_evaluator")


@pytest.fixture
def machine() -> Iterator[Rhythm]:
    with a_rhythm() as found:
        yield found


def test_what_changes_at_the_instant_of_a_run_is_found_by_the_next(machine: Rhythm) -> None:
    """https://github.com/airbytehq/airbyte/issues/14732, https://github.com/singer-io/tap-harvest/issues/34"""
    machine.run()
    machine.change(name="an issue is edited", number=3)
    machine.change(name="a pipeline starts", number=3)
    machine.time_passes(seconds=2_700)
    machine.check()


def test_what_goes_on_during_a_run_is_looked_at_until_it_has_ended(machine: Rhythm) -> None:
    """https://github.com/apache/devlake/issues/9127"""
    machine.change(name="a pipeline starts", number=2)
    machine.check()
    for _ in range(2):
        machine.time_passes(seconds=18_000)
        machine.change(name="a job ends", number=0)
        machine.check()
    assert {row["status"] for row in machine.world.pipelines[3]} <= {"success", "failed"}


def test_a_job_that_is_retried_weeks_later_is_found_with_its_pipeline(machine: Rhythm) -> None:
    """https://github.com/newrelic-experimental/gitlab/issues/27"""
    world = machine.world
    job = world.jobs[1][0]

    def again() -> None:
        world.retried_jobs.add(job["id"])
        job["status"] = "failed"
        world.add_job(job["pipeline"], job["name"], "running", created_at=stamp(world.now))
        changes.saved(world, job["pipeline"], status="running")

    machine.carry_out(again)
    machine.check()
    assert machine.store.identifiers("job") == {str(row["id"]) for rows in world.jobs.values() for row in rows}


def test_one_list_that_fails_keeps_no_other_from_being_written(machine: Rhythm) -> None:
    """https://github.com/port-labs/ocean/pull/3404: there the first kind that fails ends the run."""
    machine.change(name="a merge request is edited", number=1)
    machine.change(name="an issue is edited", number=1)
    machine.run_in_which_a_kind_fails(kind="merge-request", answer=forbidden(), times=None)
    title = machine.world.merge_requests[2][0]["title"]
    issue = machine.store.entity("issue", str(machine.world.issues[2][0]["id"]))
    assert issue
    assert "label 1" in issue["properties"]["text"]
    machine.time_passes(seconds=2_700)
    machine.check()
    assert title in {content[0] for content in machine.store.snapshot()["mr"].values()}


def test_a_full_run_that_failed_in_part_is_not_taken_for_a_whole_one() -> None:
    """https://github.com/airbytehq/airbyte/issues/24808, https://github.com/mara/mara-pipelines/pull/24"""
    with a_rhythm() as machine:
        machine.the_state_is_not_what_it_was(how="lost")
        machine.somebody_empties_a_blueprint(kind="issue")
        machine.run_in_which_a_kind_fails(kind="issue", answer=forbidden(), times=None)
        assert machine.store.identifiers("issue") == set()
        machine.check()
        machine.check_a_full_run()


def test_the_instant_moves_also_where_nothing_came(machine: Rhythm) -> None:
    """https://github.com/singer-io/tap-salesforce/pull/198, https://github.com/singer-io/tap-github/pull/58"""
    seen = []
    for _ in range(3):
        machine.time_passes(seconds=18_000)
        machine.check()
        found = state_of(machine.kept)
        assert found
        seen.append((set(found.kinds.values()), found.last_run))
    assert [len(instants) for instants, _ in seen] == [1, 1, 1]
    assert [instants == {run} for instants, run in seen] == [True] * 3


def test_a_lost_state_writes_nothing_twice(machine: Rhythm) -> None:
    """https://github.com/rocky-data/rocky/issues/1179, https://github.com/adswerve/target-bigquery/issues/9"""
    machine.check()
    before = machine.store.writes
    machine.the_state_is_not_what_it_was(how="lost")
    machine.check()
    machine.check()
    assert machine.store.writes == before


def test_what_somebody_deletes_in_port_comes_back_also_of_projects_in_which_nothing_changed() -> None:
    """There labels are added to every project, so a run that reads what changed gives no entity of the others."""
    machine = Rhythm()
    try:
        machine.a_first_run(older=True)
        machine.time_passes(seconds=18_000)
        machine.somebody_empties_a_blueprint(kind="project")
        machine.check()
    finally:
        machine.teardown()


def test_windows_are_gitlabs_time_wherever_the_job_runs(machine: Rhythm, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://github.com/airbytehq/airbyte/issues/48492"""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        machine.change(name="an issue is edited", number=1)
        machine.check()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_left_of_an_old_path_goes_with_the_next_full_run(machine: Rhythm) -> None:
    """https://github.com/remenoscodes/git-native-issue/pull/160, https://github.com/garrytan/gbrain/issues/4597"""
    old = machine.world.projects[1]["path_with_namespace"]
    machine.change(name="a project gets another path", number=0)
    machine.check()
    assert old in machine.store.identifiers("service")
    machine.check_a_full_run()
    assert old not in machine.store.identifiers("service")


def test_a_project_that_becomes_visible_is_read_from_its_beginning(machine: Rhythm) -> None:
    """https://github.com/airbytehq/airbyte/pull/21713: one instant for all projects hid the older rows of some."""
    world = machine.world
    hidden = world.add_group("hidden")
    project = world.add_project(hidden, "old", last_activity_at=stamp(world.now))
    issue = world.add_issue(project, "Old", created_at=world.ago(days=300), updated_at=world.ago(days=300))
    machine.check()
    machine.time_passes(seconds=18_000)
    world.add_member(hidden, world.users[1], 50)
    machine.check()
    assert str(issue["id"]) in machine.store.identifiers("issue")


def test_the_state_stays_small_whatever_moves(machine: Rhythm) -> None:
    """https://github.com/dlt-hub/dlt/pull/4131: there it grew with every row at the boundary."""
    sizes = []
    for number in range(4):
        machine.change(name="a project gets another path", number=number)
        machine.time_passes(seconds=240)
        machine.run()
        sizes.append(len(machine.kept))
    assert max(sizes) < 12_000


def test_every_list_of_what_changed_names_a_parameter_that_gitlab_knows(machine: Rhythm) -> None:
    """https://github.com/apache/devlake/pull/3571: `since` is none, so it read everything."""
    machine.change(name="a pipeline starts", number=1)
    machine.change(name="an issue is edited", number=1)
    machine.change(name="a merge request is edited", number=1)
    machine.gitlab.requests.clear()
    machine.run()
    names = ("issues", "merge_requests", "pipelines", "deployments")
    asked = [request for request in machine.gitlab.requests if request.path.endswith(names)]
    assert {request.path.rpartition("/")[2] for request in asked} == set(names)
    assert [request.path for request in asked if "updated_after" not in dict(request.query)] == []
