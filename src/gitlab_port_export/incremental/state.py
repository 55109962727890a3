"""What one run leaves for the next: how far it came for each kind, and what the groups and projects looked like."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gitlab_port_export.base.jsontext import canonical, decode
from gitlab_port_export.incremental.frames import Frames, Moved, frames_from

FORMAT = 1


@dataclass(frozen=True)
class State:
    """The state after a run; instants are those of GitLab's clock when a run began.

    `key` holds a digest of each thing that decides what is read. `kinds` has the kinds that take part, each with the
    instant of its last run without a Problem. `counts` is how many entities Port held of a blueprint. `unsettled` are
    by the instant of a run the groups and projects that it found to be new or changed: the lists that it read may have
    come from a database that did not have that yet, and their rows bear no time that would tell. Between the `cuts`,
    ids of projects, the next run lists them side by side.
    """

    key: Mapping[str, str]
    last_full: datetime
    last_run: datetime
    kinds: Mapping[str, datetime]
    frames: Frames
    counts: Mapping[str, int]
    unsettled: Mapping[datetime, Moved] = field(default_factory=dict)
    cuts: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The state as JSON of one line, with a checksum."""
        data = {
            "format": FORMAT,
            "key": dict(self.key),
            "last_full": shown(self.last_full),
            "last_run": shown(self.last_run),
            "kinds": {kind: shown(instant) for kind, instant in self.kinds.items()},
            "projects": self.frames.project,
            "groups": self.frames.group,
            "frames": self.frames.text,
            "counts": dict(self.counts),
            "unsettled": {
                shown(instant): [sorted(found.projects), sorted(found.groups)]
                for instant, found in self.unsettled.items()
            },
            "cuts": list(self.cuts),
        }
        return canonical({**data, "checksum": _checksum(data)}).decode()


def state_of(text: str | bytes) -> State | None:
    """Return the state that a text holds, or None where it is damaged or of another format."""
    try:
        data = decode(text)
        checksum = data.pop("checksum")
        if data["format"] != FORMAT or checksum != _checksum(data):
            return None
        return State(
            {str(name): str(digest) for name, digest in data["key"].items()},
            _instant(data["last_full"]),
            _instant(data["last_run"]),
            {str(kind): _instant(value) for kind, value in data["kinds"].items()},
            frames_from(data["projects"], data["groups"], data["frames"]),
            {str(name): int(count) for name, count in data["counts"].items()},
            {
                _instant(text): Moved(frozenset(map(int, projects)), frozenset(map(int, groups)))
                for text, (projects, groups) in data["unsettled"].items()
            },
            tuple(map(int, data["cuts"])),
        )
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def shown(instant: datetime) -> str:
    """Return an instant in whole seconds, as people read it."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(text: Any) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _checksum(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(data)).hexdigest()
