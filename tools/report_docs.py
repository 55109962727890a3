"""Writes the generated part of docs/reports.md from the registry of formats; `--check` says whether it is stale."""

import re
import sys
from pathlib import Path

from gitlab_port_export.report.formats import FORMATS

PAGE = Path(__file__).parent.parent / "docs" / "reports.md"
PART = re.compile(r"(<!-- generated: formats -->\n).*?(<!-- end -->\n)", re.DOTALL)
HEAD = "| option | format | for |\n|---|---|---|\n"


def generated(text: str) -> str:
    """Return the page with the table as it should be."""
    rows = "".join(f"| `{one.option} FILE` | {one.content} | {one.purpose} |\n" for one in FORMATS.values())
    return PART.sub(lambda found: found[1] + HEAD + rows + found[2], text)


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
