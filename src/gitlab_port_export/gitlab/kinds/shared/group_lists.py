"""What `issue` and `merge-request` share: GitLab lists them by group, so they are read at the topmost groups."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.changes import Changes
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.cover import Covered, cover, covers, holds
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
from gitlab_port_export.gitlab.windows import Span, read_part, read_windows, spans
from gitlab_port_export.model import Page, Row, Scope, Unwanted


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
    In an incremental run these are the lists that are read as a whole, and `changed_reads` has the others.
    """
    yield from each_once(_wanted(_Lists(kind, endpoint, mark, context.window), wants, context))


def _wanted(lists: _Lists, wants: Mapping[GroupQuery, tuple[int, ...]], context: Context) -> Iterator[Wanted]:
    for query, indexes in wants.items():
        for covered in _whole(context, query.active):
            place, params = covered.place, query.params
            if place.scope.is_group:
                params += (("non_archived", str(query.non_archived).lower()),)
            elif (query.non_archived and place.row.get("archived")) or context.skips(place.row, lists.no_feature):
                continue
            # The same rows of the same place are the same read.
            key = (place.scope.is_group, place.scope.id, place.tokens, covered.allows, covered.only, params)
            cuts = context.cuts.get((lists.kind, place.scope.id), ()) if place.scope.is_group else ()
            for part, span in enumerate(spans(cuts)):
                number = part if cuts else None
                yield (*key, number), partial(_read, lists, covered, params, number, span), indexes


def _whole(context: Context, active: Active) -> Iterator[Covered]:
    """Yield the places of which everything is read: all of them, or those that an incremental run takes as a whole.

    Of a group that is not taken as a whole these are projects below it.
    """
    places, changes = cover(context.inventory, active), context.changes
    if changes is None:
        yield from places
        return
    yield from (one for one in places if _is_whole(one, changes))
    others = [one for one in places if one.place.scope.is_group and not _is_whole(one, changes)]
    for project in context.inventory.projects():
        if project.scope.id in changes.whole and any(holds(one, project.scope.path) for one in others):
            yield Covered(project)


def _is_whole(covered: Covered, changes: Changes) -> bool:
    """Say whether a place is taken as a whole.

    What a guest sees of a project only the group's list shows, so there the group is taken.
    """
    if not covered.place.scope.is_group:
        return covered.place.scope.id in changes.whole
    of_guest = covered.only is not None and not changes.whole.isdisjoint(covered.only)
    return of_guest or covered.place.scope.id in changes.whole_groups


def _read(
    lists: _Lists, covered: Covered, params: Params, part: int | None, span: Span, resources: tuple[int, ...]
) -> Read:
    """Return the read of a list, or of the part of it that was created in a span."""

    def start(scope: Scope) -> Job:
        def handle(rows: list[Row]) -> Page | None:
            kept = [row for row in rows if covered.takes(row, lists.mark)]
            return Page(lists.kind, resources, scope, kept) if kept else None

        if part is None:
            yield from read_windows(scope.token, path, params, handle, lists.window)
        else:
            yield from read_part(scope.token, path, params, span, handle, lists.window)

    is_group, path = covered.place.scope.is_group, f"{api_path(covered.place.scope)}/{lists.endpoint}"
    unless = None if is_group else lists.no_feature
    cuttable = (path, params) if is_group else None
    return scope_read(lists.kind, covered.place, resources, start, unless=unless, cuttable=cuttable, part=part)


# Says whether a row is wanted of those that a query gives.
Keeps = Callable[[Row], bool]
# Nothing moves a row in this order, so none is skipped while the list is read.
LASTING: Params = (("order_by", "created_at"), ("sort", "asc"))


def changed_reads(
    kind: str,
    endpoint: str,
    mark: str,
    wants: Mapping[tuple[GroupQuery, Keeps], tuple[int, ...]],
    context: Context,
    changes: Changes,
) -> Iterator[Read]:
    """Yield the reads of the rows that changed, of which a selector keeps what it would list.

    The queries name no state: a row that changes it would leave the list and move others out of sight.
    """

    lists = _Lists(kind, endpoint, mark, context.window)
    for (query, keeps), indexes in wants.items():
        for covered in cover(context.inventory, query.active):
            place, params = covered.place, changes.later(kind, (*query.params, *LASTING))
            # The check of a group does not look at archived projects.
            skipped = place.scope in changes.quiet.get(kind, ()) and (query.non_archived or not place.scope.is_group)
            if place.scope.is_group:
                params += (("non_archived", str(query.non_archived).lower()),)
            else:
                skipped |= (query.non_archived and bool(place.row.get("archived"))) or lists.no_feature(place.row)
            if not skipped and not _is_whole(covered, changes):
                start = partial(_changed, lists, covered, params, keeps, indexes)
                unless = None if place.scope.is_group else lists.no_feature
                yield scope_read(kind, place, indexes, start, unless=unless)


def _changed(
    lists: _Lists, covered: Covered, params: Params, keeps: Keeps, resources: tuple[int, ...], scope: Scope
) -> Job:
    """Read rows that changed, and tell how many of them the selector does not want."""
    unwanted = 0

    def handle(rows: list[Row]) -> Page | None:
        nonlocal unwanted
        found = [row for row in rows if covered.takes(row, lists.mark)]
        kept = [row for row in found if keeps(row)]
        unwanted += len(found) - len(kept)
        return Page(lists.kind, resources, scope, kept) if kept else None

    yield from read_windows(scope.token, f"{api_path(scope)}/{lists.endpoint}", params, handle, lists.window)
    if unwanted:
        yield Unwanted(lists.kind, unwanted)


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
