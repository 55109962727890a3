"""The branches of repositories."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gitlab_port_export.demo.gitlab_call import Call, Keep, forbid_unless, kept, sees_code, wanted_project
from gitlab_port_export.demo.gitlab_list_rows import branch_row
from gitlab_port_export.demo.gitlab_pages import Listing, RefusedError
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def readable(call: Call) -> Row:
    """The project that the path names; RefusedError where its code may not be read."""
    project = wanted_project(call)
    forbid_unless(sees_code(call, project))
    return project


def _branches_of(call: Call) -> list[Row]:
    project = readable(call)
    rows = call.world.branches.get(project["id"], [])
    if not rows and project["default_branch"] and not project["empty_repo"]:
        return [branch_row(project, project["default_branch"])]
    return sorted(rows, key=lambda row: str(row["name"]))


def _branches(call: Call) -> Listing:
    rows = _branches_of(call)
    found = kept(rows, named(call), _matching(call))
    return Listing(
        found, keyset="page_token", whole=len(rows), filtered=bool(call.text("search") or call.text("regex"))
    )


def named(call: Call) -> Iterator[Keep]:
    """The condition of `search`: text in the name, at its beginning (^text) or at its end (text$)."""
    words = call.text("search")
    plain = words.removeprefix("^").removesuffix("$")
    if words.startswith("^"):
        yield lambda row: bool(row["name"].startswith(plain))
    if words.endswith("$"):
        yield lambda row: bool(row["name"].endswith(plain))
    if plain:
        yield lambda row: plain.casefold() in row["name"].casefold()


def _matching(call: Call) -> Iterator[Keep]:
    if pattern := call.text("regex"):
        try:
            found = re.compile(pattern).search
        except re.error as error:
            raise RefusedError(400, {"error": f"regex is an invalid regular expression: {error}"}) from error
        yield lambda row: found(row["name"]) is not None


def _one_branch(call: Call) -> Row:
    found = next((row for row in _branches_of(call) if row["name"] == call.ids["name"]), None)
    if found is None:
        raise RefusedError(404, {"message": "404 Branch Not Found"})
    return found


ROUTES = (
    Route("/projects/:id/repository/branches", "branches", _branches),
    Route("/projects/:id/repository/branches/:name", "branches", _one_branch),
)
