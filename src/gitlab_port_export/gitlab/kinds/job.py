"""Kind `job`: the jobs of the wanted pipelines, from each project's job list where that takes fewer requests."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from pydantic import Field

from gitlab_port_export.base.parallel import All, Job
from gitlab_port_export.gitlab.changes import Changes
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
    Wanted,
    by,
    each_once,
    page_of,
    scope_read,
)
from gitlab_port_export.gitlab.kinds.pipeline import (
    PipelineQuery,
    listed_pipeline,
    newest_alone,
    no_pipelines,
    pipeline_params,
    pipelines_path,
)
from gitlab_port_export.gitlab.kinds.shared.again import at, one_row
from gitlab_port_export.gitlab.lists import PER_PAGE, list_key, read_keyset, read_list, whole_list
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Dialect, Page, Row, Scope

# All pipelines of a project.
ANY: Params = (("order_by", "id"), ("sort", "asc"))
# So many pages of a project's job list may be read in vain before the pipelines are asked one by one.
PATIENCE = 1


class JobSelector(Selector):
    """Which jobs of which projects."""

    include_only_active_projects: bool | None = Field(default=None, description="as for the kind `project`")
    pipeline_query_params: PipelineQuery | None = Field(
        default=None, description="only jobs of the pipelines that GitLab lists for this"
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project that has pipelines switched on.

    Ocean's `gitlab` takes every job of a project; `gitlab-v2` the latest jobs of each wanted pipeline.
    """
    yield from each_once(_wanted(by(resources, _query), context))


def _wanted(
    wants: Mapping[tuple[bool | None, PipelineQuery | None], tuple[int, ...]], context: Context
) -> Iterator[Wanted]:
    for (active, query), indexes in wants.items():
        params = pipeline_params(query, context)
        for place in context.inventory.projects(active):
            if context.skips(place.row, no_pipelines):
                continue
            if context.changes and place.scope.id not in context.changes.whole:
                some = _changed(ANY if context.dialect == "gitlab" else params, context.changes, place)
                yield (place.scope.id, params), partial(_changed_of, place, some, context.dialect), indexes
            elif context.dialect == "gitlab":
                yield place.scope.id, partial(_all_of, place), indexes
            else:
                yield (place.scope.id, params), partial(_latest_of, place, params), indexes


def _all_of(place: Listed, resources: tuple[int, ...]) -> Read:
    return scope_read("job", place, resources, partial(_all_jobs, resources), unless=no_pipelines)


def _latest_of(place: Listed, params: Params, resources: tuple[int, ...]) -> Read:
    key = list_key(place.scope.token, pipelines_path(place.scope), params)
    start = partial(_latest_jobs, resources, params)
    return scope_read("job", place, resources, start, unless=no_pipelines, requests=2, shares=(key,))


class _Changed(NamedTuple):
    """Pipelines whose jobs may have changed: those of some lists, by their queries, and others by their ids."""

    lists: tuple[Params, ...]
    ids: tuple[int, ...] = ()


def _changed(params: Params, changes: Changes, place: Listed) -> _Changed:
    """Return the pipelines that changed or go on: GitLab does not touch one that goes on running."""
    scope = dict(params).get("scope")
    if scope in ("running", "pending"):
        return _Changed((params,))
    since, going_on = changes.later("job", params), changes.going_on.get(place.scope.id, ())
    if scope or not going_on:
        return _Changed((since,))
    # Whether a query wants a pipeline, only its own list tells.
    is_plain = params == ANY
    lists = [one for one in going_on if isinstance(one, str)] if is_plain else ["running", "pending"]
    ids = tuple(one for one in going_on if isinstance(one, int)) if is_plain else ()
    return _Changed((since, *((*params, ("scope", name)) for name in lists)), ids)


def _changed_of(place: Listed, some: _Changed, dialect: Dialect, resources: tuple[int, ...]) -> Read:
    keys = tuple(list_key(place.scope.token, pipelines_path(place.scope), params) for params in some.lists)
    start = partial(_changed_jobs, resources, some, dialect)
    return scope_read("job", place, resources, start, unless=no_pipelines, requests=2, shares=keys)


def _changed_jobs(resources: tuple[int, ...], some: _Changed, dialect: Dialect, scope: Scope) -> Job:
    """Read the jobs of each of these pipelines; they are few."""
    found = set(some.ids)
    for params in some.lists:
        rows = yield from whole_list(scope.token, pipelines_path(scope), params)
        found.update(row["id"] for row in rows)
    handle = page_of("job", resources, scope)
    retried: Params = (("include_retried", "true"),) if dialect == "gitlab" else ()
    paths = (f"{pipelines_path(scope)}/{pipeline}/jobs" for pipeline in sorted(found))
    yield All(tuple(read_list(scope.token, path, retried, handle) for path in paths))


def _query(selector: Any) -> tuple[bool | None, PipelineQuery | None]:
    return selector.include_only_active_projects, selector.pipeline_query_params


def _all_jobs(resources: tuple[int, ...], scope: Scope) -> Job:
    yield from read_keyset(scope.token, jobs_path(scope), (), page_of("job", resources, scope))


def jobs_path(scope: Scope) -> str:
    """Return the path of a project's jobs."""
    return f"/projects/{scope.id}/jobs"


@dataclass
class _Wanted:
    """The wanted pipelines of a project while its jobs come, newest first."""

    pipelines: frozenset[int]
    pages: int = 0
    idle: int = 0
    rows: int = 0
    met: set[int] = field(default_factory=set)
    seen: set[tuple[int, Hashable]] = field(default_factory=set)

    def latest(self, rows: list[Row]) -> list[Row]:
        """Return the rows of wanted pipelines that no newer job of the same name has replaced (retries)."""
        found = []
        for row in rows:
            pipeline = (row.get("pipeline") or {}).get("id")
            if pipeline not in self.pipelines:
                continue
            self.met.add(pipeline)
            self.rows += 1
            key = (pipeline, row.get("name") or row["id"])
            if key not in self.seen:
                self.seen.add(key)
                found.append(row)
        return found

    def is_dear(self, rows: list[Row]) -> bool:
        """Say whether asking the pipelines one by one is likely to cost fewer requests than reading on; a guess.

        Only its end tells that the job list holds no further job of a pipeline: imported jobs have ids and dates in
        any order. One request gives a pipeline's own jobs, up to a hundred of them.
        """
        self.pages += 1
        wanted = any((row.get("pipeline") or {}).get("id") in self.pipelines for row in rows)
        self.idle = 0 if wanted else self.idle + 1
        return self.idle > PATIENCE or self.pages > max(len(self.met), self.rows / PER_PAGE) + PATIENCE


def _latest_jobs(resources: tuple[int, ...], params: Params, scope: Scope) -> Job:
    pipelines = yield from whole_list(scope.token, pipelines_path(scope), params)
    if not pipelines:
        return
    wanted = _Wanted(frozenset(row["id"] for row in pipelines))

    def handle(rows: list[Row]) -> Page | None:
        kept = wanted.latest(rows)
        return Page("job", resources, scope, kept) if kept else None

    if not (yield from read_keyset(scope.token, jobs_path(scope), (), handle, until=wanted.is_dear)):
        # GitLab leaves retried jobs out here.
        paths = (f"{pipelines_path(scope)}/{pipeline}/jobs" for pipeline in sorted(wanted.pipelines))
        yield All(tuple(read_list(scope.token, path, (), handle) for path in paths))


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    """Yield the reads of all jobs of the pipeline that an event names, or of the pipeline of the job that it names."""
    narrow = at(context, touched)
    for (active, query), indexes in by(resources, _query).items():
        params = None if context.dialect == "gitlab" else pipeline_params(query, context)
        for place in narrow.inventory.projects(active):
            start = partial(_of_one, indexes, params, touched)
            yield scope_read("job", place, indexes, start, unless=no_pipelines)


def _of_one(resources: tuple[int, ...], params: Params | None, touched: Touched, scope: Scope) -> Job:
    number = touched.key
    if touched.what == "job":
        job = yield from one_row(scope, f"{jobs_path(scope)}/{number}")
        number = (job or {}).get("pipeline", {}).get("id")
    if number is None or (params is not None and not (yield from listed_pipeline(scope, params, number))):
        return
    retried: Params = (("include_retried", "true"),) if params is None else ()
    path = f"{pipelines_path(scope)}/{number}/jobs"
    try:
        yield from read_list(scope.token, path, retried, page_of("job", resources, scope))
    except ReadFailed as failure:
        if failure.reason != "missing":
            raise


KIND = Kind(
    "job",
    JobSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Jobs: in gitlab-v2 the latest of each name in each pipeline, in gitlab all.",
        ("GET /projects/:id/jobs", "GET /projects/:id/pipelines", "GET /projects/:id/pipelines/:pipeline_id/jobs"),
        role=20,
        refuses="jobs that are not public",
        requests=Requests(project=2),
    ),
    again=Again(("pipeline", "job"), _again),
    since=Since(
        "of pipelines",
        (("id",), ("web_url",)),
        unfit=lambda selector: newest_alone(selector.pipeline_query_params),
        unseen="retries that leave the pipeline's status as it is, artifacts that expire",
    ),
)
