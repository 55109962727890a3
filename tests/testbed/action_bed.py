"""The action bed: a GitLab with people, a Port in step with it that has the example actions, and commands between."""

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from conftest import Bench
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import ExportError, Interrupted
from gitlab_port_export.commands.access import run
from gitlab_port_export.commands.changes import Change
from gitlab_port_export.commands.ending import bug, fail
from gitlab_port_export.commands.session import Session
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_actions import start
from gitlab_port_export.demo.port_rules import JsonObject
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import MAINTAINER
from gitlab_port_export.port.defaults import default_blueprints
from testbed.access_bed import SECRET, AccessBed, access_bed
from testbed.harness import NoWait, environ_for, run_sync
from testbed.here import Printed

EXAMPLES = Path(__file__).parents[2] / "examples" / "actions"
DEFAULTS = files("gitlab_port_export.port.defaults")
READER = "token-of-reader"
INTEGRATION = "my-gitlab-v2-integration"
JOB = "https://ci.example.com/job/7"
ACTIONS = ("grant-on-user", "grant-on-group", "revoke", "block")


def definition(name: str, system: str = "gitlab") -> JsonObject:
    """An action of examples/actions as its system starts it."""
    found: JsonObject = json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))
    invocations = json.loads((EXAMPLES / "invocations.json").read_text("utf-8"))
    return found | {"invocationMethod": invocations[system]}


def people_mapping() -> JsonObject:
    """The default mapping's groups and projects, with the accounts and roles that ship."""
    usual = yaml.safe_load(DEFAULTS.joinpath("mapping.yml").read_text("utf-8"))["resources"]
    sample = yaml.safe_load(DEFAULTS.joinpath("people-mapping.yml").read_text("utf-8"))["resources"]
    return {"resources": [one for one in usual if one["kind"] in ("group-with-members", "project")] + sample}


@dataclass
class ActionBed:
    """What commands started by Port see; `access` is the GitLab, `bench` has the Port."""

    access: AccessBed
    bench: Bench
    more: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> PortStore:
        return self.bench.store

    def environ(self, **changes: str) -> dict[str, str]:
        return {
            **environ_for(self.bench.gitlab, self.bench.port, [READER], "gitlab-v2"),
            "OCEAN__EXPORT__GITLAB_WRITE_TOKEN": SECRET,
            "OCEAN__EXPORT__WRITE_SCOPES": "acme,acme/**",
            "OCEAN__EXPORT__MAX_ROLE": "owner",
            "BUILD_URL": JOB,
            **self.more,
            **changes,
        }

    def start(self, action: str, inputs: Mapping[str, Any], entity: str, *, approve: bool = True) -> str:
        """Start an example action's run as a person does, and approve it where that is needed."""
        number = start(self.store, action, inputs, entity=entity)
        if approve and self.store.runs.held[number]["status"] == "WAITING_FOR_APPROVAL":
            self.store.runs.held[number]["status"] = "IN_PROGRESS"
        return number

    def grant(self, person: str = "kim", role: str = "developer", group: str = "acme", **more: Any) -> str:
        """A run that grants a role in a group, from the group's entity."""
        inputs = {"person": person, "role": role, "reason": "on call", **more}
        return self.start("gitlab_access_grant_on_group", inputs, group)

    def revoke(self, entity: str) -> str:
        return self.start("gitlab_access_revoke", {"reason": "left"}, entity)

    def run(
        self,
        verb: Any = "run",
        given: Mapping[str, Any] | None = None,
        change: Change | None = None,
        make_clock: Callable[[float | None], Clock] = NoWait,
        as_json: bool = False,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Printed:
        """Do what the command line does with these options, without ever waiting."""
        out, err = io.StringIO(), io.StringIO()
        session = Session(out, err, environ or self.environ(), as_json=as_json, make_clock=make_clock)
        try:
            code = run(session, verb, given or {}, change, **options)
        except (ExportError, Interrupted) as error:
            code = fail(session, "access", error)
        except Exception as error:  # noqa: BLE001  # as the command line does
            code = bug(session, "access", error)
        shown = Printed(code, out.getvalue(), err.getvalue())
        assert [secret for secret in (SECRET, READER, "demo-secret") if secret in shown.all + str(self.told())] == []
        return shown

    def told(self) -> Any:
        """Everything that Port's runs were told."""
        return self.store.runs.held, self.store.runs.logs

    def page(self, number: str) -> JsonObject:
        """A run as Port shows it."""
        return self.store.runs.held[number]

    def log(self, number: str) -> list[str]:
        return [line["message"] for line in self.store.runs.logs[number]]

    def entities(self, blueprint: str = "gitlabAccess") -> dict[str, Any]:
        return {key: value[3] for key, value in self.store.snapshot()[blueprint].items()}

    def left_to_do(self) -> list[str]:
        """What a sync would do to accounts and roles."""
        report = run_sync(self.bench.gitlab, self.bench.port, None, tokens=[READER], command="plan").report
        return [
            f"{name}: {what}"
            for name in ("gitlabUser", "gitlabAccess")
            for what in ("created", "updated", "deleted")
            if getattr(report.blueprints[name], what)
        ]


@contextmanager
def action_bed(folder: Path, system: str = "gitlab", *, admin: bool = False) -> Iterator[ActionBed]:
    """Run an ActionBed whose Port was filled an hour ago; with `admin` the tokens are administrators'."""
    store = PortStore.default()
    store.clock = lambda: time.time() - 3600
    for one in (*default_blueprints(), *json.loads(DEFAULTS.joinpath("people-blueprints.json").read_text("utf-8"))):
        store.add_blueprint(one)
    store.integrations[INTEGRATION] = {
        "identifier": INTEGRATION, "installationId": INTEGRATION, "installationAppType": "gitlab-v2",
        "config": people_mapping(),
    }  # fmt: skip
    for name in ACTIONS:
        found = definition(name, system)
        store.runs.actions[found["identifier"]] = found
    with ExitStack() as stack:
        access = stack.enter_context(access_bed(admin=admin))
        reader = access.world.add_user("reader")
        access.world.add_token(READER, reader, admin=admin)
        access.world.bots.add(reader["id"])
        access.world.add_member(access.acme, reader, MAINTAINER)
        port = stack.enter_context(port_server(store))
        bench = Bench(access.world, store, access.gitlab, port, folder, [SECRET, READER, "demo-secret"])
        assert run_sync(access.gitlab, port, None, tokens=[READER]).report.exit_code == 0
        access.freed()
        port.requests.clear()
        yield ActionBed(access, bench)
