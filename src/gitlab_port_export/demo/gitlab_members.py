"""The stand-in GitLab's writes of members, with the answers and the side effects that GitLab has."""

from __future__ import annotations

from datetime import date

from gitlab_port_export.demo.gitlab_access import MINIMAL, OWNER
from gitlab_port_export.demo.gitlab_call import forbid_unless
from gitlab_port_export.demo.gitlab_pages import RefusedError
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.gitlab_writes import Change, Result, groups_above, member_of, members_of

LEVELS = {5: "Minimal Access", 10: "Guest", 15: "Planner", 20: "Reporter", 25: "Security Manager", 30: "Developer",
          40: "Maintainer", 50: "Owner"}  # fmt: skip
QUEUED = {"message": {"name": "Request queued for administrator approval."}}


def add(change: Change) -> Result:
    """POST members: 201 with the row, or queued; 409 for a direct member, 400 below an inherited role."""
    source = change.manageable()
    _unlocked(change, source)
    level = wanted_level(change, source)
    user = change.world.users.get(change.number("user_id") or 0)
    if user is None:
        raise RefusedError(404, {"message": "404 User Not Found"})
    if member_of(change.world, source, user["id"]):
        raise RefusedError(409, {"message": "Member already exists"})
    check_rules(change, source, user["id"], level)
    if change.writes.approval:
        return 201, QUEUED
    row = change.world.add_member(source, user, level, change.call.text("expires_at") or None)
    _set_custom_role(change, row)
    change.done("add", source["id"], user["id"])
    return 201, row


def edit(change: Change) -> Result:
    """PUT members: a custom role that is left out is removed; 404 for who is no direct member."""
    source = change.manageable()
    row = _direct(change, source)
    level = wanted_level(change, source)
    if level < OWNER:
        forbid_unless(not is_last_owner(change, source, row))
    check_rules(change, source, row["id"], level)
    if change.writes.approval and level > row["access_level"]:
        return 200, QUEUED
    set_role(change, row, level)
    change.done("edit", source["id"], row["id"])
    return 200, row


def set_role(change: Change, row: Row, level: int) -> None:
    """Change a membership as a request says; without a date among its parameters the date stays."""
    row["access_level"] = level
    if "expires_at" in change.call.params:
        row["expires_at"] = change.call.text("expires_at") or None
    _set_custom_role(change, row)


def remove(change: Change) -> Result:
    """DELETE members: the memberships below and the invitations that the person sent go too, unless asked not to."""
    source = change.manageable()
    row = _direct(change, source)
    forbid_unless(not is_last_owner(change, source, row) and row["id"] not in change.world.bots)
    places = [source] if change.call.flag("skip_subresources") else places_below(change.world, source)
    for place in places:
        if user := member_of(change.world, place, row["id"]):
            change.world.remove_member(place, user)
            change.done("remove", place["id"], row["id"])
        sent = change.world.rows_of("invitation", place)
        sent[:] = [one for one in sent if one["created_by_name"] != row["name"]]
    return 204, None


def places_below(world: World, source: Row) -> list[Row]:
    """A group or project, and all that is below it."""
    if "full_path" not in source:
        return [source]
    return [*world.family(source), *world.projects_below(source)]


def is_last_owner(change: Change, source: Row, row: Row) -> bool:
    """Whether no other owner of a group is left: humans that are not blocked, also of groups above."""
    if row["access_level"] < OWNER or "full_path" not in source:
        return False
    world = change.world
    found = [one for place in (source, *groups_above(world, source)) for one in members_of(world, place)]
    bots = frozenset() if change.writes.counts_bots else world.bots
    return not any(
        one["access_level"] >= OWNER and one["id"] != row["id"] and one["id"] not in bots and one["state"] == "active"
        for one in found
    )


def wanted_level(change: Change, source: Row) -> int:
    """The role that a request asks for; RefusedError for none and for one that GitLab does not have there."""
    level = change.number("access_level")
    if level is None:
        raise RefusedError(400, {"error": "access_level is missing"})
    is_top = "full_path" in source and not source["parent_id"]
    if level not in LEVELS or (level == MINIMAL and not is_top):
        raise RefusedError(400, {"error": "access_level does not have a valid value"})
    return level


def check_rules(change: Change, source: Row, user: int, level: int) -> None:
    """Refuse a role above the token's, one below what groups above give, and a date that has passed."""
    forbid_unless(level <= change.level(source))
    for group in groups_above(change.world, source):
        row = member_of(change.world, group, user)
        if row and row["access_level"] > level and row["access_level"] > MINIMAL:
            name = LEVELS[row["access_level"]]
            text = f"should be greater than or equal to {name} inherited membership from group {group['name']}"
            raise RefusedError(400, {"message": {"access_level": [text]}})
    if (end := change.call.text("expires_at")) and end < date.today().isoformat():
        raise RefusedError(400, {"message": {"expires_at": ["cannot be a date in the past"]}})


def _unlocked(change: Change, source: Row) -> None:
    if "full_path" not in source and any(one.get("membership_lock") for one in groups_above(change.world, source)):
        raise RefusedError(405, {"message": "405 Method Not Allowed"})


def _direct(change: Change, source: Row) -> Row:
    row = member_of(change.world, source, int(change.call.ids["number"]))
    if row is None:
        raise RefusedError(404, {"message": "404 Not found"})
    return row


def _set_custom_role(change: Change, row: Row) -> None:
    wanted = change.number("member_role_id")
    if wanted is None:
        row.pop("member_role", None)
        return
    found = [one for rows in change.world.others.values() for one in rows if one.get("base_access_level")]
    role = next((one for one in found if one["id"] == wanted), None)
    if role is None or role["base_access_level"] != row["access_level"]:
        raise RefusedError(400, {"message": {"member_role": ["the base access level does not match"]}})
    row["member_role"] = {name: role[name] for name in ("id", "name", "base_access_level")}
