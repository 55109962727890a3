"""From what was typed to a wish, with every fault at once; nothing is looked up here."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any, get_args

from gitlab_port_export.access.person import EMAIL, USERNAME, check_name
from gitlab_port_export.access.roles import check_word
from gitlab_port_export.access.values import Allowed, AskedBy, NewAccount, ScopeKind, ScopeName, Verb, Wish
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.text import shown

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# The commands of `access`; the others are those of `account`.
ACCESS = ("show", "grant", "revoke")
# What stands for no end of a role.
NEVER = "never"
ALLOWED: tuple[Allowed, ...] = get_args(Allowed)
PATH = re.compile(r"[^\s?#%]{1,1024}")


def wish_of(
    verb: Verb, given: Mapping[str, Any], reason: str = "", allow: Collection[str] = (), asked_by: AskedBy | None = None
) -> Wish | None:
    """Return the wish of a command line, None where it names nothing. Raises UsageError where it names two places."""
    named: dict[ScopeKind, str | None] = {"group": given.get("group"), "project": given.get("project")}
    scopes = [ScopeName(kind, path.strip("/")) for kind, path in named.items() if path]
    texts = {name: given.get(name) or "" for name in ("person", "role")}
    expires = given.get("expires")
    if not any((*texts.values(), *scopes, expires, reason)):
        return None
    made = given.get("account")
    wish = Wish(
        verb,
        texts["person"].strip(),
        scopes[0] if scopes else None,
        role=texts["role"].strip(),
        expires="" if expires and expires.lower() == NEVER else expires or None,
        reason=reason,
        below=bool(given.get("below")),
        allow=frozenset(one for one in ALLOWED if one in allow),
        asked_by=asked_by or AskedBy(),
        account=NewAccount(**made) if made else None,
    )
    if len(scopes) > 1:
        raise UsageError("--group and --project: give one of them", *_faults(wish, date.today()))
    return wish


def check_wish(wish: Wish, today: date | None = None) -> None:
    """Return where a wish is whole and every text in it has its form. Raises UsageError with all faults."""
    faults = tuple(_faults(wish, today or date.today()))
    if faults:
        group = "access" if wish.verb in ACCESS else "account"
        raise UsageError(*faults, hint=f"gitlab-port-export {group} {wish.verb} --help shows the form")


def _faults(wish: Wish, today: date) -> Iterator[str]:
    if not wish.person:
        yield "PERSON is missing"
    elif fault := check_name(wish.person):
        yield fault
    elif wish.verb == "create" and not EMAIL.fullmatch(wish.person):
        yield "PERSON: an account is made for an e-mail address"
    if wish.scope is None and wish.verb in ("grant", "revoke", "remove"):
        yield "--group is missing" if wish.verb == "remove" else "--group or --project is missing"
    elif wish.scope and (not PATH.fullmatch(wish.scope.path) or wish.scope.path.isdigit()):
        yield f"--{wish.scope.kind}: {shown(wish.scope.path)} is no full path, for example my-group/web"
    if wish.verb == "grant":
        fault = check_word(wish.role) if wish.role else "--role is missing"
        yield from (fault,) if fault else ()
    if wish.verb == "create":
        yield from _account_faults(wish.account)
    yield from _date_faults(wish.expires, today)


def _account_faults(account: NewAccount | None) -> Iterator[str]:
    if account is None or not USERNAME.fullmatch(account.username) or account.username.startswith("@"):
        yield "--username: expected letters, digits, _, - and ."
    if account is None or not account.name.strip():
        yield "--name is missing"
    if account and bool(account.extern_uid) != bool(account.provider):
        yield "--identity: expected PROVIDER:UID"


def _date_faults(expires: str | None, today: date) -> Iterator[str]:
    if not expires:
        return
    try:
        end = date.fromisoformat(expires) if DATE.fullmatch(expires) else None
    except ValueError:
        end = None
    if end is None:
        yield f"--expires: {shown(expires)} is no date; expected YYYY-MM-DD, or never"
    elif end <= today:
        yield f"--expires: {expires} is not after today, {today.isoformat()}"
