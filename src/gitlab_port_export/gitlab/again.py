"""The plan of a run that reads again what events name: which groups and projects, and the reads of each object."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gitlab_port_export.gitlab.inventory import Active, Inventory
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import Context, Read
from gitlab_port_export.gitlab.legacy import with_legacy
from gitlab_port_export.gitlab.named import Named
from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource


@dataclass(frozen=True)
class PlanAgain:
    """The reads of what events name; `of` has the object that each read is for."""

    plan: SyncPlan
    of: tuple[Touched, ...]


def concerned(resources: Iterable[Resource], touched: Touched) -> tuple[Resource, ...]:
    """Return the resources that may have rows of an object."""
    return tuple(one for one in resources if one.known and touched.what in _what(one))


def named_by(touched: Iterable[Touched], resources: tuple[Resource, ...]) -> Named:
    """Return the groups and projects to ask for before the rows of these objects are read."""
    projects: dict[int, str] = {}
    groups: dict[int, str] = {}
    wanted: dict[int, Resource] = {}
    for one in touched:
        found = concerned(resources, one)
        wanted |= {resource.index: resource for resource in found}
        if found and one.project is not None:
            projects[one.project] = one.project_path or projects.get(one.project, "")
        if found and one.group is not None:
            groups[one.group] = one.group_path or groups.get(one.group, "")
    of_groups, of_projects = set[Active](), set[Active]()
    above = False
    for resource in wanted.values():
        kind = KINDS[resource.kind]
        of_groups |= {kind.active_groups(resource.selector)} if kind.active_groups else set()
        of_projects |= {kind.active_projects(resource.selector)} if kind.active_projects else set()
        above |= bool(kind.again and kind.again.above)
    # Which projects a selector of active groups means, the groups above them tell.
    return Named(projects, groups, above or bool(of_groups - {None}), (frozenset(of_groups), frozenset(of_projects)))


def plan_again(context: Context, touched: Iterable[Touched]) -> PlanAgain:
    """Return the reads of these objects for all resources that may have rows of them."""
    pairs = tuple(_reads(context, touched))
    reads = tuple(with_legacy((read for read, _ in pairs), context))
    return PlanAgain(SyncPlan(reads, context.inventory), tuple(one for _, one in pairs))


def _reads(context: Context, touched: Iterable[Touched]) -> Iterator[tuple[Read, Touched]]:
    known = tuple(touched)
    with_pipeline = {one.project for one in known if one.what == "pipeline"}
    for one in known:
        # A job is read with all of its pipeline, which its event names too.
        if one.what == "job" and one.project in with_pipeline:
            continue
        for name, resources in _by_kind(concerned(context.resources, one)).items():
            if again := KINDS[name].again:
                yield from ((read, one) for read in again.reads(resources, context, one))


def _what(resource: Resource) -> tuple[str, ...]:
    again = KINDS[resource.kind].again
    return again.of if again else ()


def _by_kind(resources: Iterable[Resource]) -> Mapping[str, tuple[Resource, ...]]:
    found: dict[str, tuple[Resource, ...]] = {}
    for resource in resources:
        found[resource.kind] = (*found.get(resource.kind, ()), resource)
    return found


def left_to_full_runs(resources: Iterable[Resource], touched: Iterable[Touched]) -> Iterator[str]:
    """Yield what else these events may change, which only a full run reads."""
    for one in touched:
        for name in _by_kind(concerned(resources, one)):
            again = KINDS[name].again
            if again and (left := again.left(one)):
                yield f"{name}: {left}"


def seen(inventory: Inventory, touched: Touched) -> bool:
    """Say whether the group or project of an object is in the inventory, or it has none."""
    if touched.group is not None:
        return any(place.scope.id == touched.group for place in inventory.groups())
    places = (*inventory.projects(), *inventory.unlisted)
    return touched.project is None or any(place.scope.id == touched.project for place in places)
