"""The JSON types of fields that many of GitLab's rows have, so that a mapping can be judged before there is a row."""

from collections.abc import Mapping

# Kinds whose rows are put together here, around what GitLab gave.
COMPOSED = frozenset({"access", "file", "folder", "plugin", "skill"})
NUMBERS = (
    "id", "iid", "project_id", "group_id", "namespace_id", "creator_id", "source_project_id", "target_project_id",
    "author.id", "assignee.id", "milestone.id", "namespace.id", "pipeline.id", "project.id", "user.id",
    "star_count", "forks_count", "upvotes", "downvotes", "user_notes_count", "access_level",
)  # fmt: skip
BOOLEANS = ("archived", "confidential", "draft", "empty_repo", "protected", "squash", "tag", "work_in_progress")
TEXTS = (
    "web_url", "created_at", "updated_at", "path_with_namespace", "full_path", "full_name", "default_branch",
    "username", "visibility", "author.username", "author.name", "assignee.username", "source_branch", "target_branch",
    "http_url_to_repo", "ssh_url_to_repo", "avatar_url", "merged_at", "closed_at", "last_activity_at", "tag_name",
)  # fmt: skip
TYPES: Mapping[str, str] = {
    **dict.fromkeys(NUMBERS, "number"),
    **dict.fromkeys(BOOLEANS, "boolean"),
    **dict.fromkeys(TEXTS, "string"),
}


def field_types(kind: str) -> Mapping[str, str]:
    """Return the type of fields of a kind's rows, by path; each may also be null or absent.

    https://docs.gitlab.com/api/api_resources/
    """
    return {} if kind in COMPOSED else TYPES
