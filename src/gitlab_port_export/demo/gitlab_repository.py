"""What the stand-in's repositories hold: trees, files, and the search in them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from gitlab_port_export.demo.gitlab_call import (
    Call,
    feature,
    forbid_unless,
    kept,
    searched,
    sees_code,
    sees_issue,
    sees_merge_requests,
    sees_project,
    wanted_group,
    wanted_project,
)
from gitlab_port_export.demo.gitlab_pages import Listing, Raw, RefusedError
from gitlab_port_export.demo.gitlab_rows import Row, sha

SCOPES = ("issues", "merge_requests", "milestones", "projects", "users", "wiki_blobs", "commits", "blobs", "notes")
CHUNK_LINES = 3
WORD = re.compile(r"(filename|path|extension):(\S+)")
UNAVAILABLE = "400 Bad request - Scope supported only with advanced search or exact code search"
Files = dict[str, bytes]


def _files(call: Call, ref: str, missing: str) -> tuple[Row, Files]:
    """The project and what it holds at a ref (empty: the default branch); RefusedError when there is no such ref."""
    project = wanted_project(call)
    forbid_unless(sees_code(call, project))
    return project, _content(call, project, ref, missing)


def _content(call: Call, project: Row, ref: str, missing: str) -> Files:
    branches: dict[str, Files] = dict(call.world.files.get(project["id"], {}))
    if project["empty_repo"]:
        raise RefusedError(404, {"message": f"404 {missing} Not Found"})
    if ref and ref in branches:
        return branches[ref]
    named = {row["name"] for rows in (call.world.branches, call.world.tags) for row in rows.get(project["id"], ())}
    if ref not in {"", "HEAD", project["default_branch"], sha("commit", project["id"])} | named:
        raise RefusedError(404, {"message": f"404 {missing} Not Found"})
    return branches.get("", {})


# Trees


def tree(call: Call) -> Listing:
    """GET /projects/:id/repository/tree: the entries of a directory, or of all directories below it."""
    path = call.text("path").strip("/")
    _, files = _files(call, call.text("ref"), "Tree")
    below = f"{path}/" if path else ""
    inside = [name for name in files if name.startswith(below)]
    if path and not inside:
        raise RefusedError(404, {"message": "404 invalid revision or path Not Found"})
    rows = [*_folders(inside, below), *(_blob(name, files[name]) for name in sorted(inside))]
    if not call.flag("recursive", False):
        rows = [row for row in rows if "/" not in row["path"][len(below) :]]
    return Listing(rows, keyset="page_token")


def _folders(names: list[str], below: str) -> Iterator[Row]:
    found = {str(parent) for name in names for parent in PurePosixPath(name).parents if str(parent) != "."}
    for path in sorted(path for path in found if path.startswith(below)):
        yield {"id": sha("tree", path), "name": _base(path), "type": "tree", "path": path, "mode": "040000"}


def _blob(path: str, content: bytes) -> Row:
    return {"id": sha("blob", content), "name": _base(path), "type": "blob", "path": path, "mode": "100644"}


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


# Files


def file(call: Call) -> Raw:
    """GET /projects/:id/repository/files/:path: the file in base64; what the headers say is all that HEAD gives."""
    if not call.text("ref"):
        raise RefusedError(400, {"error": "ref is missing, ref is empty"})
    project, path, content = _found_file(call)
    about = _about(call, project, path, content) | {"encoding": "base64"}
    body = json.dumps(about | {"content": base64.b64encode(content).decode()}, ensure_ascii=False).encode()
    return Raw(body, _headers(about), "application/json")


def raw_file(call: Call) -> Raw:
    """GET /projects/:id/repository/files/:path/raw: the bytes."""
    project, path, content = _found_file(call)
    return Raw(content, _headers(_about(call, project, path, content)))


def _found_file(call: Call) -> tuple[Row, str, bytes]:
    project, files = _files(call, call.text("ref"), "Commit")
    path = call.ids["path"]
    if path not in files:
        raise RefusedError(404, {"message": "404 File Not Found"})
    return project, path, files[path]


def _about(call: Call, project: Row, path: str, content: bytes) -> Row:
    return {
        "file_name": _base(path),
        "file_path": path,
        "size": len(content),
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "ref": call.text("ref") or "HEAD",
        "blob_id": sha("blob", content),
        "commit_id": sha("commit", project["id"]),
        "last_commit_id": sha("commit", project["id"]),
        "execute_filemode": False,
    }


def _headers(about: Row) -> list[tuple[str, str]]:
    names = {name: f"X-Gitlab-{name.replace('_', '-').title()}" for name in about}
    return [(names[name], str(value).encode("unicode_escape").decode()) for name, value in about.items()]


# Search


def project_search(call: Call) -> Listing:
    """GET /projects/:id/search: one row for each place of a file that fits, or the rows of another scope."""
    project = wanted_project(call)
    if _scope(call) != "blobs":
        return _other(call, [project])
    forbid_unless(feature(call, project, "repository"))
    ref = call.text("ref") or project["default_branch"]
    return _capped(call, list(_hits(call, project, str(ref))))


def group_search(call: Call) -> Listing:
    """GET /groups/:id/search: as for a project, over the group and all groups below it."""
    group = wanted_group(call)
    visible = [project for project in call.world.projects_below(group) if sees_project(call, project)]
    projects = [row for row in visible if call.flag("include_archived", False) or not row["archived"]]
    if _scope(call) != "blobs":
        return _other(call, projects)
    if not call.world.advanced_search:
        raise RefusedError(400, {"message": UNAVAILABLE})
    readable = [project for project in projects if feature(call, project, "repository")]
    # The index names the commit it has seen.
    return _capped(call, [hit for project in readable for hit in _hits(call, project, sha("commit", project["id"]))])


def _scope(call: Call) -> str:
    for name in ("scope", "search"):
        if not call.params.get(name):
            raise RefusedError(400, {"error": f"{name} is missing"})
    call.choice("search_type", ("basic", "advanced", "zoekt"))
    return call.choice("scope", SCOPES)


def _capped(call: Call, rows: list[Row]) -> Listing:
    return Listing(rows[: call.world.search_cap])


def _hits(call: Call, project: Row, ref: str) -> Iterator[Row]:
    """The places where the words of the search stand in a file that fits its filters; by name alone it fits once."""
    if project["empty_repo"] or project["id"] in call.world.unindexed:
        return
    fits, words = _parsed(call.text("search"))
    for path, content in _content(call, project, ref, "Commit").items():
        if not fits(path):
            continue
        lines = content.decode(errors="replace").splitlines() or [""]
        chunks = [(at, "\n".join(lines[at : at + CHUNK_LINES])) for at in range(0, len(lines), CHUNK_LINES)]
        found = [(at, text) for at, text in chunks if words and words in text.casefold()]
        if not found and words in path.casefold():
            found = chunks[:1]
        for at, text in found:
            yield {
                "basename": path.rpartition(".")[0] or path,
                "data": text,
                "path": path,
                "filename": path,
                "id": None,
                "ref": ref,
                "startline": at + 1,
                "project_id": project["id"],
            }


def _parsed(search: str) -> tuple[Callable[[str], bool], str]:
    """What the filters of a search say of a path, and its other words."""
    wanted = [(name, _wildcards(value)) for name, value in WORD.findall(search)]
    parts: dict[str, Callable[[str], str]] = {
        "filename": _base,
        "path": str,
        "extension": lambda path: path.rpartition(".")[2],
    }

    def fits(path: str) -> bool:
        return all(pattern.search(parts[name](path)) for name, pattern in wanted)

    return fits, " ".join(WORD.sub("", search).split()).casefold()


def _wildcards(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.IGNORECASE)


def _other(call: Call, projects: list[Row]) -> Listing:
    found: list[Row] = []
    match call.text("scope"):
        case "issues":
            for project in projects:
                issues = call.world.issues.get(project["id"], ())
                found += [row for row in issues if sees_issue(call, project, row)]
        case "merge_requests":
            for project in projects:
                if sees_merge_requests(call, project):
                    found += call.world.merge_requests.get(project["id"], ())
        case "milestones":
            found = [row for project in projects for row in call.world.milestones.get(project["id"], ())]
        case "projects":
            return _capped(call, kept(projects, searched(call, "name", "path")))
    return _capped(call, kept(found, searched(call, "title", "description")))
