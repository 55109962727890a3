"""Which fields of a group's or project's row a survey keeps: what is needed, and nothing that is secret. Pure."""

import re
from collections.abc import Iterator

from gitlab_port_export.base.jsontext import encode
from gitlab_port_export.incremental.frames import FIELDS, LEVEL, TIMES
from gitlab_port_export.jq.keys import needed_keys
from gitlab_port_export.jq.program import leaves, rewrite_quotes
from gitlab_port_export.mapping.model import Mapping, Resource
from gitlab_port_export.model import Dialect, Row
from gitlab_port_export.port.masking import names_a_secret

# What plan, reads and second look ask a row for, and what the next run with `--since last` compares.
FRAME = frozenset([
    "id", "name", "path", "path_with_namespace", "full_path", "web_url", "archived", "marked_for_deletion_at",
    "marked_for_deletion_on", "visibility", "permissions", "namespace", "default_branch", "empty_repo",
    "import_status", "public_jobs", "shared_with_groups", "parent_id", *FIELDS, *TIMES,
])  # fmt: skip
# Kinds whose rows are those of the inventory, with additions; and kinds whose rows hold none of it.
PLACES = frozenset(["group", "project", "group-with-members", "project-with-members"])
WITHOUT_PLACES = frozenset(["merge-request", "issue", "pipeline", "job", "member", "user", "access", "label"])
# Secrets that their names do not tell: an address may hold a login.
ADDRESSES = frozenset(["import_url", "mirror_url", "remote_mirrors"])
_SECRET_WORD = re.compile(r"\b(?:runners_token|import_url|mirror_url|remote_mirrors)\b")


def kept_keys(mapping: Mapping, dialect: Dialect) -> frozenset[str] | None:
    """Return the keys of rows that the mapping can reach, or None where that cannot be told: then all are kept.

    In the dialect gitlab pipelines hold their project's row too, and older properties look into it.
    """
    if dialect == "gitlab":
        return None
    found: set[str] = set()
    for resource in mapping.resources:
        if resource.kind in WITHOUT_PLACES:
            continue
        keys = _reached(resource) if resource.kind in PLACES else None
        if keys is None:
            return None
        found |= keys
    return frozenset(found)


def _reached(resource: Resource) -> frozenset[str] | None:
    return needed_keys(map(rewrite_quotes, _expressions(resource)))


def _expressions(resource: Resource) -> Iterator[str]:
    yield resource.selector.query
    if resource.port.items_to_parse is not None:
        yield resource.port.items_to_parse
    for entity in resource.mappings:
        yield entity.blueprint
        yield from leaves(entity.identifier)
        for _, value in entity.fields():
            yield from leaves(value)


def whole_rows(mapping: Mapping) -> tuple[str, ...]:
    """Return the kinds whose expressions may read the whole row: there they find no secret in a run in shards."""
    kinds = (one.kind for one in mapping.resources if one.kind not in WITHOUT_PLACES and _reached(one) is None)
    return tuple(dict.fromkeys(kinds))


def secrets_reached(mapping: Mapping) -> Iterator[tuple[str, str]]:
    """Yield (kind, key) of each secret of groups and projects that the mapping names: no file may hold its value."""
    for resource in mapping.resources:
        named = (found[0] for text in _expressions(resource) for found in _SECRET_WORD.finditer(text))
        yield from ((resource.kind, key) for key in dict.fromkeys(named))


def slim(row: Row, keys: frozenset[str] | None) -> Row:
    """Return a row with the fields that are needed (all for None) and without secrets, or what nests too deeply."""
    return {
        name: _without_secrets(value)
        for name, value in row.items()
        if (keys is None or name in keys or name in FRAME or name.endswith(LEVEL))
        and not _is_secret(name, value)
        and _is_flat(value)
    }


def _without_secrets(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_secrets(part) for name, part in value.items() if not _is_secret(name, part)}
    return [_without_secrets(part) for part in value] if isinstance(value, list) else value


def _is_secret(name: str, value: object) -> bool:
    # A level, a switch or a number tells no secret: `ci_job_token_scope_enabled`.
    if name.endswith(LEVEL) or not isinstance(value, str | list | dict):
        return False
    return name in ADDRESSES or names_a_secret(name)


def _is_flat(value: object) -> bool:
    if not isinstance(value, dict | list):
        return True
    try:
        encode(value)
    except ValueError:
        return False
    return True
