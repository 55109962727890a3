"""Before anything is deleted: what GitLab leaves out of its listings for a lower role alone is not gone."""

from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace

from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.gitlab.inventory import Inventory, Listed
from gitlab_port_export.mapping.blueprints import feeding
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Entity, Event, Held, Page, Problem, ReadAgain, Unnamed
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.ledger import Missing
from gitlab_port_export.sync.policy import Decisions, Gone

# An entity by blueprint and identifier.
Key = tuple[str, str]
# The kinds whose rows are groups and projects.
PLACES = ("group", "project", "group-with-members", "project-with-members")


@dataclass(frozen=True)
class LowRoles:
    """How to read what the tokens see with a low role only.

    `role` says which role a listing asks for, and is empty where it takes any. `rows` reads for these resources from
    the groups and projects of an inventory and maps them. The user
    wants the deletions of the `released` blueprints. `looks` are the inventories of all looks of this run: only what
    each of them had was read whole.
    """

    mapping: Mapping
    catalog: Catalog
    role: str
    released: Container[str]
    inventory: Callable[[Sequence[Inventory]], Inventory]
    rows: Callable[[Inventory, Set[int]], Iterable[Event | Entity]]
    looks: list[Inventory]


@dataclass
class _Shown:
    """What the groups and projects of low roles show.

    `exported` are the paths of those that Port holds something of which would be deleted; of the `new` ones Port holds
    nothing that was found there. `unread` are reads that failed and rows that were lost.
    """

    keys: dict[Key, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    new: set[str] = field(default_factory=set)
    unread: list[Problem] = field(default_factory=list)

    def in_doubt(self) -> Iterator[Problem]:
        """Yield what may hide entities: there something was exported before, or nothing says that it was not."""
        for problem in self.unread:
            if _near(problem.scope, self.exported) or not _near(problem.scope, self.new):
                yield problem


def hold_lost(low: LowRoles, decisions: Decisions) -> Generator[Event, None, Decisions]:
    """Hold the deletions of what GitLab still shows to a lower role, and return the decisions after that."""
    doomed = {
        (entry.blueprint, name)
        for entry in decisions.allowed
        if entry.blueprint not in low.released
        for name in entry.identifiers
    }
    resources = frozenset[int]().union(*(feeding(low.mapping, name) for name in {name for name, _ in doomed}))
    if not low.role or not resources:
        return decisions
    try:
        inventory = low.inventory(low.looks)
    except GitLabUnavailable as error:
        problem = Problem("inventory", str(error), error.hint, kind="groups and projects", holds_all=True)
        yield problem
        return _held(low, _Shown(unread=[problem]), decisions)
    if not (inventory.all_groups() or inventory.projects()):
        return decisions
    # The groups and projects themselves tell best whether they were exported.
    places = {one.index for one in low.mapping.resources if one.known and one.kind in PLACES}
    shown = yield from _look(low, inventory, resources | places, doomed)
    return _held(low, shown, decisions)


def _look(low: LowRoles, inventory: Inventory, resources: Set[int], doomed: Set[Key]) -> Generator[Event, None, _Shown]:
    shown = _Shown()
    groups, projects = _paths(inventory.all_groups()), _paths(inventory.projects())
    for event in low.rows(inventory, resources):
        if isinstance(event, Page):
            yield ReadAgain(event.kind)
        elif isinstance(event, Problem):
            if not event.warning:
                shown.unread.append(event)
        elif isinstance(event, Unnamed):
            shown.unread.append(Problem("transform", f"{event.field} gave nothing", resources=(event.resource,)))
        elif isinstance(event, Entity) and not event.is_search:
            kind = low.mapping.resources[event.resource].kind
            project, row = event.order
            if kind in PLACES:
                paths = (groups if kind.startswith("group") else projects).get(row, frozenset())
            else:
                # What a row names may be a group or a project with the same id.
                paths = groups.get(project, frozenset()) | projects.get(project, frozenset())
            _note(shown, event, low.catalog, doomed, paths)
    return shown


def _note(shown: _Shown, entity: Entity, catalog: Catalog, doomed: Set[Key], paths: Set[str]) -> None:
    if entity.key in doomed:
        shown.keys[entity.key] = min(paths, default="")
        shown.exported |= paths
        return
    ledger = catalog.ledger(entity.blueprint)
    if len(paths) == 1 and not isinstance(ledger, Missing) and not ledger.knows(str(entity.identifier)):
        shown.new |= paths


def _paths(places: Iterable[Listed]) -> dict[int, frozenset[str]]:
    return {place.scope.id: frozenset({place.scope.path}) for place in places}


def _near(path: str, others: Set[str]) -> bool:
    """Say whether a path is one of the others, above one or below one; the empty path is above all."""
    return any(f"{one}/".startswith(f"{path}/" if path else "") or f"{path}/".startswith(f"{one}/") for one in others)


def _held(low: LowRoles, shown: _Shown, decisions: Decisions) -> Decisions:
    doubts = list(shown.in_doubt())
    allowed: list[Gone] = []
    held: list[Held] = []
    for entry in decisions.allowed:
        stays, why = _staying(low, shown, doubts, entry)
        if left := tuple(name for name in entry.identifiers if name not in stays):
            allowed.append(replace(entry, identifiers=left))
        if stays:
            hint = (
                "give the token's user the role back, or let the mapping ask for less; if they are to go, "
                f"run once with --allow-deletes {entry.blueprint}={len(entry.identifiers)}"
            )
            held.append(Held(entry.blueprint, stays, "role", why, hint))
    staying = (*decisions.staying, *((one.blueprint, one.identifiers) for one in held))
    return Decisions(tuple(allowed), (*decisions.held, *held), staying)


def _staying(low: LowRoles, shown: _Shown, doubts: Iterable[Problem], entry: Gone) -> tuple[tuple[str, ...], str]:
    """Return which entities of a blueprint stay, and why."""
    if entry.blueprint in low.released:
        return (), ""
    below = f"the token's role there is below what the listing asks for: {low.role}"
    resources = feeding(low.mapping, entry.blueprint)
    for doubt in doubts:
        if doubt.holds_all or resources & set(doubt.resources):
            place = doubt.scope or doubt.kind or "a part"
            return entry.identifiers, f"{place} may hold them and was not read ({doubt.why}); {below}"
    found = {
        name: shown.keys[entry.blueprint, name] for name in entry.identifiers if (entry.blueprint, name) in shown.keys
    }
    return tuple(found), f"GitLab still shows them in {next(iter(found.values()), '')}, but {below}"
