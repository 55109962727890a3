"""The commands of README and of the pages in docs/, as somebody finds them there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FENCED = re.compile(r"^(`{3,})(\w*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


def section(page: str, heading: str) -> str:
    """Return the part of a page from this heading to the next."""
    text = (ROOT / page).read_text(encoding="utf-8")
    # A comment in a block of code looks like a heading.
    headings = FENCED.sub(lambda found: found[0].replace("#", "."), text)
    found = re.search(rf"^#+ {re.escape(heading)}\n.*?(?=^#+ |\Z)", headings, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading {heading}"
    return text[found.start() : found.end()]


def blocks(text: str, language: str) -> list[str]:
    """Return what the blocks of code in this language hold."""
    return [content for _, name, content in FENCED.findall(text) if name == language]


def commands(text: str) -> list[str]:
    """Return what the console blocks of a text tell to type."""
    lines = [line for block in blocks(text, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def after(diff: str) -> str:
    """Return what a diff makes of the text that it shows."""
    return "".join(f"{line[1:]}\n" for line in diff.splitlines() if not line.startswith("-"))
