"""Renames, moves and deletions of groups and projects: which rows show it, and which timestamps change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gitlab_port_export.demo import gitlab_rows as rows
from gitlab_port_export.demo.gitlab_rows import Row, stamp

if TYPE_CHECKING:
    from gitlab_port_export.demo.gitlab_store import World


def rename_project(world: World, project: Row, name: str | None, path: str | None) -> None:
    """Give a project another name, another path, or both; only its own `updated_at` changes."""
    world.touch()
    if name:
        prefix = project["name_with_namespace"].removesuffix(project["name"])
        project |= {"name": name, "name_with_namespace": prefix + name}
    if path:
        project["path"] = path
        _readdress_project(world, project)
    project["updated_at"] = stamp(world.now)


def transfer_project(world: World, project: Row, group: Row) -> None:
    """Move a project to another group; only its own `updated_at` changes."""
    world.touch()
    if project["id"] in world.projects_in[project["namespace"]["id"]]:
        world.projects_in[project["namespace"]["id"]].remove(project["id"])
    world.projects_in[group["id"]].append(project["id"])
    project["name_with_namespace"] = f"{group['full_name']} / {project['name']}"
    project["namespace"] = rows.group_namespace(group)
    _readdress_project(world, project)
    project["updated_at"] = stamp(world.now)


def rename_group(world: World, group: Row, path: str) -> None:
    """Give a group another path; `updated_at` of all groups and projects below changes, not that of their rows."""
    group["path"] = path
    _readdress_group(world, group)


def transfer_group(world: World, group: Row, parent: Row) -> None:
    """Move a group into another; `updated_at` of all groups and projects below changes, not that of their rows."""
    if group["parent_id"]:
        world.subgroups[group["parent_id"]].remove(group["id"])
    world.subgroups[parent["id"]].append(group["id"])
    group["parent_id"] = parent["id"]
    _readdress_group(world, group)


def _readdress_group(world: World, group: Row) -> None:
    """Give a group and all below it the paths that follow from their parents; GitLab does it with `touch_all`."""
    world.touch()
    for row in world.family(group):
        parent = world.groups.get(row["parent_id"])
        old, new = row["full_path"], f"{parent['full_path']}/{row['path']}" if parent else row["path"]
        del world.paths[f"full_path:{old}"]
        row |= {
            "full_path": new,
            "full_name": f"{parent['full_name']} / {row['name']}" if parent else row["name"],
            "web_url": f"{world.url}/groups/{new}",
        }
        world.paths[f"full_path:{new}"] = row
        for id in world.projects_in.get(row["id"], ()):
            project = world.projects[id]
            project["namespace"] = rows.group_namespace(row)
            project["name_with_namespace"] = f"{row['full_name']} / {project['name']}"
            _readdress_project(world, project)
            project["updated_at"] = stamp(world.now)


def _readdress_project(world: World, project: Row) -> None:
    """Give a project the path that follows from its namespace; the old one redirects from then on."""
    old, new = project["path_with_namespace"], f"{project['namespace']['full_path']}/{project['path']}"
    world.paths.pop(f"path_with_namespace:{old}", None)
    world.moved[old] = project["id"]
    world.moved.pop(new, None)
    changed = _readdressed(old, new)
    namespace = project["namespace"]
    project |= changed({key: value for key, value in project.items() if key != "namespace"})
    project |= {"namespace": namespace, "path_with_namespace": new}
    world.paths[f"path_with_namespace:{new}"] = project
    for row in _held(world, project["id"]):
        row.update(changed(row))


def _held(world: World, id: int) -> Iterable[Row]:
    """Yield the rows of a project that hold its path; a job holds the row of its pipeline itself."""
    for lists in (
        *(world.merge_requests, world.issues, world.pipelines, world.jobs, world.releases, world.tags),
        *(world.branches, world.environments, world.deployments, world.milestones),
    ):
        yield from lists.get(id, ())
    for (_, of_group, holder), found in world.others.items():
        if holder == id and not of_group:
            yield from found


def _readdressed(old: str, new: str) -> Any:
    """Return what replaces a project's path in addresses and references; a value without it stays the same object."""
    whole = re.compile(rf"(?:^|(?<=[/:])){re.escape(old)}(?=$|[/!#]|\.git)")

    def changed(value: Any) -> Any:
        match value:
            case str():
                return whole.sub(new, value)
            case dict():
                found: Any = {key: part if key == "pipeline" else changed(part) for key, part in value.items()}
                return value if found == value else found
            case list():
                found = [changed(part) for part in value]
                return value if found == value else found
        return value

    return changed


def delete_project(world: World, project: Row) -> None:
    """Remove a project with all that belongs to it."""
    world.touch()
    id = project["id"]
    del world.projects[id]
    del world.paths[f"path_with_namespace:{project['path_with_namespace']}"]
    if id in world.projects_in[project["namespace"]["id"]]:
        world.projects_in[project["namespace"]["id"]].remove(id)
    for member in world.project_members.pop(id, []):
        world.memberships[member["id"]].discard(("project", id))
    for pipeline in world.pipelines.pop(id, []):
        world.pipeline_details.pop(pipeline["id"], None)
    owned: tuple[dict[int, Any], ...] = (
        *(world.project_labels, world.merge_requests, world.issues, world.jobs, world.languages, world.files),
        *(world.releases, world.tags, world.branches, world.environments, world.deployments, world.milestones),
    )
    for belongings in owned:
        belongings.pop(id, None)
    _drop_others(world, of_group=False, id=id)


def delete_group(world: World, group: Row) -> None:
    """Remove a group with its subgroups and projects."""
    world.touch()
    for subgroup in [*world.subgroups.pop(group["id"], [])]:
        delete_group(world, world.groups[subgroup])
    for project in [*world.projects_in.pop(group["id"], [])]:
        delete_project(world, world.projects[project])
    if group["parent_id"]:
        world.subgroups[group["parent_id"]] = [id for id in world.subgroups[group["parent_id"]] if id != group["id"]]
    for member in world.group_members.pop(group["id"], []):
        world.memberships[member["id"]].discard(("group", group["id"]))
    world.group_labels.pop(group["id"], None)
    world.group_shares.pop(group["id"], None)
    world.group_milestones.pop(group["id"], None)
    _drop_others(world, of_group=True, id=group["id"])
    del world.groups[group["id"]]
    del world.paths[f"full_path:{group['full_path']}"]


def _drop_others(world: World, *, of_group: bool, id: int) -> None:
    for key in [key for key in world.others if key[1:] == (of_group, id)]:
        del world.others[key]
