"""Entities are looked up in Port many at a time, while the next ones come from GitLab."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from gitlab_port_export.model import Entity
from gitlab_port_export.sync import through
from gitlab_port_export.sync.through import looked_up


class Asked:
    """A catalog that keeps what happened, in order."""

    def __init__(self) -> None:
        self.happened: list[tuple[str, Any]] = []

    def start_look_up(self, keys: Iterable[tuple[str, str]]) -> Callable[[], None]:
        names = [identifier for _, identifier in keys]
        self.happened.append(("asked", names))
        return lambda: self.happened.append(("held", names))


def entities(names: str, asked: Asked) -> Iterator[Entity]:
    for name in names:
        asked.happened.append(("read", name))
        yield Entity.of("thing", name, {}, 0)


@pytest.mark.parametrize("names", ["", "a", "ab", "abc", "abcde"])
def test_each_entity_is_held_before_it_comes_and_the_next_are_asked_for_meanwhile(
    names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(through, "AT_ONCE", 2)
    asked = Asked()
    came = []
    for entity in looked_up(entities(names, asked), asked):  # type: ignore[arg-type]  # as much of a catalog as it takes
        assert isinstance(entity, Entity)
        assert any(what == "held" and entity.identifier in some for what, some in asked.happened)
        came.append(entity.identifier)
    assert "".join(came) == names
    batches = [names[at : at + 2] for at in range(0, len(names), 2)]
    assert ["".join(some) for what, some in asked.happened if what == "asked"] == batches
    for earlier, later in pairwise(batches):
        assert asked.happened.index(("asked", list(later))) < asked.happened.index(("held", list(earlier)))
