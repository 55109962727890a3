"""Measure a first sync of merge requests that all lie below one topmost group, beside the same in ten groups.

`python benchmarks/long_list.py` takes ten minutes; `--sizes 10000` one. It writes its rows of docs/performance.md.
"""

import argparse
import json
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

from measure import environ_for, sync
from run import server

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PART = re.compile(r"(<!-- long lists: written by benchmarks/long_list.py -->\n).*?(<!-- end of long lists -->\n)", re.S)
SIZES = (10_000, 100_000, 300_000)
PROJECTS = 250
# One group may take so many times as long as ten, and one list so many times its own pages.
MOST_TIME, MOST_REQUESTS = 1.3, 1.03
BLUEPRINT = {
    "identifier": "change",
    "title": "Change",
    "schema": {"properties": {"status": {"type": "string"}, "link": {"type": "string"}}, "required": []},
    "relations": {},
}
RESOURCE = {
    "kind": "merge-request",
    "selector": {"query": "true", "states": ["opened"]},
    "port": {
        "entity": {
            "mappings": {
                "identifier": ".id | tostring",
                "title": ".title",
                "blueprint": '"change"',
                "properties": {"status": ".state", "link": ".web_url"},
            }
        }
    },
}


class Took(NamedTuple):
    """What one run took; `requests` are those for pages of merge requests."""

    seconds: float
    cpu: float
    requests: int
    peak_mib: float


def run(rows: int, groups: int, scale: float) -> Took:
    """Sync that many open merge requests, in so many topmost groups, into an empty Port."""
    size = {
        "projects": PROJECTS, "group_size": PROJECTS // groups, "merge_requests": rows // PROJECTS,
        "issues": 0, "pipelines": 0, "states": ["opened"],
    }  # fmt: skip
    with ExitStack() as stack:
        gitlab = stack.enter_context(server("gitlab", json.dumps(size)))
        port = stack.enter_context(server("port"))
        for one in (gitlab, port):
            one.ask(f"scale {scale}")
            one.ask("figures")
        blueprint = Request(f"{port.about['url']}/v1/blueprints", json.dumps(BLUEPRINT).encode(), method="POST")
        urlopen(blueprint).close()
        environ = environ_for(gitlab.about["url"], port.about["url"], gitlab.about["token"])
        mapping = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "mapping.json"
        mapping.write_text(json.dumps({"resources": [RESOURCE]}))
        took = sync({**environ, "OCEAN__EXPORT__MAPPING": str(mapping)}, _quiet)
        if took.exit:
            raise SystemExit(f"the sync ended with {took.exit}: {json.dumps(took.report.get('problems'))[:2000]}")
        asked = gitlab.ask("figures")["requests"]["merge_requests"]
        return Took(took.seconds, took.cpu, asked, took.peak_mib)


def _quiet(seconds: float, mib: float) -> None:
    """Say nothing while it runs."""


def line(rows: int, ten: Took, one: Took) -> str:
    """Return a row of the table, with what is over its bound in bold."""
    slower, more = one.seconds / ten.seconds, one.requests / (rows / 100)
    shown = [f"{slower:.2f}", f"{100 * (more - 1):.1f} %"]
    over = (slower > MOST_TIME, more > MOST_REQUESTS)
    marked = [f"**{text}**" if too_much else text for text, too_much in zip(shown, over, strict=True)]
    return (
        f"| {rows:,} | {ten.seconds:.1f} s | {one.seconds:.1f} s | {marked[0]} | {one.requests:,} | {marked[1]} "
        f"| {one.cpu:.0f} s | {one.peak_mib:.0f} MiB |"
    )


def main() -> None:
    """Measure each size, and write the page."""
    options = _options(sys.argv[1:])
    lines = [
        "| merge requests | in ten groups | in one group | times as long | requests for it | more than its pages "
        "| CPU | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rows in options.sizes:
        lines.append(line(rows, run(rows, 10, options.latency_scale), run(rows, 1, options.latency_scale)))
        print(lines[-1], flush=True)
    text = "\n".join(lines)
    made = f"Measured {datetime.now(UTC):%Y-%m-%d} with Python {platform.python_version()}. {options.note}"
    text += f"\n\n{made.rstrip()}"
    if not options.no_page:
        PAGE.write_text(PART.sub(lambda found: f"{found[1]}{text}\n{found[2]}", PAGE.read_text("utf-8")), "utf-8")


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=lambda text: [int(one) for one in text.split(",")], default=SIZES)
    parser.add_argument("--latency-scale", type=float, default=1.0, help="factor on every latency of both servers")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md as it is")
    parser.add_argument("--note", default="", help="what readers have to know about these figures")
    return parser.parse_args(args)


if __name__ == "__main__":
    main()
