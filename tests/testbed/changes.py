"""Changes of a small GitLab by name and number, and which of them an incremental run can see by GitLab's rules."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gitlab_port_export.demo import gitlab_changes as changes
from gitlab_port_export.demo.gitlab_kinds.milestone import add_milestone
from gitlab_port_export.demo.gitlab_list_rows import add_environment, add_release
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.gitlab_work_rows import FINISHED
from gitlab_port_export.demo.world import DEVELOPER, OWNER, Row, World

# A kind and what its entity is called: by the identifier that `testbed.changes.IDENTIFIERS` gives in jq.
Key = tuple[str, str]
Change = Callable[[World, int], object]
PROJECTS = 12
IDENTIFIERS = {
    "group": ".full_path",
    "project": ".path_with_namespace",
    "release": "._links.self",
}


def small_gitlab() -> World:
    """Four groups with a subgroup each and twelve projects that hold a row of most kinds, all older than a day."""
    world = World(datetime(2026, 3, 1, 12, tzinfo=UTC))
    owner, _ = world.add_user("owner", "Owner"), world.add_user("ann", "Ann")
    world.add_token("token-of-owner", owner)
    groups: list[Row] = []
    for name in ("north", "east", "south", "west"):
        top = world.add_group(name)
        world.add_member(top, owner, OWNER)
        world.add_label(top, "team")
        add_milestone(world, top, "Next")
        groups += [top, world.add_group("sub", top)]
    world.now -= timedelta(days=1)
    for number in range(PROJECTS):
        group = groups[number % len(groups)]
        _furnish(world, world.add_project(group, f"p{number}", last_activity_at=stamp(world.now)), group)
    world.now += timedelta(days=1)
    return world


def _furnish(world: World, project: Row, group: Row) -> None:
    times = {"created_at": world.now, "updated_at": world.now}
    world.add_label(project, "bug")
    milestone = world.group_milestones[next(iter(world.ancestors(group["parent_id"] or group["id"])))["id"]][0]
    world.add_merge_request(project, "Change", labels=["bug", "team"], milestone={**milestone}, **times)
    world.add_issue(project, "Issue", author=world.users[2], labels=["bug"], milestone={**milestone}, **times)
    world.add_job(world.add_pipeline(project, **times), "build")
    add_release(world, project, "v1", when=world.now)
    environment = add_environment(world, project, "production")
    changes.deploy(world, project, environment, "success")


# Targets


def _one(rows: Iterable[Row], number: int) -> Row | None:
    found = [*rows]
    return found[number % len(found)] if found else None


def _of(lists: Mapping[int, list[Row]], number: int, **wanted: str) -> Row | None:
    rows = (row for some in lists.values() for row in some)
    return _one((row for row in rows if all(row[name] == value for name, value in wanted.items())), number)


def _on(find: Callable[[World, int], Row | None], change: Callable[[World, Row, int], object]) -> Change:
    """Return a change of what is found for a number; nothing happens where nothing is."""

    def changed(world: World, number: int) -> object:
        return (found := find(world, number)) and change(world, found, number)

    return changed


def _project(world: World, number: int) -> Row | None:
    return _one(world.projects.values(), number)


def _subgroup(world: World, number: int) -> Row | None:
    return _one((row for row in world.groups.values() if row["parent_id"]), number)


def _mr(world: World, number: int) -> Row | None:
    return _of(world.merge_requests, number)


def _issue(world: World, number: int) -> Row | None:
    return _of(world.issues, number)


def _running_job(world: World, number: int) -> Row | None:
    return _of(world.jobs, number, status="running")


def _ended_job(world: World, number: int) -> Row | None:
    rows = (row for some in world.jobs.values() for row in some)
    return _one((row for row in rows if row["pipeline"]["status"] in FINISHED), number)


def _milestone(world: World, number: int) -> Row | None:
    return _of(world.group_milestones, number)


# Changes


def _new_project(world: World, number: int) -> object:
    group = _one(world.groups.values(), number)
    if group is None:
        return None
    project = world.add_project(
        group, f"new{world.version}", created_at=stamp(world.now), updated_at=stamp(world.now),
        last_activity_at=stamp(world.now),
    )  # fmt: skip
    _furnish(world, project, group)
    return project


def _release(world: World, project: Row, number: int) -> object:
    known = {row["tag_name"] for row in world.releases[project["id"]]}
    return None if f"v{number}" in known else changes.release(world, project, f"v{number}")


def _retry(world: World, job: Row, number: int) -> None:
    """A job fails inside a running pipeline, and is tried again there."""
    job.update(status="failed", finished_at=stamp(world.now))
    world.retried_jobs.add(job["id"])
    world.add_job(job["pipeline"], job["name"], "running", created_at=stamp(world.now))


def _move(world: World, project: Row, number: int) -> None:
    group = _one(world.groups.values(), number)
    if group and all(row["path"] != project["path"] for row in _in_group(world, group)):
        world.transfer_project(project, group)


def _in_group(world: World, group: Row) -> Iterator[Row]:
    return (world.projects[id] for id in world.projects_in[group["id"]])


def _hide_or_show(world: World, number: int) -> None:
    """Take the token's user out of one of the topmost groups but the first, or let it join again."""
    owner, (_, *others) = world.users[1], [row for row in world.groups.values() if not row["parent_id"]]
    group = others[number % len(others)]
    if any(row["id"] == owner["id"] for row in world.group_members[group["id"]]):
        world.remove_member(group, owner)
    else:
        world.add_member(group, owner, OWNER)


def _close(world: World, row: Row, number: int) -> None:
    if row["state"] == "opened":
        changes.close(world, row, world.users[1])


def _merge(world: World, row: Row, number: int) -> None:
    if row["state"] == "opened":
        changes.merge(world, row, world.users[1])


# These only add or change a row, so that they may be committed late.
LATE: dict[str, Change] = {
    "a merge request is opened": _on(_project, lambda w, p, n: changes.open_merge_request(w, p, f"New {n}")),
    "an issue is opened": _on(_project, lambda w, p, n: changes.open_issue(w, p, f"New {n}")),
    "a merge request is edited": _on(_mr, lambda w, r, n: changes.edit(w, r, title=f"Title {n}")),
    "an issue is edited": _on(_issue, lambda w, r, n: changes.edit(w, r, labels=[f"label {n}"])),
    "a pipeline starts": _on(_project, lambda w, p, n: changes.start_pipeline(w, p, "build", "test")),
    "a job ends": _on(_running_job, lambda w, j, n: changes.finish_job(w, j, "failed" if n % 3 else "success")),
}
CHANGES: dict[str, Change] = {
    **LATE,
    "a merge request is merged": _on(_mr, _merge),
    "an issue is closed": _on(_issue, _close),
    "somebody comments a merge request": _on(_mr, lambda w, r, n: changes.comment(w, r)),
    "somebody comments an issue": _on(_issue, lambda w, r, n: changes.comment(w, r)),
    "mergeability is checked": _on(_mr, lambda w, r, n: changes.recheck(w, r, ("conflict", "mergeable")[n % 2])),
    "a job is retried": _on(_running_job, _retry),
    "a manual job is played again": _on(_ended_job, lambda w, j, n: changes.play_again(w, j, "success")),
    "a deployment is made": _on(
        _project, lambda w, p, n: changes.deploy(w, p, w.environments[p["id"]][0], "running")
    ),
    "a deployment ends": _on(
        lambda w, n: _of(w.deployments, n, status="running"), lambda w, r, n: changes.finish_deployment(w, r)
    ),
    "an environment is stopped": _on(
        lambda w, n: _of(w.environments, n), lambda w, r, n: changes.stop_environment(w, r)
    ),
    "something is pushed": _on(_project, lambda w, p, n: changes.push(w, p, "a.txt", str(n))),
    "a release is made": _on(_project, _release),
    "a release is edited": _on(
        _project, lambda w, p, n: changes.edit_release(w, p, w.releases[p["id"]][0], name=f"Release {n}")
    ),
    "a milestone is edited": _on(_milestone, lambda w, r, n: changes.saved(w, r, description=f"About {n}")),
    "a milestone is renamed": _on(_milestone, lambda w, r, n: changes.rename_milestone(w, r, f"Milestone {n}")),
    "a label is renamed": _on(_project, lambda w, p, n: changes.rename_label(w, p, "bug", f"bug {n}")),
    "a person is renamed": lambda w, n: changes.rename_user(w, w.users[2], f"Ann {n}"),
    "a project gets another name": _on(_project, lambda w, p, n: w.rename_project(p, name=f"Name {n}")),
    "a project gets another path": _on(_project, lambda w, p, n: w.rename_project(p, path=f"path{w.version}")),
    "a project is moved": _on(_project, _move),
    "a group gets another path": _on(_subgroup, lambda w, g, n: w.rename_group(g, f"sub{w.version}")),
    "a project is archived": _on(
        _project, lambda w, p, n: changes.change_project(w, p, archived=not p["archived"])
    ),
    "CI is switched": _on(
        _project, lambda w, p, n: changes.change_project(
            w, p, builds_access_level=("enabled", "disabled")[p["builds_access_level"] == "enabled"]
        ),
    ),
    "a project is added": _new_project,
    "a project is deleted": _on(_project, lambda w, p, n: w.delete_project(p) if len(w.projects) > 9 else None),
    "a merge request is deleted": _on(_mr, lambda w, r, n: _drop(w, w.merge_requests, r)),
    "an issue is deleted": _on(_issue, lambda w, r, n: _drop(w, w.issues, r)),
    "a group is hidden or shown": _hide_or_show,
    "a member joins": _on(_subgroup, lambda w, g, n: w.add_member(g, w.add_user(f"new{w.version}"), DEVELOPER)),
}  # fmt: skip


def _drop(world: World, lists: Mapping[int, list[Row]], row: Row) -> None:
    world.touch()
    lists[row["project_id"]].remove(row)


# What an incremental run can see


@dataclass(frozen=True)
class Held:
    """One row as it was, and what decides whether a change of it can be seen.

    `sign` is the time by which GitLab tells of it, `goes_on` whether its pipeline does, `frame` what its project is.
    """

    text: str
    sign: str
    goes_on: bool = False
    frame: str = ""


def held(world: World) -> dict[Key, Held]:
    """Return every row of a kind that takes part in incremental runs; groups and projects are always read."""
    now = stamp(world.now)
    found = {("group", row["full_path"]): Held(_text(row), now) for row in world.groups.values()}
    for project in world.projects.values():
        found["project", project["path_with_namespace"]] = Held(_text(project), now)
        found |= dict(_held_by(world, project))
    return found


def _held_by(world: World, project: Row) -> Iterator[tuple[Key, Held]]:
    id, frame = project["id"], _frame(project)
    for kind, lists in (
        *(("merge-request", world.merge_requests), ("issue", world.issues), ("pipeline", world.pipelines)),
    ):
        for row in lists[id]:
            yield (kind, str(row["id"])), Held(_text(row), row["updated_at"], frame=frame)
    for row in world.jobs[id]:
        pipeline = row["pipeline"]
        goes_on = pipeline["status"] in ("running", "pending")
        yield ("job", str(row["id"])), Held(_text(row), pipeline["updated_at"], goes_on, frame)
    ran = max((row["updated_at"] for row in world.pipelines[id]), default="")
    for row in world.deployments[id]:
        yield ("deployment", str(row["id"])), Held(_text(row), min(row["updated_at"], ran), frame=frame)
    for row in world.releases[id]:
        yield ("release", row["_links"]["self"]), Held(_text(row), project["updated_at"], frame=frame)


def _text(row: Row) -> str:
    return json.dumps(row, sort_keys=True, default=str)


def _frame(project: Row) -> str:
    levels = {name: value for name, value in project.items() if name.endswith("_access_level")}
    return str((project["path_with_namespace"], project["archived"], project["default_branch"], levels))


def changed(before: Mapping[Key, Held], after: Mapping[Key, Held], when: datetime) -> tuple[set[Key], set[Key]]:
    """Return the rows that changed or came at an instant: those that are read again, and those that nothing shows.

    A row is read again by a time of GitLab's that is hardly older than the change (a comment does not move one that is
    less than a minute old) and in a pipeline that goes on. Of a project that is something else than before everything
    is read, unless it is what it was by then: its rows are in neither.
    """
    seen: set[Key] = set()
    unseen: set[Key] = set()
    least = stamp(when - changes.TOUCHED_AGAIN)
    for key, now in after.items():
        old = before.get(key)
        if old and old.text == now.text:
            continue
        if now.sign >= least or now.goes_on:
            seen.add(key)
        elif old is None or old.frame == now.frame:
            unseen.add(key)
    return seen, unseen
