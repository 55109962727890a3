"""Cuts a plan into units, reads that must stay together, and gives each unit to a shard. Pure and deterministic."""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from heapq import heapify, heappop, heappush
from itertools import pairwise

from gitlab_port_export.gitlab.inventory import Inventory
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import ALL_OF_GITLAB, Read
from gitlab_port_export.gitlab.lists import PER_PAGE
from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.gitlab.windows import WINDOW_ROWS
from gitlab_port_export.incremental.takes_part import names_rows
from gitlab_port_export.jq.keys import needed_keys
from gitlab_port_export.jq.program import rewrite_quotes
from gitlab_port_export.mapping.blueprints import constant_blueprint, feeding, mapped_blueprints
from gitlab_port_export.mapping.model import EntityMapping, Resource
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.catalog import TEAM
from gitlab_port_export.sync.partly import may_repeat

# Keys of a row that no other row has, or only rows of the same group or project.
OWN = frozenset([
    "id", "web_url", "path_with_namespace", "full_path", "references", "project_id", "group_id", "__project", "__group",
    "project", "group", "repo", "pipeline",
])  # fmt: skip
# A page of a hundred rows takes about as long as so many requests with few rows.
FULL_PAGE = 3


@dataclass(frozen=True)
class Unit:
    """Reads of a plan, by number, that one shard does; `weight` is about how much work they are."""

    reads: tuple[int, ...]
    weight: int


# By resource: those whose entities its searches may find.
Searches = Mapping[int, Collection[int]]


def units_of(
    plan: SyncPlan, mapping: PortMapping, searches: Searches, together: Collection[str] = ()
) -> tuple[Unit, ...]:
    """Return the units of a plan, in order; each read is in exactly one. All reads of a kind of `together` are one.

    Reads stay together that share lists, that read one kind of one group or project, whose rows may give one entity,
    as far as the mapping says so, or whose rows may find each other's entities by a search.
    """
    joined = _Joined(len(plan.reads))
    rules = _Rules.of(plan, mapping, searches, frozenset(together))
    first: dict[Hashable, int] = {}
    for number, read in enumerate(plan.reads):
        for key in rules.keys(read):
            joined.join(first.setdefault(key, number), number)
    weights = weights_of(plan)
    found: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(len(plan.reads)):
        found[joined.root(number)].append(number)
    return tuple(Unit(tuple(some), sum(weights[number] for number in some)) for some in found.values())


def long_lists(
    plan: SyncPlan, mapping: PortMapping, searches: Searches, together: Collection[str], shards: int
) -> Mapping[tuple[str, int], tuple[Read, ...]]:
    """Return by kind and group the lists that are too much for one shard, and of which several may read parts."""
    rules, weights = _Rules.of(plan, mapping, searches, frozenset(together)), weights_of(plan)
    found: defaultdict[tuple[str, int], list[Read]] = defaultdict(list)
    loads: Counter[tuple[str, int]] = Counter()
    for read, weight in zip(plan.reads, weights, strict=True):
        if read.scope.is_group:
            found[read.kind, read.scope.id].append(read)
            loads[read.kind, read.scope.id] += weight
    # They stay together. From half of an equal share on one shard may get much more than the others.
    heavy = {key for key, load in loads.items() if load * 2 > sum(weights) / shards}
    return {key: tuple(reads) for key, reads in found.items() if key in heavy and all(map(rules.cuts, reads))}


def assigned(units: Sequence[Unit], shards: int) -> tuple[tuple[int, ...], ...]:
    """Return the reads of each shard: the heaviest units first, each to the shard that has the least so far."""
    loads = [(0, shard) for shard in range(shards)]
    heapify(loads)
    found: list[list[int]] = [[] for _ in range(shards)]
    for unit in sorted(units, key=lambda unit: (-unit.weight, unit.reads)):
        load, shard = heappop(loads)
        found[shard] += unit.reads
        heappush(loads, (load + unit.weight, shard))
    return tuple(tuple(sorted(some)) for some in found)


def digest_of(plan: SyncPlan, numbers: Sequence[int]) -> str:
    """Return a digest of these reads: equal in every job that makes the same plan."""
    seen = sha256()
    for number in numbers:
        read = plan.reads[number]
        seen.update(f"{number} {read.kind} {read.scope} {read.resources}\n".encode(errors="surrogatepass"))
    return seen.hexdigest()


class _Joined:
    """Numbers in disjoint sets."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def root(self, number: int) -> int:
        """Return the number that stands for the set."""
        while (above := self._above[number]) != number:
            self._above[number] = self._above[above]
            number = above
        return number

    def join(self, one: int, other: int) -> None:
        """Make one set of two."""
        low, high = sorted((self.root(one), self.root(other)))
        self._above[high] = low


@dataclass(frozen=True)
class _Rules:
    """Why reads stay together: by resource the set of resources that it shares entities with, and what is whole.

    All reads of the `whole` sets are one unit; of the others those of one group or project. Of `single` sets each
    entity is made of one row. `tops` are by kind the paths of the groups whose lists hold the rows of all groups below.
    """

    sets: Mapping[int, int]
    whole: frozenset[int]
    single: frozenset[int]
    tops: Mapping[str, frozenset[str]]
    together: frozenset[str]

    @classmethod
    def of(cls, plan: SyncPlan, mapping: PortMapping, searches: Searches, together: frozenset[str]) -> "_Rules":
        """Return the rules of a mapping."""
        joined = _Joined(len(mapping.resources))
        whole: set[int] = set()
        for blueprint in _named(mapping):
            for one, other in pairwise(sorted(feeding(mapping, blueprint))):
                joined.join(one, other)
        for resource in mapping.resources:
            for other in searches.get(resource.index, ()):
                joined.join(resource.index, other)
                whole.add(resource.index)
            if _spreads(resource):
                whole.add(resource.index)
        sets = {one.index: joined.root(one.index) for one in mapping.resources}
        members: defaultdict[int, list[Resource]] = defaultdict(list)
        for resource in mapping.resources:
            members[sets[resource.index]].append(resource)
        per_project = _per_project(plan)
        for root, some in members.items():
            kinds = {one.kind for one in some}
            if len(kinds) > 1 and not kinds <= per_project:
                whole.add(root)
        tops: defaultdict[str, set[str]] = defaultdict(set)
        for read in plan.reads:
            if _is_group_list(read):
                tops[read.kind].add(read.scope.path)
        named = {kind: frozenset(paths) for kind, paths in tops.items()}
        single = frozenset(root for root, some in members.items() if all(map(names_rows, some)))
        return cls(sets, frozenset(sets[index] for index in whole), single, named, together)

    def cuts(self, read: Read) -> bool:
        """Say whether several shards may read parts of a list of a group: no row and no entity is in two of them."""
        if not read.cuttable or read.shares or read.needs or read.kind in self.together:
            return False
        roots = {self.sets[index] for index in read.resources}
        nested = any(_is_above(one, read.scope.path) or _is_above(read.scope.path, one) for one in self.tops[read.kind])
        return not nested and self.single.issuperset(roots) and self.whole.isdisjoint(roots)

    def keys(self, read: Read) -> Iterator[Hashable]:
        """Yield a key for each reason; reads with one of these in common stay together."""
        yield from read.shares
        yield from read.needs
        if read.kind in self.together:
            yield "together", read.kind
        alone = read.scope == ALL_OF_GITLAB
        if read.part is not None:
            # Another list of the group may have the same rows, in the same part.
            yield "part", read.kind, read.scope.id, read.part
            return
        if not alone:
            yield read.kind, read.scope.is_group, read.scope.id
            # Two tokens may list a group and one below it: a row may be in both lists.
            yield from ((read.kind, path) for path in _at_or_above(read.scope.path, self.tops.get(read.kind, ())))
        for root in {self.sets[index] for index in read.resources}:
            if root in self.whole:
                yield "set", root
            elif not alone:
                yield "set", root, read.scope.is_group, read.scope.id
            elif sum(1 for one in self.sets.values() if one == root) > 1:
                # Pages of rows of several places: which of them holds a row is not known.
                yield "set", root


def _named(mapping: PortMapping) -> frozenset[str]:
    return frozenset(name for names in mapped_blueprints(mapping).values() for name in names if name is not None) or (
        frozenset([""])  # every blueprint is computed, and may be the same
    )


def _per_project(plan: SyncPlan) -> frozenset[str]:
    """Return the kinds whose reads are each of one project."""
    others = {read.kind for read in plan.reads if read.scope.is_group or read.scope == ALL_OF_GITLAB}
    return frozenset(read.kind for read in plan.reads) - others


def _spreads(resource: Resource) -> bool:
    """Say whether rows of different groups or projects are likely to give one entity."""
    kind = KINDS.get(resource.kind)
    if kind is None:
        return False
    return kind.repeats or may_repeat(resource) or any(not _is_own(one.identifier) for one in resource.mappings)


def _is_own(identifier: object) -> bool:
    """Say whether an identifier is made of something that only this row has; in doubt it is taken for that.

    Keys that two shards produced are found in the end.
    """
    keys = needed_keys([rewrite_quotes(identifier)]) if isinstance(identifier, str) else frozenset[str]()
    return keys is None or not OWN.isdisjoint(keys)


def searches_of(mapping: PortMapping, blueprints: Mapping[str, Blueprint]) -> Searches:
    """Return by resource those whose entities it may find by a search: they have to be written before it."""
    found: dict[int, set[int]] = {}
    for resource in mapping.resources:
        for entity in resource.mappings:
            name = constant_blueprint(entity.blueprint)
            for target in _targets(entity, blueprints.get(name or "")):
                every = frozenset(one.index for one in mapping.resources)
                others = every if target is None else feeding(mapping, target)
                if others:
                    found.setdefault(resource.index, set()).update(others)
    return found


def _targets(entity: EntityMapping, blueprint: Blueprint | None) -> Iterator[str | None]:
    """Yield the blueprints in which an entity mapping searches, None for one that is not known."""
    known = blueprint.identifier if blueprint else None
    if isinstance(entity.identifier, dict):
        yield known
    for name, value in entity.fields():
        if isinstance(value, dict) and name == "team":
            yield TEAM
        elif isinstance(value, dict):
            relation = blueprint.relations.get(name.removeprefix("relations.")) if blueprint else None
            yield relation.target if relation else None


def weights_of(plan: SyncPlan) -> list[int]:
    """Return about how much work each read is: its requests, and for a list of a group one for each project below."""
    below = _projects_below(plan.inventory)

    def weight(read: Read) -> int:
        if read.part is not None:
            # The oldest part has what was left, on average half of a window.
            return WINDOW_ROWS // PER_PAGE * FULL_PAGE // (1 if read.part else 2)
        return max(1, read.requests, below.get(read.scope.path, 0) if _is_group_list(read) else 0)

    return list(map(weight, plan.reads))


def _is_group_list(read: Read) -> bool:
    """Say whether a read lists the rows of a group and of all groups below."""
    return read.scope.is_group and read.scope != ALL_OF_GITLAB and KINDS[read.kind].about.requests.top_group > 0


def _is_above(path: str, other: str) -> bool:
    return other.startswith(f"{path}/")


def _at_or_above(path: str, known: Collection[str]) -> Iterator[str]:
    """Yield the paths among these that are this one or above it."""
    while path:
        if path in known:
            yield path
        path = path.rpartition("/")[0]


def _projects_below(inventory: Inventory) -> Mapping[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for project in inventory.projects():
        path = project.scope.path
        while path := path.rpartition("/")[0]:
            found[path] += 1
    return found
