"""Kind `folder`: folders of repositories, those that a pattern means or the children of one, with their project."""

from collections.abc import Iterator
from functools import partial

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.additions import Known, included
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since, pages
from gitlab_port_export.gitlab.kinds.shared.dependent import INCLUDED, dependent_on
from gitlab_port_export.gitlab.kinds.shared.repository import (
    FolderSelector,
    Tree,
    Variant,
    branch_again,
    entries,
    tree_reads,
)
from gitlab_port_export.gitlab.trees import has_ref
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Problem, Row, Scope


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per branch of each project, for all resources."""
    yield from tree_reads("folder", context, partial(_folders, tuple(sorted(dependent_on(resources, INCLUDED)))))


def _folders(on_included: tuple[int, ...], place: Listed, tree: Tree, scope: Scope) -> Job:
    wishes = tree.of("folder")
    if tree.ref != place.row.get("default_branch") and not (yield from has_ref(scope, tree.ref)):
        yield Problem(
            "read",
            f"there is no branch {tree.ref}, so no folders are read",
            "correct the branch in the selector; without one gitlab-v2 takes main",
            scope=scope.path,
            kind="folder",
            resources=tuple(sorted({wish.resource for wish in wishes})),
            warning=True,
        )
        return
    rows: dict[Variant, dict[str, tuple[Row, set[int]]]] = {}
    for row, wish in (yield from entries(tree, wishes, scope)):
        _, resources = rows.setdefault(wish.variant, {}).setdefault(str(row["path"]), (row, set()))
        resources.add(wish.resource)
    known: Known = {}
    for variant, folders in rows.items():
        more = yield from included(scope, tree.ref, variant.included_files, known, "folder", on_included)
        yield from _pages(place, tree, scope, folders, {"__includedFiles": more} if variant.included_files else {})


def _pages(place: Listed, tree: Tree, scope: Scope, folders: dict[str, tuple[Row, set[int]]], more: Row) -> Job:
    by_resources: dict[tuple[int, ...], list[Row]] = {}
    repo = place.row
    for folder, resources in folders.values():
        row = {"folder": folder, "repo": repo, "__branch": tree.ref, **more}
        by_resources.setdefault(tuple(sorted(resources)), []).append(row)
    for indexes, rows in by_resources.items():
        yield from pages("folder", indexes, scope, rows)


KIND = Kind(
    "folder",
    FolderSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Folders of repositories: `folder`, `repo` the project, `__branch` the branch they were read from.",
        ("GET /projects/:id/repository/tree", "GET /projects/:id"),
        {"__includedFiles": "by path the texts of `includedFiles`, null where there is no such file"},
        role=20,
        refuses="folders of private projects",
        requests=Requests(project=1),
    ),
    again=Again(("files",), branch_again("folder", reads)),
    since=Since("of active projects", (("repo.path_with_namespace", "folder.path"), ("repo.id", "folder.path"))),
)
