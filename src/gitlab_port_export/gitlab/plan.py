"""The sync plan: every read that the mapping needs over all tokens, groups and projects, each once."""

from collections import Counter
from collections.abc import Hashable, Iterator, Set
from dataclasses import dataclass, replace

from gitlab_port_export.gitlab.inventory import Active, Inventory
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import Context, Read
from gitlab_port_export.gitlab.legacy import with_legacy
from gitlab_port_export.mapping.model import Mapping


@dataclass(frozen=True)
class SyncPlan:
    """What will be read, in order."""

    reads: tuple[Read, ...]
    inventory: Inventory

    def lines(self) -> Iterator[str]:
        """Yield the plan for people: per token what it reads, then per kind how many requests it takes at least."""
        for token in self.inventory.patterns:
            groups = _first_with(token, ((place.tokens, place.scope.path) for place in self.inventory.groups()))
            projects = _first_with(token, ((place.tokens, place.scope.path) for place in self.inventory.projects()))
            yield f"{token}: reads {_some(len(groups), 'group')} and {_some(len(projects), 'project')}"
            yield from (f"  group {path}" for path in groups)
            yield from (f"  project {path}" for path in projects)
        for kind, (reads, requests) in self.requests().items():
            cost = f"at least {_some(requests, 'GitLab request')}" if requests else "no GitLab request of its own"
            yield f"{kind}: {_some(reads, 'read')}, {cost}"

    def without(self, numbers: Set[int], *, of: "SyncPlan", resources: Set[int]) -> "SyncPlan":
        """Return the reads for these resources, but for those that are the reads with these numbers of another plan."""
        known = list(_each_named(of.reads))
        left_out = {known[number] for number in numbers}
        kept = [
            read
            for read, name in zip(self.reads, _each_named(self.reads), strict=True)
            if resources & set(read.resources) and name not in left_out
        ]
        return replace(self, reads=tuple(kept))

    def requests(self) -> dict[str, tuple[int, int]]:
        """Return (reads, fewest requests) per kind; a list that two kinds share is counted for the first."""
        found: dict[str, tuple[int, int]] = {}
        shared: Counter[object] = Counter()
        for read in self.reads:
            saved = sum(1 for key in read.shares if shared[key])
            shared.update(read.shares)
            reads, requests = found.get(read.kind, (0, 0))
            found[read.kind] = (reads + 1, requests + max(read.requests - saved, 0))
        return found


def _each_named(reads: tuple[Read, ...]) -> Iterator[Hashable]:
    """Yield a name for each read that plans of the same mapping share; the reads of one place have an order there."""
    seen: Counter[Hashable] = Counter()
    for read in reads:
        key = (read.kind, read.scope, read.tokens, read.resources)
        seen[key] += 1
        yield key, seen[key]


def _first_with(token: str, places: Iterator[tuple[tuple[str, ...], str]]) -> list[str]:
    return sorted(path for tokens, path in places if tokens[0] == token)


def _some(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def needed_actives(mapping: Mapping) -> tuple[frozenset[Active], frozenset[Active]]:
    """Return the `active` filters that the mapping's group kinds and project kinds need."""
    groups: set[Active] = set()
    projects: set[Active] = {None} if mapping.spec_paths else set()
    for resource in mapping.resources:
        kind = KINDS.get(resource.kind)
        if kind and kind.active_groups:
            groups.add(kind.active_groups(resource.selector))
        if kind and kind.active_projects:
            projects.add(kind.active_projects(resource.selector))
    return frozenset(groups), frozenset(projects)


def make_plan(context: Context) -> SyncPlan:
    """Return the reads of all kinds; resources of one kind that want the same rows share a read.

    Kinds follow the order of the mapping, so that targets tend to come before what relates to them. What shares a list
    with an earlier read comes right after it: the rows are kept until the last reader had them.
    """
    names = dict.fromkeys(resource.kind for resource in context.resources if resource.kind in KINDS)
    reads = (
        read
        for name in names
        for read in KINDS[name].reads(
            tuple(r for r in context.resources if r.kind == name and r.known), _of(name, context)
        )
    )
    return SyncPlan(_sharers_together(tuple(with_legacy(reads, context))), context.inventory)


def _of(name: str, context: Context) -> Context:
    """Return what a kind is planned of: in an incremental run mostly a part of the projects."""
    since = KINDS[name].since
    return since.narrowed(context) if since and context.changes else context


def _sharers_together(reads: tuple[Read, ...]) -> tuple[Read, ...]:
    first: dict[Hashable, int] = {}
    places = [
        min((first.setdefault(key, number) for key in (*read.shares, *read.needs)), default=number)
        for number, read in enumerate(reads)
    ]
    return tuple(reads[number] for number in sorted(range(len(reads)), key=places.__getitem__))
