"""The guards: each refuses a wish before anything is written, with the reason and the way out. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from gitlab_port_export.access.person import Found
from gitlab_port_export.access.roles import OWNER
from gitlab_port_export.access.state import State
from gitlab_port_export.access.values import Place, Refusal, Role, Verb, Wish
from gitlab_port_export.gitlab.inventory import Patterns
from gitlab_port_export.settings.settings import SETTINGS

FOREVER = "9999-12-31"
SCOPES, CEILING = SETTINGS["write_scopes"].variable, SETTINGS["max_role"].variable


@dataclass(frozen=True)
class Limits:
    """What the settings allow: where something may be changed, and up to which level."""

    scopes: Patterns
    ceiling: Role


@dataclass(frozen=True)
class Facts:
    """Everything that a decision needs; `role` is None where none is wished for, `own` is the token's user by id."""

    wish: Wish
    limits: Limits
    own: int
    found: Found
    place: Place
    role: Role | None
    state: State
    today: date


@dataclass(frozen=True)
class Guard:
    """One rule: its name, what it refuses and the way out, for people; the commands that it is for; and its check.

    The check returns why it refuses, or nothing.
    """

    name: str
    refuses: str
    way_out: str
    check: Callable[[Facts], str]
    verbs: tuple[Verb, ...] = ("grant", "revoke")


def refusals(facts: Facts) -> Iterator[Refusal]:
    """Yield every guard that refuses."""
    for guard in GUARDS:
        if facts.wish.verb in guard.verbs and (why := guard.check(facts)):
            yield Refusal(guard.name, why, guard.way_out)


# --- the place


def _scopes(facts: Facts) -> str:
    scopes, path = facts.limits.scopes, facts.place.path
    if not scopes.texts:
        return f"{SCOPES} is not set, so nothing may be changed"
    return "" if scopes.allows(path) else f"{path} is not among what {SCOPES} names: {', '.join(scopes.texts)}"


def _place(facts: Facts) -> str:
    wish, place = facts.wish, facts.place
    if wish.scope and wish.scope.path.casefold() != place.path.casefold():
        return f"{wish.scope.path} is {place.path} in GitLab now"
    if wish.expected_place_id not in (None, place.id):
        return f"{place.path} has the id {place.id} in GitLab, and {wish.expected_place_id} in the catalog"
    return ""


def _managed(facts: Facts) -> str:
    direct, path = facts.state.direct, facts.place.path
    if "managed" in facts.wish.allow or _nothing_to_do(facts):
        return ""
    if direct and direct.managed:
        return f"LDAP sets this person's role in {path}, and would set it back"
    if facts.state.sources:
        return f"{path} has {' and '.join(facts.state.sources)}, which would undo the change at a sign-in or sync"
    return ""


# --- the person


def _unknown(facts: Facts) -> str:
    found = facts.found
    if found.person or found.email:
        nobody = not found.person and not found.doubt and facts.wish.verb == "revoke" and not facts.state.invitation
        where = f"and {facts.place.path} has no open invitation for it"
        return f"GitLab shows no account with the address {found.email}, {where}" if nobody else ""
    return found.doubt


def _ambiguous(facts: Facts) -> str:
    return facts.found.doubt if facts.found.email else ""


def _other_person(facts: Facts) -> str:
    person, wanted = facts.found.person, facts.wish.expected_id
    if wanted is None or (person and person.id == wanted):
        return ""
    if person is None:
        return f"the catalog holds the id {wanted} of this person, and GitLab shows no account of that name"
    return f"{person.username} is account {person.id} in GitLab, and {wanted} in the catalog"


def _oneself(facts: Facts) -> str:
    person = facts.found.person
    return f"{person.username} is the user of the token itself" if person and person.id == facts.own else ""


def _administrator(facts: Facts) -> str:
    person = facts.found.person
    return f"{person.username} is an administrator of this GitLab" if person and person.is_admin else ""


def _bot(facts: Facts) -> str:
    person = facts.found.person
    if not person or not person.is_bot or "bot" in facts.wish.allow:
        return ""
    return f"{person.username} is a bot, a service account or a user of GitLab itself"


def _blocked(facts: Facts) -> str:
    person = facts.found.person
    return f"{person.username} is {person.state or 'of no known state'}" if person and person.state != "active" else ""


# --- the role


def _ceiling(facts: Facts) -> str:
    ceiling, state = facts.limits.ceiling, facts.state
    if facts.role and facts.role.level > ceiling.level:
        return f"{facts.role.name} is above {ceiling.name}, the highest role that {CEILING} allows"
    there = state.direct if facts.found.person else state.invitation
    if there and there.role.level > ceiling.level:
        return f"the role there is {there.role.name}, above {ceiling.name}, the highest that {CEILING} allows"
    return ""


def _inherited(facts: Facts) -> str:
    above, role, state = facts.state.inherited, facts.role, facts.state
    if above is None or not facts.found.person:
        return ""
    giver = f"the group {above.origin}" if above.origin else "an invited group or a group above"
    if facts.wish.verb == "revoke":
        ends = state.direct or state.invitation
        return "" if ends else f"{above.role.name} in {facts.place.path} comes from {giver}, and ends only there"
    if role and above.membership == "inherited" and role.level < above.role.level:
        return f"{giver} gives {above.role.name}, and GitLab allows no lower role below it"
    return ""


def _last_owner(facts: Facts) -> str:
    direct, person, wish = facts.state.direct, facts.found.person, facts.wish
    if not direct or not person or direct.role.level < OWNER:
        return ""
    owners = {number: end or FOREVER for number, end in facts.state.owners.items()}
    after = {number: end for number, end in owners.items() if number != person.id}
    inherited = facts.state.inherited
    if inherited and inherited.role.level >= OWNER and person.id in owners:
        after[person.id] = inherited.expires or FOREVER
    if wish.verb == "grant" and facts.role and facts.role.level >= OWNER and person.id in owners:
        kept = direct.expires if wish.expires is None else wish.expires
        after[person.id] = max(after.get(person.id, ""), kept or FOREVER)
    return _lost(owners, after, facts)


def _lost(owners: Mapping[int, str], after: Mapping[int, str], facts: Facts) -> str:
    """Return when a place would be without owner, if that is earlier than it is so anyway."""
    today, path = facts.today.isoformat(), facts.place.path
    ends = max((end for end in after.values() if end >= today), default="")
    if ends >= max((end for end in owners.values() if end >= today), default=""):
        return ""
    return f"{path} would be without an active human owner{f' after {ends}' if ends else ''}"


def _nothing_to_do(facts: Facts) -> bool:
    """Whether the person is no direct member and is to be none, so that nothing can be undone."""
    return facts.wish.verb == "revoke" and not facts.state.direct


GUARDS = (
    Guard(
        "scopes",
        "a group or project that is not named for changes",
        f"name it in {SCOPES}, where the command's settings are kept",
        _scopes,
    ),
    Guard(
        "place",
        "a path that belongs to another group or project than the wish or the catalog says",
        "look at both, and use the path that GitLab shows now",
        _place,
    ),
    Guard(
        "unknown",
        "a person whom GitLab does not show; an e-mail without account can be invited, and its invitation ended",
        "check the name, or name the person by username or id:NUMBER",
        _unknown,
    ),
    Guard(
        "ambiguous",
        "an e-mail that more than one account may have",
        "name the person by username or id:NUMBER",
        _ambiguous,
    ),
    Guard(
        "other-person",
        "a name that now belongs to another account than the catalog says",
        "run a sync, look at both accounts, and ask again",
        _other_person,
    ),
    Guard("oneself", "the user of the token itself", "use the token of another owner, or GitLab's pages", _oneself),
    Guard(
        "administrator",
        "administrators, where the token is told who is one",
        "an administrator changes this in GitLab's pages",
        _administrator,
    ),
    Guard("bot", "bots, service accounts and GitLab's own users", "if it is meant: --allow bot", _bot),
    Guard(
        "blocked",
        "a role for an account that is not active",
        "unblock or activate the account first",
        _blocked,
        verbs=("grant",),
    ),
    Guard(
        "ceiling",
        "a role above the highest one that is allowed, to be given, changed or ended",
        f"ask for a lower role, or set {CEILING}, where the command's settings are kept",
        _ceiling,
    ),
    Guard(
        "managed",
        "groups whose members SAML or LDAP links set, and roles that LDAP sets",
        "change it in the identity provider; if it is meant all the same: --allow managed",
        _managed,
    ),
    Guard(
        "inherited",
        "a role that comes from a group above or an invited group",
        "change it in the group that gives it",
        _inherited,
    ),
    Guard(
        "last-owner",
        "what leaves a group or project without an active human owner, at once or from a date on",
        "make somebody else an owner first, without an earlier end",
        _last_owner,
    ),
)
