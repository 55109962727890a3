"""The cover: which groups are read whole, so that every wanted row comes once and none is asked for twice."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.gitlab.cover import Covered, cover, project_path
from gitlab_port_export.gitlab.inventory import Inventory, Listing
from gitlab_port_export.model import Row
from testbed.reading import group, inventory, listing, project

ONE, TWO, THREE = "token 1", "token 2", "token 3"

TREE = [group(1, "a"), group(2, "a/b"), group(3, "a/b/c"), group(4, "d")]
PATHS = {11: "a/one", 12: "a/b/two", 13: "a/b/c/three", 14: "d/four"}
PROJECTS = [project(number, path, 30) for number, path in PATHS.items()]


def shown(covered: Sequence[Covered]) -> dict[str, tuple[str, ...]]:
    """Each covered path with its tokens; "?" marks a group whose rows are filtered."""
    marks = ("?" if entry.allows or entry.only else "" for entry in covered)
    return {f"{entry.place.scope.path}{mark}": entry.place.tokens for entry, mark in zip(covered, marks, strict=True)}


def test_topmost_groups_are_read_and_nothing_below() -> None:
    assert shown(cover(inventory(listing(ONE, TREE, PROJECTS)), None)) == {"a": (ONE,), "d": (ONE,)}


def test_a_group_that_lies_below_nothing_listed_is_a_top() -> None:
    assert shown(cover(inventory(listing(ONE, TREE[1:], PROJECTS[1:])), None)) == {"a/b": (ONE,), "d": (ONE,)}


def test_a_hidden_group_in_between_makes_no_second_top() -> None:
    rows = [group(1, "a"), group(3, "a/b/c")], [project(12, "a/b/two"), project(13, "a/b/c/three")]
    assert shown(cover(inventory(listing(ONE, *rows)), None)) == {"a": (ONE,)}


def test_both_tokens_stand_by_where_both_hold_everything() -> None:
    found = inventory(listing(ONE, TREE, PROJECTS), listing(TWO, TREE, PROJECTS))
    assert shown(cover(found, None)) == {"a": (ONE, TWO), "d": (ONE, TWO)}


def test_a_token_that_lacks_a_wanted_project_does_not_read_its_group() -> None:
    found = inventory(listing(ONE, TREE, PROJECTS[1:]), listing(TWO, TREE, PROJECTS))
    assert shown(cover(found, None)) == {"a": (TWO,), "d": (ONE, TWO)}


def test_where_no_token_holds_everything_smaller_groups_and_projects_are_read() -> None:
    found = inventory(listing(ONE, TREE, [PROJECTS[0], PROJECTS[2]]), listing(TWO, TREE, [PROJECTS[1], PROJECTS[3]]))
    assert shown(cover(found, None)) == {"a/one": (ONE,), "a/b/two": (TWO,), "a/b/c": (ONE,), "d": (TWO,)}


def test_what_only_guests_see_is_read_through_its_group() -> None:
    """GitLab refuses a guest the merge requests of a private project, and shortens those of its group."""
    guest = [project(number, path, 10) for number, path in PATHS.items()]
    found = inventory(listing(ONE, TREE, guest), listing(TWO, TREE[1:], PROJECTS[1:3]))
    covered = cover(found, None)
    assert shown(covered) == {"a?": (ONE,), "a/b": (TWO,), "d": (ONE,)}
    (part,) = (entry for entry in covered if entry.only)
    assert part.place.scope.token == ONE
    # By id: a project that is renamed meanwhile is still wanted.
    assert [part.takes({"id": 1, "project_id": number}, "!") for number in PATHS] == [True, False, False, False]


def test_a_guest_who_does_not_see_the_group_asks_for_the_project() -> None:
    """What then is refused is a problem, not an empty list."""
    lone = project(11, "a/one", 10)
    found = inventory(listing(ONE, [], [lone]), listing(TWO, TREE, [project(11, "a/one"), *PROJECTS[1:]]))
    assert shown(cover(found, None)) == {"a/one": (ONE,), "a/b": (TWO,), "d": (TWO,)}


def test_personal_and_lone_projects_are_read_alone() -> None:
    found = inventory(listing(ONE, TREE, [*PROJECTS, project(15, "ada/dotfiles"), project(16, "hidden/app")]))
    assert shown(cover(found, None)) == {"a": (ONE,), "d": (ONE,), "ada/dotfiles": (ONE,), "hidden/app": (ONE,)}


def test_an_empty_group_is_read_too() -> None:
    # A listing of own projects alone may lack projects whose rows the token sees all the same.
    assert shown(cover(inventory(listing(ONE, [group(1, "a")])), None)) == {"a": (ONE,)}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("**",), {"a", "d"}),
        (("a/**",), {"a"}),
        (("a/*", "d*"), {"a", "d"}),
        (("a/b/**",), {"a/b"}),
        (("a/one",), {"a/one"}),
        (("a/one", "d/**"), {"a/one", "d"}),
        (("a/o*",), {"a?"}),
        (("**/two",), {"a?", "d?"}),
        (("a/b/c/*", "d/four"), {"a/b/c", "d/four"}),
        (("a/b/[t]*",), {"a/b?"}),
        (("a/b/?wo",), {"a/b?"}),
        (("a",), set()),
        (("nothing/**",), set()),
    ],
)
def test_patterns_narrow_what_is_read(patterns: tuple[str, ...], expected: set[str]) -> None:
    found = inventory(listing(ONE, TREE, PROJECTS), patterns={ONE: patterns})
    assert set(shown(cover(found, None))) == expected


def test_rows_of_a_group_read_for_a_pattern_are_filtered() -> None:
    (entry,) = cover(inventory(listing(ONE, TREE, PROJECTS), patterns={ONE: ("a/o*",)}), None)
    assert entry.allows is not None
    assert [row["id"] for row in PROJECTS if entry.allows(row["path_with_namespace"])] == [11]


def test_rows_are_matched_by_the_id_of_their_project_also_when_its_path_changes_meanwhile() -> None:
    """The project was renamed, or transferred to a group that no pattern allows, after it was listed."""
    moved = {"iid": 1, "project_id": 11, "references": {"full": "elsewhere/two!1"}}
    stranger = moved | {"project_id": 99}
    (entry,) = cover(inventory(listing(ONE, TREE, PROJECTS), patterns={ONE: ("a/o*",)}), None)
    assert (entry.takes(moved, "!"), entry.takes(stranger, "!")) == (True, False)
    short = replace(inventory(listing(ONE, TREE, PROJECTS), patterns={ONE: ("a/o*",)}), restricted=True)
    top = next(entry for entry in cover(short, None) if entry.place.scope.path == "a")
    assert (top.takes(moved, "!"), top.takes(stranger, "!")) == (True, False)


def test_a_group_that_is_renamed_between_two_listings_keeps_its_projects() -> None:
    renamed = [project(number, f"new/{path}", 30) for number, path in PATHS.items()]
    both = Listing(ONE, {None: tuple(TREE)}, {None: tuple(PROJECTS), True: tuple(renamed)})
    found = inventory(both, patterns={ONE: ("a/**",)})
    assert {place.scope.id for place in found.projects(True)} == {11, 12, 13}


def test_two_tokens_with_patterns_side_by_side() -> None:
    found = inventory(
        listing(ONE, TREE, PROJECTS), listing(TWO, TREE, PROJECTS), patterns={ONE: ("a/**",), TWO: ("d/**", "a/one")}
    )
    assert shown(cover(found, None)) == {"a": (ONE,), "d": (TWO,)}


def active_inventory(active: bool, groups: list[Row], patterns: Sequence[str] = ("**",)) -> Inventory:
    groups = [row | {"archived": not active} for row in groups]
    everything = Listing(ONE, {None: tuple(TREE), active: tuple(groups)}, {None: tuple(PROJECTS)})
    return inventory(everything, patterns={ONE: patterns})


def test_an_active_filter_reads_only_those_groups() -> None:
    assert shown(cover(active_inventory(True, TREE[:3]), True)) == {"a": (ONE,)}
    assert shown(cover(active_inventory(False, TREE[3:]), False)) == {"d": (ONE,)}
    assert shown(cover(active_inventory(False, [TREE[1]]), False)) == {"a/b": (ONE,)}


def test_an_active_filter_works_beside_a_pattern_that_does_not_match_the_group_itself() -> None:
    assert shown(cover(active_inventory(True, TREE, ["a/**"]), True)) == {"a": (ONE,)}


@pytest.mark.parametrize(
    ("row", "active"),
    [({}, True), ({"archived": True}, False), ({"marked_for_deletion_on": "2026-05-01"}, False)],
)
def test_lone_projects_follow_the_active_filter_by_their_own_row(row: dict[str, Any], active: bool) -> None:
    lone = Listing(ONE, {None: (), True: (), False: ()}, {None: (project(15, "ada/dotfiles", **row),)})
    found = inventory(lone, drop_pending=False)
    assert shown(cover(found, active)) == {"ada/dotfiles": (ONE,)}
    assert shown(cover(found, not active)) == {}
    assert shown(cover(found, None)) == {"ada/dotfiles": (ONE,)}


@pytest.mark.parametrize(
    ("full", "mark", "iid", "path"),
    [
        ("grp/app12!21", "!", 21, "grp/app12"),
        ("grp/app#21#21", "#", 21, "grp/app#21"),
        ("grp/sub/app#1", "#", 1, "grp/sub/app"),
        ("grp/app!2", "!", 21, "grp/app!2"),
    ],
)
def test_the_project_of_a_row_is_in_its_reference(full: str, mark: str, iid: int, path: str) -> None:
    assert project_path({"iid": iid, "references": {"full": full}}, mark) == path


def test_a_row_that_does_not_name_its_project_is_not_left_out_silently() -> None:
    place = inventory(listing(ONE, TREE, PROJECTS)).groups()[0]
    for row in ({"iid": 1}, {"iid": 1, "references": None}):
        assert project_path(row, "!") == ""
        assert Covered(place).takes(row, "!")
        with pytest.raises(ReadFailed, match="does not name its project"):
            Covered(place, lambda path: True).takes(row, "!")
        with pytest.raises(KeyError):
            Covered(place, only=frozenset([1])).takes(row, "!")


# Any tree, any tokens

NAME = st.sampled_from(["a", "b", "ab"])
GROUPS = st.lists(st.lists(NAME, min_size=1, max_size=3).map("/".join), max_size=7, unique=True)
HOMES = st.lists(
    st.tuples(st.lists(NAME, min_size=1, max_size=4).map("/".join), st.sampled_from(["x", "y"])), max_size=8
)
PATTERN = st.sampled_from(["**", "*", "a/**", "a/*", "a/b/**", "a*", "**/x", "a/x", "b/a/y", "a/b/?", "*/x", "[ab]/**"])
ROLE = st.sampled_from([None, 10, 30, 30])
TOKENS = st.lists(st.lists(PATTERN, min_size=1, max_size=2).map(tuple), min_size=1, max_size=3)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Some groups and projects; each token lists any of them and is for some paths."""
    groups = [group(number, path) for number, path in enumerate(draw(GROUPS), 1)]
    homes = dict.fromkeys(f"{home}/{name}" for home, name in draw(HOMES))
    patterns = dict(zip((ONE, TWO, THREE), draw(TOKENS), strict=False))

    def some(rows: list[Row]) -> list[Row]:
        return draw(st.lists(st.sampled_from(rows), unique_by=lambda row: row["id"])) if rows else []

    def seen() -> list[Row]:
        return some([project(number, path, draw(ROLE)) for number, path in enumerate(homes, 100)])

    return inventory(*(listing(token, some(groups), seen()) for token in patterns), patterns=patterns)


def is_below(path: str, above: str) -> bool:
    return path.startswith(f"{above}/")


@settings(max_examples=60, deadline=None)
@given(inventories())
def test_every_wanted_project_is_covered_once_and_no_group_twice(found: Inventory) -> None:
    covered = cover(found, None)
    groups = [entry for entry in covered if entry.place.scope.is_group]
    for wanted in found.projects():
        path = wanted.scope.path
        row = {"iid": 1, "project_id": wanted.scope.id, "references": {"full": f"{path}!1"}}
        by_group = [e for e in groups if is_below(path, e.place.scope.path) and e.takes(row, "!")]
        alone = [entry for entry in covered if entry.place.scope.id == wanted.scope.id]
        assert len(by_group) + len(alone) == 1, path
        for entry in by_group:
            assert all(wanted.scope.id in found.listed[token] for token in entry.place.tokens), "whoever reads sees it"
    for entry in groups:
        assert not any(
            is_below(entry.place.scope.path, other.place.scope.path) and other.only is None for other in groups
        )


@settings(max_examples=40, deadline=None)
@given(inventories(), st.lists(NAME, min_size=1, max_size=3).map("/".join))
def test_no_group_gives_rows_of_projects_that_no_pattern_wants(found: Inventory, name: str) -> None:
    for entry in cover(found, None):
        if entry.place.scope.is_group:
            path = f"{entry.place.scope.path}/{name}"
            for token in entry.place.tokens:
                row = {"iid": 1, "project_id": -1, "references": {"full": f"{path}!1"}}
                assert found.patterns[token].allows(path) or not entry.takes(row, "!")
