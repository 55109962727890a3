"""A long list of projects is read in ranges of ids: each project comes once, and each range proves its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.answer import Answer
from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_pages import Limits
from gitlab_port_export.demo.world import World
from gitlab_port_export.gitlab.client import Get, Params, ReadFailed
from gitlab_port_export.gitlab.inventory import Patterns, read_inventory
from gitlab_port_export.gitlab.ranges import Cuts, read_ranges
from gitlab_port_export.model import Row
from testbed.harness import acme
from testbed.reading import HOST, Play, client, failed, mapping, page

ORDER: Params = (("min_access_level", "30"), ("order_by", "id"), ("sort", "asc"))
SMALL = Cuts(first=6, rows=5)


def listing(ids: list[int], size: int = 3, *, linked: bool = True) -> Callable[[Get], Answer]:
    """GET /projects by ascending id, by keyset or by page numbers."""

    def answer(get: Get) -> Answer:
        query = dict(get.params)
        after, before = int(query.get("id_after", 0)), int(query.get("id_before", 1 << 60))
        found = [id for id in sorted(ids) if after < id < before]
        length = min(int(query["per_page"]), size)
        if "page" in query:
            number = int(query["page"])
            rows = found[(number - 1) * length : number * length]
            more = number * length < len(found)
            return page(_rows(rows), following=str(number + 1) if more else "", links=linked)
        rows = found[:length]
        link = None
        if rows and linked:
            kept = {name: value for name, value in query.items() if name not in ("id_after", "per_page")}
            kept |= {"id_after": str(rows[-1]), "per_page": str(length)}
            link = f"{HOST}/api/v4/projects?" + "&".join(f"{name}={value}" for name, value in kept.items())
        return page(_rows(rows), following=None, link=link, links=linked)

    return answer


def _rows(ids: list[int]) -> list[Row]:
    return [{"id": id, "path_with_namespace": f"g/{id}"} for id in ids]


def read(answer: Callable[[Get], Any], cuts: Cuts = SMALL) -> tuple[list[int], Play]:
    rows: list[Row] = []
    played = Play(answer)
    played.run(read_ranges("token 1", "/projects", ORDER, rows.extend, cuts))
    return [row["id"] for row in rows], played


@settings(deadline=None, max_examples=200)
@given(st.sets(st.integers(1, 300), max_size=60), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_every_project_comes_once_whatever_its_id(ids: set[int], first: int, rows: int, linked: bool) -> None:
    found, _ = read(listing(list(ids), linked=linked), Cuts(first, rows))
    assert sorted(found) == sorted(ids)


def test_a_short_list_is_one_list() -> None:
    found, played = read(listing(list(range(1, 6))))
    assert found == [1, 2, 3, 4, 5]
    assert not [get for get in played.asked if "page" in dict(get.params)]


def ranges(played: Play) -> set[tuple[str | None, str | None]]:
    return {
        (query.get("id_after") if "id_before" in query else None, query.get("id_before"))
        for query in (dict(get.params) for get in played.asked)
        if "pagination" in query
    }


def test_what_is_left_of_a_long_list_is_cut_into_ranges() -> None:
    found, played = read(listing(list(range(10, 310, 10))))
    assert sorted(found) == list(range(10, 310, 10))
    assert {before for _, before in ranges(played) if before} == {"111", "161", "211", "261"}


def test_a_hundred_thousand_projects_are_ten_lists_and_few_more_requests() -> None:
    found, played = read(listing(list(range(7, 700_007, 7)), size=100), Cuts())
    assert len(found) == 100_000
    assert len({before for _, before in ranges(played)}) == 10
    assert len(played.asked) <= 1001 * 1.03


@pytest.mark.parametrize("count", [4_000, 4_100, 13_950, 14_000, 14_100, 24_000, 24_050])
def test_ranges_take_few_more_requests(count: int) -> None:
    _, played = read(listing(list(range(1, count + 1)), size=100), Cuts())
    least = -(-count // 100) + 1
    assert len(played.asked) - least <= max(2, least * 0.03)


def test_a_range_that_fails_fails_the_list() -> None:
    right = listing(list(range(1, 40)))

    def answer(get: Get) -> Any:
        return failed(403) if dict(get.params).get("id_after") == "14" else right(get)

    with pytest.raises(ReadFailed, match="403"):
        read(answer)


def test_where_no_end_of_a_range_is_found_the_rest_is_one_range() -> None:
    right = listing(list(range(1, 40)))

    def answer(get: Get) -> Any:
        return failed(405) if "page" in dict(get.params) else right(get)

    found, played = read(answer)
    assert sorted(found) == list(range(1, 40))
    assert {before for _, before in ranges(played)} == {None}


def test_ends_that_lead_nowhere_are_no_ends() -> None:
    right = listing(list(range(1, 40)))

    def answer(get: Get) -> Any:
        return page(_rows([2])) if "page" in dict(get.params) else right(get)

    assert sorted(read(answer)[0]) == list(range(1, 40))


@contextmanager
def companies(projects: int) -> Iterator[tuple[GitLabServer, World]]:
    world, _, group = acme()
    for number in range(projects):
        world.add_project(group, f"p{number}")
    with gitlab_server(world) as server:
        server.limits = Limits(per_page=3, counted=10)
        yield server, world


def test_the_inventory_holds_every_project_of_all_ranges() -> None:
    with companies(25) as (server, world), client(server, ["token-of-reader"]) as gitlab:
        asked = (gitlab, {"token 1": Patterns(("**",))}, "gitlab-v2", mapping({"kind": "project"}))
        found = read_inventory(*asked, (frozenset(), frozenset([None, True])), 4, SMALL)  # type: ignore[arg-type]
        whole = read_inventory(*asked, (frozenset(), frozenset([None, True])), 4)  # type: ignore[arg-type]
    assert any("id_before" in dict(request.query) for request in server.requests)
    assert [place.row for place in found.projects()] == [place.row for place in whole.projects()]
    assert [place.row["id"] for place in found.projects(True)] == sorted(world.projects)
    assert found.problems == ()


@pytest.mark.parametrize("dropped", ["id_before", "id_after"])
def test_a_proxy_that_drops_an_end_of_a_range_fails_the_list(dropped: str) -> None:
    right = listing(list(range(1, 40)))

    def answer(get: Get) -> Any:
        query = dict(get.params)
        kept = query if "page" in query or int(query.get("id_after", 0)) < 6 else {**query, dropped: ""}
        return right(Get(get.token, get.path, tuple((name, value) for name, value in kept.items() if value)))

    with pytest.raises(ReadFailed, match="from outside the ids asked for"):
        read(answer)


def test_a_project_that_is_made_meanwhile_is_in_the_last_range() -> None:
    ids = list(range(1, 40))
    right = listing(ids)
    made = mock.Mock(side_effect=lambda: ids.append(1000))

    def answer(get: Get) -> Any:
        if "page" in dict(get.params) and not made.called:
            made()
        return right(get)

    assert sorted(read(answer)[0]) == [*range(1, 40), 1000]
