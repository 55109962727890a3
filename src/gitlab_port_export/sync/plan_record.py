"""Records the changes of a plan in a plan file, as they come."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.errors import PortUnavailable
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Create, Delete, Dialect, Event, Problem, Update
from gitlab_port_export.port.client import Port, PortRefused, advice
from gitlab_port_export.sync.plan_file import Basis, Recorder, States, digest_of, held_mapping


def basis_of(port: Port, integration: str, dialect: Dialect, mapping: Mapping) -> Basis:
    """Return what a plan of a run is made for. Raises PortUnavailable where Port does not name its organization."""
    try:
        organization = port.organization()
    except (PortRefused, Unreachable) as failure:
        raise PortUnavailable(
            f"Port did not say which organization the credentials are of, which a plan has to name: {failure}",
            hint=advice(failure, "read the organization"),
        ) from None
    return Basis(integration, dialect, port.http.base_url, organization, digest_of(mapping))


def begin(
    recorder: Recorder, port: Port, integration: str, dialect: Dialect, mapping: Mapping, states: States, *, given: bool
) -> Iterator[Problem]:
    """Begin a plan file, and warn of what it cannot hold; `states` gives what Port holds of entities.

    `given` says that the mapping came from a file that the user named.
    """
    if mapping.spec_paths:
        yield Problem(
            "mapping", "a plan file does not hold the entities of specPath", "sync without --plan", warning=True
        )
    recorder.begin(basis_of(port, integration, dialect, mapping), states, held_mapping(mapping, given=given))


def recorded(recorder: Recorder, events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events of a plan, and record its changes."""
    for event in events:
        yield event
        match event:
            case Create() | Update() | Delete():
                yield from _tried(partial(recorder.add, event))


def finish(recorder: Recorder) -> Iterator[Problem]:
    """Record the changes that still wait."""
    yield from _tried(recorder.finish)


def _tried(record: Callable[[], None]) -> Iterator[Problem]:
    """Call `record`; yield a Problem where the plan file cannot be made."""
    try:
        record()
    except (PortRefused, Unreachable, OSError) as failure:
        yield Problem("report", f"the plan file could not be made: {failure}", "run again", holds_all=True)
