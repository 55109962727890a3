"""Any history of changes, in shards with accidents: Port ends as after one run, or nothing was deleted."""

import random
from contextlib import suppress
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

import test_machine
from gitlab_port_export.base.errors import ExportError, UsageError
from gitlab_port_export.gitlab.windows import WINDOW_ROWS
from gitlab_port_export.model import Event
from test_machine import KINDS, Exporter, Key, is_ours, set_of
from testbed.faults import one_evaluator
from testbed.harness import mapping_of
from testbed.port_bed import examples
from testbed.sharding import Sharded, sharded

# What happens to one shard of a sync; where nothing is lost by it, Port must end as after one run.
HARMLESS = ("nothing", "again", "mapping")
ACCIDENTS = (*HARMLESS, "killed", "cut", "older", "swapped")
WITHOUT_SEARCHES = {
    kind: (name, identifier, {key: one for key, one in relations.items() if isinstance(one, str)}, queries)
    for kind, (name, identifier, relations, queries) in KINDS.items()
}


class InShards(Exporter):
    """The machine of full runs, of which each is several: a survey, shards in any order, and the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(0)
        self.calm = False
        self.accident = "nothing"

    @rule(seed=st.integers(0, 10_000))
    def change_what_happens_next(self, seed: int) -> None:
        self.random.seed(seed)

    @precondition(lambda self: hasattr(self, "top"))
    @rule()
    def agree(self) -> None:
        self.calm = True
        super().agree()
        self.calm = False

    def sync(self) -> set[Key]:
        before = self.held()
        self.run("sync")
        self.gitlab.faults.clear()
        self.port.faults.clear()
        deleted = before.keys() - self.held().keys()
        assert [key for key in deleted if not is_ours(before[key])] == []
        assert deleted & set_of(self.fresh()[0].snapshot()) == set()
        return deleted

    def run(self, command: Any) -> list[Event]:
        events: list[Event] = []
        before = self.held()
        self.accident = "nothing" if self.calm else self.random.choice(ACCIDENTS)
        shards, window = self.random.randint(1, 4), self.random.choice((2, 8, WINDOW_ROWS))
        with sharded(self.gitlab, self.port, shards, mapping=self.mapping, window=window) as sync:
            sync.watch = events.append
            with suppress(ExportError):
                sync.survey()
                self.do_shards(sync)
                self.reconcile(sync)
        if self.accident not in HARMLESS:
            assert before.keys() <= self.held().keys()
        return events

    def do_shards(self, sync: Sharded) -> None:
        numbers = list(range(1, sync.shards + 1))
        self.random.shuffle(numbers)
        if self.accident == "mapping":
            sync.mapping = mapping_of(sync.mapping["resources"][0])  # type: ignore[index]  # it was given
        if self.accident == "again":
            numbers.append(self.random.choice(numbers))
        for number in numbers:
            # One that fails leaves no evidence, and the others go on.
            with suppress(ExportError):
                sync.shard(number)

    def reconcile(self, sync: Sharded) -> None:
        number = self.random.randint(1, sync.shards)
        file = sync.file(number)
        match self.accident:
            case "killed":
                file.unlink(missing_ok=True)
            case "cut" if file.exists():
                file.write_bytes(file.read_bytes()[: -self.random.randint(1, 200)])
            case "older":
                with sharded(self.gitlab, self.port, sync.shards, mapping=self.mapping) as other:
                    other.survey()
                    other.shard(number)
                    file.write_bytes(other.file(number).read_bytes())
            case "swapped" if sync.shards > 1 and sync.file(number % sync.shards + 1).exists():
                file.write_bytes(sync.file(number % sync.shards + 1).read_bytes())
            case "swapped":
                file.unlink(missing_ok=True)
        report = None
        with suppress(UsageError):
            report = sync.reconcile()
        assert report is None or self.accident in HARMLESS or report.exit_code == 1
        assert report is not None or self.accident in ("older", "swapped")


class WithoutSearches(InShards):
    """The same with a mapping that searches nothing, so that more of it goes to different shards."""

    def check_searched(self, name: str, identifier: str, found: Any) -> None:
        pass


@pytest.mark.timeout(3600)  # only HYPOTHESIS_PROFILE=thorough comes near
@pytest.mark.parametrize("machine", [InShards, WithoutSearches])
def test_any_history_in_shards(machine: type[InShards]) -> None:
    kinds = KINDS if machine is InShards else WITHOUT_SEARCHES
    with one_evaluator(), mock.patch.object(test_machine, "KINDS", kinds):
        run_state_machine_as_test(machine, settings=settings(examples(1, 150, slow=True), stateful_step_count=12))


def test_the_mapping_without_searches_is_cut_into_shards() -> None:
    found = {kind for kind, one in WITHOUT_SEARCHES.items() if one[2] != KINDS[kind][2]}
    assert found == {"merge-request", "issue", "member"}
