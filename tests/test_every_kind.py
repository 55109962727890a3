"""What holds for every kind: parity with the oracle, its role and requests as declared, and odd or hostile rows."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_access import DEVELOPER, GUEST
from gitlab_port_export.demo.gitlab_faults import Reply, reply_json
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.world import World
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.report.values import Report
from test_untrusted_text import ALL, obeyed
from testbed import parity
from testbed.company import Company
from testbed.harness import blueprint, mapping_of, port_with, resource, run_sync
from testbed.here import run_here
from testbed.kinds import furnished, known_subjects, subject_of
from testbed.oracle import rows_of
from testbed.oracle_eyes import eyes_of
from testbed.parity import check

pytestmark = [pytest.mark.usefixtures("lent_evaluator"), pytest.mark.parametrize("kind", KINDS)]

Servers = tuple[Company, GitLabServer, PortServer]
ALL_LEVELS: dict[str, Any] = {"visibility": {"useMinAccessLevel": False}}
ALICE, BOTH = ["token-of-alice"], ["token-of-alice", "token-of-bob"]
# GitLab's roles from the lowest.
ROLES = (10, 15, 20, 30, 40, 50)


def mapped(kind: str, **fields: Any) -> Any:
    """A mapping of that kind alone, as its Subject maps it."""
    return mapping_of(resource(kind, **{**subject_of(kind).fields, **fields}), **ALL_LEVELS)


# Parity


@pytest.fixture(scope="module")
def busy() -> World:
    """A world full of special cases, in which every project has some rows of every kind."""
    world = parity.company()
    ada = next(row for row in world.users.values() if row["username"] == "ada")
    for project in [*world.projects.values()]:
        for subject in known_subjects().values():
            subject.furnish(world, project, ada)
    return world


def test_port_holds_what_the_oracle_says(kind: str, busy: World) -> None:
    one = resource(kind, **{**subject_of(kind).fields, "properties": dict(subject_of(kind).compared)})
    # Only of groups and projects where the tokens have the role that the kind needs.
    least = max(DEVELOPER, KINDS[kind].about.role)
    mapping = mapping_of(one, visibility={"minAccessLevel": least})
    report = check(busy, mapping, again=False)
    # Each row comes once, although several lists may name it.
    assert report.kinds[kind].rows == len(rows_of(one, eyes_of(busy, mapping, None, "gitlab-v2")))


ACTIVE = {
    "include_only_active_groups": "includeOnlyActiveGroups",
    "include_only_active_projects": "includeOnlyActiveProjects",
}


def test_a_selector_can_leave_out_what_is_not_active(kind: str, busy: World) -> None:
    wanted = {ACTIVE[name]: True for name in KINDS[kind].selector.model_fields if name in ACTIVE}
    fields = dict(subject_of(kind).fields)
    fields["selector"] = {"query": "true", **fields.get("selector", {}), **wanted}
    one = resource(kind, **fields, properties=dict(subject_of(kind).compared))
    least = max(DEVELOPER, KINDS[kind].about.role)
    if wanted:
        check(busy, mapping_of(one, visibility={"minAccessLevel": least}), again=False)


# Roles


def held_by(world: World, kind: str) -> tuple[set[str], Report]:
    ran = run_sync(world, port_with(blueprint("thing")), mapped(kind), tokens=ALICE)
    return ran.store.identifiers("thing"), ran.report


def lowered(kind: str, role: int) -> Company:
    """A furnished company that the token's user sees with this role."""
    found = furnished(kind)
    subject_of(kind).hidden(found)
    for group in (found.alpha, found.beta):
        found.world.remove_member(group, found.reader)
        found.world.add_member(group, found.reader, role)
    return found


def test_a_kind_is_read_whole_with_its_role_and_as_it_says_below(kind: str) -> None:
    about = KINDS[kind].about
    everything, _ = held_by(lowered(kind, 50).world, kind)
    assert everything
    found, report = held_by(lowered(kind, about.role or GUEST).world, kind)
    assert (found, report.exit_code, report.problems) == (everything, 0, ())
    if not about.role:
        return
    found, report = held_by(lowered(kind, ROLES[ROLES.index(about.role) - 1]).world, kind)
    assert found < everything
    if about.hides:
        assert (report.exit_code, report.problems) == (0, ())
    else:
        assert about.refuses
        assert {(problem.stage, problem.kind) for problem in report.problems} == {("read", kind)}
        assert report.exit_code == 1


# Tokens


def refused(token: str, path: str) -> Fault:
    return Fault(lambda asked: (asked.token, asked.path) == (token, path), reply_json(403, {}))


def test_what_gitlab_refuses_to_one_token_another_one_reads(kind: str) -> None:
    found = furnished(kind)
    path = subject_of(kind).lists[0].path(found)
    if subject_of(kind).lists[0].inventory:
        return
    held = []
    with gitlab_server(found.world) as gitlab:
        for token in ("token-of-nobody", *ALICE):
            gitlab.faults[:] = [refused(token, path)]
            store = port_with(blueprint("thing", text="string"))
            report = run_sync(gitlab, store, mapped(kind, **subject_of(kind).lists[0].fields), tokens=BOTH).report
            assert report.exit_code == 0, report.problems
            held.append(store.identifiers("thing"))
    assert held[0]
    assert held[1] == held[0]


# Requests


def test_a_kind_takes_the_requests_that_it_says(kind: str) -> None:
    small, large = furnished(kind), furnished(kind)
    for n in range(3):
        project = large.world.add_project(large.world.add_group(f"more-{n}", large.alpha), "more")
        subject_of(kind).furnish(large.world, project, large.people[1])
    for found, groups, projects in ((small, 3, 3), (large, 6, 6)):
        with gitlab_server(found.world) as gitlab:
            store = port_with(blueprint("thing"))
            for run in ("first", "second") if found is large else ("first",):
                gitlab.requests.clear()
                writes = store.writes
                assert run_sync(gitlab, store, mapped(kind), tokens=ALICE).report.exit_code == 0
                asked = Counter((one.path, one.query) for one in gitlab.requests)
                assert max(asked.values()) == 1 or kind == "user"
                # GET /user, a page of groups, a page of projects and the empty one behind it.
                assert asked.total() - 4 == takes(kind, found, groups, projects), asked
                assert run == "first" or store.writes == writes


def takes(kind: str, found: Company, groups: int, projects: int) -> int:
    requests = KINDS[kind].about.requests
    assert bool(requests.each) == bool(subject_of(kind).each(found))
    fixed = requests.once + requests.group * groups + requests.top_group * 2 + requests.project * projects
    return fixed + subject_of(kind).each(found)


# Odd and hostile answers


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """A company with some rows of every kind, and a Port that no run has filled."""
    found = furnished()
    store = port_with(*(blueprint(name, text="string") for name in KINDS))
    with gitlab_server(found.world) as gitlab, port_server(store) as port:
        yield found, gitlab, port


@pytest.fixture
def bench(servers: Servers, tmp_path: Path) -> Iterator[Bench]:
    """The shared servers without any fault."""
    found, gitlab, port = servers
    gitlab.faults.clear()
    yield Bench(found.world, port.store, gitlab, port, tmp_path)
    gitlab.faults.clear()


def fields_of(kind: str) -> dict[str, Any]:
    """The fields of a resource that reads the first list of the kind's Subject."""
    return {**subject_of(kind).fields, **subject_of(kind).lists[0].fields}


def broken(bench: Bench, kind: str, answer: Reply, found: Company) -> str:
    """Let the list of a kind answer so; its path."""
    path = subject_of(kind).lists[0].path(found)
    bench.gitlab.faults[:] = [Fault(lambda request: request.path == path, answer)]
    return path


STRANGE: dict[str, Any] = {
    "nothing": {},
    "objects for texts": {"id": True, "iid": {}, "name": {}, "project_id": {}, "references": {"full": {}}},
}


@pytest.mark.parametrize("row", STRANGE)
def test_a_strange_row_is_no_bug_and_deletes_nothing(kind: str, row: str, bench: Bench, servers: Servers) -> None:
    mapping = mapping_of(resource(kind, kind, **fields_of(kind)), entityDeletionThreshold=1, **ALL_LEVELS)
    assert run_sync(bench.gitlab, bench.port, mapping, tokens=ALICE).report.exit_code == 0
    before = bench.store.identifiers(kind)
    assert before
    broken(bench, kind, Reply(200, json.dumps([STRANGE[row]]).encode(), (("X-Next-Page", ""),)), servers[0])
    try:
        assert run_sync(bench.gitlab, bench.port, mapping, tokens=ALICE).report.exit_code == 1
    except GitLabUnavailable:
        assert subject_of(kind).lists[0].inventory
    assert bench.store.identifiers(kind) >= before


# What people may write in a row without changing what it is.
FREE = ("name", "title", "description", "message", "commit_title", "content")


def hostile(value: Any) -> Any:
    """The answer with free text that terminals, logs and CI systems must not obey."""
    if isinstance(value, list):
        return [hostile(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: ALL if key in FREE and isinstance(one, str) else one for key, one in value.items()}


@pytest.mark.parametrize("what", ["a refusal", "rows"])
def test_text_and_secrets_in_answers_are_not_shown_as_they_are(
    kind: str,
    what: str,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    servers: Servers,
) -> None:
    # The message of an expression that fails quotes the row.
    one = resource(kind, kind, **{**fields_of(kind), "title": "error(tostring)", "properties": {}})
    mapping = bench.file("m.yml", json.dumps(mapping_of(one, **ALL_LEVELS)))
    path = subject_of(kind).lists[0].path(servers[0])
    answer = reply_json(403, {"message": f"{ALL} token-of-alice demo-secret"})
    if what == "rows":
        right = bench.gitlab.respond("token-of-alice", path, (), "")
        answer = reply_json(200, hostile(json.loads(right.body)), *right.headers)
    broken(bench, kind, answer, servers[0])
    shown = run_here(
        bench.environ(tokens=ALICE), bench.folder, monkeypatch, command="plan", debug=True, mapping_file=mapping
    )
    assert shown.code in (0, 1, 3, 5), shown.all
    assert obeyed(shown.out) == []
    assert obeyed(shown.err) == []
    assert [secret for secret in ("token-of-alice", "demo-secret") if secret in shown.all] == []
