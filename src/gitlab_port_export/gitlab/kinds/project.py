"""Kind `project`: the projects of the inventory, with languages and labels where the selector asks for them."""

from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.additions import finds, included
from gitlab_port_export.gitlab.inventory import Active, Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Since, by, listed_reads, scope_read
from gitlab_port_export.gitlab.kinds.shared.again import of_scope
from gitlab_port_export.gitlab.kinds.shared.dependent import INCLUDED, dependent_on
from gitlab_port_export.gitlab.kinds.shared.repository import Block, IncludedFiles
from gitlab_port_export.gitlab.languages import Batch, batches, languages_of, shares
from gitlab_port_export.gitlab.legacy import legacy_texts
from gitlab_port_export.gitlab.lists import list_key, whole_list
from gitlab_port_export.gitlab.trees import readable_ref
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Page, Row, Scope


class SearchQuery(Block):
    """A search whose outcome is added to each project."""

    name: str = Field(description="the key in `__searchQueries`")
    scope: str = Field(default="blobs", description="what GitLab searches: blobs, issues, merge_requests, …")
    query: str = Field(description="what it searches for")


class ProjectSelector(Selector):
    """Which projects, and what is added to each."""

    include_languages: bool = Field(default=False, description="add `__languages`, shares in percent by name")
    include_labels: bool = Field(default=False, description="add `__labels`, all labels of the project")
    included_files: IncludedFiles
    search_queries: tuple[SearchQuery, ...] = Field(
        default=(), description="add `__searchQueries`: by name, whether the search finds something in the project"
    )
    include_only_active_projects: bool | None = Field(
        default=None,
        description="true: only active projects; false: only archived ones or ones pending deletion",
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per batch of projects, or one per project where something is added to its row.

    Ocean's `gitlab` always adds the languages; `gitlab-v2` does when the selector says so.
    """
    always = context.dialect == "gitlab"
    older = {resource.index for resource in resources if legacy_texts(resource)}

    def query(selector: Any) -> tuple[Active, Additions]:
        return selector.include_only_active_projects, Additions(
            selector.include_languages or always,
            selector.include_labels,
            selector.included_files,
            selector.search_queries,
        )

    on_included = dependent_on(resources, INCLUDED)
    wants = by(resources, query)
    asked = {active for active, wanted in wants if wanted.languages}
    limit = context.changes.active if context.changes else None
    together = batches(
        place
        for active in asked
        for place in context.inventory.projects(active)
        if limit is None or place.scope.id in limit
    )
    for (active, wanted), indexes in wants.items():
        places = context.inventory.projects(active)
        if limit is not None and (any(wanted) or older.intersection(indexes)):
            places = tuple(place for place in places if place.scope.id in limit)
        # What is read for older properties is read with the token of each project.
        if not any(wanted) and not older.intersection(indexes):
            yield from listed_reads("project", places, indexes)
            continue
        for place in places:
            yield enriched(place, indexes, together.get(place.scope.id), wanted, on_included)


class Additions(NamedTuple):
    """What is added to the rows of projects."""

    languages: bool = False
    labels: bool = False
    files: tuple[str, ...] = ()
    searches: tuple[SearchQuery, ...] = ()


def enriched(
    place: Listed,
    resources: tuple[int, ...],
    batch: Batch | None,
    wanted: Additions,
    on_included: frozenset[int] = frozenset(),
) -> Read:
    """Return the read of one project with its additions; the entities of some resources hang on the included files."""

    def start(scope: Scope) -> Job:
        row = dict(place.row)
        if wanted.languages:
            row["__languages"] = yield from languages_of(scope, place.row, batch)
        if wanted.labels:
            row["__labels"] = yield from whole_list(scope.token, labels_path(scope))
        if wanted.files:
            row["__includedFiles"] = yield from _files_of(
                scope, place.row, wanted.files, tuple(sorted(on_included.intersection(resources)))
            )
        if wanted.searches:
            row["__searchQueries"] = {}
        for search in wanted.searches:
            found = yield from finds(scope, place.row, search.scope, search.query)
            row["__searchQueries"][search.name] = found
        yield Page("project", resources, scope, [row])

    shared = shares(place.scope, batch) if wanted.languages else ()
    if wanted.labels:
        shared += (list_key(place.scope.token, labels_path(place.scope), ()),)
    requests = wanted.languages + wanted.labels + len(wanted.files) + len(wanted.searches)
    return scope_read("project", place, resources, start, requests=requests, shares=shared)


def _files_of(scope: Scope, row: Row, paths: tuple[str, ...], dependent: tuple[int, ...]) -> Generator[Any, Any, Row]:
    ref = yield from readable_ref(scope, row)
    return dict.fromkeys(paths) if ref is None else (yield from included(scope, ref, paths, {}, "project", dependent))


def labels_path(scope: Scope) -> str:
    """Return the path of a project's labels."""
    return f"/projects/{scope.id}/labels"


KIND = Kind(
    "project",
    ProjectSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Projects.",
        ("GET /projects",),
        {
            "__languages": "the share of each language in percent, by name (`POST /api/graphql`, else "
            "`GET /projects/:id/languages`); with `includeLanguages`, in integration type gitlab always",
            "__labels": "the project's labels (`GET /projects/:id/labels`); with `includeLabels`",
            "__includedFiles": "by path the texts of `includedFiles`, null where there is no such file "
            "(`GET /projects/:id/repository/files/:file_path`)",
            "__searchQueries": "by name whether the search finds something, null where GitLab refuses its scope "
            "(`GET /projects/:id/search`); with `searchQueries`",
        },
    ),
    again=Again(("project",), of_scope(reads)),
    since=Since(
        "all",
        (("id",), ("path_with_namespace",), ("namespace.full_path", "path"), ("web_url",)),
        unseen="what is added to a project that shows no activity",
    ),
)
