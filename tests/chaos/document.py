"""docs/faults.md: how the session of each fault must end, and how it ended. ``python -m tests.chaos`` writes it."""

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

After any fault, these rules hold:

- The session has one record, which ends COMPLETED or FAILED with a code and a message.
- Its execution ends with it.
- None of its processes remains.

The last table says for each fault how the session must end, and within how long. `make faults`
injects the faults into sessions and writes how these ended. A test does the same and compares each
session with its row.

The time limits depend on three parameters of the stack: SafetySeconds (S), HeartbeatSeconds (H) and
ProgressSeconds (P). In production, with their defaults of {safety}, {heartbeat} and {progress} s:

| What goes wrong | The session ends within | In production |
|---|---|---|
{bounds}

If an AWS service fails, the workflow retries: a call of DynamoDB 15 times, with pauses of at most
231 s in total, and the invocation of the agent 10 times, with pauses of 131 s. It gives up a call
that hangs: a call of DynamoDB after 20 s, of the function after 75 s, and the stop of the agent's
machine after 15 s.

The deadline, at most MaxSessionSeconds ({session} s), limits every session. At the deadline, the
workflow checks the session and ends it. It first waits for an invocation that is under way, for at
most 13 minutes if AgentCore never answers. If AWS fails at that moment, the retries of three states
add 493 s if AWS refuses the calls, and 19 minutes if they hang.

If the workflow is gone or cannot write, the reconciler closes the session. It acts on the event
that Step Functions sends, or on its schedule. The schedule runs every 5 minutes and skips sessions
that began less than a minute ago.

The sessions of the test are real ones on the local stack. It has the deployed template, the runtime
with its workers, the invoker and the reconciler,
with S = {test_safety}, H = {test_heartbeat} and P = {test_progress} s.

- **Real** are all faults of our processes: SIGKILL at the very call that the table names, SIGSTOP,
  SIGTERM, a memory limit, a hanging tool, a broken Lambda handler. Real are also the removal of a
  permission or of concurrency, and what people do: stop, abort, delete, overwrite.
- **Simulated** are the faults of AWS's services. The embedded AWS answers the calls of one session
  with an error that has AWS's name, late, never, with malformed data, or by a reset of the
  connection. Only the worker's clock is wrong.

If a bound is divided by {hurry}, the workflow's pauses are as well. All sessions run at once on one
small machine, so each may take {margin} s more than its bound for the work itself. "After" is the total
time. "Running step" is the model call or tool call during which the session ended, as `vigil trace`
shows it. It is "none" if the agent had not begun, had ended, or was between two steps.

| Fault | When | The session must end | Within | It ended | After | Running step |
|---|---|---|---|---|---|---|
"""

_WHAT = {
    "max(S, 2 H) + S ⌈4 H / S⌉": "The agent's machine dies without a message",
    "2 H": "The agent was accepted and never started",
    "P + H": "The agent hangs",
    "max(S, 2 H)": "The session has ended, and the wake-up is lost",
    "H": "The workflow cannot store its token, so no wake-up is possible",
    "max(S, 2 H) + 5 H": "The record was deleted",
}


def render(ends: Iterable[tuple[Fault, FaultOutcome | None]]) -> str:
    """Return the document, with the outcomes that there are."""
    assembly = synthesize(PROJECT / STATE / "synth")
    parameters = json.loads((assembly / f"{STACK}.template.json").read_text())["Parameters"]
    names = (Parameter.SAFETY_SECONDS, Parameter.HEARTBEAT_SECONDS, Parameter.PROGRESS_SECONDS)
    safety, heartbeat, progress = (int(parameters[name]["Default"]) for name in names)
    bounds = {fault.within.formula: fault.within for fault in FAULTS}
    rows = [
        f"| {what} | {formula} | {bounds[formula].of(safety, heartbeat, progress):.0f} s |"
        for formula, what in _WHAT.items()
    ]
    values = {
        **{"bounds": "\n".join(rows), "safety": safety, "heartbeat": heartbeat, "progress": progress},
        **{"session": parameters[Parameter.MAX_SESSION_SECONDS]["Default"], "hurry": HURRY, "margin": MARGIN},
        **{"test_safety": SAFETY, "test_heartbeat": HEARTBEAT, "test_progress": PROGRESS},
    }
    return _TEXT.format(**values) + "".join(_row(fault, outcome) for fault, outcome in ends)


def _row(fault: Fault, outcome: FaultOutcome | None) -> str:
    within = fault.within.formula
    if re.search("[SHP]", within):
        within += f" = {fault.within.seconds:.0f} s"
    must = f"{fault.end}{f', “… {fault.end.says} …”' if fault.end.says else ''}"
    did, after, step = "", "", ""
    if outcome is not None:
        said = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", outcome.end.says).replace("|", "/")
        did = f"{outcome.end}{f': {said[:200]}' if said else ''}"
        after, step = f"{outcome.seconds:.0f} s", outcome.end.step
    cells = (fault.name, fault.when, must, within, did, after, step)
    return f"| {' | '.join(cell.replace('<', '&lt;') for cell in cells)} |\n"


def promised(document: str) -> str:
    """Return the document without what was measured."""
    return re.sub(r"^((?:\| [^|]* ){4})(?:\| [^|]* ){3}\|$", r"\1", document, flags=re.MULTILINE)
