"""docs/faults.md: what is promised, and how the session of each fault ended. ``python -m tests.chaos`` writes it."""

import json
import re
from collections.abc import Iterable

from tests.chaos.faults import FAULTS, HURRY
from tests.chaos.matrix import HEARTBEAT, MARGIN, PROGRESS, SAFETY, Fault, FaultOutcome
from vigil.local.deploy import PROJECT, synthesize
from vigil.local.stack import STATE
from vigil.names import STACK, Parameter

DOCUMENT = PROJECT / "docs" / "faults.md"

_TEXT = """\
# Faults, and how each of them ends

Whatever goes wrong, a session has one record, which ends COMPLETED or FAILED with a code and a message; its execution
ends with it; and nothing is left of its processes. The table below says for each fault how the session must end,
and within how long. `make faults` lets sessions meet the faults and writes down how they did end; a test does the same
and holds each to its row.

How long it may take depends on three parameters of the stack: SafetySeconds (S), HeartbeatSeconds (H) and
ProgressSeconds (P). In production, with their defaults of {safety}, {heartbeat} and {progress} s:

| What goes wrong | The session ends within | In production |
|---|---|---|
{bounds}

Where AWS itself fails, the workflow tries again: a call to DynamoDB 15 times, with pauses of 231 s at most in all, the
invocation of the agent 10 times, with 131 s. A call that hangs is given up: one to DynamoDB after 20 s, one of the
function after 75 s, the stop of the agent's machine after 15 s. Above all stands the deadline of at most
MaxSessionSeconds, {session} s: at it the workflow looks at the session and ends it, once an invocation under way has
ended, which takes 13 minutes at most, if AgentCore never answers; should AWS fail just then, the tries of three states
come on top: 493 s if it refuses, 19 minutes if it hangs.
If the workflow is gone, or cannot write, the reconciler closes the session: at the event that Step Functions sends, or
by its schedule, which comes every 5 minutes and leaves out what began less than a minute ago.

The sessions are real ones on the local stack: the deployed template, the runtime with its workers, the invoker and the
reconciler, with S = {test_safety}, H = {test_heartbeat} and P = {test_progress} s. **Real** are also all faults of our
processes (SIGKILL at the very call that the table names, SIGSTOP, SIGTERM, a memory limit, a hanging tool, a broken
Lambda handler), a permission and a concurrency taken away, and what people do: stop, abort, delete, overwrite.
**Simulated** are the faults of AWS's services: the embedded AWS answers the calls of one session with an error by the
name that AWS gives it, late, never, with rubbish, or by resetting the connection. The clock that is wrong is the
worker's alone. Where a bound is divided by {hurry}, so were the workflow's pauses. All sessions run at once on one
small machine, so each has {margin} s more than its bound for the work itself; "After" is all that it took.

| Fault | When | The session must end | Within | It ended | After |
|---|---|---|---|---|---|
"""

_WHAT = {
    "max(S, 2 H) + S ⌈4 H / S⌉": "The agent's machine is gone without a word",
    "2 H": "The agent was accepted and never started",
    "P + H": "The agent hangs",
    "max(S, 2 H)": "The session has ended, and the wake-up is lost",
    "H": "No wake-up is possible, because the token cannot be stored",
    "max(S, 2 H) + 5 H": "The record was deleted",
}


def render(ends: Iterable[tuple[Fault, FaultOutcome | None]]) -> str:
    """Return the document, with the outcomes that there are."""
    assembly = synthesize(PROJECT / STATE / "synth")
    parameters = json.loads((assembly / f"{STACK}.template.json").read_text())["Parameters"]
    names = (Parameter.SAFETY_SECONDS, Parameter.HEARTBEAT_SECONDS, Parameter.PROGRESS_SECONDS)
    safety, heartbeat, progress = (int(parameters[name]["Default"]) for name in names)
    bounds = {fault.within.formula: fault.within for fault in FAULTS}
    text = _TEXT.format(
        bounds="\n".join(
            f"| {what} | {formula} | {bounds[formula].of(safety, heartbeat, progress):.0f} s |"
            for formula, what in _WHAT.items()
        ),
        safety=safety,
        heartbeat=heartbeat,
        progress=progress,
        session=parameters[Parameter.MAX_SESSION_SECONDS]["Default"],
        test_safety=SAFETY,
        test_heartbeat=HEARTBEAT,
        test_progress=PROGRESS,
        hurry=HURRY,
        margin=MARGIN,
    )
    return text + "".join(_row(fault, outcome) for fault, outcome in ends)


def _row(fault: Fault, outcome: FaultOutcome | None) -> str:
    within = fault.within.formula
    if re.search("[SHP]", within):
        within += f" = {fault.within.seconds:.0f} s"
    must = f"{fault.end}{f', “… {fault.end.says} …”' if fault.end.says else ''}"
    did, after = "", ""
    if outcome is not None:
        said = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", outcome.end.says).replace("|", "/")
        did = f"{outcome.end}{f': {said[:200]}' if said else ''}"
        after = f"{outcome.seconds:.0f} s"
    cells = (fault.name, fault.when, must, within, did, after)
    return f"| {' | '.join(cell.replace('<', '&lt;') for cell in cells)} |\n"


def promised(document: str) -> str:
    """Return the document without what was measured."""
    return re.sub(r"^((?:\| [^|]* ){4})\| [^|]* \| [^|]* \|$", r"\1", document, flags=re.MULTILINE)
