"""Finds the person that a wish names: by id, by username, or by e-mail, which only an exact match proves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gitlab_port_export.access.api import Api, quoted
from gitlab_port_export.access.values import Person, Place
from gitlab_port_export.gitlab.kinds.shared.members import is_bot
from gitlab_port_export.model import Row

# Users that GitLab makes for itself or for automation and that some versions do not mark as bots:
# https://docs.gitlab.com/administration/internal_users/
MACHINES = re.compile(r"ghost\d*|(gitlab-)?(support|alert|security|migration)-bot\d*|GitLab\w*Bot|service_account_\w+")
# Addresses of the users that GitLab makes for tokens and service accounts.
MACHINE_EMAIL = re.compile(r".+@noreply\..+", re.IGNORECASE)
ID = re.compile(r"id:([1-9][0-9]{0,14})", re.IGNORECASE)
# What GitLab takes as an address here: a comma would make two of it, and a slash fits no path of the API.
EMAIL = re.compile(r"[^@\s,;/<>\"]+@[^@\s,;/<>\"]+\.[^@\s,;/<>\"]+")
USERNAME = re.compile(r"@?[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


@dataclass(frozen=True)
class Found:
    """The person, or the address of one without a visible account, or why nobody can be named for certain."""

    person: Person | None = None
    email: str = ""
    doubt: str = ""
    hint: str = ""


def check_name(text: str) -> str:
    """Return what is wrong with a name of a person as text, or nothing."""
    if ID.fullmatch(text) or EMAIL.fullmatch(text) or USERNAME.fullmatch(text):
        return ""
    return "PERSON: expected a username, id:NUMBER or one e-mail address"


def find_person(api: Api, text: str, place: Place | None) -> Found:
    """Return who is meant. Raises ReadFailed."""
    if number := ID.fullmatch(text):
        row = api.one(f"/users/{number[1]}")
        return Found(_person(row)) if row else Found(doubt=f"GitLab has no account with the id {number[1]}")
    if EMAIL.fullmatch(text):
        return _by_email(api, text, place)
    name = text.removeprefix("@")
    rows = [row for row in _named(api, name, place) if _same(row.get("username"), name)]
    if not rows:
        return Found(doubt=f"GitLab shows no account {name}", hint="check the username, or invite an e-mail address")
    return Found(_whole(api, rows[0]))


def _named(api: Api, name: str, place: Place | None) -> list[Row]:
    """Return the accounts that may have a username; some are shown as members alone, such as blocked ones.

    https://github.com/gitlabform/gitlabform/issues/912
    """
    rows = api.rows("/users", (("username", name),))
    return rows or (api.rows_or_none(f"{place.api}/members/all", (("query", name),)) if place else [])


def _by_email(api: Api, email: str, place: Place | None) -> Found:
    """Look where the token may see addresses; a hit whose address is not shown is a doubt, not a proof."""
    shown: dict[int, Row] = {}
    hidden: dict[int, Row] = {}
    for row in _candidates(api, email, place):
        exact = any(_same(row.get(name), email) for name in ("email", "public_email"))
        (shown if exact else hidden)[row["id"]] = row
    if len(shown) == 1:
        return Found(_whole(api, next(iter(shown.values()))), email)
    if several := list(shown.values()) or [row for number, row in hidden.items() if number not in shown]:
        names = ", ".join(sorted(f"{row.get('username')} (id:{row['id']})" for row in several))
        how = "belongs to more than one account" if shown else "may belong to an account whose address is not shown"
        return Found(None, email, f"{email} {how}: {names}", "name the person by username or id:NUMBER")
    return Found(None, email)


def _candidates(api: Api, email: str, place: Place | None) -> Iterator[Row]:
    """Yield the accounts that GitLab's searches find for an address.

    Administrators find any address, others public ones only (https://gitlab.com/gitlab-org/gitlab/-/issues/352011);
    owners of a top-level group see those of their enterprise users.
    """
    yield from api.rows("/users", (("search", email),))
    if place is not None:
        top = place.path.split("/")[0]
        yield from api.rows_or_none(f"/groups/{quoted(top)}/enterprise_users", (("search", email),))
        yield from api.rows_or_none(f"{place.api}/members/all", (("query", email),))


def _same(value: object, text: str) -> bool:
    return isinstance(value, str) and value.casefold() == text.casefold()


def _whole(api: Api, row: Row) -> Person:
    """Return the account with all that its own page tells the token, such as whether it is a bot."""
    more = api.one(f"/users/{row['id']}") or {}
    return _person({**row, **more})


def _person(row: Row) -> Person:
    admin = row.get("is_admin")
    return Person(
        int(row["id"]),
        str(row.get("username") or ""),
        str(row.get("name") or ""),
        str(row.get("state") or ""),
        is_machine(row),
        admin if isinstance(admin, bool) else None,
        row,
    )


def is_machine(row: Row) -> bool:
    """Return whether an account is that of a token, a service account, or GitLab's own."""
    username, email = str(row.get("username") or ""), str(row.get("email") or "")
    return is_bot(row) or bool(MACHINES.fullmatch(username)) or bool(MACHINE_EMAIL.fullmatch(email))
