"""What the kinds of members share: member lists, bots, and how members are shown."""

import re
from collections.abc import Callable, Generator, Hashable, Iterator
from functools import partial
from typing import Any, NamedTuple

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.inventory import Active, Listed
from gitlab_port_export.gitlab.kinds.kind import Read, api_path, by, scope_read
from gitlab_port_export.gitlab.lists import list_key, whole_list
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Dialect, Row, Scope

# Users of project and group access tokens; /members/all leaves out the `bot` field for them.
# Before they got random endings they were numbered: project_1_bot, project_1_bot1, project_1_bot2.
BOT_NAME = re.compile(r"^(project|group)_\d+_bot(\d+|_[a-f0-9]+)?$")


class MembersSelector(Selector):
    """Which members."""

    include_inherited_members: bool = Field(default=False, description="also members of ancestors and invited groups")
    include_bot_members: bool = Field(default=False, description="also the users of project and group access tokens")
    include_verbose_member_object: bool = Field(
        default=False, description="integration type gitlab only: each member as GitLab gives it"
    )


class MembersQuery(NamedTuple):
    """What a selector asks for; resources with equal queries share their reads."""

    active: Active
    inherited: bool
    bots: bool
    verbose: bool


# Reads the members of one place as the query asks: (place, resources, query, scope) → job.
Start = Callable[[Listed, tuple[int, ...], MembersQuery, Scope], Job]


def member_reads(
    kind: str,
    resources: tuple[Resource, ...],
    active: Callable[[Any], Active],
    places: Callable[[Active], tuple[Listed, ...]],
    start: Start,
    also: Callable[[Listed], tuple[Hashable, ...]] = lambda place: (),  # noqa: ARG005  # no place has more
) -> Iterator[Read]:
    """Yield one read per place; kinds that need the same lists share them.

    `also` gives what a further request of a place shares with other reads.
    """

    def query(selector: Any) -> MembersQuery:
        return MembersQuery(
            active(selector),
            selector.include_inherited_members,
            selector.include_bot_members,
            selector.include_verbose_member_object,
        )

    for wanted, indexes in by(resources, query).items():
        for place in places(wanted.active):
            path = members_path(place.scope, inherited=wanted.inherited)
            further = also(place)
            shares = (list_key(place.scope.token, path, ()), *further)
            job = partial(start, place, indexes, wanted)
            yield scope_read(kind, place, indexes, job, requests=1 + bool(further), shares=shares)


def is_bot(row: Row) -> bool:
    """Say whether a member is the user of an access token: by `bot` where GitLab sends it, else by its name."""
    bot = row.get("bot")
    return bot if isinstance(bot, bool) else bool(BOT_NAME.match(str(row.get("username") or "")))


def members_path(scope: Scope, *, inherited: bool) -> str:
    """Return the path of a scope's member list."""
    return f"{api_path(scope)}/members{'/all' if inherited else ''}"


def members_of(scope: Scope, query: MembersQuery) -> Generator[Any, Any, list[Row]]:
    """Return the wanted members, as GitLab gives them.

    /members/all is filtered after paging (members of private invited groups), so its count proves nothing.
    """
    path = members_path(scope, inherited=query.inherited)
    rows: list[Row] = yield from whole_list(scope.token, path, counted=not query.inherited)
    return rows if query.bots else [row for row in rows if not is_bot(row)]


def shaped(members: list[Row], dialect: Dialect, *, verbose: bool) -> list[Row]:
    """Return `__members` as Ocean's integration of that dialect shapes it.

    gitlab-v2: email, username, name, access_level, id, rows that lack one of the last four dropped; gitlab: id,
    username, email ("" where GitLab hides it), or the whole object; each id once.
    """
    if dialect == "gitlab-v2":
        needed = ("username", "name", "access_level", "id")
        return [
            {"email": row.get("email"), **{name: row[name] for name in needed}}
            for row in members
            if all(row.get(name) is not None for name in needed)
        ]
    unique = {row["id"]: row for row in reversed(members) if "id" in row}
    ordered = [row for row in members if unique.get(row.get("id")) is row]
    if verbose:
        return ordered
    return [{"id": row["id"], "username": row.get("username"), "email": row.get("email") or ""} for row in ordered]
