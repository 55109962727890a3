"""What kinds share whose objects several lists name, as a runner or a user is: each object becomes one row."""

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, NamedTuple

from gitlab_port_export.base.parallel import All, Job
from gitlab_port_export.gitlab.client import Params, ReadFailed
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import ALL_OF_GITLAB, Read, pages, scope_read
from gitlab_port_export.gitlab.kinds.shared.guard import guarded
from gitlab_port_export.gitlab.lists import list_key, whole_list
from gitlab_port_export.model import Row, Scope


class ObjectList(NamedTuple):
    """One list of a group or project; `counted` is false for lists that GitLab filters after paging."""

    path: str
    params: Params = ()
    counted: bool = True


# The lists of a group or project that name objects.
ListsOf = Callable[[Listed], Iterable[ObjectList]]
# Where a value was seen; the lowest wins: not empty before empty, groups before projects, then the lower id.
Where = tuple[bool, bool, int]
# By the id of the object, then by field: where it was seen, and the value.
Seen = dict[int, dict[str, tuple[Where, Any]]]


def object_read(
    kind: str,
    places: Iterable[Listed],
    resources: tuple[int, ...],
    lists_of: ListsOf,
    *,
    fields: tuple[str, ...] = (),
    shape: Callable[[list[Row]], list[Row]] = list,
) -> Read:
    """Return the one read of all lists of all places, with one row for each object; `shape` is applied to the rows."""
    wanted = tuple(places)

    def start(_: Scope) -> Job:
        rows = shape((yield from objects_of(kind, wanted, resources, lists_of, fields)))
        yield from pages(kind, resources, ALL_OF_GITLAB, rows)

    keys = tuple(list_key(place.scope.token, one.path, one.params) for place in wanted for one in lists_of(place))
    return Read(kind, ALL_OF_GITLAB, ("",), resources, start, requests=len(keys), shares=keys)


def objects_of(
    kind: str,
    places: Iterable[Listed],
    resources: tuple[int, ...],
    lists_of: ListsOf,
    fields: tuple[str, ...] = (),
) -> Generator[Any, Any, list[Row]]:
    """Read all lists side by side and return the objects by id; a list that cannot be read is a Problem of its own.

    `fields` are those of a row that belong to the object and not to its membership of a list; by default all.
    """
    seen: Seen = {}

    def gather(place: Listed, scope: Scope) -> Job:
        for one in lists_of(place):
            rows = yield from whole_list(scope.token, one.path, one.params, counted=one.counted)
            note(seen, scope, rows, fields)

    yield All(tuple(guarded(scope_read(kind, place, resources, partial(gather, place))) for place in places))
    return [{name: value for name, (_, value) in seen[id].items()} for id in sorted(seen)]


def note(seen: Seen, scope: Scope, rows: list[Row], fields: tuple[str, ...] = ()) -> None:
    """Add what the rows of a scope's list tell of objects: the same value wins whatever came first. Raises ReadFailed.

    GitLab tells less of an object where the token's role is lower, so each field is taken from the first list with a
    value.
    """
    for row in rows:
        if not isinstance(row.get("id"), int):
            raise ReadFailed("shape", "answered 200 with rows that have no id", status=200)
        known = seen.setdefault(row["id"], {})
        for name in fields or row:
            value = row.get(name)
            where = (value in (None, ""), not scope.is_group, scope.id)
            if name not in known or where < known[name][0]:
                known[name] = (where, value)
