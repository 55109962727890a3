"""Defines a kind: its selector, the reads that its resources need, and what its users must know."""

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.changes import Changes
from gitlab_port_export.gitlab.client import REFUSALS, Get, Params, ReadFailed
from gitlab_port_export.gitlab.inventory import Inventory, Listed
from gitlab_port_export.gitlab.touched import Touched, What
from gitlab_port_export.gitlab.windows import WINDOW_ROWS
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Dialect, Page, Row, Scope

# Rows of a page that no request of its own gave.
PAGE_ROWS = 100
# The scope of rows that come from no group or project alone.
ALL_OF_GITLAB = Scope(0, "", is_group=True)


# Whether a project's row says that there is nothing of some kind to read.
SaysNothing = Callable[[Row], bool]


@dataclass(frozen=True)
class Context:
    """What planning needs to know; `now` is the run's one instant, from which every time window counts (UTC).

    A `doubtful` plan is made before something is deleted: one row of a listing is no proof that there is nothing.
    A list that is too long for GitLab to count is read in windows of `window` rows. `cuts` are by kind and group the
    instants between which such windows are reads of their own.
    `changes` limits the plan of an incremental run.
    """

    inventory: Inventory
    dialect: Dialect
    now: datetime
    resources: tuple[Resource, ...]
    doubtful: bool = False
    window: int = WINDOW_ROWS
    cuts: Mapping[tuple[str, int], tuple[datetime, ...]] = field(default_factory=dict)
    changes: Changes | None = None

    def skips(self, project: Row, says_nothing: SaysNothing) -> bool:
        """Say whether a project is not asked: its row says that there is nothing, and the plan is not doubtful."""
        return not self.doubtful and says_nothing(project)

    def days_ago(self, days: float) -> str:
        """Return the instant that many days before the run, as GitLab reads it in a query."""
        # No row is older than a hundred years, and a date has only so many days before it.
        return (self.now - timedelta(days=min(days, 36_500))).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Read:
    """One read of the plan: rows of a kind from one scope, for these resources.

    `tokens` are tried in order, and `weaker` ones may only say that the project is still there; `requests` estimates
    the requests; `shares` are lists that other reads ask for too; `needs` is what it also asks for once with others
    and does not count. Of a list that may be cut by time `cuttable` is the path and the query; a part of one has its
    number as `part`.
    """

    kind: str
    scope: Scope
    tokens: tuple[str, ...]
    resources: tuple[int, ...]
    start: Callable[[Scope], Job]
    requests: int = 1
    shares: tuple[Hashable, ...] = ()
    needs: tuple[Hashable, ...] = ()
    weaker: tuple[str, ...] = ()
    cuttable: tuple[str, Params] | None = None
    part: int | None = None


@dataclass(frozen=True)
class Requests:
    """How many requests a kind takes with its default selector: for each group, topmost group and project, and once.

    `each` names the rows that take one more each. Lists with more than 100 rows take one more for each 100.
    """

    group: int = 0
    top_group: int = 0
    project: int = 0
    once: int = 0
    each: str = ""


@dataclass(frozen=True)
class About:
    """What a kind is for its users: what a row is, the GitLab endpoints behind it, and what is added to a row.

    Below `role` GitLab either leaves out `hides` silently, or answers 403 for `refuses`: the first is not seen by a
    run, the second is a Problem. `scope` and `plan` are the token scope and the GitLab plan that it takes.
    """

    what: str = ""
    endpoints: tuple[str, ...] = ()
    adds: Mapping[str, str] = field(default_factory=dict)
    role: int = 0
    hides: str = ""
    refuses: str = ""
    requests: Requests = Requests()
    scope: str = "read_api"
    plan: str = "Free"


@dataclass(frozen=True)
class Vanished:
    """How GitLab proves that an object is gone: by a 404 of its own, and by a fresh list without it.

    `own` and `listing` are paths below the group or project, `{}` stands for the object's key; `name` is where rows of
    the list have that key. `row` gives what is known of the row of an object that is gone, and nothing else.
    """

    own: str
    listing: str
    name: str
    row: Callable[[Touched, Scope], Row]
    params: Callable[[Touched], Params] = lambda touched: ()  # noqa: ARG005  # most lists are asked for as a whole


@dataclass(frozen=True)
class Again:
    """How the rows of a kind are read that an event names.

    `of` are the objects that rows of the kind come from. `reads` gives the reads of one of them, with the filters of
    the selectors, in the shape of GitLab's list; the context's inventory holds what events name. `above` says that the
    groups above are needed too. `left` names other rows that the event may change, which are left to a full run.
    `vanished` is there where a deletion may follow from an event.
    """

    of: tuple[What, ...]
    reads: Callable[[tuple[Resource, ...], Context, Touched], Iterator[Read]]
    above: bool = False
    left: Callable[[Touched], str] = lambda touched: ""  # noqa: ARG005  # mostly an event changes no other row
    vanished: Vanished | None = None


# What an incremental run reads of a kind: all rows, those that GitLab lists as updated, lists of the projects whose
# pipelines changed, that were active, or whose row changed, or nothing.
Taken = Literal["all", "updated", "of pipelines", "of active projects", "of updated projects", "nothing"]


def _fits(_: Any) -> str:
    return ""


@dataclass(frozen=True)
class Since:
    """How a kind takes part in an incremental run: what is `taken`, and `why` nothing is.

    Each of `keys` is a set of dotted names that together tell a row from all others of the kind: only where an
    identifier is made of these does one row decide over an entity. `unfit` says of a selector why its rows are left to
    full runs all the same. `unseen` names changes that GitLab does not show in this way.
    """

    taken: Taken
    keys: tuple[tuple[str, ...], ...] = ()
    why: str = ""
    unfit: Callable[[Any], str] = _fits
    unseen: str = ""

    def narrowed(self, context: Context) -> Context:
        """Return the context with the projects alone that a kind has to be read of."""
        changes = context.changes
        if changes is None or self.taken in ("all", "updated"):
            return context
        wanted = {
            "of pipelines": changes.pipelines,
            "of active projects": changes.active,
            "of updated projects": changes.updated,
        }.get(self.taken, frozenset())
        inventory = context.inventory.only(lambda place: place.scope.is_group or place.scope.id in wanted)
        others = (place.scope for place in context.inventory.projects() if place.scope.id not in wanted)
        skipped = frozenset(name for scope in others for name in (scope.path, str(scope.id)))
        return replace(context, inventory=replace(inventory, skipped=skipped))


@dataclass(frozen=True)
class Kind:
    """One kind of GitLab resource: its name in mappings, its selector, and how its resources are read.

    `again` is None where GitLab sends no event that names a row of the kind. `repeats` says that several rows may be of
    one object: a person in several groups. `since` says how the kind takes part in an incremental run.
    """

    name: str
    selector: type[Selector]
    reads: Callable[[tuple[Resource, ...], Context], Iterator[Read]]
    active_groups: Callable[[Any], bool | None] | None = None
    active_projects: Callable[[Any], bool | None] | None = None
    about: About = About()
    again: Again | None = None
    repeats: bool = False
    since: Since | None = None


def by(resources: Iterable[Resource], query: Callable[[Any], Any]) -> Mapping[Any, tuple[int, ...]]:
    """Group resource indexes by what their selector makes them read, in mapping order."""
    return by_each(resources, lambda selector: (query(selector),))


def by_each(resources: Iterable[Resource], queries: Callable[[Any], Iterable[Any]]) -> Mapping[Any, tuple[int, ...]]:
    """Group resource indexes by each query of their selector, in mapping order."""
    found: dict[Any, tuple[int, ...]] = {}
    for resource in resources:
        for query in dict.fromkeys(queries(resource.selector)):
            found[query] = (*found.get(query, ()), resource.index)
    return found


# A read that may be wanted several times: what tells it apart, how to make it, and the resources that want it.
Wanted = tuple[Hashable, Callable[[tuple[int, ...]], Read], tuple[int, ...]]


def each_once(wanted: Iterable[Wanted]) -> Iterator[Read]:
    """Yield each different read once, for all resources that want it."""
    found: dict[Hashable, tuple[Callable[[tuple[int, ...]], Read], set[int]]] = {}
    for key, make, indexes in wanted:
        found.setdefault(key, (make, set()))[1].update(indexes)
    for make, resources in found.values():
        yield make(tuple(sorted(resources)))


def scope_read(
    kind: str,
    place: Listed,
    resources: tuple[int, ...],
    start: Callable[[Scope], Job],
    *,
    unless: SaysNothing | None = None,
    **more: Any,
) -> Read:
    """Return the read of one group or project with all the tokens that may do it.

    A refusal is no failure where the project's row says that there is nothing (`unless`), and a fresh one says so too.
    """
    begin = start if unless is None else partial(_unless, start, place, unless)
    return Read(kind, place.scope, place.tokens, resources, begin, weaker=place.weaker, **more)


def _unless(start: Callable[[Scope], Job], place: Listed, says_nothing: SaysNothing, scope: Scope) -> Job:
    try:
        yield from start(scope)
    except ReadFailed as failure:
        refused = failure.reason in REFUSALS and says_nothing(place.row)
        if not refused or not (yield from still_says(scope, says_nothing)):
            raise failure from None


def still_says(scope: Scope, says_nothing: SaysNothing) -> Generator[Any, Any, bool]:
    """Ask a project itself whether there is nothing. Raises ReadFailed."""
    answer = yield Get(scope.token, f"/projects/{scope.id}", gives="object")
    return says_nothing(answer.data)


def listed_reads(kind: str, places: tuple[Listed, ...], resources: tuple[int, ...]) -> Iterator[Read]:
    """Yield the reads that hand on rows of the inventory as they are and need no request."""

    def start(some: tuple[Listed, ...], _: Scope) -> Job:
        yield Page(kind, resources, ALL_OF_GITLAB, [place.row for place in some])

    for at in range(0, len(places), PAGE_ROWS):
        some = places[at : at + PAGE_ROWS]
        yield Read(kind, ALL_OF_GITLAB, ("",), resources, partial(start, some), requests=0)


def pages(kind: str, resources: tuple[int, ...], scope: Scope, rows: list[Row]) -> Iterator[Page]:
    """Yield rows that came at once in pages of the usual size."""
    for at in range(0, len(rows), PAGE_ROWS):
        yield Page(kind, resources, scope, rows[at : at + PAGE_ROWS])


def api_path(scope: Scope) -> str:
    """Return the path of a group or project in GitLab's API, below which its lists are."""
    return f"/{'groups' if scope.is_group else 'projects'}/{scope.id}"


def page_of(kind: str, resources: tuple[int, ...], scope: Scope) -> Callable[[list[Row]], Page]:
    """Return a row handler that hands on rows as they are."""
    return lambda rows: Page(kind, resources, scope, rows)


def query_params(query: BaseModel | None) -> Params:
    """Return the fields that the user set in a selector's query block, as GitLab query parameters."""
    if query is None:
        return ()
    found = query.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    known = {name: found[name] for name in type(query).model_fields if name in found}
    return tuple((name, _text(value)) for name, value in known.items())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def feature_off(row: Row, feature: str) -> bool:
    """Say whether a project has switched a feature off for everybody, so that there is nothing to read.

    A feature that is only private is asked for: a refusal is a Problem, never an empty list.
    """
    return row.get(f"{feature}_access_level") == "disabled"
