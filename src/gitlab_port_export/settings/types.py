"""The types of settings that are made of texts; each checks one value."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from gitlab_port_export.report import exit_code
from gitlab_port_export.report.ci import CHOICES
from gitlab_port_export.settings.parse import parse_address, parse_port_address, parse_secret


def from_text(parse: Callable[[str], object]) -> BeforeValidator:
    """Return what makes a value of a text, and leaves alone what is no text."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


Secret = Annotated[SecretStr, from_text(parse_secret)]
Identifier = Annotated[str, from_text(str.lower), Field(pattern="^[a-z0-9-]+$")]
GitLabAddress = Annotated[str, AfterValidator(parse_address)]
PortAddress = Annotated[str, AfterValidator(parse_port_address)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], from_text(str.upper)]
FailOn = Annotated[exit_code.FailOn, from_text(str.lower)]
OnOverlap = Annotated[Literal["run", "skip"], from_text(str.lower)]
Ci = Annotated[str, from_text(str.lower), Field(pattern=f"^({'|'.join(CHOICES)})$")]
