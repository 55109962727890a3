"""Random commands with lost answers: after each of them the catalog says what GitLab says."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from gitlab_port_export.demo.gitlab import faults
from gitlab_port_export.demo.gitlab_faults import Drop, Lost
from testbed.action_bed import ActionBed, action_bed

# What becomes of the next write.
TROUBLE: dict[str, faults.Answer] = {
    "no answer, after the effect": Lost(),
    "no answer, before the effect": Drop(),
    "403 after the effect": Lost(faults.forbidden()),
}
people = st.sampled_from(("jane", "kim", "boss"))
places = st.sampled_from(("acme", "acme/apps", "acme/apps/web"))
trouble = st.one_of(st.none(), st.sampled_from(tuple(TROUBLE)))


class Agrees(RuleBasedStateMachine):
    """A GitLab and a catalog that was in step with it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.bed: ActionBed = self.stack.enter_context(action_bed(folder))

    def teardown(self) -> None:
        self.stack.close()

    def act(self, verb: str, person: str, path: str, what: str | None, role: str = "") -> None:
        self.bed.access.freed()
        if what:
            self.bed.access.fault(TROUBLE[what])
        kind = "project" if path.endswith("web") else "group"
        ran = self.bed.run(verb, {"person": person, kind: path, "role": role})
        assert ran.code in (0, 3, 6), ran.all
        assert len(self.bed.access.effects) <= 1
        self.bed.access.gitlab.faults.clear()
        assert self.bed.left_to_do() == [], ran.all

    @rule(person=people, path=places, role=st.sampled_from(("guest", "developer", "owner")), what=trouble)
    def grant(self, person: str, path: str, role: str, what: str | None) -> None:
        self.act("grant", person, path, what, role)

    @rule(person=people, path=places, what=trouble)
    def revoke(self, person: str, path: str, what: str | None) -> None:
        self.act("revoke", person, path, what)


@pytest.mark.usefixtures("lent_evaluator")
def test_the_catalog_agrees_with_gitlab_after_every_command() -> None:
    few = settings(max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Agrees, settings=few)
