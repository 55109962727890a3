"""The list kinds between two stand-ins: what is deleted and what is not, request counts, and the examples we ship."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest
import yaml

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, faults, gitlab_server
from gitlab_port_export.demo.gitlab_faults import reply_json
from gitlab_port_export.demo.gitlab_kinds.milestone import add_milestone
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.world import GUEST, MAINTAINER, Row, World, sample_world
from gitlab_port_export.port import defaults
from gitlab_port_export.report.values import Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync
from testbed.oracle import expected

pytestmark = pytest.mark.usefixtures("lent_evaluator")

DEFAULTS = files(defaults)
EXAMPLE = DEFAULTS.joinpath("lists-mapping.yml").read_text("utf-8")
KINDS = ("release", "tag", "branch", "deployment", "environment", "label", "milestone")
NAME = ".id // .tag_name // .name | tostring"


def mapping(**selectors: Any) -> Any:
    """Every kind into a blueprint of its own, whatever share of it goes."""
    resources = (
        resource(kind, kind, identifier=NAME, title=".name // .title // null", selector=selectors.get(kind, {}))
        for kind in KINDS
    )
    return mapping_of(*resources, entityDeletionThreshold=1)


@contextmanager
def served() -> Iterator[tuple[World, Row, Row, GitLabServer, PortServer]]:
    """A group with a filled project and an empty one, GitLab and Port."""
    world, reader, group = acme("token", role=MAINTAINER)
    project = world.add_project(group, "core")
    world.add_project(group, "empty", empty_repo=True)
    lists.fill_lists(world, project, reader)
    add_milestone(world, group, "Shared")
    world.add_label(group, "shared")
    world.add_label(project, "own")
    with gitlab_server(world) as gitlab, port_server(port_with(*(blueprint(kind) for kind in KINDS))) as port:
        yield world, group, project, gitlab, port


def fill(gitlab: GitLabServer, port: PortServer) -> None:
    """Bring everything into Port, an hour ago: nothing that changed during a run is deleted."""
    port.store.clock = lambda: time.time() - 3600
    assert sync(gitlab, port).exit_code == 0
    port.store.clock = time.time


def sync(gitlab: GitLabServer, port: PortServer, **selectors: Any) -> Report:
    """Run once; the requests of the run are left to look at."""
    gitlab.requests.clear()
    report, *_ = run_sync(gitlab, port, mapping(**selectors), tokens="token")
    return report


def held(port: PortServer) -> dict[str, set[str]]:
    return {kind: set(found) for kind, found in port.store.snapshot().items()}


def test_a_run_asks_once_for_each_list_and_keeps_what_has_not_changed() -> None:
    with served() as (_, _, _, gitlab, port):
        assert sync(gitlab, port).exit_code == 0
        asked = sorted(request.path for request in gitlab.requests)
        assert asked == sorted(
            [
                "/user", "/groups", "/projects", "/projects",
                "/projects/1/releases", "/projects/2/releases", "/projects/1/repository/tags",
                "/projects/1/repository/branches/main",
                *(f"/projects/{number}/{name}" for name in ("deployments", "environments") for number in (1, 2)),
                "/groups/1/labels", "/projects/1/labels", "/projects/2/labels",
                "/groups/1/milestones", "/projects/1/milestones", "/projects/2/milestones",
            ]
        )  # fmt: skip
        assert {kind: len(found) for kind, found in held(port).items()} == {
            "release": 2, "tag": 2, "branch": 1, "deployment": 3, "environment": 2, "label": 2, "milestone": 2,
        }  # fmt: skip
        before = port.store.writes
        assert sync(gitlab, port).exit_code == 0
        assert port.store.writes == before


def test_what_left_a_list_or_its_window_is_deleted_and_nothing_else() -> None:
    with served() as (world, group, project, gitlab, port):
        fill(gitlab, port)
        before = held(port)
        del world.releases[project["id"]][0], world.tags[project["id"]][1]
        del world.group_milestones[group["id"]][0], world.project_labels[project["id"]][0]
        since = {"apiQueryParams": {"updatedAfter": world.ago(days=5).isoformat()}}
        report = sync(gitlab, port, deployment=since, environment={"states": ["available"]})
        assert report.exit_code == 0, report.problems
        after = held(port)
        assert {kind: before[kind] - after[kind] for kind in KINDS} == {
            "release": {"v1.1"}, "tag": {"v1.2"}, "branch": set(), "deployment": {"1", "3"}, "environment": {"2"},
            "label": {"2"}, "milestone": {"2"},
        }  # fmt: skip
        assert all(after[kind] <= before[kind] for kind in KINDS)


def test_a_branch_by_another_name_replaces_the_default_one() -> None:
    with served() as (world, _, project, gitlab, port):
        fill(gitlab, port)
        project["default_branch"] = "fix/drain"
        world.touch()
        assert sync(gitlab, port).exit_code == 0
        assert held(port)["branch"] == {"fix/drain"}


@pytest.mark.parametrize(
    ("feature", "kinds"),
    [
        ("repository", {"release", "tag", "branch", "deployment", "environment"}),
        ("builds", {"deployment", "environment"}),
        ("releases", {"release"}),
    ],
)
def test_what_is_switched_off_goes(feature: str, kinds: set[str]) -> None:
    with served() as (world, _, project, gitlab, port):
        fill(gitlab, port)
        before = held(port)
        project[f"{feature}_access_level"] = "disabled"
        world.touch()
        report = sync(gitlab, port)
        assert {kind for kind in KINDS if held(port)[kind] < before[kind]} == kinds
        assert report.exit_code == 0, report.problems


def test_a_guest_loses_nothing() -> None:
    words = dict.fromkeys(("branch", "tag", "deployment", "environment"), "403") | {"release": "hides the tags"}
    with served() as (world, _, _, gitlab, port):
        fill(gitlab, port)
        before = held(port)
        visible = {"visibility": {"minAccessLevel": GUEST}}
        world.group_members[1][0]["access_level"] = GUEST
        world.touch()
        gitlab.requests.clear()
        report, *_ = run_sync(gitlab, port, mapping() | visible, tokens="token")
        assert held(port) == before
        found = {problem.kind: problem.why for problem in report.problems}
        assert found.keys() == words.keys(), report.problems
        assert all(text in found[kind] for kind, text in words.items())


BAD_REQUEST = reply_json(400, {"message": "400 Bad request - `updated_at` filter requires `updated_at` sort"})


@pytest.mark.parametrize("kind", ["deployment", "branch"])
@pytest.mark.parametrize("answer", [BAD_REQUEST, faults.not_found("Branch "), reply_json(200, {"message": "x"})])
def test_a_refused_list_of_one_project_deletes_nothing_of_its_kind(kind: str, answer: Any) -> None:
    with served() as (world, _, project, gitlab, port):
        fill(gitlab, port)
        before = held(port)
        del world.tags[project["id"]][0]
        world.touch()
        gitlab.faults.append(Fault(f"^/projects/1/.*{kind}", answer))
        report = sync(gitlab, port)
        assert (report.exit_code, held(port)[kind]) == (1, before[kind])
        assert held(port)["tag"] < before["tag"], "another kind goes on"
        assert [(problem.kind, problem.scope) for problem in report.problems] == [(kind, "acme/core")]


# Text that nobody should trust


def test_odd_names_are_told_and_break_nothing() -> None:
    odd = ("a'b\"c", "x\x1b[31mred", "..", "größe/ü", "a b", "${HOME}", "%2e%2e", "\u202ertl", "l" * 1100)
    with served() as (world, _, project, gitlab, port):
        for name in odd:
            lists.add_branch(world, project, name)
            lists.add_tag(world, project, name)
        report = sync(gitlab, port, branch={"defaultBranchOnly": False})
        fit = {"größe/ü", "main", "fix/drain"}
        assert held(port)["branch"] == fit
        assert {problem.stage for problem in report.problems} == {"transform"}
        assert "\x1b" not in repr([problem.why for problem in report.problems])


# The example that users start from


def test_the_example_works_beside_the_default_mapping() -> None:
    more, own = yaml.safe_load(EXAMPLE), json.loads(DEFAULTS.joinpath("lists-blueprints.json").read_text("utf-8"))
    usual = defaults.default_blueprints()
    base = [entry for entry in usual if entry["identifier"] in ("service", "gitlabGroup", "gitlabMember")]
    whole = yaml.safe_load(defaults.default_mapping_text("gitlab-v2"))
    resources = [entry for entry in whole["resources"] if entry["kind"] in ("member", "group-with-members", "project")]
    both = whole | {"resources": resources + more["resources"]}
    world, store = sample_world(datetime.now(UTC)), port_with(*base, *own)
    with gitlab_server(world) as gitlab, port_server(store) as port:
        report, *_ = run_sync(gitlab, port, both)
    assert report.exit_code == 0, report.problems
    wanted, held = expected(world, both, store.blueprints), store.snapshot()
    for entry in own:
        assert entry not in usual
        assert held[entry["identifier"]] == wanted[entry["identifier"]] != {}
