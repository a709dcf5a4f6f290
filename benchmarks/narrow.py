"""The embedded AWS with little room, started in place of ``vigil.local.server``: ``python -m benchmarks.narrow``.

Its AgentCore starts few sessions a second and runs few at once; its Lambda refuses what finds no concurrency.
"""

import sys
import threading
import time
from typing import Any

from benchmarks.crowd import Bucket
from vigil.local import server

STARTS = 5  # new sessions a second, one at a time
SESSIONS = 50  # sessions that run at once
FUNCTIONS = 2  # Lambda functions that run at once


def narrowed(app: Any) -> Any:
    """Narrow the embedded AWS, which has been set up by now."""
    from vigil.local.agentcore import LocalAgentCore
    from vigil.local.ministack_patches import lambda_svc

    lambda_svc.slots, lambda_svc.SLOT_SECONDS = threading.Semaphore(FUNCTIONS), 0
    starts = Bucket(STARTS, 1)
    invoke, lock = LocalAgentCore.invoke, threading.Lock()

    def refuse_or_invoke(self: Any, runtime: dict[str, Any], session_id: str, body: bytes) -> tuple[int, bytes]:
        with lock:
            if len(self._by_pid) >= SESSIONS:
                return 402, b"too many sessions run at once"
            if not starts.take(time.monotonic()):
                return 429, b"too many sessions begin"
        return invoke(self, runtime, session_id, body)

    LocalAgentCore.invoke = refuse_or_invoke  # type: ignore[method-assign]
    return app


if __name__ == "__main__":
    sys.exit(server.main(narrowed))
