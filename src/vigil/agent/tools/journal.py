"""Tools with which the agent journals its session: status and work phases."""

from collections.abc import Callable
from typing import Any, Literal

from vigil.agent.session import AgentSession
from vigil.errors import InvalidStatus
from vigil.session import AGENT_FAILED, Status


def journal_tools(
    session: AgentSession, check_reason: Callable[[str], str] = str, check_text: Callable[[str], str] = str
) -> list[Any]:
    """Return the journal tools of ``session``.

    ``check_reason`` gets the message with which the model sets FAILED, ``check_text`` the name and the message of a
    phase. Each returns the text to record, or raises InvalidInput, whose message the model reads.
    """
    # The command line imports this module and needs no Strands, which takes a second to import.
    from strands import tool

    @tool
    def journal_set_status(status: Literal["BUSY", "COMPLETED", "FAILED"], message: str = "") -> str:
        """Set the session's status: BUSY first of all, COMPLETED or FAILED last of all.

        Args:
            status: BUSY when work begins; COMPLETED when the report is saved; FAILED when it cannot be done.
            message: Why it failed, in one sentence; required with FAILED.
        """
        match Status(status):
            case Status.BUSY:
                return "BUSY" if session.mark_busy() else "BUSY was set already; nothing changed"
            case Status.COMPLETED:
                session.complete()
            case _:
                if not (reason := message.strip()):
                    raise InvalidStatus("FAILED needs a message that says why")
                session.fail(AGENT_FAILED, check_reason(reason))
        return status

    return [journal_set_status, *_phase_tools(session, check_text)]


def _phase_tools(session: AgentSession, check_text: Callable[[str], str]) -> list[Any]:
    from strands import tool

    # An earlier attempt may have been killed before it recorded that a call of these tools had succeeded.
    before = {task.name: task for task in session.journal.tasks(session.session_id)} if session.attempt > 1 else {}
    running = {name: task for name, task in before.items() if task.state == "RUNNING"}

    @tool
    def journal_start_phase(phase: str) -> str:
        """Journal that a phase of the work begins.

        Args:
            phase: A short name such as "inventory"; at most 60 characters, no '#'.
        """
        if phase in running:
            if before.pop(phase, None):
                return f"started {phase}"
            raise InvalidStatus(f"phase {phase!r} is running already")
        check_text(phase)
        running[phase] = session.journal.start_task(session.session_id, phase)
        return f"started {phase}"

    @tool
    def journal_finish_phase(phase: str, outcome: Literal["complete", "fail"] = "complete", message: str = "") -> str:
        """Journal that a running phase of the work has ended.

        Args:
            phase: The name it was started with.
            outcome: "complete", or "fail" if the phase could not be done.
            message: What came out, or why it failed, in one sentence.
        """
        if phase not in running:
            if before.pop(phase, None):
                return f"finished {phase}"
            raise InvalidStatus(f"phase {phase!r} is not running; running: {', '.join(running) or 'none'}")
        message = check_text(message)
        if outcome == "fail":
            session.save_progress()
        session.journal.end_task(session.session_id, running[phase], failed=outcome == "fail", message=message)
        del running[phase]
        return f"finished {phase}"

    return [journal_start_phase, journal_finish_phase]
