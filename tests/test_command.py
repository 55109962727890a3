"""The command from end to end, in processes of its own: what it prints, writes and deletes, and how it ends."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from conftest import INTEGRATION, Bench
from gitlab_port_export import __version__
from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.demo.world import SAMPLE_TOKENS, change_world
from testbed.harness import blueprint, mapping_of, process_environ, resource, running

pytestmark = pytest.mark.usefixtures("lent_evaluator")

PROJECTS = mapping_of(resource("project", "thing", title=".name"))
PROJECTS_TEXT = json.dumps(PROJECTS)


def deleted_with_a_project(bench: Bench, path: str) -> dict[str, set[str]]:
    """The entities that go when a project goes, by blueprint."""
    world, project = bench.world, bench.world.project(path)
    rows = {
        "gitlabMergeRequest": world.merge_requests,
        "gitlabIssue": world.issues,
        "gitlabPipeline": world.pipelines,
        "gitlabJob": world.jobs,
    }
    jobs = {"gitlabJob": world.retried_jobs}
    found = {
        name: {str(row["id"]) for row in lists[project["id"]] if row["id"] not in jobs.get(name, ())}
        for name, lists in rows.items()
    }
    return {"service": {path}} | found


def lost(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is in Port no longer, by blueprint."""
    return {name: gone for name in before if (gone := before[name] - after[name])}


# --- what it deletes


def test_a_deleted_project_takes_its_entities_along_and_nothing_else(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    before, expected = bench.held(), deleted_with_a_project(bench, "payments/cards/fraud-rules")
    change_world(bench.world)
    ran = bench.run()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert lost(before, bench.held()) == expected
    assert all(expected.values())
    # 7 deleted, a new merge request, a renamed project
    assert bench.store.writes - sum(map(len, before.values())) >= 9
    assert bench.states() == ["running", "completed"]


FORBIDDEN = {
    "members": (r"/members", {"gitlabMember", "gitlabGroup"}),
    "merge requests": (r"/merge_requests", {"gitlabMergeRequest"}),
    "issues": (r"/issues", {"gitlabIssue"}),
    "pipelines": (r"/pipelines", {"gitlabPipeline", "gitlabJob"}),
    "jobs": (r"/jobs", {"gitlabJob"}),
    "languages": (r"/languages|/graphql", {"service"}),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_kind_that_may_not_be_read_loses_nothing(name: str, bench: Bench) -> None:
    bench.sync_an_hour_ago()
    before = bench.held()
    payments = bench.world.group("payments")
    zoe = next(user for user in bench.world.users.values() if user["username"] == "zoe")
    bench.world.remove_member(payments, zoe)
    change_world(bench.world)
    path, unread = FORBIDDEN[name]
    bench.gitlab.faults.append(Fault(path, faults.forbidden()))
    ran = bench.run()
    assert ran.returncode == 1, ran.stderr
    assert "403" in ran.stdout
    assert "deletions held (problem)" in ran.stdout
    gone = lost(before, bench.held())
    assert not gone.keys() & unread
    # What was read goes as ever, but for what an entity that stays relates to.
    assert gone.keys() >= {"gitlabMergeRequest", "gitlabIssue", "gitlabJob", "gitlabMember"} - unread
    assert bench.states() == ["running", "failed"]


def test_a_kind_that_no_token_may_list_ends_the_run(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    before = bench.held()
    bench.gitlab.faults.append(Fault("^/groups$", faults.forbidden()))
    assert bench.run().returncode == 3
    assert bench.held() == before
    assert bench.states() == ["running", "failed"]


@pytest.fixture
def emptied(bench: Bench) -> Bench:
    """A bench whose Port has 12 things, of which GitLab has lost 6."""
    bench.store.add_blueprint(blueprint("thing", title="string"))
    bench.sync_an_hour_ago(PROJECTS)
    bench.file("m.yml", PROJECTS_TEXT)
    for path in ("payments", "platform/runtime"):
        bench.world.delete_group(bench.world.group(path))
    return bench


def test_deletions_beyond_the_limit_are_held_until_they_are_released(emptied: Bench) -> None:
    ran = emptied.run("sync", "--mapping", "m.yml")
    assert ran.returncode == 5
    assert "6 of 12 entities would go; the limit is 3" in ran.stdout
    assert "run once with --allow-deletes thing=6" in ran.stdout
    assert emptied.states() == ["running", "completed"]
    assert emptied.run("sync", "--mapping", "m.yml", "--allow-deletes", "thing=5").returncode == 5
    assert len(emptied.held()["thing"]) == 12
    assert emptied.run("sync", "--mapping", "m.yml", "--allow-deletes", "thing=6").returncode == 0
    assert len(emptied.held()["thing"]) == 6


def test_fail_on_decides_what_fails(emptied: Bench) -> None:
    def code(name: str, *options: str) -> int:
        return emptied.run("sync", "--mapping", name, *options).returncode

    faulty = emptied.file("faulty.yml", json.dumps(mapping_of(*PROJECTS["resources"], resource("projekt", "thing"))))
    assert [code("m.yml", "--fail-on", what) for what in ("limit", "never")] == [5, 0]
    assert [code(faulty, "--fail-on", what) for what in ("problems", "limit", "never")] == [1, 0, 0]
    assert len(emptied.held()["thing"]) == 12


# --- where the mapping comes from


def test_a_mapping_is_looked_for_in_order(bench: Bench) -> None:
    def origin(*args: str) -> str:
        ran = bench.run(*args)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()[0].partition(", mapping: ")[2]

    bench.file(".port/resources/port-app-config.yml", PROJECTS_TEXT)
    bench.file(".port/resources/blueprints.json", json.dumps([blueprint("thing", title="string")]))
    bench.file("m.yml", PROJECTS_TEXT)
    assert origin() == ".port/resources/port-app-config.yml"
    assert bench.held().keys() == {"thing"}
    assert bench.store.integrations[INTEGRATION]["config"] == PROJECTS
    assert origin() == f"integration {INTEGRATION} in Port"
    assert origin("sync", "--mapping", "m.yml") == "m.yml"


def test_resources_path_names_the_folder(bench: Bench) -> None:
    bench.store.add_blueprint(blueprint("thing"))
    bench.file("elsewhere/port-app-config.yaml", PROJECTS_TEXT)
    ran = bench.run(OCEAN__RESOURCES_PATH="elsewhere")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "mapping: elsewhere/port-app-config.yaml" in ran.stdout
    assert len(bench.held()["thing"]) == 12


# --- plan


def test_a_plan_shows_reads_and_changes_and_writes_nothing(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    before, expected = bench.held(), deleted_with_a_project(bench, "payments/cards/fraud-rules")
    change_world(bench.world)
    ran = bench.run("plan", "--reads")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    wanted = [
        "  token 1: reads 6 groups and 8 projects",
        "    group platform/runtime",
        "    project platform/gateway",
        "  token 2: reads 1 group and 3 projects",
        "    project research/models",
        "  project: 11 reads, at least 2 GitLab requests",
    ]
    assert [line for line in lines if line in wanted] == wanted
    removed = [line.strip().removeprefix("- ").split(": ")[0] for line in lines if line.startswith("    - ")]
    assert sorted(removed) == sorted(name for names in expected.values() for name in names)
    assert "    ~ platform/infrastructure: Infrastructure as Code" in lines
    assert len([line for line in lines if line.startswith("    + ")]) == 1
    assert bench.held() == before
    assert bench.changing_calls() == []


def test_a_plan_for_an_empty_port_needs_no_blueprints(bench: Bench) -> None:
    ran = bench.run("plan", "--detailed-exitcode")
    assert (ran.returncode, ran.stderr) == (10, ""), ran.stdout
    assert "    + platform/gateway: Gateway" in ran.stdout.splitlines()
    assert bench.changing_calls() == []
    assert (bench.store.blueprints, bench.store.integrations) == ({}, {})


def test_the_detailed_exit_code_of_a_plan(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    assert bench.run("plan", "--detailed-exitcode").returncode == 0
    change_world(bench.world)
    assert bench.run("plan", "--detailed-exitcode").returncode == 10
    assert bench.run("plan").returncode == 0
    bench.world.tokens[SAMPLE_TOKENS[1]].revoked = True
    assert bench.run("plan", "--detailed-exitcode").returncode == 1
    assert bench.changing_calls() == []


# --- what it prints


def document(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document on standard output."""
    found: dict[str, Any] = json.loads(ran.stdout)
    assert found["exit"]["code"] == ran.returncode
    return found


def test_json_is_all_that_goes_to_standard_output(bench: Bench) -> None:
    done = document(bench.run("sync", "--output", "json", "--debug"))
    assert done["exit"]["meaning"] == "Port is in step with GitLab"
    assert (done["problems"], done["total"]["created"]) == ([], sum(map(len, bench.held().values())))
    change_world(bench.world)
    planned = document(bench.run("plan", "--output", "json"))
    update = {"action": "update", "blueprint": "service", "identifier": "platform/infrastructure", "fields": ["title"]}
    assert [one for one in planned["changes"] if update.items() <= one.items()] != []
    assert planned["plan"][0] == "token 1: reads 6 groups and 8 projects"


def test_failures_are_json_too(bench: Bench) -> None:
    wrong = document(bench.run("sync", "--output", "json", OCEAN__EXPORT__WORKERS="many"))
    assert (wrong["exit"]["code"], wrong["problems"][0]["stage"]) == (2, "settings")
    assert "OCEAN__EXPORT__WORKERS" in wrong["problems"][0]["why"]
    refused = bench.run("plan", "--output", "json", OCEAN__PORT__CLIENT_SECRET="not-it")
    assert (document(refused)["exit"]["code"], document(refused)["problems"][0]["stage"]) == (4, "integration")
    assert "refused the credentials" in refused.stderr
    for token in bench.world.tokens.values():
        token.revoked = True
    dead = document(bench.run("sync", "--output", "json"))
    assert (dead["exit"]["code"], [one["stage"] for one in dead["problems"]]) == (3, ["inventory", "inventory"])


@pytest.mark.parametrize(
    "variables",
    [{"NO_COLOR": "1"}, {"GITHUB_ACTIONS": "true", "CI": "true"}, {"TERM": "xterm-256color", "COLORTERM": "truecolor"}],
)
def test_a_pipe_gets_no_escape_sequence(variables: dict[str, str], bench: Bench) -> None:
    """The bench looks for them in every run; here where something could tempt a library to write them."""
    bench.store.add_blueprint(blueprint("thing"))
    faulty = bench.file("faulty.yml", json.dumps(mapping_of(*PROJECTS["resources"], resource("projekt", "thing"))))
    assert bench.run("sync", "--mapping", faulty, **variables).returncode == 1
    assert bench.run("sync", "--bogus", **variables).returncode == 2
    assert bench.run("sync", "--help", **variables).returncode == 0


def test_nothing_is_wrapped_or_cut_off_a_terminal(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    ran = bench.run(COLUMNS="40", LINES="10")
    lines = ran.stdout.splitlines()
    assert lines[0] == f"sync of {INTEGRATION}, mapping: integration {INTEGRATION} in Port"
    assert lines[-1].startswith("exit 0: Port is in step with GitLab (0 created, 0 updated, 0 deleted; ")
    (titles,) = (line for line in lines if line.startswith("blueprint "))
    assert titles.split() == ["blueprint", "created", "updated", "unchanged", "deleted", "held", "failed"]
    refused = bench.run(COLUMNS="40", OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING=None)
    assert len(refused.stderr.splitlines()) == 2
    assert refused.stderr.splitlines()[0].endswith("expected a group access token with read_api, like glpat-…")


def test_version_and_help(bench: Bench) -> None:
    assert bench.run("--version").stdout == f"{__version__}\n"
    shown = bench.run("--help").stdout
    assert [command for command in ("sync", "plan", "demo") if f"  {command} " not in shown] == []
    assert "no account, no network.\n" in shown
    for command, options in {"sync": ("--mapping", "--allow-deletes"), "plan": ("--detailed-exitcode",)}.items():
        shown = bench.run(command, "--help").stdout
        assert [option for option in (*options, "--output", "--deadline") if option not in shown] == []
    assert bench.port.requests == []


# --- where settings come from


def test_dotenv_in_the_working_directory_is_read(bench: Bench) -> None:
    environ = bench.environ()
    addresses = {name for name, value in environ.items() if value.startswith("http")}
    bench.file(".env", "".join(f"{name}='{value}'\n" for name, value in environ.items() if name not in addresses))
    ran = bench.run("plan", **dict.fromkeys(environ.keys() - addresses))
    assert ran.returncode in (0, 1), ran.stderr
    assert bench.gitlab.requests
    # One line says which variables, and no value.
    (line,) = ran.stderr.splitlines()
    assert line.startswith(".env sets OCEAN__")
    assert set(re.findall(r"OCEAN__\w+", line)) == environ.keys() - addresses
    assert not [value for value in environ.values() if value in line]


def test_options_beat_the_environment_and_that_beats_dotenv(bench: Bench) -> None:
    def missed(*args: str, **changes: str) -> str:
        ran = bench.run("sync", *args, **changes)
        assert ran.returncode == 2
        return ran.stderr.partition("error: ")[2].partition(":")[0]

    bench.file("port.env", "OCEAN__EXPORT__MAPPING=dotenv.yml\n")
    named = {"OCEAN__EXPORT__ENV_FILE": "port.env"}
    assert missed(**named) == missed("--env-file", "port.env") == "dotenv.yml"
    bench.file(".env", "OCEAN__EXPORT__MAPPING=dotenv.yml\n")
    assert missed(OCEAN__EXPORT__MAPPING="environ.yml") == "environ.yml"
    assert missed("--mapping", "option.yml", OCEAN__EXPORT__MAPPING="environ.yml") == "option.yml"


def test_names_that_begin_with_a_dash_are_names_like_any_other(bench: Bench) -> None:
    # What changes in the second in which a plan begins is not deleted; instants of the stand-in never go back.
    bench.store.clock = lambda: time.time() - 3600
    bench.store.add_blueprint(blueprint("-x"))
    named = {"OCEAN__INTEGRATION__IDENTIFIER": "-a"}
    bench.file("m.yml", json.dumps(mapping_of(resource("project", "-x", identifier='"-" + .path'))))
    ran = bench.run("sync", "--mapping", "m.yml", **named)
    bench.store.clock = time.time
    assert ran.returncode == 0, ran.stderr
    written = bench.held()["-x"]
    assert len(written) == 12
    assert all(name.startswith("-") for name in written)
    again = bench.run("sync", "--mapping", "m.yml", "--report-json", "r.json", **named)
    assert again.returncode == 0
    assert json.loads((bench.folder / "r.json").read_text())["total"]["unchanged"] == 12
    # All are gone: held by the empty source, and released by name.
    bench.file("m.yml", json.dumps(mapping_of(resource("project", "-x", query="false"))))
    assert bench.run("sync", "--mapping", "m.yml", **named).returncode == 5
    for option in (["--allow-deletes", "-x"], ["--allow-deletes=-x"]):
        planned = bench.run("plan", "--mapping", "m.yml", *option, **named)
        assert planned.returncode == 0, planned.stdout + planned.stderr
        assert "12 to delete" in planned.stdout


# --- how it ends


class Waiting:
    """A GitLab that does not answer one endpoint while the bench lives; `reached` is set when it was asked."""

    def __init__(self, bench: Bench, path: str) -> None:
        self.reached = threading.Event()
        bench.gitlab.faults.append(Fault(lambda request: path in request.path and self._note(), faults.Slow(60)))

    def _note(self) -> bool:
        self.reached.set()
        return True


def test_a_sync_does_not_load_what_it_may_not_need() -> None:
    others = {"wcmatch", "bracex"} | {
        f"gitlab_port_export.{name}"
        for name in (
            *("commands.check", "commands.preview", "demo", "commands.check_output", "commands.preview_output"),
            *("report.html", "report.junit"),
            *("gitlab.kinds.skill", "gitlab.kinds.project"),
        )
    }
    shown = "import sys, gitlab_port_export.commands.run; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", shown], env=process_environ({}), capture_output=True, text=True, check=True
    )
    assert set(ran.stdout.split()) & others == set()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_at_once_and_nothing_is_deleted(sent: signal.Signals, code: int, bench: Bench) -> None:
    bench.sync_an_hour_ago()
    before = bench.store.snapshot()
    change_world(bench.world)
    waiting = Waiting(bench, "/merge_requests")
    command = [sys.executable, "-m", "gitlab_port_export", "sync", "--output", "json", "--report-json", "report.json"]
    with running(command, bench.environ(), bench.folder) as process:
        assert waiting.reached.wait(30)
        process.send_signal(sent)
        # GitLab would have it wait for a minute.
        out, err = process.communicate(timeout=10)
    ran = bench.checked(subprocess.CompletedProcess(command, process.returncode, out, err))
    assert document(ran)["exit"]["code"] == code
    assert (bench.folder / "report.json").read_text(encoding="utf-8") == out
    assert bench.store.snapshot() == before
    assert bench.states() == ["running", "aborted"]


def test_a_deadline_ends_the_run_and_nothing_is_deleted(bench: Bench) -> None:
    bench.sync_an_hour_ago()
    before = bench.held()
    change_world(bench.world)
    Waiting(bench, "/merge_requests")
    # The harness gives a run 60 seconds, as long as GitLab takes for its first answer.
    ran = bench.run("sync", "--deadline", "2s", "--report-markdown", "report.md")
    assert ran.returncode == 1, ran.stderr
    assert "the deadline passed" in (bench.folder / "report.md").read_text(encoding="utf-8")
    assert "the deadline passed before everything was read and written" in ran.stdout
    assert "allow more time (--deadline)" in ran.stdout
    assert lost(before, bench.held()) == {}
    assert bench.states() == ["running", "failed"]


# --- raw examples for Port's mapping editor


def test_a_few_raw_rows_a_kind_are_sent_without_addresses_and_tokens(bench: Bench) -> None:
    for project in bench.world.projects.values():
        project["runners_token"] = "GR1348941-hush"
        project["description"] = "ask ada@example.com"
    bench.secrets.append("GR1348941-hush")
    assert bench.run().returncode == 0
    kinds = {"project", "member", "group-with-members", "merge-request", "issue", "pipeline", "job"}
    assert {kind for _, kind in bench.store.examples} == kinds
    assert {len(rows) for rows in bench.store.examples.values()} == {5}
    sent = json.dumps([call.body for call in bench.port.calls("/examples$")])
    assert "hush" not in sent
    assert "@example.com" not in sent


def test_no_raw_rows_are_sent_where_they_are_not_wanted(bench: Bench) -> None:
    assert bench.run(OCEAN__SEND_RAW_DATA_EXAMPLES="false").returncode == 0
    assert bench.store.examples == {}
    assert bench.port.calls("examples") == []
