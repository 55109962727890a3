"""Finds the row that makes Port refuse a whole call: the call is sent again in halves, within limits."""

from collections.abc import Sequence
from typing import TypeVar

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.port.client import PortRefused

# Attempts at a part of a call that Port refused: the whole call has been sent as often as any.
PART_ATTEMPTS = 2
# Rows that were refused alone, one after the other, before looking for them any further is given up.
IN_VAIN = 8
# Port's code where other entities need the one that is to be deleted; it comes with various statuses.
DEPENDENTS = ("has_dependents",)
Row = TypeVar("Row")


class Tries:
    """Whether sending again still helps, counted for all calls of one blueprint.

    Where Port refuses everything, halving costs two calls a row and repeating changes nothing. So both end when they
    were in vain several times in a row; a call is then halved once only. The count starts again as soon as Port
    takes a call.
    """

    def __init__(self) -> None:
        self._alone = self._repeats = 0

    def may_halve(self, *, part: bool) -> bool:
        """Return whether a refused call is to be halved; `part`: it is a half itself."""
        return not part or self._alone < IN_VAIN

    def may_repeat(self) -> bool:
        """Return whether rows that Port could not write just now are to be sent again."""
        return self._repeats < IN_VAIN

    def refused_alone(self) -> None:
        """Note that a row was refused alone."""
        self._alone += 1

    def repeated(self, *, in_vain: bool) -> None:
        """Note whether sending rows again helped."""
        self._repeats = self._repeats + 1 if in_vain else 0

    def passed(self) -> None:
        """Note that Port took a call, whatever it said of its rows."""
        self._alone = 0


def halves(rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """Return the first and the second half."""
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def may_be_about_one(failure: PortRefused | Unreachable) -> bool:
    """Return whether one row of a call may have caused its failure.

    401 and 403 are about the credentials, unless the code says otherwise or a firewall on the way answers, which
    takes text of a row for an attack.
    """
    if isinstance(failure, Unreachable) or failure.code in DEPENDENTS:
        return True
    return failure.status not in (401, 403, 429) or (failure.status == 403 and not failure.documented)
