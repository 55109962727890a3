"""Lists prove their end: whatever GitLab or a proxy does, a list comes whole or fails."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.answer import Answer
from gitlab_port_export.gitlab.arrived import key_of
from gitlab_port_export.gitlab.client import Get, ReadFailed, link_next
from gitlab_port_export.gitlab.lists import next_page, read_keyset, read_list, whole_list
from gitlab_port_export.model import Row
from testbed.reading import HOST, Reply, failed, ids, keyset, offset, page, play, sized

LIST = "/list"


def by_offset(answer: Callable[[Get], Reply], *, counted: bool = True) -> tuple[list[int], list[Get]]:
    """Read a list; the ids that came, in order, and what was asked."""
    rows: list[Row] = []
    played = play(read_list("token 1", LIST, (("state", "all"),), rows.extend, counted=counted), answer)
    return [row["id"] for row in rows], played.asked


def by_keyset(answer: Callable[[Get], Reply], **options: Any) -> tuple[list[int], list[Get]]:
    rows: list[Row] = []
    played = play(read_keyset("token 1", LIST, (("order_by", "id"),), rows.extend, **options), answer)
    return [row["id"] for row in rows], played.asked


def pages_of(asked: list[Get]) -> list[int]:
    return [int(dict(get.params)["page"]) for get in asked]


def in_turn(*replies: Reply) -> Callable[[Get], Reply]:
    """Answer the questions one after the other."""
    left = list(replies)
    return lambda get: left.pop(0)


# Offset pages


@settings(deadline=None)
@given(
    st.integers(0, 1050),
    st.booleans(),
    st.sampled_from(["x-next-page", "link", "nothing"]),
)
def test_every_row_comes_once_whatever_headers_get_through(count: int, counted: bool, style: str) -> None:
    count = max(count, int(style == "nothing"))
    got, _ = by_offset(offset(ids(count), counted=counted, style=style))
    assert sorted(got) == list(range(1, count + 1))


def foreign(rows: Any, **headers: str) -> Answer:
    """A list without any header of GitLab's but these."""
    return Answer(200, {"content-type": "application/json", **headers}, b"", f"{HOST}/api/v4/list", rows)


def test_empty_pages_that_name_a_next_one_end_somewhere() -> None:
    def blank(get: Get) -> Answer:
        return page([], following=str(int(dict(get.params)["page"]) + 1))

    with pytest.raises(ReadFailed, match="100 empty pages of /list in a row"):
        by_offset(blank)


WHO = "an empty list came for /list with none of the headers"


FIRST = '<https://gitlab.example.com/list?page=1>; rel="first"'


@pytest.mark.parametrize("header", ["x-next-page", "x-page", "x-per-page", "x-total", "link"])
def test_an_empty_list_is_gitlabs_by_its_headers(header: str) -> None:
    value = FIRST if header == "link" else ""
    assert by_offset(in_turn(foreign([], **{header: value})))[0] == []
    assert by_keyset(in_turn(foreign([], **{header: value})))[0] == []
    with pytest.raises(ReadFailed, match=WHO):
        by_offset(in_turn(foreign([], link='</style.css>; rel="preload"')))
    with pytest.raises(ReadFailed, match=WHO):
        by_offset(in_turn(foreign([])))
    # Where one page has them all do.
    with pytest.raises(ReadFailed, match=WHO):
        by_offset(in_turn(page(ids(99), following="2"), foreign([])))
    assert by_offset(in_turn(foreign(ids(100)), foreign([])))[0] == [row["id"] for row in ids(100)]


def test_an_empty_keyset_list_is_gitlabs_by_any_of_its_headers() -> None:
    """GitLab names no page there, and sends Link only where a next one follows."""
    for header in ("x-runtime", "x-gitlab-meta"):
        assert by_keyset(in_turn(foreign([], **{header: "1"})))[0] == []
        with pytest.raises(ReadFailed, match=WHO):
            by_offset(in_turn(foreign([], **{header: "1"})))
    with pytest.raises(ReadFailed, match=WHO):
        by_keyset(in_turn(foreign([])))


def test_an_empty_list_with_the_request_id_of_a_gateway_is_not_gitlabs() -> None:
    with pytest.raises(ReadFailed, match=WHO):
        by_keyset(in_turn(foreign([], **{"x-request-id": "1"})))


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (1, 1), (100, 1), (101, 2), (300, 3), (1000, 10)])
def test_no_request_is_wasted(count: int, requests: int) -> None:
    _, asked = by_offset(offset(ids(count)))
    assert len(asked) == requests


def test_what_a_page_is_asked_with() -> None:
    _, asked = by_offset(offset(ids(150)))
    assert [get.params for get in asked] == [
        (("state", "all"), ("per_page", "100"), ("page", "1")),
        (("state", "all"), ("per_page", "100"), ("page", "2")),
    ]
    assert {(get.token, get.path, get.gives) for get in asked} == {("token 1", LIST, "list")}


def test_a_short_page_is_no_end() -> None:
    got, asked = by_offset(in_turn(page(ids(3), following="2"), page(ids(1, 4), following="3"), page(ids(2, 5))))
    assert got == [1, 2, 3, 4, 5, 6]
    assert pages_of(asked) == [1, 2, 3]


def test_an_empty_page_with_a_next_one_is_no_end() -> None:
    got, _ = by_offset(in_turn(page([], following="2"), page(ids(1))))
    assert got == [1]


def test_a_first_page_that_counts_one_more_than_needed_is_fine() -> None:
    # As branches and tags do: page 1 always names page 2 and counts a page too many.
    got, asked = by_offset(in_turn(page(ids(3), following="2", total=3, pages=2), page([], total=3, pages=2)))
    assert (got, len(asked)) == ([1, 2, 3], 2)


@pytest.mark.parametrize("following", ["1", "3", "0", "last", "2.0"])
def test_a_next_page_that_is_not_the_next_is_an_error(following: str) -> None:
    with pytest.raises(ReadFailed, match="as the next page") as caught:
        by_offset(in_turn(page(ids(1), following=following)))
    assert caught.value.reason == "incomplete"


def test_a_link_that_names_no_page_is_no_end() -> None:
    with pytest.raises(ReadFailed, match="as the next page"):
        by_offset(in_turn(page(ids(1), following=None, link=f"{HOST}/api/v4/list?cursor=abc")))


def test_the_same_page_twice_is_an_error() -> None:
    with pytest.raises(ReadFailed, match="twice") as caught:
        by_offset(in_turn(page(ids(2), following="2"), page(ids(2))))
    assert caught.value.reason == "incomplete"


def test_rows_that_moved_to_a_later_page_come_once() -> None:
    got, _ = by_offset(in_turn(page(ids(3), following="2", total=4), page(ids(3, 3), total=5)))
    assert got == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "host", ["https://evil.example.com", "http://gitlab.example.com", "https://gitlab.example.com:8443/sub"]
)
def test_of_a_link_only_the_query_is_followed_whatever_host_it_names(host: str) -> None:
    link = f"{host}/api/v4/list?page=2&sudo=root"
    got, asked = by_offset(in_turn(page(ids(1), following=None, link=link), page(ids(1, 2))))
    assert (got, [get.path for get in asked]) == ([1, 2], [LIST, LIST])
    assert asked[1].params == (("state", "all"), ("per_page", "100"), ("page", "2"))
    link = f"{host}/api/v4/list?id_after=1"
    got, asked = by_keyset(in_turn(page(ids(1), following=None, link=link), page(ids(1, 2), following=None)))
    assert (got, [get.path for get in asked]) == ([1, 2], [LIST, LIST])


def test_a_link_that_is_no_url_is_an_error() -> None:
    for read in (by_offset, by_keyset):
        with pytest.raises(ReadFailed, match="no URL") as caught:
            read(in_turn(page(ids(1), following=None, link="http://[h/?page=2")))
        assert caught.value.reason == "incomplete"


def test_headers_that_contradict_each_other_are_an_error() -> None:
    with pytest.raises(ReadFailed, match="its Link header does") as caught:
        by_offset(in_turn(page(ids(100), following="", link=f"{HOST}/api/v4/list?page=2")))
    assert caught.value.reason == "incomplete"


def test_x_next_page_is_enough_where_links_lead_elsewhere() -> None:
    elsewhere = page(ids(1), following="2", link="http://inside.example.com/list?page=2")
    assert by_offset(in_turn(elsewhere, page(ids(1, 2))))[0] == [1, 2]


# X-Total


def test_a_list_with_fewer_rows_than_counted_is_read_again_then_incomplete() -> None:
    passes = [page(ids(3), following="2", total=5, pages=2), page(ids(1, 4), total=5, pages=2)] * 3
    asked: list[Get] = []

    def answer(get: Get) -> Reply:
        asked.append(get)
        return passes.pop(0)

    with pytest.raises(ReadFailed, match="counts 5 rows and gave 4") as caught:
        by_offset(answer)
    assert caught.value.reason == "incomplete"
    assert pages_of(asked) == [1, 2] * 3


def test_a_re_read_may_complete_a_list_and_hands_on_only_what_is_new() -> None:
    # Row 4 slipped to page 1 while page 2 was fetched, because row 1 went away and another one came.
    first = [page(ids(3), following="2", total=6), page(ids(2, 5), total=6)]
    second = [page(ids(3, 2), following="2", total=6), page(ids(2, 5), total=6)]
    got, asked = by_offset(in_turn(*first, *second))
    assert got == [1, 2, 3, 5, 6, 4]
    assert len(asked) == 4


def test_a_row_that_came_while_reading_is_not_missed() -> None:
    assert by_offset(in_turn(page(ids(3), following="2", total=4), page(ids(1, 4), total=5)))[0] == [1, 2, 3, 4]


def test_a_row_that_went_while_reading_takes_no_other_one_along() -> None:
    # Row 2 went, so row 4 slipped to page 1 unseen; the second count is met all the same.
    first = [page(ids(3), following="2", total=5), page(ids(1, 5), total=4)]
    second = [page([*ids(1), *ids(2, 3)], following="2", total=4), page(ids(1, 5), total=4)]
    assert sorted(by_offset(in_turn(*first, *second))[0]) == [1, 2, 3, 4, 5]


def test_lists_that_gitlab_filters_after_paging_need_not_add_up() -> None:
    answers = [page(ids(1), total=5)]
    assert by_offset(in_turn(*answers), counted=False)[0] == [1]
    with pytest.raises(ReadFailed, match="counts 5"):
        by_offset(in_turn(*answers * 3))


def test_a_count_that_is_no_number_counts_for_nothing() -> None:
    strange = replace(page(ids(1)), headers={"x-next-page": "", "x-total": "many", "x-total-pages": "-"})
    assert by_offset(in_turn(strange))[0] == [1]


# Pages side by side


def test_counted_pages_are_read_in_stripes_up_to_the_last() -> None:
    got, asked = by_offset(offset(ids(2050)))
    assert sorted(got) == list(range(1, 2051))
    assert sorted(pages_of(asked)) == list(range(1, 22))
    assert pages_of(asked) != list(range(1, 22)), "eight at a time"


def test_a_list_that_grows_while_read_side_by_side_is_followed_to_its_end() -> None:
    rows = ids(400)

    def answer(get: Get) -> Reply:
        answered = offset(rows)(get)
        if get.params[-1] == ("page", "2"):
            rows.extend(ids(150, 401))
        return answered

    got, asked = by_offset(answer)
    assert sorted(got) == list(range(1, 551))
    assert max(pages_of(asked)) == 6


def test_a_list_that_shrinks_while_read_side_by_side_ends() -> None:
    rows = ids(500)

    def answer(get: Get) -> Reply:
        answered = offset(rows)(get)
        if get.params[-1] == ("page", "2"):
            del rows[300:]
        return answered

    assert by_offset(answer)[0][:300] == list(range(1, 301))


def test_a_failure_in_one_stripe_fails_the_list() -> None:
    good = offset(ids(900))
    with pytest.raises(ReadFailed) as caught:
        by_offset(lambda get: failed(403) if ("page", "7") in get.params else good(get))
    assert caught.value.reason == "forbidden"


# Too much for one page


def _heavy(rows: list[Row], number: int, status: int = 500) -> Callable[[Get], Reply]:
    """Page `number` of a hundred rows fails; smaller ones do not."""
    good = offset(rows)

    def answer(get: Get) -> Reply:
        query = dict(get.params)
        return failed(status) if (query["per_page"], query["page"]) == ("100", str(number)) else good(get)

    return answer


@pytest.mark.parametrize("status", [408, 500, 504])
@pytest.mark.parametrize(("count", "number"), [(70, 1), (100, 1), (250, 1), (250, 2), (250, 3), (900, 4), (300, 3)])
def test_a_page_that_is_too_much_is_read_in_smaller_ones(count: int, number: int, status: int) -> None:
    got, asked = by_offset(_heavy(ids(count), number, status))
    assert sorted(got) == list(range(1, count + 1))
    full = max(1, -(-count // 100))
    small = min(5, -(-(count - (number - 1) * 100) // 20))
    assert len(asked) == full + small, "the full pages and those instead of the one that failed"


def _large(rows: list[Row], most: int, first: int, last: int) -> Callable[[Get], Reply]:
    """Pages with more than `most` rows out of a part of the list are over the bounds."""
    by_number, by_key = offset(rows), keyset(rows)

    def answer(get: Get) -> Reply:
        answered = by_number(get) if "page" in dict(get.params) else by_key(get)
        large = [row for row in answered.data if first <= row["id"] <= last]
        return ReadFailed("too large", "an answer was larger than 64 MiB") if len(large) > most else answered

    return answer


@pytest.mark.parametrize("most", [1, 3, 4, 19, 20])
def test_a_page_over_the_bounds_is_read_in_pages_of_fewer_rows(most: int) -> None:
    answer = _large(ids(330), most, 120, 290)
    assert sorted(by_offset(answer)[0]) == list(range(1, 331))
    assert by_keyset(answer)[0] == list(range(1, 331))


def test_a_row_over_the_bounds_alone_fails_its_list() -> None:
    for read in (by_offset, by_keyset):
        with pytest.raises(ReadFailed, match="larger than 64 MiB"):
            read(_large(ids(330), 0, 7, 7))


def test_smaller_pages_that_fail_too_fail_the_list() -> None:
    good = offset(ids(250))

    def answer(get: Get) -> Reply:
        query = dict(get.params)
        start = (int(query["page"]) - 1) * int(query["per_page"])
        return failed(500) if start <= 130 < start + int(query["per_page"]) else good(get)

    with pytest.raises(ReadFailed) as caught:
        by_offset(answer)
    assert caught.value.status == 500


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 429, 502, 503])
def test_other_failures_are_not_tried_in_smaller_pages(status: int) -> None:
    asked: list[Get] = []

    def answer(get: Get) -> Reply:
        asked.append(get)
        return failed(status)

    for read in (by_offset, by_keyset):
        asked.clear()
        with pytest.raises(ReadFailed):
            read(answer)
        assert len(asked) == 1


# Keyset pages


@settings(deadline=None)
@given(st.integers(0, 450), st.booleans(), st.booleans())
def test_every_row_comes_once_by_keyset(count: int, linked: bool, last_link: bool) -> None:
    got, _ = by_keyset(keyset(ids(count), linked=linked, last_link=last_link))
    assert got == list(range(1, count + 1))


def test_what_a_keyset_page_is_asked_with() -> None:
    _, asked = by_keyset(keyset(ids(101)))
    assert [get.params for get in asked] == [
        (("order_by", "id"), ("pagination", "keyset"), ("per_page", "100")),
        (("id_after", "100"), ("pagination", "keyset"), ("per_page", "100")),
        (("id_after", "101"), ("pagination", "keyset"), ("per_page", "100")),
    ]


def test_empty_parameters_of_a_link_are_kept() -> None:
    link = f"{HOST}/api/v4/list?cursor=&id=5&search=a%2Cb+c"
    _, asked = by_keyset(in_turn(page(ids(1), following=None, link=link), page([], following=None)))
    assert asked[1].params == (("cursor", ""), ("id", "5"), ("search", "a,b c"), ("per_page", "100"))


def test_a_short_keyset_page_with_a_link_is_no_end() -> None:
    link = f"{HOST}/api/v4/list?cursor=2"
    assert by_keyset(in_turn(page(ids(1), following=None, link=link), page(ids(1, 2), following=None)))[0] == [1, 2]


@pytest.mark.parametrize("short", [35, 99, 100, 135])
@pytest.mark.parametrize("headers", ["x-next-page", "nothing"])
def test_a_keyset_page_whose_link_a_proxy_took_off_is_no_end(short: int, headers: str) -> None:
    by_number = offset(ids(250), counted=False, style=headers)

    def answer(get: Get) -> Reply:
        return by_number(get) if "page" in dict(get.params) else page(ids(short), following=None, links=False)

    assert by_keyset(answer)[0] == list(range(1, 251))


def test_a_list_that_always_names_a_next_page_ends_with_an_empty_one_alone() -> None:
    by_number = offset(ids(250), counted=False)

    def answer(get: Get) -> Reply:
        return by_number(get) if "page" in dict(get.params) else page(ids(65), following=None)

    assert by_keyset(answer, always=True)[0] == list(range(1, 251))
    assert len(by_keyset(keyset(ids(65)), always=True)[1]) == 2


def test_a_cursor_names_a_next_page_where_the_link_is_missing() -> None:
    by_number = offset(ids(250), counted=False)

    def answer(get: Get) -> Reply:
        stripped = page(ids(100), following=None)
        headers = dict(stripped.headers) | {"x-next-cursor": "abc"}
        return by_number(get) if "page" in dict(get.params) else replace(stripped, headers=headers)

    assert by_keyset(answer)[0] == list(range(1, 251))


@pytest.mark.parametrize("count", [0, 1, 99])
def test_a_keyset_list_that_ends_costs_no_more_than_its_pages(count: int) -> None:
    assert len(by_keyset(keyset(ids(count), last_link=False))[1]) == 1


def test_an_end_that_is_not_proved_costs_one_empty_page() -> None:
    by_number = offset(ids(35), counted=False)

    def answer(get: Get) -> Reply:
        return by_number(get) if "page" in dict(get.params) else page(ids(35), following=None, links=False)

    got, asked = by_keyset(answer)
    assert got == list(range(1, 36))
    assert [get.params for get in asked[1:]] == [(("order_by", "id"), ("per_page", "35"), ("page", "2"))]
    assert by_number(asked[1]).data == []


def test_a_list_that_had_a_link_itself_ends_without_one() -> None:
    link = f"{HOST}/api/v4/list?id_after=100"
    pages = page(ids(100), following=None, link=link, links=False), page(ids(5, 101), following=None, links=False)
    assert len(by_keyset(in_turn(*pages))[0]) == 105


def test_pages_by_number_that_give_less_than_they_count_are_incomplete() -> None:
    def answer(get: Get) -> Reply:
        by_number = "page" in dict(get.params)
        return page(ids(35), total=100) if by_number else page(ids(35), following=None, links=False)

    with pytest.raises(ReadFailed, match="counts 100 rows and gave 35"):
        by_keyset(answer)


def test_keyset_pages_that_lead_in_a_circle_are_an_error() -> None:
    there, back = f"{HOST}/api/v4/list?cursor=1", f"{HOST}/api/v4/list?cursor=2"
    turns = [(ids(1), there), (ids(1, 2), back), (ids(1, 3), there), (ids(1, 4), back)]
    with pytest.raises(ReadFailed, match="circle") as caught:
        by_keyset(in_turn(*(page(rows, following=None, link=link) for rows, link in turns)))
    assert caught.value.reason == "incomplete"


def test_the_same_keyset_page_under_another_link_is_an_error() -> None:
    links = (f"{HOST}/api/v4/list?cursor={number}" for number in range(9))
    with pytest.raises(ReadFailed, match="twice"):
        by_keyset(lambda get: page(ids(2), following=None, link=next(links)))


def test_keyset_reading_stops_when_the_reader_has_enough() -> None:
    got, asked = by_keyset(keyset(ids(500)), until=lambda rows: rows[-1]["id"] >= 150)
    assert (len(got), len(asked)) == (200, 2)


def test_a_keyset_page_that_is_too_much_is_asked_for_in_a_smaller_one_and_the_next_in_full() -> None:
    good = keyset(ids(230))

    def answer(get: Get) -> Reply:
        query = dict(get.params)
        return failed(500) if (query.get("id_after"), query["per_page"]) == ("100", "100") else good(get)

    got, asked = by_keyset(answer)
    assert got == list(range(1, 231))
    assert [dict(get.params)["per_page"] for get in asked] == ["100", "100", "20", "100", "100", "100"]


# Shapes


def test_a_row_that_is_null_holds_deletions_and_the_others_are_read() -> None:
    rows = [*ids(2), None, *ids(2, 3)]
    answers = page(rows, total=5), page(rows, following=None)
    for read, answer in zip((read_list, read_keyset), answers, strict=True):
        found: list[Row] = []
        played = play(read("token 1", LIST, (), found.extend), in_turn(answer))
        assert [row["id"] for row in found] == [1, 2, 3, 4]
        assert [(problem.holds_all, problem.warning) for problem in played.said] == [(True, False)]
        assert "gave 1 rows of /list as null" in played.said[0].why


@pytest.mark.parametrize("digits", [16, 5000])
def test_a_count_of_many_digits_is_a_failure_of_that_list(digits: int) -> None:
    for header in ("x-total", "x-total-pages"):
        strange = page(ids(1))
        with pytest.raises(ReadFailed, match=f"a number of {digits} digits"):
            by_offset(in_turn(replace(strange, headers={**strange.headers, header: "9" * digits})))


@pytest.mark.parametrize("rows", [[1], ["text"], [None], [[]], [{"id": 1}, 2]])
def test_a_list_of_something_else_is_an_error(rows: Any) -> None:
    for read in (by_offset, by_keyset):
        with pytest.raises(ReadFailed, match="something else") as caught:
            read(in_turn(page(rows)))
        assert caught.value.reason == "shape"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"id": 1}, {"id": 1, "x": 2}, True),
        ({"id": 1}, {"id": 2}, False),
        ({"tag_name": "v1", "name": "a"}, {"tag_name": "v1", "name": "b"}, True),
        ({"name": "main"}, {"name": "dev"}, False),
        ({"tag_name": "v1", "name": "Same"}, {"tag_name": "v2", "name": "Same"}, False),
        ({"id": 1, "path": "p"}, {"id": 2, "path": "p"}, False),
        ({"id": None, "name": "a"}, {"id": None, "name": "b"}, False),
    ],
)
def test_what_tells_rows_apart(one: Row, other: Row, same: bool) -> None:
    assert (key_of(one) == key_of(other)) is same


@pytest.mark.parametrize("row", [{}, {"id": None}, {"id": {"a": 1}}, {"value": 1}, {"name": ["x"]}])
def test_a_row_without_any_name_is_not_gitlabs(row: Row) -> None:
    for read in (by_offset, by_keyset):
        with pytest.raises(ReadFailed, match="neither an id nor a name"):
            read(in_turn(page([row, {"id": 1}])))


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ('<https://h/a?page=2>; rel="next"', "https://h/a?page=2"),
        ("<https://h/a?page=2>; rel=next", "https://h/a?page=2"),
        ('<https://h/a>; rel="prev", <https://h/b?x=1,2&y=a;b>; rel="next", <https://h/c>; rel="last"',
         "https://h/b?x=1,2&y=a;b"),
        ('<https://h/a>; title="x"; rel="next"', "https://h/a"),
        ('<https://h/a>; rel="first", <https://h/a>; rel="last"', None),
        ('<https://h/a?rel="next">; rel="first"', None),
        ("", None),
        ("rubbish", None),
    ],
)  # fmt: skip
def test_links_to_the_next_page(header: str, url: str | None) -> None:
    assert link_next(Answer(200, {"link": header}, b"", HOST)) == url


def test_a_stripped_list_ends_with_an_empty_page() -> None:
    stripped = Answer(200, {}, b"", HOST)
    assert next_page(stripped, 1, ids(1)) == 2
    assert next_page(stripped, 2, []) is None


# Whole lists


def test_a_whole_list_is_returned_and_shared() -> None:
    def both() -> Any:
        first = yield from whole_list("t", LIST)
        second = yield from whole_list("t", LIST)
        other = yield from whole_list("t", LIST, (("a", "b"),))
        assert first == second
        return [row["id"] for row in (*first, *other)]

    played = play(both(), offset(ids(2)))
    assert played.value == [1, 2, 1, 2]
    assert played.urls == [f"{LIST}?{sized(())}", f"{LIST}?{sized((('a', 'b'),))}"]
