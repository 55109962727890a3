"""Rows that are not as GitLab documents them: a Problem of that read, whose deletions are held, and never a bug."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_access import MAINTAINER
from gitlab_port_export.demo.gitlab_faults import Reply
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.gitlab.kinds import KINDS
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

# Each is one row of a list; `id` where the list needs one to go on.
ROWS: dict[str, Any] = {
    "nothing": {},
    "an id that is an object": {"id": {"a": 1}, "name": {}},
    "an id alone": {"id": 1},
    "numbers for texts": {"id": 1, "path_with_namespace": 5, "full_path": 5, "created_at": 5, "name": 5, "username": 5},
    "texts for objects": {"id": 1, "permissions": "x", "pipeline": "x", "references": "x", "user": "x", "name": "x"},
    "objects for texts": {"id": True, "iid": {}, "name": {}, "project_id": {}, "references": {"full": {}}},
    "roles that are none": {
        "id": 1, "path_with_namespace": "acme/app", "full_path": "acme", "name": "x",
        "permissions": {"project_access": {"access_level": "x"}, "group_access": {}},
    },
    "a number": 5,
    "null": None,
}  # fmt: skip
# Lists of which we use more than a row's name; test_every_kind lets the lists of all kinds meet two of these rows.
LISTS = {
    "^/groups$": ("group",),
    "^/projects$": ("project",),
    "/pipelines$": ("pipeline", "job"),
    "/jobs$": ("job",),
}
SELECTORS: dict[str, Any] = {"project": {"includeLabels": True}}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[GitLabServer, PortServer]]:
    """A GitLab with one of everything that was synced, and a Port that holds it."""
    world = World(datetime.now(UTC))
    reader = world.add_user("reader")
    group = world.add_group("acme")
    world.add_member(group, reader, MAINTAINER)
    world.add_token("token-of-reader", reader)
    project = world.add_project(group, "app")
    world.add_merge_request(project, "First")
    world.add_issue(project, "First")
    world.add_job(world.add_pipeline(project, "success", reader), "build")
    store = port_with(*(blueprint(kind, text="string") for kind in KINDS))
    with gitlab_server(world) as gitlab, port_server(store) as port:
        yield gitlab, port


@pytest.mark.parametrize(("path", "name"), [(path, name) for path in LISTS for name in ROWS])
def test_a_strange_row_is_no_bug_and_deletes_nothing(
    path: str, name: str, servers: tuple[GitLabServer, PortServer]
) -> None:
    gitlab, port = servers
    kinds = dict.fromkeys((*LISTS[path], "project"))
    mapping = mapping_of(
        *(
            resource(kind, kind, identifier=f'"{kind}-\\(.id // .name)"', selector=SELECTORS.get(kind, {}))
            for kind in kinds
        ),
        entityDeletionThreshold=1,
    )
    gitlab.faults.clear()
    assert run_sync(gitlab, port, mapping).report.exit_code == 0
    before = port.store.snapshot()
    answer = Reply(200, json.dumps([ROWS[name]]).encode(), (("X-Next-Page", ""),))
    gitlab.faults[:] = [Fault(path, answer)]
    try:
        report = run_sync(gitlab, port, mapping).report
    except GitLabUnavailable:
        assert path in ("^/groups$", "^/projects$")
        return
    failed = {problem.kind for problem in report.problems if problem.stage == "read"}
    assert report.exit_code == int(bool(failed))
    assert all(port.store.snapshot()[kind].keys() >= before[kind].keys() for kind in failed)
    if name in ("nothing", "an id that is an object", "a number", "null"):
        assert failed.issuperset(LISTS[path])


def test_where_a_strange_row_was_met_is_told_to_who_debugs(
    servers: tuple[GitLabServer, PortServer], caplog: pytest.LogCaptureFixture
) -> None:
    gitlab, port = servers
    caplog.set_level("DEBUG", "gitlab_port_export.gitlab.kinds.shared.guard")
    gitlab.faults[:] = [Fault("/jobs$", Reply(200, b'[{"id": 1, "pipeline": "x"}]', (("X-Next-Page", ""),)))]
    report = run_sync(gitlab, port, mapping_of(resource("job", "job"))).report
    (problem,) = report.problems
    assert (problem.kind, problem.scope) == ("job", "acme/app")
    assert problem.why == "a row is not as GitLab documents it (AttributeError: 'str' object has no attribute 'get')"
    assert "job.py" in caplog.text


@pytest.mark.parametrize(
    "number", [2**63, 2**64, -(2**63) - 1, 10**30, 10**3000, "1e400", "9" * 5000], ids=lambda n: str(n)[:8]
)
@pytest.mark.parametrize("field", ["id", "project_id"])
def test_a_row_with_an_id_that_is_too_large_is_a_problem_of_that_row(number: int | str, field: str) -> None:
    world, _, group = acme()
    project = world.add_project(group, "app")
    rows = [{"id": n, "project_id": project["id"], "title": f"t{n}", "web_url": f"u{n}"} for n in (1, 2, 3)]
    rows[1][field] = "@"
    page = json.dumps(rows).replace('"@"', str(number)).encode()
    mapping = mapping_of(resource("issue", identifier=".title", properties={"n": f".{field}"}))
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(Fault("/issues$", Reply(200, page, (("x-total", "3"), ("x-next-page", "")))))
        report, store, _ = run_sync(gitlab, port_with(blueprint("thing", n="number")), mapping)
    assert report.exit_code == 1
    assert store.identifiers("thing") >= {"t1", "t3"}
    assert len(report.problems) == 1
