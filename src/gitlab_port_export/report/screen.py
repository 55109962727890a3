"""A stream that people read: whether it is a terminal and shows colours; rich is loaded when it has to print."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# Wide enough that no line of a pipe or a log is ever wrapped or cut.
NO_WIDTH = 1_000_000


@dataclass(frozen=True)
class Screen:
    """A stream, whether it is a terminal, whether it shows colours, and whether lines on it can be drawn anew."""

    stream: TextIO
    is_terminal: bool
    is_coloured: bool
    is_interactive: bool

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> "Screen":
        """Judge a stream; NO_COLOR, FORCE_COLOR, being a terminal decide on colour, in this order."""
        if isinstance(stream, io.TextIOWrapper):
            # A name with an emoji must not end the run on a Windows code page or an ASCII locale.
            stream.reconfigure(errors="backslashreplace")
        terminal = stream.isatty()
        dumb = environ.get("TERM", "").lower() in ("dumb", "unknown")
        coloured = not environ.get("NO_COLOR") and (bool(environ.get("FORCE_COLOR")) or (terminal and not dumb))
        # Moving the cursor takes escape sequences, of which there are none without colour.
        return cls(stream, terminal, coloured, terminal and coloured and not dumb)

    @cached_property
    def console(self) -> "Console":
        """Rich's way to print there; it would also ask COLUMNS, TTY_COMPATIBLE and others, so all is said here."""
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
