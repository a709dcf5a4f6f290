"""One read serves all who look; nobody who looks, no read."""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from vigil.console import feed as module
from vigil.console.feed import LONGEST_PAUSE, Feed, Reading
from vigil.errors import AwsUnavailable

GONE = AwsUnavailable("no answer")


def reads(values: Iterable[Any]) -> tuple[Callable[[], Any], list[float]]:
    """Return a read of ``values``, errors of which it raises, and the list of the times at which it is called."""
    given, times = iter(values), list[float]()

    def read() -> Any:
        times.append(time.monotonic())
        if isinstance(value := next(given), Exception):
            raise value
        return value

    return read, times


async def first(feed: Feed, count: int) -> list[Reading]:
    """Return the first ``count`` values of a feed."""
    found: list[Reading] = []
    async for reading in feed.changes():
        found.append(reading)
        if len(found) == count:
            break
    return found


def test_all_who_ask_at_once_share_one_read() -> None:
    read, times = reads(range(9))
    feed = Feed(read, 60)

    async def ask() -> list[Reading]:
        return await asyncio.gather(*(feed.now() for _ in range(50)))

    assert asyncio.run(ask()) == [(0, "")] * 50
    assert len(times) == 1


def test_many_who_listen_cost_one_read_a_period() -> None:
    read, times = reads(range(1000))
    feed, seconds = Feed(read, 0.02), 0.02

    async def listen() -> list[list[Reading]]:
        return await asyncio.gather(*(first(feed, 3) for _ in range(30)))

    for heard in asyncio.run(listen()):
        assert [value for value, _ in heard] == sorted({value for value, _ in heard})
    assert all(later - earlier >= seconds for earlier, later in pairwise(times))


def test_nobody_who_listens_costs_no_read() -> None:
    read, times = reads(range(1000))

    async def leave() -> int:
        feed = Feed(read, 0.01)
        assert not times
        listening = [asyncio.create_task(first(feed, 1000)) for _ in range(3)]
        await first(feed, 3)
        for task in listening:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        count = len(times)
        await asyncio.sleep(0.05)
        return count

    assert asyncio.run(leave()) == len(times) >= 3


def test_one_who_leaves_during_a_read_keeps_nobody_else_waiting() -> None:
    async def leave() -> Reading:
        feed = Feed(lambda: time.sleep(0.02), 60)
        leaves, stays = asyncio.create_task(feed.now()), asyncio.create_task(feed.now())
        await asyncio.sleep(0.01)
        leaves.cancel()
        return await asyncio.wait_for(stays, 10)

    assert asyncio.run(leave()) == (None, "")


def test_only_values_that_differ_are_heard() -> None:
    read, _ = reads([[1], [1], [1], [2], [2], [1], [3]])
    assert asyncio.run(first(Feed(read, 0), 4)) == [([1], ""), ([2], ""), ([1], ""), ([3], "")]


def test_an_error_keeps_the_last_data_and_says_why() -> None:
    read, _ = reads([GONE, 1, GONE, GONE, AwsUnavailable("other"), 1, 2])
    heard = [(None, "no answer"), (1, ""), (1, "no answer"), (1, "other"), (1, ""), (2, "")]
    assert asyncio.run(first(Feed(read, 0), 6)) == heard


def test_pauses_double_while_there_is_no_answer_and_recover(monkeypatch: pytest.MonkeyPatch) -> None:
    read, times = reads([1, *[GONE] * 7, 2, GONE, 3, 4])
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))

    async def pauses(feed: Feed) -> list[float]:
        """Return after which times, in steps of half a second, the feed reads again."""
        found = []
        for count in range(1, 12):
            begun = clock.now
            while len(times) < count:
                await feed.now()
                clock.now += 0.5 if len(times) < count else 0
            found.append(clock.now - begun)
        return found

    doubled = [2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert asyncio.run(pauses(Feed(read, 1.0))) == [0, 1.0, *doubled, 1.0, 2.0]


def test_a_fault_of_the_program_is_not_hidden() -> None:
    read, _ = reads([KeyError("x"), 1])
    feed = Feed(read, 60)
    with pytest.raises(KeyError):
        asyncio.run(feed.now())
    assert asyncio.run(feed.now()) == (1, "")
