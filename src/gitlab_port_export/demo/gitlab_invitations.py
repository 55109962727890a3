"""The stand-in GitLab's invitations: POST always answers 201, and also changes people who are members already."""

from __future__ import annotations

from typing import Any

from gitlab_port_export.demo.gitlab_access import OWNER
from gitlab_port_export.demo.gitlab_kinds.invitation import add_invitation
from gitlab_port_export.demo.gitlab_members import check_rules, is_last_owner, set_role, wanted_level
from gitlab_port_export.demo.gitlab_pages import RefusedError
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_writes import Change, Result, account_of, member_of


def invite(change: Change) -> Result:
    """POST invitations: always 201. Who has an account becomes a member at once, who is a member is changed."""
    source = change.manageable()
    email = change.call.text("email")
    if not email:
        return 201, {"status": "error", "message": "Emails cannot be blank"}
    level = wanted_level(change, source)
    try:
        refusal = _one(change, source, email, level)
    except RefusedError as refused:
        refusal = str(refused.payload)
    if refusal:
        return 201, {"status": "error", "message": {email: refusal}}
    if change.writes.approval:
        return 201, {
            "queued_users": {email: "Request queued for administrator approval."},
            "status": "success",
        }
    return 201, {"status": "success"}


def _one(change: Change, source: Row, email: str, level: int) -> str:
    """Invite one address and return why not, or nothing."""
    if "@" not in email:
        return "Invite email is invalid"
    if change.writes.sso:
        return "The member's email address is not linked to a SAML account"
    user = account_of(change.world, email)
    if user:
        check_rules(change, source, user["id"], level)
    if change.writes.approval:
        return ""
    if user and (row := member_of(change.world, source, user["id"])):
        if level < OWNER and is_last_owner(change, source, row):
            return "not authorized to update member"
        before = dict(row)
        set_role(change, row, level)
        if row != before:
            change.done("edit", source["id"], user["id"])
    elif user:
        change.world.add_member(source, user, level, change.call.text("expires_at") or None)
        change.done("add", source["id"], user["id"])
    else:
        _open(change, source, email, level)
    return ""


def _open(change: Change, source: Row, email: str, level: int) -> None:
    rows = change.world.rows_of("invitation", source)
    end = change.call.text("expires_at") or None
    if row := next((one for one in rows if one["invite_email"].casefold() == email.casefold()), None):
        row |= {"access_level": level} | ({"expires_at": end} if "expires_at" in change.call.params else {})
        change.done("reinvite", source["id"], email)
        return
    add_invitation(change.world, source, email, level, end, created_by_name=change.call.token.user["name"])
    change.done("invite", source["id"], email)


def _wanted(change: Change) -> tuple[list[Row], Row, Row]:
    source = change.manageable()
    rows = change.world.rows_of("invitation", source)
    email = change.call.ids["email"].casefold()
    row = next((one for one in rows if one["invite_email"].casefold() == email), None)
    if row is None:
        raise RefusedError(404, {"message": "404 Not found"})
    return rows, row, source


def edit(change: Change) -> Result:
    """PUT invitations."""
    _, row, source = _wanted(change)
    if (level := change.number("access_level")) is not None:
        row["access_level"] = level
    if "expires_at" in change.call.params:
        row["expires_at"] = change.call.text("expires_at") or None
    change.done("reinvite", source["id"], row["invite_email"])
    return 200, row


def revoke(change: Change) -> tuple[int, Any]:
    """DELETE invitations."""
    rows, row, source = _wanted(change)
    rows.remove(row)
    change.done("uninvite", source["id"], row["invite_email"])
    return 204, None
