"""Plans the steps that make the hooks as wanted, carries them out, and reads each hook back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.live.derive import FieldPlan
from gitlab_port_export.live.gitlab_hooks import HookApi, HookRefused
from gitlab_port_export.live.hook import FLAGS, Found, Place, Step, Wanted, decide, differences
from gitlab_port_export.live.places import Gap, Scope
from gitlab_port_export.live.port_webhook import PortStep
from gitlab_port_export.live.strays import Strays
from gitlab_port_export.live.wish import FLAGS_OF_KIND, ON_REQUEST_OF_CI, Wish
from gitlab_port_export.mapping.model import Mapping as PortMapping

Command = Literal["plan", "apply", "status", "remove"]
OCEAN = re.compile(r"/integration/(hook/|webhook|system/hook)")
# Where the address of a webhook that Port has yet to make would stand.
NOT_YET = "(the address that Port will name)"


@dataclass(frozen=True)
class Done:
    """The result of a step: nothing yet, done, or refused; `stuck` are keys that GitLab took and did not keep."""

    step: Step
    state: Literal["planned", "done", "failed"] = "planned"
    why: str = ""
    hint: str = ""
    stuck: tuple[str, ...] = ()


@dataclass(frozen=True)
class HookState:
    """The state of one of the exporter's hooks: whether GitLab uses it, and its newest failures."""

    place: Place
    id: int
    status: str
    until: str = ""
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class HooksReport:
    """What one of the hook commands found and did."""

    command: Command
    to: str
    integration: str
    notes: tuple[str, ...] = ()
    fields: tuple[FieldPlan, ...] = ()
    port: PortStep | None = None
    port_failures: tuple[str, ...] = ()
    strays: tuple[Strays, ...] = ()
    steps: tuple[Done, ...] = ()
    states: tuple[HookState, ...] = ()
    gaps: tuple[Gap, ...] = ()
    by_hand: tuple[str, ...] = ()
    detailed: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is to be done, or was."""
        steps = (done.step.action != "unchanged" for done in self.steps)
        return any(steps) or (self.port is not None and self.port.action not in ("unchanged", "unknown"))

    @property
    def problems(self) -> bool:
        """Whether something is not as it should be."""
        failed = any(done.state == "failed" or done.stuck for done in self.steps)
        unknown = self.port is not None and self.port.action == "unknown"
        asleep = any(state.status != "executable" or state.failures for state in self.states)
        late = self.command == "status" and self.changes
        return bool(failed or unknown or asleep or late or self.gaps or self.port_failures)

    @property
    def exit_code(self) -> int:
        """0; 1 with problems; 10 for a plan with changes where that was asked for."""
        return 1 if self.problems else 10 if self.detailed and self.command == "plan" and self.changes else 0


def name_for(integration: str, to: str) -> str:
    """Return the name by which our hooks are known again."""
    return f"gitlab-port-export {integration} ({to})"


def events_for_ci(mapping: PortMapping, wish: Wish) -> frozenset[str]:
    """Return the flags of the events that tell of the mapping's kinds, or of those that were asked for."""
    mapped = {resource.kind for resource in mapping.resources}
    kinds = wish.kinds or tuple(mapped - set(ON_REQUEST_OF_CI))
    flags = {flag for kind in kinds for flag in FLAGS_OF_KIND.get(kind, ())}
    return frozenset(flags | ({"push_events"} if mapping.spec_paths else set()))


def oceans(scope: Scope) -> Iterator[str]:
    """Yield a line for each hook of Ocean's, which would write the same entities."""
    for place, hooks in scope.found.items():
        for hook in hooks:
            if OCEAN.search(hook.url):
                yield f"{place.shown} has a hook of Ocean's (hook {hook.id}), so that both write; it is left alone"


def wanted_hooks(scope: Scope, flags: frozenset[str], wish: Wish, name: str, url: str, token: str) -> list[Wanted]:
    """Return the hook of each place."""
    return [
        Wanted(
            place,
            url,
            name,
            frozenset(flags & (events or flags) & set(FLAGS[place.level])),
            token,
            wish.headers,
            wish.variables,
            wish.template,
        )
        for place, events in scope.wanted.items()
    ]


def steps_for(wanted: list[Wanted], scope: Scope, name: str, url: str) -> tuple[Done, ...]:
    """Return what is to be done at each place that was looked at."""
    return tuple(Done(step) for step in decide(wanted, scope.found, name, url))


def carry_out(api: HookApi, steps: tuple[Done, ...]) -> Iterator[Done]:
    """Carry out each step, also when another fails; but delete no hook when another could not be created."""
    failed = False
    for done in steps:
        if failed and done.step.action == "delete":
            yield replace(done, state="failed", why="it is left, as another hook could not be made")
            continue
        found = _tried(api, done)
        failed |= found.state == "failed" and done.step.action == "create"
        yield found


def _tried(api: HookApi, done: Done) -> Done:
    try:
        return _taken(api, done)
    except HookRefused as refused:
        return replace(done, state="failed", why=refused.why, hint=refused.hint)
    except ReadFailed as failure:
        return replace(done, state="failed", why=f"what GitLab kept is not known: {failure.why}", hint=failure.hint)


def _taken(api: HookApi, done: Done) -> Done:
    step = done.step
    if step.action == "delete" and step.hook:
        api.delete(step.place, step.hook.id)
    elif step.action in ("create", "update") and step.wanted:
        hook = api.write(step.place, step.wanted.body(), step.hook.id if step.hook else None)
        taken = replace(done, step=replace(step, hook=hook), stuck=tuple(differences(step.wanted, hook)))
        return _awake(api, taken)
    elif step.action == "wake":
        return _awake(api, done)
    return replace(done, state="done")


def _awake(api: HookApi, done: Done) -> Done:
    why = _asleep(api, done.step, done.step.hook) if done.step.hook else ""
    return replace(done, state="failed" if why else "done", why=why)


def _asleep(api: HookApi, step: Step, hook: Found) -> str:
    """Enable a hook that GitLab has disabled by trial events; return why it is still disabled, or nothing.

    https://docs.gitlab.com/user/project/integrations/webhooks/#re-enable-disabled-webhooks
    """
    if hook.status == "executable":
        return ""
    flags = sorted(step.wanted.flags if step.wanted else ())
    if any(api.test(step.place, hook.id, flag) for flag in flags):
        return ""
    return f"the hook is {hook.status.replace('_', ' ')}, and a trial event was not taken"


def states_of(api: HookApi, steps: tuple[Done, ...]) -> Iterator[HookState]:
    """Yield the state of each of the exporter's hooks."""
    for step in (done.step for done in steps if done.step.hook is not None):
        hook = step.hook
        assert hook is not None  # noqa: S101  # for mypy: those without were left out
        events = api.failures(step.place, hook.id)
        why = dict.fromkeys(f"{event.get('trigger')}: answered {event.get('response_status')}" for event in events)
        until = str(hook.row.get("disabled_until") or "")
        yield HookState(step.place, hook.id, hook.status, until, tuple(why)[:5])


def by_hand(scope: Scope, flags: frozenset[str], wish: Wish, url: str) -> Iterator[str]:
    """Yield what an administrator has to enter where the token may not manage system hooks."""
    if not wish.system or scope.wanted:
        return
    own = "a text of your own: set it as OCEAN__EXPORT__HOOKS_SECRET as well, and apply again"
    secret = "the text of OCEAN__EXPORT__HOOKS_SECRET" if wish.secret else own
    yield "Admin area > System hooks > Add new webhook:"
    yield f"  URL: {url}"
    yield f"  Secret token: {secret}"
    for name in wish.variables:
        yield f"  URL variable {name}: its text in OCEAN__EXPORT__HOOKS_URL_VARIABLES"
    names = {"merge_requests_events": "Merge request events", "push_events": "Push events"}
    names |= {"tag_push_events": "Tag push events", "repository_update_events": "Repository update events"}
    asked = [words for flag, words in names.items() if flag in flags]
    yield f"  Trigger: {', '.join(asked) or 'none of the boxes'}, and no other"
    yield "  SSL verification: enabled"
