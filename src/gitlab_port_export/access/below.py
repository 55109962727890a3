"""Finds the direct roles of one person in the groups and projects below a group."""

from gitlab_port_export.access.api import Api
from gitlab_port_export.access.roles import role_of
from gitlab_port_export.access.values import Ended, Person, Place, ScopeKind
from gitlab_port_export.model import Row

# Each place takes a request. Beyond so many only the place itself is looked at.
MOST_PLACES = 500


def places_below(api: Api, place: Place) -> list[tuple[ScopeKind, str, int]]:
    """Return (kind, path, id) of all groups and projects below a group. Raises ReadFailed."""
    groups = api.rows(f"{place.api}/descendant_groups")
    # Projects that were only shared with the group are not below it.
    params = (("include_subgroups", "true"), ("with_shared", "false"), ("simple", "true"))
    projects = api.rows(f"{place.api}/projects", params)
    found: list[tuple[ScopeKind, str, int]] = [("group", str(row["full_path"]), row["id"]) for row in groups]
    return found + [("project", str(row["path_with_namespace"]), row["id"]) for row in projects]


def roles_below(api: Api, place: Place, person: Person) -> tuple[Ended, ...]:
    """Return the direct roles below a group, in the first MOST_PLACES of its groups and projects. Raises ReadFailed."""
    asked = {
        f"/{kind}s/{number}/members/{person.id}": (kind, path)
        for kind, path, number in places_below(api, place)[:MOST_PLACES]
    }
    rows: dict[str, Row] = api.each(asked)
    return tuple(Ended(*asked[one], role_of(rows[one])) for one in asked if one in rows)
