"""Kind `group`: the groups of the inventory, as GitLab lists them."""

from collections.abc import Iterator

from pydantic import Field

from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Since, by, listed_reads
from gitlab_port_export.gitlab.kinds.shared.again import of_scope
from gitlab_port_export.mapping.model import Resource, Selector


class GroupSelector(Selector):
    """Which groups."""

    include_only_active_groups: bool | None = Field(
        default=None,
        description="true: only active groups; false: only archived ones or ones pending deletion",
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield reads that need no request: the inventory has the rows."""
    for active, indexes in by(resources, lambda selector: selector.include_only_active_groups).items():
        yield from listed_reads("group", context.inventory.groups(active), indexes)


KIND = Kind(
    "group",
    GroupSelector,
    reads,
    active_groups=lambda selector: selector.include_only_active_groups,
    about=About("Groups and subgroups.", ("GET /groups",)),
    again=Again(("group",), of_scope(reads)),
    since=Since("all", (("id",), ("full_path",), ("web_url",))),
)
