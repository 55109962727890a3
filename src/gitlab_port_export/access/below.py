"""Finds the direct roles of one person in many places: below a group, or wherever the token sees them."""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from gitlab_port_export.access.api import Api
from gitlab_port_export.access.roles import role_of
from gitlab_port_export.access.values import Ended, Person, Place, ScopeKind
from gitlab_port_export.gitlab.client import REFUSALS, ReadFailed
from gitlab_port_export.model import Row

# Each place takes a request; so many are asked at most.
MOST_PLACES = 500


class Spot(NamedTuple):
    """A group or project that may be looked at."""

    kind: ScopeKind
    path: str
    id: int


def places_below(api: Api, place: Place) -> list[Spot]:
    """Return all groups and projects below a group. Raises ReadFailed."""
    # Projects that were only shared with the group are not below it.
    params = (("include_subgroups", "true"), ("with_shared", "false"), ("simple", "true"))
    return _spots(api.rows(f"{place.api}/descendant_groups"), api.rows(f"{place.api}/projects", params))


def places_of_token(api: Api) -> list[Spot]:
    """Return the groups and projects that the token's user has a role in. Raises ReadFailed."""
    projects = (("membership", "true"), ("simple", "true"))
    return _spots(api.rows("/groups", (("all_available", "false"),)), api.rows("/projects", projects))


def _spots(groups: Iterable[Row], projects: Iterable[Row]) -> list[Spot]:
    found = [Spot("group", str(row["full_path"]), row["id"]) for row in groups]
    return found + [Spot("project", str(row["path_with_namespace"]), row["id"]) for row in projects]


def direct_roles(api: Api, spots: list[Spot], person: Person) -> tuple[Ended, ...]:
    """Return the direct roles of a person in the first MOST_PLACES of these. Raises ReadFailed."""
    asked = {f"/{one.kind}s/{one.id}/members/{person.id}": one for one in spots[:MOST_PLACES]}
    rows = api.each(asked)
    return tuple(Ended(one.kind, one.path, role_of(rows[path]), one.id) for path, one in asked.items() if path in rows)


def roles_below(api: Api, place: Place, person: Person) -> tuple[Ended, ...]:
    """Return the direct roles of a person below a group. Raises ReadFailed."""
    return direct_roles(api, places_below(api, place), person)


def roles_anywhere(api: Api, person: Person) -> tuple[tuple[Ended, ...], str]:
    """Return the direct roles of a person wherever the token sees them, and a note about what it does not see.

    An administrator's token gets them in one list (https://docs.gitlab.com/api/users/#list-all-memberships-of-a-user).
    Raises ReadFailed.
    """
    if person.is_admin is not None:
        return direct_roles(api, _listed(api, person), person), ""
    spots = places_of_token(api)
    beyond = f"; the first {MOST_PLACES} of them were looked at" if len(spots) > MOST_PLACES else ""
    note = f"only groups and projects in which the token's user has a role can be seen{beyond}"
    return direct_roles(api, spots, person), note


def roles_of_seat(api: Api, place: Place, person: Person) -> tuple[Ended, ...] | None:
    """Return the direct roles in a top-level group and below, as GitLab lists them for who takes a seat.

    None where GitLab has no such list for this person. Raises ReadFailed.
    """
    try:
        rows = api.rows(f"{place.api}/billable_members/{person.id}/memberships")
    except ReadFailed as failure:
        if failure.reason in (*REFUSALS, "refused"):
            return None
        raise
    groups = [str(row.get("source_members_url") or "").endswith("/group_members") for row in rows]
    named = [("group" if is_group else "project", row["source_id"]) for is_group, row in zip(groups, rows, strict=True)]
    return direct_roles(api, _resolved(api, named), person)


def _listed(api: Api, person: Person) -> list[Spot]:
    # These rows have no id of their own.
    key = itemgetter("source_type", "source_id")
    rows = api.rows(f"/users/{person.id}/memberships", key=key)
    kinds = {"Namespace": "group", "Project": "project"}
    return _resolved(
        api, [(kinds[row["source_type"]], row["source_id"]) for row in rows if row["source_type"] in kinds]
    )


def _resolved(api: Api, named: Sequence[tuple[str, int]]) -> list[Spot]:
    """Return the groups and projects by kind and id, without those that the token does not see."""
    found = api.each(f"/{kind}s/{number}" for kind, number in named)
    rows = [row for kind, number in named if (row := found.get(f"/{kind}s/{number}"))]
    groups, projects = [row for row in rows if "full_path" in row], [row for row in rows if "full_path" not in row]
    return _spots(groups, projects)
