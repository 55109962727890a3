"""The files that a mapping's `specPath` names: each holds entities for Port."""

import posixpath
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gitlab_port_export.base.parallel import Job, drive
from gitlab_port_export.gitlab.additions import file_text, unreadable
from gitlab_port_export.gitlab.client import Get, GitLab, ReadFailed
from gitlab_port_export.gitlab.content import Unreadable, documents, references, resolved, text_of
from gitlab_port_export.gitlab.globs import file_globs
from gitlab_port_export.gitlab.inventory import Inventory, Listed
from gitlab_port_export.gitlab.kinds.kind import Read, scope_read
from gitlab_port_export.gitlab.kinds.shared.guard import guarded
from gitlab_port_export.gitlab.trees import (
    Want,
    branch_of,
    fewest,
    has_ref,
    is_plain_file,
    nothing_there,
    read_file,
    walked,
    wanted_files,
)
from gitlab_port_export.model import Dialect, Problem, Row, Scope

KIND = "specPath"


@dataclass(frozen=True)
class Spec:
    """One document of such a file: where it stands, counted from 1, and what is in it."""

    scope: Scope
    path: str
    number: int
    document: Any


def read_specs(
    gitlab: GitLab, inventory: Inventory, patterns: tuple[str, ...], branch: str, dialect: Dialect, workers: int
) -> Iterator[Spec | Problem]:
    """Yield every document of the files that the patterns mean in all projects; an empty branch is each default one.

    What cannot be read is a Problem that holds all deletions: the entities in it may be ours from another run.
    """
    wants = tuple(wanted_files(glob) for text in patterns for glob in file_globs(text, dialect))
    jobs = (guarded(_read(place, wants, branch)) for place in inventory.projects() if not nothing_there(place.row))
    for found in drive(jobs, gitlab.get, Get, workers=workers):
        if isinstance(found, Problem) and not found.warning:
            yield replace(found, holds_all=True)
        else:
            yield found


def _read(place: Listed, wants: tuple[Want, ...], branch: str) -> Read:
    def start(scope: Scope) -> Job:
        ref = branch or branch_of(place.row)
        # A project without that branch has no such files.
        if ref != place.row.get("default_branch") and not (yield from has_ref(scope, ref)):
            return
        for path in (yield from _paths(scope, ref, wants)):
            file: Row | None = yield from read_file(scope, path, ref)
            if file is not None:
                yield from _documents(scope, ref, path, file)

    return scope_read(KIND, place, (), start)


def _paths(scope: Scope, ref: str, wants: tuple[Want, ...]) -> Generator[Any, Any, list[str]]:
    walks = fewest(wants)
    found: dict[str, None] = {}
    proved: set[str] = set()
    for walk in walks:
        found |= {str(row["path"]): None for row in (yield from walked(scope, ref, walk, wants, proved))}
    for want in wants:
        if want.glob is not None and is_plain_file(want) and not any(walk.holds(want.walk) for walk in walks):
            found[want.glob.text] = None
    return list(found)


def _documents(scope: Scope, ref: str, path: str, file: Row) -> Job:
    try:
        whole = documents(text_of(file), path)
    except Unreadable as reason:
        yield _unfit(scope, path, f"{reason}, so nothing is taken from it")
        return
    for number, document in enumerate(whole, 1):
        texts: dict[str, str | None] = {}
        for name in references(document):
            texts[name] = yield from _text(scope, ref, path, name)
        try:
            yield Spec(scope, path, number, resolved(document, texts))
        except Unreadable as reason:
            yield _unfit(scope, f"{path}, document {number}:", f"{reason}, so nothing is taken from it")


def _unfit(scope: Scope, path: str, why: str) -> Problem:
    return replace(unreadable(scope, path, why, KIND), warning=False)


def _text(scope: Scope, ref: str, path: str, name: str) -> Job:
    """Return the text of a file that is named from the root or, with a dot at its start, from where the name stands."""
    where = posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) if name.startswith(".") else name
    text = yield from file_text(scope, where, ref, {})
    if text is None:
        raise ReadFailed("missing", f"{path}: there is no text in {where}", "correct the file")
    return text
