"""Every way to fail, for every kind and both ends of its list: what the run says, what it deletes, what it leaves."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.demo.gitlab_faults import Answer, Drop, Recorded, Slow, Truncate, reply_json
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import Recorded as PortRecorded
from gitlab_port_export.demo.port_faults import drop, html, refuse, slow
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.model import Written, target
from gitlab_port_export.report.values import total, writes
from testbed.company import FULL, MANY, Company, change_groups, company, old_project, steps, titled
from testbed.faults import BRIEF, NEVER, SLOWER, Outcome, Snapshot, Stage, gone, one_evaluator, stage, strange
from testbed.harness import blueprint, mapping_of, port_with, resource
from testbed.kinds import known_subjects, subject_of
from testbed.subject import FailingList

# What becomes of one list when it fails for one scope. "held": Port keeps what is gone in GitLab; "gone": it is
# deleted. `tested` is the kind that the list is read for, `other` a kind that GitLab gives as usual.
#
# fault            | times  | exit | tested | other | the report says
ONE_LIST = """
401                | always | 1    | held   | gone  | GitLab takes the token elsewhere
401                | once   | 0    | gone   | gone  |
403                | always | 1    | held   | gone  | at least the role that may read this
insufficient scope | always | 1    | held   | gone  | give the token the scope read_api
404                | always | 1    | held   | gone  | it was deleted or moved
429 text           | always | 1    | held   | gone  | GitLab's rate limit did not let go
429 text           | once   | 0    | gone   | gone  |
429 JSON           | always | 1    | held   | gone  | GitLab's rate limit did not let go
429 JSON           | once   | 0    | gone   | gone  |
500                | always | 1    | held   | gone  | GitLab was in trouble
502                | once   | 0    | gone   | gone  |
HTML               | always | 1    | held   | gone  | no login page or proxy answers in its place
another shape      | always | 1    | held   | gone  | answered 200 with JSON of another shape
drop               | always | 1    | held   | gone  | did not answer
drop               | once   | 0    | gone   | gone  |
truncate           | always | 1    | held   | gone  | did not answer
truncate           | once   | 0    | gone   | gone  |
slow               | always | 1    | held   | gone  | did not answer
slow               | once   | 0    | gone   | gone  |
token revoked      | always | 1    | held   | held  | make a new one with the scope read_api
"""
# The same for GET /groups and GET /projects, on which everything rests: with a second token that lists the same, and
# with none ("alone"). Exit 3: nothing was compared with Port.
#
# fault            | times  | alone | two tokens | every kind | the report says
INVENTORY = """
401                | always | 3     | 1          | held       | GitLab takes the token elsewhere
401                | once   | 0     | 0          | gone       |
403                | always | 3     | 1          | held       | at least the role that may read this
insufficient scope | always | 3     | 1          | held       | give the token the scope read_api
404                | always | 3     | 1          | held       | it was deleted or moved
429 text           | always | 3     | 1          | held       | GitLab's rate limit did not let go
429 text           | once   | 0     | 0          | gone       |
429 JSON           | always | 3     | 1          | held       | GitLab's rate limit did not let go
429 JSON           | once   | 0     | 0          | gone       |
500                | always | 3     | 1          | held       | GitLab was in trouble
502                | once   | 0     | 0          | gone       |
HTML               | always | 3     | 1          | held       | no login page or proxy answers in its place
another shape      | always | 3     | 1          | held       | answered 200 with JSON of another shape
drop               | always | 3     | 1          | held       | did not answer
drop               | once   | 0     | 0          | gone       |
truncate           | always | 3     | 1          | held       | did not answer
truncate           | once   | 0     | 0          | gone       |
a gateway's list   | always | 3     | 1          | held       | none of the headers that GitLab sends with a list
slow               | always | 3     | 1          | held       | did not answer
slow               | once   | 0     | 0          | gone       |
too large a page   | always | 0     | 0          | gone       |
token revoked      | always | 3     | 1          | held       | make a new one with the scope read_api
"""
# The same for GET /user, the first question of a run; a token may be forbidden to ask it and still read groups.
#
# fault            | times  | exit | every kind | the report says
FIRST_CONTACT = """
401                | always | 3    | held       | make a new one with the scope read_api
401                | once   | 0    | gone       |
403                | always | 0    | gone       |
insufficient scope | always | 0    | gone       |
404                | always | 3    | held       | it was deleted or moved
429 text           | always | 3    | held       | GitLab's rate limit did not let go
429 text           | once   | 0    | gone       |
429 JSON           | always | 3    | held       | GitLab's rate limit did not let go
429 JSON           | once   | 0    | gone       |
500                | always | 3    | held       | GitLab was in trouble
502                | once   | 0    | gone       |
HTML               | always | 3    | held       | no login page or proxy answers in its place
another shape      | always | 3    | held       | answered 200 with JSON of another shape
drop               | always | 3    | held       | did not answer
drop               | once   | 0    | gone       |
truncate           | always | 3    | held       | did not answer
truncate           | once   | 0    | gone       |
token revoked      | always | 3    | held       | make a new one with the scope read_api
"""
ANSWERS: dict[str, Callable[[], Answer]] = {
    "401": faults.unauthorized,
    "403": faults.forbidden,
    "insufficient scope": faults.insufficient_scope,
    "404": faults.not_found,
    "429 text": faults.throttled,
    "429 JSON": faults.endpoint_throttled,
    "500": faults.server_error,
    "502": faults.bad_gateway,
    "HTML": faults.login_page,
    "another shape": faults.not_a_list,
    "drop": Drop,
    "truncate": Truncate,
    "slow": lambda: Slow(NEVER),
    "too large a page": faults.server_error,
    "maintenance": faults.not_a_list,
    "no rows": lambda: reply_json(200, [], ("X-Next-Page", "")),
    "a gateway's list": faults.gateway_list,
}
PAGES = ("first", "later")
DIALECTS = ["gitlab-v2", "gitlab"]
# `make soak` runs every combination. `make test` runs a part that covers them: every kind meets every second fault,
# half of these on each page, and the next kind the others; every call of Port meets every effect once or always.
SOAK = bool(os.environ.get("SOAK"))
OFTEN, SELDOM = (DIALECTS, DIALECTS) if SOAK else (["gitlab-v2"], ["gitlab"])


class Line(NamedTuple):
    """One line of a table."""

    fault: str
    times: str
    cells: tuple[str, ...]
    words: str

    def __str__(self) -> str:
        return f"{self.fault} {self.times}".replace(" ", "-")


def table(text: str) -> list[Line]:
    """The lines of a table."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return [Line(fault, times, tuple(cells), words) for fault, times, *cells, words in rows]


# The lists under test: those of every kind's Subject


EVERY = tuple(one for found in known_subjects().values() for one in found.lists if not one.inventory)
SUBJECTS = tuple(one for one in EVERY if SOAK or not one.alike)
# What is read alike in both dialects is tried in the older one by `make soak`.
OLDER = tuple(one for one in SUBJECTS if SOAK or one.name == "job" or "gitlab-v2" not in one.dialects)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_list_that_fails(kind: str) -> None:
    found = subject_of(kind).lists
    assert found
    assert {one.kind for one in found} == {kind}
    # What is read of the inventory alone fails with the inventory.
    assert all(one.inventory for one in found) == (kind == "group")


def many_places(c: Company) -> None:
    """More than a page of groups and of projects."""
    c.world.add_group("old", c.alpha)
    for n in range(MANY):
        c.world.add_group(f"group-{n:03}", c.beta)
        c.world.add_project(c.beta, f"project-{n:03}")


def change_places(c: Company) -> None:
    c.world.delete_project(c.world.project("beta/project-050"))
    c.world.add_project(c.beta, "new")
    change_groups(c)


GROUPS, PROJECTS, USER = (
    FailingList(
        name, "group", lambda c, path=f"/{name}": path, many_places, change_places, titled(".path"), other="project"
    )  # type: ignore[misc]  # mypy cannot type a lambda's default
    for name in ("groups", "projects", "user")
)


@dataclass(frozen=True)
class Scene:
    """A stage on which GitLab has changed since Port was filled: `before` is in Port, `after` ought to be."""

    subject: FailingList
    company: Company
    stage: Stage
    before: Snapshot
    after: Snapshot
    # From where a clean run was seen to bring Port in step; it would do the same again.
    proved: list[Snapshot] = field(default_factory=list)

    def requests_of(self, page: str) -> Callable[[Recorded], bool]:
        """Pick the requests for the first page of the list, or those for all that follow."""
        subject, rule = self.subject, page_rule(page)
        if subject.later_path is None:
            wanted = subject.path(self.company)
            return lambda request: request.path == wanted and rule(request)
        lone = (subject.path if page == "first" else subject.later_path)(self.company)
        return lambda request: request.path == lone

    def run(self, line: Line, match: Callable[[Recorded], bool]) -> Outcome:
        """Run once while GitLab fails as the line says, and see to it that it does."""
        self.stage.reset()
        asked: list[Recorded] = []

        def fires(request: Recorded) -> bool:
            if not (wanted := match(request)):
                return False
            asked.append(request)
            if line.fault == "token revoked":
                # From now on GitLab itself refuses it.
                self.stage.world.tokens[request.token].revoked = True
                return False
            return wanted and not (line.fault == "too large a page" and dict(request.query)["per_page"] != str(FULL))

        answer = ANSWERS.get(line.fault, faults.revoked)()
        if line.fault == "another shape" and (self.subject.later_path or self.subject is USER):
            answer = reply_json(200, [])
        # Without GraphQL each list of languages is a read of its own.
        self.stage.gitlab.faults.append(Fault("^/api/graphql$", faults.not_found()))
        self.stage.gitlab.faults.append(Fault(fires, answer, times=1 if line.times == "once" else None))
        outcome = self.stage.run(timeout=BRIEF if line.fault == "slow" else 20)
        assert asked
        return outcome

    def check(self, outcome: Outcome, tested: str, other: str) -> None:
        """What must have become of both blueprints; and that one clean run brings Port in step."""
        now = self.stage.port.store.snapshot()
        assert strange(self.before, self.after, now) == []
        for name, wanted in (("tested", tested), ("other", other)):
            expected = gone(self.before, self.after, name) if wanted == "gone" else set()
            assert gone(self.before, now, name) == expected, name
            assert expected or wanted == "held"
        self.check_clean_run()

    def check_clean_run(self) -> None:
        """Without any fault, one run brings Port in step."""
        start = self.stage.port.store.snapshot()
        if start == self.after or start in self.proved:
            return
        self.mend()
        clean = self.stage.run()
        assert clean.code == 0, clean.words
        assert self.stage.port.store.snapshot() == self.after
        self.proved.append(start)

    def check_confirmed(self, outcome: Outcome) -> None:
        """Every change that the run calls written is there, and the report counts no other."""
        now = self.stage.port.store.snapshot()
        seen: set[tuple[str, str]] = set()
        for event in outcome.events:
            if isinstance(event, Written):
                name, identifier = target(event.change)
                assert now[name].get(identifier) == self.after[name].get(identifier)
                assert (name, identifier) not in seen
                seen.add((name, identifier))
        if outcome.report is not None:
            assert writes(total(outcome.report.blueprints.values())) == len(seen)

    def mend(self) -> None:
        """End every fault; what Port holds stays."""
        self.stage.gitlab.faults.clear()
        self.stage.port.faults.clear()
        for token in self.stage.world.tokens.values():
            token.revoked = False


@pytest.fixture(scope="module", autouse=True)
def evaluator() -> Iterator[None]:
    with one_evaluator():
        yield


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene of one (subject, dialect, secrets)."""
    subject, dialect, tokens = request.param
    found = company()
    subject.fill(found)
    text = titled(".path" if subject.other == "project" else ".title")
    mapping = mapping_of(resource(subject.kind, "tested", **subject.fields), resource(subject.other, "other", **text))
    store = port_with(blueprint("other", text="string"), blueprint("tested", {"of": "other"}, text="string"))
    folder = tmp_path_factory.mktemp("scene")
    with stage(found.world, store, folder, mapping=mapping, tokens=tokens, type=dialect) as on:
        first = on.run()
        assert first.code == 0, first.words
        before = on.port.store.snapshot()
        on.remember()
        subject.change(found)
        for rows in (found.world.merge_requests, found.world.issues):
            del rows[found.three["id"]][0]
        found.world.touch()
        yield Scene(subject, found, on, before, on.fresh())


def page_rule(page: str) -> Callable[[Recorded], bool]:
    """Pick the requests for rows of the first page of a list, or those for all that follow."""

    def picks(request: Recorded) -> bool:
        query = dict(request.query)
        follows = bool({"cursor", "id_after", "id_before", "page_token"} & query.keys())
        return (page == "later") is (follows or (request.page - 1) * int(query.get("per_page", FULL)) >= FULL)

    return picks


def scenes(subjects: Iterable[FailingList], dialects: Iterable[str], tokens: Any = "token-of-alice") -> Any:
    """Run a test in these scenes; one that makes all cells of a scene before the next."""
    params = [
        pytest.param((one, dialect, tokens), id=f"{dialect}-{one}")
        for one in subjects
        for dialect in dialects
        if dialect in one.dialects
    ]
    return pytest.mark.parametrize("scene", params, indirect=True, scope="module")


def cells(text: str, start: int = 0) -> Any:
    """Run a test for each line of a table and each page, or for one page a line in turn, from page `start` on."""
    found = [
        pytest.param(page, line, id=f"{page}-{line}")
        for number, line in enumerate(table(text), start)
        for place, page in enumerate(PAGES)
        if SOAK or place == number % len(PAGES)
    ]
    return pytest.mark.parametrize(("page", "line"), found)


def lists_failing(subjects: Iterable[FailingList], dialect: str) -> Any:
    """Run a test for each subject, line of ONE_LIST and page that are to meet."""
    found = [
        pytest.param((one, dialect, "token-of-alice"), page, line, id=f"{dialect}-{one}-{page}-{line}")
        for number, one in enumerate(subjects)
        for nth, line in enumerate(table(ONE_LIST), number)
        for place, page in enumerate(PAGES)
        if dialect in one.dialects and (SOAK or nth % 4 == 2 * place)
    ]
    return pytest.mark.parametrize(("scene", "page", "line"), found, indirect=["scene"], scope="module")


def check_one_list(scene: Scene, page: str, line: Line) -> None:
    code, tested, other = line.cells
    match = scene.requests_of(page)
    outcome = scene.run(line, match)
    assert outcome.code == int(code), outcome.words
    assert line.words in outcome.words
    if outcome.code:
        place = f"in {scene.subject.place(page)}, with token 1, kind {scene.subject.kind}: "
        assert ("with token 1: " if line.fault == "token revoked" else place) in outcome.words
    scene.check(outcome, tested, other)


@lists_failing(SUBJECTS, "gitlab-v2")
def test_one_list_fails(scene: Scene, page: str, line: Line) -> None:
    check_one_list(scene, page, line)


@lists_failing(OLDER, "gitlab")
def test_one_list_fails_in_the_older_dialect(scene: Scene, page: str, line: Line) -> None:
    check_one_list(scene, page, line)


@pytest.mark.parametrize("page", PAGES)
@scenes([one for one in SUBJECTS if one.later_path is None], OFTEN)  # the others are no pages
def test_a_page_that_is_too_large_is_asked_for_in_parts(scene: Scene, page: str) -> None:
    scene.check(scene.run(Line("too large a page", "always", (), ""), scene.requests_of(page)), "gone", "gone")


@scenes([one for one in SUBJECTS if one.name == "project"], DIALECTS)
def test_languages_are_names_and_numbers(scene: Scene) -> None:
    outcome = scene.run(Line("maintenance", "always", (), ""), scene.requests_of("first"))
    assert outcome.code == 1
    scene.check(outcome, "held", "gone")


@scenes([one for one in SUBJECTS if one.counted], DIALECTS)  # whose rows GitLab counts
def test_a_page_that_lost_its_rows_is_missed(scene: Scene) -> None:
    outcome = scene.run(Line("no rows", "always", (), ""), scene.requests_of("later"))
    assert outcome.code == 1
    assert "GitLab counts " in outcome.words
    assert f"in {scene.subject.place('later')}, with token 1, kind {scene.subject.kind}: " in outcome.words
    scene.check(outcome, "held", "gone")


@pytest.mark.parametrize("page", PAGES)
@scenes([one for one in SUBJECTS if one.later_path is None], OFTEN)  # the others are no lists
def test_an_empty_list_that_is_not_gitlabs_is_no_list(scene: Scene, page: str) -> None:
    outcome = scene.run(Line("a gateway's list", "always", (), ""), scene.requests_of(page))
    assert outcome.code == 1
    assert "none of the headers that GitLab sends with a list" in outcome.words
    scene.check(outcome, "held", "gone")


@cells(INVENTORY)
@scenes([GROUPS, PROJECTS], OFTEN)
def test_the_inventory_of_the_only_token_fails(scene: Scene, page: str, line: Line) -> None:
    code, _, all_kinds = line.cells
    outcome = scene.run(line, scene.requests_of(page))
    assert outcome.code == int(code), outcome.words
    assert line.words in outcome.words
    assert not outcome.code or "token 1: " in outcome.words
    assert not outcome.code or outcome.written() == 0
    scene.check(outcome, all_kinds, all_kinds)


@cells(INVENTORY, start=1)
@scenes([GROUPS, PROJECTS], SELDOM, tokens=("token-of-alice", "token-of-bob"))
def test_the_inventory_of_one_of_two_tokens_fails(scene: Scene, page: str, line: Line) -> None:
    _, code, all_kinds = line.cells
    match = scene.requests_of(page)
    outcome = scene.run(line, lambda request: request.token == "token-of-alice" and match(request))
    assert outcome.code == int(code), outcome.words
    assert line.words in outcome.words
    assert not outcome.code or "with token 1, kind groups and projects: " in outcome.words
    scene.check(outcome, all_kinds, all_kinds)


@pytest.mark.parametrize("line", table(FIRST_CONTACT), ids=str)
@scenes([USER], OFTEN)
def test_first_contact_fails(scene: Scene, line: Line) -> None:
    code, all_kinds = line.cells
    outcome = scene.run(line, scene.requests_of("first"))
    assert outcome.code == int(code), outcome.words
    assert line.words in outcome.words
    scene.check(outcome, all_kinds, all_kinds)


# The side of Port


def change_everything(c: Company) -> None:
    """More than a batch of new rows, a changed one, and rows of both blueprints that are gone."""
    for n in range(30):
        c.world.add_merge_request(c.two, f"New {n}")
    c.world.merge_requests[c.one["id"]][5] |= {"title": "something else"}
    del c.world.merge_requests[c.one["id"]][10:12]
    c.world.delete_project(c.world.project("alpha/old"))
    c.world.add_project(c.beta, "new")


RELATED = FailingList(
    "related", "merge-request", lambda c: "",
    steps(old_project, lambda c: [c.world.add_merge_request(c.one, f"Change {n}") for n in range(20)]),
    change_everything, titled(".title") | {"relations": {"of": '.references.full | split("!")[0]'}}, other="project",
)  # fmt: skip
# Exit codes. Every change that the report counts is in Port; a sign-in, the integration's mapping and the blueprints
# are needed before anything (4), the resync state is only shown (0), the rest is a Problem (1). What halves or asks
# again gets through what comes once.
#
# endpoint          401 403 404 413 422 429 500 502 HTML drop lost late slow
PORT_ONCE = """
sign-in             4   4   4   4   4   0   0   0   4    0    0    0    0
integration         0   0   0   4   4   0   0   0   4    0    0    0    0
blueprints          0   4   4   4   4   0   0   0   4    0    0    0    0
state               0   0   0   0   0   0   0   0   0    0    0    0    0
search              0   1   1   1   1   0   0   0   1    0    0    0    0
upsert              0   1   1   0   0   0   0   0   1    0    0    0    0
owned               0   1   1   1   1   0   0   0   1    0    0    0    0
delete              0   1   0   0   0   0   0   0   1    0    0    0    0
"""
PORT_ALWAYS = """
sign-in             4   4   4   4   4   4   4   4   4    4    4    4    0
integration         0   0   0   4   4   4   4   4   4    4    4    4    4
blueprints          4   4   4   4   4   4   4   4   4    4    4    4    4
state               0   0   0   0   0   -   0   -   0    0    -    -    0
search              1   1   1   1   1   1   1   1   1    1    1    1    1
upsert              1   1   1   1   1   1   1   1   1    1    1    1    1
owned               1   1   1   1   1   1   1   1   1    1    1    1    1
delete              1   1   1   1   1   1   1   1   1    1    1    1    1
"""
ENDPOINTS = {
    "sign-in": "POST /v1/auth/access_token$",
    "integration": "GET /v1/integration/",
    "blueprints": "GET /v1/blueprints$",
    "state": "PATCH .*/resync-state$",
    "search": "POST /v1/blueprints/tested/entities/search$",
    "upsert": "POST /v1/blueprints/tested/entities/bulk$",
    "owned": "POST .*/datasource-entities$",
    "delete": "POST /v1/blueprints/tested/bulk/entities/delete$",
}
# "lost" and "late" are carried out before the connection ends or the 504 comes.
EFFECTS = {
    "401": refuse(401), "403": refuse(403), "404": refuse(404), "413": refuse(413), "422": refuse(422),
    "429": refuse(429, headers=(("Retry-After", "2"),)), "500": refuse(500), "502": html(502), "HTML": html(200),
    "drop": drop(), "lost": drop(applied=True), "late": refuse(504, applied=True), "slow": slow(SLOWER),
}  # fmt: skip


def port_cells() -> Iterator[Any]:
    """(endpoint, effect, how often, exit code) of both tables; "-" is left out: it waits by the clock."""
    for text, times in ((PORT_ONCE, 1), (PORT_ALWAYS, None)):
        for line in text.strip().splitlines():
            endpoint, *codes = line.split()
            for effect, code in zip(EFFECTS, codes, strict=True):
                if code != "-":
                    name = f"{endpoint}-{effect}-{'once' if times else 'always'}"
                    yield pytest.param(endpoint, effect, times, int(code), id=name)


PORT_CELLS = list(port_cells())


def covering() -> list[Any]:
    """Half of the cells: once or always, in turn, so that neither a call nor an effect is missed."""
    endpoints, effects = list(ENDPOINTS), list(EFFECTS)

    def chosen(endpoint: str, effect: str, times: int | None, _: int) -> bool:
        return (endpoints.index(endpoint) + effects.index(effect)) % 2 == (times is None)

    return [cell for cell in PORT_CELLS if SOAK or chosen(*cell.values)]


@pytest.mark.parametrize(("endpoint", "effect", "times", "code"), covering())
@scenes([RELATED], ["gitlab-v2"])
def test_port_fails(scene: Scene, endpoint: str, effect: str, times: int | None, code: int) -> None:
    on = scene.stage
    on.reset()
    asked: list[str] = []

    def picks(request: PortRecorded) -> bool:
        wanted = re.search(ENDPOINTS[endpoint], f"{request.method} {request.path}") is not None
        asked.extend([request.path] * wanted)
        return wanted

    on.port.faults.append(PortFault(picks, EFFECTS[effect], times=times))
    outcome = on.run(timeout=BRIEF if effect == "slow" else 20)
    # What is slow is carried out all the same, after the client has turned away.
    on.wait_until(lambda: len(on.port.calls(ENDPOINTS[endpoint])) >= len(asked) > 0)
    assert outcome.code == code, outcome.words
    scene.check_confirmed(outcome)
    if code == 0:
        assert on.port.store.snapshot() == scene.after
    scene.check_clean_run()


@pytest.mark.parametrize("effect", ["429", "500", "late"])
@scenes([RELATED], ["gitlab-v2"])
def test_port_in_trouble_is_not_a_refusal(scene: Scene, effect: str) -> None:
    scene.stage.reset()
    scene.stage.port.faults.append(PortFault(ENDPOINTS["sign-in"], EFFECTS[effect]))
    outcome = scene.stage.run()
    assert outcome.code == 4
    assert "refused the credentials" not in outcome.words


def test_so_many_combinations() -> None:
    """Run with -s to see the number."""
    lists = sum(len(PAGES) * len(table(ONE_LIST)) * len(one.dialects) for one in EVERY)
    parts = sum(len(PAGES) * len(one.dialects) for one in EVERY if one.later_path is None)
    inventory = 2 * 2 * len(PAGES) * len(DIALECTS) * len(table(INVENTORY))
    counted = sum(len(one.dialects) for one in EVERY if one.counted)
    everything = lists + 2 * parts + counted + inventory + len(DIALECTS) * len(table(FIRST_CONTACT)) + len(PORT_CELLS)
    print(f"\n{everything} combinations with `make soak`")
    assert everything > 2000
