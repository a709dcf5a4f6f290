"""The embedded AWS, which records a model's input and answers, who stops agents, and which files it writes to.

Started with ``python -m tests.lambda_costs.security.server``; the records lie in the folder of the stack.
"""

import os
import sys
from pathlib import Path
from typing import Any

from vigil.local import server

LOG = "model.log"
STOPS = "stops.log"
"""One line for each call of StopRuntimeSession: the session's id and the status of the answer."""
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

        async def note_status(message: Any) -> None:
            if message["type"] == "http.response.start":
                # A hostile request may name no session. The name is not imported: the patches of the embedded AWS must
                # be imported after its settings are made.
                session_id = dict(scope["headers"]).get(b"x-amzn-bedrock-agentcore-runtime-session-id", b"-").decode()
                with Path(STOPS).open("a") as log:
                    log.write(f"{session_id} {message['status']}\n")
            await answer(message)

        answer = send
        if scope["type"] == "http" and scope["path"].startswith("/model/"):
            receive, send = noting(receive), noting(send)
        elif scope["type"] == "http" and scope["path"].endswith("/stopruntimesession"):
            send = note_status
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
