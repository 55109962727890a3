"""Lists that are too long for GitLab to count are read a few pages at a time, and come whole."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.parallel import All, Job, through
from gitlab_port_export.gitlab.client import Get, ReadFailed
from gitlab_port_export.gitlab.lists import COUNTED_PAGES, STRIPES, read_list
from gitlab_port_export.model import Row
from testbed.reading import Play, Reply, failed, ids, offset

LIST = "/projects/1/pipelines"


class Reading:
    """A list as it was read: its rows, the pages that were asked for in order, and how many side by side."""

    def __init__(self, answer: Callable[[Get], Reply]) -> None:
        self.rows: list[int] = []
        self.widths: list[int] = []
        played = Play(answer)
        try:
            played.run(through(read_list("token 1", LIST, (), self._take), self._note))
        finally:
            self.pages = [int(dict(get.params)["page"]) for get in played.asked]

    def _take(self, rows: list[Row]) -> None:
        self.rows += [row["id"] for row in rows]

    def _note(self, said: object) -> Job:
        if isinstance(said, All):
            self.widths.append(len(said.jobs))
        return (yield said)


def numbers(rows: int) -> list[int]:
    return list(range(1, rows + 1))


@settings(deadline=None, max_examples=30)
@given(st.integers(10_001, 80_000))
def test_a_long_list_comes_whole_with_few_pages_too_many(rows: int) -> None:
    read, pages = Reading(offset(ids(rows), counted=False)), ceil(rows / 100)
    assert sorted(read.rows) == numbers(rows)
    # The last one is asked for again where it was asked for ahead.
    assert len(read.pages) - len(set(read.pages)) <= (read.pages[-1] == pages)
    assert len(read.pages) - pages <= pages * 0.03


@settings(deadline=None, max_examples=20)
@given(st.integers(9_850, 12_500), st.lists(st.tuples(st.integers(2, 150), st.floats(0, 1)), min_size=1, max_size=3))
def test_rows_that_join_anywhere_move_no_other_one_out_of_sight(rows: int, joins: list[tuple[int, float]]) -> None:
    """As in a list of pipelines by status, or one that is ordered by name; nothing counts its rows."""
    held, asked = ids(rows), 0

    def answer(get: Get) -> Reply:
        nonlocal asked
        asked += 1
        for number, (at, place) in enumerate(joins):
            if at == asked:
                held.insert(int(place * rows), {"id": 1_000_000 + number})
        return offset(held, counted=False)(get)

    assert set(Reading(answer).rows) >= set(numbers(rows))


@pytest.mark.parametrize("page", [57, 101])
def test_a_page_that_is_said_to_be_the_last_before_others_is_asked_for_again(page: int) -> None:
    """As from a replica that lags behind, or a cache."""
    stale = [str(page)]

    def answer(get: Get) -> Reply:
        is_stale = dict(get.params)["page"] in stale and stale.pop()
        return offset(ids(page * 100 - 50 if is_stale else 12_345), counted=False)(get)

    assert sorted(Reading(answer).rows) == numbers(12_345)


@settings(deadline=None, max_examples=12)
@given(st.integers(101, 9_999), st.integers(1, 60))
def test_a_list_that_grows_over_what_gitlab_counts_comes_whole(rows: int, at: int) -> None:
    """Nothing came from the page that tells whether it is a long one, and then there is such a page."""
    asked = 0

    def answer(get: Get) -> Reply:
        nonlocal asked
        asked += 1
        return offset(ids(rows if asked <= at else 10_150), counted=False)(get)

    assert sorted(Reading(answer).rows) in (numbers(rows), numbers(10_150))


@pytest.mark.parametrize("rows", [150, 250, 950, 9_950])
def test_a_proxy_that_takes_off_the_number_of_rows_alone_costs_few_requests(rows: int) -> None:
    """Link still names the last page, as it does for all lists that GitLab counts."""

    def answer(get: Get) -> Reply:
        found = offset(ids(rows), counted=False)(get)
        link = f'<https://gitlab.example.com/api/v4/list?page={ceil(rows / 100)}&per_page=100>; rel="last"'
        return replace(found, headers={**found.headers, "link": link})

    read = Reading(answer)
    assert sorted(read.rows) == numbers(rows)
    assert len(read.pages) - ceil(rows / 100) <= rows / 100 * 0.03


def test_a_number_of_rows_that_is_none_is_no_count() -> None:
    """Some versions say -1: https://github.com/gitlab4j/gitlab4j-api/pull/347."""

    def answer(get: Get) -> Reply:
        found = offset(ids(950), counted=False)(get)
        return replace(found, headers={**found.headers, "x-total": "-1", "x-total-pages": "10"})

    read = Reading(answer)
    assert sorted(read.rows) == numbers(950)
    assert len(read.pages) == 10


def test_its_pages_are_read_side_by_side() -> None:
    read = Reading(offset(ids(80_000), counted=False))
    # What GitLab would count is known to be there; behind it the number of pages at once grows.
    assert read.widths[0] == STRIPES
    assert read.widths[1] == 3
    assert read.widths[-1] == STRIPES
    assert len(read.widths) < 80


def test_a_short_list_without_its_counts_takes_one_request_more() -> None:
    assert Reading(offset(ids(250), counted=False)).pages == [1, COUNTED_PAGES, 2, 3]


def test_a_list_without_counts_whose_first_page_is_short_takes_none_more() -> None:
    def answer(get: Get) -> Reply:
        found = offset(ids(120), counted=False)(get)
        return found if dict(get.params)["page"] != "1" else replace(found, data=found.data[:99])

    read = Reading(answer)
    assert read.pages == [1, 2]
    assert sorted(read.rows) == [*range(1, 100), *range(101, 121)]


def test_what_gitlab_refuses_behind_the_end_is_no_failure() -> None:
    """As its limit for offsets does: https://docs.gitlab.com/administration/instance_limits/#max-offset-allowed."""

    def limited(get: Get) -> Reply:
        return failed(405) if int(dict(get.params)["page"]) > 500 else offset(ids(50_000), counted=False)(get)

    read = Reading(limited)
    assert sorted(read.rows) == numbers(50_000)
    assert max(read.pages) > 500


@pytest.mark.parametrize("lost", [100, 101, 102, 103, 110])
def test_a_page_that_was_asked_for_too_early_is_asked_for_again(lost: int) -> None:
    failures = [failed(500), failed(500)]  # GitLab's own failure is tried once more with smaller pages

    def answer(get: Get) -> Reply:
        query = dict(get.params)
        first = (int(query["page"]) - 1) * int(query["per_page"])
        return failures.pop() if failures and first == (lost - 1) * 100 else offset(ids(12_345), counted=False)(get)

    if lost in (101, 110):  # the next one that the list names
        with pytest.raises(ReadFailed):
            Reading(answer)
        return
    assert sorted(Reading(answer).rows) == numbers(12_345)


def test_a_page_asked_for_too_early_whose_rows_are_anothers_is_asked_for_again() -> None:
    """As from a proxy that gives one page in place of another."""
    wrong = ["101"]

    def answer(get: Get) -> Reply:
        given = offset(ids(12_345), counted=False)(get)
        if dict(get.params)["page"] == "102" and wrong:
            return replace(given, data=ids(100, int(wrong.pop()) * 100 - 99))
        return given

    assert sorted(Reading(answer).rows) == numbers(12_345)


@pytest.mark.parametrize("lost", [2, 57, 100, 101, 102, 115, 124])
def test_a_page_that_never_comes_fails_the_list(lost: int) -> None:
    def answer(get: Get) -> Reply:
        query = dict(get.params)
        first = (int(query["page"]) - 1) * int(query["per_page"])
        missing = (lost - 1) * 100 <= first < lost * 100
        return failed(403) if missing else offset(ids(12_345), counted=False)(get)

    with pytest.raises(ReadFailed):
        Reading(answer)


def test_a_server_that_gives_one_page_for_all_numbers_fails_the_list() -> None:
    def answer(get: Get) -> Reply:
        found = offset(ids(100), counted=False)(get)
        number = int(dict(get.params)["page"])
        headers = {**found.headers, "x-next-page": str(number + 1)}
        return replace(found, data=ids(100), headers=headers)

    with pytest.raises(ReadFailed, match="the same page"):
        Reading(answer)


@settings(deadline=None, max_examples=30)
@given(st.integers(10_001, 14_000), st.integers(0, 400), st.integers(1, 160))
def test_a_list_that_becomes_shorter_or_longer_comes_to_an_end(rows: int, change: int, at: int) -> None:
    """Rows that stay come, but for those that a row which goes moves to a page that was read: see the second look."""
    asked = 0

    def answer(get: Get) -> Reply:
        nonlocal asked
        asked += 1
        return offset(ids(rows if asked < at else rows + change), counted=False)(get)

    read = Reading(answer)
    assert set(read.rows) >= set(numbers(rows))
    assert len(read.rows) == len(set(read.rows))
