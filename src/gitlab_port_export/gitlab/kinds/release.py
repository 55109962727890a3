"""Kind `release`: the releases of each project, with the project's path in `__project`."""

from collections.abc import Iterator
from urllib.parse import quote

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params, ReadFailed
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import (
    About,
    Again,
    Context,
    Kind,
    Read,
    Requests,
    Since,
    Vanished,
    feature_off,
)
from gitlab_port_export.gitlab.kinds.shared.again import at, of_project, one_row
from gitlab_port_export.gitlab.kinds.shared.project_lists import PROJECT_PATH, ProjectRowsSelector, project_reads
from gitlab_port_export.gitlab.lists import RowHandler, read_list
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Page, Row, Scope

ORDER: Params = (("order_by", "created_at"), ("sort", "asc"))


class ReleaseSelector(ProjectRowsSelector):
    """Releases of which projects."""


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project that has releases and its repository switched on."""
    yield from project_reads("release", resources, context, lambda _: (ORDER,), _nothing_there, _start)


def _nothing_there(row: Row) -> bool:
    return feature_off(row, "repository") or feature_off(row, "releases")


def _start(_: Listed, scope: Scope, params: Params, handle: RowHandler) -> Job:
    def named(rows: list[Row]) -> Page | None:
        # A release has no id. Who may not read the code is shown releases without their tags: nothing names them.
        if not all(row.get("tag_name") for row in rows):
            raise ReadFailed(
                "forbidden",
                "GitLab hides the tags of the project's releases",
                "give the token's user a role that may read the code there (Reporter)",
            )
        page: Page | None = handle(rows)
        return page

    yield from read_list(scope.token, f"/projects/{scope.id}/releases", params, named)


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    def start(_: Listed, scope: Scope, __: Params, handle: RowHandler) -> Job:
        path = f"/projects/{scope.id}/releases/{quote(str(touched.key), safe='')}"
        if row := (yield from one_row(scope, path)):
            yield handle([row])

    return project_reads("release", resources, at(context, touched), lambda _: (ORDER,), _nothing_there, start)


VANISHED = Vanished("releases/{}", "releases", "tag_name", of_project("tag_name"))

KIND = Kind(
    "release",
    ReleaseSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Releases.",
        ("GET /projects/:id/releases",),
        {"__project": PROJECT_PATH},
        role=20,
        refuses="releases of private projects",
        requests=Requests(project=1),
    ),
    again=Again(("release",), _again, vanished=VANISHED),
    since=Since("of updated projects", (("__project.path_with_namespace", "tag_name"), ("_links.self",))),
)
