"""Ocean's older properties, `file://path` and `search://scope=…&&query=…`: read for each row of a page."""

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from gitlab_port_export.base.parallel import All, Job, through
from gitlab_port_export.gitlab.additions import AT_ONCE, attempt, file_text, finds
from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.gitlab.kinds.kind import Context, Read
from gitlab_port_export.gitlab.trees import readable_ref
from gitlab_port_export.jq.program import LEGACY, is_legacy
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Dialect, Page, Problem, Row, Scope

FILE, SEARCH = "file://", "search://"


def legacy_texts(resource: Resource) -> tuple[str, ...]:
    """Return the older properties that a resource's fields are made of, each once."""
    values = (value for entity in resource.mappings for _, value in entity.fields())
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str) and is_legacy(value)))


def with_legacy(reads: Iterable[Read], context: Context) -> Iterator[Read]:
    """Yield the reads with what the older properties of their resources need added to each row."""
    found = {resource.index: texts for resource in context.resources if (texts := legacy_texts(resource))}
    for read in reads:
        wanted = {index: found[index] for index in read.resources if index in found}
        yield replace(read, start=_adding(wanted, read, context.dialect)) if wanted else read


def _adding(texts: dict[int, tuple[str, ...]], read: Read, dialect: Dialect) -> Callable[[Scope], Job]:
    def start(scope: Scope) -> Job:
        adder = _Adder(texts, dialect, read.kind)
        return (yield from through(read.start(scope), adder.hand_on))

    return start


@dataclass(frozen=True)
class _Target:
    """Where a row's properties are read: a project, a ref, and the folder that the row is about ("" for none)."""

    project: Row
    ref: str
    folder: str


@dataclass
class _Adder:
    """Adds the values of older properties to pages; each file and each search of a read is asked for once."""

    texts: dict[int, tuple[str, ...]]
    dialect: Dialect
    kind: str
    known: dict[Hashable, Any] = field(default_factory=dict)

    def hand_on(self, said: Any) -> Job:
        """Ask and yield what a read says, pages with the values added."""
        if not isinstance(said, Page):
            return (yield said)
        yield from self._add(said)
        return None

    def _add(self, page: Page) -> Job:
        """Yield the page with `LEGACY` in each row: text → value. What could not be read is not there, and told."""
        wanted = tuple(dict.fromkeys(text for index in page.resources for text in self.texts.get(index, ())))
        if not wanted:
            yield page
            return
        targets = [_target(row, self.dialect) for row in page.rows]
        asked = {
            (target.project["id"], target.ref, target.folder, text): (target, text)
            for target in targets
            if target is not None
            for text in wanted
        }
        missing = [key for key in asked if key not in self.known]
        for start in range(0, len(missing), AT_ONCE):
            keys = missing[start : start + AT_ONCE]
            found = yield All(tuple(attempt(self._value(page.scope, *asked[key])) for key in keys))
            for key, value in zip(keys, found, strict=True):
                self.known[key] = value
                if isinstance(value, ReadFailed):
                    yield self._problem(page, asked[key][1], value)
        rows = [
            {**row, LEGACY: dict(self._values(target, wanted))} for row, target in zip(page.rows, targets, strict=True)
        ]
        yield replace(page, rows=rows)

    def _values(self, target: _Target | None, wanted: tuple[str, ...]) -> Generator[tuple[str, Any], None, None]:
        for text in wanted:
            if target is None:
                yield text, None
                continue
            value = self.known[target.project["id"], target.ref, target.folder, text]
            if not isinstance(value, ReadFailed):
                yield text, value

    def _value(self, scope: Scope, target: _Target, text: str) -> Job:
        place = Scope(int(target.project["id"]), str(target.project["path_with_namespace"]), token=scope.token)
        if text.startswith(FILE):
            path = text.removeprefix(FILE)
            if self.dialect == "gitlab" and target.folder:
                path = f"{target.folder}/{path}"
            ref = yield from readable_ref(place, target.project, target.ref)
            return None if ref is None else (yield from file_text(place, path, ref, {}))
        parts = _search(text, target.folder, self.dialect)
        if parts is None:
            return None
        return (yield from finds(place, target.project, *parts))

    def _problem(self, page: Page, text: str, failure: ReadFailed) -> Problem:
        return Problem(
            "read",
            f"{text} was not read, so the field is left as it is in Port: {failure.why}",
            failure.hint,
            token=page.scope.token,
            scope=page.scope.path,
            kind=self.kind,
            resources=tuple(index for index in page.resources if text in self.texts.get(index, ())),
        )


def _target(row: Row, dialect: Dialect) -> _Target | None:
    """Return where a row's properties are read, None for rows that are no project and have none in `repo`."""
    repo = row.get("repo")
    project = repo if isinstance(repo, dict) else row
    ref = row.get("__branch") or project.get("default_branch")
    if "path_with_namespace" not in project or "id" not in project:
        return None
    folder = row.get("folder")
    path = folder.get("path") if isinstance(folder, dict) and dialect == "gitlab" else ""
    return _Target(project, str(ref or ""), str(path or ""))


def _search(text: str, folder: str, dialect: Dialect) -> tuple[str, str] | None:
    """Return scope and query of a `search://`, None for one that is malformed."""
    first, joined, second = text.removeprefix(SEARCH).partition("&&")
    if not joined:
        return None
    if dialect == "gitlab":
        scope, query = first.partition("=")[2], second.partition("=")[2]
        if scope == "blobs" and folder and "path:" not in query:
            query = f"{query} path:{folder}"
    else:
        pairs = {name.strip(): value.strip() for name, _, value in (p.partition("=") for p in (first, second))}
        scope, query = pairs.get("scope", ""), pairs.get("query", "")
    return (scope, query) if scope and query else None
