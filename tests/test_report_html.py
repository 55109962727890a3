"""The report as a page in a real browser: nothing foreign runs, the filter filters, no script is needed to read it."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Create, Delete, Entity, Problem
from gitlab_port_export.report import html, page_rows
from gitlab_port_export.report.builder import ReportBuilder
from gitlab_port_export.report.values import Counts, Report
from test_plan_values import plan_report
from test_report_files import NAMES, report_of
from testbed.browser import CHROMEDRIVER, CHROMIUM, Browser, browser

pytestmark = pytest.mark.usefixtures("lent_evaluator")

JENKINS = "sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self';"
EVIL = ["<script>document.title='evil'</script>", "<img src=x onerror=document.title='evil'>", '" onclick="x', *NAMES]


class Elements(HTMLParser):
    """All tags of a page with their attributes, and its texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("report", [report_of(*EVIL), Report("plan", 2, "", 0.0)], ids=["hostile", "empty"])
def test_the_page_holds_only_its_own_elements_and_asks_for_nothing(report: Report) -> None:
    page = html.render(report)
    elements = Elements(page)
    tags = [tag for tag, _ in elements.found]
    scripts = [attributes.get("type") for tag, attributes in elements.found if tag == "script"]
    # The packed rows are data, which no browser runs.
    assert scripts == (["application/gzip", None] if report.changes else [None])
    assert tags.count("style") == 1
    assert not {"img", "link", "iframe", "object", "base"} & set(tags)
    for _, attributes in elements.found:
        assert not {"src", "style", "srcset", "action"} & set(attributes)
        assert re.fullmatch(r"#[a-z-]+", attributes.get("href") or "#a")
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://|url\(|@import|innerHTML", html._part("style.css") + html._part("changes.js"))
    policy = next(found["content"] for _, found in elements.found if "http-equiv" in found)
    assert policy
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_every_name_is_shown_and_every_field_has_a_label() -> None:
    page = Elements(html.render(report_of(*EVIL)))
    shown = set(page.texts)
    assert [name for name in EVIL if name.strip() and clean(name) not in shown] == []
    order = [tag for tag, _ in page.found]
    fields = [index for index, tag in enumerate(order) if tag in ("input", "select")]
    assert len(fields) == 3
    assert all(order[index - 1] == "label" for index in fields)
    assert ("html", {"lang": "en"}) in page.found


def test_the_template_escapes_every_value() -> None:
    template = html._part("page.html.j2")
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", template)
    page = html.render(Report("plan", 1, "<i>", 0.0, "<i>", "<i>", problems=(Problem("read", "<i>", "<i>"),)))
    assert "<i>" not in page
    assert page.count("&lt;i&gt;") == 6


def test_what_does_not_fit_is_left_out_values_first_and_said() -> None:
    report = plan_report()
    rows = page_rows.rows_of(report)
    assert page_rows.packed(rows)[1] == rows
    few = next(
        limit for limit in range(2_000, 0, -10) if not any(one.values for one in page_rows.packed(rows, limit)[1])
    )
    text, kept = page_rows.packed(rows, few)
    assert len(text) <= few
    assert [row.identifier for row in kept] == [row.identifier for row in rows]
    assert page_rows.packed(rows, 60)[1] == []


def test_the_page_says_how_much_it_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    report = plan_report()
    assert "left out" not in html.render(report)
    counts = {"service": Counts(created=2_000, updated=1, deleted=1)}
    page = html.render(replace(report, blueprints=counts))
    assert "1,999 further changes are counted above and not listed; a plan file (--out) holds all changes." in page
    assert "3 of 2,002 changes have details here; a plan file (--out) holds all values." in page
    monkeypatch.setattr(html, "packed", partial(page_rows.packed, limit=200))
    assert re.search(
        r"\d changes? (is|are) left out so that this page stays small; the JSON report has them", html.render(report)
    )


# --- in a browser

needs_browser = pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="chromium or chromedriver is not installed")


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def opened(window: Browser, folder: Path, report: Report, width: int = 1200, scheme: str = "light") -> Browser:
    page = folder / "report.html"
    page.write_text(html.render(report), encoding="utf-8")
    window.emulate(width, 900, scheme=scheme)
    window.open(page)
    wait_for_rows(window)
    return window


def wait_for_rows(window: Browser) -> None:
    """Wait until the page's script has unpacked the rows."""
    for _ in range(600):
        if window.ask("const form = document.getElementById('filter'); return !form || !form.hidden"):
            return
        time.sleep(0.05)
    raise AssertionError("the script did not list the changes")


def rows(window: Browser) -> list[list[str]]:
    """The texts of the changes that are to be seen."""
    script = """return Array.from(document.querySelectorAll("#changes tbody tr"))
        .filter((row) => row.offsetHeight > 0).map((row) => Array.from(row.cells, (cell) => cell.innerText.trim()))"""
    found: list[list[str]] = window.ask(script)
    return found


def choose(window: Browser, name: str, value: str) -> None:
    window.ask(
        """const field = document.getElementById("filter").elements[arguments[0]];
        field.value = arguments[1];
        field.dispatchEvent(new Event("input", {bubbles: true}))""",
        name,
        value,
    )


@needs_browser
def test_the_filter_finds_changes_by_name_action_and_blueprint(window: Browser, tmp_path: Path) -> None:
    opened(window, tmp_path, report_of("service", "team", changes=20))
    assert len(rows(window)) == 100
    window.type("#filter input", "TEAM 17")
    assert rows(window) == [
        ["− deleted", "team", "team17", ""],
        ["+ created", "team", "team17", ""],
        ["~ updated", "team", "team17", "team, title"],
    ]
    assert window.ask("return document.getElementById('shown').textContent") == "3 of 122 match"
    choose(window, "action", "deleted")
    assert rows(window) == [["− deleted", "team", "team17", ""]]
    choose(window, "text", "")
    choose(window, "blueprint", "service")
    assert {(row[0], row[1]) for row in rows(window)} == {("− deleted", "service")}
    choose(window, "action", "held")
    assert rows(window) == [["• held", "service", "service", "limit"]]


@needs_browser
@pytest.mark.parametrize("command", ["sync", "plan"])
def test_hostile_names_do_nothing_in_a_browser(window: Browser, tmp_path: Path, command: Any) -> None:
    opened(window, tmp_path, report_of(*EVIL, command=command))
    assert window.log() == []
    title = window.ask("return document.title")
    assert title.startswith(f"{command} of ")
    assert window.ask("return performance.getEntriesByType('resource').length") == 0
    for name in (EVIL[0], EVIL[2]):
        choose(window, "blueprint", name)
        assert {row[1] for row in rows(window)} == {name}


@needs_browser
def test_the_pages_of_the_changes_turn_by_keyboard_and_keep_the_focus(window: Browser, tmp_path: Path) -> None:
    opened(window, tmp_path, report_of("service", "team", changes=50))
    told = "return document.getElementById('shown').textContent"
    first = rows(window)[0]
    assert window.ask(told) == "302 of 302 match, 1 to 100 shown"
    window.ask("document.querySelector('#pages button:last-child').focus()")
    for seen in ("101 to 200", "201 to 300", "301 to 302", "301 to 302"):
        window.press("\ue007")
        assert window.ask(told) == f"302 of 302 match, {seen} shown"
        assert window.ask("return document.activeElement.textContent") == "Next"
    assert len(rows(window)) == 2
    window.type("#filter input", "service")
    assert window.ask(told) == "151 of 302 match, 1 to 100 shown"
    assert rows(window)[0] == first


@needs_browser
def test_a_screen_reader_finds_landmarks_headings_and_a_name_for_all_that_can_be_used(
    window: Browser, tmp_path: Path
) -> None:
    opened(window, tmp_path, report_of("service", "team", changes=50, command="plan"), width=360)
    nodes = [one for one in window.devtools("Accessibility.getFullAXTree")["nodes"] if not one["ignored"]]
    named = [(one["role"]["value"], one.get("name", {}).get("value", "")) for one in nodes if "role" in one]
    roles = [role for role, _ in named]
    assert {"banner", "main", "contentinfo", "search", "navigation", "status"} <= set(roles)
    used = {"link", "button", "searchbox", "combobox", "table", "region", "navigation", "search", "heading"}
    assert [role for role, name in named if role in used and not name] == []
    assert roles.count("rowheader") >= 100
    levels = window.ask("return Array.from(document.querySelectorAll('h1, h2, h3'), (one) => one.tagName)")
    assert levels[0] == "H1"
    assert set(levels[1:]) == {"H2"}


@needs_browser
def test_a_hundred_thousand_changes_are_found_in_a_page_below_5_mb(window: Browser, tmp_path: Path) -> None:
    builder = ReportBuilder("plan")
    for number in range(100_000):
        # No text repeats, so that there is little to compress.
        name = sha256(b"%d" % number).hexdigest()[:24]
        builder.add(Create(Entity.of("service", f"platform/{name}", {}, 0)) if number % 2 else Delete("team", name))
    report = builder.finish(started="", seconds=1)
    opened(window, tmp_path, report)
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    wanted = sha256(b"77777").hexdigest()[:24]
    window.type("#filter input", wanted)
    assert rows(window) == [["+ to create", "service", f"platform/{wanted}", ""]]


@needs_browser
def test_the_page_is_read_where_jenkins_forbids_its_script_and_its_style(window: Browser, tmp_path: Path) -> None:
    page = html.render(report_of("service", "team", changes=200, command="plan")).encode()
    with jenkins(page) as address:
        window.open(address)
        assert window.ask("return getComputedStyle(document.querySelector('.tiles')).display") == "block"
        assert window.ask("return document.getElementById('filter').offsetHeight") == 0
        assert "download the file" in window.ask("return document.body.innerText")
        shown = rows(window)
        assert len(shown) <= page_rows.MAX_PLAIN
        assert f"{len(shown)} of 1,202 changes and held deletions are shown" in window.ask(
            "return document.body.innerText"
        )
        assert {(row[0], row[1]) for row in shown} >= {
            (action, name) for action in ("+ to create", "~ to update", "− to delete") for name in ("service", "team")
        }
        assert "H4sI" not in window.ask("return document.body.innerText")
    window.log()


@contextmanager
def jenkins(page: bytes) -> Iterator[str]:
    """Serve a page as Jenkins serves artifacts, see https://www.jenkins.io/doc/book/security/configuring-content-security-policy/."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Security-Policy", JENKINS)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@needs_browser
def test_the_script_shows_the_same_as_the_page_without_it(window: Browser, tmp_path: Path) -> None:
    report = plan_report()
    page = tmp_path / "report.html"
    page.write_text(html.render(report), encoding="utf-8")
    whole = "return document.querySelector('#changes tbody').innerHTML.replace(/\\s+(?=<)/g, '').trim()"
    window.devtools("Emulation.setScriptExecutionDisabled", value=True)
    window.open(page)
    window.devtools("Emulation.setScriptExecutionDisabled", value=False)
    plain = window.ask(whole)
    assert len(rows(window)) == 3
    opened(window, tmp_path, report)
    assert window.ask(whole) == plain
    assert "<details open" in plain
    assert "<del>" in plain


CONTRAST = """
const light = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (one) => {
  for (; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
};
const found = [];
for (const one of document.querySelectorAll("body *")) {
  if (!Array.from(one.childNodes).some((node) => node.nodeType === 3 && node.data.trim())) continue;
  if (["SCRIPT", "OPTION"].includes(one.tagName)) continue;
  const [a, b] = [light(getComputedStyle(one).color), light(ground(one))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) found.push(one.outerHTML.slice(0, 80));
}
return found;
"""


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_is_readable_on_a_phone_and_in_the_dark(
    window: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    opened(window, tmp_path, report_of(*EVIL), width, scheme)
    assert window.ask("return document.documentElement.scrollWidth") == width
    ground = window.ask("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[scheme]
    assert window.ask(CONTRAST) == []
