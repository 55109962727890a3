"""The inventory: which groups and projects there are, who may read them, and what a refusal means."""

import fnmatch
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, Recorded, gitlab_server
from gitlab_port_export.demo.world import DEVELOPER, REPORTER, SAMPLE_TOKENS, World, sample_world
from gitlab_port_export.gitlab.inventory import Inventory, Listing, Patterns, listing_params
from gitlab_port_export.model import Row
from testbed.reading import NOW, client, failed, group, inventory, inventory_of, listing, mapping, project

EVERYTHING = ("**",)
ONE, TWO = "token 1", "token 2"


# Patterns


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("**", "grp/app", True),
        ("*", "grp/sub/app", True),
        ("**/*", "grp", True),
        ("grp/*", "grp/sub/app", True),
        ("grp/**", "grp/sub/app", True),
        ("grp/**", "grp", False),
        ("grp/**", "grp2/app", False),
        ("grp*", "grp2/app", True),
        ("grp/app", "grp/app", True),
        ("grp/app", "grp/app2", False),
        ("app", "grp/app", False),
        ("**/app", "grp/sub/app", True),
        ("**/app", "app", True),
        ("**/**/app", "grp/app", True),
        ("**/**/app", "app", False),
        ("*/app", "app", False),
        ("Grp/*", "grp/app", False),
        ("grp/?pp", "grp/app", True),
        ("grp?app", "grp/app", True),
        ("grp/[ab]pp", "grp/app", True),
        ("grp/[!ab]pp", "grp/app", False),
        ("grp/[!b]pp", "grp/app", True),
        ("grp/[app", "grp/[app", True),
        ("{grp,other}/app", "grp/app", False),
        ("{grp}/app", "{grp}/app", True),
        ("grp/.*", "grp/.github", True),
        ("/**", "grp/app", False),
        ("grp/a.p", "grp/app", False),
        ("grp/*\n", "grp/app", False),
    ],
)
def test_patterns_match_as_in_ocean(pattern: str, path: str, allowed: bool) -> None:
    assert Patterns((pattern,)).allows(path) is allowed
    assert Patterns(("nothing", pattern)).allows(path) is allowed


def test_no_pattern_allows_nothing() -> None:
    assert not Patterns(()).allows("grp/app")


NAMES = st.text("ab", min_size=1, max_size=2)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "/", "*", "**", "?", "[ab]", "[!a]", "**/"]), max_size=6).map("".join)


@settings(deadline=None)
@given(PATTERNS, PATHS)
def test_patterns_are_those_of_fnmatchcase(pattern: str, path: str) -> None:
    expected = fnmatch.fnmatchcase(path, pattern)
    expected |= pattern.startswith("**/") and fnmatch.fnmatchcase(path, pattern[3:])
    assert Patterns((pattern,)).allows(path) == expected


@settings(deadline=None)
@given(PATTERNS, PATHS, PATHS)
def test_what_patterns_promise_of_a_group_holds_below_it(pattern: str, parent: str, name: str) -> None:
    patterns = Patterns((pattern,))
    allowed = patterns.allows(f"{parent}/{name}")
    assert allowed or not patterns.allow_all_below(parent)
    assert not allowed or patterns.may_allow_below(parent)


@pytest.mark.parametrize("pattern", ["**", "*", "**/*", "**/**", "grp/**", "grp/*", "grp*", "g*"])
def test_patterns_that_allow_all_below_a_group(pattern: str) -> None:
    assert Patterns((pattern,)).allow_all_below("grp")
    assert Patterns((pattern,)).allow_all_below("grp/sub")


@pytest.mark.parametrize("pattern", ["grp", "grp/app", "grp/a*", "grp/sub/**", "other/**", "/**", "**/app", "g?p/**"])
def test_patterns_that_do_not(pattern: str) -> None:
    assert not Patterns((pattern,)).allow_all_below("grp")


# What is asked


@pytest.mark.parametrize(
    ("dialect", "options", "kind", "active", "query"),
    [
        ("gitlab-v2", {}, "projects", None, "all_available=true&min_access_level=30"),
        ("gitlab-v2", {}, "groups", None, "all_available=true&min_access_level=30"),
        ("gitlab-v2", {}, "projects", True, "all_available=true&min_access_level=30&active=true"),
        ("gitlab-v2", {}, "groups", False, "all_available=true&min_access_level=30&active=false"),
        (
            "gitlab-v2",
            {"visibility": {"minAccessLevel": "10"}},
            "groups",
            None,
            "all_available=true&min_access_level=10",
        ),
        ("gitlab-v2", {"visibility": {"useMinAccessLevel": False}}, "projects", None, "all_available=true"),
        ("gitlab-v2", {"filterOwnedProjects": True}, "projects", None, "all_available=true&min_access_level=30"),
        ("gitlab", {}, "projects", None, "owned=true"),
        ("gitlab", {}, "groups", None, ""),
        ("gitlab", {}, "projects", True, "owned=true&active=true"),
        ("gitlab", {"filterOwnedProjects": False}, "projects", None, "owned=false"),
        ("gitlab", {"filterOwnedProjects": None}, "projects", None, ""),
        ("gitlab", {"projectVisibilityFilter": "private"}, "projects", None, "owned=true&visibility=private"),
        ("gitlab", {"visibility": {"minAccessLevel": 10}}, "groups", False, "active=false"),
    ],
)
def test_listings_are_asked_for_as_by_ocean(
    dialect: Any, options: dict[str, Any], kind: str, active: bool | None, query: str
) -> None:
    params = listing_params(dialect, mapping({"kind": "project"}, **options), kind, active)
    assert "&".join(f"{name}={value}" for name, value in params) == "&".join(
        filter(None, [query, "order_by=id&sort=asc"])
    )


# Merging what tokens list


def paths(found: Inventory, active: bool | None = None) -> tuple[list[str], list[str]]:
    places = found.groups(active), found.projects(active)
    return tuple([place.scope.path for place in some] for some in places)  # type: ignore[return-value]  # a pair


def test_a_place_that_two_tokens_list_is_kept_once_for_both() -> None:
    rows = [group(1, "grp")], [project(7, "grp/app", 30)]
    found = inventory(listing(ONE, *rows), listing(TWO, *rows))
    assert paths(found) == (["grp"], ["grp/app"])
    assert [place.tokens for place in (*found.groups(), *found.projects())] == [(ONE, TWO)] * 2
    assert found.problems == ()


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        (30, 30, (ONE, TWO)),
        (30, 40, (TWO, ONE)),
        (40, 30, (ONE, TWO)),
        (None, 10, (TWO, ONE)),
        (None, None, (ONE, TWO)),
    ],
)
def test_the_token_with_the_highest_access_reads_then_the_first(
    first: int | None, second: int | None, order: tuple[str, str]
) -> None:
    found = inventory(
        listing(ONE, [], [project(7, "grp/app", first, seen_by=ONE)]),
        listing(TWO, [], [project(7, "grp/app", second, seen_by=TWO)]),
    )
    (place,) = found.projects()
    assert (*place.tokens, *place.weaker) == order
    assert place.row["seen_by"] == place.scope.token == order[0]


@pytest.mark.parametrize(
    ("first", "second", "weaker"),
    [(50, 20, ()), (50, 10, (TWO,)), (20, None, (TWO,)), (10, None, (TWO,)), (10, 10, ()), (None, None, ())],
)
def test_a_token_for_which_gitlab_leaves_out_rows_is_no_substitute(
    first: int | None, second: int | None, weaker: tuple[str, ...]
) -> None:
    found = inventory(*(listing(t, [], [project(7, "grp/app", level)]) for t, level in ((ONE, first), (TWO, second))))
    assert [place.weaker for place in found.projects()] == [weaker]


def test_access_counts_through_the_project_or_the_group() -> None:
    direct = {"permissions": {"project_access": {"access_level": 50}, "group_access": None}}
    found = inventory(
        listing(ONE, [], [project(7, "grp/app", 40)]), listing(TWO, [], [project(7, "grp/app", None) | direct])
    )
    assert found.projects()[0].tokens == (TWO, ONE)
    bare = inventory(listing(ONE, [], [{"id": 7, "path_with_namespace": "g/a", "permissions": None}]))
    assert bare.projects()[0].tokens == (ONE,)


def test_patterns_are_each_tokens_own() -> None:
    rows = [group(1, "a"), group(2, "b")], [project(7, "a/x"), project(8, "b/x"), project(9, "c/x")]
    found = inventory(listing(ONE, *rows), listing(TWO, *rows), patterns={ONE: ("a/**",), TWO: ("b*", "a/x")})
    assert paths(found) == (["b"], ["a/x", "b/x"])
    assert [place.tokens for place in found.projects()] == [(ONE, TWO), (TWO,)]
    assert [place.scope.path for place in found.all_groups()] == ["a", "b"]


def test_places_come_in_order_of_id() -> None:
    found = inventory(listing(ONE, [], [project(9, "a/z"), project(3, "a/y")]), listing(TWO, [], [project(5, "a/x")]))
    assert [place.scope.id for place in found.projects()] == [3, 5, 9]


def test_a_pattern_that_matches_nothing_holds_all_deletions() -> None:
    rows = [group(1, "grp")], [project(7, "grp/app")]
    found = inventory(listing(ONE, *rows), listing(TWO), patterns={ONE: ("grp/app", "grq/**"), TWO: ("**",)})
    assert [(one.token, one.holds_all, one.warning) for one in found.problems] == [
        (ONE, True, False),
        (TWO, True, False),
    ]
    assert "'grq/**'" in found.problems[0].why


def test_a_pattern_for_a_group_alone_is_matched() -> None:
    assert inventory(listing(ONE, [group(1, "grp")]), patterns={ONE: ("grp",)}).problems == ()


def test_a_listing_that_failed_is_one_problem_and_its_patterns_are_not_judged() -> None:
    cut = Listing(ONE, {None: (group(1, "grp"),)}, {}, failed(403))
    found = inventory(cut, listing(TWO, [], [project(7, "grp/app")]), patterns={ONE: ("other/**",), TWO: ("**",)})
    (problem,) = found.problems
    assert (problem.token, problem.stage, problem.holds_all) == (ONE, "inventory", True)
    assert paths(found) == ([], ["grp/app"])


@pytest.mark.parametrize("mark", ["marked_for_deletion_on", "marked_for_deletion_at"])
def test_what_is_pending_deletion_is_dropped_in_v2_alone(mark: str) -> None:
    rows = (
        [group(1, "grp") | {mark: "2026-05-01"}, group(2, "ok") | {mark: None}],
        [project(7, "ok/a") | {mark: "x"}],
    )
    assert paths(inventory(listing(ONE, *rows))) == (["ok"], [])
    assert paths(inventory(listing(ONE, *rows), drop_pending=False)) == (["grp", "ok"], ["ok/a"])
    assert inventory(listing(ONE, *rows)).problems == ()


# From a running GitLab


def read(server: GitLabServer, secrets: Any = SAMPLE_TOKENS[:1], *resources: Any, **patterns: Any) -> Inventory:
    texts = {f"token {number}": EVERYTHING for number in range(1, len(secrets) + 1)} | patterns.get("patterns", {})
    with client(server, secrets) as gitlab:
        return inventory_of(gitlab, texts, *resources)


@pytest.fixture
def world() -> World:
    return sample_world(NOW)


def test_each_token_lists_groups_and_projects_once(world: World) -> None:
    with gitlab_server(world) as server:
        found = read(server, SAMPLE_TOKENS)
    requests = [(request.path, request.token) for request in server.requests]
    assert requests.count(("/groups", SAMPLE_TOKENS[0])) == requests.count(("/groups", SAMPLE_TOKENS[1])) == 1
    # The last keyset page of projects is always an empty one.
    assert requests.count(("/projects", SAMPLE_TOKENS[0])) == requests.count(("/projects", SAMPLE_TOKENS[1])) == 2
    assert requests.count(("/user", SAMPLE_TOKENS[0])) == 1
    cards = next(place for place in found.projects() if place.scope.path == "payments/cards/issuing")
    assert cards.tokens == (TWO, ONE), "maintainer there, developer with the first token"
    assert len({place.scope.id for place in found.projects()}) == len(found.projects()) == 12
    assert found.problems == ()


def test_the_order_of_configuration_counts_not_that_of_the_answers(world: World) -> None:
    world.add_token("twin", world.tokens[SAMPLE_TOKENS[0]].user)
    with gitlab_server(world) as server:
        server.faults.append(Fault(lambda request: request.token == SAMPLE_TOKENS[0], faults.Slow(0.05)))
        found = read(server, [SAMPLE_TOKENS[0], "twin"])
    assert {place.tokens for place in (*found.groups(), *found.projects())} == {(ONE, TWO)}


def test_active_filters_are_left_to_gitlab(world: World) -> None:
    with gitlab_server(world) as server:
        found = read(
            server,
            SAMPLE_TOKENS[:1],
            {"kind": "project", "includeOnlyActiveProjects": True},
            {"kind": "issue", "includeOnlyActiveGroups": False},
        )
    every, active = paths(found)[1], paths(found, True)[1]
    assert set(every) - set(active) == {"platform/runtime/observability/logs"}
    asked = [
        dict(request.query).get("active") for request in server.requests if request.path in ("/groups", "/projects")
    ]
    assert sorted(asked, key=str) == [None, None, None, "false", "true", "true"]


def test_many_pages_of_both(world: World) -> None:
    parent = world.group("platform")
    for number in range(230):
        world.add_project(world.add_group(f"g{number}", parent), "p")
    with gitlab_server(world) as server:
        found = read(server)
    assert len(found.projects()) == 230 + 10
    assert len(found.groups()) == len(found.all_groups()) == 230 + 6


def test_a_role_below_the_wanted_level_hides_a_place(world: World) -> None:
    other = world.add_group("other")
    user = world.tokens[SAMPLE_TOKENS[0]].user
    world.add_project(other, "app")
    world.add_member(other, user, REPORTER)
    with gitlab_server(world) as server:
        assert "other/app" not in paths(read(server))[1]
        world.remove_member(other, user)
        world.add_member(other, user, DEVELOPER)
        assert "other/app" in paths(read(server))[1]


def test_a_gitlab_that_does_not_know_the_active_filter_is_not_trusted_with_it() -> None:
    """It ignores the parameter and lists everything."""
    groups = [group(1, "a"), group(2, "a/old", archived=True), group(3, "a/old/deep"), group(4, "b")]
    projects = [
        project(11, "a/app"),
        project(12, "a/retired", archived=True),
        project(13, "b/going", marked_for_deletion_on="2026-06-01"),
        # GitLab counts these among what is not active, whatever their rows say; and of the last nobody can tell.
        project(14, "a/old/deep/app"),
        project(15, "hidden/app"),
        project(16, "ada/dotfiles", namespace={"kind": "user", "full_path": "ada"}),
    ]
    every = dict.fromkeys((None, True, False), tuple(groups)), dict.fromkeys((None, True, False), tuple(projects))
    found = inventory(Listing(ONE, *every), drop_pending=False)
    ids = {active: {place.scope.id for place in found.projects(active)} for active in (None, True, False)}
    assert ids == {None: {11, 12, 13, 14, 15, 16}, True: {11, 14, 15, 16}, False: {12, 13, 14, 15}}
    assert {place.scope.id for place in found.groups(True)} == {1, 3, 4}
    assert {place.scope.id for place in found.groups(False)} == {2, 3}


# Refusals


def refused(server: GitLabServer, secrets: Any = SAMPLE_TOKENS) -> str:
    with pytest.raises(GitLabUnavailable) as caught:
        read(server, secrets)
    assert caught.value.exit_code == 3
    return " → ".join((*map(str, caught.value.faults), caught.value.hint))


@pytest.mark.parametrize("fault", [faults.unauthorized, faults.revoked, faults.expired])
def test_dead_tokens_end_the_run_after_two_questions_each(world: World, fault: Callable[[], Any]) -> None:
    with gitlab_server(world) as server:
        server.faults.append(Fault("", fault()))
        said = refused(server)
    assert [request.path for request in server.requests] == ["/user"] * 4
    assert all(words in said for words in (ONE, TWO, "make a new one"))
    assert not any(secret in said for secret in SAMPLE_TOKENS)


def test_one_dead_token_of_two_leaves_the_other(world: World) -> None:
    world.tokens[SAMPLE_TOKENS[0]].revoked = True
    with gitlab_server(world) as server:
        found = read(server, SAMPLE_TOKENS)
        listed = [request for request in server.requests if request.path in ("/groups", "/projects")]
    assert {request.token for request in listed} == {SAMPLE_TOKENS[1]}, "a dead token is asked no more"
    (problem,) = found.problems
    assert (problem.token, problem.holds_all) == (ONE, True)
    assert "revoked" in problem.why
    assert "research/models" in paths(found)[1]


def test_a_token_that_dies_between_groups_and_projects(world: World) -> None:
    def dies(request: Recorded) -> bool:
        world.tokens[SAMPLE_TOKENS[0]].revoked |= (request.path, request.token) == ("/projects", SAMPLE_TOKENS[0])
        return False

    with gitlab_server(world) as server:
        server.faults.append(Fault(dies, faults.revoked()))
        found = read(server, SAMPLE_TOKENS)
    # Both lists are read side by side: its groups may have come before.
    assert [(problem.token, problem.holds_all) for problem in found.problems] == [(ONE, True)]
    assert all(place.tokens == (TWO,) for place in found.projects())


def test_a_401_that_only_one_path_gives_kills_no_token(world: World) -> None:
    with gitlab_server(world) as server:
        server.faults.append(Fault("^/projects$", faults.unauthorized(), times=1))
        assert read(server, SAMPLE_TOKENS[:1]).problems == ()
        server.faults.append(Fault("^/projects$", faults.unauthorized()))
        with client(server, SAMPLE_TOKENS) as gitlab:
            with pytest.raises(GitLabUnavailable):
                inventory_of(gitlab, {ONE: EVERYTHING, TWO: EVERYTHING})
            assert gitlab.dead_tokens == {}


def test_too_little_scope_for_the_inventory_is_a_dead_token(world: World) -> None:
    world.tokens[SAMPLE_TOKENS[0]].scopes = ("read_user",)
    with gitlab_server(world) as server:
        found = read(server, SAMPLE_TOKENS)
        assert [(one.token, one.holds_all) for one in found.problems] == [(ONE, True)]
        assert "read_api" in found.problems[0].hint
        assert "read_api" in refused(server, SAMPLE_TOKENS[:1])


def test_a_token_that_may_not_read_its_user_still_counts(world: World) -> None:
    world.tokens[SAMPLE_TOKENS[0]].denied.add("user")
    with gitlab_server(world) as server:
        assert read(server).problems == ()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.login_page, "GitLab at {url} answered 200 with text/html"),
        (faults.bad_gateway, "GitLab at {url} answered 502 → GitLab was in trouble; run again"),
        (faults.server_error, "GitLab at {url} answered 500"),
        (faults.endpoint_throttled, "GitLab at {url} answered 429"),
        (lambda: faults.reply_json(200, [1]), "GitLab at {url} answered 200 with JSON of another shape"),
        (faults.Drop, "GitLab could not be reached: {url} did not answer: "),
        (
            lambda: faults.redirect("https://login.example.com/"),
            "GitLab could not be reached: the server redirects to https://login.example.com",
        ),
        (lambda: faults.not_found(""), "GitLab at {url} answered 404"),
    ],
)
def test_a_host_that_is_no_gitlab_ends_the_run_soon(world: World, fault: Callable[[], Any], words: str) -> None:
    with gitlab_server(world) as server:
        server.faults.append(Fault("", fault()))
        assert words.format(url=server.url) in refused(server)
        assert len(server.requests) <= 2


@pytest.mark.parametrize("path", ["^/groups$", "^/projects$"])
@pytest.mark.parametrize("fault", [faults.login_page, faults.not_a_list, faults.forbidden, faults.server_error])
def test_a_listing_that_fails_is_no_empty_listing(world: World, path: str, fault: Callable[[], Any]) -> None:
    with gitlab_server(world) as server:
        server.faults.append(Fault(lambda r: bool(re.search(path, r.path)) and r.token == SAMPLE_TOKENS[0], fault()))
        found = read(server, SAMPLE_TOKENS)
        assert [(one.token, one.holds_all) for one in found.problems] == [(ONE, True)]
        assert refused(server, SAMPLE_TOKENS[:1])


def test_links_that_name_another_host_are_read_on_from_the_configured_one(world: World) -> None:
    with gitlab_server(world) as server:
        usual = paths(read(server))
    with gitlab_server(world, external_url="https://inside.example.com") as server:
        found = read(server)
    assert (paths(found), found.problems) == (usual, ())


@pytest.mark.parametrize(("listed", "name"), [("groups", "full_path"), ("projects", "path_with_namespace")])
def test_a_listed_row_without_id_or_path_costs_no_other_one(world: World, listed: str, name: str) -> None:
    odd = [{"id": 99, name: None}, {"id": None, name: "x", "name": "x"}, None]
    with gitlab_server(world) as server:
        usual = read(server)
        rows = [place.row for place in (usual.groups() if listed == "groups" else usual.projects())]
        body = faults.reply_json(200, [*rows, *odd], ("X-Next-Page", ""))
        server.faults.append(Fault(lambda r: r.path == f"/{listed}" and "id_after" not in dict(r.query), body))
        found = read(server)
    assert paths(found) == paths(usual)
    assert {(problem.holds_all, problem.warning) for problem in found.problems} == {(True, False)}
    assert any(f"2 rows without id or {name}" in problem.why for problem in found.problems)
    assert any(f"1 rows of /{listed} as null" in problem.why for problem in found.problems)


def test_an_instance_below_a_path(world: World) -> None:
    with gitlab_server(world, prefix="/gitlab") as server:
        assert read(server).problems == ()


def rows_of(found: Inventory) -> list[Row]:
    return [place.row for place in (*found.groups(), *found.projects())]


def test_trouble_that_passes_leaves_no_trace(world: World) -> None:
    with gitlab_server(world) as server:
        calm = rows_of(read(server))
        for fault in (
            faults.bad_gateway(),
            faults.throttled(),
            faults.endpoint_throttled(),
            faults.Drop(),
            faults.Truncate(),
        ):
            server.faults[:] = [Fault("^/groups$", fault, times=1), Fault("^/projects$", fault, times=1)]
            assert rows_of(read(server)) == calm
            assert [one.times for one in server.faults] == [0, 0]
