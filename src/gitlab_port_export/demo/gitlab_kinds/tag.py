"""The tags of repositories."""

from __future__ import annotations

from gitlab_port_export.demo.gitlab_call import Call, kept, ordered
from gitlab_port_export.demo.gitlab_kinds.branch import named, readable
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route


def _tags(call: Call) -> Listing:
    rows = call.world.tags.get(readable(call)["id"], [])
    found = ordered(call, kept(rows, named(call)), ("name", "updated", "version"), "name", "asc")
    return Listing(found, keyset="page_token", whole=len(rows), filtered=bool(call.text("search")))


ROUTES = (Route("/projects/:id/repository/tags", "tags", _tags),)
