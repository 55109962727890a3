"""Requests are exact: each page of GitLab once, a second run that writes nothing, twice the data twice the pages."""

from collections import Counter
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from fast_world import LargeWorld, Size
from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import large_world
from testbed.harness import run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

# Asked one project at a time, or for many at once where GitLab lets us.
LANGUAGES = ("languages", "graphql")
# Whether the token is good, and the empty page that ends a keyset list of projects.
EXTRA = Counter(user=1, projects=1)


class Counted(NamedTuple):
    """What a world takes: the fewest GitLab requests by list, those of both runs, and Port's side of the second."""

    fewest: Counter[str]
    first: Counter[str]
    second: Counter[str]
    port: list[str]
    entities: int
    blueprints: int
    written: int


def count(projects: int) -> Counted:
    """Sync a world of so many projects twice."""
    now = datetime.now(UTC)
    rows = {"merge_requests": 6, "issues": 25, "pipelines": 3}
    world, store = large_world(now, projects, **rows), PortStore.default()
    runs: list[Counter[str]] = []
    with gitlab_server(world, cached=True) as gitlab, port_server(store) as port:
        for _ in range(2):
            gitlab.requests.clear()
            port.requests.clear()
            before = store.writes
            assert run_sync(gitlab, port, OCEAN__SEND_RAW_DATA_EXAMPLES="false").report.exit_code == 0
            runs.append(Counter(request.path.rpartition("/")[2] for request in gitlab.requests))
        asked = [f"{request.method} {request.path}" for request in port.requests]
    entities = sum(map(len, store.snapshot().values()))
    fewest = Counter(LargeWorld(Size(projects, **rows), now).fewest)
    return Counted(fewest, *runs, asked, entities, len(store.blueprints), store.writes - before)


@pytest.fixture(scope="module")
def small() -> Counted:
    return count(10)


@pytest.fixture(scope="module")
def large() -> Counted:
    return count(20)


def without_languages(found: Counter[str]) -> Counter[str]:
    return Counter({name: number for name, number in found.items() if name not in LANGUAGES})


@pytest.mark.parametrize("world", ["small", "large"])
def test_gitlab_is_asked_for_each_page_once(world: str, request: pytest.FixtureRequest):
    counted: Counted = request.getfixturevalue(world)
    assert counted.fewest["issues"] > counted.fewest["merge_requests"] / 3  # several pages a group
    for run in (counted.first, counted.second):
        assert without_languages(run) == without_languages(counted.fewest) + EXTRA
        assert 0 < sum(run[name] for name in LANGUAGES) <= counted.fewest["languages"]


def test_twice_the_projects_take_the_pages_that_they_add_and_no_more(small: Counted, large: Counted):
    assert large.first.total() - small.first.total() <= large.fewest.total() - small.fewest.total()
    more = without_languages(large.second) - without_languages(small.second)
    assert more == without_languages(large.fewest) - without_languages(small.fewest)


@pytest.mark.parametrize("world", ["small", "large"])
def test_a_second_run_reads_port_by_pages_and_writes_no_entity(world: str, request: pytest.FixtureRequest):
    counted: Counted = request.getfixturevalue(world)
    assert counted.written == 0
    assert [asked for asked in counted.port if asked.endswith(("/bulk", "/delete"))] == []
    entities, blueprints = counted.entities, counted.blueprints
    assert len(counted.port) <= entities / 1000 + entities / 5000 + 2 * blueprints + 6


def test_more_entities_on_a_page_take_no_more_port_requests(small: Counted, large: Counted):
    assert large.entities > 1.9 * small.entities
    assert len(large.port) == len(small.port)
