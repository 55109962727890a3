"""The stand-in GitLab's accounts: made and blocked by administrators, removed from a top-level group by owners."""

from __future__ import annotations

from typing import Any

from gitlab_port_export.demo.gitlab_access import OWNER
from gitlab_port_export.demo.gitlab_call import Call, forbid_unless, only, wanted_group
from gitlab_port_export.demo.gitlab_members import places_below
from gitlab_port_export.demo.gitlab_pages import Listing, RefusedError
from gitlab_port_export.demo.gitlab_people import full_account
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.gitlab_writes import Change, Result, account_of, email_of, member_of

PASSWORDS = ("password", "reset_password", "force_random_password")


def create(change: Change) -> Result:
    """POST /users, by administrators: 409 for an address or a name that is taken."""
    forbid_unless(change.call.access.admin)
    params = change.call.params
    for name in ("email", "name", "username"):
        if not params.get(name):
            raise RefusedError(400, {"error": f"{name} is missing"})
    if not any(str(params.get(name, "")).lower() not in ("", "false") for name in PASSWORDS):
        text = f"{', '.join(PASSWORDS)} are missing, at least one parameter must be provided"
        raise RefusedError(400, {"error": text})
    email, username = change.call.text("email"), change.call.text("username")
    if account_of(change.world, email):
        raise RefusedError(409, {"message": "Email has already been taken"})
    if any(user["username"].casefold() == username.casefold() for user in change.world.users.values()):
        raise RefusedError(409, {"message": "Username has already been taken"})
    state = "blocked_pending_approval" if change.writes.user_cap else "active"
    user = change.world.add_user(username, change.call.text("name"), state=state)
    change.world.accounts[user["id"]] = _told(change, email)
    change.done("create", user["id"], email)
    return 201, full_account(change.world, user)


def _told(change: Change, email: str) -> Row:
    params = change.call.params
    identity = {"provider": params.get("provider"), "extern_uid": params.get("extern_uid")}
    external = str(params.get("external", "")).lower() == "true"
    return {"email": email, "external": external, "identities": [identity] if identity["extern_uid"] else []}


def block(change: Change) -> Result:
    """POST /users/:id/block: 201, also where nothing is to be done."""
    user = _account(change)
    if user["state"] == "ldap_blocked":
        raise RefusedError(403, {"message": "403 Forbidden - LDAP blocked users cannot be modified by the API"})
    if user["id"] == change.call.token.user["id"]:
        raise RefusedError(403, {"message": "403 Forbidden - The API initiating user cannot be blocked by the API"})
    return _to_state(change, user, "blocked")


def unblock(change: Change) -> Result:
    """POST /users/:id/unblock."""
    user = _account(change)
    if user["state"] in ("ldap_blocked", "deactivated"):
        raise RefusedError(403, {"message": "403 Forbidden - users of this state cannot be unblocked by the API"})
    return _to_state(change, user, "active")


def _account(change: Change) -> Row:
    forbid_unless(change.call.access.admin)
    return only(change.world.users.values(), "id", change.call)


def _to_state(change: Change, user: Row, state: str) -> Result:
    if user["state"] == state:
        return 201, None
    for row in (user, *_memberships(change.world, user["id"])):
        row["state"] = state
    change.done(state, user["id"], user["id"])
    return 201, True


def _memberships(world: World, user: int) -> list[Row]:
    held = [*world.group_members.values(), *world.project_members.values()]
    return [row for rows in held for row in rows if row["id"] == user]


def memberships(call: Call) -> Listing:
    """GET /users/:id/memberships, for administrators: the direct memberships of one person."""
    forbid_unless(call.access.admin)
    user = only(call.world.users.values(), "id", call)
    world, rows = call.world, []
    for kind, id in sorted(world.memberships[user["id"]]):
        source = world.groups[id] if kind == "group" else world.projects[id]
        row = member_of(world, source, user["id"])
        if row:
            rows.append({
                "source_id": id,
                "source_name": source["name"],
                "source_type": "Namespace" if kind == "group" else "Project",
                "access_level": row["access_level"],
            })  # fmt: skip
    return Listing(rows)


def billable(call: Call) -> Listing:
    """GET billable_members of a top-level group, for its owners: who has a role in it or anywhere below."""
    group = _top(call)
    people: dict[int, Row] = {}
    for place in places_below(call.world, group):
        held = call.world.group_members if "full_path" in place else call.world.project_members
        for row in held[place["id"]]:
            if row["id"] not in call.world.bots:
                people.setdefault(row["id"], _billable_row(call.world, group, row))
    wanted = call.text("search").casefold()
    return Listing(
        [row for _, row in sorted(people.items()) if wanted in f"{row['name']} {row['username']}".casefold()]
    )


def _billable_row(world: World, group: Row, row: Row) -> Row:
    shown = {name: row[name] for name in ("id", "username", "name", "state", "avatar_url", "web_url")}
    direct = member_of(world, group, row["id"]) is not None
    kind = "group_member" if direct else "project_member"
    return shown | {"membership_type": kind, "removable": True, "last_activity_on": None, "membership_state": "active"}


def billable_memberships(call: Call) -> Listing:
    """GET billable_members/:user_id/memberships: every direct role of one person in the group and below."""
    group = _top(call)
    places = places_below(call.world, group)
    found = [(place, member_of(call.world, place, int(call.ids["number"]))) for place in places]
    rows = [_membership(place, row) for place, row in found if row]
    if not rows:
        raise RefusedError(404, {"message": "404 User Not Found"})
    return Listing(rows)


def _membership(place: Row, row: Row) -> Row:
    kind = "group" if "full_path" in place else "project"
    return {
        "id": row["id"],
        "source_id": place["id"],
        "source_full_name": place.get("full_name") or place["name_with_namespace"],
        "source_members_url": f"{place['web_url']}/-/{kind}_members",
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "access_level": {"string_value": str(row["access_level"]), "integer_value": row["access_level"]},
    }


def _top(call: Call) -> Row:
    group = wanted_group(call)
    forbid_unless(call.access.admin or call.access.groups.get(group["id"], 0) >= OWNER)
    if group["parent_id"]:
        raise RefusedError(400, {"message": "400 Bad request - Group is not a top-level group"})
    return group


def remove_billable(change: Change) -> tuple[int, Any]:
    """DELETE billable_members: from the group and all below, at once or a while later; 204 in either case."""
    group = _top(change.call)
    user = int(change.call.ids["number"])

    def effect() -> None:
        for place in places_below(change.world, group):
            if row := member_of(change.world, place, user):
                change.world.remove_member(place, row)
                change.done("remove", place["id"], user)

    if not any(member_of(change.world, place, user) for place in places_below(change.world, group)):
        raise RefusedError(404, {"message": "404 User Not Found"})
    if change.writes.slow_removal:
        change.writes.waiting.append(effect)
    else:
        effect()
    return 204, None


def enterprise_users(call: Call) -> Listing:
    """GET enterprise_users of a top-level group: the accounts that it owns, with their addresses."""
    group = _top(call)
    wanted = call.text("search").casefold()
    rows = [
        full_account(call.world, call.world.users[row["id"]]) for row in call.world.rows_of("enterprise_user", group)
    ]
    return Listing([row for row in rows if wanted in f"{email_of(call.world, row)} {row['username']}".casefold()])


def member_roles(call: Call) -> Listing:
    """GET member_roles of a group or of the instance."""
    if "id" not in call.ids:
        forbid_unless(call.access.admin)
        return Listing(call.world.others["member_role", False, 0])
    return Listing(call.world.rows_of("member_role", _top(call)))


def saml_links(call: Call) -> Listing:
    """GET saml_group_links of a group, for its owners."""
    group = wanted_group(call)
    forbid_unless(call.access.admin or call.access.groups.get(group["id"], 0) >= OWNER)
    return Listing(call.world.rows_of("saml_group_link", group))
