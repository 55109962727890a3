"""The payloads that GitLab's hooks send, made from the rows of a world in the shapes that GitLab documents.

https://docs.gitlab.com/user/project/integrations/webhook_events/ and
https://docs.gitlab.com/administration/system_hooks/
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from gitlab_port_export.demo.gitlab_rows import Row, sha
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.gitlab_work_rows import FINISHED

NO_COMMIT = "0" * 40
VISIBILITY = {"private": 0, "internal": 10, "public": 20}
ROLES = {
    5: "Minimal Access",
    10: "Guest",
    15: "Planner",
    20: "Reporter",
    30: "Developer",
    40: "Maintainer",
    50: "Owner",
}


@dataclass(frozen=True)
class Shapes:
    """Makes payloads as a GitLab of that major version sends them; `zone` is the server's offset in hours.

    Since 19 merge requests have `merged_at`; before 17 issues had no `type`, pipelines no `name` and no `iid`.
    """

    world: World
    version: int = 18
    zone: float = 0

    # --- parts

    def time(self, text: str | None) -> str | None:
        """A time as payloads write it: seconds, in the zone of the server."""
        if text is None:
            return None
        when = datetime.fromisoformat(text).astimezone(timezone(timedelta(hours=self.zone)))
        return when.strftime("%Y-%m-%d %H:%M:%S UTC" if not self.zone else "%Y-%m-%d %H:%M:%S %z")

    @staticmethod
    def user(row: Row) -> Row:
        """A person: no state, no address."""
        keys = ("id", "name", "username", "avatar_url")
        return {key: row[key] for key in keys} | {"email": "[REDACTED]"}

    @staticmethod
    def project(row: Row) -> Row:
        """The project that an event belongs to."""
        keys = ("id", "name", "description", "web_url", "avatar_url", "path_with_namespace", "default_branch")
        return {key: row[key] for key in keys} | {
            "git_ssh_url": row["ssh_url_to_repo"],
            "git_http_url": row["http_url_to_repo"],
            "namespace": row["namespace"]["name"],
            "visibility_level": VISIBILITY[row["visibility"]],
            "ci_config_path": row["ci_config_path"],
            "homepage": row["web_url"],
            "url": row["ssh_url_to_repo"],
            "ssh_url": row["ssh_url_to_repo"],
            "http_url": row["http_url_to_repo"],
        }

    @staticmethod
    def repository(row: Row) -> Row:
        """The repository, with fewer keys than the project."""
        return {"name": row["name"], "url": row["ssh_url_to_repo"], "homepage": row["web_url"]} | {
            "description": row["description"]
        }

    def labels(self, names: Iterable[str]) -> list[Row]:
        """Labels as objects, in another order than in rows."""
        made = {"created_at": self.time("2026-01-01T00:00:00.000Z"), "updated_at": None, "template": False}
        return [
            {"id": id, "title": name, "color": "#428BCA"} | made for id, name in enumerate(reversed(list(names)), 1)
        ]

    @staticmethod
    def commit(project: Row, id: str) -> Row:
        """A commit as in events."""
        return {
            "id": id,
            "message": "Change\n",
            "title": "Change",
            "timestamp": "2026-01-15T12:00:00+01:00",
            "url": f"{project['web_url']}/-/commit/{id}",
            "author": {"name": "Ann", "email": "[REDACTED]"},
        }

    def _changed(self, project: Row, actor: Row) -> Row:
        return {"user": self.user(actor), "project": self.project(project), "repository": self.repository(project)}

    # --- events

    def merge_request(self, row: Row, actor: Row, action: str = "update") -> Row:
        """A merge request was opened, changed, approved, merged or closed by `actor`."""
        project = self.world.projects[row["project_id"]]
        same = ("id", "iid", "title", "description", "state", "source_branch", "target_branch", "source_project_id")
        also = ("target_project_id", "merge_commit_sha", "merge_when_pipeline_succeeds", "detailed_merge_status")
        attributes: Row = {key: row[key] for key in (*same, *also, "squash_commit_sha", "draft", "work_in_progress")}
        attributes |= {key: self.time(row[key]) for key in ("created_at", "updated_at", "prepared_at")}
        attributes |= {
            "author_id": row["author"]["id"],
            "assignee_ids": [one["id"] for one in row["assignees"]],
            "reviewer_ids": [one["id"] for one in row["reviewers"]],
            "milestone_id": row["milestone"]["id"] if row["milestone"] else None,
            "url": row["web_url"],
            "last_commit": self.commit(project, row["sha"]),
            "source": self.project(project),
            "target": self.project(project),
            "action": action,
        }
        if self.version >= 19:
            attributes["merged_at"] = self.time(row["merged_at"])
        people: Row = {name: [self.user(one) for one in row[name]] for name in ("assignees", "reviewers") if row[name]}
        return {
            "object_kind": "merge_request",
            "event_type": "merge_request",
            **self._changed(project, actor),
            "object_attributes": attributes,
            "labels": self.labels(row["labels"]),
            "changes": {},
            **people,
        }

    def issue(self, row: Row, actor: Row, action: str = "update") -> Row:
        """An issue, confidential or not, was opened, changed, closed or opened again by `actor`."""
        project = self.world.projects[row["project_id"]]
        same = ("id", "iid", "title", "description", "state", "confidential", "due_date", "discussion_locked")
        attributes: Row = {key: row[key] for key in (*same, "project_id")}
        attributes |= {key: self.time(row[key]) for key in ("created_at", "updated_at", "closed_at")}
        attributes |= {
            "author_id": row["author"]["id"],
            "assignee_ids": [one["id"] for one in row["assignees"]],
            "milestone_id": row["milestone"]["id"] if row["milestone"] else None,
            "url": row["web_url"],
            "action": action,
        }
        if self.version >= 17:
            attributes["type"] = row["issue_type"].replace("_", " ").title()
        people: Row = {"assignees": [self.user(one) for one in row["assignees"]]} if row["assignees"] else {}
        return {
            "object_kind": "issue",
            "event_type": "confidential_issue" if row["confidential"] else "issue",
            **self._changed(project, actor),
            "object_attributes": attributes,
            "labels": self.labels(row["labels"]),
            "changes": {},
            **people,
        }

    def pipeline(self, row: Row, actor: Row) -> Row:
        """A pipeline changed its status; its latest jobs come along."""
        project = self.world.projects[row["project_id"]]
        jobs = [
            job
            for job in self.world.jobs[project["id"]]
            if job["pipeline"]["id"] == row["id"] and job["id"] not in self.world.retried_jobs
        ]
        is_request = row["source"] == "merge_request_event"
        attributes: Row = {key: row[key] for key in ("id", "status", "source", "sha")}
        attributes |= {
            # GitLab names the source branch where rows have refs/merge-requests/N/head.
            "ref": "change-1" if is_request else row["ref"],
            "tag": False,
            "before_sha": NO_COMMIT,
            "detailed_status": "passed" if row["status"] == "success" else row["status"],
            "stages": sorted({job["stage"] for job in jobs}),
            "created_at": self.time(row["created_at"]),
            "finished_at": self.time(row["updated_at"]) if row["status"] in FINISHED else None,
            "duration": 42,
            "variables": [{"key": "TRIGGER", "value": "told"}],
            "url": row["web_url"],
        }
        if self.version >= 17:
            attributes |= {"iid": row["iid"], "name": row["name"]}
        return {
            "object_kind": "pipeline",
            "object_attributes": attributes,
            "merge_request": None,
            "user": self.user(actor),
            "project": self.project(project),
            "commit": self.commit(project, row["sha"]),
            "builds": [self._build(job) for job in jobs],
        }

    def _build(self, job: Row) -> Row:
        same = ("id", "stage", "name", "status", "duration", "queued_duration", "allow_failure")
        return {key: job[key] for key in same} | {
            "failure_reason": job.get("failure_reason", "unknown_failure"),
            "when": "on_success",
            "manual": False,
            "user": self.user(job["user"]) if job["user"] else None,
            "runner": None,
            "artifacts_file": {"filename": None, "size": None},
            "environment": None,
            **{key: self.time(job[key]) for key in ("created_at", "started_at", "finished_at")},
        }

    def job(self, row: Row, actor: Row | None) -> Row:
        """A job changed its status."""
        pipeline = row["pipeline"]
        project = self.world.projects[pipeline["project_id"]]
        return {
            "object_kind": "build",
            "ref": row["ref"],
            "tag": False,
            "before_sha": NO_COMMIT,
            "sha": pipeline["sha"],
            "retries_count": 0,
            "build_id": row["id"],
            "build_name": row["name"],
            "build_stage": row["stage"],
            "build_status": row["status"],
            **{f"build_{key}": self.time(row[key]) for key in ("created_at", "started_at", "finished_at")},
            "build_duration": row["duration"],
            "build_queued_duration": row["queued_duration"],
            "build_allow_failure": row["allow_failure"],
            "build_failure_reason": row.get("failure_reason", "unknown_failure"),
            "pipeline_id": pipeline["id"],
            "runner": None,
            "project_id": project["id"],
            "project_name": project["name_with_namespace"],
            "user": self.user(actor) if actor else None,
            # What is called a commit here is the pipeline.
            "commit": {"id": pipeline["id"], "sha": pipeline["sha"], "status": pipeline["status"]},
            "repository": self.repository(project) | {"visibility_level": VISIBILITY[project["visibility"]]},
            "project": self.project(project),
            "environment": None,
        }

    def push(self, project: Row, actor: Row, branch: str = "main", *, gone: bool = False, **files: list[str]) -> Row:
        """Commits came to a branch, with `added`, `modified` and `removed` files, or it was deleted."""
        before, after = sha("before", project["id"], branch), sha("after", project["id"], branch)
        changed = {name: files.get(name, []) for name in ("added", "modified", "removed")}
        commits = [] if gone else [self.commit(project, after) | changed]
        return {
            "object_kind": "push",
            "event_name": "push",
            "before": before,
            "after": NO_COMMIT if gone else after,
            "ref": f"refs/heads/{branch}",
            "ref_protected": branch == project["default_branch"],
            "checkout_sha": None if gone else after,
            **{f"user_{key}": actor[key] for key in ("id", "name", "username")},
            "project_id": project["id"],
            "project": self.project(project),
            "commits": commits,
            "total_commits_count": len(commits),
            "repository": self.repository(project),
        }

    def tag_push(self, project: Row, actor: Row, tag: str, *, gone: bool = False) -> Row:
        """A tag was made or deleted."""
        pushed = self.push(project, actor, gone=gone)
        names = {"object_kind": "tag_push", "event_name": "tag_push", "ref": f"refs/tags/{tag}"}
        return pushed | names | {"before": NO_COMMIT, "commits": [], "total_commits_count": 0}

    def release(self, project: Row, tag: str, action: str = "create") -> Row:
        """A release was made, changed or deleted."""
        return {
            "id": 1,
            "object_kind": "release",
            "action": action,
            "name": tag,
            "tag": tag,
            "description": "",
            "created_at": self.time("2026-01-15T12:00:00.000Z"),
            "released_at": self.time("2026-01-15T12:00:00.000Z"),
            "url": f"{project['web_url']}/-/releases/{tag}",
            "project": self.project(project),
            "commit": self.commit(project, sha("release", tag)),
            "assets": {"count": 0, "links": [], "sources": []},
        }

    def deployment(self, project: Row, id: int, status: str = "success") -> Row:
        """A deployment began or ended."""
        return {
            "object_kind": "deployment",
            "status": status,
            "status_changed_at": "2026-01-15 12:00:00 +0000",
            "deployment_id": id,
            "deployable_id": 1,
            "deployable_url": f"{project['web_url']}/-/jobs/1",
            "environment": "production",
            "environment_tier": "production",
            "environment_slug": "production",
            "project": self.project(project),
            "short_sha": sha("deployment", id)[:8],
            "commit_url": f"{project['web_url']}/-/commit/{sha('deployment', id)}",
        }

    def member(self, group: Row, user: Row, level: int, event: str = "user_add_to_group") -> Row:
        """A member joined a group, left it or has another role."""
        return {
            "created_at": "2026-01-15T12:00:00Z",
            "updated_at": "2026-01-15T12:00:00Z",
            "event_name": event,
            "group_access": ROLES[level],
            "group_id": group["id"],
            "group_name": group["name"],
            "group_path": group["path"],
            **{f"user_{key}": user[key] for key in ("id", "name", "username")},
            "user_email": "[REDACTED]",
            "expires_at": None,
        }

    def subgroup(self, group: Row, event: str = "subgroup_create") -> Row:
        """A group below another one was made or deleted."""
        parent = self.world.groups.get(group["parent_id"] or 0, {})
        return {
            "created_at": "2026-01-15T12:00:00Z",
            "updated_at": "2026-01-15T12:00:00Z",
            "event_name": event,
            "group_id": group["id"],
            **{key: group[key] for key in ("name", "path", "full_path")},
            "parent_group_id": group["parent_id"],
            **{f"parent_{key}": parent.get(key) for key in ("name", "path", "full_path")},
        }

    def project_event(self, project: Row, event: str = "project_create") -> Row:
        """A project was made, moved, renamed or deleted."""
        return {
            "event_name": event,
            "created_at": "2026-01-15T12:00:00Z",
            "updated_at": "2026-01-15T12:00:00Z",
            "name": project["name"],
            "path": project["path"],
            "path_with_namespace": project["path_with_namespace"],
            "project_id": project["id"],
            "project_namespace_id": project["namespace"]["id"],
            "owners": [],
            "project_visibility": project["visibility"],
        }
