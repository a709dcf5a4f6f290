"""docs/faults.md: how the session of each fault must end, and how it ended. ``python -m tests.chaos`` writes it."""

import json
import re
from collections.abc import Iterable

from tests.chaos.endings import ENDINGS
from tests.chaos.faults import FAULTS, HURRY, LOST, STUCK
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
- If its agent was killed, another attempt continues the session from the last checkpoint. A session
  has at most MaxAttempts attempts, by default {attempts}.

The last table says for each fault how the session must end, after how many attempts and within how
long. `make faults` injects the faults into sessions, compares each session with its row and writes
how it ended. It runs before each change that lands. The tests do the same with six
faults, which each run draws.

The time limits depend on three parameters of the stack: SafetySeconds (S), HeartbeatSeconds (H) and
ProgressSeconds (P). In production, with their defaults of {safety}, {heartbeat} and {progress} s:

| What goes wrong | The attempt ends within | In production | In how many attempts at most |
|---|---|---|---|
{bounds}

If a fault ends every attempt, the session ends within the time of one attempt times the number of
attempts: with the defaults, after {attempts} × {lost} s if the machine of each attempt dies, and after
2 × {stuck} s if the agent hangs twice in the same step. The time of the work itself is added. The
next attempt starts at once, or 15 s later if AgentCore does not answer when the workflow stops the
machine of the attempt before.

If an AWS service fails, the workflow retries: a call of DynamoDB 15 times, with pauses of at most
231 s in total, and the invocation of the agent 10 times, with pauses of 131 s. It gives up a call
that hangs: a call of DynamoDB after 20 s, of the function after 75 s, and the stop of the agent's
machine after 15 s.

The deadline, at most MaxSessionSeconds ({session} s), limits every session with all its attempts. At
the deadline, the workflow checks the session and ends it. It first waits for an invocation that is
under way, for at most 13 minutes if AgentCore never answers. If AWS fails at that moment, the
retries of three states add 493 s if AWS refuses the calls, and 19 minutes if they hang.

If the workflow is gone or cannot write, the reconciler closes the session. It acts on the event
that Step Functions sends, or on its schedule. The schedule runs every 5 minutes and skips sessions
that began less than a minute ago.

## Which endings are retried

A retry is another attempt, which continues the session. A test compares each row with the faults
that it names, which stand in the last table.

| How the attempt ended | Retried? | Faults that show it |
|---|---|---|
{endings}

## The faults

The sessions of the test are real ones on the local stack. It has the deployed template, the runtime
with its workers, the invoker and the reconciler. S is {test_safety}, H is {test_heartbeat} and P is {test_progress} s.
MaxAttempts has its default.

- **Real** are all faults of our processes: SIGKILL at the very call that the table names, SIGSTOP,
  SIGTERM, a memory limit, a hanging tool, a broken Lambda handler. Real are also the removal of a
  permission or of concurrency, and what people do: stop, abort, delete, overwrite.
- **Simulated** are the faults of AWS's services. The embedded AWS answers the calls of one session
  with an error that has AWS's name, late, never, with malformed data, or by a reset of the
  connection. Only the worker's clock is wrong.

If a bound is divided by {hurry}, the workflow's pauses are as well. All sessions run at once on one
small machine, so each may take {margin} s more than its bound for the work itself. "Attempts" is how many
attempts the session must have, which the test compares with the record. "After" is the total time.
"Running step" is the model call or tool call during which the session ended, as `vigil trace` shows
it. It is "none" if the agent had not begun, had ended, or was between two steps.

| Fault | When | The session must end | Attempts | Within | It ended | After | Running step |
|---|---|---|---|---|---|---|---|
"""

_WHAT = {
    "max(S, 2 H) + S ⌈4 H / S⌉": ("The agent's machine dies without a message", "MaxAttempts"),
    "2 H": ("The agent was accepted and never started", "MaxAttempts"),
    "P + H": ("The agent hangs", "2 in the same step, else MaxAttempts"),
    "max(S, 2 H)": ("The session or its attempt has ended, and the wake-up is lost", "MaxAttempts"),
    "H": ("The workflow cannot store its token, so no wake-up is possible", "MaxAttempts"),
    "max(S, 2 H) + 5 H": ("The record was deleted", "1"),
}


def render(ends: Iterable[tuple[Fault, FaultOutcome | None]]) -> str:
    """Return the document, with the outcomes that there are."""
    assembly = synthesize(PROJECT / STATE / "synth")
    parameters = json.loads((assembly / f"{STACK}.template.json").read_text())["Parameters"]
    names = (Parameter.SAFETY_SECONDS, Parameter.HEARTBEAT_SECONDS, Parameter.PROGRESS_SECONDS)
    safety, heartbeat, progress = (int(parameters[name]["Default"]) for name in names)
    bounds = {fault.within.formula: fault.within for fault in FAULTS}
    rows = [
        f"| {what} | {formula} | {bounds[formula].of(safety, heartbeat, progress):.0f} s | {attempts} |"
        for formula, (what, attempts) in _WHAT.items()
    ]
    endings = [f"| {ending.how} | {ending.retried} | {'; '.join(ending.faults)} |" for ending in ENDINGS]
    values = {
        **{"bounds": "\n".join(rows), "safety": safety, "heartbeat": heartbeat, "progress": progress},
        **{"session": parameters[Parameter.MAX_SESSION_SECONDS]["Default"], "hurry": HURRY, "margin": MARGIN},
        **{"attempts": parameters[Parameter.MAX_ATTEMPTS]["Default"], "endings": "\n".join(endings)},
        **{"lost": LOST.of(safety, heartbeat, progress), "stuck": STUCK.of(safety, heartbeat, progress)},
        **{"test_safety": SAFETY, "test_heartbeat": HEARTBEAT, "test_progress": PROGRESS},
    }
    return _TEXT.format(**values) + "".join(_row(fault, outcome) for fault, outcome in ends)


def _row(fault: Fault, outcome: FaultOutcome | None) -> str:
    within = str(fault.within)
    if re.search("[SHP]", within):
        within += f" = {fault.within.seconds:.0f} s"
    must = f"{fault.end}{f', “… {fault.end.says} …”' if fault.end.says else ''}"
    did, after, step = "", "", ""
    if outcome is not None:
        said = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", outcome.end.says).replace("|", "/")
        did = f"{outcome.end}{f': {said[:200]}' if said else ''}"
        after, step = f"{outcome.seconds:.0f} s", outcome.end.step
    cells = (fault.name, fault.when, must, str(fault.end.attempts), within, did, after, step)
    return f"| {' | '.join(cell.replace('<', '&lt;') for cell in cells)} |\n"


def promised(document: str) -> str:
    """Return the document without what was measured."""
    return re.sub(r"^((?:\| [^|]* ){5})(?:\| [^|]* ){3}\|$", r"\1", document, flags=re.MULTILINE)
