"""Finds the group or project that a wish names."""

from gitlab_port_export.access.api import Api, quoted
from gitlab_port_export.access.values import Place, ScopeName
from gitlab_port_export.base.errors import GitLabUnavailable


def find_place(api: Api, name: ScopeName) -> Place:
    """Return the group or project at a path; one that has moved has another path than the name.

    Raises GitLabUnavailable where there is none for this token, and ReadFailed.
    """
    # Without this GitLab sends all projects of a group: https://docs.gitlab.com/api/groups/#retrieve-a-group
    params = (("with_projects", "false"),) if name.kind == "group" else ()
    row = api.one(f"/{name.kind}s/{quoted(name.path)}", params)
    if row is None:
        hint = "check the path; the token's user has to be a member with the role that manages members"
        raise GitLabUnavailable(f"GitLab shows no {name.kind} {name.path} to the {api.token}", hint=hint)
    path = row["full_path"] if name.kind == "group" else row["path_with_namespace"]
    return Place(name.kind, int(row["id"]), str(path), str(row.get("name") or ""), row)
