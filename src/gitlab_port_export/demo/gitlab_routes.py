"""The endpoints of the stand-in GitLab, one function each, and the table of their paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from gitlab_port_export.demo import gitlab_people as people
from gitlab_port_export.demo import gitlab_repository as repository
from gitlab_port_export.demo import gitlab_rows as shapes
from gitlab_port_export.demo.gitlab_call import (
    Call,
    Keep,
    equal,
    feature,
    forbid_unless,
    is_active,
    kept,
    labelled,
    mine,
    only,
    ordered,
    period,
    searched,
    sees_group,
    sees_issue,
    sees_merge_requests,
    sees_pipelines,
    sees_project,
    wanted_group,
    wanted_project,
)
from gitlab_port_export.demo.gitlab_lists import LISTS
from gitlab_port_export.demo.gitlab_pages import Listing, Raw, RefusedError
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_store import OWNER

Result = Listing | Row | Raw
ACCESS_LEVELS = ("5", "10", "15", "20", "25", "30", "40", "50")


@dataclass(frozen=True)
class Route:
    """A path pattern whose `:name` segments match anything, and the function that answers it."""

    pattern: str
    family: str
    answer: Callable[[Call], Result]

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """The decoded values of the named segments; None when the path is another one."""
        expected = self.pattern.strip("/").split("/")
        if len(expected) != len(segments):
            return None
        named: dict[str, str] = {}
        for pattern, segment in zip(expected, segments, strict=True):
            if pattern.startswith(":"):
                named[pattern[1:]] = unquote(segment)
            elif pattern != segment:
                return None
        return named


# Accounts


def _user(call: Call) -> Row:
    user = shapes.own_user_row(call.token.user, call.token.user["id"] in call.world.bots, call.world.now)
    return user | {"is_admin": True} if call.token.admin else user


def _token(call: Call) -> Row:
    return {
        "id": call.token.id,
        "name": call.token.name,
        "revoked": False,
        "created_at": stamp(call.world.ago(days=100)),
        "description": "",
        "scopes": list(call.token.scopes),
        "user_id": call.token.user["id"],
        "last_used_at": stamp(call.world.now),
        "active": True,
        "expires_at": call.token.expires_at,
    }


def _version(_: Call) -> Row:
    return {"version": "18.5.1-ee", "revision": "0a1b2c3d4e5"}


# Groups


def _groups(call: Call) -> Listing:
    rows = call.world.groups.values()
    top = (row for row in rows if not row["parent_id"]) if call.flag("top_level_only") else rows
    return Listing(_chosen_groups(call, top), limited="Group")


def _one_group(call: Call) -> Row:
    group = wanted_group(call)
    row = group | shapes.GROUP_DETAILS | {"shared_with_groups": call.world.group_shares.get(group["id"], [])}
    if call.flag("with_projects", True):
        below = call.world.projects_in.get(row["id"], [])[:100]
        visible = [call.world.projects[id] for id in below if sees_project(call, call.world.projects[id])]
        row |= {"projects": visible, "shared_projects": []}
    return row


def _descendants(call: Call) -> Listing:
    root = wanted_group(call)
    return Listing(_chosen_groups(call, (row for row in call.world.family(root) if row is not root)))


def _subgroups(call: Call) -> Listing:
    children = call.world.subgroups.get(wanted_group(call)["id"], [])
    return Listing(_chosen_groups(call, (call.world.groups[id] for id in children)))


def _chosen_groups(call: Call, pool: Iterable[Row]) -> list[Row]:
    rows = kept(pool, [_reachable_group(call)], _active(call), _archived(call), equal(call, "visibility"))
    found = kept(rows, searched(call, "name", "path"))
    return ordered(call, found, ("name", "path", "id", "similarity"), "name", "asc")


def _reachable_group(call: Call) -> Keep:
    """Own and minimum level beat `all_available`, and those an administrator without membership has not."""
    levels = call.access.groups
    least = _least_level(call)
    if least:
        return lambda row: levels.get(row["id"], 0) >= least
    if call.flag("all_available", call.access.admin):
        return lambda row: sees_group(call, row)
    return lambda row: row["id"] in levels


def _least_level(call: Call) -> int:
    if call.flag("owned"):
        return OWNER
    return int(call.choice("min_access_level", ACCESS_LEVELS) or 0)


def _active(call: Call) -> Iterator[Keep]:
    if (active := call.flag("active")) is not None:
        yield lambda row: is_active(row) == active


def _archived(call: Call) -> Iterator[Keep]:
    if (archived := call.flag("archived")) is not None:
        yield lambda row: row["archived"] == archived


# Projects


def _projects(call: Call) -> Listing:
    return _chosen_projects(call, call.world.projects.values(), keyset=True)


def _group_projects(call: Call) -> Listing:
    group = wanted_group(call)
    below = call.flag("include_subgroups", False)
    ids = call.world.projects_in.get(group["id"], [])
    own = call.world.projects_below(group) if below else (call.world.projects[id] for id in ids)
    shared = _shared_with(call, group) if call.flag("with_shared", True) else ()
    return _chosen_projects(call, [*own, *shared], keyset=False)


def _shared_with(call: Call, group: Row) -> Iterator[Row]:
    for project in call.world.projects.values():
        if any(share["group_id"] == group["id"] for share in project["shared_with_groups"]):
            yield project


def _chosen_projects(call: Call, pool: Iterable[Row], keyset: bool) -> Listing:
    order = call.text("order_by") or "created_at"
    if keyset and call.params.get("pagination") == "keyset" and order != "id":
        raise RefusedError(405, {"error": "Keyset pagination is not yet available for this type of request"})
    rows = kept(
        pool,
        [_reachable_project(call)],
        *(_active(call), _archived(call), equal(call, "visibility")),
        *(period(call, "last_activity"), _topical(call)),
        period(call, "updated") if order == "updated_at" else (),
        searched(call, "name", "path"),
    )
    orders = (
        "id",
        "name",
        "path",
        "created_at",
        "updated_at",
        "last_activity_at",
        "star_count",
        "similarity",
    )
    by_id = keyset and order == "id"
    return Listing(
        ordered(call, rows, orders, "created_at", "desc"),
        keyset="id" if by_id else "",
        limited="Project" if keyset else "",
        present=_simple if call.flag("simple") else lambda row: _with_permissions(call, row),
    )


def _topical(call: Call) -> Iterator[Keep]:
    if topics := [topic for topic in call.text("topic").split(",") if topic]:
        yield lambda row: set(topics) <= set(row["topics"])


def _reachable_project(call: Call) -> Keep:
    levels = call.access.projects
    least = _least_level(call)
    if least:
        return lambda row: levels.get(row["id"], 0) >= least
    if call.flag("membership"):
        return lambda row: row["id"] in levels
    return lambda row: sees_project(call, row)


def _simple(row: Row) -> Row:
    return {key: row[key] for key in shapes.SIMPLE_PROJECT_KEYS}


def _with_permissions(call: Call, row: Row) -> Row:
    def grant(level: int | None) -> Row | None:
        return {"access_level": level, "notification_level": 3} if level else None

    direct = call.access.direct_projects.get(row["id"])
    inherited = call.access.groups.get(row["namespace"]["id"])
    return row | {"permissions": {"project_access": grant(direct), "group_access": grant(inherited)}}


def _one_project(call: Call) -> Row:
    return _with_permissions(call, wanted_project(call)) | shapes.PROJECT_DETAILS


def _languages(call: Call) -> Row:
    project = wanted_project(call)
    forbid_unless(feature(call, project, "repository"))
    return dict(call.world.languages.get(project["id"], {}))


# Labels


def _group_labels(call: Call) -> Listing:
    group = wanted_group(call)
    above = [*call.world.ancestors(group["id"])]
    sources = above if call.flag("include_ancestor_groups", True) else [group]
    if call.flag("include_descendant_groups", False):
        sources += [row for row in call.world.family(group) if row is not group]
    rows = [label for source in sources for label in call.world.group_labels.get(source["id"], ())]
    return _labels(call, rows)


def _project_labels(call: Call) -> Listing:
    project = wanted_project(call)
    rows = [*call.world.project_labels.get(project["id"], ())]
    if call.flag("include_ancestor_groups", True):
        of_group = {"priority": None, "is_project_label": False}
        for group in call.world.ancestors(project["namespace"]["id"]):
            rows += [label | of_group for label in call.world.group_labels.get(group["id"], ())]
    return _labels(call, rows)


def _labels(call: Call, labels: Iterable[Row]) -> Listing:
    return Listing(sorted(kept(labels, searched(call, "name")), key=lambda row: (row["name"], row["id"])))


# Merge requests and issues


def _below(call: Call) -> list[Row]:
    """The visible projects of a group and its subgroups; archived ones only when asked for."""
    archived_too = not call.flag("non_archived", True)
    below = call.world.projects_below(wanted_group(call))
    return [row for row in below if sees_project(call, row) and (archived_too or not row["archived"])]


def _group_merge_requests(call: Call) -> Listing:
    return _merge_requests(call, [row for row in _below(call) if sees_merge_requests(call, row)])


def _project_merge_requests(call: Call) -> Listing:
    return _merge_requests(call, [_mergeable(call)])


def _one_merge_request(call: Call) -> Row:
    return only(call.world.merge_requests.get(_mergeable(call)["id"], ()), "iid", call)


def _mergeable(call: Call) -> Row:
    project = wanted_project(call)
    forbid_unless(sees_merge_requests(call, project))
    return project


def _merge_requests(call: Call, projects: Iterable[Row]) -> Listing:
    rows = kept(
        (row for project in projects for row in call.world.merge_requests.get(project["id"], ())),
        _state(call, ("opened", "closed", "locked", "merged", "all")),
        *(mine(call), labelled(call), _author(call), period(call, "created", "updated", "merged")),
        searched(call, "title", "description"),
    )
    orders = ("created_at", "updated_at", "merged_at", "title", "label_priority", "priority", "popularity")
    return Listing(ordered(call, rows, (*orders, "milestone_due"), "created_at", "desc"))


def _state(call: Call, states: Sequence[str]) -> Iterator[Keep]:
    state = call.choice("state", states, "all")
    if state != "all":
        yield lambda row: bool(row["state"] == state)


def _author(call: Call) -> Iterator[Keep]:
    if username := call.text("author_username"):
        yield lambda row: bool(row["author"]["username"] == username)
    if author := call.text("author_id"):
        yield lambda row: str(row["author"]["id"]) == author


def _group_issues(call: Call) -> Listing:
    return _issues(call, _below(call), "")


def _project_issues(call: Call) -> Listing:
    return _issues(call, [wanted_project(call)], "cursor")


def _one_issue(call: Call) -> Row:
    return only(_visible_issues(call, [wanted_project(call)]), "iid", call)


def _visible_issues(call: Call, projects: Iterable[Row]) -> Iterator[Row]:
    for project in projects:
        if feature(call, project, "issues"):
            issues = call.world.issues.get(project["id"], ())
            yield from (issue for issue in issues if sees_issue(call, project, issue))


def _issues(call: Call, projects: Iterable[Row], keyset: str) -> Listing:
    rows = kept(
        _visible_issues(call, projects),
        _state(call, ("opened", "closed", "all")),
        *(mine(call), labelled(call), _author(call), period(call, "created", "updated")),
        _typed(call),
        searched(call, "title", "description"),
    )
    orders = ("created_at", "updated_at", "title", "id", "due_date", "weight", "relative_position")
    more = ("label_priority", "priority", "popularity", "milestone_due")
    by_id = call.text("order_by") == "id" and call.text("sort") != "asc"
    return Listing(ordered(call, rows, (*orders, *more), "created_at", "desc"), keyset=keyset if by_id else "")


def _typed(call: Call) -> Iterator[Keep]:
    if kind := call.choice("issue_type", ("issue", "incident", "test_case", "task")):
        yield lambda row: bool(row["issue_type"] == kind)


# Pipelines and jobs

STATUSES = (
    *("created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending", "running"),
    *("success", "failed", "canceling", "canceled", "skipped", "manual", "scheduled"),
)
SOURCES = (
    *("push", "web", "trigger", "schedule", "api", "external", "pipeline", "chat", "webide"),
    *("merge_request_event", "external_pull_request_event", "parent_pipeline", "ondemand_dast_scan"),
    *("ondemand_dast_validation", "security_orchestration_policy", "container_registry_push"),
)


def _building(call: Call) -> Row:
    project = wanted_project(call)
    forbid_unless(sees_pipelines(call, project))
    return project


def _pipelines(call: Call) -> Listing:
    project = _building(call)
    call.choice("status", STATUSES)
    source = call.choice("source", SOURCES)
    rows = kept(
        call.world.pipelines.get(project["id"], ()),
        [lambda row: source == "parent_pipeline" or row["source"] != "parent_pipeline"],
        *(equal(call, "status", "source", "ref", "sha", "name"), period(call, "created", "updated")),
        *(_pipeline_scope(call), _run_by(call)),
    )
    found = ordered(call, rows, ("id", "status", "ref", "updated_at", "user_id"), "id", "desc")
    return Listing(_latest_per_ref(found) if call.text("scope") in ("branches", "tags") else found)


def _pipeline_scope(call: Call) -> Iterator[Keep]:
    details = call.world.pipeline_details
    match call.choice("scope", ("running", "pending", "finished", "branches", "tags")):
        case "running" | "pending" as status:
            yield lambda row: bool(row["status"] == status)
        case "finished":
            yield lambda row: row["status"] in shapes.FINISHED
        case "branches":
            yield lambda row: not details.get(row["id"], {}).get("tag")
        case "tags":
            yield lambda row: bool(details.get(row["id"], {}).get("tag"))


def _latest_per_ref(pipelines: Iterable[Row]) -> list[Row]:
    latest: dict[str, int] = {}
    rows = [*pipelines]
    for row in rows:
        latest[row["ref"]] = max(row["id"], latest.get(row["ref"], 0))
    return [row for row in rows if latest[row["ref"]] == row["id"]]


def _run_by(call: Call) -> Iterator[Keep]:
    details = call.world.pipeline_details
    if username := call.text("username"):
        yield lambda row: bool((details.get(row["id"], {}).get("user") or {}).get("username") == username)


def _one_pipeline(call: Call) -> Row:
    pipeline = only(call.world.pipelines.get(_building(call)["id"], ()), "id", call)
    stored = call.world.pipeline_details.get(pipeline["id"])
    return pipeline | (stored or shapes.pipeline_details(pipeline, None))


def _pipeline_jobs(call: Call) -> Listing:
    project = _building(call)
    pipeline = only(call.world.pipelines.get(project["id"], ()), "id", call)
    retried = call.world.retried_jobs
    again = call.flag("include_retried", False)
    rows = kept(
        call.world.jobs.get(project["id"], ()),
        [lambda row: row["pipeline"]["id"] == pipeline["id"], lambda row: again or row["id"] not in retried],
        _job_scope(call),
    )
    return Listing(rows[::-1])


def _project_jobs(call: Call) -> Listing:
    project = _building(call)
    rows = kept(call.world.jobs.get(project["id"], ()), _job_scope(call))
    return Listing(rows[::-1], keyset="cursor", counted=False)


def _job_scope(call: Call) -> Iterator[Keep]:
    value = call.params.get("scope")
    if value:
        scopes = [value] if isinstance(value, str) else value
        if not set(scopes) <= set(STATUSES):
            raise RefusedError(400, {"error": "scope does not have a valid value"})
        yield lambda row: row["status"] in scopes


ROUTES = (
    Route("/user", "user", _user),
    Route("/users", "users", people.users),
    Route("/personal_access_tokens/self", "token", _token),
    Route("/version", "version", _version),
    Route("/groups", "groups", _groups),
    Route("/groups/:id", "groups", _one_group),
    Route("/groups/:id/descendant_groups", "groups", _descendants),
    Route("/groups/:id/subgroups", "groups", _subgroups),
    Route("/groups/:id/projects", "projects", _group_projects),
    Route("/groups/:id/labels", "labels", _group_labels),
    Route("/groups/:id/members", "members", people.group_members),
    Route("/groups/:id/members/all", "members", people.all_group_members),
    Route("/groups/:id/merge_requests", "merge_requests", _group_merge_requests),
    Route("/groups/:id/issues", "issues", _group_issues),
    Route("/projects", "projects", _projects),
    Route("/projects/:id", "projects", _one_project),
    Route("/projects/:id/languages", "languages", _languages),
    Route("/projects/:id/labels", "labels", _project_labels),
    Route("/projects/:id/members", "members", people.project_members),
    Route("/projects/:id/members/all", "members", people.all_project_members),
    Route("/projects/:id/merge_requests", "merge_requests", _project_merge_requests),
    Route("/projects/:id/merge_requests/:number", "merge_requests", _one_merge_request),
    Route("/projects/:id/issues", "issues", _project_issues),
    Route("/projects/:id/issues/:number", "issues", _one_issue),
    Route("/projects/:id/pipelines", "pipelines", _pipelines),
    Route("/projects/:id/pipelines/:number", "pipelines", _one_pipeline),
    Route("/projects/:id/pipelines/:number/jobs", "jobs", _pipeline_jobs),
    Route("/projects/:id/jobs", "jobs", _project_jobs),
    Route("/projects/:id/search", "search", repository.project_search),
    Route("/groups/:id/search", "search", repository.group_search),
    Route("/projects/:id/repository/tree", "tree", repository.tree),
    Route("/projects/:id/repository/files/:path", "files", repository.file),
    Route("/projects/:id/repository/files/:path/raw", "files", repository.raw_file),
    *(Route(*entry) for entry in LISTS),
)


def find_route(path: str) -> tuple[Route, dict[str, str]]:
    """The route of a path below `/api/v4`, still percent-encoded, and its decoded names."""
    segments = path.strip("/").split("/")
    for route in ROUTES:
        if (ids := route.match(segments)) is not None:
            return route, ids
    raise RefusedError(404, {"error": "404 Not Found"})
