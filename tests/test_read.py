"""Reading a plan from a running GitLab: complete, or a Problem that says what is missing."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.http import Http
from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, RateLimit, Recorded, gitlab_server
from gitlab_port_export.demo.world import (
    DEVELOPER,
    LARGE_TOKEN,
    MAINTAINER,
    SAMPLE_TOKENS,
    World,
    large_world,
    sample_world,
)
from gitlab_port_export.gitlab.client import Get, GitLab, ReadFailed, Token, secret_reader
from gitlab_port_export.gitlab.kinds.kind import Read
from gitlab_port_export.gitlab.kinds.shared.guard import guarded
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.gitlab.plan import make_plan
from gitlab_port_export.gitlab.read import read
from gitlab_port_export.model import Page, Problem, Row, Scope
from testbed.reading import NOW, Leap, client, context, failed, ids, inventory_of, page, play, script

pytestmark = pytest.mark.timeout(60)
ONE, TWO = "token 1", "token 2"
EVERYTHING: Any = {ONE: ("**",), TWO: ("**",)}
KINDS_READ = ("issue", "merge-request", "pipeline", "job", "member", "group-with-members", "project-with-members")


@dataclass
class Got:
    """What reading a plan gave."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def ids(self, kind: str) -> list[int]:
        return sorted(row["id"] for row in self.rows.get(kind, ()))

    @property
    def scopes(self) -> list[tuple[str, str]]:
        return sorted((problem.kind, problem.scope) for problem in self.problems)


def sync(
    server: GitLabServer,
    *kinds: str | dict[str, Any],
    secrets: Any = SAMPLE_TOKENS[:1],
    patterns: Any = None,
    between: Callable[[], None] = lambda: None,
    **options: Any,
) -> Got:
    """Read the inventory, then these kinds; `between` happens in the middle."""
    resources = [{"kind": kind} if isinstance(kind, str) else kind for kind in kinds]
    with client(server, secrets, **options) as gitlab:
        tokens = {f"token {number}": ("**",) for number in range(1, len(secrets) + 1)}
        found = inventory_of(gitlab, patterns or tokens, *resources)
        between()
        return collect(gitlab, found, resources)


def collect(gitlab: GitLab, found: Any, resources: list[dict[str, Any]]) -> Got:
    got = Got(problems=[*found.problems])
    for event in read(make_plan(context(found, *resources)), gitlab, 4):
        match event:
            case Page():
                got.rows.setdefault(event.kind, []).extend(event.rows)
            case Problem():
                got.problems.append(event)
    return got


@pytest.fixture
def world() -> World:
    return sample_world(NOW)


@pytest.fixture
def server(world: World) -> Iterator[GitLabServer]:
    with gitlab_server(world) as running:
        yield running


# Everything comes, once


def test_what_the_tokens_may_see_comes_once(server: GitLabServer, world: World) -> None:
    got = sync(server, *KINDS_READ, secrets=SAMPLE_TOKENS)
    assert got.problems == []
    visible = {number for number, row in world.projects.items() if not row["marked_for_deletion_on"]}
    live = {number for number in visible if not world.projects[number]["archived"]}

    def of(store: Any, projects: set[int]) -> list[int]:
        return sorted(row["id"] for number in projects for row in store[number])

    assert got.ids("pipeline") == of(world.pipelines, visible)
    # Jobs that were retried stay out.
    assert got.ids("job") == [n for n in of(world.jobs, visible) if n not in world.retried_jobs]
    assert got.ids("issue") == of(world.issues, live)
    opened = sorted(row["id"] for n in live for row in world.merge_requests[n] if row["state"] == "opened")
    assert got.ids("merge-request") == opened
    assert {row["id"] for row in got.rows["project-with-members"]} == visible
    assert {row["id"] for row in got.rows["group-with-members"]} == set(world.groups)


def test_many_pages_of_everything() -> None:
    big = large_world(NOW, 6, projects_per_group=3, merge_requests=120, issues=130, pipelines=110, members=3)
    with gitlab_server(big) as server:
        states = {"kind": "merge-request", "states": ["opened", "closed", "merged"]}
        got = sync(server, "issue", states, "pipeline", "job", secrets=[LARGE_TOKEN])
        assert got.problems == []
        for kind, store in (("issue", big.issues), ("merge-request", big.merge_requests), ("pipeline", big.pipelines)):
            assert got.ids(kind) == sorted(row["id"] for some in store.values() for row in some)
        assert got.ids("job") == sorted(row["id"] for some in big.jobs.values() for row in some)
        asked = [(request.path, request.query) for request in server.requests]
        assert len(asked) == len(set(asked)), "nothing is asked twice"
        # Two top-level groups of three projects each; pipelines and jobs are read per project.
        assert server.count("/issues") == 2 * 4
        assert server.count("/merge_requests") == 2 * 3 * 2
        assert server.count("/pipelines") == 6 * 2
        assert server.count("/jobs") == 6 * 2


def test_overlapping_tokens_read_no_scope_twice(server: GitLabServer) -> None:
    sync(server, "issue", "pipeline", "member", secrets=SAMPLE_TOKENS)
    paths = [r.path for r in server.requests if r.path not in ("/groups", "/projects", "/user")]
    assert len(paths) == len(set(paths))


# One scope refuses


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.forbidden, "403"),
        (faults.insufficient_scope, "403"),
        (faults.login_page, "text/html"),
        (faults.not_a_list, "another shape"),
        (lambda: faults.reply_json(200, [1, 2]), "something else"),
        (faults.server_error, "500"),
        (faults.bad_gateway, "502"),
        (faults.endpoint_throttled, "429"),
        (faults.not_found, "404"),
        (lambda: faults.reply_json(400, {"error": "state does not have a valid value"}), "valid value"),
        (lambda: faults.reply_json(405, {"error": "Offset pagination has a maximum"}), "Offset"),
        (faults.Drop, "did not answer"),
        (faults.Truncate, "did not answer"),
        (faults.unauthorized, "401"),
        (lambda: faults.redirect("http://login.example.com/x"), "redirects to http://login.example.com"),
    ],
)
def test_a_project_that_cannot_be_read_is_one_problem(
    server: GitLabServer, world: World, fault: Callable[[], Any], words: str
) -> None:
    gateway = world.project("platform/gateway")
    server.faults.append(Fault(f"^/projects/{gateway['id']}/pipelines$", fault()))
    got = sync(server, {"kind": "issue"}, {"kind": "pipeline"}, {"kind": "pipeline"})
    assert got.scopes == [("pipeline", "platform/gateway")]
    (problem,) = got.problems
    assert (problem.stage, problem.token, problem.resources, problem.warning) == ("read", ONE, (1, 2), False)
    assert words in problem.why
    assert problem.hint
    assert not problem.holds_all
    lost = {row["id"] for row in world.pipelines[gateway["id"]]}
    assert lost
    assert not lost & set(got.ids("pipeline"))
    assert len(got.ids("pipeline")) == 9, "those of all other projects"


@pytest.mark.parametrize("fault", [faults.forbidden, faults.not_found, faults.login_page])
def test_a_group_that_cannot_be_read_is_a_problem(server: GitLabServer, world: World, fault: Callable[[], Any]) -> None:
    server.faults.append(Fault(f"^/groups/{world.group('payments')['id']}/issues$", fault()))
    got = sync(server, "issue")
    assert got.scopes == [("issue", "payments")]
    assert got.ids("issue")


def test_a_failure_on_a_later_page_is_a_problem() -> None:
    big = large_world(NOW, 1, issues=950, merge_requests=0, pipelines=0)
    with gitlab_server(big) as server:
        for number in (2, 5, 10):
            server.faults[:] = [Fault("/issues$", faults.forbidden(), page=number)]
            assert sync(server, "issue", secrets=[LARGE_TOKEN]).scopes == [("issue", "group-00000")]


def test_a_page_that_comes_twice_is_a_problem() -> None:
    big = large_world(NOW, 1, issues=350, merge_requests=0, pipelines=0)
    rows = [{"id": number} for number in range(100)]
    with gitlab_server(big) as server:
        for number in (1, 2):
            again = faults.reply_json(200, rows, ("X-Next-Page", str(number + 1)))
            server.faults.append(Fault("/issues$", again, page=number))
        (problem,) = sync(server, "issue", secrets=[LARGE_TOKEN]).problems
    assert "twice" in problem.why


# Trouble that passes


@pytest.mark.parametrize(
    "fault",
    [
        faults.server_error, faults.bad_gateway, faults.throttled, faults.endpoint_throttled, faults.Drop,
        faults.Truncate, faults.unauthorized, lambda: faults.throttled(None), lambda: faults.endpoint_throttled(600),
        lambda: faults.reply_json(409, {"message": "409 Conflict: Resource lock"}),
    ],
)  # fmt: skip
def test_trouble_that_passes_loses_nothing(fault: Callable[[], Any]) -> None:
    big = large_world(NOW, 2, issues=150, merge_requests=0, pipelines=3)
    with gitlab_server(big) as server:
        for path in ("/issues$", "/pipelines$", "/jobs$", "/members$"):
            server.faults.append(Fault(path, fault(), times=1))
        got = sync(server, "issue", "pipeline", "job", "member", secrets=[LARGE_TOKEN])
    assert got.problems == []
    assert [one.times for one in server.faults] == [0] * 4
    assert [len(got.rows[kind]) for kind in ("issue", "pipeline", "job", "member")] == [300, 6, 6, 5]


def test_a_page_too_heavy_for_gitlab_is_read_in_smaller_ones() -> None:
    big = large_world(NOW, 1, issues=250, merge_requests=0, pipelines=0)
    heavy = lambda request: request.path.endswith("/issues") and ("per_page", "100") in request.query  # noqa: E731  # short
    with gitlab_server(big) as server:
        server.faults.append(Fault(heavy, faults.server_error()))
        got = sync(server, "issue", secrets=[LARGE_TOKEN])
    assert got.problems == []
    assert len(got.ids("issue")) == len(set(got.ids("issue"))) == 250


def test_a_rate_limit_is_kept_by_waiting_for_its_reset() -> None:
    # Ten requests a window, and a client that stops four short of the end; time here leaps, the server's does not.
    big = large_world(NOW, 12, projects_per_group=12, issues=0, merge_requests=0, pipelines=1)
    clock = Leap(now=0.0)
    with gitlab_server(big, rate_limit=RateLimit(10_000, 3600)) as server:
        headers = (("RateLimit-Remaining", "3"), ("RateLimit-Reset", "20"))
        server.faults.append(Fault("/user$", faults.reply_json(200, {}, *headers), times=1))
        assert sync(server, "pipeline", secrets=[LARGE_TOKEN], clock=clock).problems == []
    assert clock.slept == [20.0]


# Tokens


def test_a_token_that_dies_while_reading_holds_everything_and_the_other_reads_on(
    server: GitLabServer, world: World
) -> None:
    def die() -> None:
        world.tokens[SAMPLE_TOKENS[0]].revoked = True

    alone = sync(server, "issue", secrets=SAMPLE_TOKENS[1:]).ids("issue")
    server.requests.clear()
    got = sync(server, "issue", secrets=SAMPLE_TOKENS, between=die)
    (dead,) = [problem for problem in got.problems if problem.holds_all]
    assert (dead.token, dead.stage) == (ONE, "read")
    assert "revoked" in dead.why
    assert set(alone) & set(got.ids("issue"))
    refused = [request for request in server.requests if request.status == 401]
    # At most one question a worker was under way, each followed by GET /user.
    assert 2 <= len(refused) <= 2 * 4
    assert {request.path for request in refused} >= {"/user"}


def test_a_token_that_died_before_reading_is_not_announced_again(server: GitLabServer, world: World) -> None:
    world.tokens[SAMPLE_TOKENS[0]].revoked = True
    got = sync(server, "pipeline", secrets=SAMPLE_TOKENS)
    assert [(problem.stage, problem.token) for problem in got.problems] == [("inventory", ONE)]


def test_the_next_token_starts_again_from_the_first_page() -> None:
    big = large_world(NOW, 1, issues=450, merge_requests=0, pipelines=0)
    second = big.add_user("second")
    big.add_token("other", second)
    big.add_member(big.group("group-00000"), second, MAINTAINER)
    with gitlab_server(big) as server:
        server.faults.append(Fault(lambda r: r.path.endswith("/issues") and r.token == LARGE_TOKEN and r.page == 4,
                                   faults.forbidden()))  # fmt: skip
        got = sync(server, "issue", secrets=[LARGE_TOKEN, "other"])
        pages = sorted(r.page for r in server.requests if r.token == "other" and r.path.endswith("/issues"))
    assert got.problems == []
    assert pages == [1, 2, 3, 4, 5]
    assert set(got.ids("issue")) == {row["id"] for row in big.issues[1]}


def test_all_tokens_refused_is_one_problem(server: GitLabServer, world: World) -> None:
    cards = world.project("payments/cards/issuing")
    server.faults.append(Fault(f"/projects/{cards['id']}/pipelines$", faults.forbidden()))
    got = sync(server, "pipeline", secrets=SAMPLE_TOKENS)
    assert got.scopes == [("pipeline", "payments/cards/issuing")]
    assert {r.token for r in server.requests if r.path == f"/projects/{cards['id']}/pipelines"} == set(SAMPLE_TOKENS)


def test_too_little_scope_for_a_kind_is_a_problem_of_that_kind_alone(server: GitLabServer, world: World) -> None:
    world.tokens[SAMPLE_TOKENS[0]].denied.add("issues")
    got = sync(server, "issue", "pipeline")
    assert {problem.kind for problem in got.problems} == {"issue"}
    assert not any(problem.holds_all for problem in got.problems)
    assert "read_api" in got.problems[0].hint
    assert got.ids("pipeline")


def test_a_token_renewed_while_reading_is_used_at_once(world: World, tmp_path: Any) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SAMPLE_TOKENS[0]}\n")
    world.add_token("renewed", world.tokens[SAMPLE_TOKENS[0]].user)
    with gitlab_server(world) as server:
        http = Http(server.url, user_agent="t", clock=Leap())
        gitlab = GitLab(http, {ONE: Token(ONE, secret_reader("never used", file))})
        assert gitlab.get(Get(ONE, "/groups")).status == 200

        def renew(request: Recorded) -> bool:
            # The old one dies with this very request.
            world.tokens[SAMPLE_TOKENS[0]].revoked = True
            file.write_text("renewed")
            return False

        server.faults.append(Fault(renew, faults.Drop()))
        assert gitlab.get(Get(ONE, "/groups")).status == 200
        assert gitlab.dead_tokens == {}
        http.close()


def test_a_token_file_that_is_gone_or_broken_leaves_the_first_secret(tmp_path: Any) -> None:
    file = tmp_path / "token"
    reader = secret_reader("first", file)
    assert reader() == "first"
    file.write_bytes(b"\xff\xfe")
    assert reader() == "first"
    file.write_text(" \n")
    assert reader() == "first"
    file.write_text("second\n")
    assert reader() == "second"


def test_no_secret_shows_in_any_problem(server: GitLabServer) -> None:
    for path, fault in (
        ("/issues$", faults.forbidden()),
        ("/pipelines$", faults.Drop()),
        ("/members$", faults.revoked()),
    ):
        server.faults.append(Fault(path, fault))
    got = sync(server, "issue", "pipeline", "member", secrets=SAMPLE_TOKENS)
    assert len(got.problems) > 3
    assert not any(secret in repr(got.problems) for secret in SAMPLE_TOKENS)


# Gone, or only hidden


def test_a_project_deleted_while_reading_is_no_problem(server: GitLabServer, world: World) -> None:
    fraud = world.project("payments/cards/fraud-rules")
    got = sync(server, "pipeline", "job", "project-with-members", between=lambda: world.delete_project(fraud))
    assert got.problems == []
    assert fraud["id"] not in [row["id"] for row in got.rows["project-with-members"]]
    assert got.ids("pipeline")


def test_a_child_list_that_is_missing_while_the_project_is_there_is_a_problem(
    server: GitLabServer, world: World
) -> None:
    number = world.project("platform/gateway")["id"]
    server.faults.append(Fault(f"^/projects/{number}/pipelines$", faults.not_found()))
    assert sync(server, "pipeline").scopes == [("pipeline", "platform/gateway")]


def test_a_project_that_its_group_still_lists_is_a_problem(server: GitLabServer, world: World) -> None:
    number = world.project("platform/gateway")["id"]
    server.faults.append(Fault(f"^/projects/{number}(/pipelines)?$", faults.not_found()))
    assert sync(server, "pipeline").scopes == [("pipeline", "platform/gateway")]


def test_a_project_that_only_moved_away_is_a_problem(server: GitLabServer, world: World) -> None:
    number = world.project("platform/gateway")["id"]
    server.faults.append(Fault(f"^/projects/{number}/pipelines$", faults.not_found()))
    server.faults.append(Fault("^/groups/platform/projects$", faults.reply_json(200, [])))
    assert sync(server, "pipeline").scopes == [("pipeline", "platform/gateway")]


@pytest.mark.parametrize("fault", [faults.forbidden, faults.not_found, faults.login_page, faults.server_error])
def test_a_group_that_does_not_say_proves_nothing(server: GitLabServer, world: World, fault: Callable[[], Any]) -> None:
    fraud = world.project("payments/cards/fraud-rules")
    server.faults.append(Fault("^/groups/payments/cards/projects$", fault()))
    got = sync(server, "pipeline", between=lambda: world.delete_project(fraud))
    assert got.scopes == [("pipeline", "payments/cards/fraud-rules")]


@pytest.mark.parametrize("fault", [faults.forbidden, faults.server_error])
def test_a_project_that_does_not_say_proves_nothing(
    server: GitLabServer, world: World, fault: Callable[[], Any]
) -> None:
    fraud = world.project("payments/cards/fraud-rules")
    server.faults.append(Fault(f"^/projects/{fraud['id']}$", fault()))
    got = sync(server, "pipeline", between=lambda: world.delete_project(fraud))
    assert got.scopes == [("pipeline", "payments/cards/fraud-rules")]


def test_a_deleted_group_is_a_problem(server: GitLabServer, world: World) -> None:
    got = sync(server, "issue", "member", between=lambda: world.delete_group(world.group("payments/cards")))
    assert got.scopes == [("member", "payments/cards")]
    got = sync(server, "issue", between=lambda: world.delete_group(world.group("payments")))
    assert got.scopes == [("issue", "payments")]


def test_a_project_that_only_one_token_lost_is_not_gone() -> None:
    world = World(NOW)
    users = [world.add_user(name) for name in ("first", "second")]
    for user in users:
        world.add_token(user["username"], user)
    home = world.add_group("grp")
    app = world.add_project(home, "app")
    world.add_pipeline(app)
    world.add_member(home, users[0], DEVELOPER)
    world.add_member(app, users[1], MAINTAINER)

    def lose() -> None:
        # The second user is gone from the project; GitLab hides it and lists nothing of the group.
        world.remove_member(app, users[1])

    with gitlab_server(world) as server:
        got = sync(server, "pipeline", secrets=["second", "first"], between=lose)
        assert (got.problems, len(got.ids("pipeline"))) == ([], 1)
        server.faults.append(Fault(lambda r: "/pipelines" in r.path and r.token == "first", faults.forbidden()))
        world.add_member(app, users[1], MAINTAINER)
        got = sync(server, "pipeline", secrets=["second", "first"], between=lose)
        assert got.scopes == [("pipeline", "grp/app")]


def gone_for(*tokens: str) -> Callable[[Get], Any]:
    """A GitLab where the project 7 is gone for these tokens, and unreadable for all."""

    def answer(get: Get) -> Any:
        listed = [] if get.token in tokens else [{"id": 7}]
        return page(listed) if get.path.startswith("/groups/") else failed(404)

    return answer


@pytest.mark.parametrize(("tokens", "problems"), [((ONE, TWO), 0), ((ONE,), 1), ((TWO,), 1), ((), 1)])
def test_all_tokens_have_to_agree_that_a_project_is_gone(tokens: tuple[str, ...], problems: int) -> None:
    scope = Scope(7, "grp/sub group/app", token=ONE)
    start = lambda at: read_list(at.token, "/projects/7/x", (), lambda rows: rows)  # noqa: E731  # short
    played = play(guarded(Read("x", scope, (ONE, TWO), (0,), start)), gone_for(*tokens))
    assert len(played.said) == problems
    assert any(get.path == "/groups/grp%2Fsub%20group/projects" for get in played.asked)


def test_a_weaker_token_says_whether_a_project_is_gone_and_reads_nothing() -> None:
    start = lambda at: read_list(at.token, "/projects/7/x", (), lambda rows: rows)  # noqa: E731  # short
    read = Read("x", Scope(7, "grp/app", token=ONE), (ONE,), (0,), start, weaker=(TWO,))
    for tokens, problems in (((ONE, TWO), 0), ((ONE,), 1)):
        played = play(guarded(read), gone_for(*tokens))
        assert len(played.said) == problems
        assert [get.token for get in played.asked if get.path == "/projects/7/x"] == [ONE]


def test_rows_that_need_no_reading_need_no_token() -> None:
    def start(_: Scope) -> Any:
        yield Page("x", (0,), Scope(0, ""), ids(1))

    assert len(play(guarded(Read("x", Scope(0, ""), ("",), (0,), start)), script({})).said) == 1


# Endings


def test_a_stop_ends_reading(server: GitLabServer) -> None:
    clock = Leap()
    with pytest.raises(Stopped):
        sync(server, "issue", between=clock.stop, clock=clock)


def test_a_consumer_that_leaves_early_leaves_nothing_running(server: GitLabServer) -> None:
    with client(server, SAMPLE_TOKENS[:1]) as gitlab:
        found = inventory_of(gitlab, {ONE: ("**",)})
        pages = read(make_plan(context(found, {"kind": "pipeline"})), gitlab, 2)
        assert any(isinstance(event, Page) for event in pages)
        pages.close()  # type: ignore[attr-defined]  # a generator, typed as what callers need


def test_a_failure_is_told_in_gitlabs_own_words(server: GitLabServer) -> None:
    with client(server, SAMPLE_TOKENS[:1]) as gitlab:
        for payload, words in (
            ({"message": "404 Project Not Found"}, "404 Project Not Found"),
            ({"error": "x is invalid"}, "404: x is invalid"),
            ({"error": "e", "error_description": "because"}, "404: because"),
            ({"message": {"base": ["no"]}}, '404: {"base":["no"]}'),
            ([1], "404"),
        ):
            server.faults[:] = [Fault("^/version$", faults.reply_json(404, payload))]
            with pytest.raises(ReadFailed) as caught:
                gitlab.get(Get(ONE, "/version", gives="object"))
            assert (caught.value.why, caught.value.reason) == (words, "missing")


# Any mixture of passing trouble


PASSING = [faults.server_error(), faults.bad_gateway(), faults.throttled(0), faults.endpoint_throttled(), faults.Drop(),
           faults.Truncate()]  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["/issues", "/pipelines", "/jobs", "/groups$", "/projects$"]), st.sampled_from(PASSING)
        ),
        max_size=5,
    )
)
def test_passing_trouble_changes_nothing(trouble: list[tuple[str, Any]]) -> None:
    with gitlab_server(PLAIN) as server:
        server.faults[:] = [Fault(re.compile(path).pattern, fault, times=1) for path, fault in trouble]
        got = sync(server, "issue", "pipeline", "job", secrets=[LARGE_TOKEN], attempts=6)
    assert got.problems == []
    assert [len(set(got.ids(kind))) for kind in ("issue", "pipeline", "job")] == [220, 4, 4]
    assert [len(got.ids(kind)) for kind in ("issue", "pipeline", "job")] == [220, 4, 4]


PLAIN = large_world(NOW, 2, projects_per_group=2, issues=110, merge_requests=0, pipelines=2)
