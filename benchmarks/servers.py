"""The two stand-ins in a process of their own, with a large world and the latencies of the benchmark."""

import json
import sys
from datetime import UTC, datetime

from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import LARGE_TOKEN, large_world

GITLAB_BASE_SECONDS = 0.050
GITLAB_ROW_SECONDS = 0.002
PORT_SECONDS = 0.050


def gitlab_seconds(rows: int) -> float:
    """Return how long GitLab takes for an answer."""
    return GITLAB_BASE_SECONDS + GITLAB_ROW_SECONDS * rows


def port_seconds() -> float:
    """Return how long Port takes for an answer."""
    return PORT_SECONDS


def main() -> None:
    """Serve until standard input ends; print one JSON line with the URLs and the token first."""
    world = large_world(datetime.now(UTC), projects=int(sys.argv[1]))
    slow = len(sys.argv) < 3
    store = PortStore.default()
    with (
        gitlab_server(world, cached=True, latency=gitlab_seconds if slow else None) as gitlab,
        port_server(store, record_bodies=False, latency=port_seconds if slow else None) as port,
    ):
        print(json.dumps({"gitlab": gitlab.url, "port": port.url, "token": LARGE_TOKEN}), flush=True)
        for line in sys.stdin:
            if line.strip() == "writes":
                entities = sum(map(len, store.snapshot().values()))
                found = {"writes": store.writes, "entities": entities, "requests": len(gitlab.requests)}
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
