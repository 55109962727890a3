"""Plan files: sync --plan makes exactly the changes that plan --out wrote, or none where something has changed."""

import hashlib
import json
import os
import re
import stat
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, Protocol

import pytest

from conftest import INTEGRATION, Bench
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.demo.gitlab import Fault
from gitlab_port_export.demo.gitlab_faults import Slow, reply_json
from gitlab_port_export.demo.port_drafts import Mode
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import Recorded as PortRecorded
from gitlab_port_export.demo.port_faults import refuse
from gitlab_port_export.demo.world import change_world
from gitlab_port_export.gitlab.kinds import SELECTORS
from gitlab_port_export.mapping.compare import compare
from gitlab_port_export.mapping.load import load_mapping
from gitlab_port_export.model import Create, Delete, Entity, Update
from gitlab_port_export.port import defaults
from gitlab_port_export.sync import plan_file as planfile
from gitlab_port_export.sync.plan_apply import MAX_NAMED, differences
from testbed.harness import blueprint, mapping_of, resource
from testbed.here import Printed, run_here

pytestmark = pytest.mark.usefixtures("lent_evaluator")

BASIS = planfile.Basis("my-gitlab", "gitlab-v2", "https://api.getport.io", "org_demo", "sha256:x")


class Run(Protocol):
    """Runs a command in the bench's folder, in this process."""

    def __call__(self, command: Literal["sync", "plan"] = "sync", **options: Any) -> Printed: ...


@pytest.fixture
def run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(command: Literal["sync", "plan"] = "sync", **options: Any) -> Printed:
        environ = bench.environ(**{name: options.pop(name) for name in list(options) if name.isupper()})
        found = run_here(environ, bench.folder, monkeypatch, command=command, as_json=True, **options)
        assert [secret for secret in bench.secrets if secret in found.all] == []
        return found

    return call


def counts(ran: Printed) -> tuple[int, int, int]:
    found = json.loads(ran.out)["total"]
    return found["created"], found["updated"], found["deleted"]


def content(bench: Bench) -> dict[str, Any]:
    """What is in the plan file."""
    found: dict[str, Any] = json.loads((bench.folder / "plan.json").read_text(encoding="utf-8"))
    return found


def planned(bench: Bench, run: Run, code: int = 0) -> dict[str, Any]:
    """Write a plan file after GitLab has changed a little; what is in it."""
    bench.sync_an_hour_ago()
    change_world(bench.world)
    if code:
        bench.gitlab.faults.append(Fault(r"/groups/\d+/issues", reply_json(403, {"message": "403 Forbidden"})))
    ran = run("plan", out=Path("plan.json"))
    assert ran.code == code, ran.all
    bench.gitlab.requests.clear()
    bench.port.requests.clear()
    return content(bench)


def of(plan: dict[str, Any], action: str) -> list[tuple[str, str]]:
    """Blueprint and identifier of each change of that sort."""
    return [(one["blueprint"], one["identifier"]) for one in plan["changes"] if one["action"] == action]


def refused(bench: Bench, run: Run, *words: str, **changes: Any) -> None:
    """The plan is refused with all of these words, and nothing was written."""
    before = bench.store.snapshot()
    ran = run(plan=Path("plan.json"), **changes)
    assert ran.code == 2, ran.all
    assert [word for word in words if word not in ran.err] == [], ran.err
    assert bench.changing_calls() == []
    assert bench.store.snapshot() == before


def test_a_plan_is_applied_exactly_and_gitlab_is_not_asked(bench: Bench, run: Run) -> None:
    plan = planned(bench, run)
    actions = [change["action"] for change in plan["changes"]]
    assert {name: actions.count(name) for name in actions} == {"create": 1, "update": 1, "delete": 7}
    bench.world.add_merge_request(next(iter(bench.world.projects.values())), "after the plan")
    ran = run(plan=Path("plan.json"))
    assert (ran.code, counts(ran)) == (0, (1, 1, 7)), ran.err
    assert bench.gitlab.requests == []
    held = bench.held()
    for change in plan["changes"]:
        assert (change["identifier"] in held[change["blueprint"]]) == (change["action"] != "delete")
    assert bench.states() == ["running", "completed"]
    assert counts(run("plan")) == (1, 0, 0)


def test_a_plan_file_is_for_its_owner_and_holds_no_secret(bench: Bench) -> None:
    assert bench.run("plan", "--out", "plan.json").returncode == 0
    path = bench.folder / "plan.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="utf-8")
    assert [secret for secret in bench.secrets if secret in text] == []
    assert {entry.name for entry in bench.folder.iterdir()} == {"plan.json"}
    assert bench.store.writes == 0
    ran = bench.run("sync", "--plan", "plan.json")
    assert ran.returncode == 0
    assert "88 created, 0 updated, 0 deleted; 0 GitLab requests" in ran.stdout
    again = bench.run("sync", "--plan", "plan.json")
    assert again.returncode == 2
    assert [
        word for word in ("exists in Port by now", "and 68 more", "make a new plan") if word not in again.stderr
    ] == []
    assert bench.run("plan", "--detailed-exitcode").returncode == 0


def test_entities_that_are_not_as_they_were_stop_the_whole_plan(bench: Bench, run: Run) -> None:
    plan = planned(bench, run)
    updated = of(plan, "update")[0]
    edited, gone, foreign, *_ = of(plan, "delete")
    for name, identifier in (updated, edited):
        row = {"identifier": identifier, "title": "by hand"}
        bench.store.write(name, row, Mode(upsert=True, merge=True), bench.store.author("someone"))
    bench.store.delete(gone[0], [gone[1]], cascade=False)
    bench.store.get(*foreign).datasource = "somebody else"
    refused(
        bench,
        run,
        f"{' '.join(updated)} has changed in Port: title",
        f"{' '.join(edited)} has changed in Port: title, updatedAt",
        f"{' '.join(gone)} is gone from Port",
        f"{' '.join(foreign)} is not of this integration",
    )


def test_another_mapping_and_another_integration_stop_the_plan(bench: Bench, run: Run) -> None:
    planned(bench, run)
    config = bench.store.integrations[INTEGRATION]["config"]
    config["resources"][0]["selector"]["query"] = ".id != 1"
    selector = "resource 0 (member): selector.query: true → .id != 1\n"
    refused(bench, run, f"with the mapping of integration {INTEGRATION} in Port", selector)
    words = f"the plan was made for the integration {INTEGRATION}, and this run has another"
    refused(bench, run, words, OCEAN__INTEGRATION__IDENTIFIER="another")


MAPPING = """
deleteDependentEntities: {cascade}
resources:
  - kind: project
    selector: {{query: 'true'}}
    port: {{entity: {{mappings: {{identifier: .path_with_namespace, title: {title}, blueprint: '"service"'}}}}}}
"""


def test_a_plan_made_with_a_file_needs_no_file_again(bench: Bench, run: Run) -> None:
    bench.sync_an_hour_ago()
    file = bench.folder / "mine.yml"
    file.write_text(MAPPING.format(cascade="false", title='"\\"mine\\""'), encoding="utf-8")
    made = run("plan", out=Path("plan.json"), mapping_file=file)
    assert "apply this plan with: gitlab-port-export sync --plan plan.json" in made.err
    file.rename(bench.folder / "elsewhere.yml")
    ran = run(plan=Path("plan.json"))
    assert (ran.code, counts(ran)) == (made.code, counts(made)), ran.all
    assert counts(ran)[1] > 0
    assert "mine.yml, as the plan file holds it" in json.loads(ran.out)["mapping_origin"]


def test_a_plan_is_refused_for_what_really_differs_in_the_mapping_and_names_it(bench: Bench, run: Run) -> None:
    bench.sync_an_hour_ago()
    file, other = bench.folder / "mine.yml", bench.folder / "other.yml"
    file.write_text(MAPPING.format(cascade="false", title=".name"), encoding="utf-8")
    other.write_text(f"# a comment\n{MAPPING.format(cascade='true', title='.path')}", encoding="utf-8")
    assert run("plan", out=Path("plan.json"), mapping_file=file).code in (0, 5)
    bench.port.requests.clear()
    words = ("deleteDependentEntities: false → true", "resource 0 (project): title: .name → .path")
    refused(bench, run, *words, mapping_file=other)
    other.write_text(f"# a comment\n{MAPPING.format(cascade='false', title='.name')}", encoding="utf-8")
    assert run(plan=Path("plan.json"), mapping_file=other).code in (0, 5)


DEFAULTS = [file.read_text(encoding="utf-8") for file in Path(defaults.__file__).parent.glob("*mapping*.yml")]
SEARCHES = """
deleteDependentEntities: true
specPath: [a.yml, "**/b.yml"]
resources:
  - kind: issue
    selector: {query: 'true', state: closed}
    port:
      itemsToParse: .labels
      entity:
        mappings:
          - identifier: .item
            blueprint: '"label"'
            team: {combinator: '"and"', rules: [{property: '"name"', operator: '"="', value: .x}]}
            relations:
              owner: {combinator: '"and"', rules: [{property: '"mail"', operator: '"="', value: .author.email}]}
          - {identifier: .id, blueprint: '"issue"', properties: {n: 5}}
"""


@pytest.mark.parametrize("text", [*DEFAULTS, SEARCHES])
def test_a_plan_file_holds_all_of_its_mapping(text: str) -> None:
    mapping, _ = load_mapping(text, "m.yml", SELECTORS)
    written = json.loads(json.dumps(asdict(planfile.held_mapping(mapping, given=True))))
    held, _ = planfile.PlannedMapping(**written).read()
    assert planfile.digest_of(held) == planfile.digest_of(mapping)
    assert not compare(mapping, held)
    assert held.cascades == mapping.cascades
    assert compare(mapping, held.model_copy(update={"resources": held.resources[1:]}))


def test_the_digest_of_a_mapping_is_of_the_whole_selector() -> None:
    texts = (SEARCHES, SEARCHES.replace("state: closed", "state: opened"))
    assert len({planfile.digest_of(load_mapping(text, "m.yml", SELECTORS)[0]) for text in texts}) == 2


def test_only_a_plan_file_that_was_written_is_offered_to_apply(bench: Bench, run: Run) -> None:
    bench.gitlab.faults.append(Fault(r"/projects", reply_json(500, {})))
    assert "apply this plan" not in run("plan").err


@pytest.mark.parametrize("in_token", [True, False])
def test_credentials_of_another_organization_stop_the_plan(bench: Bench, run: Run, in_token: bool) -> None:
    """A plan that only creates would find nothing changed there."""
    bench.store.organization_in_token = in_token
    assert run("plan", out=Path("plan.json")).code == 0
    assert content(bench)["organization"] == "org_demo"
    bench.port.requests.clear()
    bench.store.organization = "org_other"
    refused(bench, run, "the plan was made for the Port organization org_demo, and this run has org_other")
    bench.store.organization = "org_demo"
    assert run(plan=Path("plan.json")).code == 0


def test_where_port_does_not_say_whose_credentials_they_are_others_stop_the_plan(bench: Bench, run: Run) -> None:
    bench.store.organization_in_token = False
    bench.store.credentials["another-client"] = "demo-secret"
    bench.port.faults.append(PortFault("GET /v1/organization$", refuse(403)))
    assert run("plan", out=Path("plan.json")).code == 0
    assert "demo-client" not in json.dumps(content(bench))
    bench.port.requests.clear()
    words = "the plan was made for the Port organization of the client sha256:"
    refused(bench, run, words, OCEAN__PORT__CLIENT_ID="another-client")
    assert run(plan=Path("plan.json")).code == 0


def test_where_port_fails_to_say_whose_credentials_they_are_nothing_is_done(bench: Bench, run: Run) -> None:
    bench.store.organization_in_token = False
    bench.port.faults.append(PortFault("GET /v1/organization$", refuse(500)))
    ran = run("plan", out=Path("plan.json"))
    assert (ran.code, "which organization" in ran.err) == (4, True)
    assert not (bench.folder / "plan.json").exists()


def test_a_blueprint_that_port_lacks_is_one_problem_of_the_plan_and_of_its_sync(bench: Bench, run: Run) -> None:
    bench.store.add_blueprint(blueprint("thing"))
    mapping = mapping_of(resource("project", "thing"), resource("group", "nowhere"))
    file = Path(bench.file("m.json", json.dumps(mapping)))
    for made in (run("plan", mapping_file=file, out=Path("plan.json")), run(mapping_file=file, plan=Path("plan.json"))):
        found = json.loads(made.out)
        assert (made.code, [one["why"] for one in found["problems"]]) == (1, ["Port has no blueprint 'nowhere'"])
        assert found["total"]["created"] > 0


def test_a_plan_file_takes_no_inputs_place(bench: Bench, run: Run) -> None:
    mapping = json.dumps(mapping_of(resource("project", "thing")))
    bench.store.add_blueprint(blueprint("thing"))
    bench.file("m.json", mapping)
    os.link(bench.folder / "m.json", bench.folder / "same.json")
    for name in ("m.json", "./m.json", "same.json"):
        ran = run("plan", mapping_file=Path("m.json"), out=Path(name))
        assert ran.code == 2, ran.all
        assert f"--out: {Path(name)} is read as the mapping" in ran.err
        assert (bench.folder / "m.json").read_text(encoding="utf-8") == mapping
    bench.file("port.env", "OCEAN__EXPORT__WORKERS=2")
    ran = run("plan", env_file=Path("port.env"), out=Path("port.env"))
    assert (ran.code, "--out: port.env is read as the file of variables" in ran.err) == (2, True)
    bench.file("old.json", "a plan")
    ran = run("sync", plan=Path("old.json"), report_json=Path("old.json"))
    assert (ran.code, "--report-json: old.json is read as the plan file" in ran.err) == (2, True)
    assert (bench.folder / "old.json").read_text(encoding="utf-8") == "a plan"
    bench.file("secret", "demo-secret")
    ran = run("plan", out=Path("secret"), OCEAN__PORT__CLIENT_SECRET="", OCEAN__PORT__CLIENT_SECRET_FILE="secret")
    assert (ran.code, "--out: secret is read as the file of" in ran.err) == (2, True)
    assert (bench.gitlab.requests, bench.port.requests) == ([], [])


@pytest.mark.parametrize("sort", ["link", "dangling link", "pipe", "folder"])
def test_a_plan_file_is_an_ordinary_file(bench: Bench, run: Run, sort: str) -> None:
    path, other = bench.folder / "plan.json", bench.folder / "other.json"
    match sort:
        case "link":
            other.write_text("mine", encoding="utf-8")
            path.symlink_to(other)
        case "dangling link":
            path.symlink_to(other)
        case "pipe":
            os.mkfifo(path)
        case _:
            path.mkdir()
    ran = run("plan", out=Path("plan.json"))
    assert ran.code == 2, ran.all
    words = {"pipe": "is no ordinary file", "folder": "is a folder"}.get(sort, "is a link")
    assert f"--out: plan.json {words}" in ran.err
    assert path.is_symlink() == ("link" in sort)
    assert other.exists() == (sort == "link")
    assert (bench.gitlab.requests, bench.port.requests) == ([], [])


def test_a_plan_file_that_cannot_be_replaced_is_wrong_usage(
    bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder that may be written by anybody, where another user's file is."""
    bench.file("plan.json", "theirs")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", forbidden)
    ran = run("plan", out=Path("plan.json"))
    assert (ran.code, "--out: plan.json cannot be written: Operation not permitted" in ran.err) == (2, True)
    assert (bench.gitlab.requests, bench.port.requests) == ([], [])


def test_a_folder_that_may_not_be_written_takes_no_plan_file(
    bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.file("plan.json", "old")
    usual = os.access
    # The tests may run as root, whom modes do not keep out.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path(".") and usual(path, mode))
    ran = run("plan", out=Path("plan.json"))
    assert (ran.code, "--out: the folder . may not be written" in ran.err) == (2, True)
    assert (bench.gitlab.requests, bench.port.requests) == ([], [])


def test_problems_and_held_deletions_of_the_plan_are_those_of_its_sync(bench: Bench, run: Run) -> None:
    plan = planned(bench, run, code=1)
    assert {problem["kind"] for problem in plan["problems"]} == {"issue"}
    ran = run(plan=Path("plan.json"))
    found = json.loads(ran.out)
    assert (ran.code, {problem["kind"] for problem in found["problems"]}) == (1, {"issue"})
    assert found["total"]["held"] == sum(one["count"] for one in found["held"]) > 0
    assert counts(ran)[2] == sum(change["action"] == "delete" for change in plan["changes"])


def test_a_plan_that_did_not_end_leaves_no_file_to_apply(bench: Bench, run: Run) -> None:
    bench.file("plan.json", "an older plan")
    bench.gitlab.faults.append(Fault("/issues", Slow(60)))
    ran = run("plan", out=Path("plan.json"), deadline="2s")
    assert ran.code == 1, ran.all
    assert not (bench.folder / "plan.json").exists()
    assert "plan.json was not written: the plan did not come to its end" in ran.out


def test_files_that_cannot_be_are_wrong_usage(bench: Bench, run: Run) -> None:
    ran = run("plan", out=Path("none/plan.json"))
    assert (ran.code, "--out: the folder none does not exist" in ran.err) == (2, True)
    refused(bench, run, "plan.json: cannot be read: No such file or directory")


def test_nothing_is_deleted_when_something_was_not_written(bench: Bench, run: Run) -> None:
    planned(bench, run)
    bench.port.faults.append(PortFault("POST .*/entities/bulk$", refuse(422)))
    before = bench.held()
    ran = run(plan=Path("plan.json"))
    found = json.loads(ran.out)["total"]
    assert (ran.code, found["failed"], found["deleted"], found["held"]) == (1, 2, 0, 7)
    assert bench.held() == before


def test_a_plan_that_is_older_than_a_day_is_written_and_deletes_nothing(bench: Bench, run: Run) -> None:
    planned(bench, run)
    path = bench.folder / "plan.json"
    made = (datetime.now(UTC) - timedelta(hours=25)).isoformat(timespec="seconds")
    path.write_text(sealed(re.sub('"made":"[^"]*"', f'"made":"{made}"', path.read_text("utf-8"))), encoding="utf-8")
    ran = run(plan=Path("plan.json"))
    assert (ran.code, counts(ran)) == (5, (1, 1, 0)), ran.all
    held = json.loads(ran.out)["held"]
    assert sum(one["count"] for one in held) == 7
    assert {(one["reason"], one["hint"]) for one in held} == {("plan", "make a new plan")}
    assert "made 25 hours ago" in held[0]["why"]


def test_what_changes_while_the_plan_is_written_is_not_deleted(bench: Bench, run: Run) -> None:
    gone = of(planned(bench, run), "delete")
    blueprint, identifier = gone[-1]

    def change(request: PortRecorded) -> bool:
        if request.path.endswith("/entities/bulk"):
            row = {"identifier": identifier, "title": "Ours"}
            bench.store.write(blueprint, row, Mode(upsert=True, merge=True), bench.store.author("someone"))
        return False

    bench.port.faults.append(PortFault(change, refuse(500)))
    ran = run(plan=Path("plan.json"))
    found = json.loads(ran.out)["total"]
    # What it relates to stays with it.
    assert (ran.code, found["deleted"], found["held"]) == (0, len(gone) - 2, 1), ran.err
    assert bench.store.get(blueprint, identifier).title == "Ours"


def test_what_port_has_to_search_for_is_found_when_the_plan_is_made(bench: Bench, run: Run) -> None:
    search = {
        "combinator": '"and"',
        "rules": [{"property": '"$identifier"', "operator": '"="', "value": ".path_with_namespace"}],
    }
    bench.store.add_blueprint(blueprint("thing", {"other": "thing"}, text="string"))
    things = resource("project", identifier=".path_with_namespace", title=".name")
    links = resource("project", identifier='"link-\\(.id)"', relations={"other": search})
    bench.file("one.json", json.dumps(mapping_of(things)))
    bench.file("both.json", json.dumps(mapping_of(things, links)))
    assert run("sync", mapping_file=Path("one.json")).code == 0
    both = Path("both.json")
    assert run("plan", mapping_file=both, out=Path("plan.json")).code == 0
    found = {change["body"]["relations"]["other"] for change in content(bench)["changes"]}
    assert found == set(bench.held()["thing"])
    ran = run(mapping_file=both, plan=Path("plan.json"))
    assert (ran.code, counts(ran)) == (0, (len(found), 0, 0)), ran.all


# --- the file alone


def states(_: str, names: Sequence[str]) -> dict[str, dict[str, str]]:
    return {name: {"title": "0" * 16, "updatedAt": "then"} for name in names}


def test_a_large_plan_is_written_and_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with (tmp_path / "stream").open("w+b") as stream:
        recorder = planfile.Recorder(stream)
        tracemalloc.start()
        recorder.begin(BASIS, states)
        for number in range(5_000):
            recorder.add(Update(Entity.of("thing", f"{number}", {"title": "t" * 100}, 0), ("title",)))
        recorder.add(Create(Entity.of("thing", "new\ud800", {"title": None}, 0)))
        recorder.add(Delete("thing", "old"))
        recorder.finish()
        recorder.save(path, (), ())
    with planfile.opened(path) as plan:
        assert sum(1 for _ in plan.changes()) == 5_002
        same = differences(plan, BASIS, states, lambda: [("thing", "old"), ("thing", "other")])
        assert same == []
        assert len(differences(plan, BASIS, lambda *_: {}, lambda: [])) == MAX_NAMED + 1
        gone = differences(
            plan, BASIS, lambda name, ids: {k: v for k, v in states(name, ids).items() if k != "old"}, lambda: []
        )
        assert gone == ["thing old is gone from Port"]
        foreign = differences(plan, BASIS, states, lambda: [("thing", "0")])
        assert foreign == ["thing old is not of this integration"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 1_000_000
    assert peak < 1_000_000


def test_a_folder_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"), planfile.opened(tmp_path):
        pass


def a_plan(path: Path) -> str:
    """Write a small plan file; its text."""
    with TemporaryFile() as stream:
        recorder = planfile.Recorder(stream)
        recorder.begin(BASIS, lambda *_: {})
        recorder.add(Create(Entity.of("thing", "new", {"title": "t"}, 0)))
        recorder.add(Delete("thing", "old"))
        recorder.finish()
        recorder.save(path, (), ())
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"title":"', '"title":"x'), "its checksum is another"),
        (lambda text: text + "\n", "its checksum is another"),
        (lambda text: text[: len(text) // 2], "not a plan file, or only a part of one"),
        (lambda text: "", "not a plan file"),
        (lambda text: "[]", "not a plan file"),
        (lambda text: text.replace('"version":4', '"version":1'), "has the plan format 1; this program reads 4"),
        (lambda text: re.sub('"made":"[^"]*"', '"made":"yesterday"', text), "not a plan file"),
        (lambda text: text.replace('"action":"delete"', '"action":"drop"'), "not a plan file"),
        (lambda text: text.replace('"identifier":"old"', '"identifier":["old"]'), "not a plan file"),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path: Path, change: Callable[[str], str], words: str) -> None:
    path = tmp_path / "plan.json"
    text = a_plan(path)
    assert [one["action"] for one in json.loads(text)["changes"]] == ["create", "delete"]
    with planfile.opened(path) as plan:
        assert len(list(plan.changes())) == 2
    assert change(text) != text
    path.write_text(change(text), encoding="utf-8")
    with pytest.raises(UsageError, match=words), planfile.opened(path):
        pass


def sealed(text: str) -> str:
    """The text of a plan file with the checksum that is right for it: it protects from mishaps alone."""
    kept = text[: text.rindex('"checksum"')]
    return f'{kept}"checksum":"sha256:{hashlib.sha256(kept.encode()).hexdigest()}"}}\n'


@pytest.mark.parametrize(
    "rest",
    [
        {"problems": [{"stage": "<script>", "why": "x"}]},
        {"problems": [{"stage": "read", "why": 5}]},
        {"problems": [{"stage": "read", "why": "x", "count": "many"}]},
        {"held": [{"blueprint": "thing", "identifiers": ["x"], "reason": "<b>", "why": "x"}]},
        {"held": [{"blueprint": "thing", "identifiers": [5], "reason": "plan", "why": "x"}]},
    ],
    ids=str,
)
def test_what_a_plan_could_not_decide_is_in_the_words_of_a_report(tmp_path: Path, rest: dict[str, Any]) -> None:
    path = tmp_path / "plan.json"
    text = a_plan(path)
    path.write_text(sealed(text), encoding="utf-8")
    with planfile.opened(path):
        pass
    whole = json.dumps({"problems": [], "held": [], **rest}, separators=(",", ":"))
    path.write_text(sealed(text.replace('"problems":[],"held":[]', whole[1:-1])), encoding="utf-8")
    with pytest.raises(UsageError, match="not a plan file"), planfile.opened(path):
        pass


def test_a_deadline_that_passes_before_port_answers_is_no_bug(bench: Bench, run: Run) -> None:
    ran = run("plan", deadline="0.000001s")
    assert (ran.code, "the deadline passed" in ran.err) == (4, True), ran.err


def test_a_plan_of_a_first_run_relates_what_it_finds_by_a_search_among_its_own_entities(bench: Bench, run: Run) -> None:
    rule = {"property": '"handle"', "operator": '"="', "value": ".author.username"}
    bench.store.add_blueprint(blueprint("human", handle="string"))
    bench.store.add_blueprint(blueprint("request", {"author": "human"}))
    mapping = mapping_of(
        resource("merge-request", "request", relations={"author": {"combinator": '"and"', "rules": [rule]}},
                 selector={"states": ["opened", "merged", "closed"]}),
        resource("member", "human", identifier=".username", properties={"handle": ".username"}),
    )  # fmt: skip
    (bench.folder / "m.yml").write_text(json.dumps(mapping), encoding="utf-8")
    run("plan", out=Path("plan.json"), mapping_file=Path("m.yml"))
    run(plan=Path("plan.json"), mapping_file=Path("m.yml"))
    authors = {content[4].get("author") for content in bench.store.snapshot()["request"].values()}
    assert authors & bench.store.identifiers("human")
    assert counts(run("plan", mapping_file=Path("m.yml"))) == (0, 0, 0)
