"""Digests of what groups and projects are, by which renames, moves, archiving and lost rights are found."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gitlab_port_export.base.jsontext import encode
from gitlab_port_export.gitlab.inventory import Inventory, Listed, access_of

BUCKETS = 1024
DIGEST_BYTES = 6
# What of a row decides which lists there are and what their rows look like, beside the fields `…_access_level`.
FIELDS = ("id", "name", "archived", "marked_for_deletion_on", "marked_for_deletion_at", "default_branch", "visibility")
LEVEL = "_access_level"
# When the row changed, and when anything happened in the project.
TIMES = ("updated_at", "last_activity_at")
# From so many projects on their list is cut in two, and so on.
RANGE, MOST_RANGES = 750, 8


@dataclass(frozen=True, slots=True)
class Outline:
    """What an incremental run needs to know of a group or project; its row is read for it once.

    `frame` is a digest of what it is. `updated_at` and `active_at` are times of its row as GitLab gives them. Without
    `builds` it has no pipelines.
    """

    id: int
    is_group: bool
    frame: bytes
    updated_at: str
    active_at: str
    builds: bool


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

    def knows(self, one: Outline) -> bool:
        """Say whether a group or project was there already when the digests were taken."""
        return one.id <= (self.group if one.is_group else self.project)


@dataclass(frozen=True)
class Moved:
    """The ids of the groups and projects that are new, or in one bucket with some that changed or are gone."""

    projects: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    @classmethod
    def of(cls, outlines: Iterable[Outline]) -> "Moved":
        """Return the ids of these."""
        found = tuple(outlines)
        return cls(frozenset(_ids(found, is_group=False)), frozenset(_ids(found, is_group=True)))

    def __or__(self, other: "Moved") -> "Moved":
        return Moved(self.projects | other.projects, self.groups | other.groups)

    def __and__(self, other: "Moved") -> "Moved":
        return Moved(self.projects & other.projects, self.groups & other.groups)

    def __bool__(self) -> bool:
        return bool(self.projects or self.groups)


def outlines_of(inventory: Inventory) -> tuple[Outline, ...]:
    """Return the outlines of the groups and projects of an inventory, each in order of id."""
    return (*map(_outline, inventory.all_groups()), *map(_outline, inventory.projects()))


def frames_of(outlines: Iterable[Outline]) -> Frames:
    """Return the frames of groups and projects."""
    known = tuple(outlines)
    project, group = (max(_ids(known, is_group=is_group), default=0) for is_group in (False, True))
    return Frames(project, group, _digests(known))


def cuts_of(outlines: Iterable[Outline]) -> tuple[int, ...]:
    """Return the ids of projects between which the next run lists them side by side; each range costs a request."""
    ids = sorted(_ids(outlines, is_group=False))
    ranges = min(MOST_RANGES, 1 + len(ids) // RANGE)
    return tuple(ids[len(ids) * number // ranges - 1] for number in range(1, ranges))


def frames_from(project: object, group: object, text: object) -> Frames:
    """Return frames that were kept. Raises ValueError."""
    if not isinstance(project, int) or not isinstance(group, int):
        raise ValueError("no numbers")
    digests = b64decode(str(text), validate=True)
    if len(digests) != BUCKETS * DIGEST_BYTES:
        raise ValueError("another number of digests")
    return Frames(project, group, digests)


def moved(before: Frames, outlines: Iterable[Outline]) -> Moved:
    """Return what is new and what may have changed since the frames were taken.

    Those that are new since are left out of the comparison, so that they make no others suspicious.
    """
    found = tuple(outlines)
    now = Frames(before.project, before.group, _digests(one for one in found if before.knows(one)))
    buckets = {number for number in range(BUCKETS) if now.bucket(number) != before.bucket(number)}
    return Moved.of(one for one in found if not before.knows(one) or one.id % BUCKETS in buckets)


def _ids(outlines: Iterable[Outline], *, is_group: bool) -> Iterator[int]:
    return (one.id for one in outlines if one.is_group is is_group)


def _digests(outlines: Iterable[Outline]) -> bytes:
    """Return the digest of each bucket."""
    found = [hashlib.sha256() for _ in range(BUCKETS)]
    for one in outlines:
        found[one.id % BUCKETS].update(one.frame)
    return b"".join(one.digest()[:DIGEST_BYTES] for one in found)


def _outline(place: Listed) -> Outline:
    row, is_group = place.row, place.scope.is_group
    updated_at, active_at = (str(row.get(name)) for name in TIMES)
    levels = sorted((name, str(row[name])) for name in row if name.endswith(LEVEL))
    role = 0 if is_group else access_of(row)
    frame = [is_group, place.scope.path, [row.get(name) for name in FIELDS], levels, role, place.tokens, place.weaker]
    return Outline(
        place.scope.id,
        is_group,
        hashlib.sha256(encode(frame)).digest(),
        updated_at,
        active_at,
        row.get(f"builds{LEVEL}") != "disabled",
    )
