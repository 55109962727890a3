"""Kind `user`: all accounts of the instance with an administrator's token, else everybody who has a role."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import Field

from gitlab_port_export.base.parallel import Job, Once
from gitlab_port_export.gitlab.client import Get, Params, ReadFailed
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import (
    ALL_OF_GITLAB,
    About,
    Again,
    Context,
    Kind,
    Read,
    Requests,
    Since,
    by,
    pages,
)
from gitlab_port_export.gitlab.kinds.shared.again import at, one_row, picking
from gitlab_port_export.gitlab.kinds.shared.members import is_bot, members_path
from gitlab_port_export.gitlab.kinds.shared.objects import ObjectList, object_read, objects_of
from gitlab_port_export.gitlab.kinds.shared.roles import GroupTree
from gitlab_port_export.gitlab.lists import read_keyset
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Narrowed, Page, Problem, Row, Scope

# What a member row tells of the account; the rest is the membership's.
ACCOUNT = ("id", "username", "name", "state", "locked", "public_email", "email", "bot", "avatar_url", "web_url")
# The addresses that people signed in from are personal data, and are left out.
WITHHELD = ("current_sign_in_ip", "last_sign_in_ip")
NO_ADMINISTRATOR = "use a token of an administrator (on instances with admin mode: with the scope admin_mode)"

# A token that was an administrator's and is none any more is told by nothing that GitLab says.
NO_SOURCE = "members were read, as no token is an administrator's, and accounts without a role are not among them"
SET_SOURCE = "choose in the selector: `source: members` deletes accounts without a role, `source: users` reads all"

Source = Literal["users", "members"]


class UserSelector(Selector):
    """Which accounts."""

    source: Source | None = Field(
        default=None,
        description="`users`: all accounts of the instance, with their last sign-in and activity; needs the token of "
        "an administrator. `members`: everybody who has a role in a group or project that is read; GitLab shows no "
        "dates there. By default `users` where a token that may read everything (`**`) is an administrator's, else "
        "`members`; accounts that members then lack are not deleted until one of the two is chosen here",
    )
    include_bot_members: bool = Field(
        default=False, description="also the users of project and group access tokens, and GitLab's internal ones"
    )


class UserQuery(NamedTuple):
    """What a selector asks for; resources with equal queries share their read."""

    source: Source | None
    bots: bool


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read: who is an administrator is known only when GitLab was asked."""
    tree = GroupTree.of(context.inventory.groups())
    places = (*context.inventory.groups(), *context.inventory.projects())
    lists = tuple(key for place in places for key in tree.keys(place))
    for query, indexes in _by_query(resources).items():
        if query.source == "members":
            shape = partial(_accounts_of, bots=query.bots)
            yield object_read("user", places, indexes, partial(_member_lists, tree), fields=ACCOUNT, shape=shape)
        else:
            start = partial(_start, context, tree, indexes, query)
            needs = lists if query.source is None else ()
            yield Read("user", ALL_OF_GITLAB, ("",), indexes, start, requests=2, needs=needs)


def _by_query(resources: tuple[Resource, ...]) -> Mapping[UserQuery, tuple[int, ...]]:
    return by(resources, lambda selector: UserQuery(selector.source, selector.include_bot_members))


def _start(context: Context, tree: GroupTree, resources: tuple[int, ...], query: UserQuery, _: Scope) -> Job:
    administrators = yield from _administrators(context, query, resources)
    if administrators:
        yield from _accounts(administrators, resources, query)
    elif query.source == "users":
        raise ReadFailed("forbidden", "no token is an administrator's, so GitLab lists no accounts", NO_ADMINISTRATOR)
    else:
        yield from (Narrowed(index, NO_SOURCE, SET_SOURCE) for index in resources)
        yield from _members(context, tree, resources, query)


def _administrators(context: Context, query: UserQuery, resources: tuple[int, ...]) -> Generator[Any, Any, list[str]]:
    """Return the tokens of administrators; a Problem where none is one and GitLab refused to say so of some."""
    patterns = context.inventory.patterns
    asked = [token for token in patterns if query.source == "users" or patterns[token].allow_all_below("")]
    found: list[str] = []
    refused: list[tuple[str, ReadFailed]] = []
    for token in asked:
        try:
            if (yield Once(("administrator", token), partial(_is_administrator, token))):
                found.append(token)
        except ReadFailed as caught:
            refused.append((token, caught))
    if not found:
        for token, failure in refused:
            why = f"whether the token is an administrator's is not known: {failure.why}"
            hint = "give the token the right to read its own user, or choose the selector's `source`"
            yield Problem("read", why, hint, token=token, kind="user", resources=resources)
    return found


def _is_administrator(token: str) -> Job:
    answer = yield Get(token, "/user", gives="object")
    return answer.data.get("is_admin") is True


def _accounts(tokens: list[str], resources: tuple[int, ...], query: UserQuery, more: Params = ()) -> Job:
    """Read all accounts of the instance with the first of these tokens that may."""
    params: Params = (*more, ("order_by", "id"), ("sort", "desc"))
    if not query.bots:
        params += (("without_project_bots", "true"), ("exclude_internal", "true"))

    def handle(rows: list[Row]) -> Page | None:
        # What others than administrators are shown is neither all accounts nor all of an account.
        if any("is_admin" not in row for row in rows):
            raise ReadFailed("incomplete", "GitLab lists accounts as to no administrator", NO_ADMINISTRATOR)
        kept = [_shown(row) for row in rows if query.bots or not is_bot(row)]
        return Page("user", resources, ALL_OF_GITLAB, kept) if kept else None

    failure: ReadFailed | None = None
    for token in tokens:
        try:
            yield from read_keyset(token, "/users", params, handle)
            return
        except ReadFailed as caught:
            failure = caught
    if failure:
        raise failure


def _shown(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in WITHHELD} | {"__source": "users"}


def _members(context: Context, tree: GroupTree, resources: tuple[int, ...], query: UserQuery) -> Job:
    """Gather the accounts from all member lists."""
    places = (*context.inventory.groups(), *context.inventory.projects())
    rows = yield from objects_of("user", places, resources, partial(_member_lists, tree), ACCOUNT)
    yield from pages("user", resources, ALL_OF_GITLAB, _accounts_of(rows, bots=query.bots))


def _member_lists(tree: GroupTree, place: Listed) -> Iterator[ObjectList]:
    """Yield the lists of everybody with a role in a place; /members/all leaves out members with minimal access."""
    yield ObjectList(members_path(place.scope, inherited=False))
    if tree.asks_all(place):
        yield ObjectList(members_path(place.scope, inherited=True), counted=False)


def _accounts_of(rows: list[Row], *, bots: bool) -> list[Row]:
    return [_account(row) for row in rows if bots or not is_bot(row)]


def _account(row: Row) -> Row:
    return {name: None if row[name] == "" else row[name] for name in ACCOUNT} | {"__source": "members"}


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    """Yield the reads of one account: of all of the instance, or of the lists of the place that is named with it."""
    for query, indexes in _by_query(resources).items():
        if query.source != "members":
            yield Read("user", ALL_OF_GITLAB, ("",), indexes, partial(_one, context, touched, indexes, query))
        elif _has_place(touched):
            yield Read("user", ALL_OF_GITLAB, ("",), indexes, partial(_member, context, touched, indexes, query))


def _has_place(touched: Touched) -> bool:
    return touched.group is not None or touched.project is not None


def _one(context: Context, touched: Touched, resources: tuple[int, ...], query: UserQuery, scope: Scope) -> Job:
    administrators = yield from _administrators(context, query, resources)
    for token in administrators[:1]:
        found = yield from one_row(replace(scope, token=token), f"/users/{touched.key}")
        if found is not None:
            yield from _accounts(administrators, resources, query, (("username", str(found["username"])),))
    if not administrators and query.source is None and _has_place(touched):
        yield from _member(context, touched, resources, query, scope)


def _member(context: Context, touched: Touched, resources: tuple[int, ...], query: UserQuery, _: Scope) -> Job:
    tree, near = GroupTree.of(context.inventory.groups()), at(context, touched)
    yield from picking(_members(near, tree, resources, query), lambda row: row.get("id") == touched.key)


KIND = Kind(
    "user",
    UserSelector,
    reads,
    about=About(
        "Accounts: all of the instance for an administrator's token, else everybody who has a role.",
        (
            "GET /users",
            "GET /groups/:id/members",
            "GET /groups/:id/members/all",
            "GET /projects/:id/members",
            "GET /projects/:id/members/all",
        ),
        {"__source": "`users` or `members`: where the row is from, and so which fields it has"},
        requests=Requests(once=1, group=2, project=1),
    ),
    again=Again(("user",), _again, left=lambda _: "the accounts that come from lists of members"),
    since=Since("nothing", why="GitLab does not say which accounts changed"),
)
