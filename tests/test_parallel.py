"""The engine for side-by-side reading: every job ends, nothing runs ahead, nothing is read twice, nothing hangs."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.errors import Interrupted
from gitlab_port_export.base.parallel import All, Job, Once, drive

pytestmark = pytest.mark.timeout(20)


@dataclass(frozen=True)
class Ask:
    """The question of these tests; its answer is the same text in capitals."""

    text: str


class Answerer:
    """Answers questions and remembers them; "bad..." raises, "gate..." waits until it is opened."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, question: Ask) -> str:
        with self._lock:
            self.asked.append(question.text)
        if question.text.startswith("bad"):
            raise ValueError(question.text)
        if question.text.startswith("gate"):
            self.gate.wait()
        return question.text.upper()


@pytest.fixture
def answerer() -> Iterator[Answerer]:
    made = Answerer()
    yield made
    made.gate.set()


def ask(*texts: str) -> Job:
    """Ask these questions one after the other, say each answer, and return the last."""
    answer = None
    for text in texts:
        answer = yield Ask(text)
        yield answer
    return answer


def run(answerer: Answerer, *jobs: Job, workers: int = 3, **options: Any) -> list[Any]:
    return list(drive(jobs, answerer, Ask, workers=workers, **options))


def test_answers_come_back_to_who_asked(answerer: Answerer) -> None:
    assert sorted(run(answerer, ask("a", "b"), ask("c"))) == ["A", "B", "C"]


def test_a_job_hears_its_answers_in_order(answerer: Answerer) -> None:
    assert run(answerer, ask(*"abcdef")) == list("ABCDEF")


def test_jobs_without_questions_need_no_worker(answerer: Answerer) -> None:
    def says() -> Job:
        yield 1
        yield 2

    assert run(answerer, says(), says()) == [1, 2, 1, 2]
    assert answerer.asked == []


def test_no_jobs_give_nothing(answerer: Answerer) -> None:
    assert run(answerer) == []


def test_an_error_is_thrown_into_who_asked(answerer: Answerer) -> None:
    def careful() -> Job:
        try:
            yield Ask("bad")
        except ValueError as error:
            yield f"caught {error}"

    assert run(answerer, careful()) == ["caught bad"]


def test_an_error_that_nobody_catches_ends_the_drive(answerer: Answerer) -> None:
    with pytest.raises(ValueError, match="bad"):
        run(answerer, ask("a"), ask("bad"), ask("c"))


# All


def test_a_signal_is_nobodys_answer(answerer: Answerer) -> None:
    def child() -> Job:
        yield from ask("a")
        raise Interrupted(15)

    def parent() -> Job:
        try:
            yield All((child(),))
        except Exception:  # noqa: BLE001  # as a library would
            yield "went on"

    with pytest.raises(Interrupted):
        run(answerer, parent())


def test_all_gives_every_result_in_order(answerer: Answerer) -> None:
    def asker() -> Job:
        results = yield All((ask("a", "b"), ask("c"), ask()))
        yield results

    said = run(answerer, asker())
    assert said[-1] == ["B", "C", None]
    assert sorted(said[:-1]) == ["A", "B", "C"]


def test_all_of_nothing_goes_on_at_once(answerer: Answerer) -> None:
    def asker() -> Job:
        yield (yield All(()))

    assert run(answerer, asker()) == [[]]


def test_all_runs_side_by_side(answerer: Answerer) -> None:
    both = threading.Barrier(2)

    def perform(question: Ask) -> str:
        both.wait()
        return question.text

    def asker() -> Job:
        yield (yield All((ask("a"), ask("b"))))

    assert list(drive([asker()], perform, Ask, workers=2))[-1] == ["a", "b"]


def test_one_failure_of_all_is_enough_and_the_rest_is_dropped(answerer: Answerer) -> None:
    closed: list[str] = []

    def lasting(name: str) -> Job:
        try:
            yield Ask(f"gate {name}")
            yield "never said"
        finally:
            closed.append(name)

    def asker() -> Job:
        try:
            yield All((lasting("one"), All_inside(), ask("bad")))
        except ValueError as error:
            answerer.gate.set()
            yield f"caught {error}"

    def All_inside() -> Job:  # noqa: N802  # it is an All inside an All
        yield All((lasting("two"),))

    assert run(answerer, asker(), workers=4) == ["caught bad"]
    assert sorted(closed) == ["one", "two"]


def test_jobs_that_start_jobs_thousands_deep_are_dropped_at_once(answerer: Answerer) -> None:
    """What is left of a very long list is read by a job that the one before started."""
    closed: list[int] = []

    def deep(left: int) -> Job:
        try:
            yield All((deep(left - 1),)) if left else Ask("gate")
        finally:
            closed.append(left)

    def asker() -> Job:
        try:
            yield All((deep(3000), ask("one", "two", "bad")))
        except ValueError as error:
            answerer.gate.set()
            yield f"caught {error}"

    assert run(answerer, asker())[-1] == "caught bad"
    assert len(closed) == 3001


def test_questions_of_dropped_jobs_are_not_asked(answerer: Answerer) -> None:
    def asker() -> Job:
        try:
            yield All((ask("bad"), *(ask(f"late {number}") for number in range(50))))
        except ValueError:
            yield "caught"

    assert run(answerer, asker(), workers=1) == ["caught"]
    assert len(answerer.asked) <= 3


def test_an_answer_for_a_dropped_job_is_ignored(answerer: Answerer) -> None:
    def slow() -> Job:
        answer = yield Ask("gate")
        yield answer

    def asker() -> Job:
        try:
            yield All((slow(), ask("bad")))
        except ValueError:
            answerer.gate.set()
        yield (yield Ask("after"))

    assert run(answerer, asker(), workers=2) == ["AFTER"]


# Once


def shared(key: str, *texts: str) -> Job:
    result = yield Once(key, lambda: ask(*texts))
    yield f"got {result}"


def test_once_reads_once_for_all_who_ask_together(answerer: Answerer) -> None:
    said = run(answerer, *(shared("k", "a") for _ in range(5)), uses={"k": 5})
    assert answerer.asked == ["a"]
    assert sorted(said) == ["A", *["got A"] * 5]


def test_once_keeps_its_value_until_the_last_planned_use(answerer: Answerer) -> None:
    def late() -> Job:
        yield Ask("first something else")
        yield from shared("k", "a")

    run(answerer, shared("k", "a"), late(), uses={"k": 2}, workers=1)
    assert answerer.asked.count("a") == 1


def test_once_forgets_its_value_after_the_last_planned_use(answerer: Answerer) -> None:
    def twice() -> Job:
        yield from shared("k", "a")
        yield from shared("k", "a")

    run(answerer, twice(), uses={"k": 1})
    assert answerer.asked == ["a", "a"]


def test_once_tells_its_error_to_all_and_is_asked_anew(answerer: Answerer) -> None:
    def careful() -> Job:
        try:
            yield from shared("k", "bad")
        except ValueError:
            yield "caught"

    def later() -> Job:
        yield from careful()
        yield from shared("k", "good")

    said = run(answerer, careful(), later(), uses={"k": 3})
    assert said.count("caught") == 2
    assert said[-1] == "got GOOD"
    assert answerer.asked.count("bad") == 1


def test_once_inside_once(answerer: Answerer) -> None:
    def outer() -> Job:
        inner = yield Once("inner", lambda: ask("a"))
        return f"outer {inner}"

    def asker() -> Job:
        yield (yield Once("outer", outer))

    assert sorted(run(answerer, asker(), asker(), shared("inner", "a"), uses={"outer": 2, "inner": 2})) == [
        "A", "got A", "outer A", "outer A",
    ]  # fmt: skip


def test_once_goes_on_when_who_asked_first_was_dropped(answerer: Answerer) -> None:
    def starter() -> Job:
        try:
            yield All((shared("k", "gate"), ask("bad")))
        except ValueError:
            answerer.gate.set()
            yield "dropped"

    said = run(answerer, starter(), shared("k", "gate"), uses={"k": 2}, workers=4)
    assert sorted(said) == ["GATE", "dropped", "got GATE"]
    assert answerer.asked.count("gate") == 1


def test_jobs_that_wait_for_each_other_are_a_bug_not_an_end(answerer: Answerer) -> None:
    def circular() -> Job:
        yield Once("k", circular)

    with pytest.raises(RuntimeError, match="wait for each other"):
        run(answerer, circular())


# Bounds and endings


def test_nothing_runs_far_ahead_of_a_slow_consumer(answerer: Answerer) -> None:
    started: list[int] = []

    def jobs() -> Iterator[Job]:
        for number in range(500):
            started.append(number)
            yield ask(f"q{number}")

    driven = drive(jobs(), answerer, Ask, workers=4)
    for consumed in range(1, 100):
        next(driven)
        assert len(started) <= consumed + 2 * 4
        assert len(answerer.asked) <= consumed + 2 * 4
    driven.close()  # type: ignore[attr-defined]  # a generator, typed as what callers need


def test_leaving_early_closes_every_job(answerer: Answerer) -> None:
    closed: list[int] = []

    def lasting(number: int) -> Job:
        try:
            while True:
                yield (yield Ask(f"{number}"))
        finally:
            closed.append(number)

    def parent() -> Job:
        try:
            yield All((lasting(8), lasting(9)))
        finally:
            closed.append(10)

    driven = drive([lasting(0), lasting(1), parent()], answerer, Ask, workers=2)
    for _ in range(20):
        next(driven)
    driven.close()  # type: ignore[attr-defined]  # as above
    assert sorted(closed) == [0, 1, 8, 9, 10]


def test_an_error_closes_every_job(answerer: Answerer) -> None:
    closed: list[str] = []

    def lasting() -> Job:
        try:
            yield Ask("gate")
        finally:
            closed.append("closed")

    with pytest.raises(ValueError, match="bad"):
        run(answerer, lasting(), ask("bad"), workers=2)
    assert closed == ["closed"]


def test_an_exception_that_ends_programs_passes_through(answerer: Answerer) -> None:
    def perform(_: Ask) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(drive([ask("a")], perform, Ask, workers=1))


def test_the_threads_end_with_the_drive(answerer: Answerer) -> None:
    before = set(threading.enumerate())
    run(answerer, *(ask(f"{n}") for n in range(30)), workers=5)
    threads = set(threading.enumerate()) - before
    for thread in threads:
        thread.join()
    assert len(threads) <= 5


# Any shape of work

Tree = st.recursive(
    st.lists(st.sampled_from(["a", "b", "bad"]), max_size=3).map(tuple),
    lambda inside: st.tuples(st.sampled_from(["all", "once"]), st.lists(inside, min_size=1, max_size=3).map(tuple)),
    max_leaves=12,
)


def job_of(tree: Any) -> Job:
    """A job of this shape; whatever fails inside is caught where it arrives and said."""
    try:
        match tree:
            case ("all", tuple(children)):
                yield All(tuple(job_of(child) for child in children))
            case ("once", tuple(children)):
                for child in children:
                    yield Once(child, partial(job_of, child))
            case texts:
                for text in texts:
                    yield (yield Ask(text))
    except ValueError:
        yield "failed"


@settings(max_examples=60, deadline=None)
@given(st.lists(Tree, max_size=5), st.integers(1, 4))
def test_every_shape_of_work_ends(trees: list[Any], workers: int) -> None:
    ended: list[int] = []

    def whole(number: int, tree: Any) -> Job:
        yield from job_of(tree)
        ended.append(number)

    list(drive((whole(n, tree) for n, tree in enumerate(trees)), Answerer(), Ask, workers=workers))
    assert sorted(ended) == list(range(len(trees)))
