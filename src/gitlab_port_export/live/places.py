"""Where hooks have to be so that every event arrives once: topmost groups, single projects, or the instance."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gitlab_port_export.gitlab.client import Params, ReadFailed, unavailable
from gitlab_port_export.gitlab.inventory import Patterns
from gitlab_port_export.live.gitlab_hooks import HookApi
from gitlab_port_export.live.hook import Found, Place
from gitlab_port_export.live.wish import Wish
from gitlab_port_export.model import Row

MEMBER, OWNER = 10, 50
MAINTAINED = ("min_access_level", "40")
ADMIN = "a system hook can be managed by an administrator's token alone"


@dataclass(frozen=True)
class Gap:
    """A part of what a sync reads for which no hook sends events, or that could not be read."""

    where: str
    why: str
    hint: str = ""
    # The group for which no hook can be made.
    group: str = ""


NOWHERE = Gap(
    "GitLab",
    "the tokens' users own no group and no project of those that the patterns allow, so that there is no hook to make",
    "give the token's user the role Owner in a group, or use --level project, for which Maintainer is enough",
)


@dataclass(frozen=True)
class Scope:
    """The places that want a hook with the events of each (none: what is needed), and all that were looked at."""

    wanted: Mapping[Place, frozenset[str]]
    found: Mapping[Place, tuple[Found, ...]]
    gaps: tuple[Gap, ...] = ()
    # Groups whose projects a sync reads, for hooks that know no groups.
    roots: tuple[str, ...] = ()


def survey(
    api: HookApi, patterns: Mapping[str, Patterns], wish: Wish, least: int = MEMBER, *, removes: bool = False
) -> Scope:
    """Return where hooks have to be, and the hooks of all places, as ours may be left where they are not wanted.

    A sync reads where the tokens' roles are `least` and higher. What `removes` looks everywhere, whatever is wanted.
    Raises GitLabUnavailable when no token can list its groups.
    """
    scope = _instance(api, patterns, least) if wish.system else _below(api, patterns, wish)
    if not (scope.wanted or removes):
        return scope
    gaps: list[Gap] = []
    # Another token may list the same place.
    known = {(place.level, place.id) for place in (*scope.found, *scope.wanted)}
    places = [place for place in _everywhere(api, patterns, gaps) if (place.level, place.id) not in known]
    if not removes:
        # Where a group can have no hook, those of its projects are better than none.
        bare = tuple(f"{gap.group}/" for gap in scope.gaps if gap.group)
        places = [place for place in places if not f"{place.path}/".startswith(bare)]
    found, _ = _look(api, places)
    return replace(scope, found={**scope.found, **found}, gaps=tuple(dict.fromkeys((*scope.gaps, *gaps))))


def _everywhere(api: HookApi, patterns: Mapping[str, Patterns], gaps: list[Gap]) -> Iterator[Place]:
    """Yield every place whose hooks some token may manage, whatever its patterns say."""
    yield _system(patterns)
    params: Params = (("min_access_level", str(OWNER)), ("order_by", "id"), ("sort", "asc"))
    seen: set[tuple[str, int]] = set()
    for token in patterns:
        try:
            places = [Place("group", row["id"], row["full_path"], token) for row in api.rows(token, "/groups", params)]
        except ReadFailed as failure:
            gaps.append(Gap(token, failure.why, failure.hint))
            continue
        mine: Params = (("membership", "true"), MAINTAINED)
        for place in (*places, *_projects(api, token, Patterns(("**",)), "/projects", mine, gaps)):
            if (place.level, place.id) not in seen:
                seen.add((place.level, place.id))
                yield place


def _below(api: HookApi, patterns: Mapping[str, Patterns], wish: Wish) -> Scope:
    """Return which groups and projects want a hook."""
    gaps: list[Gap] = []
    groups, projects = Scope({}, {}), dict[Place, frozenset[str]]()
    if not wish.projects:
        groups, projects = _of_groups(api, patterns, wish, gaps)
    if not wish.override:
        projects |= dict.fromkeys(_of_projects(api, patterns, wish, groups.roots, gaps), frozenset())
    found, refused = _look(api, projects)
    gaps += (Gap(place.shown, failure.why, failure.hint) for place, failure in refused.items())
    wanted = {place: events for place, events in projects.items() if place in found}
    if not (groups.wanted or wanted or gaps):
        gaps.append(NOWHERE)
    return Scope({**groups.wanted, **wanted}, {**groups.found, **found}, tuple(gaps), groups.roots)


def _instance(api: HookApi, patterns: Mapping[str, Patterns], least: int) -> Scope:
    place = _system(patterns)
    try:
        roots = tuple(top_of(row["full_path"] for row in _groups(api, place.token, patterns[place.token], least)))
    except ReadFailed as failure:
        raise unavailable({place.token: failure}, api.gitlab.http.base_url) from None
    found, refused = _look(api, [place])
    if refused:
        return Scope({}, {}, (Gap(place.shown, refused[place].why, ADMIN),), roots)
    return Scope({place: frozenset()}, found, roots=roots)


def _system(patterns: Mapping[str, Patterns]) -> Place:
    return Place("system", 0, "", next(iter(patterns)))


def _groups(api: HookApi, token: str, allowed: Patterns, level: int) -> list[Row]:
    """Return the groups in which the token's user has that role, or a higher one, and of which all is meant.

    The hook of another one would send what is none of ours.
    """
    params = (("min_access_level", str(level)), ("order_by", "id"), ("sort", "asc"))
    return [row for row in api.rows(token, "/groups", params) if allowed.allow_all_below(row["full_path"])]


def top_of(paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths that are below no other one: a hook of a group gets the events of everything below it."""
    last = ""
    # With the slash, `a/b` comes before `a-b`.
    for path in sorted(set(paths), key=lambda path: f"{path}/"):
        if not last or not path.startswith(f"{last}/"):
            last = path
            yield path


def _look(api: HookApi, places: Iterable[Place]) -> tuple[dict[Place, tuple[Found, ...]], dict[Place, ReadFailed]]:
    """Return the hooks of the places that show them, and why others do not."""
    found: dict[Place, tuple[Found, ...]] = {}
    refused: dict[Place, ReadFailed] = {}
    for place, hooks in api.hooks(places):
        if isinstance(hooks, ReadFailed):
            refused[place] = hooks
        else:
            found[place] = hooks
    return found, refused


def _listed(api: HookApi, patterns: Mapping[str, Patterns]) -> tuple[dict[str, Place], set[str], list[Gap]]:
    """Return the groups that a token's user owns, by path, and the paths of all in which one is a member."""
    owned: dict[str, Place] = {}
    seen: set[str] = set()
    failures: dict[str, ReadFailed] = {}
    for token, allowed in patterns.items():
        try:
            for row in _groups(api, token, allowed, OWNER):
                owned.setdefault(row["full_path"], Place("group", row["id"], row["full_path"], token))
            seen |= {row["full_path"] for row in _groups(api, token, allowed, MEMBER)}
        except ReadFailed as failure:
            failures[token] = failure
    if len(failures) == len(patterns):
        raise unavailable(failures, api.gitlab.http.base_url)
    return owned, seen, [Gap(token, failure.why, failure.hint) for token, failure in failures.items()]


def _overridden(owned: Mapping[str, Place], wish: Wish, gaps: list[Gap]) -> dict[Place, frozenset[str]]:
    """Return the groups that the setting names, with the events that it names."""
    wanted: dict[Place, frozenset[str]] = {}
    for token, groups in wish.override.items():
        for path, events in groups.items():
            if path in owned:
                wanted[owned[path]] = events
            else:
                why = f"{token}: its user is no Owner of a group of this path, or its patterns do not allow it"
                gaps.append(Gap(f"group {path}", why, "correct the path, or ask an Owner", path))
    return wanted


def _tops(owned: Mapping[str, Place], seen: Iterable[str], gaps: list[Gap]) -> dict[Place, frozenset[str]]:
    """Return the topmost groups that can have a hook."""
    tops = tuple(top_of(owned))
    covered = tuple(f"{path}/" for path in tops)
    for path in top_of(path for path in seen if not f"{path}/".startswith(covered)):
        why = "no token's user is Owner there, so that its events arrive by no hook of ours"
        hint = "give the token's user the role Owner, or use --level project"
        gaps.append(Gap(f"group {path}", why, hint, path))
    return {owned[path]: frozenset() for path in tops}


def _projects(
    api: HookApi, token: str, allowed: Patterns, path: str, params: Params, gaps: list[Gap]
) -> Iterator[Place]:
    """Yield the projects of a list that the token is for."""
    params += (("archived", "false"), ("order_by", "id"), ("sort", "asc"))
    try:
        rows = api.rows(token, path, params)
    except ReadFailed as failure:
        gaps.append(Gap(token, failure.why, failure.hint))
        return
    for row in rows:
        if allowed.allows(row["path_with_namespace"]):
            yield Place("project", row["id"], row["path_with_namespace"], token)


def _of_groups(
    api: HookApi, patterns: Mapping[str, Patterns], wish: Wish, gaps: list[Gap]
) -> tuple[Scope, dict[Place, frozenset[str]]]:
    """Return what is wanted of groups, and the projects that stand in for those that can have no hook."""
    owned, seen, failed = _listed(api, patterns)
    gaps += failed
    wanted = _overridden(owned, wish, gaps) if wish.override else _tops(owned, seen, gaps)
    found, refused = _look(api, wanted)
    instead: dict[Place, frozenset[str]] = {}
    for place, events in wanted.items():
        failure = refused.get(place)
        if failure is None:
            continue
        if failure.reason not in ("missing", "forbidden"):
            gaps.append(Gap(place.shown, failure.why, failure.hint, place.path))
            continue
        # An Owner may manage hooks, so the plan of the group has none (Premium and Ultimate have).
        path = f"/groups/{place.id}/projects"
        params: Params = (("include_subgroups", "true"), ("with_shared", "false"), MAINTAINED)
        projects = _projects(api, place.token, patterns[place.token], path, params, gaps)
        instead |= dict.fromkeys(projects, events)
    kept = {place: events for place, events in wanted.items() if place in found}
    return Scope(kept, found, (), tuple(top_of(seen))), instead


def _of_projects(
    api: HookApi, patterns: Mapping[str, Patterns], wish: Wish, roots: Sequence[str], gaps: list[Gap]
) -> list[Place]:
    """Return the projects that want a hook of their own: all, or those that are in none of the groups that are meant.

    A token for everything lists them among what its user owns: they are in no group.
    """
    covered = tuple(f"{path}/" for path in roots)
    found: dict[int, Place] = {}
    for token, allowed in patterns.items():
        is_for_all = allowed.allow_all_below("") and not wish.projects
        params: Params = (("owned", "true"),) if is_for_all else (("membership", "true"), MAINTAINED)
        for place in _projects(api, token, allowed, "/projects", params, gaps):
            if wish.projects or not f"{place.path}/".startswith(covered):
                found.setdefault(place.id, place)
    return list(found.values())
