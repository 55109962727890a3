"""Whether a long list can have changed since it was read: two requests instead of all its pages."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from gitlab_port_export.base.parallel import Job, drive
from gitlab_port_export.gitlab.client import Get, GitLab, Params, ReadFailed, count_of
from gitlab_port_export.gitlab.inventory import Inventory, access_of
from gitlab_port_export.model import Counted, Scope

# A change is seen only when it was stored, and by a replica a while later (GitLab tolerates a minute).
MARGIN = timedelta(minutes=2)
ONE: Params = (("per_page", "1"), ("page", "1"))
# What of a project decides whether its rows are in the list of its group.
TELLING = (
    "path_with_namespace", "archived", "visibility", "marked_for_deletion_at", "marked_for_deletion_on", "public_jobs",
    "import_status",
    *(f"{name}_access_level" for name in ("merge_requests", "issues", "repository", "builds", "environments")),
)  # fmt: skip


def quiet_lists(lists: Iterable[Counted], gitlab: GitLab, workers: int) -> frozenset[int]:
    """Return the numbers of the lists that are proved to be as they were read. Raises http.Stopped."""
    return frozenset(drive((_asked(one) for one in lists), gitlab.get, Get, workers=workers))


def _asked(one: Counted) -> Job:
    """Yield the list's number where nothing of it moved since its first page and it has as many rows as then.

    Whatever joins a list, or leaves it by its state, was updated. What leaves without that (deleted, or its project
    was) makes the list shorter, unless a row joined as well. Projects that join or leave are told by the inventory.
    So it is with each window of a long list, and rows do not go from one window to another.
    """
    moved = moved_since(one)
    if moved is None:
        return
    try:
        answer = yield Get(one.token, one.path, (*moved, *ONE))
        if answer.data or count_of(answer, "x-total") != 0:
            return
        for params, total in one.windows or ((one.params, one.total),):
            answer = yield Get(one.token, one.path, (*params, *ONE))
            if count_of(answer, "x-total") != total:
                return
    except ReadFailed:
        return  # it is read again, and that says why
    yield one.number


def moved_since(one: Counted) -> Params | None:
    """Return the query for what was updated there since the list was read, in any state; None where there is none."""
    asked = _ASKED.get(one.path.rpartition("/")[2])
    given = dict(one.params)
    kept, clock = asked(given) if asked else None, _instant(one.clock)
    if kept is None or clock is None:
        return None
    return (*kept, ("updated_after", (clock - MARGIN).strftime("%Y-%m-%dT%H:%M:%SZ")))


def _instant(clock: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(clock)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None


def _issuables(given: Mapping[str, str]) -> Params | None:
    """A label that is renamed or deleted updates no issue."""
    if "labels" in given:
        return None
    return (("scope", "all"), *((name, given[name]) for name in ("non_archived",) if name in given))


def _pipelines(given: Mapping[str, str]) -> Params | None:
    """Of a branch's pipelines the one before is listed again when the latest is deleted; users are renamed.

    Neither updates a pipeline. GitLab lists child pipelines only to who asks for their source.
    """
    return () if given.keys() <= {*_ALWAYS, "status", "ref", "sha"} else None


def _deployments(given: Mapping[str, str]) -> Params | None:
    """An environment that is renamed updates no deployment; GitLab wants the order that the window has."""
    return (("order_by", "updated_at"), ("sort", "asc")) if given.keys() <= {*_ALWAYS, "status"} else None


# A row that a change of these takes into a list, or out of it, is updated then; nothing changes when it was created.
_ALWAYS = frozenset(
    [
        "order_by",
        "sort",
        *(f"{what}_{when}" for what in ("created", "updated", "finished") for when in ("after", "before")),
    ]
)


_ASKED: Mapping[str, Callable[[Mapping[str, str]], Params | None]] = {
    "merge_requests": _issuables,
    "issues": _issuables,
    "pipelines": _pipelines,
    "deployments": _deployments,
}


def whereabouts(inventory: Inventory) -> Mapping[Any, int]:
    """Return by group and project a digest of where it is and of who sees what there; two runs' are not comparable."""
    found: dict[Any, int] = {
        ("group", active, group.scope.id): hash((group.scope.path, group.tokens, group.weaker))
        for active, groups in inventory.all_groups_by.items()
        for group in groups
    }
    for active, projects in inventory.projects_by.items():
        for project in projects:
            row = project.row
            told = (*(str(row.get(name)) for name in TELLING), access_of(row), project.tokens, project.weaker)
            found["project", active, project.scope.id] = hash(told)
    for token, levels in inventory.listed.items():
        found["levels", token] = hash(frozenset(levels.items()))
    return found


def is_importing(inventory: Inventory) -> bool:
    """Say whether a project is being imported: its rows keep the times that they had elsewhere."""
    return any(
        str(project.row.get("import_status") or "none") not in ("none", "finished", "failed", "canceled")
        for projects in inventory.projects_by.values()
        for project in projects
    )


def shows_all(inventory: Inventory, scope: Scope, token: str) -> bool:
    """Say whether the inventory shows every project whose rows are in that list: patterns may hide some of a group."""
    patterns = inventory.patterns.get(token)
    whole = patterns is not None and patterns.allow_all_below(scope.path)
    return not inventory.restricted and (whole or not scope.is_group)
