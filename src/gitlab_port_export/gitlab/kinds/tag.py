"""Kind `tag`: the tags of each project's repository, with the project's path in `__project`."""

from collections.abc import Iterator
from urllib.parse import quote

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since, Vanished
from gitlab_port_export.gitlab.kinds.shared.again import at, named_like, of_project, one_row
from gitlab_port_export.gitlab.kinds.shared.project_lists import (
    PROJECT_PATH,
    ProjectRowsSelector,
    no_code,
    project_reads,
)
from gitlab_port_export.gitlab.lists import RowHandler, read_keyset
from gitlab_port_export.gitlab.touched import Touched
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


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    def start(_: Listed, scope: Scope, __: Params, handle: RowHandler) -> Job:
        path = f"/projects/{scope.id}/repository/tags/{quote(str(touched.key), safe='')}"
        if row := (yield from one_row(scope, path)):
            yield handle([row])

    return project_reads("tag", resources, at(context, touched), lambda _: (ORDER,), no_code, start)


VANISHED = Vanished("repository/tags/{}", "repository/tags", "name", of_project("name"), named_like)

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
    again=Again(("tag",), _again, vanished=VANISHED),
    since=Since(
        "of active projects",
        (("__project.path_with_namespace", "name"),),
        unseen="whether a tag is protected",
    ),
)
