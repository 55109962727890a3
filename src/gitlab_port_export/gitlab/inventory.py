"""The groups and projects that all tokens together may read and the patterns allow, each kept once."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from gitlab_port_export.base.jsontext import decode, packed
from gitlab_port_export.base.parallel import All, Job, drive
from gitlab_port_export.gitlab.client import NO_GITLAB, Get, GitLab, Params, ReadFailed, unavailable
from gitlab_port_export.gitlab.lists import read_keyset, read_list
from gitlab_port_export.gitlab.ranges import CUTS, Cuts, read_ranges
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.model import Dialect, Problem, Row, Scope

# From this role on a member sees private merge requests and confidential issues.
REPORTER = 20
# The selectors' includeOnlyActive…: None does not ask GitLab to filter.
Active = bool | None


@dataclass(frozen=True)
class Listed:
    """A group or project: its row, its scope, and the tokens that may read it, best first.

    The `weaker` tokens see it too, but GitLab may silently leave out rows for them.
    """

    kept: bytes | Row
    scope: Scope
    tokens: tuple[str, ...]
    weaker: tuple[str, ...] = ()

    @classmethod
    def of(cls, row: Row, scope: Scope, tokens: tuple[str, ...], weaker: tuple[str, ...] = ()) -> "Listed":
        """Keep the row as JSON text, which takes a third of the memory: a run holds the rows of all its projects."""
        try:
            return cls(packed(row), scope, tokens, weaker)
        except ValueError:  # it nests too deeply
            return cls(row, scope, tokens, weaker)

    @property
    def row(self) -> Row:
        """The row, made anew each time."""
        row: Row = decode(self.kept) if isinstance(self.kept, bytes) else self.kept
        return row


@dataclass(frozen=True)
class Patterns:
    """Which paths a token is for; patterns match as Python's fnmatchcase, so `*` crosses slashes."""

    texts: tuple[str, ...]

    def allows(self, path: str) -> bool:
        """Whether any pattern matches the whole path; `**/x` also matches `x`."""
        return any(_matcher(text)(path) for text in self.texts)

    def allow_all_below(self, path: str) -> bool:
        """Whether every possible path below a group is allowed."""
        return any(_covers(text, path) for text in self.texts)

    def allow_at_or_above(self, path: str) -> bool:
        """Whether a path or that of a group above it is allowed."""
        return self.allows(path) or any(self.allows(above) for above in _above(path))

    def may_allow_below(self, path: str) -> bool:
        """Whether some possible path below a group could be allowed: the literal start of a pattern fits."""
        below = f"{path}/"
        for text in self.texts:
            literal = re.split(r"[*?\[]", text, maxsplit=1)[0]
            if literal.startswith(below) or (below.startswith(literal) and literal != text):
                return True
        return False


@lru_cache(maxsize=1024)
def _matcher(text: str) -> Callable[[str], bool]:
    regular = re.compile(fnmatch.translate(text)).match
    if not text.startswith("**/"):
        return lambda path: regular(path) is not None
    bare = re.compile(fnmatch.translate(text[3:])).match
    return lambda path: regular(path) is not None or bare(path) is not None


def _covers(text: str, group: str) -> bool:
    stem = text.rstrip("*")
    if stem == text or re.search(r"[*?\[]", stem):
        return text in ("**/*", "**/**")
    return f"{group}/".startswith(stem)


@dataclass(frozen=True)
class Listing:
    """What one token lists: complete, or with the failure that cut it short."""

    token: str
    groups: Mapping[Active, tuple[Row, ...]]
    projects: Mapping[Active, tuple[Row, ...]]
    failure: ReadFailed | None = None


@dataclass(frozen=True)
class Inventory:
    """Groups and projects by the `active` filter they were listed with, and the Problems met on the way."""

    groups_by: Mapping[Active, tuple[Listed, ...]]
    projects_by: Mapping[Active, tuple[Listed, ...]]
    patterns: Mapping[str, Patterns]
    # The projects that each token lists, after its patterns, with its role there: who can read a whole group at once.
    listed: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    # Every listed group, whatever the patterns: `grp/**` does not match the group `grp`, which holds what it means.
    all_groups_by: Mapping[Active, tuple[Listed, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    # The project listing leaves out what the tokens see all the same (`filterOwnedProjects`).
    restricted: bool = False
    # What is to be read of it, by groups and projects and all below them; None is everything.
    part: Patterns | None = None
    # What is known of, by path and by id, and not to be read: an incremental run leaves out where nothing changed.
    skipped: frozenset[str] = frozenset()
    # Of an inventory of what events name: projects below listed groups that a restricted listing leaves out.
    unlisted: tuple[Listed, ...] = ()

    def part_of(self, patterns: Patterns) -> "Inventory":
        """Return the part at and below the groups and projects that the patterns allow."""
        return replace(self.only(lambda place: patterns.allow_at_or_above(place.scope.path)), part=patterns)

    def only(self, keeps: Callable[[Listed], bool]) -> "Inventory":
        """Return the inventory of the groups and projects that are to be kept; groups above stay known."""

        def kept(places: Mapping[Active, tuple[Listed, ...]]) -> dict[Active, tuple[Listed, ...]]:
            return {active: tuple(filter(keeps, some)) for active, some in places.items()}

        return replace(
            self,
            groups_by=kept(self.groups_by),
            projects_by=kept(self.projects_by),
            unlisted=tuple(filter(keeps, self.unlisted)),
        )

    def groups(self, active: Active = None) -> tuple[Listed, ...]:
        """Groups that the patterns allow, in order of id."""
        return self.groups_by.get(active, ())

    def all_groups(self, active: Active = None) -> tuple[Listed, ...]:
        """Groups that any token lists, in order of id."""
        return self.all_groups_by.get(active, ())

    def projects(self, active: Active = None) -> tuple[Listed, ...]:
        """Projects that the patterns allow, in order of id."""
        return self.projects_by.get(active, ())


def listing_params(dialect: Dialect, mapping: PortMapping, kind: str, active: Active) -> Params:
    """Return the query of GET /groups or /projects, as Ocean's integration of that dialect sends it.

    gitlab: only owned projects unless `filterOwnedProjects` is off. gitlab-v2: from Developer (30) on, unless the
    mapping's `visibility` says otherwise; without an explicit filter archived rows are included.
    """
    order: Params = (("order_by", "id"), ("sort", "asc"))
    if dialect == "gitlab-v2":
        found: list[tuple[str, str]] = [("all_available", "true")]
        if mapping.visibility.use_min_access_level:
            found.append(("min_access_level", str(mapping.visibility.min_access_level)))
        if active is not None:
            found.append(("active", str(active).lower()))
        return (*found, *order)
    found = []
    if kind == "projects":
        if mapping.filter_owned_projects is not None:
            found.append(("owned", str(mapping.filter_owned_projects).lower()))
        if mapping.project_visibility_filter is not None:
            found.append(("visibility", mapping.project_visibility_filter))
    if active is not None:
        found.append(("active", str(active).lower()))
    return (*found, *order)


def read_inventory(
    gitlab: GitLab,
    patterns: Mapping[str, Patterns],
    dialect: Dialect,
    mapping: PortMapping,
    actives: tuple[frozenset[Active], frozenset[Active]],
    workers: int,
    cuts: Cuts = CUTS,
) -> Inventory:
    """List groups and projects once per token and `active` filter and keep each place once.

    `actives` are the filters that group kinds and project kinds need; `first_contact` comes before. Raises
    GitLabUnavailable when no token gives an inventory; the failure of some is a Problem that holds all deletions.
    Many projects are read in ranges of ids (`cuts`).
    """
    jobs = (_listing(token, dialect, mapping, actives, cuts) for token in patterns)
    listings: list[Listing] = []
    odd: list[Problem] = []
    for said in drive(jobs, gitlab.get, Get, workers=workers):
        if isinstance(said, Problem):
            odd.append(said)
        else:
            listings.append(said)
    failures = {entry.token: entry.failure for entry in listings if entry.failure}
    if len(failures) == len(listings):
        raise unavailable(failures, gitlab.http.base_url)
    order = {alias: place for place, alias in enumerate(patterns)}
    listings.sort(key=lambda entry: order[entry.token])
    found = merge(listings, patterns, drop_pending=dialect == "gitlab-v2")
    return replace(found, problems=(*odd, *found.problems), restricted=is_restricted(dialect, mapping))


def is_restricted(dialect: Dialect, mapping: PortMapping) -> bool:
    """Say whether the project listing leaves out what the tokens see all the same."""
    owned_or_visible = mapping.filter_owned_projects or mapping.project_visibility_filter is not None
    return dialect == "gitlab" and bool(owned_or_visible)


def glimpse(
    gitlab: GitLab,
    patterns: Mapping[str, Patterns],
    dialect: Dialect,
    mapping: PortMapping,
    actives: tuple[frozenset[Active], frozenset[Active]],
) -> Inventory:
    """Return an inventory of the first groups and projects alone, for showing a few rows with few requests.

    Of each list only as many pages are read as it takes to find a place that the patterns allow, and no further
    token is asked once there are a group and a project; `first_contact` comes before. Raises GitLabUnavailable when no
    token gives anything.
    """
    listings: list[Listing] = []
    for token, allowed in patterns.items():
        groups: dict[Active, tuple[Row, ...]] = {}
        projects: dict[Active, tuple[Row, ...]] = {}
        failure: ReadFailed | None = None
        try:
            for active in actives[0] | {None}:
                params = listing_params(dialect, mapping, "groups", active)
                groups[active] = _first_rows(gitlab, read_list(token, "/groups", params, list), allowed)
            for active in actives[1] | {None}:
                params = listing_params(dialect, mapping, "projects", active)
                job = read_keyset(token, "/projects", params, list, always=True)
                projects[active] = _first_rows(gitlab, job, allowed)
        except ReadFailed as caught:
            failure = caught
        listings.append(Listing(token, groups, projects, failure))
        if all(any(allowed.allows(path_of(row)) for row in rows.get(None, ())) for rows in (groups, projects)):
            break
    failures = {entry.token: entry.failure for entry in listings if entry.failure}
    if len(failures) == len(listings):
        raise unavailable(failures, gitlab.http.base_url)
    return merge(listings, patterns, drop_pending=dialect == "gitlab-v2")


def _first_rows(gitlab: GitLab, job: Job, allowed: Patterns) -> tuple[Row, ...]:
    found: list[Row] = []
    with closing(drive([job], gitlab.get, Get, workers=1)) as pages:
        for page in pages:
            found += () if isinstance(page, Problem) else page
            if any(allowed.allows(path_of(row)) for row in found):
                break
    return tuple(found)


def _listing(
    token: str, dialect: Dialect, mapping: PortMapping, actives: tuple[frozenset[Active], frozenset[Active]], cuts: Cuts
) -> Job:
    groups: dict[Active, tuple[Row, ...]] = {}
    projects: dict[Active, tuple[Row, ...]] = {}

    def list_groups() -> Job:
        # One after the other: GitLab allows few requests a minute here.
        for active in sorted(actives[0] | {None}, key=str):
            rows: list[Row] = []
            handle = partial(take, rows, "full_path")
            yield from read_list(token, "/groups", listing_params(dialect, mapping, "groups", active), handle)
            groups[active] = tuple(rows)

    def list_projects(active: Active) -> Job:
        rows: list[Row] = []
        handle = partial(take, rows, "path_with_namespace")
        params = listing_params(dialect, mapping, "projects", active)
        yield from read_ranges(token, "/projects", params, handle, cuts)
        projects[active] = tuple(rows)

    failure: ReadFailed | None = None
    try:
        yield All((list_groups(), *(list_projects(active) for active in sorted(actives[1] | {None}, key=str))))
    except ReadFailed as caught:
        failure = caught
    yield Listing(token, groups, projects, failure)


def take(rows: list[Row], path: str, page: list[Row]) -> Problem | None:
    """Add the rows of a page, and return a Problem for those without id and path: everything hangs on these.

    Raises ReadFailed where no row has them: then it was not GitLab that answered.
    """
    fit = [row for row in page if type(row.get("id")) is int and isinstance(row.get(path), str) and row[path]]
    if not fit:
        raise ReadFailed("shape", f"answered 200 with rows that have no id or no {path}", NO_GITLAB, 200)
    rows += fit
    if len(fit) == len(page):
        return None
    why = f"GitLab lists {len(page) - len(fit)} rows without id or {path}, which are left out"
    return Problem("inventory", why, NO_GITLAB, holds_all=True, kind="groups and projects")


def merge(listings: Iterable[Listing], patterns: Mapping[str, Patterns], *, drop_pending: bool) -> Inventory:
    """Fold the listings of all tokens, in order of configuration, into one inventory; pure."""
    known = list(listings)
    problems = [*listing_failures(known), *_unmatched(known, patterns)]

    def wanted(row: Row) -> bool:
        return not (drop_pending and (row.get("marked_for_deletion_at") or row.get("marked_for_deletion_on")))

    retired = {path_of(row): is_retired(row) for entry in known for row in entry.groups.get(None, ())}
    allowed = {
        (kind, listing.token): _allowed(getattr(listing, kind).values(), patterns[listing.token])
        for kind in ("groups", "projects")
        for listing in known
    }

    def places(kind: str, active: Active, *, filtered: bool) -> tuple[Listed, ...]:
        found: dict[int, list[tuple[int, int, str, Row]]] = {}
        for position, listing in enumerate(known):
            ids = allowed[kind, listing.token]
            for row in getattr(listing, kind).get(active, ()):
                if wanted(row) and fits(row, active, retired) and (not filtered or row["id"] in ids):
                    found.setdefault(row["id"], []).append((-access_of(row), position, listing.token, row))
        return tuple(_place(found[key], is_group=kind == "groups") for key in sorted(found))

    def every(kind: str, *, filtered: bool = True) -> dict[Active, tuple[Listed, ...]]:
        actives = {active for listing in known for active in getattr(listing, kind)}
        return {active: places(kind, active, filtered=filtered) for active in actives}

    return Inventory(
        every("groups"),
        every("projects"),
        patterns,
        {
            entry.token: {
                row["id"]: access_of(row)
                for row in entry.projects.get(None, ())
                if row["id"] in allowed["projects", entry.token]
            }
            for entry in known
        },
        every("groups", filtered=False),
        tuple(problems),
    )


def is_retired(row: Row) -> bool:
    """Say whether a group or project is archived or waits for its deletion."""
    return bool(row.get("archived") or row.get("marked_for_deletion_on") or row.get("marked_for_deletion_at"))


def fits(row: Row, active: Active, retired: Mapping[str, bool]) -> bool:
    """Say whether a row belongs in a listing with that filter, which versions of GitLab that do not know it ignore.

    The listing is believed but where rows contradict it. What is below a retired group is not active either in some
    versions, although its row does not say so; `retired` tells of each listed group whether it is.
    """
    if active is None or is_retired(row):
        return active is not True
    if active:
        return True
    personal = (row.get("namespace") or {}).get("kind") == "user"
    return not (personal or all(retired.get(path) is False for path in _above(path_of(row))))


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _allowed(listings: Iterable[Iterable[Row]], patterns: Patterns) -> Set[int]:
    """Return the ids of what the patterns allow in any of a token's listings: between two of them a path may change."""
    return {row["id"] for rows in listings for row in rows if patterns.allows(path_of(row))}


def listed_of(seen: list[tuple[str, Row]], *, is_group: bool) -> Listed:
    """Return a group or project that these tokens, in order of configuration, see with these rows."""
    return _place([(-access_of(row), at, token, row) for at, (token, row) in enumerate(seen)], is_group=is_group)


def _place(seen: list[tuple[int, int, str, Row]], *, is_group: bool) -> Listed:
    """Keep the row of the token with the highest access there, then the first configured."""
    ranked = sorted(seen, key=lambda entry: entry[:2])
    row = ranked[0][3]
    enough = min(REPORTER, -ranked[0][0])
    tokens = tuple(token for level, _, token, _ in ranked if -level >= enough)
    weaker = tuple(token for level, _, token, _ in ranked if -level < enough)
    return Listed.of(row, Scope(row["id"], path_of(row), is_group, tokens[0]), tokens, weaker)


def path_of(row: Row) -> str:
    """Return a project's path_with_namespace or a group's full_path."""
    return str(row.get("path_with_namespace") or row.get("full_path") or "")


def access_of(row: Row) -> int:
    """Return the token's access level on a project, 0 where GitLab does not say."""
    permissions = row.get("permissions")
    found = permissions.values() if isinstance(permissions, dict) else ()
    levels = (entry.get("access_level") for entry in found if isinstance(entry, dict))
    return max((level for level in levels if isinstance(level, int)), default=0)


def listing_failures(listings: list[Listing]) -> Iterator[Problem]:
    """Yield a Problem for each token whose listing was cut short."""
    for entry in listings:
        if entry.failure:
            yield Problem(
                "inventory", entry.failure.why, entry.failure.hint, token=entry.token, holds_all=True,
                kind="groups and projects",
            )  # fmt: skip


def _unmatched(listings: list[Listing], patterns: Mapping[str, Patterns]) -> Iterator[Problem]:
    for entry in listings:
        if entry.failure:
            continue
        paths = [path_of(row) for rows in (*entry.groups.values(), *entry.projects.values()) for row in rows]
        for text in patterns[entry.token].texts:
            matches = _matcher(text)
            if not any(matches(path) for path in paths):
                yield Problem(
                    "inventory",
                    f"the pattern {text!r} matches no group or project that the token lists",
                    "correct or remove the pattern in TOKEN_MAPPING, or give the token's user a role there; "
                    "with filterOwnedProjects (the default of `gitlab`) only owned projects are listed",
                    token=entry.token,
                    holds_all=True,
                )
