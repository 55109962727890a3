"""Lists that GitLab does not count are read in windows of time: each row comes once, whatever happens meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.answer import Answer
from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.gitlab_pages import GITLABS, Limits
from gitlab_port_export.gitlab.client import Get, Params, ReadFailed
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.gitlab.windows import WINDOW_ROWS, Span, created, find_cuts, read_windows
from gitlab_port_export.model import Row
from testbed.harness import mapping_of, port_with, run_sync
from testbed.parity import BLUEPRINTS, company, whole
from testbed.reading import Play, failed, page

LIST = "/groups/1/merge_requests"
ORDER: Params = (("state", "all"), ("order_by", "created_at"), ("sort", "asc"))
BEGAN = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Table:
    """Rows by id with the instant at which each was created, to the microsecond, and a GitLab that lists them.

    GitLab counts up to `counted` rows, and compares times to the microsecond, or in `seconds` rounded "down" or "up".
    `on` is called with the number of each question before it is answered.
    """

    rows: dict[int, datetime | None]
    counted: int = 10
    per_page: int = 3
    inclusive: bool = True
    filters: bool = True
    seconds: str = ""
    on: Callable[[int], None] = lambda number: None
    asked: list[Get] = field(default_factory=list)

    def __call__(self, get: Get) -> Answer:
        self.asked.append(get)
        self.on(len(self.asked))
        query = dict(get.params)
        found = sorted(filter(lambda id: self._fits(query, self.rows[id]), self.rows), key=self._place)
        if query["sort"] == "desc":
            found.reverse()
        number, size = int(query["page"]), int(query["per_page"])
        size = self.per_page if size == 100 else size
        last = max(1, -(-len(found) // size))
        counted = len(found) <= self.counted
        return page(
            [self._row(id) for id in found[(number - 1) * size : number * size]],
            following=str(number + 1) if number < last else "",
            total=len(found) if counted else None,
            pages=last if counted else None,
        )

    def _place(self, id: int) -> tuple[bool, datetime, int]:
        # PostgreSQL has null behind every value, and before them in the other direction.
        at = self.rows[id]
        return at is None, at or BEGAN, -id

    def _fits(self, query: dict[str, str], at: datetime | None) -> bool:
        bounds = [query.get(name) for name in ("created_after", "created_before")]
        if not self.filters or bounds == [None, None]:
            return True
        if at is None:
            return False
        after, before = (text and datetime.fromisoformat(text) for text in bounds)
        if self.seconds == "up" and at.microsecond:
            at += timedelta(seconds=1)
        if self.seconds:
            at = at.replace(microsecond=0)
        if self.inclusive:
            return not ((after and at < after) or (before and at > before))
        return not ((after and at <= after) or (before and at >= before))

    def _row(self, id: int) -> Row:
        at = self.rows[id]
        # GitLab shows milliseconds, and cuts off the rest.
        return {"id": id, "created_at": at and at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def read(table: Table, params: Params = ORDER, window: int = 8) -> list[int]:
    """Read the list in windows; the ids that came."""
    rows: list[Row] = []
    Play(table).run(read_windows("token 1", LIST, params, rows.extend, window))
    return [row["id"] for row in rows]


def spread(count: int, step: timedelta = timedelta(minutes=1)) -> dict[int, datetime | None]:
    return {number: BEGAN + number * step for number in range(1, count + 1)}


def spans(table: Table) -> set[tuple[str | None, str | None]]:
    """The windows that were asked for."""
    return {(q.get("created_after"), q.get("created_before")) for q in (dict(get.params) for get in table.asked)}


# Each row once

FEW_SECONDS = st.integers(0, 5_000_000).map(lambda microseconds: timedelta(microseconds=microseconds))
YEARS = st.integers(0, 3650 * 86_400).map(lambda seconds: timedelta(seconds=seconds))
ROUNDED = st.sampled_from(["", "down", "up"])
AGES = st.one_of(FEW_SECONDS, YEARS, st.sampled_from([timedelta(), timedelta(seconds=1), timedelta(seconds=2)]))


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.one_of(AGES, st.none()), max_size=70),
    st.integers(1, 12),
    st.integers(1, 12),
    st.booleans(),
    ROUNDED,
)
def test_every_row_comes_once_whenever_it_was_created(
    ages: list[timedelta | None], window: int, counted: int, inclusive: bool, seconds: str
) -> None:
    rows = {id: None if age is None else BEGAN + age for id, age in enumerate(ages, 1)}
    table = Table(rows, counted, inclusive=inclusive, seconds=seconds)
    assert sorted(read(table, window=window)) == sorted(rows)


def test_windows_are_counted_but_for_the_first_look_at_what_is_left() -> None:
    table = Table(spread(50))
    assert sorted(read(table)) == sorted(table.rows)
    assert len(spans(table)) > 5
    for after, before in spans(table):
        held = [at for at in table.rows.values() if at and (after is None or at >= datetime.fromisoformat(after))]
        if after is not None and before is not None:
            assert len([at for at in held if at <= datetime.fromisoformat(before)]) <= table.counted


def test_a_list_that_gitlab_counts_is_read_whole() -> None:
    table = Table(spread(10))
    assert sorted(read(table)) == sorted(table.rows)
    assert spans(table) == {(None, None)}
    assert len(table.asked) == 4


def test_a_list_of_one_instant_is_read_page_after_page() -> None:
    for at in (BEGAN, BEGAN + timedelta(microseconds=700)):
        table = Table(dict.fromkeys(range(1, 41), at))
        assert sorted(read(table)) == sorted(table.rows)


def test_rows_of_one_instant_among_others_come_once() -> None:
    rows = spread(20) | dict.fromkeys(range(100, 140), BEGAN + timedelta(minutes=10)) | {200: BEGAN}
    assert sorted(read(Table(rows))) == sorted(rows)


def test_a_list_with_a_row_without_a_time_is_read_page_after_page() -> None:
    table = Table(spread(40) | {41: None})
    assert sorted(read(table)) == sorted(table.rows)
    assert spans(table) == {(None, None)}


def test_the_own_times_of_a_list_are_kept() -> None:
    own: Params = (("created_after", "2020-01-01T00:10:00+00:00"), ("created_before", "2020-01-01T01:35:00.500+01:00"))
    table = Table(spread(60))
    assert sorted(read(table, (*ORDER, *own))) == list(range(10, 36))
    assert len(spans(table)) > 2
    for get in table.asked:
        assert len({name for name, _ in get.params}) == len(get.params)


def test_a_list_with_times_that_only_gitlab_can_read_is_read_page_after_page() -> None:
    table = Table(spread(40))
    table.filters = False
    assert len(read(table, (*ORDER, ("created_after", "yesterday")))) == 40
    assert {dict(get.params)["created_after"] for get in table.asked} == {"yesterday"}


def test_times_may_be_shown_in_any_time_zone() -> None:
    table = Table(spread(40))
    rows: list[Row] = []

    def answer(get: Get) -> Answer:
        made = table(get)
        shown = [{**row, "created_at": row["created_at"].replace("2020-01-01T", "2020-01-01T0").replace("T000:", "T02:")
                  .replace("Z", "+02:00")} for row in made.data]  # fmt: skip
        return Answer(200, made.headers, b"", made.url, shown)

    Play(answer).run(read_windows("token 1", LIST, ORDER, rows.extend, 8))
    assert sorted(row["id"] for row in rows) == sorted(table.rows)
    assert len(spans(table)) > 3


# Proofs


def test_a_gitlab_that_ignores_the_times_fails_the_list() -> None:
    table = Table(spread(40), filters=False)
    with pytest.raises(ReadFailed, match="from outside the time asked for"):
        read(table)


def test_a_window_that_fails_fails_the_list() -> None:
    table = Table(spread(60))

    def answer(get: Get) -> Any:
        fails = "created_after" in dict(get.params) and dict(get.params)["page"] == "2"
        return failed(403) if fails else table(get)

    with pytest.raises(ReadFailed, match="403"):
        Play(answer).run(read_windows("token 1", LIST, ORDER, list, 8))


def test_a_list_whose_cut_cannot_be_found_is_read_page_after_page() -> None:
    table = Table(spread(40))
    rows: list[Row] = []

    def answer(get: Get) -> Any:
        return failed(500) if dict(get.params)["sort"] == "desc" else table(get)

    Play(answer).run(read_windows("token 1", LIST, ORDER, rows.extend, 8))
    assert [row["id"] for row in rows] == list(table.rows)


def test_a_window_that_stays_short_fails_the_list() -> None:
    table = Table(spread(40))

    def answer(get: Get) -> Answer:
        made = table(get)
        if "created_after" in dict(get.params) and "x-total" in made.headers:
            more = str(int(made.headers["x-total"]) + 1)
            return Answer(200, {**made.headers, "x-total": more}, b"", made.url, made.data)
        return made

    with pytest.raises(ReadFailed, match="three times"):
        Play(answer).run(read_windows("token 1", LIST, ORDER, list, 8))


@settings(deadline=None, max_examples=300)
@given(st.integers(11, 60), st.data())
def test_rows_that_stay_come_once_while_others_come_and_go(count: int, data: st.DataObject) -> None:
    """Counts prove each window, as they do a whole list, where not too many rows were created in one second."""
    table = Table(spread(count, timedelta(milliseconds=data.draw(st.sampled_from([700, 60_000])))))
    going = data.draw(st.integers(1, count))
    when = data.draw(st.integers(1, count))
    news = data.draw(st.booleans())

    def on(number: int) -> None:
        if number == when:
            table.rows.pop(going)
            if news:
                table.rows[1000] = BEGAN + timedelta(days=1)

    table.on = on
    got = read(table)
    assert len(got) == len(set(got))
    if not news:
        assert set(table.rows) <= set(got)


@pytest.mark.parametrize(
    "count", [*range(10_001, 10_400, 33), 10_100, 13_300, 19_801, 19_900, 20_000, 29_701, 100_000, 300_001]
)
def test_windows_take_few_more_requests(count: int) -> None:
    asked = requests_for(count)
    whole = ceil(count / 100)
    assert asked - whole <= whole * 0.03


def requests_for(count: int) -> int:
    """How many requests GitLab gets for a list of so many rows, none of which is made."""
    asked = 0

    def answer(get: Get) -> Answer:
        nonlocal asked
        asked += 1
        query = dict(get.params)
        first, last = (
            rounded((datetime.fromisoformat(query[name]) - BEGAN).total_seconds() / 60) if name in query else other
            for name, rounded, other in (("created_after", ceil, 0), ("created_before", floor, count - 1))
        )
        size, number, total = int(query["per_page"]), int(query["page"]), last - first + 1
        start, pages = (number - 1) * size, -(-total // size)
        places = range(first + start, min(first + start + size, last + 1))
        if query["sort"] == "desc":
            places = range(last - start, max(last - start - size, first - 1), -1)
        rows = [{"id": at, "created_at": f"{BEGAN + timedelta(minutes=at):%Y-%m-%dT%H:%M:%S.000Z}"} for at in places]
        counted = total <= 10_000
        return page(
            rows, following=str(number + 1) if number < pages else "",
            total=total if counted else None, pages=pages if counted else None,
        )  # fmt: skip

    seen: set[int] = set()
    Play(answer).run(read_windows("token 1", LIST, ORDER, lambda rows: seen.update(r["id"] for r in rows), WINDOW_ROWS))
    assert len(seen) == count
    return asked


def test_a_long_list_is_not_asked_for_deeper_than_gitlab_counts() -> None:
    table = Table(spread(200))
    read(table)
    for get in table.asked:
        query = dict(get.params)
        depth = int(query["page"]) * min(int(query["per_page"]), table.per_page)
        assert depth <= table.counted + table.per_page


def test_other_lists_are_read_as_before() -> None:
    table = Table(spread(40))
    rows: list[Row] = []
    Play(table).run(read_list("token 1", LIST, ORDER, rows.extend))
    assert [row["id"] for row in rows] == list(table.rows)
    assert spans(table) == {(None, None)}


@pytest.mark.parametrize("step", [timedelta(), timedelta(milliseconds=9)])
@pytest.mark.parametrize("seconds", ["", "down"])
def test_a_second_with_more_rows_than_a_window_is_read_once(step: timedelta, seconds: str) -> None:
    """As after an import from where rows have a day and no time."""
    dense = {1000 + n: BEGAN + timedelta(days=15) + n * step for n in range(100)}
    table = Table({**spread(30, timedelta(days=1)), **dense}, seconds=seconds)
    given: list[int] = []

    def answer(get: Get) -> Answer:
        made = table(get)
        given.extend(row["id"] for row in made.data if ("sort", "asc") in get.params)
        return made

    rows: list[Row] = []
    Play(answer).run(read_windows("token 1", LIST, ORDER, rows.extend, 8))
    assert sorted(row["id"] for row in rows) == sorted(table.rows)
    assert len(given) <= len(table.rows) * 1.1


@pytest.mark.parametrize("year", [1, 999, 9999])
def test_rows_of_odd_years_come_once(year: int) -> None:
    """Whoever owns a project may set when an issue was created; other systems have such years for none."""
    odd = {100 + n: BEGAN.replace(year=year) + timedelta(seconds=n // 20) for n in range(40)}
    table = Table({**spread(30), **odd})
    assert sorted(read(table)) == sorted(table.rows)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59.999-05:00"])
def test_an_instant_at_the_end_of_time_is_one(text: str) -> None:
    at = created({"created_at": text})
    assert at is not None
    assert Span(at, at).wider.params
    assert Span(at, at).holds(at)


def cut_to(unit: str, up: bool = False) -> Callable[[str], str]:
    """What GitLab makes of a time that it rounds to minutes, hours or days."""
    zeros = dict.fromkeys(("microsecond", "second", "minute", "hour")[: {"m": 2, "h": 3, "d": 4}[unit]], 0)
    step = timedelta(**{{"m": "minutes", "h": "hours", "d": "days"}[unit]: 1 if up else 0})

    def changed(text: str) -> str:
        return f"{datetime.fromisoformat(text).replace(**zeros) + step:%Y-%m-%dT%H:%M:%SZ}"

    return changed


@dataclass
class Rounding:
    """A GitLab that rounds the times it is asked for."""

    table: Table
    after: Callable[[str], str]
    before: Callable[[str], str]

    def __call__(self, get: Get) -> Answer:
        change = {"created_after": self.after, "created_before": self.before}
        return self.table(replace(get, params=tuple((k, change.get(k, str)(v)) for k, v in get.params)))


ROUNDINGS = [
    (cut_to(unit, after), cut_to(unit, before)) for unit in "mhd" for after in (True, False) for before in (True, False)
]


@pytest.mark.parametrize(("after", "before"), ROUNDINGS)
@pytest.mark.parametrize("step", [timedelta(seconds=7), timedelta(minutes=11), timedelta(hours=7)])
def test_no_row_is_lost_between_windows_by_a_gitlab_that_rounds_times(
    after: Callable[[str], str], before: Callable[[str], str], step: timedelta
) -> None:
    table = Table(spread(60, step))
    rows: list[Row] = []
    try:
        Play(Rounding(table, after, before)).run(read_windows("token 1", LIST, ORDER, rows.extend, 8))
    except ReadFailed:
        return  # deletions are held
    assert sorted(row["id"] for row in rows) == sorted(table.rows)


@pytest.mark.parametrize(("after", "before"), ROUNDINGS)
def test_shards_cut_no_list_of_a_gitlab_that_rounds_times(
    after: Callable[[str], str], before: Callable[[str], str]
) -> None:
    answer = Rounding(Table(spread(60, timedelta(seconds=7))), after, before)
    assert Play(answer).run(find_cuts("token 1", LIST, ORDER, 8)) == ()


@pytest.mark.parametrize("going", range(1, 61))
def test_a_row_that_leaves_at_a_cut_holds_nothing(going: int) -> None:
    table = Table(spread(60))
    # The first cut was found, and nothing of its window was read.
    table.on = lambda number: table.rows.pop(going) and None if number == 4 else None
    assert set(read(table)) >= set(table.rows)


@pytest.mark.parametrize("rows", [101, 250, 1_000])
def test_a_short_list_without_its_counts_takes_one_request_more(rows: int) -> None:
    table = Table(spread(rows), 0, 100)
    assert sorted(read(table, window=WINDOW_ROWS)) == sorted(table.rows)
    assert len(table.asked) == ceil(rows / 100) + 1


def test_a_cut_from_another_page_than_was_asked_for_is_not_taken() -> None:
    table = Table(spread(40))

    def answer(get: Get) -> Answer:
        made = table(get)
        return replace(made, headers={**made.headers, "x-page": "1"})

    rows: list[Row] = []
    Play(answer).run(read_windows("token 1", LIST, ORDER, rows.extend, 8))
    assert [row["id"] for row in rows] == list(table.rows)
    assert spans(table) == {(None, None)}


# Whole runs

ALL = ("merge_requests", "issues", "pipelines", "lists")
SMALL = Limits(per_page=3, counted=5)


@pytest.mark.parametrize("dialect", ["gitlab-v2", "gitlab"])
def test_a_run_whose_lists_are_all_long_leaves_the_same_in_port(dialect: str) -> None:
    world = company(ALL)
    resources = [whole(kind) for kind in sorted(KINDS) if kind not in ("file", "folder", "skill", "plugin")]
    mapping = mapping_of(*resources)
    found = []
    with gitlab_server(world, cached=True) as gitlab:
        for limits, window in ((GITLABS, WINDOW_ROWS), (SMALL, 4)):
            world.touch()
            gitlab.limits, gitlab.requests[:] = limits, []
            report, store, _ = run_sync(gitlab, port_with(*BLUEPRINTS), mapping, type=dialect, window=window)
            found.append((store.snapshot(), report.exit_code))
            cut = [one for one in gitlab.requests if "created_before" in dict(one.query)]
            assert bool(cut) == (limits is SMALL)
            assert {one.path.rpartition("/")[2] for one in cut} <= {"merge_requests", "issues"}
    assert found[0] == found[1]
    assert len(found[0][0]["thing"]) > 100
