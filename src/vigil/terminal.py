"""The terminal: all output of the command line passes here, and no text from outside can control it."""

import sys
from collections.abc import Iterable
from io import BufferedWriter, FileIO, TextIOWrapper
from signal import SIGPIPE
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markdown import Markdown
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from vigil.text import one_line, visible


class Stream(FileIO):
    """Standard output or error; it drops everything after the first write that failed.

    If the stream is ``needed``, a failed write also ends the command: with the status of SIGPIPE if the reader closed
    the pipe, as `head` does, otherwise with one line and status 1.
    """

    def __init__(self, descriptor: int, *, needed: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.needed = needed
        self.error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write ``data`` and return the number of bytes that are done with."""
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
                if self.needed:
                    # An OSError would reach rich or typer, which exit with 1 when a pipe is closed.
                    raise SystemExit(self.ending()) from error
        return memoryview(data).nbytes

    def ending(self) -> int | str | None:
        """Return the exit status or message after a failed write; None leaves the status to the command."""
        if isinstance(self.error, BrokenPipeError):
            return 128 + SIGPIPE if self.needed else None
        return f"vigil: standard output cannot be written: {self.error.strerror}" if self.error else None


class Terminal(Console):
    """A rich console that shows control characters as codes, and a string with line breaks as one line."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)
        self.stream: Stream | None = None

    def take_over(self) -> None:
        """Send the output of this process through a Stream, with escapes for what its encoding lacks."""
        name = "stderr" if self.stderr else "stdout"
        if original := getattr(sys, name):  # None if the process was started without it
            self.stream = Stream(original.fileno(), needed=not self.stderr)
            buffer = BufferedWriter(self.stream)
            setattr(sys, name, TextIOWrapper(buffer, original.encoding, "backslashreplace", line_buffering=True))

    def outlive_reader(self) -> None:
        """Let the command go on when nothing can be printed any more."""
        if self.stream:
            self.stream.needed = False

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the Text of a string, which may hold our own markup."""
        # Before the layout, so that a table knows the width of its cells.
        return super().render_str(visible(text).replace("\n", " "), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of the output; only rich itself may write control codes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def say(self, text: str, style: str | None = None) -> None:
        """Print text from outside as one line."""
        self.print(one_line(text), style=style, markup=False)

    def print_table(self, table: Table) -> None:
        """Print a table without cuts: a terminal wraps long lines, elsewhere every row is one line."""
        before, self.width = self.width, max(self.width, 120) if self.is_terminal else 10_000
        try:
            self.print(table)
        finally:
            self.width = before

    def write_markdown(self, text: str) -> None:
        """Print Markdown from outside: laid out on a terminal, elsewhere as it is."""
        if self.is_terminal:
            # No hyperlinks of the terminal: they hide their address.
            self.print(Markdown(visible(text), hyperlinks=False), soft_wrap=False)
        else:
            self.write(f"{text}\n")

    def write(self, text: str) -> None:
        """Print text of several lines; only control characters change."""
        self.file.write(visible(text))
        self.file.flush()
