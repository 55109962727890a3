"""Kind `file`: files that a pattern means, with their content (JSON and YAML parsed) and their project."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gitlab_port_export.base.parallel import All, Job
from gitlab_port_export.gitlab.additions import AT_ONCE, Known, attempt, file_text, included, side_by_side, unreadable
from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.gitlab.content import (
    PARSED_ENDINGS,
    Unreadable,
    extent,
    is_parsed,
    is_pointer,
    parsed,
    references,
    resolved,
    text_of,
)
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since
from gitlab_port_export.gitlab.kinds.shared.dependent import CONTENT, INCLUDED, dependent_on
from gitlab_port_export.gitlab.kinds.shared.repository import (
    FileSelector,
    Tree,
    Variant,
    branch_again,
    entries,
    tree_reads,
)
from gitlab_port_export.gitlab.trees import fewest, is_plain_file, read_file
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Dialect, Page, Problem, Row, Scope

# By path: the variants of its row, each with the resources that want it.
Found = dict[str, dict[Variant, set[int]]]


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project, for all resources."""
    on_content, on_included = dependent_on(resources, CONTENT), dependent_on(resources, INCLUDED)

    def start(place: Listed, tree: Tree, scope: Scope) -> Job:
        found = yield from _found(tree, scope)
        known: Known = {}
        more = yield from _included(tree, scope, found, known, tuple(sorted(on_included)))
        yield from _contents(_Reading(place, tree, scope, context.dialect, known, on_content), found, more)

    yield from tree_reads("file", context, start)


def _found(tree: Tree, scope: Scope) -> Generator[Any, Any, Found]:
    """Return the wanted paths; a plain one may not be there, unless a walk has told."""
    found: Found = {}
    wishes = tree.of("file")
    walks = fewest(tree.wants)
    for row, wish in (yield from entries(tree, wishes, scope)):
        found.setdefault(str(row["path"]), {}).setdefault(wish.variant, set()).add(wish.resource)
    for wish in wishes:
        if is_plain_file(wish.want) and not any(walk.holds(wish.want.walk) for walk in walks):
            assert wish.want.glob is not None  # noqa: S101  # a plain file has one; this is for mypy
            found.setdefault(wish.want.glob.text, {}).setdefault(wish.variant, set()).add(wish.resource)
    return found


@dataclass(frozen=True)
class _Reading:
    """What reading the files of one project needs; the entities of the `dependent` resources depend on the content."""

    place: Listed
    tree: Tree
    scope: Scope
    dialect: Dialect
    known: Known
    dependent: frozenset[int]

    def lost(self, path: str, why: str, effect: str, resources: Iterable[int]) -> Iterator[Problem]:
        """Yield what tells that a file's content is not had: a Problem of resources that hang on it, else a warning."""
        wanted = set(resources)
        for some, holds in ((wanted & self.dependent, True), (wanted - self.dependent, False)):
            if some and (effect or holds):
                whole = f"{why} and {effect}" if effect else why
                yield unreadable(self.scope, path, whole, "file", tuple(sorted(some)), holds=holds)


def _included(
    tree: Tree, scope: Scope, found: Found, known: Known, dependent: tuple[int, ...]
) -> Generator[Any, Any, dict[tuple[str, ...], Row]]:
    """Return `__includedFiles` for each list of paths that a selector has, when there is a row to add it to."""
    if not found:
        return {}
    lists = dict.fromkeys(variant.included_files for variants in found.values() for variant in variants)
    more: dict[tuple[str, ...], Row] = {}
    for paths in lists:
        more[paths] = yield from included(scope, tree.ref, paths, known, "file", dependent)
    return more


def _contents(reading: _Reading, found: Found, more: dict[tuple[str, ...], Row]) -> Job:
    """Read the files, a few side by side, and yield their rows; a file that fails costs no other one its row."""
    failures: list[ReadFailed] = []
    for batch in _batches(found):
        jobs = tuple(attempt(_rows(reading, path, found[path])) for path in batch)
        pages: dict[tuple[int, ...], list[Row]] = {}
        for result in (yield All(jobs)):
            if isinstance(result, ReadFailed):
                failures.append(result)
                continue
            for variant, resources, row in result:
                added = {"__includedFiles": more[variant.included_files]} if variant.included_files else {}
                pages.setdefault(resources, []).append({**row, **added})
        for indexes, rows in pages.items():
            yield Page("file", indexes, reading.scope, rows, weight=sum(extent(row["file"]["content"]) for row in rows))
    if failures:
        raise failures[0]


def _batches(paths: Iterable[str]) -> Iterator[list[str]]:
    """Yield a few paths at a time; first what may refer to other files, which are then known."""
    ordered = sorted(paths)
    for may_refer in (True, False):
        group = [path for path in ordered if path.endswith(PARSED_ENDINGS) is may_refer]
        for start in range(0, len(group), AT_ONCE):
            yield group[start : start + AT_ONCE]


def _rows(reading: _Reading, path: str, variants: dict[Variant, set[int]]) -> Job:
    """Return (variant, resources, row) for each variant of one file; nothing where there is no such file."""
    scope, ref, known, dialect = reading.scope, reading.tree.ref, reading.known, reading.dialect
    file = known[path] if path in known else (yield from read_file(scope, path, ref))
    rows: list[tuple[Variant, tuple[int, ...], Row]] = []
    if file is None:
        return rows
    everybody = {index for resources in variants.values() for index in resources}
    try:
        text = text_of(file)
    except Unreadable as reason:
        if dialect == "gitlab":
            # Without a row nobody can tell what is gone.
            everywhere = tuple(sorted(everybody))
            yield unreadable(scope, path, f"{reason} and is left out", "file", everywhere, holds=True)
            return rows
        yield from reading.lost(path, str(reason), "comes without its content", everybody)
        text = None
    if text is not None and is_pointer(text):
        yield from reading.lost(path, "is kept in Git LFS, and GitLab gives what points at it", "", everybody)
    for variant, resources in variants.items():
        content: Any = text
        if text is not None and not variant.skip_parsing:
            content = parsed(text, path, dialect)
            if not is_parsed(text, content, path):
                yield from reading.lost(path, "is neither valid JSON nor plain YAML", "", resources)
            if dialect == "gitlab-v2" and content is not text:
                try:
                    content = yield from _with_references(reading, content)
                except Unreadable as reason:
                    yield from reading.lost(path, str(reason), "comes without its content", resources)
                    content = None
        shown = {**file, "content": content}
        if dialect == "gitlab-v2":
            shown |= {"project_id": str(scope.id), "path": path}
        rows.append((variant, tuple(sorted(resources)), {"file": shown, "repo": reading.place.row}))
    return rows


def _with_references(reading: _Reading, content: Any) -> Job:
    paths = list(dict.fromkeys(references(content)))
    if not paths:
        return content
    texts = yield from side_by_side([file_text(reading.scope, path, reading.tree.ref, reading.known) for path in paths])
    return resolved(content, dict(zip(paths, texts, strict=True)))


KIND = Kind(
    "file",
    FileSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_groups,
    about=About(
        "Files of repositories: `file` with its `content` (JSON and YAML parsed), `repo` the project.",
        ("GET /projects/:id/repository/tree", "GET /projects/:id/repository/files/:file_path", "GET /projects/:id"),
        {"__includedFiles": "by path the texts of `includedFiles`, null where there is no such file"},
        role=20,
        refuses="files of private projects",
        requests=Requests(project=1, each="file"),
    ),
    again=Again(("files",), branch_again("file", reads)),
    since=Since(
        "of active projects",
        (
            ("repo.path_with_namespace", "file.path"),
            ("repo.path_with_namespace", "file.file_path"),
            ("repo.id", "file.path"),
        ),
    ),
)
