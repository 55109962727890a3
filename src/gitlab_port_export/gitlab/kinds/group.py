"""Kind `group`: the groups of the inventory, as GitLab lists them."""

from collections.abc import Iterator

from pydantic import Field

from gitlab_port_export.gitlab.inventory import Place
from gitlab_port_export.gitlab.kinds.kind import About, Context, Kind, Read, by
from gitlab_port_export.model import Page, Resource, Scope, Selector
from gitlab_port_export.parallel import Job

BATCH = 100
NOWHERE = Scope(0, "", is_group=True)


class GroupSelector(Selector):
    """Which groups."""

    include_only_active_groups: bool | None = Field(
        default=None,
        description="true: only active groups; false: only archived ones or ones pending deletion",
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield reads that need no request: the inventory has the rows."""
    for active, indexes in by(resources, lambda selector: selector.include_only_active_groups).items():
        places = context.inventory.groups(active)
        for start in range(0, len(places), BATCH):
            yield listed_rows("group", places[start : start + BATCH], indexes)


def listed_rows(kind: str, places: tuple[Place, ...], resources: tuple[int, ...]) -> Read:
    """Return the read that hands on rows of the inventory as they are."""

    def rows(_: Scope) -> Job:
        yield Page(kind, resources, NOWHERE, [place.row for place in places])

    return Read(kind, NOWHERE, ("",), resources, rows, requests=0)


KIND = Kind(
    "group",
    GroupSelector,
    reads,
    active_groups=lambda selector: selector.include_only_active_groups,
    about=About("Groups and subgroups.", ("GET /groups",)),
)
