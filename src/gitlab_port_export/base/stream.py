"""Output streams that never end a run, not even with a closed pipe, a full disk or a closed stream."""

from collections.abc import Callable
from io import TextIOWrapper
from typing import TextIO


class Stream:
    """A text stream that drops what it cannot write; `failure` says why, unless the reader closed a pipe."""

    def __init__(self, stream: TextIO | None) -> None:
        self.failure = ""
        self._stream = stream
        # A name with an emoji must not end the run on a Windows code page or an ASCII locale.
        self._act(lambda each: each.reconfigure(errors="backslashreplace") if isinstance(each, TextIOWrapper) else None)

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return self._stream.encoding if self._stream else "utf-8"

    def isatty(self) -> bool:
        """Return whether this is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor. Raises OSError where there is none."""
        if self._stream is None:
            raise OSError("the stream is closed")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        self._act(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it."""
        self._act(lambda stream: stream.flush())

    def _act(self, act: Callable[[TextIO], object]) -> None:
        if self._stream is None:
            return
        try:
            act(self._stream)
        except BrokenPipeError:
            self._stream = None
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self._stream, self.failure = None, str(error)
