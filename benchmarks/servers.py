"""One of the two servers of the benchmark in a process of its own: `servers.py gitlab PROJECTS DEPTH` or `port`.

A size may also be JSON: `servers.py gitlab '{"projects": 100}'`.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

from fast_gitlab import FastGitLab
from fast_http import Limiter, Meter, Service, listen
from fast_port import FastPort, write_figures
from fast_world import LargeWorld, Size
from gitlab_port_export.demo.world import LARGE_TOKEN

# A shard may have a token of its own: the token and the shard's number. For the limiter each stands for a user.
MOST_SHARDS = 32
GITLAB_SECONDS, GITLAB_ROW_SECONDS, PORT_SECONDS = 0.050, 0.002, 0.050


def main() -> None:
    """Serve until standard input ends; print one JSON line about the server, then one for each command."""
    with suppress(OSError):
        os.nice(-10)  # where we may: a real server has a machine of its own
    if sys.argv[1] == "gitlab":
        given = sys.argv[2]
        size = Size(**json.loads(given)) if given.startswith("{") else Size.of(int(given), int(sys.argv[3]))
        world = LargeWorld(size)
        reader = next(row for row in world.frame.users.values() if row["username"] == "catalog-reader")
        for number in range(1, MOST_SHARDS + 1):
            world.frame.add_token(f"{LARGE_TOKEN}-{number}", reader)
        gitlab = FastGitLab(world)
        about = {"token": LARGE_TOKEN, "entities": world.entities, "fewest": world.fewest}
        asyncio.run(_serve(Service(gitlab, GITLAB_SECONDS, GITLAB_ROW_SECONDS), about, dict, gitlab))
    else:
        with closing(FastPort()) as port:
            asyncio.run(_serve(Service(port, PORT_SECONDS), {}, lambda: write_figures(port)))


async def _serve(
    service: Service, about: dict[str, Any], more: Callable[[], dict[str, int]], gitlab: FastGitLab | None = None
) -> None:
    """Commands are `figures` (what was asked since the last time), `sample` (some of it), `scale NUMBER`, `limit JSON`,
    the fields of a `Limiter` (nothing takes the limit away), and of GitLab `change SHARE`: from now on so many projects
    have changed.
    """
    server, url = await listen(service)
    if gitlab:
        gitlab.url = url
    _print({"url": url, **about})
    ended = asyncio.Event()
    rest = b""

    def command() -> None:
        nonlocal rest
        if not (data := os.read(0, 4096)):
            asyncio.get_running_loop().remove_reader(0)
            ended.set()
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            word, _, value = line.decode().partition(" ")
            if word == "sample":
                _print({"sample": [sent.decode("latin-1") for sent in service.meter.sample]})
            elif word == "limit":
                service.limiter = Limiter(**json.loads(value)) if value else None
                _print({"limit": value})
            elif word == "scale":
                service.scale = float(value)
                _print({"scale": service.scale})
            elif word == "change" and gitlab:
                _print({"changed": gitlab.world.change(float(value), datetime.now(UTC))})
            else:
                _print({**service.meter.figures(), **more()})
                service.meter = Meter()

    asyncio.get_running_loop().add_reader(0, command)
    await ended.wait()
    server.close()


def _print(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
