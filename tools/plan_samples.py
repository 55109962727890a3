"""Writes a plan of the demo's world into docs/reports.md as text, and with `--pictures` its page as pictures.

The pictures need chromium and chromedriver. `--check` says whether the text is stale.
"""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import SAMPLE_TOKENS, change_world, sample_world

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reports.md"
PART = r"(<!-- generated: {} -->\n).*?(<!-- end -->\n)"
# What differs each time: instants, seconds, and how many requests a plan takes.
VARIES = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "2026-01-31T09:30:00"),
    (r"\.\d{3}Z", ".000Z"),
    (r"\d+ GitLab requests, \d+ Port requests; [\d.]+ s", "110 GitLab requests, 30 Port requests; 0.4 s"),
)
# Name, width, height, colour scheme, and whether the page's style and script may be used.
PICTURES = (
    ("plan-light.png", 960, 955, "light", True),
    ("plan-phone-dark.png", 360, 760, "dark", True),
    ("plan-jenkins.png", 960, 560, "light", False),
)


class Plan(NamedTuple):
    """One plan in three forms."""

    terminal: str
    markdown: str
    html: str


def make_plan() -> Plan:
    """Sync the sample world, change it as `demo` does, and plan."""
    world, store = sample_world(datetime.now(UTC)), PortStore.default()
    with gitlab_server(world) as gitlab, port_server(store) as port, tempfile.TemporaryDirectory() as name:
        variables = {
            "OCEAN__PORT__BASE_URL": port.url,
            "OCEAN__PORT__CLIENT_ID": "demo-client",
            "OCEAN__PORT__CLIENT_SECRET": "demo-secret",
            "OCEAN__INTEGRATION__TYPE": "gitlab-v2",
            "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": gitlab.url,
            "OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING": json.dumps({token: ["**"] for token in SAMPLE_TOKENS}),
        }
        # An entity that was written just now is not deleted.
        store.clock = lambda: time.time() - 3600
        _run(variables, name, "sync")
        store.clock = time.time
        change_world(world)
        terminal = _run(variables, name, "plan", "--report-markdown", "plan.md", "--report-html", "plan.html")
        markdown, html = (_steady((Path(name) / f"plan.{ending}").read_text("utf-8")) for ending in ("md", "html"))
    return Plan(_steady(terminal), markdown, html)


def generated(text: str, plan: Plan) -> str:
    """Return the page with the plan in it."""
    changes, _, rest = plan.terminal.partition("\nRead from GitLab\n")
    terminal = f"{changes}\n…\n{rest[rest.index('blueprint') :]}"
    head, _, rest = plan.markdown.partition("<details")
    service = next(part for part in re.split("(?=<details)", rest) if "<summary><code>service" in part)
    markdown = f"{head}…\n\n{service.partition('</details>')[0]}</details>\n"
    for name, form in (("plan as text", f"```text\n{terminal}```\n"), ("plan as markdown", _quoted(markdown))):
        text = re.sub(PART.format(name), lambda found, form=form: f"{found[1]}{form}{found[2]}", text, flags=re.DOTALL)
    return text


def take_pictures(html: str) -> None:
    """Write the page as a browser shows it into docs/images."""
    # The browser is the one of the tests.
    sys.path.insert(0, str(ROOT / "tests"))
    from testbed.browser import browser  # noqa: PLC0415  # only here

    with tempfile.TemporaryDirectory() as name, browser(Path(name) / "profile") as window:
        for picture, width, height, scheme, styled in PICTURES:
            page = Path(name) / "plan.html"
            # What is left out is what Jenkins forbids.
            page.write_text(html if styled else re.sub("<style>.*?</style>", "", html, flags=re.DOTALL), "utf-8")
            window.devtools("Emulation.setScriptExecutionDisabled", value=not styled)
            window.emulate(width, height, scheme=scheme)
            window.open(page)
            time.sleep(0.5)
            # So that old and new value of the last change are in the picture.
            window.ask("for (const one of document.querySelectorAll('details')) one.open = false")
            png = base64.b64decode(window.call("GET", "screenshot"))
            (ROOT / "docs" / "images" / picture).write_bytes(png)


def _run(variables: dict[str, str], folder: str, *arguments: str) -> str:
    """Run the command, and return what it shows."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("OCEAN", "CI"))}
    command = [sys.executable, "-I", "-m", "gitlab_port_export", *arguments, "--ci", "none"]
    environ |= variables
    done = subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True)  # noqa: S603  # ourselves
    return done.stdout.decode()


def _steady(text: str) -> str:
    for pattern, same in VARIES:
        text = re.sub(pattern, same, text)
    return text


def _quoted(text: str) -> str:
    return f"````markdown\n{text}````\n"


def main() -> None:
    """Write page or pictures, or with `--check` fail when the page is stale."""
    plan = make_plan()
    if "--pictures" in sys.argv[1:]:
        take_pictures(plan.html)
        return
    text = PAGE.read_text("utf-8")
    fresh = generated(text, plan)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(fresh, "utf-8")
    elif fresh != text:
        sys.exit(f"{PAGE.name} is stale: run `make docs`")


if __name__ == "__main__":
    main()
