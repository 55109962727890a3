"""A sync in shards: Port ends as after one run, and where a shard is in doubt nothing is deleted."""

import dataclasses
import io
import subprocess
import sys
import time
import tracemalloc
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.text import Redactor
from gitlab_port_export.commands.session import Session
from gitlab_port_export.commands.shard import leave_evidence
from gitlab_port_export.demo import gitlab_faults
from gitlab_port_export.demo.gitlab import Edit, Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_pages import Limits
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import OWNER, REPORTER, World, change_world, large_world, sample_world
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.model import Create, Entity, Problem
from gitlab_port_export.port.keys import entity_key
from gitlab_port_export.report.values import Report
from gitlab_port_export.shards import collect, evidence, reconcile, sealed, survey
from gitlab_port_export.shards.evidence import PRODUCED
from gitlab_port_export.shards.produced import merged
from gitlab_port_export.shards.sealed import Unsealed, seal, unsealed
from gitlab_port_export.shards.slim import slim
from test_machine import uncounted
from testbed import parity
from testbed.harness import acme, blueprint, mapping_of, port_with, process_environ, resource, run_sync
from testbed.kinds import known_subjects, subject_of
from testbed.parity import BLUEPRINTS, differences
from testbed.sharding import Sharded, sharded

pytestmark = pytest.mark.usefixtures("lent_evaluator")


def an_hour_ago() -> float:
    """A clock of Port: nothing that was there before a run counts as changed during it."""
    return time.time() - 3600


@pytest.fixture
def company() -> Iterator[tuple[World, GitLabServer, PortServer]]:
    """The sample company and a Port that holds it, an hour behind."""
    world = sample_world(datetime.now(UTC))
    with gitlab_server(world) as gitlab, port_server(port_with(clock=an_hour_ago)) as port:
        assert run_sync(gitlab, port).report.exit_code == 0
        yield world, gitlab, port


def counts(report: Report) -> dict[str, Any]:
    """What a report counts but for reads, and with creates and updates as one: a target may be made before its row."""
    found = {name: dataclasses.asdict(one) for name, one in report.blueprints.items()}
    return {name: {**one, "created": 0, "updated": one["created"] + one["updated"]} for name, one in found.items()}


# As one run


@pytest.mark.parametrize("shards", [3, 11])
def test_port_ends_as_after_one_run(shards: int) -> None:
    world = sample_world(datetime.now(UTC))
    one, many = port_with(clock=an_hour_ago), port_with(clock=an_hour_ago)
    with gitlab_server(world) as gitlab, port_server(one) as port, port_server(many) as other:
        for change in (lambda _: None, change_world):
            change(world)
            whole = run_sync(gitlab, port).report
            with sharded(gitlab, other, shards) as sync:
                report = sync.all(order=range(shards, 0, -1))
            assert differences(many.snapshot(), one.snapshot()) == []
            assert (report.exit_code, report.problems, report.held) == (whole.exit_code, whole.problems, whole.held)
            assert counts(report) == counts(whole)
            assert report.kinds == whole.kinds
            # Each shard looks at its user, and the last step once more; the survey looks whether lists are long.
            assert report.gitlab_requests == whole.gitlab_requests + shards + looks(gitlab)
            gitlab.requests.clear()
        writes = many.writes
        with sharded(gitlab, other, shards) as sync:
            assert sync.all().exit_code == 0
        assert many.writes == writes


@pytest.mark.parametrize("dialect", ["gitlab-v2", "gitlab"])
def test_every_kind_gives_the_same_in_shards(dialect: str) -> None:
    world = parity.company()
    ada = next(row for row in world.users.values() if row["username"] == "ada")
    for project in [*world.projects.values()]:
        for subject in known_subjects().values():
            subject.furnish(world, project, ada)
    names = {kind: kind.replace("-", "_") for kind in KINDS}
    things = [{**BLUEPRINTS[1], "identifier": name} for name in names.values()]
    one, many = port_with(BLUEPRINTS[0], *things), port_with(BLUEPRINTS[0], *things)
    mapping = mapping_of(*(of_kind(kind, name) for kind, name in names.items()), visibility={"minAccessLevel": 30})
    with gitlab_server(world) as gitlab, port_server(one) as port, port_server(many) as other:
        whole = run_sync(gitlab, port, mapping, type=dialect).report
        with sharded(gitlab, other, 4, mapping=mapping, type=dialect) as sync:
            report = sync.all()
        assert differences(many.snapshot(), one.snapshot()) == []
        assert {problem.why for problem in report.failures} == {problem.why for problem in whole.failures}
        assert report.gitlab_requests == whole.gitlab_requests + 4 + looks(gitlab)


def looks(gitlab: GitLabServer) -> int:
    """How many requests looked where a list is cut."""
    queries = (dict(one.query) for one in gitlab.requests)
    return sum(1 for query in queries if query.get("sort") == "desc" and len(query.get("per_page", "")) == 1)


def of_kind(kind: str, name: str) -> Any:
    """A resource of a kind as its Subject maps it; a whole row would have its secrets in one run alone."""
    properties = {key: value for key, value in subject_of(kind).compared.items() if key != "object"}
    return resource(kind, name, **{**subject_of(kind).fields, "properties": properties})


def test_shards_together_send_hardly_more_requests_than_one_run() -> None:
    world = large_world(datetime.now(UTC), 20)
    one, many = port_with(clock=an_hour_ago), port_with(clock=an_hour_ago)
    with gitlab_server(world) as gitlab, port_server(one) as port, port_server(many) as other:
        for deleted in (0, 1):
            del next(iter(world.issues.values()))[:deleted]
            whole = run_sync(gitlab, port).report
            with sharded(gitlab, other, 3) as sync:
                report = sync.all()
                shares = [load(sync, number).report.gitlab_requests for number in (1, 2, 3)]
            assert report.blueprints["gitlabIssue"].deleted == deleted
            # Also where the second look finds that long lists are as they were.
            assert report.gitlab_requests == whole.gitlab_requests + 3 + looks(gitlab)
            gitlab.requests.clear()
            assert max(shares) < 1.5 * sum(shares) / 3


def load(sync: Sharded, number: int) -> evidence.Evidence:
    return evidence.load(sync.file(number))


# In doubt nothing is deleted


@pytest.fixture
def changed(company: tuple[World, GitLabServer, PortServer]) -> Iterator[Sharded]:
    """A sync in three shards of a company of which entities are gone; the survey and the shards are done."""
    world, gitlab, port = company
    change_world(world)
    with sharded(gitlab, port, 3) as sync:
        sync.survey()
        for number in (1, 2, 3):
            assert sync.shard(number).exit_code == 0
        yield sync


def identifiers(store: PortStore) -> set[tuple[str, str]]:
    return {(name, one) for name, found in store.snapshot().items() for one in found}


def test_a_missing_shard_holds_every_deletion_and_is_named(changed: Sharded) -> None:
    before = identifiers(changed.port.store)
    report = changed.reconcile([changed.file(1), changed.file(3)])
    assert report.exit_code == 1
    assert [problem.why for problem in report.failures] == ["shard 2 left no evidence, so nothing is deleted"]
    assert before <= identifiers(changed.port.store)
    # Nothing was lost: with the shard's evidence the same last step deletes.
    assert changed.reconcile().exit_code == 0
    assert not before <= identifiers(changed.port.store)


@pytest.mark.parametrize("size", [0, 40, -1])
def test_a_cut_file_is_no_evidence(changed: Sharded, size: int) -> None:
    before = identifiers(changed.port.store)
    content = changed.file(2).read_bytes()
    changed.file(2).write_bytes(content[:size])
    report = changed.reconcile()
    assert report.exit_code == 1
    assert [problem.why for problem in report.failures][1:] == ["shard 2 left no evidence, so nothing is deleted"]
    assert before <= identifiers(changed.port.store)


def test_a_changed_byte_makes_a_file_no_evidence(changed: Sharded) -> None:
    content = bytearray(changed.file(2).read_bytes())
    content[-40] ^= 1
    changed.file(2).write_bytes(content)
    assert next(problem.why for problem in changed.reconcile().failures).endswith(
        "was cut or changed: its checksum is another, so nothing is deleted"
    )


def test_evidence_of_another_survey_ends_the_last_step(changed: Sharded) -> None:
    before = identifiers(changed.port.store)
    with sharded(changed.gitlab, changed.port, 3) as older:
        older.survey()
        older.shard(2)
        with pytest.raises(UsageError, match="is evidence of shard 2 of 3 of another survey"):
            changed.reconcile([changed.file(1), older.file(2), changed.file(3)])
    assert before <= identifiers(changed.port.store)


def test_two_files_of_one_shard_end_the_last_step_unless_one_is_a_later_attempt(changed: Sharded) -> None:
    twice, again = changed.folder / "twice", changed.folder / "again"
    twice.write_bytes(changed.file(2).read_bytes())
    with pytest.raises(UsageError, match=r"twice: is evidence of shard 2 of 3, attempt 1, of which there is another"):
        changed.reconcile([*map(changed.file, (1, 2, 3)), twice])
    changed.shard(2, attempt=2, file=again)
    assert changed.reconcile([*map(changed.file, (1, 2, 3)), again]).exit_code == 0


def test_files_of_another_version_end_shards_and_the_last_step(
    changed: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "__version__", "9.9.9")
    with pytest.raises(UsageError, match=r"evidence-1: was made by version .* and this is 9.9.9"):
        changed.reconcile()
    monkeypatch.setattr(survey, "__version__", "9.9.9")
    with pytest.raises(UsageError, match=r"was made by version .* and this is 9\.9\.9"):
        changed.shard(1)


def test_evidence_of_another_cut_of_the_plan_ends_the_last_step(
    changed: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitlab_port_export.shards.survey.units_of", lambda *_: ())
    with pytest.raises(UsageError, match="read another part of the plan"):
        changed.reconcile()


def test_a_shard_that_did_not_come_to_its_end_holds_every_deletion(
    changed: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(changed, 2)
    broken = dataclasses.replace(whole, found=dataclasses.replace(whole.found, whole=False))
    monkeypatch.setattr(collect, "load", lambda file: broken if file == changed.file(2) else evidence.load(file))
    before = identifiers(changed.port.store)
    report = changed.reconcile()
    assert [one.why for one in report.failures] == ["shard 2 did not come to its end, so nothing is deleted"]
    assert before <= identifiers(changed.port.store)


@pytest.mark.parametrize("path", [r"/merge_requests$", r"/members"])
def test_a_list_that_one_shard_could_not_read_holds_what_it_feeds(
    company: tuple[World, GitLabServer, PortServer], path: str
) -> None:
    world, gitlab, port = company
    change_world(world)
    fault = Fault(path, gitlab_faults.forbidden())
    gitlab.faults.append(fault)
    before = identifiers(port.store)
    planned = run_sync(gitlab, port, command="plan").report
    with sharded(gitlab, port, 3) as sync:
        report = sync.all()
    assert report.exit_code == planned.exit_code == 1
    deleted = before - identifiers(port.store)
    assert {name for name, _ in deleted} == {name for name, one in planned.blueprints.items() if one.deleted}
    assert {(one.blueprint, one.count) for one in report.held} == {(one.blueprint, one.count) for one in planned.held}


def test_a_lost_inventory_holds_every_deletion(company: tuple[World, GitLabServer, PortServer]) -> None:
    world, gitlab, port = company
    change_world(world)
    before = identifiers(port.store)
    tokens = {**{token: ["**"] for token in world.tokens}, "nobody-knows-it": ["**"]}
    with sharded(gitlab, port, 2, tokens=tokens) as sync:
        report = sync.all()
    assert report.exit_code == 1
    assert before <= identifiers(port.store)


# One winner for each key


def test_a_key_from_two_shards_is_found_and_holds_its_blueprint() -> None:
    world, reader, group = acme()
    other = world.add_group("other")
    world.add_member(other, reader, OWNER)
    for place in (group, other):
        world.add_issue(world.add_project(place, "same"), "a title")
    # The mapping hides that rows of two groups give one entity.
    mapping = mapping_of(resource("issue", identifier='.id | if . > 0 then "the-issue" else tostring end'))
    store = port_with(blueprint("thing"), clock=an_hour_ago)
    with gitlab_server(world) as gitlab, port_server(store) as port:
        store.seed("thing", [{"identifier": "old"}], "port-ocean/gitlab-v2/1.0.0/my-gitlab-v2-integration/exporter")
        with sharded(gitlab, port, 2, mapping=mapping) as sync:
            report = sync.all()
        (problem,) = report.failures
        assert problem.why == "1 entity was produced by several shards (1, 2), so which row wins is by chance"
        assert (problem.kind, problem.blueprint, problem.sample) == ("issue", "thing", "the-issue")
        assert store.identifiers("thing") == {"old", "the-issue"}
        with sharded(gitlab, port, 2, mapping=mapping, together=["issue"]) as sync:
            assert sync.all().failures == []


def test_rows_of_several_groups_that_give_one_entity_are_read_by_one_shard() -> None:
    world, reader, group = acme()
    other = world.add_group("other")
    world.add_member(other, reader, OWNER)
    for place in (group, other):
        world.add_merge_request(world.add_project(place, "same"), "a title", author=reader)
    mapping = mapping_of(resource("merge-request", identifier=".author.username"), resource("member", "person"))
    one, many = (port_with(blueprint("thing"), blueprint("person")) for _ in range(2))
    with gitlab_server(world) as gitlab, port_server(one) as port, port_server(many) as second:
        run_sync(gitlab, port, mapping)
        with sharded(gitlab, second, 3, mapping=mapping) as sync:
            assert sync.all().failures == []
    assert differences(many.snapshot(), one.snapshot()) == []


def test_resources_of_two_kinds_that_feed_one_blueprint_are_laid_over_each_other() -> None:
    world, _, group = acme()
    for name in ("one", "two", "three"):
        project = world.add_project(group, name)
        world.add_pipeline(project)
    path = ".__project.path_with_namespace // .path_with_namespace"
    mapping = mapping_of(
        resource("project", identifier=path, properties={"text": ".name"}),
        resource("pipeline", identifier=path, properties={"more": ".status"}),
    )
    one, many = (port_with(blueprint("thing", text="string", more="string")) for _ in range(2))
    with gitlab_server(world) as gitlab, port_server(one) as port, port_server(many) as second:
        run_sync(gitlab, port, mapping)
        with sharded(gitlab, second, 3, mapping=mapping) as sync:
            assert sync.all().failures == []
    assert differences(many.snapshot(), one.snapshot()) == []


def test_a_row_waits_for_a_target_that_another_shard_writes() -> None:
    world, _, group = acme()
    for name in ("one", "two", "three"):
        world.add_issue(world.add_project(group, name), "a title")
    service = '.references.full | split("#")[0]'
    mapping = mapping_of(
        resource("issue", "issue", relations={"service": service}),
        resource("project", "service", identifier=".path_with_namespace"),
        createMissingRelatedEntities=False,
    )
    stores = [
        port_with(blueprint("service"), blueprint("issue", {"service": "service"}), clock=an_hour_ago) for _ in range(2)
    ]
    with gitlab_server(world) as gitlab, port_server(stores[0]) as port, port_server(stores[1]) as second:
        run_sync(gitlab, port, mapping)
        for order in ((1, 2), (2, 1)):
            with sharded(gitlab, second, 2, mapping=mapping) as sync:
                report = sync.all(order)
            assert (report.exit_code, report.failures) == (0, [])
    assert differences(stores[1].snapshot(), stores[0].snapshot()) == []


# The survey


def test_the_mapping_of_the_survey_counts_whatever_port_has_meanwhile(
    company: tuple[World, GitLabServer, PortServer],
) -> None:
    world, gitlab, port = company
    change_world(world)
    planned = run_sync(gitlab, port, command="plan").report
    with sharded(gitlab, port, 2) as sync:
        sync.survey()
        sync.shard(1)
        next(iter(port.store.integrations.values()))["config"] = mapping_of(resource("group", "gitlabGroup"))
        sync.shard(2)
        report = sync.reconcile()
    assert counts(report) == counts(planned)


def test_a_job_with_other_tokens_or_servers_is_refused(company: tuple[World, GitLabServer, PortServer]) -> None:
    _, gitlab, port = company
    with sharded(gitlab, port, 2) as sync:
        made = sync.survey()
        with sync.run(made) as run:
            other = run.settings.model_copy(update={"gitlab_url": "https://elsewhere.example.com", "tokens": ()})
    assert [fault.where for fault in made.misfits(other)] == ["GitLab", "tokens"]


SECRETS = ("glrt-secret-of-runners", "https://user:hunter2@example.com/repo.git", "demo-secret", "token-of-reader")


def test_secrets_are_in_no_file() -> None:
    world, _, group = acme()
    project = world.add_project(group, "one")
    project |= {"runners_token": SECRETS[0], "import_url": SECRETS[1]}
    project["namespace"] = {**project["namespace"], "token": "x1y2z3"}
    group |= {"runners_token": SECRETS[0]}
    with gitlab_server(world) as gitlab, port_server() as port, sharded(gitlab, port, 2) as sync:
        sync.all()
        contents = [file.read_bytes() for file in sync.folder.rglob("*") if file.is_file()]
    assert len(contents) == 3
    for secret in (*SECRETS, "hunter2", "demo-client", "x1y2z3"):
        assert not [one for one in contents if secret.encode() in one], secret


def test_a_mapping_that_reads_secrets_is_refused() -> None:
    world, _, _ = acme()
    mapping = mapping_of(resource("project", properties={"text": ".runners_token"}))
    store = port_with(blueprint("thing", text="string"))
    with (
        gitlab_server(world) as gitlab,
        port_server(store) as port,
        sharded(gitlab, port, mapping=mapping) as sync,
        pytest.raises(UsageError, match="project: the mapping reads runners_token, a secret that no file"),
    ):
        sync.survey()
    assert store.integrations == {}


def test_a_row_of_a_survey_has_what_is_needed_and_no_secret() -> None:
    row = {
        "id": 1, "description": "d", "topics": ["t"], "runners_token": "s", "issues_access_level": "enabled",
        "ci_job_token_scope_enabled": True, "namespace": {"kind": "group", "deploy_key": "s"},
    }  # fmt: skip
    assert slim(row, frozenset(["topics"])) == {
        "id": 1, "topics": ["t"], "issues_access_level": "enabled", "namespace": {"kind": "group"},
    }  # fmt: skip
    assert slim(row, None) == {
        **{name: value for name, value in row.items() if name != "runners_token"}, "namespace": {"kind": "group"},
    }  # fmt: skip


def test_port_shows_one_sync_from_the_survey_to_the_last_step(company: tuple[World, GitLabServer, PortServer]) -> None:
    _, gitlab, port = company

    def state() -> tuple[str, str]:
        found = next(iter(port.store.integrations.values()))["resyncState"]
        return found["status"], found["lastResyncStart"]

    with sharded(gitlab, port, 2) as sync:
        sync.survey()
        running = state()
        assert running[0] == "running"
        for number in (1, 2):
            report = sync.shard(number)
            # Its own state is no other run's.
            assert (report.problems, state()) == ((), running)
        assert sync.reconcile().problems == ()
    assert state() == ("completed", running[1])


# Files and merging


def test_sealed_files_give_back_what_was_put_into_them(tmp_path: Path) -> None:
    keys = array("Q", range(0, 3 * 100_000, 3))
    seal(tmp_path / "file", {"a": [1, "ü"]}, {"many": keys, "none": array("Q")})
    found = unsealed(tmp_path / "file")
    assert (found.head["a"], list(found.keys("many")), list(found.keys("none"))) == ([1, "ü"], list(keys), [])
    for name in ("missing", "."):
        with pytest.raises(Unsealed, match="cannot be read"):
            unsealed(tmp_path / name)
    (tmp_path / "text").write_text("{}\n" + "x" * 100)
    with pytest.raises(Unsealed):
        unsealed(tmp_path / "text")


def test_merged_keys_are_in_order_and_doubles_are_found() -> None:
    produced, twice = merged([[1, 3, 5, 7], [2, 3, 5], [5, 9]])
    assert list(produced) == [1, 2, 3, 5, 7, 9]
    assert (twice.count, twice.some) == (2, [3, 5])
    assert [key in produced for key in (0, 1, 4, 9, 10)] == [False, True, False, True, False]


def test_evidence_gives_back_what_a_shard_found(tmp_path: Path) -> None:
    later = Create(Entity.of("thing", "1", {"title": "t", "relations": {"one": "x"}}, 2))
    found = evidence.Found(
        reads="r", whole=True, searched={1}, unresolved={"u"}, refused={"f"}, later=[later],
        produced={"thing": array("Q", [entity_key("thing", "1")])}, targets=array("Q", [7]),
    )  # fmt: skip
    report = Report("sync", 0, "2026-01-01T00:00:00+00:00", 1.0)
    evidence.save(tmp_path / "e", evidence.Shard(1, 2), "digest", "run", found, report)
    read = evidence.load(tmp_path / "e")
    assert (read.shard, read.survey, read.report) == (evidence.Shard(1, 2), "digest", report)
    same = ("reads", "whole", "searched", "unresolved", "refused", "later")
    assert {name: getattr(read.found, name) for name in same} == {name: getattr(found, name) for name in same}
    assert list(read.file.keys(f"{PRODUCED}thing")) == list(found.produced["thing"])


# The second look


def test_a_row_that_slipped_between_two_pages_of_a_shard_stays() -> None:
    world, reader, group = acme()
    project = world.add_project(group, "one")
    for number in range(12):
        world.add_merge_request(project, f"m{number}", author=reader)
    mapping = mapping_of(resource("merge-request"), entityDeletionThreshold=1)
    rows = world.merge_requests[project["id"]]
    with gitlab_server(world) as gitlab, port_server(port_with(blueprint("thing"), clock=an_hour_ago)) as port:
        # Pages that GitLab counts would be asked for ahead, and again where the count changes.
        gitlab.limits, gitlab.proxy = Limits(per_page=4), uncounted
        run_sync(gitlab, port, mapping)
        slipped, gone = str(rows[4]["id"]), str(rows.pop()["id"])
        # When the first row leaves after the first page was served, the fifth comes on no page.
        gitlab.edits.append(Edit(r"/merge_requests$", lambda: rows.pop(0), page=1))
        with sharded(gitlab, port, 2, mapping=mapping) as sync:
            sync.survey()
            for number in (1, 2):
                sync.shard(number)
            produced = [key for number in (1, 2) for key in load(sync, number).file.keys(f"{PRODUCED}thing")]
            assert entity_key("thing", slipped) not in produced
            assert sync.reconcile().exit_code == 0
    assert slipped in port.store.identifiers("thing")
    assert gone not in port.store.identifiers("thing")


def test_evidence_merges_in_little_more_memory_than_its_keys_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, shards, part = 6_000, 5, 4096
    monkeypatch.setattr(sealed, "PART_BYTES", part)
    for shard in range(1, shards + 1):
        keys = array("Q", range(shard, shard + count * shards, shards))
        found = evidence.Found(produced={"thing": keys}, targets=keys)
        evidence.save(tmp_path / str(shard), evidence.Shard(shard, shards), "s", "r", found, Report("sync", 0, "", 0.0))
    read = [evidence.load(tmp_path / str(shard)) for shard in range(1, shards + 1)]
    tracemalloc.start()
    produced, _ = reconcile.merged_keys(read)
    targets = reconcile.targets_of(read, produced)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(produced["thing"]), targets) == (count * shards, set())
    # Beside the result, what is read of each file at a time.
    assert peak < 8 * count * shards * 1.3 + shards * 4 * part


# What befell other tools


def test_without_any_evidence_every_shard_is_named(changed: Sharded) -> None:
    before = identifiers(changed.port.store)
    # A pattern that matches nothing stays a pattern in a shell.
    report = changed.reconcile([changed.folder / "evidence" / "*"])
    assert report.exit_code == 1
    assert [one.why.split(" left")[0] for one in report.failures] == ["shard 1", "shard 2", "shard 3"]
    assert before <= identifiers(changed.port.store)


def test_a_shard_that_cannot_begin_leaves_no_evidence_of_an_earlier_try(changed: Sharded) -> None:
    assert changed.file(2).exists()
    with changed.run() as run:
        session = Session(io.StringIO(), io.StringIO(), {})
        with pytest.raises(UsageError):
            leave_evidence(session, run.settings, changed.folder, evidence.Shard(2, 3), changed.file(2), lambda _: None)
    assert not changed.file(2).exists()


def test_more_shards_than_units_leave_evidence_of_nothing() -> None:
    world, _, group = acme()
    world.add_issue(world.add_project(group, "one"), "a title")
    mapping = mapping_of(resource("issue"))
    store = port_with(blueprint("thing"))
    with gitlab_server(world) as gitlab, port_server(store) as port, sharded(gitlab, port, 4, mapping=mapping) as sync:
        assert sync.all().exit_code == 0
        assert [load(sync, number).blueprints for number in (1, 2, 3, 4)] == [["thing"], [], [], []]
    assert store.count("thing") == 1


CUT = """
import sys
from pathlib import Path
from gitlab_port_export.shards.survey import load
from gitlab_port_export.shards.units import digest_of
survey = load(Path(sys.argv[1]))
plan, shares = survey.cut(survey.mapping.read()[0])
print([digest_of(plan, share) for share in shares])
"""


def test_every_process_cuts_the_plan_alike_whatever_its_hashes(company: tuple[World, GitLabServer, PortServer]) -> None:
    _, gitlab, port = company
    found = set()
    with sharded(gitlab, port, 4) as sync:
        sync.survey()
        for seed in ("1", "2"):
            environ = process_environ({"PYTHONHASHSEED": seed})
            command = [sys.executable, "-c", CUT, str(sync.folder / "survey")]
            found.add(subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout)
    (cut,) = found
    assert cut.count("'") == 8


def test_what_a_lower_role_alone_leaves_out_is_held_as_in_one_run() -> None:
    world, reader, group = acme()
    lowered = world.add_group("lowered")
    world.add_member(lowered, reader, OWNER)
    for place in (group, lowered):
        world.add_issue(world.add_project(place, "one"), "a title")
    mapping = mapping_of(resource("issue"), resource("project", "service", identifier=".path_with_namespace"))
    store = port_with(blueprint("thing"), blueprint("service"), clock=an_hour_ago)
    with gitlab_server(world) as gitlab, port_server(store) as port:
        run_sync(gitlab, port, mapping)
        world.remove_member(lowered, reader)
        world.add_member(lowered, reader, REPORTER)
        planned = run_sync(gitlab, port, mapping, command="plan").report
        with sharded(gitlab, port, 2, mapping=mapping) as sync:
            report = sync.all()
    assert {one.reason for one in planned.held} == {"role"}
    assert report.held == planned.held
    assert (store.count("thing"), store.count("service")) == (2, 2)


def test_texts_of_servers_in_evidence_are_without_secrets(tmp_path: Path) -> None:
    found = evidence.Found(faults=[Problem("read", "GitLab said glpat-abcdef123456", token="token 1")])
    report = Report("sync", 0, "2026-01-01T00:00:00+00:00", 1.0)
    redact = Redactor(["glpat-abcdef123456"]).redact
    evidence.save(tmp_path / "e", evidence.Shard(1, 1), "s", "r", found, report, redact)
    assert b"glpat-abcdef123456" not in (tmp_path / "e").read_bytes()
    (fault,) = evidence.load(tmp_path / "e").found.faults
    assert isinstance(fault, Problem)
    assert fault.token == "token 1"


def test_a_run_beside_another_says_so_once(company: tuple[World, GitLabServer, PortServer]) -> None:
    _, gitlab, port = company
    (integration,) = port.store.integrations.values()
    now = datetime.now(UTC)
    integration["resyncState"] = {"status": "running", "lastResyncStart": now.isoformat(), "updatedAt": now.isoformat()}
    with sharded(gitlab, port, 2) as sync:
        report = sync.all()
    assert [one.why.split(" has been")[0] for one in report.problems] == ["another run of my-gitlab-v2-integration"]


def test_what_a_lower_role_alone_shows_and_could_not_be_read_is_held_as_in_one_run() -> None:
    world, reader, group = acme()
    lowered = world.add_group("lowered")
    world.add_member(lowered, reader, OWNER)
    for place in (group, lowered):
        world.add_issue(world.add_project(place, "one"), "a title")
    mapping = mapping_of(resource("issue"), resource("project", "service", identifier=".path_with_namespace"))
    store = port_with(blueprint("thing"), blueprint("service"), clock=an_hour_ago)
    with gitlab_server(world) as gitlab, port_server(store) as port:
        run_sync(gitlab, port, mapping)
        # Port holds the project, but as somebody else's: so something there was exported before.
        store.seed("service", [{"identifier": "lowered/one"}], "a script")
        world.remove_member(lowered, reader)
        world.add_member(lowered, reader, REPORTER)
        gitlab.faults.append(Fault(rf"/groups/{lowered['id']}/issues$", gitlab_faults.forbidden()))
        planned = run_sync(gitlab, port, mapping, command="plan").report
        with sharded(gitlab, port, 2, mapping=mapping) as sync:
            report = sync.all()
    assert [one.blueprint for one in planned.held] == ["thing"]
    assert report.held == planned.held
    assert store.count("thing") == 2


def test_entities_of_files_are_written_by_the_last_step_as_in_one_run() -> None:
    world, _, group = acme()
    app = world.add_project(group, "app")
    world.add_project(group, "other")
    lines = ("identifier: app", "blueprint: thing", "properties: {text: of a file, more: of a file}", "---",
             "{identifier: alone, blueprint: thing, relations: {one: other}}")  # fmt: skip
    world.set_file(app, "port.yml", "\n".join(lines) + "\n")
    mapping = mapping_of(
        resource("project", identifier=".path", properties={"text": ".name"}), specPath="**/port.yml",
        createMissingRelatedEntities=False,
    )  # fmt: skip
    things = blueprint("thing", {"one": "thing"}, text="string", more="string")
    one, many = port_with(things, clock=an_hour_ago), port_with(things, clock=an_hour_ago)
    with gitlab_server(world) as gitlab, port_server(one) as port, port_server(many) as other:
        for gone in (None, "other"):
            if gone:
                world.delete_project(next(row for row in world.projects.values() if row["path"] == gone))
                world.set_file(app, "port.yml", "identifier: app\nblueprint: thing\n")
            whole = run_sync(gitlab, port, mapping).report
            with sharded(gitlab, other, 2, mapping=mapping) as sync:
                report = sync.all()
            assert differences(many.snapshot(), one.snapshot()) == []
            # The last step has to learn for itself that this GitLab says where a list ends.
            assert report.gitlab_requests <= whole.gitlab_requests + 2 + 1
            assert {problem.why for problem in report.problems} == {problem.why for problem in whole.problems}
            assert report.held == whole.held


@pytest.mark.parametrize("dialect", ["gitlab-v2", "gitlab"])
def test_rows_of_a_survey_have_every_field_that_a_mapping_reads(dialect: str) -> None:
    world = parity.company()
    texts = dict.fromkeys(("text", "more"), "string")
    mapping = mapping_of(
        resource(
            "project", "project",
            properties={"text": ".description", "more": '.__labels // [] | map(.name) | join(",")'},
            selector={"includeLanguages": True, "includeLabels": True, "includedFiles": ["README.md"]},
        ),
        resource("group", "group", properties={"text": ".description", "more": '.["web_url"]'}),
        resource(
            "group-with-members", "other", properties={"text": ".visibility", "more": ".__members | length | tostring"}
        ),
        resource("pipeline", "pipeline", properties={"text": ".__project.name", "more": ".__project.visibility"}),
        visibility={"minAccessLevel": 30},
    )  # fmt: skip
    names = ("project", "group", "other", "pipeline")
    one, many = (port_with(*(blueprint(name, **texts) for name in names)) for _ in range(2))
    with gitlab_server(world) as gitlab, port_server(one) as port, port_server(many) as other:
        run_sync(gitlab, port, mapping, type=dialect)
        with sharded(gitlab, other, 2, mapping=mapping, type=dialect) as sync:
            made = sync.survey()
            for number in (1, 2):
                sync.shard(number)
            sync.reconcile()
    assert differences(many.snapshot(), one.snapshot()) == []
    kept = {name for place in made.inventory.projects() for name in place.row}
    assert ("star_count" in kept) == (dialect == "gitlab")
