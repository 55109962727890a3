"""The test bench: one call runs a whole sync between a stand-in GitLab and a stand-in Port, over real HTTP."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from jsonschema import Draft202012Validator

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.commands.schema import mapping_schema
from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import OWNER, Row, World
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.live.events import read_events
from gitlab_port_export.mapping.yaml import read_yaml
from gitlab_port_export.model import Event
from gitlab_port_export.report.values import Report
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.sync.execute import execute
from gitlab_port_export.sync.prepare import prepare

# Secrets alone see everything that GitLab shows them; with patterns as in a token mapping.
Tokens = str | Sequence[str] | Mapping[str, Sequence[str]]
# What of the surrounding environment a process of ours needs.
KEPT = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TMPDIR")


class NoWait(Clock):
    """A clock whose every wait is over at once."""

    def sleep(self, seconds: float) -> None:
        self.check()


class Ran(NamedTuple):
    """What a run left behind; unpacks as `report, store, gitlab`."""

    report: Report
    store: PortStore
    gitlab: GitLabServer


def acme(token: str = "token-of-reader", role: int = OWNER) -> tuple[World, Row, Row]:
    """A world, the user whose token is known there, and the group `acme` in which that user has a role."""
    world = World(datetime.now(UTC))
    reader = world.add_user("reader")
    world.add_token(token, reader)
    group = world.add_group("acme")
    world.add_member(group, reader, role)
    return world, reader, group


def run_sync(
    world: World | GitLabServer,
    store: PortStore | PortServer | None = None,
    mapping: Mapping[str, Any] | str | Path | None = None,
    *,
    tokens: Tokens | None = None,
    type: str | None = "gitlab-v2",
    command: Literal["sync", "plan"] = "sync",
    clock: Clock | None = None,
    watch: Callable[[Event], None] = lambda event: None,
    detailed: bool = False,
    events: Sequence[Row] | None = None,
    window: int | None = None,
    **settings: Any,
) -> Ran:
    """Run once in this process and return (report, store, GitLab server).

    Stand-ins that run are used; a world or store gets one for the call. `mapping` is data, YAML text, a file,
    or None for what Port holds, else the default mapping. With `events`, payloads of hooks, a run reads what they name.
    `window` is how many rows a window of a long list has.
    `tokens` are by default all of the world's.
    `settings` are options of `load_settings` (`workers=2`), or variables by their full name (`OCEAN__...="x"`).
    """
    with ExitStack() as stack:
        gitlab = world if isinstance(world, GitLabServer) else stack.enter_context(gitlab_server(world))
        port = store if isinstance(store, PortServer) else stack.enter_context(port_server(store))
        variables = {name: str(value) for name, value in settings.items() if "__" in name}
        options = {name: value for name, value in settings.items() if "__" not in name}
        if mapping is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            options["mapping_file"] = mapping_file(mapping, Path(folder))
        environ = environ_for(gitlab, port, tokens, type) | variables
        run = prepare(load_settings(environ, dotenv=None, **options), clock or NoWait(), writes=command == "sync")
        stack.callback(run.close)
        if window is not None:
            run = replace(run, window=window)
        if mapping is not None and not run.chosen.problems:
            assert_fits_the_schema(options["mapping_file"].read_text("utf-8"))
        intake = read_events(json.dumps(events), "events") if events else None
        return Ran(execute(run, command, watch, detailed=detailed, intake=intake), port.store, gitlab)


@cache
def schema_validator() -> Draft202012Validator:
    """What `schema` prints, ready to judge mappings."""
    return Draft202012Validator(mapping_schema(KINDS))


@cache
def assert_fits_the_schema(mapping: str) -> None:
    """An editor must find no fault with a mapping that runs."""
    found = [error.message for error in schema_validator().iter_errors(read_yaml(mapping, "").data)]
    assert found == []


def run_command(args: Sequence[str], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `gitlab-port-export ARGS` as users do: a process of its own that sees nothing but `env`.

    It is forked from one that has loaded the command, which saves most of the time that a start takes.
    """
    request = {"args": args, "environ": process_environ(env), "folder": str(cwd)}
    channel, ready = ready_process()
    pipes = os.pipe(), os.pipe()
    socket.send_fds(channel, [f"{json.dumps(request)}\n".encode()], [writing for _, writing in pipes])
    for _, writing in pipes:
        os.close(writing)
    with ThreadPoolExecutor(2) as readers:
        parts = [readers.submit(_read, reading) for reading, _ in pipes]
        if wait(parts, timeout=60).not_done:
            os.killpg(ready.pid, signal.SIGKILL)
            ready_process.cache_clear()
            raise subprocess.TimeoutExpired(list(args), 60)
        out, err = (part.result() for part in parts)
    return subprocess.CompletedProcess(list(args), int(channel.recv(16)), out, err)


def _read(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as stream:
        return stream.read()


@cache
def ready_process() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process of `ready.py` and the socket to it; it lasts as long as this one."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, str(Path(__file__).with_name("ready.py"))]
    with theirs:
        process = subprocess.Popen(command, env=process_environ({}), stdin=theirs, start_new_session=True)
    # The end of the socket is the end of the process.
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours, process


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs as the one of `run_command` does, and ends with the block at the latest."""
    with subprocess.Popen(
        command, env=process_environ(env), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def process_environ(env: Mapping[str, str]) -> dict[str, str]:
    """`env` and the few variables that any process here needs, for tests that start one themselves."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if path := os.environ.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(part).resolve()) for part in path.split(os.pathsep))
    return kept | dict(env)


def environ_for(
    gitlab: GitLabServer, port: PortServer, tokens: Tokens | None = None, type: str | None = "gitlab-v2"
) -> dict[str, str]:
    """The variables that lead a run to both stand-ins; `type` None leaves the integration's type open."""
    if tokens is None:
        tokens = list(gitlab.world.tokens)
    if isinstance(tokens, str):
        credentials = {"OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN": tokens}
    else:
        given = tokens if isinstance(tokens, Mapping) else {secret: ["**"] for secret in tokens}
        patterns = {secret: list(patterns) for secret, patterns in given.items()}
        credentials = {"OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING": json.dumps(patterns)}
    return {
        "OCEAN__PORT__BASE_URL": port.url,
        "OCEAN__PORT__CLIENT_ID": "demo-client",
        "OCEAN__PORT__CLIENT_SECRET": "demo-secret",
        "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": gitlab.url,
        "OCEAN__EVENT_LISTENER": '{"type": "ONCE"}',
        **({"OCEAN__INTEGRATION__TYPE": type} if type else {}),
        **credentials,
    }


def mapping_file(mapping: Mapping[str, Any] | str | Path, folder: Path) -> Path:
    """A file in `folder` that holds the mapping; a path is returned as it is."""
    if isinstance(mapping, Path):
        return mapping
    file = folder / "port-app-config.yml"
    text = mapping if isinstance(mapping, str) else yaml.safe_dump(dict(mapping), allow_unicode=True, sort_keys=False)
    file.write_text(text, encoding="utf-8")
    return file


def resource(kind: str, blueprint: str = "thing", *, query: str = "true", port: Any = None, **fields: Any) -> Any:
    """One resource of a mapping: `fields` are those of the entity.

    `selector` holds what is beside `query`, `port` what is beside `entity`; `blueprint` is a plain identifier,
    `blueprint_expression` takes jq.
    """
    selector = {"query": query, **fields.pop("selector", {})}
    expression = fields.pop("blueprint_expression", f'"{blueprint}"')
    entity = {"identifier": ".id | tostring", "blueprint": expression, **fields}
    return {"kind": kind, "selector": selector, "port": {**(port or {}), "entity": {"mappings": entity}}}


def mapping_of(*resources: Any, **options: Any) -> dict[str, Any]:
    """A whole mapping of these resources; `options` are those of its root, such as `enableMergeEntity`."""
    return {**options, "resources": list(resources)}


def blueprint(identifier: str, /, relations: Mapping[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    """A blueprint for the stand-in Port.

    `properties` are types ("string") or whole definitions; `relations` are targets, in a list when many.
    """

    def relation(target: Any) -> Any:
        match target:
            case str():
                return {"target": target, "many": False, "required": False}
            case [str(name)]:
                return {"target": name, "many": True, "required": False}
            case whole:
                return whole

    return {
        "identifier": identifier,
        "title": identifier,
        "schema": {
            "properties": {name: {"type": p} if isinstance(p, str) else p for name, p in properties.items()},
            "required": [],
        },
        "relations": {name: relation(target) for name, target in (relations or {}).items()},
    }


def port_with(*blueprints: Mapping[str, Any], **fields: Any) -> PortStore:
    """An empty Port with these blueprints; `fields` are those of PortStore."""
    store = PortStore(**{"credentials": {"demo-client": "demo-secret"}, **fields})
    for one in blueprints:
        store.add_blueprint(dict(one))
    return store


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every part of plain data, its own first."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of plain data with another value at that path."""
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(data[path[0]], path[1:], value)
    return copy
