"""What a page shows, read again and again while somebody looks, once for all pages that show the same."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from vigil.errors import VigilError

LONGEST_PAUSE = 30.0  # seconds between two reads while AWS cannot be reached

Reading = tuple[Any, str]
"""What was read last, and why it could not be read since; "" if it could."""


class Feed:
    """What ``read``, called in a thread, returns, at most ``seconds`` old when somebody asks."""

    def __init__(self, read: Callable[[], object], seconds: float) -> None:
        self._read = read
        self._seconds = self._pause = seconds
        self._lock = asyncio.Lock()
        self._reading: Reading = (None, "")
        self._due = 0.0

    async def now(self) -> Reading:
        """Return the value. The first who asks when it is due reads it, and the others wait for that."""
        async with self._lock:
            if time.monotonic() >= self._due:
                try:
                    self._reading, self._pause = (await run_in_threadpool(self._read), ""), self._seconds
                except VigilError as error:
                    self._reading, self._pause = (self._reading[0], str(error)), min(2 * self._pause, LONGEST_PAUSE)
                self._due = time.monotonic() + self._pause
            return self._reading

    async def changes(self) -> AsyncIterator[Reading]:
        """Yield the value, and each other value after it."""
        last: Reading | None = None
        while True:
            if (reading := await self.now()) != last:
                yield (last := reading)
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
