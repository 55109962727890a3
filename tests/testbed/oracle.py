"""An independent, slow and plain model of which entities a mapping makes of a world; nothing here is shared with src.

Rows are looked up in the world itself, expressions run one by one with jq, and the outcome is what Port then holds.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache
from typing import Any
from zlib import crc32

import jq

from gitlab_port_export.demo.gitlab_list_rows import branch_row
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_store import OWNER, REPORTER, Access, World
from testbed.oracle_files import file_rows, folder_rows, path_of

# Blueprint → identifier → (title, icon, team, properties, relations), as `PortStore.snapshot`.
Snapshot = dict[str, dict[str, Any]]
Patterns = Mapping[str, Sequence[str]]
V1_DAYS = 14
BOT_NAME = re.compile(r"(project|group)_\d+_bot_[a-f0-9]+")
PLAIN_PATH = re.compile(r'(\.[A-Za-z_]\w*|\.?\[("[^"]*"|\d+)\])+')


def expected(
    world: World,
    mapping: Mapping[str, Any],
    blueprints: Mapping[str, Any],
    *,
    tokens: Patterns | None = None,
    type: str = "gitlab-v2",
) -> Snapshot:
    """What an empty Port with these blueprints holds after a run; `tokens` see everything by default."""
    eyes = eyes_of(world, mapping, tokens, type)
    whole = not mapping.get("enableMergeEntity", True)
    held: dict[tuple[str, str], Entity] = {}
    for resource in mapping["resources"]:
        mappings, rows = resource["port"]["entity"]["mappings"], list(rows_of(resource, eyes))
        for one in mappings if isinstance(mappings, list) else [mappings]:
            for key, entity in _entities(resource, one, rows).items():
                held[key] = entity if whole or key not in held else held[key].under(entity)
    return _in_port(held.values(), blueprints)


def unmatched(
    world: World, mapping: Mapping[str, Any], *, tokens: Patterns | None = None, type: str = "gitlab-v2"
) -> int:
    """How many patterns match no group and no project that their token lists."""
    return sum(
        not any(replace(eye, patterns=(pattern,)).allows(path) for path in eye.listed_paths())
        for eye in eyes_of(world, mapping, tokens, type)
        for pattern in eye.patterns
    )


# --- who sees what ---


def eyes_of(world: World, mapping: Mapping[str, Any], tokens: Patterns | None, type: str) -> "list[Eyes]":
    given = tokens or {secret: ["**"] for secret in world.tokens}
    return [
        Eyes(world, world.access(world.tokens[secret]), tuple(patterns), type == "gitlab", mapping)
        for secret, patterns in given.items()
    ]


@dataclass(frozen=True)
class Eyes:
    """What one token sees, by its memberships, its patterns, the dialect and the options of the mapping's root."""

    world: World
    access: Access
    patterns: tuple[str, ...]
    v1: bool
    root: Mapping[str, Any]

    def allows(self, path: str) -> bool:
        """Whether a pattern matches the whole path; `**/` at its start may also stand for nothing."""
        shapes = [shape for p in self.patterns for shape in (p, p.removeprefix("**/"))]
        return any(fnmatchcase(path, shape) for shape in shapes)

    def level(self, project: Row) -> int:
        return OWNER if self.access.admin else self.access.projects.get(project["id"], 0)

    def sees(self, row: Row, levels: Mapping[int, int]) -> bool:
        return self.access.admin or row["id"] in levels or row["visibility"] != "private"

    def feature(self, project: Row, name: str) -> bool:
        """Whether the project's feature is switched on for this user."""
        setting = project[f"{name}_access_level"]
        return setting == "enabled" or (setting == "private" and self.level(project) > 0)

    def least(self) -> int:
        visibility = self.root.get("visibility") or {}
        return int(visibility.get("minAccessLevel", 30)) if yes(visibility.get("useMinAccessLevel", True)) else 0

    def listed_groups(self, active: bool | None = None) -> list[Row]:
        """The groups of the dialect's own listing, whatever the patterns."""
        levels, least = self.access.groups, self.least()
        if self.v1:
            found = [g for g in self.world.groups.values() if self.access.admin or g["id"] in levels]
        elif least:
            found = [g for g in self.world.groups.values() if levels.get(g["id"], 0) >= least]
        else:
            found = [g for g in self.world.groups.values() if self.sees(g, levels)]
        if not self.v1:
            found = [g for g in found if not g["marked_for_deletion_on"]]
        return [g for g in found if active is None or is_active(g) == active]

    def listed_projects(self, active: bool | None = None) -> list[Row]:
        """The projects of the dialect's own listing, whatever the patterns."""
        levels, projects = self.access.projects, self.world.projects.values()
        if self.v1:
            owned = self.root.get("filterOwnedProjects", True)
            wanted = self.root.get("projectVisibilityFilter")
            least = OWNER if owned is not None and yes(owned) else 0
            found = [p for p in projects if wanted in (None, p["visibility"])]
        else:
            least = self.least()
            found = [p for p in projects if not p["marked_for_deletion_at"]]
        if least:
            found = [p for p in found if levels.get(p["id"], 0) >= least]
        else:
            found = [p for p in found if self.sees(p, levels)]
        return [p for p in found if active is None or is_active(p) == active]

    def listed_paths(self) -> list[str]:
        groups = [str(g["full_path"]) for g in self.listed_groups()]
        return groups + [str(p["path_with_namespace"]) for p in self.listed_projects()]

    def groups(self, active: bool | None = None) -> list[Row]:
        return [g for g in self.listed_groups(active) if self.allows(g["full_path"])]

    def projects(self, active: bool | None = None) -> list[Row]:
        found = [p for p in self.listed_projects(active) if self.allows(p["path_with_namespace"])]
        return [p | {"permissions": self.permissions(p)} for p in found]

    def permissions(self, project: Row) -> Row:
        """The user's own role in the project, and the role in its group."""
        direct = self.access.direct_projects.get(project["id"])
        inherited = self.access.groups.get(project["namespace"]["id"])
        roles = {"project_access": direct, "group_access": inherited}
        return {k: {"access_level": v, "notification_level": 3} if v else None for k, v in roles.items()}

    def below_groups(self, active: bool | None = None) -> list[Row]:
        """Projects whose merge requests and issues are wanted: below a listed group, or listed themselves."""
        below = {p["id"]: p for g in self.listed_groups(active) for p in self.world.projects_below(g)}
        own = {p["id"]: p for p in self.listed_projects(active) if not self._in_listed_group(p)}
        found = [p for p in (below | own).values() if self.sees(p, self.access.projects)]
        return [p for p in found if self.allows(p["path_with_namespace"])]

    def _in_listed_group(self, project: Row) -> bool:
        listed = {g["id"] for g in self.listed_groups()}
        return any(g["id"] in listed for g in self.world.ancestors(project["namespace"]["id"]))

    def merge_requests(self, project: Row) -> list[Row]:
        code = project["visibility"] != "private" or self.level(project) >= REPORTER
        on = code and self.feature(project, "merge_requests") and self.feature(project, "repository")
        return self.world.merge_requests.get(project["id"], []) if on else []

    def issues(self, project: Row) -> list[Row]:
        if not self.feature(project, "issues"):
            return []
        return [i for i in self.world.issues.get(project["id"], []) if self._sees_issue(project, i)]

    def _sees_issue(self, project: Row, issue: Row) -> bool:
        people = {person["id"] for person in (issue["author"], *issue["assignees"])}
        return not issue["confidential"] or self.level(project) >= REPORTER or self.access.user_id in people

    def builds(self, project: Row) -> bool:
        return self.feature(project, "builds") and (project["public_jobs"] or self.level(project) >= REPORTER)


def is_active(row: Row) -> bool:
    return not row["archived"] and not row["marked_for_deletion_on"]


def yes(value: Any) -> bool:
    """A boolean as lenient readers take it."""
    return str(value).lower() in ("true", "yes", "on", "y", "t", "1")


def yes_or_none(value: Any) -> bool | None:
    return None if value is None else yes(value)


# --- rows of each kind: (scope id, row), each once ---

Found = Iterator[tuple[int, Row]]


def _name_of(row: Row) -> str | int:
    return path_of(row) if "file" in row or "folder" in row else crc32((row.get("tag_name") or row["name"]).encode())


def rows_of(resource: Mapping[str, Any], eyes: Sequence[Eyes]) -> list[Row]:
    """The rows that feed a resource, each (scope, row) once, in the order in which the first of equal keys wins.

    Of several tokens the one with the highest role gives a project's row, then the first.
    """
    read = KINDS[resource["kind"]]
    found: dict[tuple[int, Any], Row] = {}
    for eye in eyes:
        for scope, row in read(resource["selector"], eye):
            # What has no id is told apart by its path or name, and is in no order that anybody knows.
            place = scope, row["id"] if "id" in row else _name_of(row)
            if place not in found or _granted(row) > _granted(found[place]):
                found[place] = row
    return [copy.deepcopy(found[place]) for place in sorted(found)]


def _granted(row: Row) -> int:
    roles = ((row.get("__project") or row.get("repo") or row).get("permissions") or {}).values()
    return max((role["access_level"] for role in roles if role), default=0)


def _projects(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(_active_projects(selector)):
        row = dict(project)
        if eye.v1 or yes(selector.get("includeLanguages", False)):
            row["__languages"] = _languages(eye, project)
        if eye.v1 and yes(selector.get("includeLabels", False)):
            row["__labels"] = _labels(eye.world, project)
        yield project["id"], row


def _languages(eye: Eyes, project: Row) -> Row:
    return dict(eye.world.languages.get(project["id"], {})) if eye.feature(project, "repository") else {}


def _labels(world: World, project: Row) -> list[Row]:
    inherited = [
        label | {"priority": None, "is_project_label": False}
        for group in world.ancestors(project["namespace"]["id"])
        for label in world.group_labels.get(group["id"], [])
    ]
    own = world.project_labels.get(project["id"], [])
    return sorted([*own, *inherited], key=lambda label: (label["name"], label["id"]))


def _groups(selector: Row, eye: Eyes) -> Found:
    yield from ((g["id"], g) for g in eye.groups(_active_groups(selector)))


def _active_projects(selector: Row) -> bool | None:
    return yes_or_none(selector.get("includeOnlyActiveProjects"))


def _active_groups(selector: Row) -> bool | None:
    return yes_or_none(selector.get("includeOnlyActiveGroups"))


def _members(selector: Row, eye: Eyes) -> Found:
    for group in eye.groups(_active_groups(selector)):
        yield from ((group["id"], row) for row in _people_of(eye.world, group, selector))


def _groups_with_members(selector: Row, eye: Eyes) -> Found:
    for group in eye.groups(_active_groups(selector)):
        yield group["id"], group | {"__members": _shaped(eye, _people_of(eye.world, group, selector), selector)}


def _projects_with_members(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(_active_projects(selector)):
        row = project | {"__members": _shaped(eye, _people_of(eye.world, project, selector), selector)}
        yield project["id"], row | ({"__languages": _languages(eye, project)} if eye.v1 else {})


def _people_of(world: World, source: Row, selector: Row) -> list[Row]:
    """Member rows by user id, without bots unless they are wanted."""
    is_group = "full_path" in source
    rows = list((world.group_members if is_group else world.project_members).get(source["id"], []))
    if yes(selector.get("includeInheritedMembers", False)):
        home = source["id"] if is_group else source["namespace"]["id"]
        direct = [] if is_group else rows
        rows = [*direct, *_inherited(world, home)]
        for share in () if is_group else source["shared_with_groups"]:
            most = share["group_access_level"]
            invited = _inherited(world, share["group_id"])
            rows += [row | {"access_level": min(row["access_level"], most)} for row in invited]
    best: dict[int, Row] = {}
    for row in rows:
        if row["id"] not in best or row["access_level"] > best[row["id"]]["access_level"]:
            best[row["id"]] = row
    bots_too = yes(selector.get("includeBotMembers", False))
    return [best[id] for id in sorted(best) if bots_too or not _is_bot(best[id])]


def _inherited(world: World, group_id: int) -> list[Row]:
    return [row for group in world.ancestors(group_id) for row in world.group_members.get(group["id"], [])]


def _is_bot(row: Row) -> bool:
    said = row.get("bot")
    return bool(BOT_NAME.fullmatch(row["username"])) if said is None else bool(said)


def _shaped(eye: Eyes, rows: Iterable[Row], selector: Row) -> list[Row]:
    if not eye.v1:
        return [{key: row.get(key) for key in ("email", "username", "name", "access_level", "id")} for row in rows]
    if yes(selector.get("includeVerboseMemberObject", False)):
        return list(rows)
    return [{"id": row["id"], "username": row["username"], "email": row.get("email") or ""} for row in rows]


def _days_ago(days: float) -> str:
    return stamp(datetime.now(UTC) - timedelta(days=days))


def _merge_requests(selector: Row, eye: Eyes) -> Found:
    if eye.v1:
        states, since = {"opened", "closed", "locked", "merged"}, _days_ago(V1_DAYS)
    else:
        states, since = set(selector.get("states", ["opened"])), _days_ago(float(selector.get("updatedAfter", 90)))
    for project in eye.below_groups(None if eye.v1 else _active_groups(selector)):
        for row in () if project["archived"] else eye.merge_requests(project):
            if row["state"] in states and (row["state"] == "opened" or row["updated_at"] >= since):
                yield project["id"], row


def _issues(selector: Row, eye: Eyes) -> Found:
    wanted = {} if eye.v1 else selector
    days = float(wanted.get("updatedAfter") or 0)
    since = _days_ago(days) if days else ""
    labels = {label for label in (wanted.get("labels") or "").split(",") if label}
    for project in eye.below_groups(_active_groups(wanted)):
        for row in () if project["archived"] and yes(wanted.get("nonArchived", True)) else eye.issues(project):
            if (
                wanted.get("state") in (None, row["state"])
                and wanted.get("issueType") in (None, row["issue_type"])
                and labels <= set(row["labels"])
                and row["updated_at"] >= since
            ):
                yield project["id"], row


def _pipelines(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(_active_projects(selector)):
        path = {"path_with_namespace": project["path_with_namespace"]}
        for row in _pipelines_of(eye, project, selector.get("apiQueryParams") or {}):
            yield project["id"], row | {"__project": project if eye.v1 else path}


def _pipelines_of(eye: Eyes, project: Row, params: Row) -> list[Row]:
    """The pipelines that GitLab lists; those of a parent only when asked for."""
    if not eye.builds(project):
        return []
    params = {"created_after": _days_ago(V1_DAYS)} if eye.v1 else {k: v for k, v in params.items() if v is not None}
    rows = eye.world.pipelines.get(project["id"], [])
    found = [row for row in rows if (params.get("source") == "parent_pipeline") == (row["source"] == "parent_pipeline")]
    for name in ("status", "source", "ref", "sha", "name"):
        found = [row for row in found if params.get(name) in (None, row[name])]
    for name in ("created", "updated"):
        found = [row for row in found if row[f"{name}_at"] >= _moment(params.get(f"{name}_after"), "")]
        found = [row for row in found if row[f"{name}_at"] <= _moment(params.get(f"{name}_before"), "9")]
    if username := params.get("username"):
        found = [row for row in found if (_details(eye, row).get("user") or {}).get("username") == username]
    match params.get("scope"):
        case "running" | "pending" as status:
            found = [row for row in found if row["status"] == status]
        case "finished":
            found = [row for row in found if row["status"] in ("success", "failed", "canceled", "skipped")]
        case "branches" | "tags" as scope:
            found = [row for row in found if bool(_details(eye, row).get("tag")) == (scope == "tags")]
            newest = {row["ref"]: row["id"] for row in sorted(found, key=lambda row: row["id"])}
            found = [row for row in found if newest[row["ref"]] == row["id"]]
    return found


def _details(eye: Eyes, pipeline: Row) -> Row:
    return eye.world.pipeline_details.get(pipeline["id"], {})


def _moment(text: str | None, default: str) -> str:
    return stamp(datetime.fromisoformat(text)) if text else default


def _jobs(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(_active_projects(selector)):
        jobs = eye.world.jobs.get(project["id"], []) if eye.builds(project) else []
        if not eye.v1:
            wanted = {row["id"] for row in _pipelines_of(eye, project, selector.get("pipelineQueryParams") or {})}
            jobs = [j for j in jobs if j["pipeline"]["id"] in wanted and j["id"] not in eye.world.retried_jobs]
        yield from ((project["id"], row) for row in jobs)


def _path_of(project: Row) -> Row:
    return {"__project": {"path_with_namespace": project["path_with_namespace"]}}


def _with_code(selector: Row, eye: Eyes) -> Iterator[Row]:
    """Projects with a repository that holds something."""
    for project in eye.projects(_active_projects(selector)):
        if not project["empty_repo"] and eye.feature(project, "repository"):
            yield project


def _releases(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(_active_projects(selector)):
        if eye.feature(project, "releases") and eye.feature(project, "repository"):
            rows = eye.world.releases.get(project["id"], [])
            yield from ((project["id"], row | _path_of(project)) for row in rows)


def _tags(selector: Row, eye: Eyes) -> Found:
    for project in _with_code(selector, eye):
        yield from ((project["id"], row | _path_of(project)) for row in eye.world.tags.get(project["id"], []))


def _branches(selector: Row, eye: Eyes) -> Found:
    pattern, words = selector.get("regex"), selector.get("search") or ""
    text = words.strip("^$").lower()
    for project in _with_code(selector, eye):
        default = project["default_branch"]
        rows = eye.world.branches.get(project["id"]) or [branch_row(project, default)] if default else []
        for row in rows:
            name = row["name"]
            if yes(selector.get("defaultBranchOnly", True)):
                wanted = name == default
            elif pattern:
                wanted = re.search(pattern, name) is not None
            else:
                starts = not words.startswith("^") or name.startswith(text)
                wanted = text in name.lower() and starts and (not words.endswith("$") or name.endswith(text))
            if wanted:
                yield project["id"], row | _path_of(project)


def _deploying(selector: Row, eye: Eyes) -> Iterator[Row]:
    for project in eye.projects(_active_projects(selector)):
        if all(eye.feature(project, name) for name in ("repository", "builds", "environments")):
            yield project


def _environments(selector: Row, eye: Eyes) -> Found:
    states = selector.get("states", ["available", "stopping", "stopped"])
    for project in _deploying(selector, eye):
        for row in eye.world.environments.get(project["id"], []):
            if row["state"] in states:
                yield project["id"], row | _path_of(project)


def _deployments(selector: Row, eye: Eyes) -> Found:
    given = selector.get("apiQueryParams") or {}
    query = {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name): value for name, value in given.items()}
    for project in _deploying(selector, eye):
        for row in eye.world.deployments.get(project["id"], []):
            times = {"updated": row["updated_at"], "finished": eye.world.finished[row["id"]]}
            if (
                query.get("status") in (None, row["status"])
                and query.get("environment") in (None, row["environment"]["name"])
                and all(time >= _moment(query.get(f"{name}_after"), "") for name, time in times.items() if time)
                and all(time <= _moment(query.get(f"{name}_before"), "9") for name, time in times.items() if time)
            ):
                yield project["id"], row | {"__project": project}


def _in_scopes(of_groups: str, of_projects: str) -> Callable[[Row, Eyes], Found]:
    def found(selector: Row, eye: Eyes) -> Found:
        scopes, state = selector.get("scopes", ["group", "project"]), selector.get("state")
        for group in eye.groups(_active_groups(selector)) if "group" in scopes else []:
            for row in getattr(eye.world, of_groups).get(group["id"], []):
                if state in (None, row.get("state")):
                    yield group["id"], row | {"__group": {"full_path": group["full_path"]}}
        for project in eye.projects(_active_projects(selector)) if "project" in scopes else []:
            on = eye.feature(project, "issues") or eye.feature(project, "merge_requests")
            for row in getattr(eye.world, of_projects).get(project["id"], []) if on else []:
                if state in (None, row.get("state")):
                    yield project["id"], row | _path_of(project)

    return found


KINDS: dict[str, Callable[[Row, Eyes], Found]] = {
    "project": _projects,
    "group": _groups,
    "member": _members,
    "group-with-members": _groups_with_members,
    "project-with-members": _projects_with_members,
    "merge-request": _merge_requests,
    "issue": _issues,
    "pipeline": _pipelines,
    "job": _jobs,
    "file": file_rows,
    "folder": folder_rows,
    "release": _releases,
    "tag": _tags,
    "branch": _branches,
    "environment": _environments,
    "deployment": _deployments,
    "label": _in_scopes("group_labels", "project_labels"),
    "milestone": _in_scopes("group_milestones", "milestones"),
}


# --- rows become entities ---


@dataclass(frozen=True)
class Entity:
    """What one row became; only the fields that the mapping names are there, null where they gave nothing."""

    blueprint: str
    identifier: str
    top: Row = field(default_factory=dict)
    properties: Row = field(default_factory=dict)
    relations: Row = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.blueprint, self.identifier

    def under(self, later: "Entity") -> "Entity":
        """This entity with the fields of a later one laid over it."""
        return Entity(
            self.blueprint,
            self.identifier,
            self.top | later.top,
            self.properties | later.properties,
            self.relations | later.relations,
        )


def _entities(
    resource: Mapping[str, Any], mapping: Mapping[str, Any], rows: Iterable[Row]
) -> dict[tuple[str, str], Entity]:
    """Entities of one entity mapping by key; the first row of a key wins, and of one row its last item."""
    found: dict[tuple[str, str], Entity] = {}
    for row in rows:
        found = {entity.key: entity for entity in _entities_of(resource, mapping, row)} | found
    return found


def _entities_of(resource: Mapping[str, Any], mapping: Mapping[str, Any], row: Row) -> Iterator[Entity]:
    for item in _items(resource["port"], row):
        if first(resource["selector"]["query"], item) is True and (entity := _entity(mapping, item)):
            yield entity


def _items(port: Mapping[str, Any], row: Row) -> list[Row]:
    """The row itself, or one row for each item that `itemsToParse` finds in it."""
    expression = port.get("itemsToParse")
    if expression is None:
        return [row]
    items = first(expression, row)
    if not isinstance(items, list):
        return []
    path = _plain_path(expression) if yes(port.get("itemsToParseTopLevelTransform", True)) else None
    rest = jq.compile(f"del({path})").input_value(row).first() if path else row
    return [rest | {port.get("itemsToParseName", "item"): item} for item in items]


def _plain_path(expression: str) -> str | None:
    for part in (part.strip() for part in expression.split("|")):
        text = part[1:].split(")")[0].strip() if part.startswith("(") else part
        if found := PLAIN_PATH.match(text):
            return found[0]
    return None


def _entity(mapping: Mapping[str, Any], row: Row) -> Entity | None:
    blueprint, identifier = first(mapping["blueprint"], row), first(mapping["identifier"], row)
    if not blueprint or not identifier:
        return None
    return Entity(
        blueprint,
        identifier if isinstance(identifier, str) else jq.compile("tostring").input_value(identifier).first(),
        {name: first(mapping[name], row) for name in ("title", "icon", "team") if name in mapping},
        {name: first(text, row) for name, text in (mapping.get("properties") or {}).items()},
        {name: first(text, row) for name, text in (mapping.get("relations") or {}).items()},
    )


def first(expression: Any, row: Row) -> Any:
    """The first thing that an expression gives for a row; null for nothing and for an error."""
    try:
        return _program(double_quoted(str(expression))).input_value(row).first()
    except (StopIteration, ValueError):
        return None


@cache
def _program(text: str) -> Any:
    return jq.compile(text)


def double_quoted(text: str) -> str:
    """Turn `'` into `"` where it opens a word (behind nothing or a blank) or closes one (before nothing or a blank)."""
    opens = re.compile(r"""(?:^|(?<=\s))'(?![\s"])""")
    closes = re.compile(r"""(?<![\s"])'(?=\s|$)""")
    places = {match.start() for pattern in (opens, closes) for match in pattern.finditer(text)}
    return "".join('"' if place in places else sign for place, sign in enumerate(text))


# --- entities as Port holds them ---


def _in_port(entities: Iterable[Entity], blueprints: Mapping[str, Any]) -> Snapshot:
    held: Snapshot = {name: {} for name in blueprints}
    targets: dict[tuple[str, str], None] = {}
    for entity in entities:
        definition = blueprints[entity.blueprint]
        relations = {name: value for name, value in entity.relations.items() if value is not None}
        for name, value in relations.items():
            for target in value if isinstance(value, list) else [value]:
                targets[definition["relations"][name]["target"], target] = None
        relations = {k: list(dict.fromkeys(v)) if isinstance(v, list) else v for k, v in relations.items()}
        team = entity.top.get("team")
        held[entity.blueprint][entity.identifier] = (
            entity.top.get("title") or entity.identifier,
            entity.top.get("icon"),
            [team] if isinstance(team, str) else list(team or ()),
            _defaults(definition) | {name: value for name, value in entity.properties.items() if value is not None},
            relations,
        )
    for name, identifier in targets:
        held[name].setdefault(identifier, (identifier, None, [], _defaults(blueprints[name]), {}))
    return held


def _defaults(definition: Mapping[str, Any]) -> Row:
    return {name: one["default"] for name, one in definition["schema"]["properties"].items() if "default" in one}
