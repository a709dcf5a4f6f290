"""One session in its own process: ``python -m vigil.agent.worker``.

The environment names the session (SESSION_ID, S3_BUCKET_NAME, DDB_TABLE_NAME); the event's detail comes as JSON on
standard input, since an environment variable holds 128 KiB at most. Whatever the agent does or leaves undone, the
session is BUSY before it starts and COMPLETED or FAILED after it.
"""

import json
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from strands import Agent

from vigil.agent.session import AgentSession
from vigil.errors import AgentIncomplete, MissingSetting, SessionEnded, SessionTaken, VigilError
from vigil.names import REPORT, Env
from vigil.settings import WorkerSettings

logger = logging.getLogger("vigil.worker")


def run(settings: WorkerSettings, detail: dict[str, Any]) -> None:
    """Run the session to its end. Raises SessionTaken or SessionEnded, having done nothing, if it is not ours."""
    session = AgentSession.open(settings, detail)
    if not session.busy():
        raise SessionTaken(f"session {session.session_id} is BUSY: another worker runs it")
    try:
        agent = load_agent(settings.agent)(session)
        agent(f"Run the session. Its input: {json.dumps(detail, sort_keys=True)}")
        _conclude(session)
    except SessionEnded:
        logger.info("session %s had ended already", session.session_id)
    except (Exception, SystemExit) as error:
        logger.exception("session %s failed", session.session_id)
        cause = _cause(error)
        try:
            session.fail(cause.code if isinstance(cause, VigilError) else type(cause).__name__, _one_line(cause))
        except SessionEnded:
            # The agent had ended the session before this happened; the first end stands.
            logger.info("session %s had ended already", session.session_id)


def load_agent(path: str) -> Callable[[AgentSession], Agent]:
    """Return the factory that ``package.module:factory`` names, or raise MissingSetting."""
    module, _, name = path.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MissingSetting(
            f"{Env.AGENT}={path} is not package.module:factory that can be imported: {error}"
        ) from error
    if not callable(factory):
        raise MissingSetting(f"{Env.AGENT}={path} is not callable")
    return factory  # type: ignore[no-any-return]


def _conclude(session: AgentSession) -> None:
    """Give the session the terminal status that the agent was asked to set and did not."""
    if session.journal.get(session.session_id).terminal:
        return
    if not session.artifacts.exists(REPORT):
        raise AgentIncomplete(f"the agent stopped without saving {REPORT} and without a final status")
    session.complete()


def _cause(error: BaseException) -> BaseException:
    """Return what Strands wrapped in its EventLoopException, or ``error``; an exit becomes an error of ours."""
    while type(error).__name__ == "EventLoopException" and error.__cause__ is not None:
        error = error.__cause__
    return AgentIncomplete(f"the agent called exit({error.code})") if isinstance(error, SystemExit) else error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def main() -> int:
    """Run the session that the environment and standard input describe."""
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("vigil").setLevel(logging.INFO)
    try:
        run(WorkerSettings.from_env(), json.load(sys.stdin))
    except VigilError as error:
        logger.error("%s: %s", error.code, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
