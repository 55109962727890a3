"""Kind `tag`: the tags of each project's repository, with the project's path in `__project`."""

from collections.abc import Iterator

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Context, Kind, Read, Requests
from gitlab_port_export.gitlab.kinds.shared.project_lists import (
    PROJECT_PATH,
    ProjectRowsSelector,
    no_code,
    project_reads,
)
from gitlab_port_export.gitlab.lists import RowHandler, read_keyset
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Scope

ORDER: Params = (("order_by", "name"), ("sort", "asc"))


class TagSelector(ProjectRowsSelector):
    """Tags of which projects."""


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project that has code."""
    yield from project_reads("tag", resources, context, lambda _: (ORDER,), no_code, _start)


def _start(_: Listed, scope: Scope, params: Params, handle: RowHandler) -> Job:
    # By keyset: the first page by number always names a second one, even if that is empty.
    yield from read_keyset(scope.token, f"/projects/{scope.id}/repository/tags", params, handle)


KIND = Kind(
    "tag",
    TagSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Tags of the repositories.",
        ("GET /projects/:id/repository/tags",),
        {"__project": PROJECT_PATH},
        role=20,
        refuses="tags of private projects",
        requests=Requests(project=1),
    ),
)
