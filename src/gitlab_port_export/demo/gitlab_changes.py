"""Changes that people and jobs make in GitLab over time, each with the timestamps that GitLab sets for it.

The rules are those of GitLab's models: app/models/concerns/throttled_touch.rb, app/models/event.rb,
app/models/merge_request.rb (`Timeless`), app/models/release.rb and app/services/issuable_base_service.rb.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from gitlab_port_export.demo import gitlab_list_rows as list_rows
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.gitlab_work_rows import FINISHED, merged_fields

# A comment within this time after the last change leaves `updated_at` as it is.
TOUCHED_AGAIN = timedelta(minutes=1)
# How often at most an Event moves a project's `last_activity_at`, and a push its `updated_at`.
ACTIVE_AGAIN = timedelta(hours=1)
PUSHED_AGAIN = timedelta(minutes=5)


# Times


def saved(world: World, row: Row, **fields: Any) -> Row:
    """Change a row and set `updated_at` to now, but never to an earlier time than it had."""
    world.touch()
    row.update(fields, updated_at=max(row["updated_at"], stamp(world.now)))
    return row


def active(world: World, project: Row) -> None:
    """Record an Event: at most once an hour it sets `last_activity_at`, and in newer versions `updated_at` too."""
    if world.now - _moment(project["last_activity_at"]) >= ACTIVE_AGAIN:
        project["last_activity_at"] = stamp(world.now)
        if world.events_touch_projects:
            saved(world, project)


def pushed(world: World, project: Row) -> None:
    """Record a push: an Event, which at most every five minutes sets the project's `updated_at`."""
    world.touch()
    active(world, project)
    last = world.pushed.get(project["id"])
    if last is None or world.now - last >= PUSHED_AGAIN:
        world.pushed[project["id"]] = world.now
        if world.events_touch_projects:
            saved(world, project)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# Merge requests and issues


def open_merge_request(world: World, project: Row, title: str, **fields: Any) -> Row:
    """Open a merge request now."""
    active(world, project)
    return world.add_merge_request(project, title, created_at=world.now, updated_at=world.now, **fields)


def open_issue(world: World, project: Row, title: str, **fields: Any) -> Row:
    """Open an issue now."""
    active(world, project)
    return world.add_issue(project, title, created_at=world.now, updated_at=world.now, **fields)


def edit(world: World, row: Row, **fields: Any) -> None:
    """Change the title, labels, assignees or milestone of a merge request or issue, for which there is no Event."""
    saved(world, row, **fields)


def close(world: World, row: Row, user: Row) -> None:
    """Close a merge request or issue."""
    saved(world, row, state="closed", closed_by=user, closed_at=stamp(world.now))
    active(world, world.projects[row["project_id"]])


def merge(world: World, row: Row, user: Row) -> None:
    """Merge a merge request."""
    saved(world, row, state="merged", detailed_merge_status="not_open")
    row.update(merged_fields(user, row["updated_at"], row["id"]))
    active(world, world.projects[row["project_id"]])


def comment(world: World, row: Row) -> None:
    """Write a note on a merge request or issue; it sets `updated_at` only a minute after the last change."""
    world.touch()
    row["user_notes_count"] += 1
    if world.now - _moment(row["updated_at"]) >= TOUCHED_AGAIN:
        saved(world, row)
    active(world, world.projects[row["project_id"]])


def recheck(world: World, row: Row, status: str) -> None:
    """Set whether a merge request can be merged; on purpose GitLab changes no timestamp for it."""
    world.touch()
    row.update(detailed_merge_status=status, has_conflicts=status == "conflict")


# Names that other rows repeat


def rename_label(world: World, source: Row, old: str, new: str) -> None:
    """Rename a label of a group or project; `updated_at` of the rows that have it stays."""
    world.touch()
    labels = world.group_labels if "full_path" in source else world.project_labels
    for label in labels[source["id"]]:
        if label["name"] == old:
            label["name"] = new
    for row in _work_below(world, source):
        row["labels"] = [new if name == old else name for name in row["labels"]]


def rename_milestone(world: World, milestone: Row, title: str) -> None:
    """Rename a milestone; its own `updated_at` changes, that of the rows in it stays."""
    saved(world, milestone, title=title)
    for lists in (world.merge_requests, world.issues):
        for row in _all(lists.values()):
            if row["milestone"] and row["milestone"]["id"] == milestone["id"]:
                row["milestone"] = {**milestone}


def rename_user(world: World, user: Row, name: str) -> None:
    """Give a person another name; every row shows it at once, and `updated_at` stays everywhere."""
    world.touch()
    user["name"] = name
    for members in (world.group_members, world.project_members):
        for row in _all(members.values()):
            if row["id"] == user["id"]:
                row["name"] = name


def _work_below(world: World, source: Row) -> Iterable[Row]:
    projects = world.projects_below(source) if "full_path" in source else [source]
    for project in projects:
        yield from world.merge_requests.get(project["id"], ())
        yield from world.issues.get(project["id"], ())


def _all(lists: Iterable[list[Row]]) -> Iterable[Row]:
    for rows in lists:
        yield from rows


# Pipelines, jobs and deployments, for which there is no Event


def start_pipeline(world: World, project: Row, *jobs: str, **fields: Any) -> Row:
    """Start a pipeline with these jobs, which run."""
    row = world.add_pipeline(project, "running", created_at=world.now, updated_at=world.now, **fields)
    for name in jobs:
        world.add_job(row, name, "running")
    return row


def finish_job(world: World, job: Row, status: str = "success") -> None:
    """End a job; its pipeline ends with the last of its jobs, and stays as it is until then."""
    world.touch()
    pipeline = job["pipeline"]
    job.update(status=status, started_at=job["created_at"], finished_at=stamp(world.now), duration=21.5)
    others = [row for row in world.jobs[pipeline["project_id"]] if row["pipeline"]["id"] == pipeline["id"]]
    if all(row["status"] in FINISHED for row in others):
        failed = any(row["status"] == "failed" for row in others)
        saved(world, pipeline, status="failed" if failed else "success")


def play_again(world: World, job: Row, status: str) -> Row:
    """Retry a manual job of a pipeline that has ended: one new row, and no other row changes."""
    world.retried_jobs.add(job["id"])
    return world.add_job(job["pipeline"], job["name"], status, created_at=stamp(world.now))


def deploy(world: World, project: Row, environment: Row, status: str = "running") -> Row:
    """Deploy over the API, without a pipeline."""
    return list_rows.add_deployment(
        world, project, environment, status=status, created_at=world.now, updated_at=world.now
    )


def finish_deployment(world: World, row: Row, status: str = "success") -> None:
    """End a deployment."""
    saved(world, row, status=status)
    world.finished[row["id"]] = row["updated_at"]


def stop_environment(world: World, row: Row) -> None:
    """Stop an environment by hand."""
    saved(world, row, state="stopped")


# Repositories and releases


def push(world: World, project: Row, path: str, content: str) -> None:
    """Push a file to the default branch."""
    world.set_file(project, path, content)
    pushed(world, project)


def push_tag(world: World, project: Row, name: str) -> Row:
    """Push a tag."""
    pushed(world, project)
    return list_rows.add_tag(world, project, name, world.now)


def push_branch(world: World, project: Row, name: str) -> Row:
    """Push a new branch."""
    pushed(world, project)
    return list_rows.add_branch(world, project, name)


def release(world: World, project: Row, tag: str) -> Row:
    """Publish a release, which sets `updated_at` of its project."""
    saved(world, project)
    return list_rows.add_release(world, project, tag, when=world.now)


def edit_release(world: World, project: Row, row: Row, **fields: Any) -> None:
    """Edit a release; its row has no `updated_at`, but that of its project is set."""
    row.update(fields)
    saved(world, project)


def change_project(world: World, project: Row, **fields: Any) -> None:
    """Change settings of a project, such as `archived` or its default branch."""
    saved(world, project, **fields)
