"""What a command line is answered that cannot be read: what is wrong, and what to write in its place."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gitlab_port_export.base.text import clean, nearest, shown
from gitlab_port_export.settings.declare import any_of
from gitlab_port_export.settings.settings import SETTINGS

PROGRAM = "gitlab-port-export"


class Misuse(NamedTuple):
    """The command that was meant, what is wrong with the line, and what to do."""

    command: str
    what: str
    hint: str


def misuse(error: Any, arguments: Sequence[str]) -> Misuse:
    """Return what is wrong with a command line, by typer's error about it.

    typer makes public neither the classes of its errors nor their attributes, so these are looked for.
    """
    context: Any = getattr(error, "ctx", None)
    words = _words(context) if context else _not_options(arguments)[:1]
    command, name = " ".join(words), getattr(error, "option_name", "")
    if name and not hasattr(error, "possibilities"):
        takes = "takes no value" if "not take" in error.message else f"needs a value{_expected(name)}"
        return Misuse(command, f"{name} {takes}", _help(command))
    if name and not command:
        return _before_the_command(name, arguments, dict(_commands(context.command)))
    if name:
        return Misuse(command, f"there is no option {clean(name)}", _near(name, _options(context.command), command))
    if (parameter := getattr(error, "param", None)) is not None:
        return Misuse(command, _parameter(error, parameter), _help(command))
    group: Mapping[str, Any] = getattr(context.command, "commands", {}) if context else {}
    if group:
        return _no_command(command, next(iter(_not_options(arguments[len(words) :])), ""), group)
    extra = re.search(r"unexpected extra argument\S* \((.*)\)", error.format_message())
    too_many = f"{command} takes no argument {shown(clean(extra[1]))} here" if extra else ""
    return Misuse(command, too_many or _sentence(error.format_message()), _help(command))


def asked_for_json(arguments: Sequence[str]) -> bool:
    """Return whether the result was to be JSON, of a command line that cannot be read."""
    line = f" {' '.join(arguments)} "
    return any(f" {option} " in line for option in ("--output json", "--output=json", "-o json", "-ojson"))


def _words(context: Any) -> list[str]:
    """Return the words of the command that a context is of, without the program's."""
    return [*_words(context.parent), context.info_name] if context and context.parent else []


def _help(command: str) -> str:
    return f"{PROGRAM} {command} --help lists the options" if command else f"{PROGRAM} --help lists the commands"


def _before_the_command(name: str, arguments: Sequence[str], commands: Mapping[str, Any]) -> Misuse:
    """Return the answer to an option before the command; most are known after one."""
    having = [words for words, command in commands.items() if name in _options(command)]
    if not having:
        known = [one for command in commands.values() for one in _options(command)]
        return Misuse("", f"there is no option {clean(name)}", _near(name, known, ""))
    written = next((words for words in commands if words in _not_options(arguments)), "")
    wanted = written if written in having else "sync" if "sync" in having else having[0]
    return Misuse("", f"{name} stands before the command", f"write it after the command: {PROGRAM} {wanted} {name} …")


def _no_command(command: str, name: str, group: Mapping[str, Any]) -> Misuse:
    which = f"the commands are {', '.join(f'{command} {one}'.strip() for one in group)}"
    if not name:
        return Misuse(command, f"{command} needs a command", which)
    near, whole = nearest(name, group), f"{command} {name}".strip()
    hint = f"did you mean {command} {near}?".replace("mean  ", "mean ") if near else which
    return Misuse(command, f"there is no command {shown(clean(whole))}", hint)


def _near(name: str, known: Iterable[str], command: str) -> str:
    near = nearest(name, known)
    return f"did you mean {near}?" if near else _help(command)


def _parameter(error: Any, parameter: Any) -> str:
    """Return what is wrong with the value of an option or argument, without the value: it may be a secret."""
    names = parameter.opts if parameter.param_type_name == "option" else []
    name = next((one for one in names if one.startswith("--")), "")
    label = name or (parameter.metavar or parameter.name).strip("{}").upper()
    if hasattr(error, "param_type"):  # there is none
        return f"{label} is missing"
    if expected := _expected(name):
        return f"{label} is not valid{expected}"
    if choices := re.search(r" is not one of (.+?)\.?$", error.message):
        words = tuple(re.findall(r"'([^']+)'", choices[1]))
        return f"{label} is not valid; expected {any_of(words)}"
    return f"{label} is not valid: {_sentence(error.message)}"


def _expected(name: str) -> str:
    """Return what the value of an option is expected to be, where it is a setting's."""
    found = (setting.expected for setting in SETTINGS.values() if name and setting.option == name)
    return next((f"; expected {expected}" for expected in found), "")


def _sentence(text: str) -> str:
    """Return typer's message as others are written here: it begins small, and ends without a dot."""
    line = " ".join(clean(text).removeprefix("Value error, ").split()).rstrip(".")
    return line[:1].lower() + line[1:]


def _commands(group: Any, start: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{start}{name} ")
        else:
            yield f"{start}{name}", command


def _options(command: Any) -> list[str]:
    return [name for one in command.params if one.param_type_name == "option" for name in one.opts]


def _not_options(arguments: Sequence[str]) -> list[str]:
    return [one for one in arguments if not one.startswith("-")]
