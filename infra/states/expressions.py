"""The workflow's JSONata expressions, by names that say what they compute.

Each is text without ``{% %}``, which ``jsonata`` adds. Moments are milliseconds since 1970. ``workflow.definition``
replaces names such as ``${safety}``.
"""

from vigil.line import AHEAD, LATEST, LOAD, LONGEST_LINE, LONGEST_PAUSE, LONGEST_STEP, SELDOM, SLOWER
from vigil.names import DEADLINE_KEY, TICK_KEY
from vigil.session import (
    ALLOWED_FROM,
    MAX_DETAIL_BYTES,
    NO_CHECKPOINT,
    SCHEDULED_ID_PREFIX,
    SESSION_ID_PATTERN,
    TICK_PATTERN,
    TTL_DAYS,
    Status,
)
from vigil.settings import LAST_ATTEMPT

MAX_CHECKS = 1500  # so many checks write 20,000 events. AWS ends an execution at its 25,000th
SECONDS_IN_LINE = 86_400  # the longest that a session waits for AgentCore, or for Lambda, to take it
HEARTBEATS_TO_START = 2
"""An agent that sends no heartbeat for so many heartbeat intervals after its invocation was never started."""
HEARTBEATS_TO_LOSE = 4  # an agent that sends no new heartbeat for so many heartbeat intervals is lost
HEARTBEATS_ASLEEP = 2
"""A check that comes so many heartbeat intervals later than the longest wait means that the machine slept, as a laptop
does, and perhaps the agent's as well. After a shorter sleep, the last heartbeat of an agent that lives is younger than
that of a lost one."""


def jsonata(expression: str) -> str:
    """Mark ``expression`` as JSONata for the States Language."""
    return f"{{% {expression} %}}"


RECORD = "$states.result.Item"


def record_text(attribute: str, default: str) -> str:
    """Return the text of an attribute of the record, or ``default`` without it."""
    return f"$exists({RECORD}.{attribute}.S) ? {RECORD}.{attribute}.S : '{default}'"


def line_with(fields: str) -> str:
    """Return ``$line`` with ``fields`` in the place of its own."""
    return f"$merge([$line, {{{fields}}}])"


def waiting_until(turn: str) -> str:
    """Return ``$line`` of a session that waits until ``turn``."""
    return line_with(f"'refused': false, 'turn': {turn}")


# The stack's intervals. Step Functions waits for whole seconds, and a parameter may be a fraction.
SAFETY = "$floor(${safety})"
HEARTBEAT = "$floor(${heartbeat})"
LONGEST_SESSION = "$floor(${session})"


# The execution and its errors.

EXECUTION_ARN = "$states.context.Execution.Id"
START_TIME = "$states.context.Execution.StartTime"
START_MOMENT = f"$toMillis({START_TIME})"
STATE_ENTERED_TIME = "$states.context.State.EnteredTime"
# The Cause of a Lambda error is the JSON that the function raised; that of others is plain text.
# No regex: engines differ in what a dot and /$/ match.
ERROR_MESSAGE = (
    "($cause := $exists($states.errorOutput.Cause) ? $states.errorOutput.Cause : '';"
    " $raised := $substring($cause, 0, 1) = '{' and $substring($cause, -1) = '}'"
    " and $contains($cause, '\"errorMessage\"') ? $parse($cause) : {};"
    " $substring($type($raised.errorMessage) = 'string' ? $raised.errorMessage : $cause, 0, 1000))"
)
"""The message of the error that was caught, up to 1,000 characters."""
FAIL_CAUSE = (
    "($prefix := 'session ' & $session_id & ': ';"
    " $contains($error.message, $prefix) ? $error.message : $prefix & $error.message)"
)
"""The message of ``$error``, which names the session once: many messages do so already."""


# The session.

# In both, the whole string must be the match: /$/ would let a line break pass at the end.
_GIVEN_ID = (
    f"$tick := $type($states.input.detail) = 'object' ? $states.input.detail.{TICK_KEY};"
    f" $id := $type($tick) = 'string' and $match($tick, /{TICK_PATTERN}/)[0].match = $tick"
    f" ? '{SCHEDULED_ID_PREFIX}' & $replace($tick, ':', '-') : $states.input.session_id"
)
"""``$id`` is the id of the session that the input asks for, as ``session_id_of`` says."""
SESSION_ID = f"({_GIVEN_ID}; $type($id) = 'string' ? $id[$match($, /{SESSION_ID_PATTERN}/)[0].match = $])"
"""The session's id, or undefined if it is not valid."""
# A Fail state's Cause takes 32,768 characters and no half of a surrogate pair. Engines differ in how many characters a
# pair is, so one "?" stands for a whole run of other characters.
PRINTABLE_SESSION_ID = f"({_GIVEN_ID}; $type($id) = 'string' ? $replace($substring($id, 0, 100), /[^!-~]+/, '?') : '')"
"""The session's id, also if it is not valid, for the cause of the failure."""
DETAIL = "$exists($states.input.detail) ? $states.input.detail : {}"
# The invoker refuses a longer detail anyway; with it, the call could be larger than a state may make.
STORED_DETAIL = (
    "($text := $exists($states.input.detail) ? $string($states.input.detail) : '{}';"
    f" $length($text) <= {MAX_DETAIL_BYTES} ? $text : '')"
)
"""The detail as text, which a retry of the session reads from its record."""
EXPIRY_SECONDS = f"$floor($millis() / 1000) + {TTL_DAYS * 86400}"  # when the record expires, in seconds since 1970
EXTENDED_DEADLINE = f"$attempt = 1 and $line.refusals > 0 ? $deadline + $millis() - {START_MOMENT} : $deadline"
"""The deadline when AgentCore takes the session: the time in line before its first attempt does not count."""
HAS_OPEN_RECORD = " or ".join(f"$status = '{status}'" for status in ALLOWED_FROM[Status.FAILED])
IS_OPEN = f"$status = '' or {HAS_OPEN_RECORD}"
"""Whether the session may still end: it is INITIATED or BUSY, or its record is missing."""


DEADLINE = (
    f"($requested := $states.input.detail.{DEADLINE_KEY};"
    f" $allowed := $type($requested) = 'number' and $requested >= 1 and $requested <= {LONGEST_SESSION};"
    f" {START_MOMENT} + 1000 * ($allowed ? $requested : {LONGEST_SESSION}))"
)
"""When the session must have ended: as its event asks, within the parameter, or as the parameter says."""


# The line, in which sessions wait that AgentCore or Lambda refused. ``vigil.line`` describes its item of the table.

NOT_IN_LINE = "{'ticket': 0, 'turn': 0, 'refusals': 0, 'refused': false, 'at': 0, 'code': '', 'message': ''}"
"""``$line`` of a session that does not wait."""
IS_IN_LINE = f"({HAS_OPEN_RECORD}) and $not($taken) and $line.turn > 0"
WAITED_TOO_LONG = f"{IS_IN_LINE} and $millis() >= {START_MOMENT} + 1000 * {SECONDS_IN_LINE}"
MAY_CHECK_LINE = f"{IS_IN_LINE} and $line.turn <= $millis() + 1000"
"""Whether the session's turn comes within a second, for which the invoker waits."""
HAS_TURN = "$not($line.refused) and $line.turn <= $millis() + 1000"
# If another session has just rescheduled the line, that is enough.
MUST_RESCHEDULE = (
    "$line.refused and $line.ticket > 0 and $line.at <= $millis()"
    " and ($line.refusals > 2 or $line.refusals = 1 and $line.turn < $millis())"
)
"""Whether the session was refused twice at its turn, or has just taken the first ticket of an empty line."""
REFUSED = (
    "{'ticket': $line.ticket, 'refusals': $line.refusals + 1, 'refused': true, 'at': 0,"
    f" 'turn': $millis() + 1000 + $ceil(1000 * $random() * $min([{LONGEST_PAUSE // 1000},"
    f" $power(2, $line.refusals)])), 'code': $states.errorOutput.Error, 'message': {ERROR_MESSAGE}}}"
)
"""``$line`` after a refusal. Its turn is drawn at random, and holds if the line cannot be read."""
PAUSE_AFTER_REFUSALS = f"$min([{LONGEST_PAUSE}, 1000 * $power(2, $max([0, $line.refusals - 3]))])"
"""Milliseconds, from 1,000 on, that double with each refusal from the fourth on."""
WAITING_REASON = "$line.code & ': ' & $line.message"
SHORTEST_STEP = f"$floor(1000 / ({LOAD} * ${{starts}}))"
"""Milliseconds between two turns while AgentCore refuses no session."""
PLACE_IN_LINE = (
    "($item := $states.result.Attributes;"
    # The item may have been deleted while the session waited.
    " $issued := $number($item.issued.N);"
    " $ticket := $line.ticket = 0 or $line.ticket > $issued ? $issued : $line.ticket;"
    " $at := $exists($item.at.N) ? $number($item.at.N) : 0;"
    f" $step := $exists($item.step.N) ? $number($item.step.N) : {SHORTEST_STEP};"
    " $number := $exists($item.number.N) ? $number($item.number.N) : $ticket;"
    f" $tooLate := $at > $millis() + {LATEST};"
    " $turn := $at + ($ticket - $number) * $step;"
    f" $damaged := $tooLate or $step > {LONGEST_STEP} or $turn > $millis() + {LONGEST_LINE};"
    " $merge([$line, {'ticket': $ticket, 'at': $tooLate ? 0 : $at, 'step': $step,"
    " 'refusals': $line.ticket = 0 ? 1 : $line.refusals, 'turn': $damaged ? 0 : $turn}]))"
)
"""``$line`` with the session's ticket and turn, from the line's item; a damaged item gives the turn 0."""
# A line that was slowed down may go faster again. Fewer checks would miss that; more would be too many events.
NEXT_CHECK_OF_LINE = (
    "$line.refused ? ($line.turn > $millis() ? $line.turn : $millis() + 1000 + $floor(1000 * $random()))"
    f" : $line.step > {SHORTEST_STEP} and $line.turn > $millis() + 4000"
    f" ? $min([$line.turn, $max([$floor(($line.turn + $millis()) / 2), $millis() + {SELDOM}])]) : $line.turn"
)
"""When a session that has no turn now checks the line again, at its turn at the latest."""
# Sessions that took a ticket just before the line began have their turns before its first.
RESCHEDULED_TURN = f"($millis() + ($line.refusals > 1 ? {PAUSE_AFTER_REFUSALS} : 1000 + {AHEAD} * {SHORTEST_STEP}))"
"""When the session has its turn after it has rescheduled the line."""
RESCHEDULED_STEP = (
    f"$line.refusals > 1 ? $max([{SHORTEST_STEP}, $min([{LONGEST_STEP}, $ceil({SLOWER} * $line.step)])])"
    f" : {SHORTEST_STEP}"
)
"""Milliseconds between two turns after a refusal at a turn, which slows the line down, or in a new line."""


# The watch over the agent, by its heartbeats and the session record.

NO_HEARTBEAT = "{'value': '', 'since': $millis(), 'checkedAt': $millis()}"
"""``$lastHeartbeat`` before the first: awaited from now on."""
IS_OTHER_EXECUTION = f"$exists({RECORD}.execution_arn) and $not({RECORD}.execution_arn.S = {EXECUTION_ARN})"
"""Whether the record is another execution's, for which the event of this one was delivered twice."""
IS_PAST_DEADLINE = f"({IS_OPEN}) and $millis() >= $deadline and $not($attempt = 1 and {IS_IN_LINE})"
LOST_CODE = "$status = '' ? 'RecordMissing' : 'AgentLost'"
LOST_MESSAGE = (
    "$status = '' ? 'the session record was deleted' : $lastHeartbeat.value = ''"
    " ? 'the agent sent no heartbeat after it was invoked'"
    " : 'no heartbeat from the agent since ' & $lastHeartbeat.value"
)
RECORD_ATTEMPT = (
    f"$exists({RECORD}.attempt) ? ({RECORD}.attempt.N in {[str(number + 1) for number in range(LAST_ATTEMPT)]}"
    f" ? $number({RECORD}.attempt.N) : 0) : 1"
)
"""The session's attempt, 0 for what is none: an agent's role may write anything into the record."""
IS_TAKEN = f"$exists({RECORD}.worker.S)"
"""Whether a worker of the attempt has begun."""
MAY_CONTINUE = (
    f"$exists({RECORD}.status.S) and $not({RECORD}.checkpoint.S = '{NO_CHECKPOINT}')"
    f" and ({RECORD_ATTEMPT}) < $floor(${{attempts}})"
)
"""Whether another attempt may follow the one that is lost: with this checkpoint, and by the parameter."""
MUST_INVOKE = f"({IS_OPEN}) and $attempt > $invoked"
"""Whether another attempt has been opened, and AgentCore was not yet told."""
RUNTIME_SESSION_ID = "$invoked = 1 ? $session_id : $session_id & '-attempt-' & $string($invoked)"
"""The id by which AgentCore knows the attempt that was invoked last, as ``runtime_session_id`` makes it."""
RECORD_STATUS = f"$exists({RECORD}) ? ({record_text('status', 'none')}) : ''"
"""The session's status, 'none' for a record without one, '' without a record."""
SHORTEST_WAIT = f"$ceil({LONGEST_SESSION} / {MAX_CHECKS})"
"""Seconds between two checks that keep the execution of the longest session below its limit of events."""
SAFETY_WAIT = f"$max([{SAFETY}, {SHORTEST_WAIT}])"  # seconds until the next check, if nothing wakes the workflow
HEARTBEAT_WAIT = f"$max([{HEARTBEAT}, {SHORTEST_WAIT}])"  # the same, if nothing can wake the workflow
LAST_HEARTBEAT = (
    f"($value := $exists({RECORD}) ? ({record_text('heartbeat_at', '')}) : 'no record';"
    # After a sleep, the wait for the agent starts again.
    " $since := $value = $lastHeartbeat.value and $millis() - $lastHeartbeat.checkedAt"
    f" < 1000 * ({SAFETY_WAIT} + {HEARTBEATS_ASLEEP} * {HEARTBEAT}) ? $lastHeartbeat.since : $millis();"
    # Stored, since RouteByStatus is evaluated later.
    " {'value': $value, 'since': $since, 'checkedAt': $millis(), 'unchangedMs': $millis() - $since})"
)
"""``$lastHeartbeat`` by the record. Only the workflow's clock counts, and no clock is compared with it."""
IS_LOST = (
    f"({IS_OPEN}) and $lastHeartbeat.unchangedMs >= 1000 *"
    f" (($lastHeartbeat.value = '' ? {HEARTBEATS_TO_START} : {HEARTBEATS_TO_LOSE}) * {HEARTBEAT})"
)
"""Whether the agent has sent no new heartbeat, or the record has been missing, for too long."""
# A session may wait in line for long: again by the limit of events.
WAIT_IN_LINE = (
    f"$min([$max([{SAFETY}, {SECONDS_IN_LINE // MAX_CHECKS}]), $floor(($line.turn - $millis()) / 1000),"
    f" $attempt = 1 ? {SECONDS_IN_LINE} : $ceil(($deadline - $millis()) / 1000)])"
)
WAIT_FOR_AGENT = (
    f"$min([$lastHeartbeat.value = '' ? {HEARTBEATS_TO_START} * {HEARTBEAT} : {SAFETY_WAIT},"
    " $ceil(($deadline - $millis()) / 1000)])"
)
WAIT_SECONDS = f"$max([1, $line.turn > 0 ? {WAIT_IN_LINE} : {WAIT_FOR_AGENT}])"
"""Seconds that the workflow waits to be woken: until the next check of the line, or of the session."""
