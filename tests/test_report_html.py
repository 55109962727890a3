"""The report as a page, in a real browser: nothing foreign runs, nothing is asked for, and the filter filters."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Problem
from gitlab_port_export.report import html
from gitlab_port_export.report.values import Report
from test_report_files import NAMES, report_of
from testbed.browser import CHROMEDRIVER, CHROMIUM, Browser, browser

pytestmark = pytest.mark.usefixtures("lent_evaluator")

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
    assert (tags.count("script"), tags.count("style")) == (1, 1)
    assert not {"img", "link", "iframe", "object", "a", "base"} & set(tags)
    for _, attributes in elements.found:
        assert not {"src", "href", "style", "srcset", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://|url\(|@import", html._part("style.css") + html._part("filter.js"))
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
    return window


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
    assert len(rows(window)) == 122
    window.type("#filter input", "TEAM 17")
    assert rows(window) == [
        ["− deleted", "team", "team17", ""],
        ["+ created", "team", "team17", ""],
        ["~ updated", "team", "team17", "team, title"],
    ]
    assert window.ask("return document.getElementById('shown').textContent") == "3 of 122 shown"
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
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_is_readable_on_a_phone_and_in_the_dark(
    window: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    opened(window, tmp_path, report_of(*EVIL), width, scheme)
    assert window.ask("return document.documentElement.scrollWidth") == width
    ground = window.ask("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[scheme]
    assert window.ask(CONTRAST) == []
