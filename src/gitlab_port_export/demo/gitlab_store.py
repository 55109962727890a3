"""A GitLab as plain Python: users, tokens, groups, projects and their rows, with builders to change them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gitlab_port_export.demo import gitlab_moves as moves
from gitlab_port_export.demo import gitlab_rows as rows
from gitlab_port_export.demo import gitlab_work_rows as work_rows
from gitlab_port_export.demo.gitlab_access import OWNER, Access, Token, access_of
from gitlab_port_export.demo.gitlab_rows import Row, stamp

When = datetime | str | None
Lists = defaultdict[int, list[Row]]
# By project and branch ("" is the default one): content by path.
Files = defaultdict[int, defaultdict[str, dict[str, bytes]]]


def _lists() -> Lists:
    return defaultdict(list)


@dataclass
class World:
    """Everything one GitLab holds, as the full JSON rows its API sends.

    `now` is its present, which a `WorldClock` moves. Rows may be changed in place, but their nested values are shared:
    replace those. A server that caches notices changes by `version`, which every builder bumps; call `touch` after
    changing a row by hand.
    """

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    url: str = "https://gitlab.example.com"
    version: int = 0
    users: dict[int, Row] = field(default_factory=dict)
    bots: set[int] = field(default_factory=set)
    # By user id: what administrators see and is not as usual, such as `last_activity_on`.
    accounts: dict[int, Row] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    groups: dict[int, Row] = field(default_factory=dict)
    projects: dict[int, Row] = field(default_factory=dict)
    group_members: Lists = field(default_factory=_lists)
    project_members: Lists = field(default_factory=_lists)
    group_shares: Lists = field(default_factory=_lists)
    group_labels: Lists = field(default_factory=_lists)
    project_labels: Lists = field(default_factory=_lists)
    merge_requests: Lists = field(default_factory=_lists)
    issues: Lists = field(default_factory=_lists)
    pipelines: Lists = field(default_factory=_lists)
    jobs: Lists = field(default_factory=_lists)
    releases: Lists = field(default_factory=_lists)
    tags: Lists = field(default_factory=_lists)
    branches: Lists = field(default_factory=_lists)
    environments: Lists = field(default_factory=_lists)
    deployments: Lists = field(default_factory=_lists)
    milestones: Lists = field(default_factory=_lists)
    group_milestones: Lists = field(default_factory=_lists)
    # Rows of kinds that have no field of their own, by kind, whether of a group, and id: see `rows_of`.
    others: defaultdict[tuple[str, bool, int], list[Row]] = field(default_factory=lambda: defaultdict(list))
    languages: dict[int, dict[str, float]] = field(default_factory=dict)
    files: Files = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    # Whether groups can be searched for file contents, how many results a search gives at most, and the projects
    # that the search index has not seen yet.
    advanced_search: bool = True
    search_cap: int = 10_000
    unindexed: set[int] = field(default_factory=set)
    # Projects of which GraphQL gives no lists, as where the token may read them over REST alone.
    unanswered: set[int] = field(default_factory=set)
    pipeline_details: dict[int, Row] = field(default_factory=dict)
    retried_jobs: set[int] = field(default_factory=set)
    # When deployments finished: GitLab filters and sorts by it and does not show it.
    finished: dict[int, str | None] = field(default_factory=dict)
    # When something was last pushed to a project; whether Events and pushes move its `updated_at`: in newer versions.
    pushed: dict[int, datetime] = field(default_factory=dict)
    events_touch_projects: bool = True
    moved: dict[str, int] = field(default_factory=dict)
    subgroups: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    projects_in: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    # Groups and projects by key and path: `full_path:…`, `path_with_namespace:…`.
    paths: dict[str, Row] = field(default_factory=dict)
    _personal: dict[int, Row] = field(default_factory=dict)
    memberships: defaultdict[int, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    _ids: Counter[str] = field(default_factory=Counter)
    _iids: Counter[tuple[str, int]] = field(default_factory=Counter)

    # Time and numbers

    def touch(self) -> None:
        """Say that something changed."""
        self.version += 1

    def ago(self, **span: float) -> datetime:
        """The moment that lies `days=`, `hours=`, ... before the world's now."""
        return self.now - timedelta(**span)

    def new_id(self, kind: str) -> int:
        """The next id of that kind of row."""
        self.touch()
        self._ids[kind] += 1
        return self._ids[kind]

    def _iid(self, kind: str, project: Row) -> int:
        self._iids[kind, project["id"]] += 1
        return self._iids[kind, project["id"]]

    def _times(self, id: int, created_at: When, updated_at: When) -> tuple[str, str]:
        """Created and updated; by default within the last ten days, later for higher ids."""
        created = created_at or self.ago(days=10) + timedelta(minutes=id)
        updated = updated_at or (created + timedelta(seconds=90) if isinstance(created, datetime) else created)
        return _text(created), _text(updated)

    # People

    def add_user(self, username: str, name: str | None = None, bot: bool = False, **overrides: Any) -> Row:
        """Add an account."""
        id = self.new_id("user")
        self.users[id] = rows.user_row(self.url, id, username, name or username) | overrides
        if bot:
            self.bots.add(id)
        return self.users[id]

    def add_token(
        self,
        secret: str,
        user: Row,
        scopes: tuple[str, ...] = ("read_api",),
        admin: bool = False,
        revoked: bool = False,
        expired: bool = False,
        name: str = "catalog",
    ) -> Token:
        """Add an access token of `user`; `admin` makes the account an administrator."""
        token = Token(secret, user, self.new_id("token"), name, scopes, admin, revoked, expired)
        self.tokens[secret] = token
        return token

    def add_member(self, source: Row, user: Row, access_level: int, expires_at: str | None = None, **more: Any) -> Row:
        """Make `user` a direct member of a group or project (`source`)."""
        self.touch()
        members, kind = self._members_of(source)
        created_by = next((row["created_by"] or _embedded(row) for row in members), None)
        row = rows.member_row(user, access_level, created_by, stamp(self.ago(days=300))) | {"expires_at": expires_at}
        row |= ({"bot": True} if user["id"] in self.bots else {}) | more
        members.append(row)
        self.memberships[user["id"]].add((kind, source["id"]))
        return row

    def remove_member(self, source: Row, user: Row) -> None:
        """End a direct membership."""
        self.touch()
        members, kind = self._members_of(source)
        members[:] = [row for row in members if row["id"] != user["id"]]
        self.memberships[user["id"]].discard((kind, source["id"]))

    def _members_of(self, source: Row) -> tuple[list[Row], str]:
        if "full_path" in source:
            return self.group_members[source["id"]], "group"
        return self.project_members[source["id"]], "project"

    # Groups and projects

    def add_group(
        self,
        path: str,
        parent: Row | None = None,
        name: str | None = None,
        visibility: str = "private",
        **overrides: Any,
    ) -> Row:
        """Add a top-level group, or a subgroup of `parent`."""
        id = self.new_id("namespace")
        created_at = stamp(self.ago(days=800) + timedelta(minutes=id))
        row = rows.group_row(self.url, id, parent, path, name or path, created_at)
        self.groups[id] = row | {"visibility": visibility} | overrides
        if parent:
            self.subgroups[parent["id"]].append(id)
        return self._named(self.groups[id], "full_path")

    def add_project(self, owner: Row, path: str, **overrides: Any) -> Row:
        """Add a project to a group, or to the personal namespace of a user, who then is its owner."""
        id = self.new_id("project")
        personal = "full_path" not in owner
        namespace = self._personal_namespace(owner) if personal else rows.group_namespace(owner)
        full_name = owner["name"] if personal else owner["full_name"]
        created_at = stamp(self.ago(days=700) + timedelta(minutes=id))
        row = rows.project_row(self.url, id, namespace, full_name, path, created_at) | overrides
        if "name" in overrides:
            row["name_with_namespace"] = f"{full_name} / {row['name']}"
        if personal:
            row["owner"] = owner
        self.projects[id] = row
        self.moved.pop(row["path_with_namespace"], None)
        if personal:
            self.add_member(row, owner, OWNER)
        else:
            self.projects_in[owner["id"]].append(id)
        return self._named(row, "path_with_namespace")

    def _personal_namespace(self, user: Row) -> Row:
        if user["id"] not in self._personal:
            self._personal[user["id"]] = rows.user_namespace(self.new_id("namespace"), user)
        return self._personal[user["id"]]

    def _named(self, row: Row, key: str) -> Row:
        self.paths[f"{key}:{row[key]}"] = row
        return row

    def share_project(self, project: Row, group: Row, access_level: int, expires_at: str | None = None) -> None:
        """Give the members of a group access to a project of another namespace."""
        self.touch()
        share = rows.share_row(group, access_level, expires_at)
        project["shared_with_groups"] = [*project["shared_with_groups"], share]

    def share_group(self, group: Row, invited: Row, access_level: int, expires_at: str | None = None) -> None:
        """Give the members of the group `invited` access to another group and what is below it."""
        self.touch()
        self.group_shares[group["id"]].append(rows.share_row(invited, access_level, expires_at))

    def rename_project(self, project: Row, name: str | None = None, path: str | None = None) -> None:
        """Give a project another display name, another path, or both; its old path then redirects."""
        moves.rename_project(self, project, name, path)

    def transfer_project(self, project: Row, group: Row) -> None:
        """Move a project to another group: its rows stay as they are, but for the paths in them."""
        moves.transfer_project(self, project, group)

    def rename_group(self, group: Row, path: str) -> None:
        """Give a group another path, and with it all that is below it."""
        moves.rename_group(self, group, path)

    def transfer_group(self, group: Row, parent: Row) -> None:
        """Move a group with all that is below it into another one."""
        moves.transfer_group(self, group, parent)

    def delete_project(self, project: Row) -> None:
        """Remove a project with all that belongs to it."""
        moves.delete_project(self, project)

    def delete_group(self, group: Row) -> None:
        """Remove a group with its subgroups and projects."""
        moves.delete_group(self, group)

    # What projects hold

    def rows_of(self, kind: str, source: Row) -> list[Row]:
        """The rows of a kind without a field of its own in one group or project; call `touch` after a change."""
        return self.others[kind, "full_path" in source, source["id"]]

    def add_merge_request(
        self,
        project: Row,
        title: str,
        state: str = "opened",
        author: Row | None = None,
        created_at: When = None,
        updated_at: When = None,
        **overrides: Any,
    ) -> Row:
        """Add a merge request; `state` is opened, closed, locked or merged."""
        id = self.new_id("merge_request")
        author = author or self._somebody()
        times = self._times(id, created_at, updated_at)
        row = work_rows.merge_request_row(project, id, self._iid("merge_request", project), title, author, times)
        if state == "merged":
            row |= work_rows.merged_fields(author, times[1], id)
        if state == "closed":
            row |= {"closed_by": author, "closed_at": times[1]}
        row |= {"state": state} | ({} if state == "opened" else {"detailed_merge_status": "not_open"})
        row |= overrides
        self.merge_requests[project["id"]].append(row)
        return row

    def add_issue(
        self,
        project: Row,
        title: str,
        state: str = "opened",
        author: Row | None = None,
        created_at: When = None,
        updated_at: When = None,
        **overrides: Any,
    ) -> Row:
        """Add an issue; `state` is opened or closed."""
        id = self.new_id("issue")
        author = author or self._somebody()
        times = self._times(id, created_at, updated_at)
        row = work_rows.issue_row(project, id, self._iid("issue", project), title, author, times)
        if state == "closed":
            row |= {"state": "closed", "closed_by": author, "closed_at": times[1]}
        else:
            project["open_issues_count"] += 1
        row |= overrides
        row["type"] = row["issue_type"].upper()
        self.issues[project["id"]].append(row)
        return row

    def add_pipeline(
        self,
        project: Row,
        status: str = "success",
        user: Row | None = None,
        created_at: When = None,
        updated_at: When = None,
        **overrides: Any,
    ) -> Row:
        """Add a pipeline; `source="parent_pipeline"` makes it a child."""
        id = self.new_id("pipeline")
        times = self._times(id, created_at, updated_at)
        row = work_rows.pipeline_row(project, id, self._iid("pipeline", project), status, times) | overrides
        if user:
            self.pipeline_details[id] = work_rows.pipeline_details(row, user)
        self.pipelines[project["id"]].append(row)
        return row

    def add_job(
        self, pipeline: Row, name: str, status: str = "success", retried: bool = False, **overrides: Any
    ) -> Row:
        """Add a job to a pipeline; `retried` ones are hidden in the pipeline's own list."""
        id = self.new_id("job")
        project = self.projects[pipeline["project_id"]]
        row = work_rows.job_row(project, pipeline, id, name, status, pipeline["created_at"]) | overrides
        self.jobs[project["id"]].append(row)
        if retried:
            self.retried_jobs.add(id)
        return row

    def add_label(self, source: Row, name: str, color: str = "#428BCA", **overrides: Any) -> Row:
        """Add a label to a group or project (`source`)."""
        of_project = "full_path" not in source
        row = work_rows.label_row(self.new_id("label"), name, color, of_project) | overrides
        (self.project_labels if of_project else self.group_labels)[source["id"]].append(row)
        return row

    def set_languages(self, project: Row, **shares: float) -> None:
        """Say which languages a project is written in, in percent."""
        self.touch()
        self.languages[project["id"]] = shares

    def set_file(self, project: Row, path: str, content: str | bytes, branch: str = "") -> None:
        """Write a file to a branch, by default the default one."""
        self.touch()
        data = content.encode() if isinstance(content, str) else content
        self.files[project["id"]]["" if branch == project["default_branch"] else branch][path] = data

    def remove_file(self, project: Row, path: str, branch: str = "") -> None:
        """Remove a file from a branch; KeyError when it is not there."""
        self.touch()
        del self.files[project["id"]]["" if branch == project["default_branch"] else branch][path]

    def _somebody(self) -> Row:
        return next(iter(self.users.values()), None) or self.add_user("root", "Administrator")

    # Questions

    def group(self, full_path: str) -> Row:
        """The group at this path; KeyError when there is none."""
        return self.paths[f"full_path:{full_path}"]

    def project(self, path_with_namespace: str) -> Row:
        """The project at this path; KeyError when there is none."""
        return self.paths[f"path_with_namespace:{path_with_namespace}"]

    def project_id(self, path_with_namespace: str) -> int:
        """The id of the project that is or once was at this path, 0 when there is none."""
        row = self.paths.get(f"path_with_namespace:{path_with_namespace}")
        return int(row["id"]) if row else self.moved.get(path_with_namespace, 0)

    def family(self, group: Row) -> Iterator[Row]:
        """A group and all groups below it."""
        yield group
        for id in self.subgroups.get(group["id"], ()):
            yield from self.family(self.groups[id])

    def ancestors(self, group_id: int | None) -> Iterator[Row]:
        """The group with this id, its parent, and so on to the top; nothing for a personal namespace."""
        while group_id in self.groups:
            yield self.groups[group_id]
            group_id = self.groups[group_id]["parent_id"]

    def projects_below(self, group: Row) -> Iterator[Row]:
        """The projects of a group and of all groups below it."""
        for member in self.family(group):
            yield from (self.projects[id] for id in self.projects_in.get(member["id"], ()))

    def access(self, token: Token) -> Access:
        """Where this token's user is a member, directly or not, and at which level; the highest one wins."""
        return access_of(self, token)


def _text(when: datetime | str) -> str:
    return when if isinstance(when, str) else stamp(when)


def _embedded(member: Row) -> Row:
    """The creator that later members name: the first member, without the fields of the membership."""
    return {key: member[key] for key in ("id", "username", "name", "state", "avatar_url", "web_url")}
