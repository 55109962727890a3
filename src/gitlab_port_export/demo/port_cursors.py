"""Cursors and instants in requests to the stand-in Port."""

import base64

from gitlab_port_export.demo.port_query import canonical_time
from gitlab_port_export.demo.port_rules import malformed


def parse_before(text: object) -> str | None:
    """Return a request's `before` as an instant that compares with updatedAt; RefusedError (422) when it is none."""
    if text is None:
        return None
    if (moment := canonical_time(text)) is None:
        raise malformed('body/before must match format "date-time"')
    return moment


def cursor_of(*parts: object) -> str:
    """Return the cursor that stands for these parts, the first a number."""
    return base64.urlsafe_b64encode("|".join(map(str, parts)).encode()).decode()


def position_of(cursor: str, parts: int) -> list[str]:
    """Return the parts of a cursor. Raises RefusedError (422) for a cursor of another route."""
    try:
        found = base64.urlsafe_b64decode(cursor).decode().split("|", parts - 1)
        int(found[0])
    except ValueError:  # also what wrong base64 and wrong UTF-8 raise
        raise malformed("body/from is not a cursor of this route") from None
    if len(found) != parts:
        raise malformed("body/from is not a cursor of this route")
    return found
