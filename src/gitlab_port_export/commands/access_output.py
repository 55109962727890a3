"""The output of `access` and `account`: what was found and done, as lines or as JSON."""

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from gitlab_port_export.access.codes import meaning
from gitlab_port_export.access.values import Ended, Held, Outcome, Write
from gitlab_port_export.base.text import clean
from gitlab_port_export.commands.session import Session
from gitlab_port_export.report.json import SCHEMA_VERSION, dumps, redacted

_STYLES = {"refused": "red", "failed": "red", "queued": "yellow", "invited": "yellow"}


def write(outcome: Outcome, code: int, session: Session) -> None:
    """Print the outcome on standard output, in the form that was asked for."""
    redact = session.redactor.redact
    if session.as_json:
        session.out.stream.write(dumps(redacted(document(outcome, code), redact)))
        return
    console = session.out.console
    for line in _lines(outcome, code):
        console.print(Text(clean(redact(line.plain)), line.style), soft_wrap=not console.is_terminal)


# --- lines


def _lines(outcome: Outcome, code: int) -> Iterator[Text]:
    person, place = outcome.person, outcome.place
    if person:
        before, after = outcome.states or (person.state, person.state)
        state = f"{before} → {after}" if before != after else after
        yield Text(f"person: {person.username} (id:{person.id}), {person.name}, {state}")
    else:
        yield Text(f"person: {outcome.wish.person}, no account that the token sees")
    if place:
        yield Text(f"{place.kind}: {place.path} (id:{place.id})")
        shows_role = outcome.command.startswith("access") and outcome.guard not in ("unknown", "ambiguous")
        yield from _roles(outcome) if shows_role else ()
    yield from (Text(f"  {_place_role(one, outcome)}") for one in outcome.below)
    yield from (Text(f"note: {note}") for note in outcome.notes)
    if outcome.plan:
        yield from (Text(f"would send: {_request(one)}") for one in outcome.writes)
    for entity in outcome.entities:
        yield Text(f"in Port: {entity.action} {entity.blueprint} {entity.identifier}")
    yield from _ends(outcome, code)


def _roles(outcome: Outcome) -> Iterator[Text]:
    before, after = _held(outcome.before), _held(outcome.after)
    changes = before != after and outcome.result not in ("refused", "failed")
    yield Text(f"role: {before} → {after}" if changes else f"role: {before}", "green" if changes else "")
    for one in outcome.still:
        where = f"from the group {one.origin}" if one.origin else "from an invited group or a group above"
        yield Text(f"also: {_held(one)} {where}")


def _held(held: Held | None) -> str:
    if held is None:
        return "none"
    custom = f" (custom:{held.role.custom})" if held.role.custom is not None else ""
    open_yet = ", invited and not yet accepted" if held.membership == "invitation" else ""
    return f"{held.role.name}{custom}{open_yet}{f', until {held.expires}' if held.expires else ''}"


def _place_role(ended: Ended, outcome: Outcome) -> str:
    ends = outcome.command in ("access revoke", "account remove") and outcome.result not in ("refused", "failed")
    goes = (" would end" if outcome.plan else " ended") if ends else ""
    return f"{ended.kind} {ended.path}: {ended.role.name}{goes}"


def _request(request: Write) -> str:
    query = "&".join(f"{name}={value}" for name, value in request.params)
    payload = ", ".join(f"{name} {value}" for name, value in (request.payload or {}).items())
    return f"{request.method} {request.path}{f'?{query}' if query else ''}{f' ({payload})' if payload else ''}"


def _ends(outcome: Outcome, code: int) -> Iterator[Text]:
    if outcome.command != "access show":
        result = f"would be {outcome.result}" if outcome.plan and outcome.writes else outcome.result
        guard = f" by the guard {outcome.guard}" if outcome.guard else ""
        yield Text(f"result: {result}{guard}", _STYLES.get(outcome.result, "green"))
    if outcome.why:
        yield Text(f"  {outcome.why}")
    if outcome.hint:
        yield Text(f"  → {outcome.hint}")
    for problem in outcome.problems:
        yield Text(
            f"{'warning' if problem.warning else 'error'}: {problem.why}", "yellow" if problem.warning else "red"
        )
        if problem.hint:
            yield Text(f"  → {problem.hint}")
    yield Text(f"exit {code}: {meaning(outcome, code)}", "bold")


# --- JSON


def document(outcome: Outcome, code: int) -> dict[str, Any]:
    """Return the outcome as JSON; keys are only ever added."""
    person, place = outcome.person, outcome.place
    shown = (
        {"id": person.id, "username": person.username, "name": person.name, "state": person.state} if person else None
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "command": outcome.command,
        "result": outcome.result,
        "plan": outcome.plan,
        "exit": {"code": code, "meaning": meaning(outcome, code)},
        "asked": outcome.wish.person,
        "person": shown,
        "states": {"before": outcome.states[0], "after": outcome.states[1]} if outcome.states else None,
        "scope": {"kind": place.kind, "id": place.id, "path": place.path} if place else None,
        "before": _held_json(outcome.before),
        "after": _held_json(outcome.after),
        "still": [_held_json(one) for one in outcome.still],
        "below": [
            {"kind": one.kind, "path": one.path, "role": one.role.name, "level": one.role.level}
            for one in outcome.below
        ],
        "guard": outcome.guard,
        "why": outcome.why,
        "hint": outcome.hint,
        "notes": list(outcome.notes),
        "writes": [{"request": _request(one), "does": one.does} for one in outcome.writes],
        "entities": [
            {"action": one.action, "blueprint": one.blueprint, "identifier": one.identifier} for one in outcome.entities
        ],
        "run": outcome.wish.run,
        "problems": [{"why": one.why, "hint": one.hint, "warning": one.warning} for one in outcome.problems],
    }


def _held_json(held: Held | None) -> dict[str, Any] | None:
    if held is None:
        return None
    return {
        "role": held.role.name,
        "level": held.role.level,
        "custom_role": held.role.custom,
        "expires": held.expires,
        "membership": held.membership,
        "origin": held.origin,
    }
