"""Kind `job`: the jobs of the wanted pipelines, from each project's job list instead of pipeline by pipeline."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import Field

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Place
from gitlab_port_export.gitlab.kinds.kind import Context, Kind, Read, by, feature_off, page_of, place_read
from gitlab_port_export.gitlab.kinds.pipeline import PipelineQuery, pipeline_params, pipelines_path
from gitlab_port_export.gitlab.lists import list_key, read_keyset, read_list, whole_list
from gitlab_port_export.model import Page, Resource, Row, Scope, Selector
from gitlab_port_export.parallel import Job


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
    for (active, query), indexes in by(resources, _wish).items():
        params = pipeline_params(query, context)
        for place in context.inventory.projects(active):
            if feature_off(place.row, "builds"):
                continue
            if context.dialect == "gitlab":
                yield place_read("job", place, indexes, _all_jobs(indexes))
            else:
                key = list_key(place.scope.token, pipelines_path(place.scope), params)
                yield place_read("job", place, indexes, _latest_jobs(place, indexes, params), requests=2, shares=(key,))


def _wish(selector: Any) -> tuple[bool | None, PipelineQuery | None]:
    return selector.include_only_active_projects, selector.pipeline_query_params


def _all_jobs(resources: tuple[int, ...]) -> Any:
    def start(scope: Scope) -> Job:
        yield from read_keyset(scope.token, jobs_path(scope), (), page_of("job", resources, scope))

    return start


def jobs_path(scope: Scope) -> str:
    """Return the path of a project's jobs."""
    return f"/projects/{scope.id}/jobs"


@dataclass
class _Wanted:
    """The wanted pipelines of a project, and which of their jobs came already (newest first)."""

    pipelines: dict[int, datetime]
    seen: set[tuple[int, str]] = field(default_factory=set)
    jobs: int = 0

    def latest(self, rows: list[Row]) -> list[Row]:
        """Return the rows of wanted pipelines that no newer job of the same name has replaced (retries)."""
        self.jobs += len(rows)
        found = []
        for row in rows:
            key = (row["pipeline"]["id"], row["name"])
            if key[0] in self.pipelines and key not in self.seen:
                self.seen.add(key)
                found.append(row)
        return found


class _TooFar(Exception):
    """Reading on through the job list would cost more requests than asking pipeline by pipeline."""


def _latest_jobs(place: Place, resources: tuple[int, ...], params: Params) -> Any:
    def start(scope: Scope) -> Job:
        pipelines = yield from whole_list(scope.token, pipelines_path(place.scope), params)
        wanted = _Wanted({row["id"]: instant(row["created_at"]) for row in pipelines})
        if not wanted.pipelines:
            return
        oldest = min(wanted.pipelines.values())

        def shape(rows: list[Row]) -> Page | None:
            kept = wanted.latest(rows)
            return Page("job", resources, scope, kept) if kept else None

        def enough(rows: list[Row]) -> bool:
            # Jobs come newest first and none is older than its pipeline, so the rest cannot be wanted.
            if not rows or instant(rows[-1]["created_at"]) < oldest:
                return True
            if pages_left(rows, oldest) > len(wanted.pipelines):
                raise _TooFar
            return False

        try:
            yield from read_keyset(scope.token, jobs_path(scope), (), shape, until=enough)
        except _TooFar:
            yield from _by_pipeline(scope, resources, wanted)

    return start


def pages_left(rows: list[Row], oldest: datetime) -> float:
    """Estimate how many more pages of jobs lie before the oldest wanted pipeline, at this page's density."""
    newest, last = instant(rows[0]["created_at"]), instant(rows[-1]["created_at"])
    span = max((newest - last).total_seconds(), 1.0)
    return (last - oldest).total_seconds() / span


def _by_pipeline(scope: Scope, resources: tuple[int, ...], wanted: _Wanted) -> Generator[Any, Any, None]:
    """Read each wanted pipeline's own list; GitLab leaves retried jobs out there."""
    for pipeline in wanted.pipelines:
        yield from read_list(
            scope.token, f"{pipelines_path(scope)}/{pipeline}/jobs", (), page_of("job", resources, scope)
        )


def instant(text: str) -> datetime:
    """Return GitLab's ISO 8601 text as an aware datetime."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


KIND = Kind("job", JobSelector, reads, active_projects=lambda selector: selector.include_only_active_projects)
