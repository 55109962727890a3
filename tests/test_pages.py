"""The README and the pages of docs/: what they link to is there, and what they name exists."""

import re
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from gitlab_port_export.cli import app
from gitlab_port_export.report.exit_code import EXIT_MEANINGS
from gitlab_port_export.settings.variables import VARIABLES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text("utf-8")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


def anchors(page: Path) -> set[str]:
    """Headings as GitHub and GitLab name them in an address."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_dead(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text("utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(ROOT / path).resolve() for path, _ in LINK.findall(README) if path}
    assert {page for page in PAGES if page.parent.name == "docs"} <= linked


def test_every_command_and_option_is_named() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    named = "\n".join(page.read_text("utf-8") for page in PAGES)
    for name, command in group.commands.items():
        assert f"`{name}" in README
        for option in (option for parameter in command.params for option in parameter.opts if option.startswith("--")):
            assert option in named, f"{name} {option}"


def test_every_exit_code_is_in_the_table() -> None:
    codes = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(", ")}
    assert codes == set(EXIT_MEANINGS)


def test_every_setting_is_named() -> None:
    names = {variable for variable, _ in VARIABLES.values() if "__REPORT_" not in variable}
    for variable in names - {"OCEAN__EVENT_LISTENER__TYPE"}:
        # Those that are options stand in one row, which names the first of them in full.
        assert variable in README or f"`__{variable.rpartition('__')[2]}`" in README, variable
