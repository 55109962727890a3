"""The two stand-ins in a process of their own, with a large world and the latencies of the benchmark."""

import json
import sys
from datetime import datetime, timezone

from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import LARGE_TOKEN, large_world

GITLAB_BASE_SECONDS = 0.050
GITLAB_ROW_SECONDS = 0.002
PORT_SECONDS = 0.050


def main() -> None:
    """Serve until standard input ends; print one JSON line with the URLs and the token first."""
    world = large_world(datetime.now(timezone.utc), projects=int(sys.argv[1]))
    latency = len(sys.argv) < 3
    store = PortStore.default()
    with (
        gitlab_server(
            world, cached=True, latency=(lambda rows: GITLAB_BASE_SECONDS + GITLAB_ROW_SECONDS * rows) if latency else None
        ) as gitlab,
        port_server(store, record_bodies=False, latency=(lambda: PORT_SECONDS) if latency else None) as port,
    ):
        print(json.dumps({"gitlab": gitlab.url, "port": port.url, "token": LARGE_TOKEN}), flush=True)
        for line in sys.stdin:
            if line.strip() == "writes":
                counts = {name: len(found) for name, found in store.snapshot().items()}
                print(json.dumps({"writes": store.writes, "entities": sum(counts.values()), "requests": len(gitlab.requests)}), flush=True)
            if line.strip() == "rows":
                print(json.dumps([[r.path, r.status] for r in gitlab.requests]), flush=True)


if __name__ == "__main__":
    main()
