"""Deletes entities of Port in bulk and believes only what Port confirms."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.model import Delete, Failed, Held, Written
from gitlab_port_export.port.client import Port, PortRefused, advice, segment
from gitlab_port_export.port.halving import DEPENDENTS, PART_ATTEMPTS, Tries, halves, may_be_about_one
from gitlab_port_export.port.hints import DELETE

BULK_DELETE = 100


class Deleter:
    """Deletes in bulk, without dependents; dependents go too only where the user asked for it (`cascade`).

    `action_run` is the run of a Port action that the deletions are tied to; Port takes it while that is in progress.
    """

    def __init__(self, port: Port, *, cascade: bool, action_run: str = "") -> None:
        self._port, self._cascade = port, cascade
        self._tie = (("run_id", action_run),) if action_run else ()
        self._tries: defaultdict[str, Tries] = defaultdict(Tries)

    def delete(self, blueprint: str, identifiers: Sequence[str]) -> Iterator[Written | Failed | Held]:
        """Yield what became of each entity."""
        for start in range(0, len(identifiers), BULK_DELETE):
            yield from self._bulk(blueprint, list(identifiers[start : start + BULK_DELETE]))

    def _bulk(self, blueprint: str, identifiers: list[str], *, part: bool = False) -> Iterator[Written | Failed | Held]:
        answer = self._call(blueprint, identifiers, cascade=False, part=part)
        tries = self._tries[blueprint]
        if not isinstance(answer, PortRefused | Unreachable):
            tries.passed()
            for identifier in identifiers:
                yield self._confirmed(Delete(blueprint, identifier), answer)
        elif len(identifiers) > 1 and may_be_about_one(answer) and tries.may_halve(part=part):
            for half in halves(identifiers):
                yield from self._bulk(blueprint, list(half), part=True)
        elif len(identifiers) == 1 and isinstance(answer, PortRefused):
            outcome = self._refused(Delete(blueprint, identifiers[0]), answer)
            if isinstance(outcome, Failed):
                tries.refused_alone()
            yield outcome
        else:
            for identifier in identifiers:
                yield Failed(Delete(blueprint, identifier), str(answer), advice(answer, DELETE))

    def _confirmed(self, change: Delete, deleted: set[str]) -> Written | Failed:
        gone = change.identifier in deleted or self._is_gone(change.blueprint, change.identifier)
        return Written(change) if gone else Failed(change, "Port did not confirm the deletion", "run again")

    def _is_gone(self, blueprint: str, identifier: str) -> bool:
        """Return whether Port has no such entity: its answer lists only what this call deleted."""
        try:
            answer = self._port.call("GET", f"/blueprints/{segment(blueprint)}/entities/{segment(identifier)}")
        except Unreachable:
            return False
        return answer.status == 404

    def _refused(self, change: Delete, refusal: PortRefused) -> Written | Failed | Held:
        if refusal.status == 404:
            return self._confirmed(change, set())
        if not _is_about_dependents(refusal):
            return Failed(change, str(refusal), advice(refusal, DELETE))
        if not self._cascade:
            return Held(
                change.blueprint,
                (change.identifier,),
                "dependents",
                f"other entities depend on it: {refusal.text}",
                "delete them first, or write deleteDependentEntities: true in the mapping to delete them with it",
            )
        answer = self._call(change.blueprint, [change.identifier], cascade=True)
        if isinstance(answer, PortRefused | Unreachable):
            return Failed(change, str(answer), advice(answer, DELETE))
        return self._confirmed(replace(change, cascade=True), answer)

    def _call(
        self, blueprint: str, identifiers: list[str], *, cascade: bool, part: bool = False
    ) -> set[str] | PortRefused | Unreachable:
        try:
            data = self._port.ask(
                "POST",
                f"/blueprints/{segment(blueprint)}/bulk/entities/delete",
                params=(("delete_dependents", str(cascade).lower()), *self._tie),
                payload={"entities": identifiers},
                attempts=PART_ATTEMPTS if part else None,
            )
        except (PortRefused, Unreachable) as failure:
            return failure
        deleted = data.get("deletedEntities")
        return {str(identifier) for identifier in deleted} if isinstance(deleted, list) else set()


def _is_about_dependents(refusal: PortRefused) -> bool:
    """Return whether other entities keep Port from deleting: by its code, or else by the words of its text."""
    if refusal.code in DEPENDENTS:
        return True
    words = f"{refusal.code} {refusal.text}".lower()
    return refusal.status in (400, 409, 422) and any(
        word in words for word in ("dependent", "dependant", "required", "relation")
    )
