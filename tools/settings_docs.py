"""Writes the generated part of docs/settings.md from the declared settings; `--check` says whether it is stale."""

import re
import sys
from pathlib import Path

from gitlab_port_export.settings.settings import SETTINGS

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
PART = re.compile(r"(<!-- generated: settings -->\n).*?(<!-- end -->\n)", re.DOTALL)
HEAD = "| variable | option | default | what it sets |\n|---|---|---|---|\n"


def generated(text: str) -> str:
    """Return the page with the table as it should be."""
    rows = [
        f"| `{setting.variable}` | {_code(setting.option)} | {setting.default} | {setting.about} |\n"
        for setting in SETTINGS.values()
    ]
    return PART.sub(lambda found: found[1] + HEAD + "".join(rows) + found[2], text)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def main() -> None:
    """Write the page, or with `--check` fail when it is stale."""
    text = PAGE.read_text("utf-8")
    fresh = generated(text)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(fresh, "utf-8")
    elif fresh != text:
        sys.exit(f"{PAGE.name} is stale: run `make docs`")


if __name__ == "__main__":
    main()
