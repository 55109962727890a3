"""What one token sees of a world, as the oracle reads it; nothing here is shared with src."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from gitlab_port_export.demo.gitlab_access import OWNER, PLANNER, REPORTER, Access
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_store import World

Patterns = Mapping[str, Sequence[str]]
V1_DAYS = 14
BOT_NAME = re.compile(r"(project|group)_\d+_bot_[a-f0-9]+")
# (id of the group or project, row).
Found = Iterator[tuple[int, Row]]


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
        return not issue["confidential"] or self.level(project) >= PLANNER or self.access.user_id in people

    def builds(self, project: Row) -> bool:
        return self.feature(project, "builds") and (project["public_jobs"] or self.level(project) >= REPORTER)


def is_active(row: Row) -> bool:
    return not row["archived"] and not row["marked_for_deletion_on"]


def yes(value: Any) -> bool:
    """A boolean as lenient readers take it."""
    return str(value).lower() in ("true", "yes", "on", "y", "t", "1")


def yes_or_none(value: Any) -> bool | None:
    return None if value is None else yes(value)


def active_projects(selector: Row) -> bool | None:
    return yes_or_none(selector.get("includeOnlyActiveProjects"))


def active_groups(selector: Row) -> bool | None:
    return yes_or_none(selector.get("includeOnlyActiveGroups"))


def days_ago(days: float) -> str:
    return stamp(datetime.now(UTC) - timedelta(days=days))


def moment(text: str | None, default: str) -> str:
    return stamp(datetime.fromisoformat(text)) if text else default


def with_path(project: Row) -> Row:
    return {"__project": {"path_with_namespace": project["path_with_namespace"]}}


def languages_of(eye: Eyes, project: Row) -> Row:
    return dict(eye.world.languages.get(project["id"], {})) if eye.feature(project, "repository") else {}


def people_of(world: World, source: Row, selector: Row) -> list[Row]:
    """Member rows by user id, without bots unless they are wanted."""
    is_group = "full_path" in source
    rows = list((world.group_members if is_group else world.project_members).get(source["id"], []))
    if yes(selector.get("includeInheritedMembers", False)):
        home = source["id"] if is_group else source["namespace"]["id"]
        direct = [] if is_group else rows
        rows = [*direct, *inherited_by(world, home)]
        for share in () if is_group else source["shared_with_groups"]:
            most = share["group_access_level"]
            invited = inherited_by(world, share["group_id"])
            rows += [row | {"access_level": min(row["access_level"], most)} for row in invited]
    best: dict[int, Row] = {}
    for row in rows:
        if row["id"] not in best or row["access_level"] > best[row["id"]]["access_level"]:
            best[row["id"]] = row
    bots_too = yes(selector.get("includeBotMembers", False))
    return [best[id] for id in sorted(best) if bots_too or not is_bot(best[id])]


def inherited_by(world: World, group_id: int) -> list[Row]:
    return [row for group in world.ancestors(group_id) for row in world.group_members.get(group["id"], [])]


def is_bot(row: Row) -> bool:
    said = row.get("bot")
    return bool(BOT_NAME.fullmatch(row["username"])) if said is None else bool(said)


def shaped(eye: Eyes, rows: Iterable[Row], selector: Row) -> list[Row]:
    if not eye.v1:
        return [{key: row.get(key) for key in ("email", "username", "name", "access_level", "id")} for row in rows]
    if yes(selector.get("includeVerboseMemberObject", False)):
        return list(rows)
    return [{"id": row["id"], "username": row["username"], "email": row.get("email") or ""} for row in rows]
