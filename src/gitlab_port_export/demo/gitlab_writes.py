"""The stand-in GitLab's writes about people: what each has, the settings that change its answer, and its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gitlab_port_export.demo.gitlab_access import MAINTAINER, OWNER
from gitlab_port_export.demo.gitlab_call import Call, forbid_unless, wanted_group, wanted_project
from gitlab_port_export.demo.gitlab_pages import RefusedError
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World

Result = tuple[int, Any]
ADMINISTRATOR = 60


@dataclass
class Writes:
    """GitLab's settings that change what a write does, and a record of the writes that had an effect.

    `approval`: roles wait for an administrator. `sso`: invitations of strangers fail. `locked`: ids of groups whose
    members SAML or LDAP alone may set. `user_cap`: new accounts wait for approval. `counts_bots`: the last human owner
    may go while a bot is left (https://gitlab.com/gitlab-org/gitlab/-/issues/504245). `slow_removal`: removals of
    billable members wait for `finish`.
    """

    approval: bool = False
    sso: bool = False
    locked: set[int] = field(default_factory=set)
    user_cap: bool = False
    counts_bots: bool = False
    slow_removal: bool = False
    # (what, id of the source or account, id of the person or address), in order.
    effects: list[tuple[str, int, int | str]] = field(default_factory=list)
    waiting: list[Callable[[], None]] = field(default_factory=list)

    def finish(self) -> None:
        """Carry out the removals that wait."""
        while self.waiting:
            self.waiting.pop(0)()


@dataclass(frozen=True)
class Change:
    """One write that passed authentication: the call, whose parameters are those of the body, and GitLab's settings."""

    call: Call
    writes: Writes

    @property
    def world(self) -> World:
        """The world that is changed."""
        return self.call.world

    def number(self, name: str) -> int | None:
        """A whole number among the parameters, None where it is absent; RefusedError where it is something else."""
        value = self.call.params.get(name)
        if value is None or value == "":
            return None
        if not str(value).isdigit():
            raise RefusedError(400, {"error": f"{name} is invalid"})
        return int(str(value))

    def done(self, what: str, where: int, who: int | str) -> None:
        """Record that a write had an effect."""
        self.world.touch()
        self.writes.effects.append((what, where, who))

    def source(self) -> Row:
        """The group or project that the path names."""
        return wanted_group(self.call) if self.of_group else wanted_project(self.call)

    @property
    def of_group(self) -> bool:
        """Whether the path is below /groups."""
        return "/groups/" in self.call.url

    def level(self, source: Row) -> int:
        """The role of the token's user in a group or project."""
        if self.call.access.admin:
            return ADMINISTRATOR
        held = self.call.access.groups if "full_path" in source else self.call.access.projects
        return held.get(source["id"], 0)

    def manageable(self) -> Row:
        """The group or project whose members the token may change; RefusedError with 403 otherwise."""
        source = self.source()
        forbid_unless(self.level(source) >= (OWNER if self.of_group else MAINTAINER))
        group = source["id"] if self.of_group else source["namespace"]["id"]
        forbid_unless(self.call.access.admin or group not in self.writes.locked)
        return source


def body_params(body: object) -> dict[str, str | list[str]]:
    """The parameters in the body of a request, as texts."""
    given = body if isinstance(body, dict) else {}
    return {name: _text(value) for name, value in given.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def members_of(world: World, source: Row) -> list[Row]:
    """The direct members of a group or project."""
    held = world.group_members if "full_path" in source else world.project_members
    return held[source["id"]]


def member_of(world: World, source: Row, user: int) -> Row | None:
    """The direct membership of one person, None when there is none."""
    return next((row for row in members_of(world, source) if row["id"] == user), None)


def groups_above(world: World, source: Row) -> list[Row]:
    """The groups that give their members a role in a group or project, the nearest first."""
    start = source["parent_id"] if "full_path" in source else source["namespace"]["id"]
    return list(world.ancestors(start))


def email_of(world: World, user: Row) -> str:
    """The address of an account."""
    return str(
        world.accounts.get(user["id"], {}).get("email") or user.get("email") or f"{user['username']}@example.com"
    )


def account_of(world: World, email: str) -> Row | None:
    """The account with this address, also where nobody may see that."""
    wanted = email.casefold()
    return next((user for user in world.users.values() if email_of(world, user).casefold() == wanted), None)
