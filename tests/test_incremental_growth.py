"""Requests of `--since last` are exact: what tells of changes, and some for each project in which something changed."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fast_gitlab import FastGitLab
from fast_http import Meter, Service, serving
from fast_port import FastPort
from fast_world import PER_PAGE, LargeWorld, Size
from gitlab_port_export.demo.world import LARGE_TOKEN
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.sync.execute import execute
from gitlab_port_export.sync.prepare import prepare
from measure import environ_for
from testbed.harness import NoWait

pytestmark = pytest.mark.usefixtures("lent_evaluator")

PROJECTS, CHANGED = 100, 3
# How many projects, and how many groups, GitLab is asked about by one query.
AT_ONCE, GROUPS_AT_ONCE = 100, 25


class Asked(NamedTuple):
    """What runs asked of GitLab and of Port, and how many entities they wrote: a full one and two incremental ones."""

    full: tuple[Counter[str], Counter[str], int]
    quiet: tuple[Counter[str], Counter[str], int]
    changed: tuple[Counter[str], Counter[str], int]
    world: LargeWorld


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    world = LargeWorld(Size(PROJECTS, merge_requests=6, issues=6, pipelines=2), datetime.now(UTC))
    gitlab, state = FastGitLab(world), tmp_path_factory.mktemp("state") / "state.json"
    with closing(FastPort()) as port:
        services = Service(gitlab), Service(port)
        with serving(services[0]) as gitlab.url, serving(services[1]) as url:

            def run() -> tuple[Counter[str], Counter[str], int]:
                before = port.writes
                for service in services:
                    service.meter = Meter()
                sync(gitlab.url, url, state)
                return services[0].meter.requests, services[1].meter.requests, port.writes - before

            full, quiet = run(), run()
            assert world.change(CHANGED / PROJECTS, datetime.now(UTC)) == CHANGED
            yield Asked(full, quiet, run(), world)


def sync(gitlab: str, port: str, state: Path) -> Any:
    """Run once in this process; it has to end well."""
    environ = {name: value for name, value in environ_for(gitlab, port, LARGE_TOKEN).items() if "__" in name}
    environ |= {"OCEAN__EXPORT__SINCE": "last", "OCEAN__EXPORT__STATE": str(state)}
    run = prepare(load_settings(environ, dotenv=None), NoWait(), writes=True)
    try:
        assert execute(run, "sync", lambda event: None).exit_code == 0
    finally:
        run.close()


def pages(rows: int, per_page: int = PER_PAGE) -> int:
    return -(-rows // per_page)


def test_where_nothing_changed_groups_and_projects_are_listed_and_two_questions_asked(asked: Asked) -> None:
    gitlab, port, written = asked.quiet
    world = asked.world
    # A list of projects ends with an empty page.
    assert gitlab == {
        "user": 1,
        "groups": pages(len(world.frame.groups)),
        "projects": pages(PROJECTS) + 1,
        "graphql": pages(PROJECTS, AT_ONCE) + pages(len(world.top_groups), GROUPS_AT_ONCE),
    }
    assert (written, port.total() <= 15) == (0, True)


def test_a_changed_project_takes_a_request_for_each_list_that_may_have_changed(asked: Asked) -> None:
    gitlab, port, written = asked.changed
    lists = dict.fromkeys(("merge_requests", "issues", "pipelines", "jobs"), CHANGED)
    # The languages of all that changed are one question more.
    assert gitlab == asked.quiet[0] + Counter(lists) + Counter(graphql=1)
    assert port.total() <= asked.quiet[1].total() + 20
    # A merge request, an issue, a pipeline and its job of each.
    assert written == 4 * CHANGED


def test_an_incremental_run_takes_a_small_part_of_the_requests_of_a_full_one(asked: Asked) -> None:
    full, quiet, changed = (one[0].total() for one in asked[:3])
    assert quiet < full / 40
    assert changed < full / 13
