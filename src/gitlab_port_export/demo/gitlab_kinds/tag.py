"""The tags of repositories."""

from __future__ import annotations

from gitlab_port_export.demo.gitlab_call import Call, kept, only, ordered
from gitlab_port_export.demo.gitlab_kinds.branch import named, readable
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def _tags(call: Call) -> Listing:
    rows = call.world.tags.get(readable(call)["id"], [])
    found = ordered(call, kept(rows, named(call)), ("name", "updated", "version"), "name", "asc")
    return Listing(found, keyset="page_token", whole=len(rows), filtered=bool(call.text("search")))


def _one_tag(call: Call) -> Row:
    return only(call.world.tags.get(readable(call)["id"], ()), "name", call)


ROUTES = (
    Route("/projects/:id/repository/tags", "tags", _tags),
    Route("/projects/:id/repository/tags/:number", "tags", _one_tag),
)
