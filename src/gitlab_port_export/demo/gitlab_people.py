"""The people of the stand-in GitLab: members of groups and projects, direct or not, and accounts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitlab_port_export.demo.gitlab_access import MINIMAL
from gitlab_port_export.demo.gitlab_call import (
    Call,
    Keep,
    equal,
    kept,
    only,
    ordered,
    searched,
    wanted_group,
    wanted_project,
)
from gitlab_port_export.demo.gitlab_pages import Listing, RefusedError
from gitlab_port_export.demo.gitlab_rows import Row, account_row
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.gitlab_writes import email_of


def group_members(call: Call) -> Listing:
    """The members of a group itself."""
    return _people(call, call.world.group_members.get(wanted_group(call)["id"], ()))


def project_members(call: Call) -> Listing:
    """The members of a project itself."""
    return _people(call, call.world.project_members.get(wanted_project(call)["id"], ()))


def all_group_members(call: Call) -> Listing:
    """Everybody with a role in a group, each once; minimal access is none here."""
    return _people(call, _highest(_in_group(call, wanted_group(call)["id"])))


def all_project_members(call: Call) -> Listing:
    """Everybody with a role in a project, each once."""
    return _people(call, _highest(_in_project(call, wanted_project(call))))


def _in_project(call: Call, project: Row) -> list[Row]:
    found = [*call.world.project_members.get(project["id"], ()), *_in_group(call, project["namespace"]["id"])]
    for share in project["shared_with_groups"]:
        found += _through(share, _of_family(call, share["group_id"]))
    return found


def _in_group(call: Call, group_id: int) -> Iterator[Row]:
    """What a group and those above it give their members, and the direct members of groups invited to them."""
    yield from _of_family(call, group_id)
    for group in call.world.ancestors(group_id):
        for share in call.world.group_shares.get(group["id"], ()):
            yield from _through(share, call.world.group_members.get(share["group_id"], ()))


def _of_family(call: Call, group_id: int) -> Iterator[Row]:
    for group in call.world.ancestors(group_id):
        yield from call.world.group_members.get(group["id"], ())


def _through(share: Row, members: Iterable[Row]) -> Iterator[Row]:
    for row in members:
        yield row | {"access_level": min(row["access_level"], share["group_access_level"])}


def _highest(members: Iterable[Row]) -> Iterable[Row]:
    """One row a user, the one with the highest access level."""
    best: dict[int, Row] = {}
    for row in members:
        level = best[row["id"]]["access_level"] if row["id"] in best else MINIMAL
        if row["access_level"] > level:
            best[row["id"]] = row
    return best.values()


def _people(call: Call, members: Iterable[Row]) -> Listing:
    found = kept(members, _named_like(call))
    return Listing(sorted(found, key=lambda row: int(row["id"])))


def _named_like(call: Call) -> Iterator[Keep]:
    if words := call.text("query").casefold():
        yield lambda row: words in row["name"].casefold() or words in row["username"].casefold()


def one_user(call: Call) -> Row:
    """One account; only administrators see more of it than its name."""
    user = only(call.world.users.values(), "id", call)
    # Lists do not say who is a bot: https://docs.gitlab.com/api/users/#as-a-regular-user
    return full_account(call.world, user) if call.token.admin else user | {"bot": user["id"] in call.world.bots}


def full_account(world: World, row: Row) -> Row:
    """What administrators see of an account."""
    admin = any(token.admin and token.user["id"] == row["id"] for token in world.tokens.values())
    usual = account_row(row, row["id"] in world.bots, world.now)
    return usual | {"is_admin": admin} | world.accounts.get(row["id"], {}) | {"state": row["state"]}


def group_member(call: Call) -> Row:
    """One direct member of a group."""
    return _only_member(call, call.world.group_members.get(wanted_group(call)["id"], ()))


def project_member(call: Call) -> Row:
    """One direct member of a project."""
    return _only_member(call, call.world.project_members.get(wanted_project(call)["id"], ()))


def any_group_member(call: Call) -> Row:
    """One person with a role in a group, with the highest one."""
    return _only_member(call, _highest(_in_group(call, wanted_group(call)["id"])))


def any_project_member(call: Call) -> Row:
    """One person with a role in a project, with the highest one."""
    return _only_member(call, _highest(_in_project(call, wanted_project(call))))


def _only_member(call: Call, members: Iterable[Row]) -> Row:
    found = [row for row in members if str(row["id"]) == call.ids["number"]]
    if not found:
        raise RefusedError(404, {"message": "404 Not found"})
    return found[0]


def users(call: Call) -> Listing:
    """All accounts; only administrators see more of them than their names."""
    world = call.world
    rows = kept(world.users.values(), _humans(call), _searched(call), equal(call, "username"))
    found = ordered(call, rows, ("id", "name", "username", "created_at", "updated_at"), "id", "desc")
    by_id = call.text("order_by") in ("", "id") and call.text("sort") != "asc"

    def present(row: Row) -> Row:
        return full_account(world, row) if call.token.admin else row

    return Listing(found, keyset="cursor" if by_id else "", limited="User", present=present)


def _searched(call: Call) -> Iterator[Keep]:
    """The condition of `search`: an address as a whole, which only administrators find where it is not public."""
    words = call.text("search").casefold()
    if "@" not in words:
        yield from searched(call, "name", "username")
    elif call.token.admin:
        yield lambda row: words in (email_of(call.world, row).casefold(), row["public_email"].casefold())
    else:
        yield lambda row: words == row["public_email"].casefold()


def _humans(call: Call) -> Iterator[Keep]:
    bots = call.world.bots
    if call.flag("without_project_bots"):
        yield lambda row: row["id"] not in bots
    if call.flag("active"):
        yield lambda row: bool(row["state"] == "active")
