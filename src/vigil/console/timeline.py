"""A session's trace as the rows of a table, each with a bar to scale."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from vigil.attributes import moment
from vigil.trace import WAITING, Span, Trace

SHOWN = 80  # rows of a page
ENDS_OF_AXIS = (15, 30, 60, 120, 300, 900, 1800, 3600, 7200, 14_400, 28_800)
"""Seconds at which an axis may end: the bars of a running session change only from one to the next."""


@dataclass(frozen=True)
class Row:
    """A part of a session; ``key`` names it in the address of the page, and stays when others follow."""

    key: str
    depth: int
    span: Span
    start: float  # seconds since the session began


class Timeline:
    """The rows of a session from number ``first`` on, by default the last ones, below the rows that they are within."""

    def __init__(self, trace: Trace, now: datetime, first: int | None) -> None:
        rows = [*_rows(trace)]
        self._now, self.count = now, len(rows)
        self.first = first = max(0, len(rows) - SHOWN) if first is None else min(first, len(rows) - 1)
        around = [rows[first]]
        for row in reversed(rows[:first]):
            if row.depth < around[0].depth:
                around.insert(0, row)
        self.rows = [*around[:-1], *rows[first : first + SHOWN]]
        lasted = (moment(trace.session.ended_at, now) - moment(trace.session.start_time)).total_seconds()
        self.axis = next((end for end in ENDS_OF_AXIS if end >= lasted), lasted)

    def bar(self, row: Row) -> tuple[float, float]:
        """Return where the row's bar begins and how long it is, in percent of the axis."""
        took = (moment(row.span.ended_at, self._now) - moment(row.span.began_at)).total_seconds()
        start = min(100 * row.start / self.axis, 100.0)
        return round(start, 2), round(min(max(100 * took / self.axis, 0.0), 100 - start), 2)


def _rows(trace: Trace) -> Iterator[Row]:
    root, counts = trace.root, dict[str, int]()
    states = _without_loops(span for span in root.within if span.kind == "state")
    root.within = [*states, *(span for span in root.within if span.kind != "state")]
    root.within.sort(key=lambda span: moment(span.began_at))
    for start, depth, span in root.lines(trace.session.start_time):
        # A state may become a loop. Several malformed steps may have the same number.
        name = f"step-{span.step.number}" if span.step else span.kind.replace("loop", "state")
        number = counts[name] = counts.get(name, 0) + 1
        key = name if span.step and number == 1 else f"{name}-{number}"
        yield Row(key, depth, span, start)


def _without_loops(states: Iterable[Span]) -> Iterator[Span]:
    """Yield the states, and one span for those in a row with which the workflow waits."""
    for waits, group in groupby(states, lambda span: span.name in WAITING):
        found = [*group]
        if waits and len(found) > 1:
            looks = sum(span.name == WAITING[0] for span in found)
            name = "waits for the agent" + f", looked {looks} time{'s' * (looks > 1)}" * bool(looks)
            found = [replace(found[0], kind="loop", name=name, ended_at=found[-1].ended_at)]
        yield from found
