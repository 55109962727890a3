"""The clock of a stand-in's world: it stands until it is moved, and what commits and replicas make of that."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gitlab_port_export.demo.gitlab_store import World


@dataclass
class WorldClock:
    """Moves the time of a world, `world.now`, and gives it to servers as `seconds`.

    What is committed late becomes visible when the clock has come that far, with the older time: GitLab's times are
    those at which a row was saved, and others see it when its transaction ends. With `remembers` the world as it was
    is kept for so many seconds, for answers of replicas that lag.
    https://docs.gitlab.com/administration/postgresql/database_load_balancing/
    """

    world: World
    remembers: float = 0
    _past: list[tuple[datetime, World]] = field(default_factory=list, repr=False)
    _open: list[tuple[datetime, datetime, Callable[[], object]]] = field(default_factory=list, repr=False)

    def seconds(self) -> float:
        """The world's time in seconds since the epoch, for a server's `clock`."""
        return self.world.now.timestamp()

    def move(self, **span: float) -> None:
        """Let so much time pass (`minutes=5`); what is committed on the way becomes visible."""
        end = self.world.now + timedelta(**span)
        for commit in sorted((one for one in self._open if one[0] <= end), key=lambda one: one[0]):
            self._open.remove(commit)
            visible, saved, change = commit
            self._pass_to(visible)
            self.world.now = saved
            change()
            self.world.touch()
            self.world.now = visible
        self._pass_to(end)

    def commit_later(self, change: Callable[[], object], **span: float) -> None:
        """Save a change now that is visible only after so much time."""
        self._open.append((self.world.now + timedelta(**span), self.world.now, change))

    def behind(self, seconds: float) -> World:
        """The world as a replica shows it that lags so far behind; no further back than the clock remembers."""
        shown = self.world.now - timedelta(seconds=seconds)
        return next((world for until, world in self._past if until > shown), self.world)

    def _pass_to(self, instant: datetime) -> None:
        if self.remembers:
            oldest = instant - timedelta(seconds=self.remembers)
            self._past = [one for one in self._past if one[0] > oldest] + [(instant, deepcopy(self.world))]
        self.world.now = instant
