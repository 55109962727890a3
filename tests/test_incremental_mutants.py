"""What random histories must find: each story goes well, and no longer where a rule of incremental runs is broken."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gitlab_port_export.demo.gitlab_faults import forbidden
from gitlab_port_export.gitlab.contact import Contact
from gitlab_port_export.incremental import memory, takes_part
from gitlab_port_export.incremental.frames import Moved
from gitlab_port_export.incremental.memory import Memory
from gitlab_port_export.shards import reconcile
from gitlab_port_export.sync import recent, remembered
from test_incremental_machine import Rhythm, a_rhythm

pytestmark = pytest.mark.usefixtures("lent_evaluator")

Story = Callable[[Rhythm], object]
Mutant = Callable[[pytest.MonkeyPatch, Rhythm], None]
LISTS = "merge_requests$|issues$|pipelines$|jobs$|releases$"


# Stories


def a_row_is_not_on_the_replica_yet(machine: Rhythm) -> None:
    machine.change(name="an issue is edited", number=1)
    machine.time_passes(seconds=40)
    machine.run_on_replicas(lag=60, which="", others=False)
    machine.time_passes(seconds=240)
    machine.check()


def a_commit_becomes_visible_late(machine: Rhythm) -> None:
    machine.change_that_is_committed_late(name="a merge request is opened", number=1, seconds=70)
    machine.time_passes(seconds=40)
    machine.check()
    machine.time_passes(seconds=240)
    machine.check()


def a_long_run_is_overtaken(machine: Rhythm, *second: str) -> None:
    """An issue is closed after its list was read, and the run goes on for half an hour."""
    machine.change(name="an issue is edited", number=1)
    names = ("an issue is closed", *(second or ("a member joins",)))
    machine.run_while_gitlab_changes(kind="issue", names=names, number=1, minutes=15)  # type: ignore[arg-type]
    machine.check()


def a_sync_in_shards_is_overtaken(machine: Rhythm) -> None:
    """An issue is edited after both shards, a quarter of an hour before the last step."""
    names = ("an issue is edited", "a member joins", "a member joins")
    machine.run_in_shards_while_gitlab_changes(shards=2, names=names, number=1, minutes=15)  # type: ignore[arg-type]
    machine.check()


def a_kind_fails(machine: Rhythm) -> None:
    machine.change(name="an issue is edited", number=1)
    machine.time_passes(seconds=660)
    machine.run_in_which_a_kind_fails(kind="issue", answer=forbidden(), times=None)
    machine.time_passes(seconds=2_700)
    machine.check()


def the_mapping_is_edited(machine: Rhythm) -> None:
    machine.edit_the_mapping(number=1, backwards=False)
    machine.check()


def a_project_gets_another_path(machine: Rhythm) -> None:
    machine.change(name="a project gets another path", number=1)
    machine.check()


def a_project_gets_another_path_and_lists_lag(machine: Rhythm) -> None:
    machine.change(name="a project gets another path", number=1)
    machine.time_passes(seconds=5)
    machine.run_on_replicas(lag=60, which=LISTS, others=False)
    machine.time_passes(seconds=18_000)
    machine.check()


def somebody_writes_another_issue(machine: Rhythm) -> None:
    machine.change(name="an issue is edited", number=5)
    machine.check()


# Broken rules


def no_look_back(patch: pytest.MonkeyPatch, _: Rhythm) -> None:
    usual = recent.limits

    def limits(*given: Any) -> Any:
        *before, since, suspects = given
        later = {kind: instant + timedelta(minutes=10) for kind, instant in since.items()}
        return usual(*before, later, suspects)

    patch.setattr(recent, "limits", limits)


def at(patch: pytest.MonkeyPatch, instant: Callable[[], datetime]) -> None:
    """Let an incremental run leave another instant for the next one than that of its beginning."""
    usual = Memory.after

    def after(self: Memory, *given: Any, **named: Any) -> Any:
        left = usual(self, *given, **named)
        return left if named["full"] else replace(left, kinds=dict.fromkeys(left.kinds, instant()))

    patch.setattr(Memory, "after", after)


def instant_of_the_end(patch: pytest.MonkeyPatch, machine: Rhythm) -> None:
    at(patch, lambda: machine.world.now)


def instant_of_the_newest_row(patch: pytest.MonkeyPatch, machine: Rhythm) -> None:
    world = machine.world
    lists = (world.merge_requests, world.issues, world.pipelines)

    def newest() -> datetime:
        rows = (row for found in lists for some in found.values() for row in some)
        return datetime.fromisoformat(max(row["updated_at"] for row in rows))

    at(patch, newest)


def instant_of_the_last_step(patch: pytest.MonkeyPatch, machine: Rhythm) -> None:
    patch.setattr(reconcile, "Contact", lambda _, told: Contact(machine.world.now, told))


def a_failure_is_forgotten(patch: pytest.MonkeyPatch, _: Rhythm) -> None:
    patch.setattr(remembered, "_unsure", lambda *_: frozenset())


def the_key_lacks_the_mapping(patch: pytest.MonkeyPatch, _: Rhythm) -> None:
    patch.setattr(remembered, "digest_of", lambda _: "any")


def frames_are_ignored(patch: pytest.MonkeyPatch, _: Rhythm) -> None:
    patch.setattr(memory, "moved", lambda *_: Moved())


def nothing_is_read_once_more(patch: pytest.MonkeyPatch, _: Rhythm) -> None:
    patch.setattr(Memory, "unsettled", property(lambda _: Moved()))


def every_resource_takes_part(patch: pytest.MonkeyPatch, _: Rhythm) -> None:
    patch.setattr(takes_part, "_names_row", lambda *_: True)


CASES: dict[str, tuple[Story, Mutant]] = {
    "no look-back": (a_row_is_not_on_the_replica_yet, no_look_back),
    "no look-back, late commit": (a_commit_becomes_visible_late, no_look_back),
    "the run's end": (a_long_run_is_overtaken, instant_of_the_end),
    "the newest row": (
        lambda machine: a_long_run_is_overtaken(machine, "a merge request is opened"), instant_of_the_newest_row
    ),
    "the last step": (a_sync_in_shards_is_overtaken, instant_of_the_last_step),
    "a failed kind": (a_kind_fails, a_failure_is_forgotten),
    "no mapping in the key": (the_mapping_is_edited, the_key_lacks_the_mapping),
    "no frames": (a_project_gets_another_path, frames_are_ignored),
    "frames alone": (a_project_gets_another_path_and_lists_lag, nothing_is_read_once_more),
    "no key in the identifier": (somebody_writes_another_issue, every_resource_takes_part),
}  # fmt: skip


@pytest.mark.parametrize(("story", "mutant"), CASES.values(), ids=CASES.keys())
def test_a_story_goes_well_as_long_as_the_rule_holds(
    story: Story, mutant: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_rhythm() as machine:
        story(machine)
    with (
        monkeypatch.context() as patch,
        a_rhythm(lambda machine: mutant(patch, machine)) as machine,
        pytest.raises(AssertionError),
    ):
        story(machine)
