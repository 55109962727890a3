"""Kind `folder`: folders of repositories, those that a pattern means or the children of one, with their project."""

from collections.abc import Iterator

from gitlab_port_export.gitlab.additions import Known, included
from gitlab_port_export.gitlab.inventory import Place
from gitlab_port_export.gitlab.kinds.kind import About, Context, Kind, Read
from gitlab_port_export.gitlab.kinds.repository import FolderSelector, Tree, Variant, tree_reads
from gitlab_port_export.gitlab.trees import fewest, has_ref, walked
from gitlab_port_export.model import Page, Problem, Resource, Row, Scope
from gitlab_port_export.parallel import Job

BATCH = 100


def reads(_: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per branch of each project, for all resources."""
    yield from tree_reads("folder", context, _folders)


def _folders(place: Place, tree: Tree, scope: Scope) -> Job:
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
    proved: set[str] = set()
    for walk in fewest(tree.wants):
        asking = [wish for wish in wishes if walk.holds(wish.want.walk)]
        if not asking:
            continue
        for entry in (yield from walked(scope, tree.ref, walk, tree.wants, proved)):
            for wish in asking:
                if wish.want.takes(entry):
                    found = rows.setdefault(wish.variant, {}).setdefault(str(entry["path"]), (entry, set()))
                    found[1].add(wish.resource)
    known: Known = {}
    for variant, entries in rows.items():
        more = yield from included(scope, tree.ref, variant.included_files, known)
        yield from _pages(place, tree, scope, entries, {"__includedFiles": more} if variant.included_files else {})


def _pages(place: Place, tree: Tree, scope: Scope, entries: dict[str, tuple[Row, set[int]]], more: Row) -> Job:
    by_resources: dict[tuple[int, ...], list[Row]] = {}
    for entry, resources in entries.values():
        row = {"folder": entry, "repo": place.row, "__branch": tree.ref, **more}
        by_resources.setdefault(tuple(sorted(resources)), []).append(row)
    for indexes, rows in by_resources.items():
        for start in range(0, len(rows), BATCH):
            yield Page("folder", indexes, scope, rows[start : start + BATCH])


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
        hides="folders of private projects",
    ),
)
