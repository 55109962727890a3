"""Kind `project`: the projects of the inventory, with languages and labels where the selector asks for them."""

from collections.abc import Iterator

from pydantic import Field

from gitlab_port_export.gitlab.inventory import Place
from gitlab_port_export.gitlab.kinds.group import BATCH, listed_rows
from gitlab_port_export.gitlab.kinds.kind import About, Context, Kind, Read, by, place_read
from gitlab_port_export.gitlab.languages import Batch, batches, has_code, languages_of, shares
from gitlab_port_export.gitlab.lists import list_key, whole_list
from gitlab_port_export.model import Page, Resource, Scope, Selector
from gitlab_port_export.parallel import Job


class ProjectSelector(Selector):
    """Which projects, and what is added to each."""

    include_languages: bool = Field(default=False, description="add `__languages`, shares in percent by name")
    include_labels: bool = Field(default=False, description="add `__labels`, all labels of the project")
    include_only_active_projects: bool | None = Field(
        default=None,
        description="true: only active projects; false: only archived ones or ones pending deletion",
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per batch of projects, or one per project where something is added to its row.

    Ocean's `gitlab` always adds the languages; `gitlab-v2` does when the selector says so.
    """
    always = context.dialect == "gitlab"
    wants = by(
        resources,
        lambda selector: (
            selector.include_only_active_projects,
            selector.include_languages or always,
            selector.include_labels,
        ),
    )
    asked = {active for active, languages, _ in wants if languages}
    together = batches(place for active in asked for place in context.inventory.projects(active))
    for (active, languages, labels), indexes in wants.items():
        places = context.inventory.projects(active)
        if not (languages or labels):
            for start in range(0, len(places), BATCH):
                yield listed_rows("project", places[start : start + BATCH], indexes)
            continue
        for place in places:
            yield enriched(place, indexes, together.get(place.scope.id), languages=languages, labels=labels)


def enriched(place: Place, resources: tuple[int, ...], batch: Batch | None, *, languages: bool, labels: bool) -> Read:
    """Return the read of one project with its additions."""

    def start(scope: Scope) -> Job:
        row = dict(place.row)
        if languages:
            row["__languages"] = yield from languages_of(scope, place.row, batch)
        if labels:
            row["__labels"] = yield from whole_list(scope.token, labels_path(scope))
        yield Page("project", resources, scope, [row])

    asks = languages and has_code(place.row)
    shared = shares(place.scope, batch) if asks else ()
    if labels:
        shared += (list_key(place.scope.token, labels_path(place.scope), ()),)
    return place_read("project", place, resources, start, requests=asks + labels, shares=shared)


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
            "__languages": "the share of each language in percent, by name (by GraphQL, else "
            "`GET /projects/:id/languages`); with `includeLanguages`, in integration type gitlab always",
            "__labels": "the project's labels (`GET /projects/:id/labels`); with `includeLabels`",
        },
    ),
)
