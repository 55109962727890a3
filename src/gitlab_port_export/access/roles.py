"""Roles as people write them, `developer` or `custom:12`, and as member rows tell them."""

import re
from typing import get_args

from gitlab_port_export.access.api import Api, quoted
from gitlab_port_export.access.values import Place, Role
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.text import nearest, shown
from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.gitlab.kinds.shared.roles import ROLES
from gitlab_port_export.model import Row
from gitlab_port_export.settings.settings import RoleWord

MINIMAL, OWNER = 5, 50
WORDS: tuple[str, ...] = get_args(RoleWord)
# A word is the name that GitLab gives the level, in small letters: "Security Manager", "Minimal access".
LEVELS = {
    word: level for level, name in ROLES.items() for word in WORDS if name.lower().replace(" ", "-").startswith(word)
}
CUSTOM = re.compile(r"custom:([1-9][0-9]{0,14})", re.IGNORECASE)


def check_word(text: str) -> str:
    """Return what is wrong with a role as text, or nothing."""
    if CUSTOM.fullmatch(text) or _word(text) in LEVELS:
        return ""
    near = nearest(_word(text), WORDS)
    which = f"did you mean {near}?" if near else f"it is {', '.join(WORDS)} or custom:ID"
    return f"--role: {shown(text)} is no role; {which}"


def find_role(api: Api, text: str, place: Place) -> Role:
    """Return the role that a text means in a place. Raises UsageError where it has no such role, and ReadFailed."""
    if custom := CUSTOM.fullmatch(text):
        return _custom(api, int(custom[1]), place)
    level = LEVELS[_word(text)]
    if level == MINIMAL and (not place.is_group or place.above):
        raise UsageError("--role: GitLab has the role minimal in top-level groups alone")
    return Role(level, ROLES[level])


def _custom(api: Api, number: int, place: Place) -> Role:
    """Return a custom role with the level that it stands on, as the top-level group or the instance lists it."""
    top = place.path.split("/")[0]
    lists = (f"/groups/{quoted(top)}/member_roles", "/member_roles")
    for row in (row for path in lists for row in api.rows_or_none(path)):
        if row.get("id") == number and isinstance(row.get("base_access_level"), int):
            return Role(row["base_access_level"], str(row.get("name") or f"custom role {number}"), number)
    hint = (
        f"its number is in the list of GET /groups/{top}/member_roles, which the token's user has to be allowed to see"
    )
    raise UsageError(f"--role: GitLab shows no custom role {number}", hint=hint)


def _word(text: str) -> str:
    return text.strip().lower().replace("_", "-").replace(" ", "-").removesuffix("-access")


def role_of(row: Row) -> Role:
    """Return the role that a member or invitation has, by its row. Raises ReadFailed where it tells none."""
    level = row.get("access_level")
    if not isinstance(level, int):
        raise ReadFailed("shape", "answered 200 with a member that has no access level", status=200)
    custom = row.get("member_role")
    if isinstance(custom, dict) and isinstance(custom.get("id"), int):
        return Role(level, str(custom.get("name") or f"custom role {custom['id']}"), custom["id"])
    return Role(level, ROLES.get(level, f"Level {level}"))
