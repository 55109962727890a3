"""GitLab's rows of labels, merge requests, issues, pipelines and jobs: the whole JSON objects that it sends."""

from __future__ import annotations

from gitlab_port_export.demo.gitlab_rows import Row, sha


def label_row(id: int, name: str, color: str, of_project: bool) -> Row:
    """A label; those of a project say so and carry a priority."""
    row: Row = {
        "id": id,
        "name": name,
        "color": color,
        "text_color": "#FFFFFF",
        "description": "",
        "description_html": "",
        "subscribed": False,
        "archived": False,
    }
    return row | {"priority": None, "is_project_label": True} if of_project else row


def _references(project: Row, mark: str, iid: int) -> Row:
    short = f"{mark}{iid}"
    return {"short": short, "relative": short, "full": f"{project['path_with_namespace']}{short}"}


_TIME_STATS: Row = {
    "time_estimate": 0,
    "total_time_spent": 0,
    "human_time_estimate": None,
    "human_total_time_spent": None,
}
_TASKS: Row = {"count": 0, "completed_count": 0}

_MERGE_REQUEST: Row = {
    "description": "",
    "state": "opened",
    "imported": False,
    "imported_from": "none",
    "merged_by": None,
    "merge_user": None,
    "merged_at": None,
    "merge_after": None,
    "closed_by": None,
    "closed_at": None,
    "target_branch": "main",
    "user_notes_count": 0,
    "upvotes": 0,
    "downvotes": 0,
    "assignee": None,
    "assignees": [],
    "reviewers": [],
    "labels": [],
    "draft": False,
    "work_in_progress": False,
    "milestone": None,
    "merge_when_pipeline_succeeds": False,
    "merge_status": "can_be_merged",
    "detailed_merge_status": "mergeable",
    "merge_commit_sha": None,
    "squash_commit_sha": None,
    "discussion_locked": None,
    "should_remove_source_branch": None,
    "force_remove_source_branch": True,
    "time_stats": _TIME_STATS,
    "squash": False,
    "squash_on_merge": False,
    "task_completion_status": _TASKS,
    "has_conflicts": False,
    "blocking_discussions_resolved": True,
}


def merge_request_row(project: Row, id: int, iid: int, title: str, author: Row, times: tuple[str, str]) -> Row:
    """An open merge request as in the lists; `times` are created and updated."""
    created_at, updated_at = times
    return _MERGE_REQUEST | {
        "id": id,
        "iid": iid,
        "project_id": project["id"],
        "title": title,
        "created_at": created_at,
        "updated_at": updated_at,
        "prepared_at": created_at,
        "source_branch": f"change-{iid}",
        "author": author,
        "source_project_id": project["id"],
        "target_project_id": project["id"],
        "sha": sha("merge request", id),
        "reference": f"!{iid}",
        "references": _references(project, "!", iid),
        "web_url": f"{project['web_url']}/-/merge_requests/{iid}",
    }


def merged_fields(user: Row, when: str, id: int) -> Row:
    """What changes in a merge request when `user` merges it."""
    commit = sha("merge commit", id)
    return {"merged_by": user, "merge_user": user, "merged_at": when, "merge_commit_sha": commit}


_ISSUE: Row = {
    "description": "",
    "state": "opened",
    "closed_at": None,
    "closed_by": None,
    "labels": [],
    "milestone": None,
    "assignees": [],
    "assignee": None,
    "type": "ISSUE",
    "user_notes_count": 0,
    "merge_requests_count": 0,
    "upvotes": 0,
    "downvotes": 0,
    "due_date": None,
    "confidential": False,
    "discussion_locked": None,
    "issue_type": "issue",
    "time_stats": _TIME_STATS,
    "task_completion_status": _TASKS,
    "has_tasks": False,
    "task_status": "",
    "severity": "UNKNOWN",
    "moved_to_id": None,
    "imported": False,
    "imported_from": "none",
    "service_desk_reply_to": None,
}


def issue_row(project: Row, id: int, iid: int, title: str, author: Row, times: tuple[str, str]) -> Row:
    """An open issue as in the lists; `times` are created and updated."""
    created_at, updated_at = times
    api = project["_links"]["self"]
    own = f"{api}/issues/{iid}"
    return _ISSUE | {
        "id": id,
        "iid": iid,
        "project_id": project["id"],
        "title": title,
        "created_at": created_at,
        "updated_at": updated_at,
        "author": author,
        "web_url": f"{project['web_url']}/-/issues/{iid}",
        "references": _references(project, "#", iid),
        "_links": {
            "self": own,
            "notes": f"{own}/notes",
            "award_emoji": f"{own}/award_emoji",
            "project": api,
            "closed_as_duplicate_of": None,
        },
    }


def pipeline_row(project: Row, id: int, iid: int, status: str, times: tuple[str, str]) -> Row:
    """A pipeline as in the list of its project."""
    created_at, updated_at = times
    return {
        "id": id,
        "iid": iid,
        "project_id": project["id"],
        "sha": sha("pipeline", id),
        "ref": project["default_branch"] or "main",
        "status": status,
        "source": "push",
        "created_at": created_at,
        "updated_at": updated_at,
        "web_url": f"{project['web_url']}/-/pipelines/{id}",
        "name": None,
    }


def pipeline_details(pipeline: Row, user: Row | None) -> Row:
    """What `GET /projects/:id/pipelines/:id` adds to a row of the list."""
    ended = pipeline["updated_at"] if pipeline["status"] in FINISHED else None
    return {
        "before_sha": "0" * 40,
        "tag": False,
        "yaml_errors": None,
        "user": user,
        "started_at": pipeline["created_at"],
        "finished_at": ended,
        "committed_at": None,
        "duration": 42 if ended else None,
        "queued_duration": 2,
        "coverage": None,
        "detailed_status": {
            "icon": f"status_{pipeline['status']}",
            "text": pipeline["status"],
            "label": pipeline["status"],
            "group": pipeline["status"],
            "tooltip": pipeline["status"],
            "has_details": True,
            "details_path": f"/-/pipelines/{pipeline['id']}",
            "illustration": None,
            "favicon": None,
        },
        "archived": False,
    }


FINISHED = ("success", "failed", "canceled", "skipped")

_JOB: Row = {
    "coverage": None,
    "allow_failure": False,
    "started_at": None,
    "finished_at": None,
    "erased_at": None,
    "duration": None,
    "queued_duration": 0.4,
    "user": None,
    "commit": None,
    "artifacts": [],
    "runner": None,
    "runner_manager": None,
    "artifacts_expire_at": None,
    "archived": False,
    "tag": False,
    "tag_list": [],
    "stage": "test",
    "project": {"ci_job_token_scope_enabled": False},
}


def job_row(project: Row, pipeline: Row, id: int, name: str, status: str, created_at: str) -> Row:
    """A job as in the lists of its project and of its pipeline."""
    row = _JOB | {
        "id": id,
        "name": name,
        "status": status,
        "ref": pipeline["ref"],
        "created_at": created_at,
        "pipeline": pipeline,
        "web_url": f"{project['web_url']}/-/jobs/{id}",
    }
    if status in FINISHED:
        row |= {"started_at": created_at, "finished_at": pipeline["updated_at"], "duration": 21.5}
    return row | {"failure_reason": "script_failure"} if status == "failed" else row


def commit_of(pipeline: Row, author: Row) -> Row:
    """The commit that a job embeds; GitLab keeps the author's own time zone in it."""
    email = f"{author['username']}@example.com"
    made = pipeline["created_at"].replace("Z", "+00:00")
    return {
        "id": pipeline["sha"],
        "short_id": pipeline["sha"][:8],
        "created_at": made,
        "parent_ids": [],
        "title": "Change",
        "message": "Change\n",
        "author_name": author["name"],
        "author_email": email,
        "authored_date": made,
        "committer_name": author["name"],
        "committer_email": email,
        "committed_date": made,
        "trailers": {},
        "extended_trailers": {},
        "web_url": pipeline["web_url"].split("/-/")[0] + f"/-/commit/{pipeline['sha']}",
    }
