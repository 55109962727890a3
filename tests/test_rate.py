"""`--rate` bounds the requests a second that GitLab gets, whatever they are, and the report says so."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.http import Http
from gitlab_port_export.base.rate import Rate
from gitlab_port_export.model import Counted
from gitlab_port_export.report.json import render as as_json
from gitlab_port_export.report.values import Report
from gitlab_port_export.report.words import requests
from gitlab_port_export.settings.parse import parse_rate
from gitlab_port_export.shards.evidence import Found, Shard, load, save
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync
from testbed.reading import Leap, scripted


class Ticking(Leap):
    """A clock that leaps over waits, whose passing seconds leap too."""

    def passed(self) -> float:
        return self.now()


@contextmanager
def served(clock: Clock, rate: float | None, *statuses: int, **headers: str) -> Iterator[tuple[Http, list[float]]]:
    """A client of a server that answers with these statuses, the last one for good, and when it was asked."""
    left, times = list(statuses), []

    def answer(handler: Any) -> None:
        times.append(clock.now())
        status = left.pop(0) if len(left) > 1 else left[0]
        handler.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    with scripted(answer) as server:
        http = Http(server.url, user_agent="test", clock=clock, rate=rate)
        try:
            yield http, times
        finally:
            http.close()


def gaps(times: list[float]) -> list[float]:
    return [round(later - earlier, 6) for earlier, later in pairwise(times)]


def test_requests_keep_their_distance() -> None:
    with served(Ticking(), 4, 200) as (http, times):
        for _ in range(5):
            http.send("GET", "/x")
    assert gaps(times) == [0.25] * 4
    assert http.rate.decided


def test_without_a_rate_nothing_waits() -> None:
    clock = Ticking()
    with served(clock, None, 200) as (http, _):
        for _ in range(5):
            http.send("GET", "/x")
    assert (clock.slept, http.rate.decided) == ([], False)


def test_repeats_keep_their_distance() -> None:
    with served(Ticking(), 0.01, 502, 502, 200) as (http, times):
        assert http.send("GET", "/x").status == 200
    assert [gap >= 100 for gap in gaps(times)] == [True, True]


def test_redirects_keep_their_distance() -> None:
    with served(Ticking(), 0.5, 302, 302, 200, Location="/y") as (http, times):
        assert http.send("GET", "/x").status == 200
    assert gaps(times) == [2.0, 2.0]


def test_what_gitlab_asks_to_wait_for_counts_beside_the_rate() -> None:
    """A request that waits for its turn when GitLab asks to wait takes a new turn after that."""
    clock = Ticking()
    with served(clock, 10, 200) as (http, times):
        http.send("GET", "/x")
        http.pace.hold(30)
        for _ in range(3):
            http.send("GET", "/x")
    assert gaps(times)[0] >= 30
    assert gaps(times)[1:] == [0.1, 0.1]


def test_a_wait_that_gitlab_asks_for_meanwhile_is_kept() -> None:
    class Asking(Ticking):
        """Where the second request waits for its turn, another answer asks all to wait."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if len(self.slept) == 1:
                http.pace.hold(60)

    with served(Asking(), 10, 200) as (http, times):
        http.send("GET", "/x")
        http.send("GET", "/x")
    assert gaps(times)[0] >= 60


def test_threads_share_the_rate() -> None:
    clock, rate = Ticking(), Rate(2)
    threads = [Thread(target=rate.wait, args=(clock,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each leaps over its own wait; the next turn is eight halves of a second away.
    assert rate._next >= 1_800_000_000 + 4


def test_the_end_of_the_run_ends_the_wait() -> None:
    clock, rate = Clock(), Rate(0.001)
    rate.wait(clock)
    clock.stop()
    with pytest.raises(Stopped):
        rate.wait(clock)


def test_the_last_requests_of_a_run_that_was_stopped_keep_the_rate() -> None:
    with served(Ticking(), 4, 200) as (http, times):
        http.send("GET", "/x")
        clock = Ticking(now=http.clock.now())
        http.go_on_with(clock)
        http.send("GET", "/x")
        assert clock.slept == [0.25]
    assert len(times) == 2


MAPPING = mapping_of(resource("project"))


def test_a_run_sends_everything_at_the_rate_and_says_so() -> None:
    world, _, group = acme()
    world.add_project(group, "app")
    report = run_sync(world, port_with(blueprint("thing")), MAPPING, rate=7.5, clock=Ticking()).report
    assert report.exit_code == 0
    assert "GitLab requests at the 7.5 a second that --rate allows, " in requests(report)
    assert json.loads(as_json(report))["rate_bound"] == 7.5


def test_a_rate_that_did_not_matter_is_not_told() -> None:
    world, _, _ = acme()
    report = run_sync(world, port_with(blueprint("thing")), MAPPING, rate=100_000, clock=Ticking()).report
    if report.rate is None:
        assert "--rate" not in requests(report)


@pytest.mark.parametrize("text", ["0", "-1", "many", "", "1e9", "0.0000001", "inf", "nan"])
def test_a_rate_is_a_number_above_zero(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number above 0"):
        parse_rate(text)


def test_rates() -> None:
    assert [parse_rate(text) for text in ("20", "0.5", " 7.25 ", "0.001")] == [20.0, 0.5, 7.25, 0.001]


def test_port_is_not_bound() -> None:
    world, _, _ = acme()
    clock = Ticking()
    run_sync(world, port_with(blueprint("thing")), MAPPING, rate=1, clock=clock)
    assert len(clock.slept) < 20


def test_what_a_shard_waited_for_the_rate_is_told_by_the_whole_sync(tmp_path: Path) -> None:
    file, shard = tmp_path / "evidence", Shard(1, 1)
    report = Report("sync", 0, "2026-01-01T00:00:00+00:00", 1.0, rate=7.5)
    window: Any = ((("state", "all"), ("created_after", "2020-01-01")), 9_890)
    counted = Counted(1, "token 1", "/list", (("state", "all"),), 9_890, "", (window,))
    save(file, shard, "survey", "run", Found(counted=[counted]), report)
    found = load(file)
    assert (found.report.rate, found.found.counted) == (7.5, [counted])
