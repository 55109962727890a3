"""Runs jobs (generators that yield requests) side by side; a bounded pool of threads carries out the requests."""

from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

# A job decides and does no I/O. It yields a question and is sent the answer, or the error is thrown into it. It yields
# `All` or `Once` to run other jobs. Anything else that it yields goes to the consumer.
Job = Generator[Any, Any, Any]


@dataclass(frozen=True)
class All:
    """Run these jobs side by side; the job that yields this is sent their results, or the first error is thrown."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Once:
    """Run this job once for all jobs that yield the same key; each is sent what it returns."""

    key: Hashable
    start: Callable[[], Job]


def through(job: Job, hand_on: Callable[[Any], Job]) -> Job:
    """Run a job and the jobs it starts; `hand_on` gets everything that they yield, and returns the answer."""
    answer: Any = None
    error: Exception | None = None
    with closing(job):
        while True:
            try:
                said = job.throw(error) if error else job.send(answer)
            except StopIteration as stop:
                return stop.value
            answer = error = None
            match said:
                case All(jobs=jobs):
                    said = All(tuple(through(one, hand_on) for one in jobs))
                case Once(key=key, start=start):
                    said = Once(key, partial(_started, start, hand_on))
            try:
                answer = yield from hand_on(said)
            except Exception as failure:  # noqa: BLE001  # thrown into the job that asked
                error = failure


def _started(start: Callable[[], Job], hand_on: Callable[[Any], Job]) -> Job:
    return through(start(), hand_on)


@dataclass
class _Node:
    job: Job
    parent: "_Node | None" = None
    key: Hashable = None
    open_children: int = 0
    results: list[Any] = field(default_factory=list)
    slot: int = 0
    failed: bool = False


@dataclass
class _Shared:
    uses: int
    waiting: list[_Node] = field(default_factory=list)
    done: bool = False
    value: Any = None
    error: Exception | None = None


class _Driver:
    """The state of one `drive`: only its caller's thread touches it, so nothing here needs a lock."""

    def __init__(
        self,
        perform: Callable[[Any], Any],
        question: type | tuple[type, ...],
        pool: ThreadPoolExecutor,
        ahead: int,
        uses: Mapping[Hashable, int],
    ) -> None:
        self.perform, self.question, self.pool, self.ahead, self.uses = perform, question, pool, ahead, uses
        self.ready: deque[tuple[_Node, Any, BaseException | None]] = deque()
        self.asked: deque[tuple[_Node, Any]] = deque()
        self.answered: SimpleQueue[tuple[_Node, Future[Any]]] = SimpleQueue()
        self.in_flight = 0
        self.shared: dict[Hashable, _Shared] = {}
        self.live: dict[int, _Node] = {}

    def start(self, node: _Node) -> None:
        self.live[id(node)] = node
        self.ready.append((node, None, None))

    def run(self, jobs: Iterator[Job]) -> Iterator[Any]:
        exhausted = False
        while True:
            while self.ready:
                yield from self.advance(*self.ready.popleft())
            self.submit()
            if not exhausted and self.in_flight < self.ahead and not self.asked:
                job = next(jobs, None)
                exhausted = job is None
                if job is not None:
                    self.start(_Node(job))
                    continue
            if self.in_flight:
                self.collect()
            elif exhausted and not self.asked and not self.ready:
                # Jobs that nothing will answer: their rows would be missing without a Problem.
                if self.live:
                    raise RuntimeError("jobs wait for each other")
                return

    def submit(self) -> None:
        while self.asked and self.in_flight < self.ahead:
            node, question = self.asked.popleft()
            if id(node) not in self.live:
                continue
            self.in_flight += 1
            future = self.pool.submit(self.perform, question)
            future.add_done_callback(lambda done, asker=node: self.answered.put((asker, done)))  # type: ignore[misc]  # mypy cannot type a lambda's default

    def collect(self) -> None:
        node, future = self.answered.get()
        self.in_flight -= 1
        error = future.exception()
        self.ready.append((node, None if error else future.result(), error))

    def advance(self, node: _Node, answer: Any, error: BaseException | None) -> Iterator[Any]:
        if id(node) not in self.live:
            return
        while True:
            try:
                said = node.job.throw(error) if error else node.job.send(answer)
            except StopIteration as stop:
                self.finish(node, stop.value, None)
                return
            # An error of a job is thrown into the job that started it; one of a job at the top ends the drive.
            except Exception as failure:  # noqa: BLE001  # thrown into the job that asked
                self.finish(node, None, failure)
                return
            answer = error = None
            match said:
                case All(jobs=children):
                    if children:
                        self.fork(node, children)
                        return
                    answer = []
                case Once(key=key, start=start):
                    self.share(node, key, start)
                    return
                case _ if isinstance(said, self.question):
                    self.asked.append((node, said))
                    return
                case _:
                    yield said

    def fork(self, node: _Node, children: tuple[Job, ...]) -> None:
        node.open_children, node.results, node.failed = len(children), [None] * len(children), False
        for slot, job in enumerate(children):
            self.start(_Node(job, parent=node, slot=slot))

    def share(self, node: _Node, key: Hashable, start: Callable[[], Job]) -> None:
        entry = self.shared.get(key)
        if entry is None:
            entry = self.shared[key] = _Shared(self.uses.get(key, 1))
            self.start(_Node(start(), key=key))
        entry.waiting.append(node)
        if entry.done:
            self.settle(key, entry)

    def settle(self, key: Hashable, entry: _Shared) -> None:
        for waiting in entry.waiting:
            self.ready.append((waiting, entry.value, entry.error))
            entry.uses -= 1
        entry.waiting = []
        # A failed read is done again when it is asked for again, perhaps with another token. A value is kept until its
        # last planned use.
        if entry.error is not None or entry.uses <= 0:
            del self.shared[key]

    def finish(self, node: _Node, value: Any, error: Exception | None) -> None:
        del self.live[id(node)]
        if node.key is not None:
            entry = self.shared[node.key]
            entry.done, entry.value, entry.error = True, value, error
            self.settle(node.key, entry)
        elif node.parent is None:
            if error is not None:
                raise error
        else:
            self.finish_child(node.parent, node.slot, value, error)

    def finish_child(self, parent: _Node, slot: int, value: Any, error: Exception | None) -> None:
        parent.open_children -= 1
        if parent.failed:
            return
        if error is not None:
            parent.failed = True
            self.drop_children(parent)
            self.ready.append((parent, None, error))
            return
        parent.results[slot] = value
        if parent.open_children == 0:
            self.ready.append((parent, parent.results, None))

    def drop_children(self, parent: _Node) -> None:
        """Remove the children of a parent that has failed; answers that still arrive for them are ignored."""
        doomed = [parent]
        while doomed:
            above = doomed.pop()
            for child in [n for n in self.live.values() if n.parent is above]:
                doomed.append(child)
                del self.live[id(child)]
                child.job.close()

    def close(self) -> None:
        for node in list(self.live.values()):
            node.job.close()
        self.live.clear()


def drive(
    jobs: Iterable[Job],
    perform: Callable[[Any], Any],
    question: type | tuple[type, ...],
    *,
    workers: int,
    uses: Mapping[Hashable, int] | None = None,
) -> Generator[Any, None, None]:
    """Run jobs and yield what they yield, in the order it happens.

    `perform` answers each yielded `question` on one of `workers` threads. Jobs start lazily: the pool holds at most
    twice as many questions as workers, so memory holds a bounded number of answers. `uses` says how often each `Once`
    key will be yielded, so that its value can be dropped after the last time.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read")
    driver = _Driver(perform, question, pool, 2 * workers, uses or {})
    try:
        with closing(driver):
            yield from driver.run(iter(jobs))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
