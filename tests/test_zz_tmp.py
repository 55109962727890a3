import test_incremental_machine as m
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from testbed.faults import one_evaluator
from testbed.harness import run_sync
from testbed.port_bed import examples


class R:
    mode = "full"
    kinds = ()


class F(m.Rhythm):
    def run(self, since="last", lag=0):
        started = self.world.now
        rep = run_sync(self.gitlab, self.port, self.mapping, **m.NO_EXAMPLES).report
        object.__setattr__(rep, "rhythm", R()) if False else None
        self.r = rep
        return Rep(rep)


class Rep:
    def __init__(s, r):
        s.r = r
        s.rhythm = R()

    def __getattr__(s, n):
        return getattr(s.r, n)


def test_it():
    with one_evaluator():
        run_state_machine_as_test(F, settings=settings(examples(25, 300, slow=True), stateful_step_count=14))
