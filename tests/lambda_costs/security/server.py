"""The embedded AWS, which records a model's input and answers, and which files it writes to.

Started with ``python -m tests.lambda_costs.security.server``; both records lie in the folder of the stack.
"""

import os
import sys
from pathlib import Path
from typing import Any

from vigil.local import server

LOG = "model.log"
WRITTEN = "written.log"


def wrap(app: Any) -> Any:
    async def recording(scope: Any, receive: Any, send: Any) -> None:
        def noting(pass_on: Any) -> Any:
            async def noted(*arguments: Any) -> Any:
                message = await pass_on(*arguments) or arguments[0]
                with Path(LOG).open("ab") as log:
                    log.write(message.get("body", b"") + b"\n")
                return message

            return noted

        if scope["type"] == "http" and scope["path"].startswith("/model/"):
            receive, send = noting(receive), noting(send)
        await app(scope, receive, send)

    return recording


def note_writes() -> None:
    """Note from now on each path that this process opens to write, makes, links or renames to."""
    written = os.open(WRITTEN, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in ("os.mkdir", "os.truncate", "os.chmod"):
            path = arguments[0]
        elif event in ("os.rename", "os.link", "os.symlink"):
            path = arguments[1]
        else:
            return
        os.write(written, os.path.abspath(os.fsdecode(path)).encode() + b"\n")

    sys.addaudithook(hook)


if __name__ == "__main__":
    note_writes()
    sys.exit(server.main(wrap))
