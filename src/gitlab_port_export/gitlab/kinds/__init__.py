"""The table of kinds; each kind is a file in this folder and a name in `NAMES`."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TypeVar

from gitlab_port_export.gitlab.kinds.kind import Kind
from gitlab_port_export.mapping.model import Selector

# The kind `merge-request` is in merge_request.py.
NAMES = (
    "project",
    "group",
    "member",
    "group-with-members",
    "project-with-members",
    "merge-request",
    "issue",
    "pipeline",
    "job",
    "file",
    "folder",
    "skill",
    "plugin",
    "user",
    "access",
    "release",
    "tag",
    "branch",
    "deployment",
    "environment",
    "label",
    "milestone",
    "invitation",
)


Looked = TypeVar("Looked")


class _Table(Mapping[str, Looked]):
    """Maps each kind's name to something of it. A kind is imported on first use, because a mapping names only a few."""

    def __init__(self, look: Callable[[str], Looked]) -> None:
        self._look = look

    def __getitem__(self, name: str) -> Looked:
        if name not in NAMES:
            raise KeyError(name)
        return self._look(name)

    def __contains__(self, name: object) -> bool:
        return name in NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


def _imported(name: str) -> Kind:
    kind: Kind = import_module(f"{__name__}.{name.replace('-', '_')}").KIND
    return kind


KINDS: Mapping[str, Kind] = _Table(_imported)
SELECTORS: Mapping[str, type[Selector]] = _Table(lambda name: _imported(name).selector)
