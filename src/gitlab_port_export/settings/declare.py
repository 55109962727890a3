"""What a setting declares about itself: its variable, its option and the texts that people read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

# What a file of variables does with a setting: it sets it, it does not, or its use ends the run.
FoundFile = Literal["taken", "left out", "refused"]


@dataclass(frozen=True)
class Setting:
    """One setting, declared beside its field; `declared` fills in what follows from the field."""

    variable: str
    # A sentence: the description in the documentation, and the help of the option.
    about: str
    # The end of the message about a wrong value. For true or false and for a choice of texts it follows from the field.
    expected: str = ""
    # The option, and the commands that have it.
    option: str = ""
    on: tuple[str, ...] = ()
    metavar: str | None = None
    # A secret also has a variable with _FILE at its end, for a file that holds it.
    secret: bool = False
    # Only the commands that change GitLab look at it: others leave it alone, and the file that its _FILE names closed.
    apart: bool = False
    # Whether a file of variables that was found, and not named by the user, sets it. Another person may have put that
    # file there: give "taken" only where a value by that person does no harm, "refused" where a run without it would.
    found_file: FoundFile = "left out"
    # The default as documentation shows it, in markdown, where it is not the field's.
    default: str = ""
    # The type of the option's value, where it is not the field's: list[str] for an option that may be repeated.
    value: Any = None

    @property
    def help(self) -> str:
        """The help of the option: the text about the setting, and its default."""
        return f"{self.about} [{self.default.strip('`')}]" if self.default else self.about


def declared(model: type[BaseModel]) -> Mapping[str, Setting]:
    """Return {field: its setting, complete} of a model; a field without a declaration is left out."""
    return {
        name: _complete(setting, field)
        for name, field in model.model_fields.items()
        for setting in field.metadata
        if isinstance(setting, Setting)
    }


def _complete(setting: Setting, field: FieldInfo) -> Setting:
    kind = _bare(field.annotation)
    return replace(
        setting,
        expected=setting.expected or _expected(kind),
        value=setting.value or (kind if _is_option_type(kind) else str),
        default=setting.default or _shown(field.default),
    )


def _bare(annotation: Any) -> Any:
    """Return the type without `Annotated` and without None."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = next(one for one in get_args(annotation) if one is not NoneType)
    return annotation


def _is_option_type(kind: Any) -> bool:
    return kind in (bool, int, Path) or get_origin(kind) is Literal


def _expected(kind: Any) -> str:
    if kind is bool:
        return "true or false"
    return any_of(get_args(kind)) if get_origin(kind) is Literal else ""


def any_of(choices: tuple[str, ...]) -> str:
    """Return the texts as a sentence lists them: "a, b or c"."""
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def _shown(default: object) -> str:
    """Return the default as documentation shows it, or nothing."""
    match default:
        case bool():
            return f"`{str(default).lower()}`"
        case int() | float():
            return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
        case str() | Path():
            return f"`{default}`"
    return ""
