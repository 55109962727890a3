"""Screen: an output stream, whether it is a terminal, and whether it shows colours."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# So wide that no line in a pipe or a log is wrapped or cut.
NO_WIDTH = 1_000_000


@dataclass(frozen=True)
class Screen:
    """A stream, whether it is a terminal, whether it shows colours, and whether its lines can be redrawn."""

    stream: TextIO
    is_terminal: bool
    is_coloured: bool
    is_interactive: bool

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> "Screen":
        """Return the screen of a stream. NO_COLOR decides on colour, then FORCE_COLOR, then being a terminal."""
        if isinstance(stream, io.TextIOWrapper):
            # A name with an emoji must not end the run on a Windows code page or an ASCII locale.
            stream.reconfigure(errors="backslashreplace")
        terminal = stream.isatty()
        dumb = environ.get("TERM", "").lower() in ("dumb", "unknown")
        coloured = not environ.get("NO_COLOR") and (bool(environ.get("FORCE_COLOR")) or (terminal and not dumb))
        # Redrawing needs escape sequences, which are not used without colour.
        return cls(stream, terminal, coloured, terminal and coloured and not dumb)

    @cached_property
    def console(self) -> "Console":
        """Rich's console for the stream. All choices are given, else rich would read COLUMNS and other variables."""
        from rich.console import Console  # noqa: PLC0415  # a quarter of the start, and JSON needs none of it

        return Console(
            file=self.stream,
            force_terminal=self.is_terminal,
            force_interactive=self.is_interactive,
            color_system="standard" if self.is_coloured else None,
            no_color=not self.is_coloured,
            width=None if self.is_terminal else NO_WIDTH,
            markup=False,
            highlight=False,
            emoji=False,
        )
