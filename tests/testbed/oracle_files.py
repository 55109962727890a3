"""The oracle's part for `file` and `folder`: which paths a pattern means, and what stands in a file, read plainly."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

import yaml

from gitlab_port_export.demo.gitlab_rows import Row, sha

Found = Iterator[tuple[int, Row]]


def fits(path: str, pattern: str, v1: bool) -> bool:
    """Whether a pattern for files means a path."""
    if v1:
        return any(fnmatchcase(path, one) or fnmatchcase(path, one.removeprefix("**/")) for one in spread(pattern))
    return segments_fit(path.split("/"), (pattern if "/" in pattern else f"**/{pattern}").split("/"))


def segments_fit(path: list[str], pattern: list[str]) -> bool:
    """Segment by segment: `**` stands for any number of them (for at least one at the end), `*` stays in one."""
    if not pattern:
        return not path
    head, *rest = pattern
    if head == "**":
        starts = range(len(path)) if rest else range(min(1, len(path)))
        return any(segments_fit(path[start:], rest) if rest else True for start in starts)
    return bool(path) and fnmatchcase(path[0], head) and segments_fit(path[1:], rest)


def spread(pattern: str) -> list[str]:
    """Every text that braces stand for; {1..3} too."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        return [pattern]
    inner = found[1]
    if numbers := re.fullmatch(r"(\d+)\.\.(\d+)", inner):
        choices = [str(number) for number in range(int(numbers[1]), int(numbers[2]) + 1)]
    else:
        choices = inner.split(",")
    return [text for choice in choices for text in spread(pattern[: found.start()] + choice + pattern[found.end() :])]


def files_of(eye: Any, project: Row, branch: str) -> dict[str, bytes]:
    kept = eye.world.files.get(project["id"], {})
    if project["empty_repo"] or project["repository_access_level"] == "disabled":
        return {}
    return dict(kept.get("" if branch == project["default_branch"] else branch, {}))


def file_rows(selector: Row, eye: Any) -> Found:
    block = selector["files"]
    repos = block.get("repos") or []
    for project in eye.projects(selector.get("includeOnlyActiveGroups")):
        if repos and not ({project["name"]} if eye.v1 else {project["path_with_namespace"], str(project["id"])}) & {
            *repos
        }:
            continue
        grouped = not eye.v1 and not repos and block.get("searchStrategy", "groupSearch") == "groupSearch"
        if grouped and project["archived"]:
            continue
        held = files_of(eye, project, project["default_branch"])
        for path, content in sorted(held.items()):
            if not fits(path, block["path"], eye.v1):
                continue
            row = {"file": about(project, path, content), "repo": project}
            text = content.decode()
            row["file"]["content"] = text if block.get("skipParsing") else parse(text, path, held, eye.v1)
            if not eye.v1:
                row["file"] |= {"project_id": str(project["id"]), "path": path}
            yield project["id"], row | included(selector, held)


def path_of(row: Row) -> str:
    """What tells a project's rows of these kinds apart."""
    return str(row["file"]["file_path"] if "file" in row else row["__branch"] + ":" + row["folder"]["path"])


def included(selector: Row, held: dict[str, bytes]) -> Row:
    paths = selector.get("includedFiles") or []
    texts = {path: held[path.lstrip("/")].decode() if path.lstrip("/") in held else None for path in paths}
    return {"__includedFiles": texts} if paths else {}


def about(project: Row, path: str, content: bytes) -> Row:
    commit = sha("commit", project["id"])
    return {
        "file_name": path.rsplit("/", maxsplit=1)[-1], "file_path": path, "size": len(content), "encoding": "base64",
        "content": base64.b64encode(content).decode(), "content_sha256": hashlib.sha256(content).hexdigest(),
        "ref": project["default_branch"], "blob_id": sha("blob", content), "commit_id": commit,
        "last_commit_id": commit, "execute_filemode": False,
    }  # fmt: skip


def parse(text: str, path: str, held: dict[str, bytes], v1: bool) -> Any:
    if not path.endswith((".json", ".yaml", ".yml")):
        return text
    try:
        found = _parse_v1(text, path) if v1 else _parse_v2(text)
    except (yaml.YAMLError, ValueError):
        return text
    return plain(found) if v1 else referred(plain(found), held)


def _parse_v1(text: str, path: str) -> Any:
    if path.endswith(".json"):
        return json.loads(text)
    documents = list(yaml.safe_load_all(text))
    return documents[0] if len(documents) == 1 else documents or text


def _parse_v2(text: str) -> Any:
    if not text.strip():
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass
    found: list[Any] = []
    for part in text.split("\n---\n"):
        if part.strip():
            document = yaml.safe_load(part)
            found += document if isinstance(document, list) else [document]
    return found


def plain(value: Any) -> Any:
    """What JSON makes of it; dates as ISO text."""
    return json.loads(json.dumps(value, default=lambda other: other.isoformat() if isinstance(other, date) else None))


def referred(value: Any, held: dict[str, bytes]) -> Any:
    if isinstance(value, list):
        return [item if isinstance(item, str) else referred(item, held) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, item in value.items():
        if isinstance(item, str) and item.startswith("file://") and not item.startswith("file:///"):
            target = held.get(item.removeprefix("file://"))
            found[key] = None if target is None else target.decode()
        else:
            found[key] = referred(item, held)
    return found


def folder_rows(selector: Row, eye: Any) -> Found:
    for block in selector.get("folders", []):
        for project in eye.projects(selector.get("includeOnlyActiveProjects")):
            for branch in _branches(block, project, eye.v1):
                held = files_of(eye, project, branch)
                for path in sorted({"/".join(p.split("/")[:end]) for p in held for end in range(1, p.count("/") + 1)}):
                    if _folder_fits(path, block["path"], eye.v1):
                        entry = {"id": sha("tree", path), "name": path.split("/")[-1], "type": "tree", "path": path}
                        row = {"folder": entry | {"mode": "040000"}, "repo": project, "__branch": branch}
                        yield project["id"], row | included(selector, held)


def _branches(block: Row, project: Row, v1: bool) -> list[str]:
    repos = block.get("repos") or []
    if v1:
        return [block.get("branch") or project["default_branch"]] if project["name"] in repos else []
    if not repos:
        return [project["default_branch"]]
    named = (project["path_with_namespace"], str(project["id"]))
    return [repo.get("branch", "main") for repo in repos if repo["name"].strip("/") in named]


def _folder_fits(path: str, pattern: str, v1: bool) -> bool:
    if v1 or not re.search(r"[*?\[\]]", pattern):
        return "/".join(path.split("/")[:-1]) == pattern.strip("/")
    return segments_fit(path.split("/"), pattern.split("/"))


# --- a world's files ---


def fill_files(world: Any, project: Row, _: Row) -> None:
    """A few kinds of files in several folders and on two branches, in every third project."""
    if project["id"] % 3 != 1:
        return
    for path, text in {
        "README.md": f"# {project['name']}\n",
        "package.json": json.dumps({"name": project["path"], "é": [1, 2.5, None]}),
        "docs/README.md": "See file://README.md\n",
        "docs/guide/intro.md": "",
        "deploy/a/values.yaml": "on: true\nreplicas: 3\nnotes: file://README.md\nnothing: file://gone.md\n",
        "deploy/b/values.yaml": "- {x: file://docs/README.md}\n- file://README.md\n- 2024-02-03\n",
        "deploy/b/many.yml": "a: 1\n---\n- b\n---\n\n---\nc: 2024-02-03 10:00:00\n",
        "deploy/.hidden/broken.yml": "a: [1\n",
        "deploy/empty.json": "",
        "tricky/[x].json": "{'no': json}",
    }.items():
        world.set_file(project, path, text)
    world.set_file(project, "deploy/c/values.yaml", "d: 1\n", branch="dev")
