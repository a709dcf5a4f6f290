"""The invoker's handler, wrapped: goes wrong as the event's detail asks. Goes into the Lambda function's package."""

import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

from vigil.invoker import handler as real


def handler(event: dict[str, Any], context: object) -> Any:
    match event["detail"].get("lambda"):
        case "raises":
            raise RuntimeError("the function is broken")
        case "hangs":
            threading.Event().wait()
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        case "answers rubbish":
            return ["what"]
        case "dies once":
            real(event, context)
            try:
                (Path(tempfile.gettempdir()) / event["session_id"]).touch(exist_ok=False)
            except FileExistsError:
                return real(event, context)
            os.kill(os.getpid(), signal.SIGKILL)
    return real(event, context)
