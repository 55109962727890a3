"""Makes the limits of an incremental run: of the inventory, of the frames, and of what GitLab says changed."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.changes import Changes, is_since
from gitlab_port_export.gitlab.client import GitLab
from gitlab_port_export.gitlab.cover import cover
from gitlab_port_export.gitlab.inventory import Inventory, Listed
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.incremental.changed import LISTS, ListKind, Pipelines, ask, changed_pipelines, quiet_lists
from gitlab_port_export.incremental.frames import Moved, Outline
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Scope

# GitLab sets `last_activity_at` at most once an hour:
# https://gitlab.com/gitlab-org/gitlab/-/blob/master/app/models/event.rb
ACTIVITY_EVERY = timedelta(hours=1)
# So few lists are sooner read than asked about.
FEW_LISTS = 3


@dataclass(frozen=True)
class Asked:
    """Who asks GitLab what changed, and how many connections there are."""

    gitlab: GitLab
    workers: int


def limits(
    asked: Asked,
    inventory: Inventory,
    outlines: Sequence[Outline],
    resources: Iterable[Resource],
    since: Mapping[str, datetime],
    moved: Moved,
) -> Changes:
    """Return the limits of the run for these resources; `since` is by kind, with the overlap."""
    wanted, projects = tuple(resources), [one for one in outlines if not one.is_group]
    if not wanted:
        return Changes({})
    earliest = min(since.values())
    updated = moved.projects.union(one.id for one in projects if is_since(one.updated_at, earliest))
    active = updated.union(one.id for one in projects if is_since(one.active_at, earliest - ACTIVITY_EVERY))
    without = frozenset(one.id for one in projects if not one.builds) | moved.projects
    pipelines, quiet = ask(
        asked.gitlab,
        asked.workers,
        _pipelines(inventory, wanted, since, without),
        _quiet(inventory, wanted, since, moved),
    )
    return Changes(
        since,
        whole=moved.projects,
        whole_groups=moved.groups,
        pipelines=pipelines.changed | moved.projects,
        going_on=pipelines.going_on,
        active=active,
        updated=updated,
        quiet=quiet,
    )


def _pipelines(
    inventory: Inventory, resources: tuple[Resource, ...], since: Mapping[str, datetime], without: Set[int]
) -> Job:
    """Ask which projects, but for those `without` need of it, have changed pipelines, where a kind depends on it."""
    kinds = {one.kind for one in resources if (known := KINDS[one.kind].since) and known.taken == "of pipelines"}
    if not kinds:
        return Pipelines(frozenset())
    places = [place for place in inventory.projects() if place.scope.id not in without]
    return (yield from changed_pipelines(places, min(since[kind] for kind in kinds)))


def _quiet(inventory: Inventory, resources: tuple[Resource, ...], since: Mapping[str, datetime], moved: Moved) -> Job:
    """Ask which groups and lone projects have no changed rows, where there are many lists to read."""
    places: dict[ListKind, dict[Scope, Listed]] = {}
    for kind in LISTS:
        for active in {KINDS[one.kind].active_groups(one.selector) for one in resources if one.kind == kind}:  # type: ignore[misc]  # these kinds have the field
            for covered in cover(inventory, active):
                whole = moved.groups if covered.place.scope.is_group else moved.projects
                if covered.place.scope.id not in whole:
                    places.setdefault(kind, {})[covered.place.scope] = covered.place
    many = {kind: found.values() for kind, found in places.items() if len(found) > FEW_LISTS}
    return (yield from quiet_lists(many, {kind: since[kind] for kind in many})) if many else {}
