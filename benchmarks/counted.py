"""The embedded AWS, which counts the console's calls; started in place of ``vigil.local.server``.

``GET /_calls`` answers how often the console has called each operation.
"""

import sys
from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from vigil.local import server

PATH = "/_calls"
APP = "benchmarked-console"  # what the console's requests have in User-Agent, as AWS_SDK_UA_APP_ID


def counting(app: Any) -> Any:
    """Return the application that counts before ``app``."""
    calls: Counter[str] = Counter()

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            if scope["path"] == PATH:
                await JSONResponse(calls)(scope, receive, send)
                return
            if f"app/{APP}" in request.headers.get("user-agent", ""):
                calls[request.headers.get("x-amz-target", f"{request.method} S3").rpartition(".")[2]] += 1
        await app(scope, receive, send)

    return counted


if __name__ == "__main__":
    sys.exit(server.main(counting))
