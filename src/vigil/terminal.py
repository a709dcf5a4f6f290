"""The terminal: all that the command line prints passes here, and nothing that somebody else wrote controls it."""

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

    If the command cannot do without it, it also ends the command: with the status of a program that SIGPIPE ended if
    the reader closed the pipe, as `head` does, and otherwise with one line and status 1.
    """

    def __init__(self, descriptor: int, *, needed: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.needed = needed
        self.error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write ``data`` and return how many of its bytes need not be written any more."""
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
        """Return what to exit with because of a failed write: a status, one line, or None for what the command says."""
        if isinstance(self.error, BrokenPipeError):
            return 128 + SIGPIPE if self.needed else None
        return f"vigil: standard output cannot be written: {self.error.strerror}" if self.error else None


class Terminal(Console):
    """A rich console that shows control characters as codes; a string is one line, whatever line breaks are in it."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)
        self.stream: Stream | None = None

    def take_over(self) -> None:
        """Let all that this process prints here go through a Stream, what its encoding cannot show as an escape."""
        name = "stderr" if self.stderr else "stdout"
        if given := getattr(sys, name):  # None if the process was started without it
            self.stream = Stream(given.fileno(), needed=not self.stderr)
            buffer = BufferedWriter(self.stream)
            setattr(sys, name, TextIOWrapper(buffer, given.encoding, "backslashreplace", line_buffering=True))

    def outlive_reader(self) -> None:
        """Go on when nothing can be printed any more: there is something to do beside printing."""
        if self.stream:
            self.stream.needed = False

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the Text of a string, which may hold our own markup."""
        # Before it is laid out, so that a table knows how wide its cells are.
        return super().render_str(visible(text).replace("\n", " "), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is written, from a string or from anything else; control codes are rich's own alone."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def say(self, text: str, style: str | None = None) -> None:
        """Print text that somebody else wrote as one line."""
        self.print(one_line(text), style=style, markup=False)

    def print_table(self, table: Table) -> None:
        """Print a table whole: a terminal wraps lines that are too long for it, and elsewhere every row is one line."""
        before, self.width = self.width, max(self.width, 120) if self.is_terminal else 10_000
        try:
            self.print(table)
        finally:
            self.width = before

    def write_markdown(self, text: str) -> None:
        """Print Markdown that somebody else wrote: laid out on a terminal, and elsewhere as it is."""
        if self.is_terminal:
            # No link of a terminal, which shows a text and leads to an address that nobody sees.
            self.print(Markdown(visible(text), hyperlinks=False), soft_wrap=False)
        else:
            self.write(f"{text}\n")

    def write(self, text: str) -> None:
        """Print text of several lines as it is, but for control characters."""
        self.file.write(visible(text))
        self.file.flush()
