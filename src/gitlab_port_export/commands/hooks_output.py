"""The output of `hooks`: what was found and done, as lines or as JSON."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from gitlab_port_export.base.text import clean
from gitlab_port_export.live.derive import FieldPlan
from gitlab_port_export.live.provision import Done, HooksReport, HookState
from gitlab_port_export.report.json import SCHEMA_VERSION, dumps
from gitlab_port_export.report.words import some

Redact = Callable[[str], str]
_STATES = {"live": "green", "conditional": "yellow", "sync": "default"}
_ACTIONS = {"create": "green", "update": "yellow", "wake": "yellow", "delete": "red", "unchanged": "default"}
_MEANINGS = {
    0: "the hooks are as they should be",
    1: "something is not as it should be",
    10: "there are changes to make",
}


def render(report: HooksReport, redact: Redact, console: Console) -> None:
    """Print what was found, and what was done or would be done; the last line is the exit code and its meaning."""
    for line in _lines(report):
        shown = Text(clean(redact(line.plain)), line.style)
        console.print(shown, soft_wrap=not console.is_terminal)


def _lines(report: HooksReport) -> Iterator[Text]:
    yield from (Text(note) for note in report.notes)
    shown = report.fields if report.command == "plan" else ()
    for kind, fields in groupby(shown, key=lambda field: (field.resource, field.kind)):
        yield from _kind(kind[1], list(fields))
    if report.fields:
        yield Text(share(report))
        yield Text("Whole payloads go to Port: also texts, names and the values of pipeline variables.")
    if report.port is not None:
        yield Text()
        url = f" at {report.port.url}" if report.port.url else ""
        why = f" ({', '.join(report.port.why)})" if report.port.why else ""
        yield Text(f"webhook in Port: {_past(report.port.action, report)}{url}{why}")
        yield from (Text(f"  failed: {failure}", "red") for failure in report.port_failures)
    for stray in report.strays:
        entities = "one entity" if stray.count == 1 else f"{stray.count} entities"
        yield Text(f"{stray.blueprint}: no sync owns {entities}, such as {stray.sample}", "yellow")
        yield Text("  → sync; what is still left was made by hand, or by events of what was gone before that sync")
    if report.steps:
        yield Text()
    for done in report.steps:
        yield from _step(done, report)
    yield from _states(report)
    for gap in report.gaps:
        yield Text(f"{gap.where}: {gap.why}", "yellow")
        if gap.hint:
            yield Text(f"  → {gap.hint}")
    yield from (Text(line) for line in report.by_hand)
    yield Text()
    meaning = _MEANINGS[report.exit_code]
    if report.exit_code == 0 and report.command == "plan" and report.changes:
        meaning = _MEANINGS[10]
    yield Text(f"exit {report.exit_code}: {meaning}", "bold red" if report.exit_code == 1 else "bold green")


def share(report: HooksReport) -> str:
    """Return how many of the mapping's fields are live."""
    states = Counter(field.state for field in report.fields)
    return (
        f"{states['live']} of {some(len(report.fields), 'field')} live, {states['conditional']} under a condition,"
        f" {states['sync']} left to the sync"
    )


def _kind(kind: str, fields: list[FieldPlan]) -> Iterator[Text]:
    whys = {field.why for field in fields if field.state == "sync"}
    if all(field.state == "sync" for field in fields) and len(whys) == 1:
        yield Text(f"{kind}: left to the sync: {fields[0].why}")
        return
    yield Text(f"{kind}:")
    for field in fields:
        words = {"live": "live", "conditional": "live", "sync": "left to the sync"}[field.state]
        why = f": {field.why}" if field.state == "sync" else f" {field.why}" if field.why else ""
        yield Text(f"  {field.field}: {words}{why}", _STATES[field.state])


def _past(action: str, report: HooksReport) -> str:
    """Return the action as done, or as to be done."""
    if report.command not in ("apply", "remove") or action in ("unchanged", "unknown"):
        return {"unknown": "not known"}.get(action, action)
    return {"wake": "woken"}.get(action, f"{action}d")


def _step(done: Done, report: HooksReport) -> Iterator[Text]:
    step = done.step
    action = step.action if done.state == "failed" else _past(step.action, report)
    number = f" (hook {step.hook.id})" if step.hook else ""
    why = f": {', '.join(step.why)}" if step.why else ""
    failed = f"; failed: {done.why}" if done.state == "failed" else ""
    style = "red" if done.state == "failed" else _ACTIONS[step.action]
    yield Text(f"{step.place.shown}{number}: {action}{why}{failed}", style)
    if step.wanted and step.action in ("create", "update"):
        yield Text(f"  sends {', '.join(sorted(step.wanted.flags)) or 'nothing'} to {step.wanted.url}")
    for key in done.stuck:
        yield Text(f"  GitLab did not keep {key}", "yellow")
        yield Text(f"  → tick it in the hook's page at {step.place.shown}, or wait for a newer GitLab")
    if done.hint:
        yield Text(f"  → {done.hint}")


def _states(report: HooksReport) -> Iterator[Text]:
    for state in report.states:
        until = f" until {state.until}" if state.until else ""
        status = state.status.replace("_", " ")
        yield Text(f"{state.place.shown} (hook {state.id}): {status}{until}", "" if status == "executable" else "red")
        yield from (Text(f"  failed: {failure}", "red") for failure in state.failures)
        if status != "executable":
            yield Text("  → mend what the failures name, then run `hooks apply`, which wakes it with a trial event")


def to_json(report: HooksReport, redact: Redact) -> str:
    """Return the report as one JSON document with a newline at its end; keys are only ever added."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": f"hooks {report.command}",
        "to": report.to,
        "integration": report.integration,
        "exit": {"code": report.exit_code, "meaning": _MEANINGS[report.exit_code]},
        "notes": list(report.notes),
        "fields": [
            {"kind": one.kind, "resource": one.resource, "field": one.field, "state": one.state, "why": one.why}
            for one in report.fields
        ],
        "port": _port_json(report),
        "strays": [
            {"blueprint": stray.blueprint, "count": stray.count, "sample": stray.sample} for stray in report.strays
        ],
        "hooks": [_step_json(done) for done in report.steps],
        "states": [_state_json(state) for state in report.states],
        "gaps": [{"where": gap.where, "why": gap.why, "hint": gap.hint} for gap in report.gaps],
        "by_hand": list(report.by_hand),
    }
    return redact(dumps(document))


def _port_json(report: HooksReport) -> dict[str, Any] | None:
    port = report.port
    if port is None:
        return None
    return {"action": port.action, "why": list(port.why), "url": port.url, "failures": list(report.port_failures)}


def _step_json(done: Done) -> dict[str, Any]:
    step = done.step
    return {
        "place": step.place.shown,
        "hook": step.hook.id if step.hook else None,
        "action": step.action,
        "state": done.state,
        "why": list(step.why),
        "events": sorted(step.wanted.flags) if step.wanted else [],
        "failure": done.why,
        "hint": done.hint,
        "not_kept": list(done.stuck),
    }


def _state_json(state: HookState) -> dict[str, Any]:
    return {
        "place": state.place.shown,
        "hook": state.id,
        "status": state.status,
        "until": state.until,
        "failures": list(state.failures),
    }
