"""Two runs on one integration: the later one says so, and the user chooses whether it runs."""

import json
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.base.http import Http
from gitlab_port_export.demo.gitlab import Fault, faults, gitlab_server
from gitlab_port_export.demo.gitlab_faults import Slow
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import slow
from gitlab_port_export.demo.port_integrations import add_integration
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import sample_world
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.client import Port
from gitlab_port_export.port.integration import Integration, is_active
from testbed.harness import Ran, run_sync, running

pytestmark = pytest.mark.usefixtures("lent_evaluator")

IDENTIFIER = "my-gitlab-v2-integration"
STATE = f"/integration/{IDENTIFIER}/resync-state"


def after_a_state(status: str, minutes: float, **settings: Any) -> tuple[Ran, PortStore, list[Any]]:
    """A sync that finds the state of another run, last told so many minutes ago."""
    store = PortStore.default()
    told = iso(60 * minutes)
    state = {"status": status, "lastResyncStart": told, "updatedAt": told}
    add_integration(store, {"installationId": IDENTIFIER, "installationAppType": "gitlab-v2", "config": {}})
    store.integrations[IDENTIFIER]["resyncState"] = state
    with port_server(store) as port:
        ran = run_sync(sample_world(datetime.now(UTC)), port, **settings)
        return ran, store, [r.body["status"] for r in port.requests if r.method == "PATCH" and r.path.endswith(STATE)]


def iso(seconds: float) -> str:
    """The instant so long ago, as Port writes it."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def said(ran: Ran) -> list[str]:
    return [problem.why for problem in ran.report.problems if "another run" in problem.why]


def test_the_later_run_says_that_another_is_active_and_runs_beside_it() -> None:
    ran, store, states = after_a_state("running", 3)
    assert ran.report.exit_code == 0
    assert len(said(ran)) == 1
    assert IDENTIFIER in said(ran)[0]
    assert store.identifiers("service")
    assert states == ["running", "completed"]


def test_port_has_named_the_instant_before_anything_is_read() -> None:
    """What the other run writes from then on is not deleted, so none of our lists may be older."""
    store = PortStore.default()
    states: list[int] = []
    with port_server(store) as port, gitlab_server(sample_world(datetime.now(UTC))) as gitlab:

        def asked(_: object) -> bool:
            states.append(len(port.calls("PATCH .*/resync-state$")))
            return False

        port.faults.append(PortFault("PATCH .*/resync-state$", slow(0.3), 1))
        gitlab.faults.append(Fault(asked, faults.forbidden()))
        assert run_sync(gitlab, port).report.exit_code == 0
    assert states
    assert min(states) == 1


def test_it_does_nothing_where_the_user_said_skip() -> None:
    ran, store, states = after_a_state("running", 3, OCEAN__EXPORT__ON_OVERLAP="skip")
    assert ran.report.exit_code == 0
    assert "did nothing" in said(ran)[0]
    assert store.writes == 0
    assert ran.gitlab.requests == []
    assert states == []  # the state is the other run's


@pytest.mark.parametrize("form", ["table", "json", "markdown", "junit", "html", "metrics", "dotenv"])
def test_a_skipped_run_claims_nothing_in_any_form(form: str, bench: Bench) -> None:
    bench.sync_an_hour_ago()
    moment = bench.store.now()
    state = {"status": "running", "lastResyncStart": moment, "updatedAt": moment}
    bench.store.integrations[IDENTIFIER]["resyncState"] = state
    options = ["--output", form] if form in ("table", "json") else [f"--report-{form}", "report"]
    ran = bench.run("sync", "--on-overlap", "skip", *options)
    told = ran.stdout if form in ("table", "json") else (bench.folder / "report").read_text(encoding="utf-8")
    assert ran.returncode == 0
    assert "skipped" in told.lower()
    assert "in step" not in ran.stdout + told
    assert "✅" not in told


def test_a_run_of_ours_that_was_killed_is_known_by_its_silence(bench: Bench) -> None:
    """The kill comes while GitLab is read, and the next run minutes later by Port's clock."""
    reached = threading.Event()

    def asked(_: object) -> bool:
        reached.set()
        return True

    bench.gitlab.faults.append(Fault(asked, Slow(60)))
    with running([sys.executable, "-m", "gitlab_port_export"], bench.environ(), bench.folder) as process:
        assert reached.wait(30)
        process.kill()
    bench.gitlab.faults.clear()
    skipped = bench.run("sync", "--on-overlap", "skip", "--output", "json")
    assert json.loads(skipped.stdout)["skipped"]
    store = bench.store
    store.integrations[IDENTIFIER]["resyncState"]["updatedAt"] = iso(integrations.SILENT_SECONDS + 1)
    ran = bench.run("sync", "--on-overlap", "skip", "--output", "json")
    assert not json.loads(ran.stdout)["skipped"]
    assert store.identifiers("service")


@pytest.mark.parametrize(("start", "active"), [("2026-01-02T03:00:00.000Z", False), ("2026-01-02T03:00:00.123Z", True)])
def test_ocean_may_be_silent_for_longer_than_a_run_of_ours(start: str, active: bool) -> None:
    with port_server() as port:
        state = {"status": "running", "lastResyncStart": start, "updatedAt": "2026-01-02T03:00:01.000Z"}
        given = {"installationId": "mine", "installationAppType": "gitlab-v2", "resyncState": state}
        add_integration(port.store, given)
        client = Port(Http(port.url, user_agent="t"), lambda: ("demo-client", "demo-secret"))
        client.sign_in()
        found = integrations.fetch(client, "mine")
    assert is_active(found, "2026-01-02T03:30:00Z") is active


@pytest.mark.parametrize(("status", "minutes"), [("running", 61), ("completed", 1), ("aborted", 1), ("failed", 1)])
def test_a_run_that_ended_or_died_is_not_active(status: str, minutes: float) -> None:
    ran, store, _ = after_a_state(status, minutes, on_overlap="skip")
    assert said(ran) == []
    assert store.identifiers("service")


def test_a_long_run_repeats_that_it_is_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrations, "REFRESH_SECONDS", 0.001)
    _, _, states = after_a_state("completed", 1)
    assert states[0] == "running"
    assert states.count("running") > 3
    assert states[-1] == "completed"


@pytest.mark.parametrize("since", ["soon", "", "2026-01-02T03:04:05"])
def test_what_is_no_instant_tells_nothing(since: str) -> None:
    assert not is_active(Integration("mine", running_since=since), "2026-01-02T03:05:00Z")


def test_a_bug_leaves_no_run_that_seems_to_go_on(bench: Bench) -> None:
    def broken(_: object) -> None:
        raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"):
        run_sync(bench.gitlab, bench.port, watch=broken)
    assert bench.states() == ["running", "failed"]
