"""Hooks of MkDocs: what a page links to outside of docs/ becomes a part of the site, so every link can be checked."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
# The folder of the site that holds files of the repository.
FOLDER = "repository"
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#]+)")
# Blocks of code hold no links; what looks like one there stays as it is.
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Add the files of the repository that pages link to, and those that these link to in turn."""
    waiting = [ROOT / "docs" / file.src_uri for file in files if file.src_uri.endswith(".md")]
    added: set[Path] = set()
    while waiting:
        page = waiting.pop()
        for _, path in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
            target = (page.parent / path).resolve()
            if target in added or target.is_relative_to(ROOT / "docs") or not target.is_file():
                continue
            added.add(target)
            name = f"{FOLDER}/{target.relative_to(ROOT).as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(target)))
            if target.suffix == ".md":
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links of a page lead to where the site holds their targets."""
    source = Path(page.file.src_uri)
    outside = source.parts[0] == FOLDER
    folder = (ROOT / source.relative_to(FOLDER) if outside else ROOT / "docs" / source).parent
    up = "../" * (len(source.parts) - 1)

    def moved(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        inside = target.is_relative_to(ROOT / "docs")
        name = target.relative_to(ROOT / "docs") if inside else Path(FOLDER) / target.relative_to(ROOT)
        return f"{found[1]}{up}{name.as_posix()}"

    parts = re.split(f"({CODE.pattern})", markdown, flags=CODE.flags)
    return "".join(part if number % 2 else LINK.sub(moved, part) for number, part in enumerate(parts))
