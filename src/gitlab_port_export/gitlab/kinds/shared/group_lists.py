"""What `issue` and `merge-request` share: GitLab lists them by group, so they are read at the topmost groups."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.cover import Covered, cover, covers
from gitlab_port_export.gitlab.inventory import Active
from gitlab_port_export.gitlab.kinds.kind import (
    Context,
    Read,
    Wanted,
    api_path,
    each_once,
    feature_off,
    scope_read,
)
from gitlab_port_export.gitlab.kinds.shared.again import at
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.gitlab.windows import read_windows
from gitlab_port_export.model import Page, Row, Scope


class GroupQuery(NamedTuple):
    """What a selector asks for: of which groups, whether of archived projects too, and the query."""

    active: Active
    non_archived: bool
    params: Params


class _Lists(NamedTuple):
    """The lists of a kind: their endpoint, which is also the name of the project's feature, and how they are read.

    `mark` stands before the number in a reference to a row; `window` is how many rows a window of a long list has.
    """

    kind: str
    endpoint: str
    mark: str
    window: int

    def no_feature(self, project: Row) -> bool:
        return feature_off(project, self.endpoint)


def group_reads(
    kind: str, endpoint: str, mark: str, wants: Mapping[GroupQuery, tuple[int, ...]], context: Context
) -> Iterator[Read]:
    """Yield one read per topmost group (or lone project) and query; resources that want the same share it.

    The endpoint is also the name of the project's feature; `mark` stands before the number in a reference to a row.
    """
    yield from each_once(_wanted(_Lists(kind, endpoint, mark, context.window), wants, context))


def _wanted(lists: _Lists, wants: Mapping[GroupQuery, tuple[int, ...]], context: Context) -> Iterator[Wanted]:
    for query, indexes in wants.items():
        for covered in cover(context.inventory, query.active):
            place, params = covered.place, query.params
            if place.scope.is_group:
                params += (("non_archived", str(query.non_archived).lower()),)
            elif (query.non_archived and place.row.get("archived")) or context.skips(place.row, lists.no_feature):
                continue
            # The same rows of the same place are the same read.
            key = (place.scope.is_group, place.scope.id, place.tokens, covered.allows, covered.only, params)
            yield key, partial(_read, lists, covered, params), indexes


def _read(lists: _Lists, covered: Covered, params: Params, resources: tuple[int, ...]) -> Read:
    def start(scope: Scope) -> Job:
        def handle(rows: list[Row]) -> Page | None:
            kept = [row for row in rows if covered.takes(row, lists.mark)]
            return Page(lists.kind, resources, scope, kept) if kept else None

        yield from read_windows(scope.token, f"{api_path(scope)}/{lists.endpoint}", params, handle, lists.window)

    unless = None if covered.place.scope.is_group else lists.no_feature
    return scope_read(lists.kind, covered.place, resources, start, unless=unless)


# Says whether a row is wanted of those that a query gives.
Keeps = Callable[[Row], bool]


def reads_again(
    kind: str,
    endpoint: str,
    wants: Mapping[tuple[GroupQuery, Keeps], tuple[int, ...]],
    context: Context,
    touched: Touched,
) -> Iterator[Read]:
    """Yield the reads of one row by its number in its project, of which a selector keeps what it would list."""
    inventory = at(context, touched).inventory

    def no_feature(project: Row) -> bool:
        return feature_off(project, endpoint)

    for (query, keeps), indexes in wants.items():
        for place in dict.fromkeys((*inventory.projects(), *inventory.unlisted)):
            if covers(inventory, query.active, place) and not (query.non_archived and place.row.get("archived")):
                params = (("iids[]", str(touched.key)), *query.params)
                start = partial(_kept, kind, endpoint, params, keeps, indexes)
                yield scope_read(kind, place, indexes, start, unless=no_feature)


def _kept(kind: str, endpoint: str, params: Params, keeps: Keeps, resources: tuple[int, ...], scope: Scope) -> Job:
    def handle(rows: list[Row]) -> Page | None:
        kept = [row for row in rows if keeps(row)]
        return Page(kind, resources, scope, kept) if kept else None

    yield from read_list(scope.token, f"{api_path(scope)}/{endpoint}", params, handle)
