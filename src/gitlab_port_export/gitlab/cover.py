"""Which groups to read as a whole and which projects alone, so that every wanted row comes once; pure."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace

from gitlab_port_export.gitlab.client import NO_GITLAB, ReadFailed
from gitlab_port_export.gitlab.inventory import REPORTER, Active, Inventory, Listed, Patterns, is_retired
from gitlab_port_export.model import Row

# Says whether a row's project is wanted; None when all rows of the group are.
Allows = Callable[[str], bool] | None


@dataclass(frozen=True)
class Covered:
    """A place to read at once: a group with everything below it, or one project.

    Rows are wanted of projects that are `known` by their id, and of others whose path `allows` lets pass; where there
    is `only`, of the projects with these ids alone.
    """

    place: Listed
    allows: Allows = None
    only: frozenset[int] | None = None
    known: Mapping[int, int] = field(default_factory=dict, compare=False)

    def takes(self, row: Row, mark: str) -> bool:
        """Whether a row is wanted. Raises ReadFailed where it does not say of which project it is."""
        if self.only is not None:
            return row["project_id"] in self.only
        # A project keeps its id when it is renamed or transferred while the list is read, but not its path.
        if self.allows is None or row.get("project_id") in self.known:
            return True
        path = project_path(row, mark)
        if not path:
            raise ReadFailed("shape", "answered 200 with a row that does not name its project", NO_GITLAB, 200)
        return self.allows(path)


@dataclass(frozen=True)
class _Tree:
    """By the path of the nearest group above that is listed ("" at the top): groups, and wanted projects."""

    inventory: Inventory
    children: Mapping[str, list[Listed]]
    direct: Mapping[str, list[Listed]]
    best: Mapping[int, int]

    def below(self, group: Listed) -> Iterator[Listed]:
        """Yield the wanted projects of a group and of all groups below it."""
        yield from self.direct.get(group.scope.path, ())
        for child in self.children.get(group.scope.path, ()):
            yield from self.below(child)


def cover(inventory: Inventory, active: Active) -> tuple[Covered, ...]:
    """Return the places to read for a kind that GitLab lists by group (merge requests, issues).

    A group endpoint covers its subgroups, so the topmost groups are read; projects below no listed group (personal
    namespaces, or a role in the project alone) are read one by one. Ocean reads every visible group and so sees
    each row once per ancestor, and never sees personal projects.
    """
    if inventory.restricted:
        return _by_token(inventory, active)
    groups = _groups(inventory, active)
    known = {place.scope.path for place in groups}
    listed = {place.scope.path for place in _groups(inventory, None)}
    children: dict[str, list[Listed]] = {}
    for place in groups:
        children.setdefault(_above(place, known), []).append(place)
    direct: dict[str, list[Listed]] = {}
    alone: list[Listed] = []
    for project in inventory.projects():
        if owner := _above(project, known):
            direct.setdefault(owner, []).append(project)
        elif not _above(project, listed) and active in (None, not is_retired(project.row)):
            alone.append(project)
    tree = _Tree(inventory, children, direct, _best_levels(inventory))
    found = [entry for root in children.get("", ()) for entry in _visit(tree, root)]
    return (*found, *(Covered(place) for place in alone))


def _groups(inventory: Inventory, active: Active) -> tuple[Listed, ...]:
    """Return the listed groups of the part that is to be read."""
    part = inventory.part
    if part is None:
        return inventory.all_groups(active)
    return tuple(group for group in inventory.all_groups(active) if part.allow_at_or_above(group.scope.path))


def _with(group: Listed, token: str) -> Listed:
    return replace(group, scope=replace(group.scope, token=token), tokens=(token,), weaker=())


def _above(place: Listed, groups: Set[str]) -> str:
    """Return the nearest of these groups that holds a place; groups in between may be hidden from every token."""
    path = place.scope.path
    while path := path.rpartition("/")[0]:
        if path in groups:
            return path
    return ""


def _visit(tree: _Tree, group: Listed) -> Iterator[Covered]:
    wanted = {project.scope.id for project in tree.below(group)}
    able = [token for token in group.tokens if _holds(tree, token, group, wanted)]
    whole = tuple(token for token in able if tree.inventory.patterns[token].allow_all_below(group.scope.path))
    if whole:
        yield Covered(replace(group, tokens=whole, weaker=()))
        return
    for token in able:
        patterns = tree.inventory.patterns[token]
        if _reaches(patterns, group.scope.path):
            known = tree.inventory.listed[token]
            yield Covered(replace(group, tokens=(token,), weaker=()), patterns.allows, known=known)
            return
    for child in tree.children.get(group.scope.path, ()):
        yield from _visit(tree, child)
    yield from _apart(tree, group)


def _apart(tree: _Tree, group: Listed) -> Iterator[Covered]:
    """Yield how to read the projects right below a group that no token reads as a whole.

    A guest is refused a private project's own merge requests, and gets what he may see of them in the group's list;
    so what only a guest reads is taken from there, without the rows of other projects.
    """
    weak: dict[str, set[int]] = {}
    for project in tree.direct.get(group.scope.path, ()):
        token = _guest(tree, project, group)
        if token is None:
            yield Covered(project)
        else:
            weak.setdefault(token, set()).add(project.scope.id)
    for token, ids in weak.items():
        yield Covered(_with(group, token), only=frozenset(ids))


def _guest(tree: _Tree, project: Listed, group: Listed) -> str | None:
    """Return a token that lists the group too and sees as much of a project as any, where none has a real role."""
    best = tree.best.get(project.scope.id, 0)
    able = (token for token in project.tokens if tree.inventory.listed[token].get(project.scope.id) == best)
    return None if best >= REPORTER else next((token for token in able if token in group.tokens), None)


def _holds(tree: _Tree, token: str, group: Listed, wanted: set[int]) -> bool:
    """Say whether a token lists all wanted projects below a group and its patterns can match there at all.

    A guest of a project is not shown its private merge requests and confidential issues, and no marker says so; where
    another token has a higher role, a guest does not hold the project.
    """
    levels = tree.inventory.listed[token]
    return all(
        levels.get(project, -1) >= min(REPORTER, tree.best[project]) for project in wanted
    ) and tree.inventory.patterns[token].may_allow_below(group.scope.path)


def _best_levels(inventory: Inventory) -> dict[int, int]:
    best: dict[int, int] = {}
    for levels in inventory.listed.values():
        for project, level in levels.items():
            best[project] = max(level, best.get(project, 0))
    return best


def _by_token(inventory: Inventory, active: Active) -> tuple[Covered, ...]:
    """Cover what each token sees through its own topmost groups: its project listing is too short to go by.

    Ocean's `gitlab` lists owned projects only, but reads merge requests and issues of all projects of the groups.
    """
    found: list[Covered] = []
    for token, patterns in inventory.patterns.items():
        own = [group for group in _groups(inventory, active) if token in group.tokens]
        known = {group.scope.path for group in own}
        for group in own:
            if not _above(group, known) and patterns.may_allow_below(group.scope.path):
                whole = patterns.allow_all_below(group.scope.path)
                allows = None if whole else patterns.allows
                found.append(Covered(_with(group, token), allows, known=inventory.listed[token]))
    kept = [
        entry
        for at, entry in enumerate(found)
        if not any(
            _contains(inventory, other, entry) and (before < at or not _contains(inventory, entry, other))
            for before, other in enumerate(found)
            if other is not entry
        )
    ]
    alone = [
        Covered(project)
        for project in inventory.projects()
        if active in (None, not is_retired(project.row)) and not any(holds(entry, project.scope.path) for entry in kept)
    ]
    return (*kept, *alone)


def covers(inventory: Inventory, active: Active, project: Listed) -> bool:
    """Say whether the rows of a project are read for a kind that GitLab lists by group."""
    if active is None and project in inventory.projects():
        return True
    found = cover(inventory, active)
    return any(entry.place == project or holds(entry, project.scope.path) for entry in found)


def holds(entry: Covered, path: str) -> bool:
    """Say whether a group that is read as a whole has the rows of a project with that path."""
    below = path.startswith(f"{entry.place.scope.path}/")
    return below and (entry.allows is None or entry.allows(path))


def _contains(inventory: Inventory, wide: Covered, narrow: Covered) -> bool:
    """Say whether one group read gives all that another would: above it, unfiltered, and with no lower role."""
    inside = f"{narrow.place.scope.path}/".startswith(f"{wide.place.scope.path}/")
    if not inside or wide.allows is not None:
        return False
    levels, others = (inventory.listed[entry.place.scope.token] for entry in (wide, narrow))
    return all(
        levels.get(project.scope.id, 0) >= min(REPORTER, others.get(project.scope.id, 0))
        for project in inventory.projects()
        if project.scope.path.startswith(f"{narrow.place.scope.path}/")
    )


def _reaches(patterns: Patterns, group: str) -> bool:
    """Say whether a wildcard can match right below the group, so that no smaller group holds all that it means.

    Then the group is read and its rows are filtered: the token's project listing may lack projects whose merge
    requests and issues it sees all the same (`visibility.minAccessLevel`).
    """
    for text in patterns.texts:
        literal = text.partition("*")[0].partition("?")[0].partition("[")[0]
        if literal == text:
            continue
        rest = literal.removeprefix(f"{group}/") if literal.startswith(f"{group}/") else ""
        if "/" not in rest and (literal.startswith(f"{group}/") or f"{group}/".startswith(literal)):
            return True
    return False


def project_path(row: Row, mark: str) -> str:
    """Return the project's path in a merge request's or issue's `references.full`, without its own number."""
    full = str((row.get("references") or {}).get("full") or "")
    return full.removesuffix(f"{mark}{row.get('iid')}")
