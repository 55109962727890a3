"""The stand-in's GraphQL: projects by their ids with fields and languages, within GitLab's limits."""

from __future__ import annotations

import re
from typing import Any

from gitlab_port_export.demo.gitlab_call import Call, feature, sees_project
from gitlab_port_export.demo.gitlab_rows import Row

WORD = re.compile(r"[{}()]|[$\w:!\[\]]+")
PROJECT = "gid://gitlab/Project/"
MAX_NODES = 100
MAX_COMPLEXITY = 250
MAX_TEXT = 10_000

# A selection: each field's name with the selection below it.
Selection = dict[str, Any]


class _Refused(Exception):
    """The query has a fault, in GraphQL's words."""


def answer(call: Call, body: Any) -> Row:
    """Return `data` or `errors` for a parsed request body; both come with status 200."""
    try:
        query = body.get("query") if isinstance(body, dict) else None
        if not isinstance(query, str) or not query.strip():
            raise _Refused("No query string was present")
        if len(query) > MAX_TEXT:
            raise _Refused("Query too large")
        return {"data": {"projects": _projects(call, _wanted(query), body.get("variables") or {})}}
    except _Refused as refused:
        return {"errors": [{"message": str(refused)}]}


def _wanted(query: str) -> Selection:
    """Return what is selected below `projects`."""
    words = WORD.findall(query[query.index("{") :]) if "{" in query else []
    if len(words) < 2 or words[0] != "{":
        raise _Refused("Expected an operation")
    selection = _selection(words[1:])
    if set(selection) != {"projects"}:
        raise _Refused(f"Field '{next(iter(selection), '')}' doesn't exist on type 'Query'")
    found: Selection = selection["projects"]
    return found


def _selection(words: list[str]) -> Selection:
    """Take fields from the words up to the closing bracket; arguments are passed over."""
    found: Selection = {}
    last = ""
    while words:
        match words.pop(0):
            case "}":
                return found
            case "{":
                found[last] = _selection(words)
            case "(":
                del words[: words.index(")") + 1]
            case name:
                last = name
                found[name] = {}
    raise _Refused("Expected a closing bracket")


def _projects(call: Call, selection: Selection, variables: Row) -> Row:
    fields = selection.get("nodes", {})
    if unknown := set(fields) - {"id", "fullPath", "languages"}:
        raise _Refused(f"Field '{min(unknown)}' doesn't exist on type 'Project'")
    first = min(int(variables.get("first") or MAX_NODES), MAX_NODES)
    # A connection costs what its nodes cost, and a hundredth more for each.
    complexity = (1 + len(fields) + 3 * ("languages" in fields)) * (1 + first * 0.01)
    if complexity > MAX_COMPLEXITY:
        raise _Refused(f"Query has complexity of {complexity:.0f}, which exceeds max complexity of {MAX_COMPLEXITY}")
    ids = variables.get("ids") or []
    wanted = [int(id.removeprefix(PROJECT)) for id in ids if id.removeprefix(PROJECT).isdecimal()]
    rows = [project for id in wanted if (project := call.world.projects.get(id)) and sees_project(call, project)]
    nodes = [{name: _field(call, project, name) for name in fields} for project in rows[:first]]
    page = {"hasNextPage": len(rows) > first, "endCursor": None}
    return {"nodes": nodes} | ({"pageInfo": page} if "pageInfo" in selection else {})


def _field(call: Call, project: Row, name: str) -> Any:
    match name:
        case "id":
            return f"{PROJECT}{project['id']}"
        case "fullPath":
            return project["path_with_namespace"]
    if not feature(call, project, "repository"):
        return None
    shares = call.world.languages.get(project["id"], {})
    return [{"name": language, "share": share} for language, share in shares.items()]
