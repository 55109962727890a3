"""Random edits, events that are sent, lost, doubled or late, and syncs: after the last full sync nothing differs."""

from random import Random
from typing import Any

import pytest

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import Row, World
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

KINDS = {
    "project": ".id | tostring",
    "merge-request": ".id | tostring",
    "issue": ".id | tostring",
    "pipeline": ".id | tostring",
    "job": ".id | tostring",
    "tag": '.__project.path_with_namespace + "/" + .name',
    "release": '.__project.path_with_namespace + "/" + .tag_name',
}
SELECTORS: dict[str, Row] = {"merge-request": {"states": ["opened", "merged"]}, "issue": {"state": "opened"}}
MAPPING = mapping_of(
    *(
        resource(
            kind,
            kind.replace("-", "_"),
            identifier=identifier,
            properties={"row": ". | tojson"},
            selector=SELECTORS.get(kind, {}),
        )
        for kind, identifier in KINDS.items()
    ),
    entityDeletionThreshold=1,
)
STEPS = 14


def new_port() -> PortStore:
    return port_with(*(blueprint(kind.replace("-", "_"), row="string") for kind in KINDS))


def edit(world: World, random: Random, ann: Row, number: int) -> Row:
    """Change something, and return the payload that GitLab sends for it."""
    shapes = Shapes(world)
    project = random.choice(list(world.projects.values()))
    requests, issues = world.merge_requests[project["id"]], world.issues[project["id"]]
    match random.choice(["new request", "request", "merge", "issue", "close", "pipeline", "tag", "no tag", "project"]):
        case "new request":
            return shapes.merge_request(world.add_merge_request(project, f"New {number}"), ann, "open")
        case "request":
            row = random.choice(requests)
            row["title"] = f"Title {number}"
            return shapes.merge_request(row, ann)
        case "merge":
            row = random.choice(requests)
            row["state"] = random.choice(["merged", "closed", "opened"])
            return shapes.merge_request(row, ann)
        case "issue":
            row = random.choice(issues)
            row["title"] = f"Title {number}"
            return shapes.issue(row, ann)
        case "close":
            row = random.choice(issues)
            row["state"] = random.choice(["closed", "opened"])
            return shapes.issue(row, ann)
        case "pipeline":
            pipeline = world.add_pipeline(project)
            world.add_job(pipeline, "build")
            return shapes.pipeline(pipeline, ann)
        case "tag":
            lists.add_tag(world, project, f"t{number}")
            return shapes.tag_push(project, ann, f"t{number}")
        case "no tag" if world.tags[project["id"]]:
            name = world.tags[project["id"]].pop()["name"]
            return shapes.tag_push(project, ann, name, gone=True)
    project["description"] = f"Text {number}"
    return shapes.project_event(project, "project_update")


@pytest.mark.parametrize("seed", range(5))
def test_after_the_last_full_sync_nothing_differs(seed: int) -> None:
    random = Random(seed)
    world, ann, group = acme()
    for name in ("web", "app"):
        project = world.add_project(group, name)
        lists.fill_lists(world, project, ann)
        world.add_merge_request(project, "First")
        world.add_issue(project, "First")
    late: list[Row] = []
    with gitlab_server(world) as gitlab, port_server(new_port()) as port, port_server(new_port()) as fresh:

        def sync(payloads: list[Row] | None = None) -> None:
            report = run_sync(gitlab, port, MAPPING, events=payloads).report
            assert [one for one in report.problems if not one.warning] == []

        sync()
        for number in range(STEPS):
            payload = edit(world, random, ann, number)
            world.touch()
            match random.choice(["sent", "sent", "lost", "twice", "late", "together", "sync"]):
                case "sent":
                    sync([payload])
                case "twice":
                    sync([payload, payload])
                case "late":
                    late.append(payload)
                case "together":
                    sync([payload, *reversed(late)])
                    late.clear()
                case "sync":
                    sync()
        if late:
            sync(late)
        sync()
        run_sync(gitlab, fresh, MAPPING)
        assert content(port.store) == content(fresh.store)


def content(store: PortStore) -> dict[str, dict[str, Any]]:
    names = (kind.replace("-", "_") for kind in KINDS)
    return {
        name: {one: (store.entity(name, one) or {})["properties"] for one in store.identifiers(name)} for name in names
    }
