"""What `account` may do and what it does: guards, and the one write of each command. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitlab_port_export.access.guards import CEILING, SCOPES, Limits
from gitlab_port_export.access.once import LOOK, Verdict
from gitlab_port_export.access.person import Found
from gitlab_port_export.access.values import Ended, Person, Place, Refusal, Result, Verb, Wish, Write
from gitlab_port_export.access.write import Sent

# States in which nobody signs in: https://docs.gitlab.com/administration/moderate_users/
SHUT = frozenset({"blocked", "ldap_blocked", "banned", "blocked_pending_approval"})
INSTANCE: tuple[Verb, ...] = ("create", "block", "unblock")
EVERYBODY: tuple[Verb, ...] = ("block", "unblock", "remove")

RESULTS: Mapping[Verb, Result] = {"create": "created", "block": "updated", "unblock": "updated", "remove": "removed"}


@dataclass(frozen=True)
class AccountState:
    """The account, None where there is none, and its direct roles that matter: all of them, or those below a group."""

    person: Person | None
    roles: tuple[Ended, ...] = ()


@dataclass(frozen=True)
class AccountFacts:
    """Everything that a decision about an account needs.

    `namesake` is the account that has the username which `create` asks for. `ownerless` are the groups that would be
    without owner, `sources` what sets the members of the group instead of people. `billable` says whether GitLab lists
    who takes a seat in the group (paid), which lets all roles end at once.
    """

    wish: Wish
    limits: Limits
    own: int
    is_admin: bool
    found: Found
    state: AccountState
    place: Place | None = None
    namesake: Person | None = None
    ownerless: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    billable: bool = False


@dataclass(frozen=True)
class AccountGuard:
    """One rule for accounts: as `Guard` of guards.py."""

    name: str
    refuses: str
    way_out: str
    check: Callable[[AccountFacts], str]
    verbs: tuple[Verb, ...] = EVERYBODY


def refusals(facts: AccountFacts) -> Iterator[Refusal]:
    """Yield every guard that refuses."""
    for guard in ACCOUNT_GUARDS:
        if facts.wish.verb in guard.verbs and (why := guard.check(facts)):
            yield Refusal(guard.name, why, guard.way_out)


def _rights(facts: AccountFacts) -> str:
    return "" if facts.is_admin else "the user of the write token is no administrator of this GitLab"


def _scopes(facts: AccountFacts) -> str:
    scopes, place = facts.limits.scopes, facts.place
    if place is None:
        return "" if scopes.allow_all_below("") else f"an account belongs to the whole instance, and {SCOPES} lacks **"
    if scopes.allows(place.path) and scopes.allow_all_below(place.path):
        return ""
    return f"{SCOPES} has to name both {place.path} and {place.path}/**"


def _top(facts: AccountFacts) -> str:
    place = facts.place
    return f"{place.path} is below {place.above[-1]}" if place and (not place.is_group or place.above) else ""


def _unknown(facts: AccountFacts) -> str:
    found = facts.found
    return "" if found.person else found.doubt or f"GitLab shows no account with the address {found.email}"


def _taken(facts: AccountFacts) -> str:
    one, other, wished = facts.found.person, facts.namesake, facts.wish.account
    if facts.found.doubt:
        return facts.found.doubt
    if one and wished and one.username.casefold() != wished.username.casefold():
        return f"{facts.wish.person} is the address of {one.username} (id:{one.id})"
    if other and (one is None or one.id != other.id):
        return f"{other.username} is the name of account {other.id}, which has another address"
    return ""


def _other_person(facts: AccountFacts) -> str:
    person, wanted = facts.found.person, facts.wish.expected_id
    if wanted is None or person is None or person.id == wanted:
        return ""
    return f"{person.username} is account {person.id} in GitLab, and {wanted} in the catalog"


def _oneself(facts: AccountFacts) -> str:
    person = facts.found.person
    return f"{person.username} is the user of the token itself" if person and person.id == facts.own else ""


def _administrator(facts: AccountFacts) -> str:
    person = facts.found.person
    return f"{person.username} is an administrator of this GitLab" if person and person.is_admin else ""


def _bot(facts: AccountFacts) -> str:
    person = facts.found.person
    if not person or not person.is_bot or "bot" in facts.wish.allow:
        return ""
    return f"{person.username} is a bot, a service account or a user of GitLab itself"


def _state(facts: AccountFacts) -> str:
    person = facts.found.person
    if person is None or person.state in ("active", "blocked"):
        return ""
    return f"{person.username} is {person.state}, which unblocking does not end"


def _ceiling(facts: AccountFacts) -> str:
    ceiling = facts.limits.ceiling
    above = [one for one in facts.state.roles if one.role.level > ceiling.level]
    if not above:
        return ""
    more = f" and in {len(above) - 1} more places" if len(above) > 1 else ""
    return f"{above[0].role.name} in {above[0].path}{more} is above {ceiling.name}, the highest that {CEILING} allows"


def _managed(facts: AccountFacts) -> str:
    if not facts.sources or not facts.state.roles or "managed" in facts.wish.allow or facts.place is None:
        return ""
    return f"{facts.place.path} has {' and '.join(facts.sources)}, which would undo the change at a sign-in or sync"


def _last_owner(facts: AccountFacts) -> str:
    names = facts.ownerless
    more = " and more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more} would be without an active human owner" if names else ""


def _reach(facts: AccountFacts) -> str:
    place, roles = facts.place, facts.state.roles
    if place is None or facts.billable or not roles or any(one.id == place.id for one in roles if one.kind == "group"):
        return ""
    return f"the person has roles below {place.path} and none in it, and this GitLab has no list of billable members"


ACCOUNT_GUARDS = (
    AccountGuard(
        "rights",
        "accounts, without the token of an administrator; on GitLab.com nobody has one",
        "invite with `access grant EMAIL --group TOP`, and end all roles with `account remove PERSON --group TOP`",
        _rights,
        INSTANCE,
    ),
    AccountGuard(
        "scopes",
        "an account without `**` among the scopes; a removal without the whole group among them",
        f"name it in {SCOPES}, where the command's settings are kept",
        _scopes,
        ("create", *EVERYBODY),
    ),
    AccountGuard(
        "place", "a removal from anything but a top-level group", "name the top-level group", _top, ("remove",)
    ),
    AccountGuard(
        "unknown",
        "a person whom GitLab does not show, or not for certain",
        "name the person by username or id:NUMBER",
        _unknown,
    ),
    AccountGuard(
        "taken",
        "an address or a username that another account has",
        "choose another username, or take the account that is there",
        _taken,
        ("create",),
    ),
    AccountGuard(
        "other-person",
        "a name that now belongs to another account than the catalog says",
        "run a sync, look at both accounts, and ask again",
        _other_person,
    ),
    AccountGuard("oneself", "the user of the token itself", "use another administrator's token", _oneself),
    AccountGuard(
        "administrator",
        "administrators, where the token is told who is one",
        "an administrator changes this in GitLab's pages",
        _administrator,
    ),
    AccountGuard("bot", "bots, service accounts and GitLab's own users", "if it is meant: --allow bot", _bot),
    AccountGuard(
        "state",
        "unblocking what is deactivated, banned, blocked by LDAP or not yet approved",
        "an administrator changes this in GitLab's pages",
        _state,
        ("unblock",),
    ),
    AccountGuard(
        "ceiling",
        "a person who has a role above the highest one that is allowed",
        f"set {CEILING}, where the command's settings are kept",
        _ceiling,
        ("block", "remove"),
    ),
    AccountGuard(
        "managed",
        "a removal from a group whose members SAML or LDAP links set",
        "change it in the identity provider; if it is meant all the same: --allow managed",
        _managed,
        ("remove",),
    ),
    AccountGuard(
        "reach",
        "a removal of roles below a group that GitLab cannot end with one request",
        "end them one by one with `access revoke`",
        _reach,
        ("remove",),
    ),
    AccountGuard(
        "last-owner",
        "what leaves a group without an active human owner",
        "make somebody else an owner first",
        _last_owner,
        ("block", "remove"),
    ),
)


# --- what is done


def write_for(facts: AccountFacts, state: AccountState) -> Write | None:
    """Return the one write, None where nothing is to be done."""
    verb, person, place = facts.wish.verb, state.person, facts.place
    if is_done(verb, state):
        return None
    if verb == "create":
        return Write("POST", "/users", "make an account", payload=_account(facts.wish))
    if person is None:
        return None
    if verb == "remove" and place:
        members = "billable_members" if facts.billable else "members"
        return Write("DELETE", f"{place.api}/{members}/{person.id}", "end all roles in the group and below")
    return Write("POST", f"/users/{person.id}/{verb}", f"{verb} the account")


def _account(wish: Wish) -> dict[str, Any]:
    """Return the account to be made. GitLab mails a link to set a password, or makes one that nobody ever sees."""
    wished = wish.account
    if wished is None:
        raise TypeError("an account without a name")
    found: dict[str, Any] = {"email": wish.person, "username": wished.username, "name": wished.name}
    if wished.external:
        found["external"] = True
    if wished.extern_uid:
        identity = {"extern_uid": wished.extern_uid, "provider": wished.provider}
        return {**found, **identity, "force_random_password": True}
    return {**found, "reset_password": True}


def is_done(verb: Verb, state: AccountState) -> bool:
    """Return whether a state is what a command wants."""
    person = state.person
    if verb == "create":
        return person is not None
    if verb == "remove":
        return not state.roles
    if person is None:
        return False
    return person.state in SHUT if verb == "block" else person.state not in SHUT


def judge(verb: Verb, state: AccountState, sent: Sent) -> Verdict:
    """Return what the write came to, by the state that was read back."""
    if is_done(verb, state):
        return done(verb, state)
    if sent.reply == "refused":
        return Verdict("failed", sent.said, sent.hint)
    if sent.reply == "unknown":
        return Verdict(None, sent.said, then="again")
    said = "GitLab answered that it was done, and does not show it"
    if verb == "remove":
        # GitLab ends roles a while after it answered: https://docs.gitlab.com/api/group_members/
        return Verdict("queued", f"{said} yet; it may come later", LOOK, then="wait")
    return Verdict("failed", said, LOOK, then="wait")


def done(verb: Verb, state: AccountState) -> Verdict:
    """Return what a state that is as wanted is called after a write."""
    if verb == "create" and state.person and state.person.state != "active":
        return Verdict(
            "queued", f"the account is {state.person.state}", "an administrator approves it in GitLab's pages"
        )
    return Verdict(RESULTS[verb])
