"""The command `demo`: both stand-ins on loopback, two real syncs, and what the catalog then holds."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.live import live_act
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import OWNER, SAMPLE_TOKENS, World, change_world, sample_world

# May change roles in the sample, once its servers are left to the user.
WRITE_TOKEN = "glpat-demo-access"  # noqa: S105  # of the sample
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TERM", "NO_COLOR", "FORCE_COLOR", "PYTHONPATH", "SYSTEMROOT")


def run_demo(*, keep: bool = False, live: bool = False) -> int:
    """Run the demo and return the exit code of the first command that did not end with 0; `keep` waits for Ctrl-C then.

    `live` adds an act in which the catalog follows without a sync.
    """
    world, store = sample_world(datetime.now(UTC)), PortStore.default()
    with gitlab_server(world) as gitlab, port_server(store) as port:
        settings = _settings(gitlab.url, port.url)
        _say(f"A small company's GitLab ({gitlab.url}) and an empty Port ({port.url}) run on this machine.")
        _say("Two tokens overlap. This is what you would set in CI:\n")
        for name, value in settings.items():
            _say(f"  {name}={value}")
        _say("\n$ gitlab-port-export sync\n")
        if code := _sync(settings):
            return code
        first, writes = _held(store), store.writes
        change_world(world)
        _say("\nMeanwhile in GitLab: a new merge request, a renamed project, a deleted project.\n")
        _say("$ gitlab-port-export sync\n")
        if code := _sync(settings):
            return code
        _say(f"\nOnly the difference was written: {store.writes - writes} entities, after {first.total()} before.")
        _say("\nThe catalog now holds:")
        for name, count in _held(store).most_common():
            _say(f"  {name}: {count}")
        if live and (code := live_act(gitlab, store, partial(_run, settings), _say)):
            return code
        if keep:
            _wait(settings | _writing(world))
    _say("\nTo run it for real, set OCEAN__PORT__CLIENT_ID, OCEAN__PORT__CLIENT_SECRET and")
    _say("OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN (and ..._GITLAB_HOST for your own GitLab), then:")
    _say("  gitlab-port-export plan    # shows what would change, writes nothing")
    _say("  gitlab-port-export sync")
    return 0


def _held(store: PortStore) -> Counter[str]:
    """Return how many entities of each blueprint the store holds."""
    return Counter({name: len(found) for name, found in store.snapshot().items()})


def _settings(gitlab_url: str, port_url: str) -> dict[str, str]:
    return {
        "OCEAN__PORT__BASE_URL": port_url,
        "OCEAN__PORT__CLIENT_ID": "demo-client",
        "OCEAN__PORT__CLIENT_SECRET": "demo-secret",
        "OCEAN__INTEGRATION__TYPE": "gitlab-v2",
        "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": gitlab_url,
        "OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING": json.dumps({token: ["**"] for token in SAMPLE_TOKENS}),
        "OCEAN__EVENT_LISTENER": '{"type": "ONCE"}',
    }


def _writing(world: World) -> dict[str, str]:
    """Make a token that may change who has which role in the sample, and return the settings for it."""
    bot = world.add_user("access-bot", "Access", bot=True)
    world.add_token(WRITE_TOKEN, bot, ("api",), name="access")
    tops = [group for group in world.groups.values() if not group["parent_id"]]
    for group in tops:
        world.add_member(group, bot, OWNER)
    scopes = ",".join(f"{group['full_path']},{group['full_path']}/**" for group in tops)
    return {"OCEAN__EXPORT__GITLAB_WRITE_TOKEN": WRITE_TOKEN, "OCEAN__EXPORT__WRITE_SCOPES": scopes}


def _sync(settings: dict[str, str]) -> int:
    return _run(settings, "sync")


def _run(settings: dict[str, str], *arguments: str, **more: str) -> int:
    """Run the real command in a process of its own, in an empty folder, with nothing else set."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    if path := kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(part).resolve()) for part in path.split(os.pathsep))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gitlab_port_export", *arguments]
        environ = kept | settings | more
        return subprocess.run(command, cwd=folder, env=environ, check=False).returncode  # noqa: S603  # ourselves


def _wait(settings: dict[str, str]) -> None:
    """Leave both servers to other terminals until Ctrl-C."""
    with _stop() as stop:
        _say("\nBoth servers stay up until Ctrl-C. In another terminal, as lines to paste:\n")
        for name, value in settings.items():
            _say(f"  export {name}={shlex.quote(value)}")
        _say("  gitlab-port-export plan")
        _say("  gitlab-port-export access show ada")
        stop.recv(1)


@contextmanager
def _stop() -> Iterator[socket.socket]:
    """Give a socket that has something to read as soon as SIGINT or SIGTERM came.

    A shell starts what it runs in the background with SIGINT ignored, and PID 1 of a container ignores SIGTERM.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer:
        handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        before = signal.set_wakeup_fd(writer.fileno())
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
