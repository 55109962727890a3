"""A long list of one group is read by several shards, each a part of it, and Port ends as after one run."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.demo import gitlab_faults
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_pages import Limits
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.world import GUEST, MAINTAINER, World, large_world
from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.gitlab.windows import Span, begun_in, find_cuts, read_part, spans
from gitlab_port_export.model import Row
from gitlab_port_export.shards import survey
from gitlab_port_export.shards.cuts import affordable
from gitlab_port_export.shards.units import weights_of
from test_shards import an_hour_ago, looks
from test_windows import AGES, BEGAN, LIST, ORDER, ROUNDED, ROUNDINGS, Rounding, Table, spread
from testbed.harness import blueprint, mapping_of, port_with, resource, run_sync
from testbed.parity import differences
from testbed.reading import Play, failed
from testbed.sharding import sharded

pytestmark = pytest.mark.usefixtures("lent_evaluator")
SMALL = Limits(per_page=10, counted=100)
WINDOW = 90
EVERY_ROLE = {"visibility": {"minAccessLevel": 10}}
MERGE_REQUESTS = resource("merge-request", "thing", identifier='.references.full | gsub("/|!"; "-")', title=".title")
ISSUES = resource("issue", "item", identifier=".id | tostring", title=".title")


# Cuts


def parts_of(table: Table, window: int) -> list[list[int]]:
    """Cut a list and read its parts; the ids that each part gave."""
    cuts = Play(table).run(find_cuts("token 1", LIST, ORDER, window))
    found = []
    for span in spans(cuts):
        rows: list[Row] = []
        Play(table).run(read_part("token 1", LIST, ORDER, span, rows.extend, window))
        found.append([row["id"] for row in rows])
    return found


@settings(deadline=None, max_examples=300)
@given(st.lists(AGES, max_size=70), st.integers(1, 12), st.integers(1, 12), st.booleans(), ROUNDED)
def test_every_row_is_in_one_part_whenever_it_was_created(
    ages: list[timedelta], window: int, counted: int, inclusive: bool, seconds: str
) -> None:
    rows = {id: BEGAN + age for id, age in enumerate(ages, 1)}
    parts = parts_of(Table(dict(rows), counted, inclusive=inclusive, seconds=seconds), window)
    assert sorted(id for part in parts for id in part) == sorted(rows)


def test_parts_have_as_many_rows_as_a_window() -> None:
    assert [len(part) for part in parts_of(Table(spread(50)), 8)] == [2, *[8] * 6]


def test_a_list_of_no_more_rows_than_a_window_takes_one_look_and_is_not_cut() -> None:
    table = Table(spread(8))
    assert Play(table).run(find_cuts("token 1", LIST, ORDER, 8)) == ()
    assert len(table.asked) == 1


def test_a_list_with_a_row_without_a_time_is_not_cut() -> None:
    table = Table({**spread(50), 51: None})
    assert Play(table).run(find_cuts("token 1", LIST, ORDER, 8)) == ()


def test_spans_hold_every_instant_once() -> None:
    cuts = tuple(BEGAN + timedelta(days=day) for day in (1, 2, 5))
    for at in (BEGAN, *cuts, BEGAN + timedelta(days=9)):
        assert sum(span.begins(at) for span in spans(cuts)) == 1
    assert spans(()) == (Span(),)


@pytest.mark.parametrize("text", [None, "", "2020-01-01", "10000-01-01T00:00:00Z"])
def test_a_row_that_does_not_say_when_it_was_created_fails_its_part(text: str | None) -> None:
    """Else no part would have it, and its entity would be taken for gone."""
    with pytest.raises(ReadFailed, match="when it was created"):
        begun_in(Span(), [{"id": 1, "created_at": text}])


@pytest.mark.parametrize(("after", "before"), ROUNDINGS)
def test_no_row_is_lost_between_parts_by_a_gitlab_that_rounds_times_for_shards_alone(
    after: Callable[[str], str], before: Callable[[str], str]
) -> None:
    """The survey may have asked another way than the shards do."""
    table = Table(spread(60, timedelta(seconds=47)))
    cuts = Play(table).run(find_cuts("token 1", LIST, ORDER, 8))
    rows: list[Row] = []
    try:
        for span in spans(cuts):
            Play(Rounding(table, after, before)).run(read_part("token 1", LIST, ORDER, span, rows.extend, 8))
    except ReadFailed:
        return  # deletions are held
    assert sorted(row["id"] for row in rows) == sorted(table.rows)


@pytest.mark.parametrize("left", [60, 55, 1])
def test_a_part_whose_row_leaves_when_it_was_read_holds_nothing(left: int) -> None:
    table = Table(spread(60))
    span = spans(Play(table).run(find_cuts("token 1", LIST, ORDER, 8)))[-1]
    table.asked.clear()
    rows: list[Row] = []
    Play(table).run(read_part("token 1", LIST, ORDER, span, rows.extend, 8))
    probe = len(table.asked)
    table.asked.clear()
    table.on = lambda number: table.rows.pop(left) and None if number == probe else None
    Play(table).run(read_part("token 1", LIST, ORDER, span, lambda _: None, 8))


def test_a_part_of_an_empty_list_is_read() -> None:
    Play(Table({})).run(read_part("token 1", LIST, ORDER, Span(BEGAN, None), lambda _: None, 8))


# Shards


@pytest.fixture
def one_group() -> Iterator[tuple[World, GitLabServer]]:
    """A company whose projects are all below one topmost group, and a GitLab that counts short lists alone."""
    world = large_world(datetime.now(UTC), 20, projects_per_group=20)
    with gitlab_server(world) as gitlab:
        gitlab.limits = SMALL
        yield world, gitlab


def lists_of(gitlab: GitLabServer, name: str) -> set[tuple[str | None, str | None]]:
    """The windows of a group's list that were asked for."""
    found = (dict(one.query) for one in gitlab.requests if one.path.endswith(f"/{name}"))
    return {(one.get("created_after"), one.get("created_before")) for one in found if one.get("sort") == "asc"}


def test_parts_go_to_several_shards_and_port_ends_as_after_one_run(one_group: tuple[World, GitLabServer]) -> None:
    world, gitlab = one_group
    mapping = mapping_of(MERGE_REQUESTS, ISSUES)
    one, many = (port_with(blueprint("thing"), blueprint("item"), clock=an_hour_ago) for _ in range(2))
    with port_server(one) as port, port_server(many) as other:
        for gone in (0, 3):
            for rows in (*world.merge_requests.values(), *world.issues.values()):
                del rows[:gone]
            gitlab.requests.clear()
            whole = run_sync(gitlab, port, mapping, window=WINDOW).report
            asked = len(gitlab.requests)
            gitlab.requests.clear()
            with sharded(gitlab, other, 4, mapping=mapping, window=WINDOW) as sync:
                sync.survey()
                windows = [read_by(gitlab, lambda number=number: sync.shard(number)) for number in (1, 2, 3, 4)]
                report = sync.reconcile()
            assert all(len(some) >= 2 for some in windows)
            assert differences(many.snapshot(), one.snapshot()) == []
            assert (report.exit_code, report.problems) == (whole.exit_code, whole.problems)
            assert report.blueprints == whole.blueprints
            assert len(gitlab.requests) <= asked * 1.02 + looks(gitlab)
    # Of each project one of the three was open, and all were issues.
    assert {name: counts.deleted for name, counts in report.blueprints.items()} == {"thing": 20, "item": 3 * 20}


def read_by(gitlab: GitLabServer, run: Callable[[], Any]) -> set[Any]:
    """The windows of merge requests and issues that a step asks for."""
    before = len(gitlab.requests)
    run()
    asked, gitlab.requests[:] = list(gitlab.requests), gitlab.requests[before:]
    found = lists_of(gitlab, "merge_requests") | lists_of(gitlab, "issues")
    gitlab.requests[:] = asked
    return found


def cuts_of(gitlab: GitLabServer, *resources: Any, **more: Any) -> set[str]:
    """The kinds whose lists a survey cuts."""
    port = port_with(blueprint("thing"), blueprint("item"))
    with (
        port_server(port) as server,
        sharded(gitlab, server, 4, mapping=mapping_of(*resources, **EVERY_ROLE), window=WINDOW, **more) as sync,
    ):
        return {kind for kind, _, _ in sync.survey().cuts}


def test_only_lists_of_which_each_row_is_an_entity_are_cut(one_group: tuple[World, GitLabServer]) -> None:
    _, gitlab = one_group
    assert cuts_of(gitlab, MERGE_REQUESTS, ISSUES) == {"merge-request", "issue"}
    of_project = resource("merge-request", "thing", identifier=".project_id | tostring")
    of_author = resource("merge-request", "thing", identifier=".author.username")
    cut_off = resource("merge-request", "thing", identifier='.references.full | split("!") | .[0]')
    taken_away = [
        resource("merge-request", "thing", identifier=f".references.full | {call}")
        for call in (
            'gsub("![0-9]+"; "")',
            'sub("!.*"; "")',
            'gsub("\\\\d"; "x")',
            'sub("^.*!"; "")',
            'sub(.state; "")',
        )
    ]
    for other in (of_project, of_author, cut_off, *taken_away):
        assert cuts_of(gitlab, other, ISSUES) == {"issue"}
    # Both feed one blueprint.
    assert cuts_of(gitlab, MERGE_REQUESTS, resource("issue", "thing", identifier=".id | tostring")) == set()
    assert cuts_of(gitlab, MERGE_REQUESTS, ISSUES, OCEAN__EXPORT__TOGETHER="issue") == {"merge-request"}


@pytest.mark.parametrize(
    ("numbers", "cuts"),
    [
        ((10,), 10),
        ((10, 10, 9), 10),
        ((10, 0, 0, 0), 10),
        ((10, *[0] * 8), 3),
        ((10, *[0] * 20), 1),
        ((2, *[0] * 8), 0),
    ],
)
def test_short_lists_beside_a_long_one_take_few_requests_more(numbers: tuple[int, ...], cuts: int) -> None:
    found = [tuple(BEGAN + timedelta(days=day) for day in range(number)) for number in numbers]
    chosen = affordable(found)
    assert len(chosen) == cuts
    assert sum(max(0, cuts - number) for number in numbers) <= 3 * sum(numbers)
    ends = [0, *(found[0].index(one) + 1 for one in chosen), numbers[0] + 1]
    sizes = [later - sooner for sooner, later in pairwise(ends)]
    assert max(sizes) - min(sizes) <= 1


def test_lists_that_hold_each_others_rows_are_not_cut(one_group: tuple[World, GitLabServer]) -> None:
    """One token is a guest of the topmost group, and another one sees all of the group below."""
    world, gitlab = one_group
    top = next(group for group in world.groups.values() if group["full_path"] == "group-00000")
    below = world.add_group("below", top)
    for name in "abcdefgh":
        project = world.add_project(below, name)
        for n in range(30):
            world.add_issue(project, f"Issue {n}", created_at=world.ago(hours=n))
    for secret, group, role in (("guest", top, GUEST), ("dev", below, MAINTAINER)):
        user = world.add_user(secret, secret)
        world.add_token(secret, user)
        world.add_member(group, user, role)
    assert cuts_of(gitlab, ISSUES, tokens={"dev": ["**"]}) == {"issue"}
    assert cuts_of(gitlab, ISSUES, tokens={"guest": ["**"], "dev": ["**"]}) == set()


def test_a_small_group_is_not_looked_at() -> None:
    world = large_world(datetime.now(UTC), 40, projects_per_group=2)
    with gitlab_server(world) as gitlab:
        gitlab.limits = SMALL
        assert cuts_of(gitlab, MERGE_REQUESTS, ISSUES) == set()
        assert looks(gitlab) == 0


def test_all_lists_of_a_group_are_cut_alike(one_group: tuple[World, GitLabServer]) -> None:
    """Between two lists a row may move, for one by state."""
    world, gitlab = one_group
    project = next(iter(world.projects.values()))
    for n in range(90):
        world.add_merge_request(project, f"Open {n}", created_at=world.ago(days=1, hours=n))
    states = {"states": ["opened", "merged"]}
    opened = resource("merge-request", "thing", identifier=".id | tostring", selector=states)
    gitlab.requests.clear()
    with (
        port_server(port_with(blueprint("thing"))) as port,
        sharded(gitlab, port, 3, mapping=mapping_of(opened), window=WINDOW) as sync,
    ):
        assert sync.all().exit_code == 0
        made = survey.load(sync.folder / "survey")
        with sync.run(made) as run:
            plan, shares = made.cut(run.mapping)
        assert len(made.cuts) == 1
    shards: dict[int | None, set[int]] = {}
    for shard, numbers in enumerate(shares):
        for number in numbers:
            shards.setdefault(plan.reads[number].part, set()).add(shard)
    assert len(shards) == 4
    assert all(len(some) == 1 for some in shards.values())
    by_state: dict[str, set[Any]] = {}
    for one in gitlab.requests:
        query = dict(one.query)
        if one.path.endswith("/merge_requests") and query.get("sort") == "asc":
            window = query.get("created_after"), query.get("created_before")
            by_state.setdefault(query["state"], set()).add(window)
    assert by_state["opened"] == by_state["merged"]
    assert len(by_state["opened"]) > 1


def test_lists_that_stay_together_are_cut_where_they_are_too_much_together(
    one_group: tuple[World, GitLabServer],
) -> None:
    """Each list weighs 20 projects, half of an equal share; the three of them are more than that."""
    _, gitlab = one_group
    states = {"states": ["opened", "merged", "closed"]}
    three = resource("merge-request", "thing", identifier=".id | tostring", selector=states)
    pipelines = resource("pipeline", "item", identifier=".id | tostring")
    with (
        port_server(port_with(blueprint("thing"), blueprint("item"))) as port,
        sharded(gitlab, port, 2, mapping=mapping_of(three, pipelines), window=WINDOW) as sync,
    ):
        made = sync.survey()
        with sync.run(made) as run:
            plan, _ = made.cut(run.mapping)
    assert [kind for kind, _, _ in made.cuts] == ["merge-request"]
    weights: dict[int | None, set[int]] = {}
    for read, weight in zip(plan.reads, weights_of(plan), strict=True):
        weights.setdefault(read.part, set()).add(weight)
    # 99 pages of a hundred rows, three times as long as others; of the oldest part half; a project's pipelines one.
    assert weights == {0: {148}, 1: {297}, 2: {297}, None: {1}}


def test_rows_of_one_second_are_each_produced_by_one_shard(one_group: tuple[World, GitLabServer]) -> None:
    world, gitlab = one_group
    project = next(iter(world.projects.values()))
    for n in range(300):
        world.add_issue(project, f"Issue {n}", created_at=world.ago(days=1) + timedelta(milliseconds=100 * n))
    port = port_with(blueprint("item"))
    with (
        port_server(port) as server,
        sharded(gitlab, server, 3, mapping=mapping_of(ISSUES), window=WINDOW) as sync,
    ):
        report = sync.all()
    assert (report.exit_code, report.blueprints["item"].created) == (0, 900)


def test_rows_that_come_while_shards_read_are_taken(one_group: tuple[World, GitLabServer]) -> None:
    world, gitlab = one_group
    port = port_with(blueprint("thing"))
    with (
        port_server(port) as server,
        sharded(gitlab, server, 3, mapping=mapping_of(MERGE_REQUESTS), window=WINDOW) as sync,
    ):
        sync.survey()
        project = next(iter(world.projects.values()))
        late = [world.add_merge_request(project, f"Late {n}", created_at=datetime.now(UTC)) for n in range(120)]
        for number in (3, 1, 2):
            sync.shard(number)
        assert sync.reconcile().exit_code == 0
    assert {row["title"] for row in late} <= {one[0] for one in port.snapshot()["thing"].values()}


def test_a_part_that_could_not_be_read_holds_the_deletions(one_group: tuple[World, GitLabServer]) -> None:
    world, gitlab = one_group
    port = port_with(blueprint("thing"), clock=an_hour_ago)
    mapping = mapping_of(MERGE_REQUESTS)
    with port_server(port) as server:
        assert run_sync(gitlab, server, mapping, window=WINDOW).report.exit_code == 0
        before = port.identifiers("thing")
        del next(iter(world.merge_requests.values()))[:5]
        with sharded(gitlab, server, 3, mapping=mapping, window=WINDOW) as sync:
            last = f"{sync.survey().cuts[0][2][-1]:%Y-%m-%dT%H:%M}"
            newest = lambda asked: dict(asked.query).get("created_after", "").startswith(last)  # noqa: E731
            gitlab.faults.append(Fault(newest, gitlab_faults.forbidden()))
            for number in (1, 2, 3):
                sync.shard(number)
            gitlab.faults.clear()
            report = sync.reconcile()
        assert (report.exit_code, port.identifiers("thing")) == (1, before)


def test_a_look_that_fails_leaves_the_list_whole() -> None:
    with pytest.raises(ReadFailed):
        Play(lambda get: failed(403)).run(find_cuts("token 1", LIST, ORDER, 8))
