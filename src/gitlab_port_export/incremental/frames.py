"""Digests of what groups and projects are, by which renames, moves, archiving and lost rights are found."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gitlab_port_export.base.jsontext import canonical
from gitlab_port_export.gitlab.inventory import Inventory, Listed, access_of

BUCKETS = 1024
DIGEST_BYTES = 6
# What of a row decides which lists there are and what their rows look like, beside the fields `…_access_level`.
FIELDS = ("id", "name", "archived", "marked_for_deletion_on", "marked_for_deletion_at", "default_branch", "visibility")


@dataclass(frozen=True)
class Frames:
    """The digests of all groups and projects, in buckets by id, and the highest ids among them."""

    project: int
    group: int
    digests: bytes

    @property
    def text(self) -> str:
        """The digests as text."""
        return b64encode(self.digests).decode()

    def bucket(self, number: int) -> bytes:
        """Return the digest of one bucket."""
        return self.digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]


@dataclass(frozen=True)
class Moved:
    """The ids of the groups and projects that are new, or in one bucket with some that changed or are gone."""

    projects: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    def __or__(self, other: "Moved") -> "Moved":
        return Moved(self.projects | other.projects, self.groups | other.groups)

    def __bool__(self) -> bool:
        return bool(self.projects or self.groups)

    def within(self, inventory: Inventory) -> "Moved":
        """Return those that the inventory has."""
        projects, groups = (
            frozenset(place.scope.id for place in _places(inventory, is_group=is_group)) for is_group in (False, True)
        )
        return Moved(self.projects & projects, self.groups & groups)


def frames_of(inventory: Inventory) -> Frames:
    """Return the frames of an inventory."""
    project, group = (
        max((place.scope.id for place in _places(inventory, is_group=is_group)), default=0)
        for is_group in (False, True)
    )
    return Frames(project, group, _digests(inventory, project, group))


def frames_from(project: object, group: object, text: object) -> Frames:
    """Return frames that were kept. Raises ValueError."""
    if not isinstance(project, int) or not isinstance(group, int):
        raise ValueError("no numbers")
    digests = b64decode(str(text), validate=True)
    if len(digests) != BUCKETS * DIGEST_BYTES:
        raise ValueError("another number of digests")
    return Frames(project, group, digests)


def moved(before: Frames, inventory: Inventory) -> Moved:
    """Return what is new and what may have changed since the frames were taken.

    Those that are new since are left out of the comparison, so that they make no others suspicious.
    """
    now = Frames(before.project, before.group, _digests(inventory, before.project, before.group))
    buckets = {number for number in range(BUCKETS) if now.bucket(number) != before.bucket(number)}
    return Moved(
        frozenset(_suspects(_places(inventory, is_group=False), before.project, buckets)),
        frozenset(_suspects(_places(inventory, is_group=True), before.group, buckets)),
    )


def _suspects(places: Iterable[Listed], highest: int, buckets: set[int]) -> Iterator[int]:
    ids = (place.scope.id for place in places)
    return (number for number in ids if number > highest or number % BUCKETS in buckets)


def _places(inventory: Inventory, *, is_group: bool) -> tuple[Listed, ...]:
    return inventory.all_groups() if is_group else inventory.projects()


def _digests(inventory: Inventory, project: int, group: int) -> bytes:
    """Return the digest of each bucket, over the places whose id is no higher than these."""
    found = [hashlib.sha256() for _ in range(BUCKETS)]
    # Both are in order of id.
    for is_group, highest in ((True, group), (False, project)):
        for place in _places(inventory, is_group=is_group):
            if place.scope.id <= highest:
                found[place.scope.id % BUCKETS].update(_frame(place))
    return b"".join(one.digest()[:DIGEST_BYTES] for one in found)


def _frame(place: Listed) -> bytes:
    row = place.row
    levels = {name: value for name, value in row.items() if name.endswith("_access_level")}
    fields = {name: row.get(name) for name in FIELDS}
    role = 0 if place.scope.is_group else access_of(row)
    return canonical([place.scope.is_group, place.scope.path, fields, levels, role, place.tokens, place.weaker])
