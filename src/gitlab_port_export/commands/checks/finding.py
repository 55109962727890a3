"""Finding: one result of `check`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of `check`: where, what, and what to do about it. With an error a sync would fail."""

    level: Literal["ok", "warning", "error"]
    area: Literal["settings", "mapping", "gitlab", "port"]
    where: str
    what: str
    hint: str = ""
