"""What kinds share that read again what an event names: one scope, one row, or a row out of a list."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from gitlab_port_export.base.parallel import Job, through
from gitlab_port_export.gitlab.client import Get, Params, ReadFailed, rows_of
from gitlab_port_export.gitlab.kinds.kind import Context, Read, Vanished, api_path
from gitlab_port_export.gitlab.lists import next_page, whole_list
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Page, Row, Scope

Reads = Callable[[tuple[Resource, ...], Context], Iterator[Read]]
ReadsAgain = Callable[[tuple[Resource, ...], Context, Touched], Iterator[Read]]


def at(context: Context, touched: Touched) -> Context:
    """Return the context with no other group or project than the one that an event names."""
    inventory = context.inventory.only(
        lambda place: place.scope.id == (touched.group if place.scope.is_group else touched.project)
    )
    return replace(context, inventory=inventory)


def of_scope(reads: Reads) -> ReadsAgain:
    """Return what reads the rows of the group or project that an event names, as `reads` does those of all."""
    return lambda resources, context, touched: reads(resources, at(context, touched))


def picked(reads: Reads, fits: Callable[[Row, Touched], bool]) -> ReadsAgain:
    """Return what reads the lists of the group or project that an event names, and keeps the rows that fit."""

    def again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
        for read in reads(resources, at(context, touched)):
            yield replace(read, start=_picked(read, lambda row: fits(row, touched)))

    return again


def of_members(reads: Reads) -> ReadsAgain:
    """Return what reads the rows of a place, those of one person where one is named, as `reads` does those of all."""
    whole, one_person = of_scope(reads), picked(reads, lambda row, touched: row.get("id") == touched.key)

    def again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
        named = touched.what == "members" and touched.key is not None
        return (one_person if named else whole)(resources, context, touched)

    return again


def _picked(read: Read, keeps: Callable[[Row], bool]) -> Callable[[Scope], Job]:
    return lambda scope: picking(read.start(scope), keeps)


def picking(job: Job, keeps: Callable[[Row], bool]) -> Job:
    """Return what a job does, with the rows alone that `keeps` wants."""

    def hand_on(said: Any) -> Job:
        if not isinstance(said, Page):
            return (yield said)
        if rows := [row for row in said.rows if keeps(row)]:
            yield replace(said, rows=rows)
        return None

    return through(job, hand_on)


def one_row(scope: Scope, path: str, params: Params = ()) -> Generator[Any, Any, Row | None]:
    """Return one object, or None where GitLab has none there. Raises ReadFailed."""
    try:
        answer = yield Get(scope.token, path, params, gives="object")
    except ReadFailed as failure:
        if failure.reason == "missing":
            return None
        raise
    row: Row = answer.data
    return row


def listed_row(
    scope: Scope, path: str, params: Params, number: int, *, by_id: bool = True
) -> Generator[Any, Any, Row | None]:
    """Return the row with an id out of a list that has the newest first, or None where it is not in there.

    A list in order of id ends for us where lower ids begin. Raises ReadFailed.
    """
    page: int | None = 1
    while page:
        answer = yield Get(scope.token, path, (*params, ("per_page", "100"), ("page", str(page))))
        rows = rows_of(answer)
        for row in rows:
            if row.get("id") == number:
                return row
        if by_id and any(row["id"] < number for row in rows):
            return None
        page = next_page(answer, page, rows)
    return None


def is_gone(scope: Scope, vanished: Vanished, touched: Touched) -> Generator[Any, Any, bool]:
    """Say whether GitLab proves that an object is gone. Raises ReadFailed."""
    base, key = api_path(scope), quote(str(touched.key), safe="")
    if (yield from one_row(scope, f"{base}/{vanished.own.format(key)}")) is not None:
        return False
    rows = yield from whole_list(scope.token, f"{base}/{vanished.listing}", vanished.params(touched), counted=False)
    # A row that does not tell its key may be the object.
    return all(row.get(vanished.name) not in (None, touched.key) for row in rows)


def of_project(name: str) -> Callable[[Touched, Scope], Row]:
    """Return what makes the row of an object that is gone: its key under that name, and the path of its project."""
    return lambda touched, scope: {name: touched.key, "__project": {"path_with_namespace": scope.path}}


def named_like(touched: Touched) -> Params:
    """Return the query of the refs whose names begin as that of an object."""
    return (("search", f"^{touched.key}"),)


def below_the_group(left: str) -> Callable[[Touched], str]:
    """Return what says that this is left to a full run when the members of a group change."""
    return lambda touched: left if touched.what == "members" and touched.group is not None else ""
