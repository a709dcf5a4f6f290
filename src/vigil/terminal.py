"""The terminal: all that the command line prints passes here, and nothing that somebody else wrote controls it."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markdown import Markdown
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from vigil.text import one_line, visible


class Terminal(Console):
    """A rich console that shows control characters as codes; a string is one line, whatever line breaks are in it."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)

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


def take_any_character() -> None:
    """Let standard output and error show as an escape what their encoding cannot, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
