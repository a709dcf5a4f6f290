"""Tables for the terminal and for docs/benchmarks.md, which are the same text."""

import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


class Report:
    """Prints paragraphs and tables, and can put them into the page."""

    def __init__(self, section: str) -> None:
        self._section = section
        self._console = Console(record=True, width=160, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        self._console.print(f"{text}\n", markup=False)

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        table = Table(*columns, box=MARKDOWN)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*map(str, row))
        self._console.print(table)
        self._console.print()

    def write(self) -> None:
        """Replace this report's section of the page."""
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(map(str.strip, self._console.export_text().splitlines()))).strip()
        begin, end = f"<!-- {self._section}: begin -->\n", f"<!-- {self._section}: end -->"
        head, rest = PAGE.read_text().split(begin)
        PAGE.write_text(f"{head}{begin}{text}\n{end}{rest.split(end, 1)[1]}")


def machine() -> str:
    """Return when and where this runs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {len(os.sched_getaffinity(0))} cores ({platform.machine()}),"
        f" {memory:.0f} GiB of memory, Python {platform.python_version()}."
    )


def percentile(values: list[float], share: float) -> float:
    """Return the value that ``share`` of ``values`` do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 1000) * len(ordered) // 1000) - 1)]


def share(parts: Iterable[bool]) -> float:
    """Return the share of ``parts`` that are true; of none, all are."""
    values = list(parts)
    return sum(values) / len(values) if values else 1.0
