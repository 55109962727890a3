"""The identity of a row: its order among rows with the same key, and a name that a person recognises."""

from zlib import crc32

from gitlab_port_export.model import Order, Row, Scope


def label_of(row: Row) -> str:
    """Return a name of a row that a person recognises."""
    for name in ("web_url", "path_with_namespace", "full_path", "username", "name", "id"):
        if isinstance(found := row.get(name), str | int) and found:
            return str(found)
    if isinstance(inner := row.get("file") or row.get("folder"), dict):
        repo = row.get("repo")
        return f"{repo.get('path_with_namespace', '') if isinstance(repo, dict) else ''}: {inner.get('path', '')}"
    return ""


def order_of(row: Row, scope: Scope) -> Order:
    """Return (project, row) by number, of which the lowest wins.

    A merge request comes with its group or its project, as the plan has it; its project is always the same.
    """
    project, number = row.get("project_id"), row.get("id")
    return (
        project if type(project) is int and project else scope.id,
        number if type(number) is int and number else _row_number(row),
    )


def _row_number(row: Row) -> int:
    """Return a number that is always the same for a name: releases, tags, branches and files have no id.

    It is not above zero, which ids are.
    """
    inner = row.get("file") or row.get("folder")
    path = inner.get("path") if isinstance(inner, dict) else None
    return -crc32(str(row.get("tag_name") or row.get("name") or path or "").encode(errors="replace"))
