"""What every command that changes GitLab can be told: why, what is meant although a guard refuses it, and to plan."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer


class Allow(StrEnum):
    """What a guard refuses unless it is meant."""

    bot = "bot"
    managed = "managed"


@dataclass(frozen=True)
class Change:
    """How a change is to be made, or only planned."""

    reason: str = ""
    allow: tuple[str, ...] = ()
    plan: bool = False
    detailed: bool = False


_OPTIONS = {
    "reason": (str | None, None, typer.Option("--reason", metavar="TEXT", help="Why, for the audit line.")),
    "allow": (
        list[Allow] | None,
        None,
        typer.Option("--allow", metavar="bot|managed", help="Let pass what a guard stops if not meant."),
    ),
    "plan": (bool, False, typer.Option("--plan", help="Show what would be done, and write nothing.")),
    "detailed_exitcode": (
        bool,
        False,
        typer.Option("--detailed-exitcode", help="With --plan: exit 10 when there is something to do."),
    ),
}


def with_change(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a change; it receives their values as one: `change`."""

    @wraps(command)
    def packed(
        *, reason: str | None, allow: list[Allow] | None, plan: bool, detailed_exitcode: bool, **given: Any
    ) -> None:
        meant = tuple(one.value for one in allow or ())
        command(change=Change(reason or "", meant, plan, detailed_exitcode), **given)

    own = [one for name, one in signature(command).parameters.items() if name != "change"]
    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
        for name, (kind, default, option) in _OPTIONS.items()
    ]
    named = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own if one.kind is not Parameter.VAR_KEYWORD]
    rest = [one for one in own if one.kind is Parameter.VAR_KEYWORD]
    shown = signature(command).replace(parameters=[*named, *added, *rest])
    packed.__signature__ = shown  # type: ignore[attr-defined]  # `inspect` reads it, but a callable does not declare it
    return packed
