"""Kind `job`: the jobs of the wanted pipelines, from each project's job list instead of pipeline by pipeline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from pydantic import Field

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Place
from gitlab_port_export.gitlab.kinds.kind import (
    About,
    Context,
    Kind,
    Read,
    Wanted,
    by,
    each_once,
    feature_off,
    page_of,
    place_read,
)
from gitlab_port_export.gitlab.kinds.pipeline import PipelineQuery, pipeline_params, pipelines_path
from gitlab_port_export.gitlab.lists import list_key, read_keyset, read_list, whole_list
from gitlab_port_export.model import Page, Resource, Row, Scope, Selector
from gitlab_port_export.parallel import Job

# Pages of a project's job list that may complete no pipeline before the pipelines are asked one by one.
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
    yield from each_once(_wanted(by(resources, _wish), context))


def _wanted(
    wants: Mapping[tuple[bool | None, PipelineQuery | None], tuple[int, ...]], context: Context
) -> Iterator[Wanted]:
    for (active, query), indexes in wants.items():
        params = pipeline_params(query, context)
        for place in context.inventory.projects(active):
            if feature_off(place.row, "builds"):
                continue
            if context.dialect == "gitlab":
                yield place.scope.id, partial(_all_of, place), indexes
            else:
                yield (place.scope.id, params), partial(_latest_of, place, params), indexes


def _all_of(place: Place, resources: tuple[int, ...]) -> Read:
    return place_read("job", place, resources, partial(_all_jobs, resources))


def _latest_of(place: Place, params: Params, resources: tuple[int, ...]) -> Read:
    key = list_key(place.scope.token, pipelines_path(place.scope), params)
    start = partial(_latest_jobs, resources, params)
    return place_read("job", place, resources, start, requests=2, shares=(key,))


def _wish(selector: Any) -> tuple[bool | None, PipelineQuery | None]:
    return selector.include_only_active_projects, selector.pipeline_query_params


def _all_jobs(resources: tuple[int, ...], scope: Scope) -> Job:
    yield from read_keyset(scope.token, jobs_path(scope), (), page_of("job", resources, scope))


def jobs_path(scope: Scope) -> str:
    """Return the path of a project's jobs."""
    return f"/projects/{scope.id}/jobs"


@dataclass
class _Wanted:
    """The wanted pipelines of a project (when each was created) while its jobs come, newest first."""

    pipelines: dict[int, datetime]
    pages: int = 0
    seen: set[tuple[int | None, str]] = field(default_factory=set)

    def latest(self, rows: list[Row]) -> list[Row]:
        """Return the rows of wanted pipelines that no newer job of the same name has replaced (retries)."""
        found = []
        for row in rows:
            key = ((row.get("pipeline") or {}).get("id"), row["name"])
            if key[0] in self.pipelines and key not in self.seen:
                self.seen.add(key)
                found.append(row)
        return found

    def complete(self, rows: list[Row]) -> bool:
        """Say whether every wanted pipeline has all its jobs after this page. Raises _TooFar."""
        if not rows:
            return False
        self.pages += 1
        # No job is older than its pipeline, so the younger pipelines can have no more jobs.
        reached = instant(rows[-1]["created_at"])
        left = [pipeline for pipeline, created in self.pipelines.items() if created <= reached]
        # A request for one pipeline completes one; pages that complete fewer hold jobs of unwanted or huge pipelines.
        if left and self.pages > len(self.pipelines) - len(left) + PATIENCE:
            raise _TooFar(left)
        return not left


class _TooFar(Exception):
    """Asking for the pipelines that are left one by one costs fewer requests than reading on."""

    def __init__(self, pipelines: list[int]) -> None:
        super().__init__()
        self.pipelines = pipelines


def _latest_jobs(resources: tuple[int, ...], params: Params, scope: Scope) -> Job:
    pipelines = yield from whole_list(scope.token, pipelines_path(scope), params)
    if not pipelines:
        return
    wanted = _Wanted({row["id"]: instant(row["created_at"]) for row in pipelines})

    def shape(rows: list[Row]) -> Page | None:
        kept = wanted.latest(rows)
        return Page("job", resources, scope, kept) if kept else None

    try:
        yield from read_keyset(scope.token, jobs_path(scope), (), shape, until=wanted.complete)
    except _TooFar as stopped:
        for pipeline in stopped.pipelines:
            # GitLab leaves retried jobs out here.
            yield from read_list(scope.token, f"{pipelines_path(scope)}/{pipeline}/jobs", (), shape)


def instant(text: str) -> datetime:
    """Return GitLab's ISO 8601 text as an aware datetime."""
    return datetime.fromisoformat(text)


KIND = Kind(
    "job",
    JobSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Jobs: in gitlab-v2 the latest of each name in each pipeline, in gitlab all.",
        ("GET /projects/:id/jobs", "GET /projects/:id/pipelines", "GET /projects/:id/pipelines/:pipeline_id/jobs"),
        role=20,
        hides="jobs of private projects",
    ),
)
