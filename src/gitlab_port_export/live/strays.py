"""Finds the entities of a webhook's blueprints that no sync owns: events may have made them, and no sync did."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gitlab_port_export.port.catalog import Catalog, read_blueprints
from gitlab_port_export.port.client import Port


@dataclass(frozen=True)
class Strays:
    """How many entities of a blueprint no sync owns, and one of them."""

    blueprint: str
    count: int
    sample: str


def strays(port: Port, blueprints: Iterable[str], integration: str) -> Iterator[Strays]:
    """Yield what no sync of the integration owns, by blueprint. Raises PortRefused and Unreachable."""
    existing = read_blueprints(port)
    known = {name: existing[name] for name in sorted(blueprints) if name in existing}
    with ThreadPoolExecutor(2) as executor:
        catalog = Catalog(port, known, lambda _: (), executor, whole=False)
        owned = {key for key in catalog.owned(integration) if key[0] in known}
        for name in known:
            found = sorted(one for one in catalog.identifiers(name) if (name, one) not in owned)
            if found:
                yield Strays(name, len(found), found[0])
