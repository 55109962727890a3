"""GitLab's rows of people, groups and projects: the whole JSON objects that the REST API sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha1
from typing import Any

Row = dict[str, Any]


def stamp(when: datetime) -> str:
    """GitLab's timestamp: UTC with milliseconds and a Z."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sha(*parts: object) -> str:
    """A commit id that depends on nothing but its parts."""
    return sha1("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def user_row(base: str, id: int, username: str, name: str, state: str = "active") -> Row:
    """The short user object that every other row embeds."""
    return {
        "id": id,
        "username": username,
        "public_email": "",
        "name": name,
        "state": state,
        "locked": False,
        "avatar_url": None,
        "web_url": f"{base}/{username}",
    }


def own_user_row(user: Row, bot: bool, now: datetime) -> Row:
    """What `GET /user` adds for the owner of the token."""
    return user | {
        "email": f"{user['username']}@example.com",
        "created_at": stamp(now - timedelta(days=900)),
        "bio": "",
        "location": None,
        "linkedin": "",
        "twitter": "",
        "discord": "",
        "github": "",
        "website_url": "",
        "organization": "",
        "job_title": "",
        "pronouns": None,
        "bot": bot,
        "work_information": None,
        "followers": 0,
        "following": 0,
        "local_time": None,
        "last_sign_in_at": None,
        "confirmed_at": stamp(now - timedelta(days=900)),
        "theme_id": 3,
        "last_activity_on": now.date().isoformat(),
        "color_scheme_id": 1,
        "projects_limit": 0,
        "current_sign_in_at": None,
        "identities": [],
        "can_create_group": False,
        "can_create_project": False,
        "two_factor_enabled": False,
        "external": False,
        "private_profile": False,
        "commit_email": f"{user['username']}@example.com",
        "preferred_language": "en",
    }


def account_row(user: Row, bot: bool, now: datetime) -> Row:
    """What `GET /users` tells administrators of an account."""
    return own_user_row(user, bot, now) | {
        "is_admin": False,
        "note": None,
        "namespace_id": user["id"],
        "created_by": None,
        "current_sign_in_ip": "192.0.2.7",
        "last_sign_in_ip": "192.0.2.8",
    }


_GROUP: Row = {
    "description": "",
    "share_with_group_lock": False,
    "require_two_factor_authentication": False,
    "two_factor_grace_period": 48,
    "project_creation_level": "developer",
    "auto_devops_enabled": None,
    "subgroup_creation_level": "maintainer",
    "emails_disabled": False,
    "emails_enabled": True,
    "mentions_disabled": None,
    "lfs_enabled": True,
    "archived": False,
    "math_rendering_limits_enabled": True,
    "lock_math_rendering_limits_enabled": False,
    "default_branch": None,
    "default_branch_protection": 2,
    "default_branch_protection_defaults": {
        "allowed_to_push": [{"access_level": 40}],
        "allow_force_push": False,
        "allowed_to_merge": [{"access_level": 40}],
    },
    "avatar_url": None,
    "request_access_enabled": True,
    "repository_storage": "default",
    "file_template_project_id": None,
    "organization_id": 1,
    "marked_for_deletion_on": None,
    "ip_restriction_ranges": None,
}

# What `GET /groups/:id` adds to a row of the list.
GROUP_DETAILS: Row = {
    "shared_with_groups": [],
    "runners_token": None,
    "enabled_git_access_protocol": "all",
    "prevent_sharing_groups_outside_hierarchy": False,
    "only_allow_merge_if_pipeline_succeeds": False,
    "allow_merge_on_skipped_pipeline": False,
    "only_allow_merge_if_all_discussions_are_resolved": False,
}


def group_row(base: str, id: int, parent: Row | None, path: str, name: str, created_at: str) -> Row:
    """A group as in `GET /groups`."""
    full_path = f"{parent['full_path']}/{path}" if parent else path
    return _GROUP | {
        "id": id,
        "name": name,
        "path": path,
        "visibility": "private",
        "web_url": f"{base}/groups/{full_path}",
        "full_name": f"{parent['full_name']} / {name}" if parent else name,
        "full_path": full_path,
        "parent_id": parent["id"] if parent else None,
        "created_at": created_at,
    }


def group_namespace(group: Row) -> Row:
    """The namespace object that a group's projects carry."""
    keys = ("id", "name", "path", "full_path", "parent_id", "avatar_url", "web_url")
    return {"kind": "group"} | {key: group[key] for key in keys}


def user_namespace(id: int, user: Row) -> Row:
    """The personal namespace of a user; its id shares the sequence of the groups."""
    return {
        "id": id,
        "name": user["name"],
        "path": user["username"],
        "kind": "user",
        "full_path": user["username"],
        "parent_id": None,
        "avatar_url": user["avatar_url"],
        "web_url": user["web_url"],
    }


_PROJECT: Row = {
    "description": "",
    "description_html": "",
    "default_branch": "main",
    "tag_list": [],
    "topics": [],
    "avatar_url": None,
    "forks_count": 0,
    "star_count": 0,
    "visibility": "private",
    "packages_enabled": True,
    "package_registry_access_level": "enabled",
    "empty_repo": False,
    "archived": False,
    "resolve_outdated_diff_discussions": False,
    "container_expiration_policy": {
        "cadence": "1d",
        "enabled": False,
        "keep_n": 10,
        "older_than": "90d",
        "name_regex": ".*",
        "name_regex_keep": None,
        "next_run_at": None,
    },
    "repository_object_format": "sha1",
    "issues_enabled": True,
    "merge_requests_enabled": True,
    "wiki_enabled": True,
    "jobs_enabled": True,
    "snippets_enabled": True,
    "container_registry_enabled": True,
    "service_desk_enabled": False,
    "service_desk_address": None,
    "can_create_merge_request_in": True,
    "issues_access_level": "enabled",
    "repository_access_level": "enabled",
    "merge_requests_access_level": "enabled",
    "forking_access_level": "enabled",
    "wiki_access_level": "enabled",
    "builds_access_level": "enabled",
    "snippets_access_level": "enabled",
    "pages_access_level": "private",
    "analytics_access_level": "enabled",
    "container_registry_access_level": "enabled",
    "security_and_compliance_access_level": "private",
    "releases_access_level": "enabled",
    "environments_access_level": "enabled",
    "emails_disabled": False,
    "emails_enabled": True,
    "shared_runners_enabled": True,
    "group_runners_enabled": True,
    "lfs_enabled": True,
    "creator_id": 1,
    "import_url": None,
    "import_type": None,
    "import_status": "none",
    "import_error": None,
    "open_issues_count": 0,
    "ci_default_git_depth": 20,
    "ci_forward_deployment_enabled": True,
    "ci_forward_deployment_rollback_allowed": True,
    "ci_allow_fork_pipelines_to_run_in_parent_project": True,
    "ci_id_token_sub_claim_components": ["project_path", "ref_type", "ref"],
    "ci_job_token_scope_enabled": False,
    "ci_separated_caches": True,
    "ci_restrict_pipeline_cancellation_role": "developer",
    "ci_pipeline_variables_minimum_override_role": "developer",
    "ci_push_repository_for_job_token_allowed": False,
    "public_jobs": True,
    "build_timeout": 3600,
    "auto_cancel_pending_pipelines": "enabled",
    "ci_config_path": "",
    "shared_with_groups": [],
    "only_allow_merge_if_pipeline_succeeds": False,
    "allow_merge_on_skipped_pipeline": None,
    "allow_pipeline_trigger_approve_deployment": False,
    "restrict_user_defined_variables": False,
    "request_access_enabled": True,
    "only_allow_merge_if_all_discussions_are_resolved": False,
    "remove_source_branch_after_merge": True,
    "printing_merge_request_link_enabled": True,
    "merge_method": "merge",
    "squash_option": "default_off",
    "enforce_auth_checks_on_uploads": True,
    "suggestion_commit_message": None,
    "merge_commit_template": None,
    "squash_commit_template": None,
    "issue_branch_template": None,
    "auto_devops_enabled": False,
    "auto_devops_deploy_strategy": "continuous",
    "autoclose_referenced_issues": True,
    "keep_latest_artifact": True,
    "runner_token_expiration_interval": None,
    "external_authorization_classification_label": "",
    "requirements_enabled": False,
    "requirements_access_level": "enabled",
    "security_and_compliance_enabled": False,
    "secret_push_protection_enabled": False,
    "compliance_frameworks": [],
    "warn_about_potentially_unwanted_characters": True,
    "marked_for_deletion_at": None,
    "marked_for_deletion_on": None,
}

# What `GET /projects/:id` adds to a row of the list.
PROJECT_DETAILS: Row = {"repository_storage": "default", "runners_token": None}

SIMPLE_PROJECT_KEYS = (
    "id",
    "description",
    "name",
    "name_with_namespace",
    "path",
    "path_with_namespace",
    "created_at",
    "default_branch",
    "tag_list",
    "topics",
    "ssh_url_to_repo",
    "http_url_to_repo",
    "web_url",
    "readme_url",
    "forks_count",
    "avatar_url",
    "star_count",
    "last_activity_at",
    "visibility",
    "namespace",
)


def project_row(base: str, id: int, namespace: Row, full_name: str, path: str, created_at: str) -> Row:
    """A project as in `GET /projects`; `full_name` is the display name of its namespace."""
    host = base.partition("://")[2]
    full_path = f"{namespace['full_path']}/{path}"
    api = f"{base}/api/v4/projects/{id}"
    links = {
        "issues": "issues",
        "merge_requests": "merge_requests",
        "repo_branches": "repository/branches",
        "labels": "labels",
        "events": "events",
        "members": "members",
        "cluster_agents": "cluster_agents",
    }
    return _PROJECT | {
        "id": id,
        "name": path,
        "name_with_namespace": f"{full_name} / {path}",
        "path": path,
        "path_with_namespace": full_path,
        "created_at": created_at,
        "updated_at": created_at,
        "last_activity_at": created_at,
        "ssh_url_to_repo": f"git@{host}:{full_path}.git",
        "http_url_to_repo": f"{base}/{full_path}.git",
        "web_url": f"{base}/{full_path}",
        "readme_url": f"{base}/{full_path}/-/blob/main/README.md",
        "namespace": namespace,
        "container_registry_image_prefix": f"registry.{host}/{full_path}",
        "_links": {"self": api} | {key: f"{api}/{end}" for key, end in links.items()},
        "permissions": {"project_access": None, "group_access": None},
    }


def share_row(group: Row, access_level: int, expires_at: str | None) -> Row:
    """An invited group, as groups and projects tell it in `shared_with_groups`."""
    return {
        "group_id": group["id"],
        "group_name": group["name"],
        "group_full_path": group["full_path"],
        "group_access_level": access_level,
        "expires_at": expires_at,
    }


def member_row(user: Row, access_level: int, created_by: Row | None, created_at: str) -> Row:
    """A member as in `GET /groups/:id/members` and `GET /projects/:id/members`."""
    return user | {
        "access_level": access_level,
        "created_at": created_at,
        "created_by": created_by,
        "expires_at": None,
        "group_saml_identity": None,
        "membership_state": "active",
    }
