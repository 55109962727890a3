"""What else projects and groups hold: branches, tags, releases, environments, deployments and milestones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gitlab_port_export.demo.gitlab_kinds.milestone import add_milestone
from gitlab_port_export.demo.gitlab_rows import Row, sha, stamp
from gitlab_port_export.demo.gitlab_store import World

When = datetime | str | None


def fill_lists(world: World, project: Row, user: Row, versions: int = 2) -> None:
    """Give a project some of each: a version is a tag, a release and a deployment to production."""
    add_branch(world, project, project["default_branch"])
    add_branch(world, project, "fix/drain")
    add_milestone(world, project, "Next", due_date=world.now.date().isoformat())
    production = add_environment(world, project, "production", "production")
    review = add_environment(world, project, "review/fix-drain", "development", "stopped")
    for number in range(1, versions + 1):
        when = world.ago(days=10 * (versions - number) + 3)
        add_tag(world, project, f"v1.{number}", when)
        add_release(world, project, f"v1.{number}", user, when)
        add_deployment(world, project, production, user, created_at=when)
    add_deployment(world, project, review, None, "failed")


def add_branch(world: World, project: Row, name: str, **overrides: Any) -> Row:
    """Add a branch; a project without any has its default branch all the same."""
    row = branch_row(project, name) | overrides
    return _add(world, world.branches[project["id"]], row)


def add_tag(world: World, project: Row, name: str, when: When = None, **overrides: Any) -> Row:
    """Add a lightweight tag, or one with a message."""
    row = {
        "name": name,
        "message": None,
        "target": sha(project["id"], name),
        "commit": _commit(project, name, when),
        "release": None,
        "protected": False,
        "created_at": None,
    }
    return _add(world, world.tags[project["id"]], row | overrides)


def add_release(
    world: World, project: Row, tag: str, author: Row | None = None, when: When = None, **overrides: Any
) -> Row:
    """Add a release; it has no id, only its tag."""
    created_at = _text(when or project["created_at"])
    page = f"{project['web_url']}/-/releases/{tag}"
    archive = f"{project['web_url']}/-/archive/{tag}/{project['path']}-{tag}"
    row: Row = {
        "name": f"{project['name']} {tag}",
        "tag_name": tag,
        "description": f"## {tag}\n\n- Better\n",
        "created_at": created_at,
        "released_at": created_at,
        "upcoming_release": False,
        "author": author or _somebody(world),
        "commit": _commit(project, tag, when),
        "commit_path": f"/{project['path_with_namespace']}/-/commit/{sha(project['id'], tag)}",
        "tag_path": f"/{project['path_with_namespace']}/-/tags/{tag}",
        "assets": {
            "count": 1,
            "sources": [{"format": "zip", "url": f"{archive}.zip"}],
            "links": [],
        },
        "evidences": [{"sha": sha("evidence", tag), "filepath": f"{page}/evidence.json", "collected_at": created_at}],
        "_links": {"self": page, "edit_url": f"{page}/edit"},
    }
    return _add(world, world.releases[project["id"]], row | overrides)


def add_environment(
    world: World, project: Row, name: str, tier: str = "other", state: str = "available", **overrides: Any
) -> Row:
    """Add an environment; `state` is available, stopping or stopped."""
    created_at = stamp(world.ago(days=100))
    row = {
        "id": world.new_id("environment"),
        "name": name,
        "slug": name.replace("/", "-"),
        "description": None,
        "external_url": None if state == "stopped" else f"https://{name.replace('/', '-')}.example.com",
        "state": state,
        "tier": tier,
        "created_at": created_at,
        "updated_at": created_at,
        "enable_advanced_logs_querying": False,
        "logs_api_path": f"/{project['path_with_namespace']}/-/logs/k8s.json?environment_name={name}",
        "auto_stop_at": None,
        "kubernetes_namespace": None,
        "flux_resource_path": None,
    }
    return _add(world, world.environments[project["id"]], row | overrides)


def add_deployment(
    world: World,
    project: Row,
    environment: Row,
    user: Row | None = None,
    status: str = "success",
    created_at: When = None,
    updated_at: When = None,
    **overrides: Any,
) -> Row:
    """Add a deployment that a person or a token made without a job; it finishes when it was last updated."""
    id = world.new_id("deployment")
    created, updated = world._times(id, created_at, updated_at or created_at)
    row = {
        "id": id,
        "iid": world._iid("deployment", project),
        "ref": project["default_branch"] or "main",
        "sha": sha("deployment", id),
        "created_at": created,
        "updated_at": updated,
        "status": status,
        "user": user,
        "environment": {key: environment[key] for key in ("id", "name", "slug", "external_url", "tier")},
        "deployable": None,
    }
    world.finished[id] = updated if status in ("success", "failed", "canceled") else None
    return _add(world, world.deployments[project["id"]], row | overrides)


def branch_row(project: Row, name: str) -> Row:
    """A branch as in the list of its project."""
    is_default = name == project["default_branch"]
    return {
        "name": name,
        "merged": False,
        "protected": is_default,
        "default": is_default,
        "developers_can_push": False,
        "developers_can_merge": False,
        "can_push": False,
        "web_url": f"{project['web_url']}/-/tree/{name}",
        "commit": _commit(project, name, None),
    }


def _commit(project: Row, ref: str, when: When) -> Row:
    """The newest commit of a ref; GitLab keeps the author's own time zone in it."""
    id = sha(project["id"], ref)
    made = _text(when or project["created_at"]).replace("Z", "+00:00")
    return {
        "id": id,
        "short_id": id[:8],
        "created_at": made,
        "parent_ids": [],
        "title": f"Change {ref}",
        "message": f"Change {ref}\n",
        "author_name": "Ada Nwosu",
        "author_email": "ada@example.com",
        "authored_date": made,
        "committer_name": "Ada Nwosu",
        "committer_email": "ada@example.com",
        "committed_date": made,
        "trailers": {},
        "extended_trailers": {},
        "web_url": f"{project['web_url']}/-/commit/{id}",
    }


def _text(when: datetime | str) -> str:
    return when if isinstance(when, str) else stamp(when)


def _somebody(world: World) -> Row:
    return next(iter(world.users.values()))


def _add(world: World, rows: list[Row], row: Row) -> Row:
    world.touch()
    rows.append(row)
    return row
