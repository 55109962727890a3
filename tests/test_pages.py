"""README, guides and the pages of docs/: what they link to is there, and what they name exists."""

import os
import re
import tomllib
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from gitlab_port_export.cli import app
from gitlab_port_export.report.exit_code import EXIT_MEANINGS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
# What a contributor follows: each path, command and test that these name has to be there.
GUIDES = [ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "docs/safety.md")]
PATH = re.compile(r"[\w.*-]+(/[\w.*-]+)*(/|\.(py|md|toml|txt|json|ya?ml|svg|css|js))")
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
    assert set(PAGES) - {ROOT / "README.md"} <= linked


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_every_page_of_docs_is_in_the_menu_of_the_site_and_on_the_overview() -> None:
    menu = (ROOT / "mkdocs.yml").read_text("utf-8")
    overview = (ROOT / "docs" / "index.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}\n" in menu, page.name
        assert page.name == "index.md" or f"]({page.name}" in overview, page.name


def code(page: Path) -> list[str]:
    """Code of a page: spans, and lines of blocks."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [
        *re.findall(r"`([^`\n]+)`", rest),
        *(line.removeprefix("$ ") for block in blocks for line in block.splitlines()),
    ]


@cache
def files() -> set[str]:
    """Every file and folder of the repository, with a slash before and after."""
    made = {".venv", "build", "dist", ".git", "__pycache__"}
    found: set[str] = set()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in made]
        place = Path(folder).relative_to(ROOT)
        found |= {f"/{(place / name).as_posix()}/" for name in (*folders, *names)}
    return found


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_path_that_a_guide_names_is_there(page: Path) -> None:
    there = files()
    for span in code(page):
        for word in re.split(r'[\s"=]+', span):
            if PATH.fullmatch(word) and "KIND" not in word:
                wanted = f"/{word.strip('/')}/"
                assert any(fnmatch(one, f"*{wanted}") for one in there), word


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=lambda page: page.name)
def test_every_command_that_a_guide_names_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    defined = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    for span in code(page):
        for target in re.findall(r"\bmake ([a-z]+)", span):
            assert target in targets, span
        for command in re.findall(r"^gitlab-port-export ([a-z]+)", span):
            assert command in group.commands, span
        for part in re.findall(r"-k '?([\w ]+)", span):
            for name in set(part.split()) - {"or", "and", "not", "KIND"}:
                assert re.search(rf"def test_\w*{name}", defined) or any(name in path for path in files()), span
        for test in re.findall(r"\btest_\w+(?![\w.*/])", span):
            assert f"def {test}" in defined, span


def test_the_architecture_names_every_folder_in_the_order_of_imports() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    level = {
        name: number for number, layer in enumerate(reversed(contract["layers"])) for name in re.findall(r"\w+", layer)
    }
    text = GUIDES[0].read_text("utf-8")
    named = [re.sub(r"\.py|/", "", name) for name in re.findall(r"^- `([\w./]+)`:", text, re.MULTILINE)]
    assert set(named) == set(level) - {"__main__", "cli", "cli_access"}
    assert [level[name] for name in named] == sorted(level[name] for name in named)


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
