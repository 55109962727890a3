"""The values of a change of access: what is wished for, what is there, what was decided and what came of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from gitlab_port_export.model import Problem, Row

Verb = Literal["show", "grant", "revoke", "create", "block", "unblock", "remove", "run"]
Result = Literal["created", "updated", "unchanged", "invited", "queued", "removed", "refused", "failed"]
ScopeKind = Literal["group", "project"]
Membership = Literal["direct", "inherited", "invited", "invitation"]
Allowed = Literal["bot", "managed"]


@dataclass(frozen=True)
class ScopeName:
    """A group or project as the user names it."""

    kind: ScopeKind
    path: str


@dataclass(frozen=True)
class AskedBy:
    """Who asks: an e-mail or id, and for whom that person acts."""

    name: str = ""
    impersonated_by: str = ""


@dataclass(frozen=True)
class NewAccount:
    """What `account create` makes; the person's address is the wish's."""

    username: str
    name: str
    external: bool = False
    extern_uid: str = ""
    provider: str = ""


@dataclass(frozen=True)
class Wish:
    """What is asked for, as text: nothing of it was looked up yet.

    `person` is a username, `id:42` or an e-mail. `expires` is a date (YYYY-MM-DD), "" for no end, None to leave it as
    it is. `expected_id` and `expected_place_id` are the ids that the catalog holds of the person and the scope.
    """

    verb: Verb
    person: str
    scope: ScopeName | None = None
    role: str = ""
    expires: str | None = None
    reason: str = ""
    below: bool = False
    allow: frozenset[Allowed] = frozenset()
    asked_by: AskedBy = AskedBy()
    expected_id: int | None = None
    expected_place_id: int | None = None
    run: str = ""
    account: NewAccount | None = None


@dataclass(frozen=True)
class Role:
    """A role: GitLab's level, the name that people read, and the id of a custom role on that level."""

    level: int
    name: str
    custom: int | None = None


@dataclass(frozen=True)
class Held:
    """A role that a person has in a place, or is invited to (`invitation`); `origin` is the path that gives it."""

    role: Role
    expires: str | None
    membership: Membership
    origin: str | None = None
    # Set by LDAP or SAML, which set it back.
    managed: bool = False


@dataclass(frozen=True)
class Person:
    """An account. `is_admin` is None where the token is not told."""

    id: int
    username: str
    name: str
    state: str
    is_bot: bool = False
    is_admin: bool | None = None
    row: Row = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Place:
    """A group or project in GitLab; `row` is what GitLab says of it, `above` the paths of the groups above it."""

    kind: ScopeKind
    id: int
    path: str
    name: str
    row: Row = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_group(self) -> bool:
        """Whether it is a group."""
        return self.kind == "group"

    @property
    def api(self) -> str:
        """The path below /api/v4."""
        return f"/{self.kind}s/{self.id}"

    @property
    def above(self) -> tuple[str, ...]:
        """The paths of the groups above, the nearest first; of a personal project GitLab has no such group."""
        if not self.is_group and (self.row.get("namespace") or {}).get("kind") == "user":
            return ()
        parts = self.path.split("/")[:-1]
        return tuple("/".join(parts[:count]) for count in range(len(parts), 0, -1))


@dataclass(frozen=True)
class Write:
    """One request that changes GitLab; `does` says in a few words what for."""

    method: Literal["POST", "PUT", "DELETE"]
    path: str
    does: str
    params: tuple[tuple[str, str], ...] = ()
    payload: dict[str, Any] | None = None


@dataclass(frozen=True)
class Refusal:
    """A guard that refused, why, and the way out."""

    guard: str
    why: str
    way_out: str


@dataclass(frozen=True)
class EntityDone:
    """What was done to one entity in Port after the change."""

    action: Literal["upsert", "delete"]
    blueprint: str
    identifier: str


@dataclass(frozen=True)
class Ended:
    """A direct role of a person in some place, which ends or ended with another, or is shown."""

    kind: ScopeKind
    path: str
    role: Role
    id: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a command found and did. `result` tells what the exit code does not.

    `before` and `after` are the direct role or open invitation in the place; `still` is what the person keeps there
    from elsewhere. `states` are the state of the account before and after. `writes` are the requests that a plan would
    send. `guard` names the guard that refused.
    """

    command: str
    result: Result
    wish: Wish
    person: Person | None = None
    place: Place | None = None
    before: Held | None = None
    after: Held | None = None
    still: tuple[Held, ...] = ()
    below: tuple[Ended, ...] = ()
    states: tuple[str, str] | None = None
    why: str = ""
    hint: str = ""
    guard: str = ""
    plan: bool = False
    writes: tuple[Write, ...] = ()
    notes: tuple[str, ...] = ()
    by_user: str = ""
    entities: tuple[EntityDone, ...] = ()
    problems: tuple[Problem, ...] = ()
