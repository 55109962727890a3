"""The options of the commands, made of the settings that are declared for them."""

from collections.abc import Callable, Iterator
from inspect import Parameter, signature
from typing import Annotated, Any

import typer

from gitlab_port_export.settings.settings import SETTINGS


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each setting that is declared for it; its `**options` receives the values.

    The function of a command of two words, such as `mapping show`, has an underscore between them.
    typer makes the options from the signature of the function: https://typer.tiangolo.com/tutorial/options/
    """
    # Parameters that are given by name may stand in any order, with and without a default.
    own = [
        one.replace(kind=Parameter.KEYWORD_ONLY)
        for one in signature(command).parameters.values()
        if one.kind is not Parameter.VAR_KEYWORD
    ]
    shown = signature(command).replace(parameters=[*_options(command.__name__.replace("_", " ")), *own])
    command.__signature__ = shown  # type: ignore[attr-defined]  # `inspect` reads it, but a callable does not declare it
    return command


def _options(command: str) -> Iterator[Parameter]:
    for name, setting in SETTINGS.items():
        if command in setting.on:
            option = typer.Option(setting.option, help=setting.help, metavar=setting.metavar)
            annotation: Any = Annotated[setting.value | None, option]
            yield Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
