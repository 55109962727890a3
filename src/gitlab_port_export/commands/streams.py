"""What every command can be told about its two streams: the form of the result, and how much is said beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer


class Output(StrEnum):
    """What is written to standard output; everything else goes to standard error."""

    table = "table"
    json = "json"


@dataclass(frozen=True)
class Streams:
    """The form of the result, and what standard error gets: `quiet` means only what is wrong, `log_json` JSON lines."""

    as_json: bool = False
    debug: bool = False
    quiet: bool = False
    log_json: bool = False


_OPTIONS = {
    "output": (Output, Output.table, typer.Option("--output", "-o", help="Form of the result on standard output.")),
    "debug": (
        bool,
        False,
        typer.Option("--debug", "--verbose", "-v", help="Log every request; show the traceback of a bug."),
    ),
    "quiet": (bool, False, typer.Option("--quiet", "-q", help="Say only what is wrong, beside the result.")),
}


def with_streams(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of its streams; it receives their values as one: `streams`."""

    @wraps(command)
    def packed(*, output: Output, debug: bool, quiet: bool, **given: Any) -> None:
        log_json = given.get("log_format") == "json"
        command(streams=Streams(output is Output.json, debug, quiet, log_json), **given)

    own = [one for name, one in signature(command).parameters.items() if name != "streams"]
    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
        for name, (kind, default, option) in _OPTIONS.items()
    ]
    given = [one for one in own if one.kind is not Parameter.VAR_KEYWORD]
    rest = [one for one in own if one.kind is Parameter.VAR_KEYWORD]
    named = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in given]
    shown = signature(command).replace(parameters=[*named, *added, *rest])
    packed.__signature__ = shown  # type: ignore[attr-defined]  # `inspect` reads it, but a callable does not declare it
    return packed
