"""The workflow's JSONata expressions, by names that say what they compute.

Each is text without ``{% %}``, which ``jsonata`` adds. Moments are milliseconds since 1970. The parameters that
``timing`` holds are seconds, and may be fractions and CloudFormation tokens.
"""

from infra.parameters import Timing
from vigil.line import AHEAD, LATEST, LOAD, LONGEST_LINE, LONGEST_PAUSE, LONGEST_STEP, SELDOM, SLOWER
from vigil.names import DEADLINE_KEY
from vigil.session import ALLOWED_FROM, MAX_DETAIL_BYTES, SESSION_ID_PATTERN, TTL_DAYS, Status

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


def whole(seconds: str) -> str:
    """Drop the fraction of a parameter: Step Functions waits for whole seconds."""
    return f"$floor({seconds})"


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

# The whole string must be the match: /$/ would let a line break pass at the end.
SESSION_ID = (
    "$type($states.input.session_id) = 'string'"
    f" ? $states.input.session_id[$match($, /{SESSION_ID_PATTERN}/)[0].match = $]"
)
"""The input's session id, or undefined if it is not valid."""
# A Fail state's Cause takes 32,768 characters and no half of a surrogate pair. Engines differ in how many characters a
# pair is, so one "?" stands for a whole run of other characters.
PRINTABLE_SESSION_ID = (
    "$type($states.input.session_id) = 'string'"
    " ? $replace($substring($states.input.session_id, 0, 100), /[^!-~]+/, '?') : ''"
)
"""What the input gives as a session id, for the cause of the failure."""
DETAIL = "$exists($states.input.detail) ? $states.input.detail : {}"
# The invoker refuses a longer detail anyway; with it, the call could be larger than a state may make.
STORED_DETAIL = (
    "($text := $exists($states.input.detail) ? $string($states.input.detail) : '{}';"
    f" $length($text) <= {MAX_DETAIL_BYTES} ? $text : '')"
)
"""The detail as text, which a retry of the session reads from its record."""
EXPIRY_SECONDS = f"$floor($millis() / 1000) + {TTL_DAYS * 86400}"  # when the record expires, in seconds since 1970
EXTENDED_DEADLINE = f"$line.refusals > 0 ? $deadline + $millis() - {START_MOMENT} : $deadline"
"""The deadline when AgentCore takes the session: the time in line does not count."""
IS_OPEN = " or ".join(f"$status = '{status}'" for status in ("", *ALLOWED_FROM[Status.FAILED]))
"""Whether the session may still end: it is INITIATED or BUSY, or its record is missing."""


def deadline(timing: Timing) -> str:
    """When the session must have ended: as its event asks, within the parameter, or as the parameter says."""
    longest = whole(timing.session)
    return (
        f"($requested := $states.input.detail.{DEADLINE_KEY};"
        f" $allowed := $type($requested) = 'number' and $requested >= 1 and $requested <= {longest};"
        f" {START_MOMENT} + 1000 * ($allowed ? $requested : {longest}))"
    )


# The line, in which sessions wait that AgentCore or Lambda refused. ``vigil.line`` describes its item of the table.

NOT_IN_LINE = "{'ticket': 0, 'turn': 0, 'refusals': 0, 'refused': false, 'at': 0, 'code': '', 'message': ''}"
"""``$line`` of a session that does not wait."""
IS_IN_LINE = f"$status = '{Status.INITIATED}' and $line.turn > 0"
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
    f" 'turn': $millis() + 1000 + $floor(1000 * $random() * $min([{LONGEST_PAUSE // 1000},"
    f" $power(2, $line.refusals)])), 'code': $states.errorOutput.Error, 'message': {ERROR_MESSAGE}}}"
)
"""``$line`` after a refusal. Its turn is drawn at random, and holds if the line cannot be read."""
PAUSE_AFTER_REFUSALS = f"$min([{LONGEST_PAUSE}, 1000 * $power(2, $max([0, $line.refusals - 3]))])"
"""Milliseconds, from 1,000 on, that double with each refusal from the fourth on."""
WAITING_REASON = "$line.code & ': ' & $line.message"


def line_with(fields: str) -> str:
    """Return ``$line`` with ``fields`` in the place of its own."""
    return f"$merge([$line, {{{fields}}}])"


def waiting_until(turn: str) -> str:
    """Return ``$line`` of a session that waits until ``turn``."""
    return line_with(f"'refused': false, 'turn': {turn}")


def shortest_step(timing: Timing) -> str:
    """Milliseconds between two turns while AgentCore refuses no session."""
    return f"$floor(1000 / ({LOAD} * {timing.starts}))"


def place_in_line(timing: Timing) -> str:
    """Return ``$line`` with the session's ticket and turn, from the line's item; a damaged item gives the turn 0."""
    return (
        "($item := $states.result.Attributes;"
        # The item may have been deleted while the session waited.
        " $issued := $number($item.issued.N);"
        " $ticket := $line.ticket = 0 or $line.ticket > $issued ? $issued : $line.ticket;"
        " $at := $exists($item.at.N) ? $number($item.at.N) : 0;"
        f" $step := $exists($item.step.N) ? $number($item.step.N) : {shortest_step(timing)};"
        " $number := $exists($item.number.N) ? $number($item.number.N) : $ticket;"
        f" $tooLate := $at > $millis() + {LATEST};"
        " $turn := $at + ($ticket - $number) * $step;"
        f" $damaged := $tooLate or $step > {LONGEST_STEP} or $turn > $millis() + {LONGEST_LINE};"
        " $merge([$line, {'ticket': $ticket, 'at': $tooLate ? 0 : $at, 'step': $step,"
        " 'refusals': $line.ticket = 0 ? 1 : $line.refusals, 'turn': $damaged ? 0 : $turn}]))"
    )


def next_check_of_line(timing: Timing) -> str:
    """When a session that has no turn now checks the line again, at its turn at the latest."""
    after_refusal = "($line.turn > $millis() ? $line.turn : $millis() + 1000 + $floor(1000 * $random()))"
    # A line that was slowed down may go faster again. Fewer checks would miss that; more would be too many events.
    halfway = f"$min([$line.turn, $max([$floor(($line.turn + $millis()) / 2), $millis() + {SELDOM}])])"
    is_slow = f"$line.step > {shortest_step(timing)} and $line.turn > $millis() + 4000"
    return f"$line.refused ? {after_refusal} : {is_slow} ? {halfway} : $line.turn"


def rescheduled_turn(timing: Timing) -> str:
    """When the session has its turn after it has rescheduled the line."""
    # Sessions that took a ticket just before the line began have their turns before its first.
    return f"($millis() + ($line.refusals > 1 ? {PAUSE_AFTER_REFUSALS} : 1000 + {AHEAD} * {shortest_step(timing)}))"


def rescheduled_step(timing: Timing) -> str:
    """Milliseconds between two turns after a refusal at a turn, which slows the line down, or in a new line."""
    shortest = shortest_step(timing)
    slower = f"$max([{shortest}, $min([{LONGEST_STEP}, $ceil({SLOWER} * $line.step)])])"
    return f"$line.refusals > 1 ? {slower} : {shortest}"


# The watch over the agent, by its heartbeats and the session record.

NO_HEARTBEAT = "{'value': '', 'since': $millis(), 'checkedAt': $millis()}"
"""``$lastHeartbeat`` before the first: awaited from now on."""
RECORD = "$states.result.Item"
IS_OTHER_EXECUTION = f"$exists({RECORD}.execution_arn.S) and {RECORD}.execution_arn.S != {EXECUTION_ARN}"
"""Whether the record is another execution's, for which the event of this one was delivered twice."""
IS_PAST_DEADLINE = f"({IS_OPEN}) and $millis() >= $deadline"
LOST_CODE = "$status = '' ? 'RecordMissing' : 'AgentLost'"
LOST_MESSAGE = (
    "$status = '' ? 'the session record was deleted' : $lastHeartbeat.value = ''"
    " ? 'the agent sent no heartbeat after it was invoked'"
    " : 'no heartbeat from the agent since ' & $lastHeartbeat.value"
)


def record_text(attribute: str, default: str) -> str:
    """Return the text of an attribute of the record, or ``default`` without it."""
    return f"$exists({RECORD}.{attribute}.S) ? {RECORD}.{attribute}.S : '{default}'"


RECORD_STATUS = f"$exists({RECORD}) ? ({record_text('status', 'none')}) : ''"
"""The session's status, 'none' for a record without one, '' without a record."""


def shortest_wait(timing: Timing) -> str:
    """Seconds between two checks that keep the execution of the longest session below its limit of events."""
    return f"$ceil({whole(timing.session)} / {MAX_CHECKS})"


def safety_wait(timing: Timing) -> str:
    """Seconds until the next check, if nothing wakes the workflow."""
    return f"$max([{whole(timing.safety)}, {shortest_wait(timing)}])"


def heartbeat_wait(timing: Timing) -> str:
    """Seconds until the next check, if nothing can wake the workflow."""
    return f"$max([{whole(timing.heartbeat)}, {shortest_wait(timing)}])"


def last_heartbeat(timing: Timing) -> str:
    """Return ``$lastHeartbeat`` by the record. Only the workflow's clock counts, and no clock is compared with it."""
    sleep_seconds = f"({safety_wait(timing)} + {HEARTBEATS_ASLEEP} * {whole(timing.heartbeat)})"
    return (
        f"($value := $exists({RECORD}) ? ({record_text('heartbeat_at', '')}) : 'no record';"
        # After a sleep, the wait for the agent starts again.
        " $since := $value = $lastHeartbeat.value"
        f" and $millis() - $lastHeartbeat.checkedAt < 1000 * {sleep_seconds} ? $lastHeartbeat.since : $millis();"
        # Stored, since RouteByStatus is evaluated later.
        " {'value': $value, 'since': $since, 'checkedAt': $millis(), 'unchangedMs': $millis() - $since})"
    )


def is_lost(timing: Timing) -> str:
    """Whether the agent has sent no new heartbeat, or the record has been missing, for too long."""
    heartbeats = f"($lastHeartbeat.value = '' ? {HEARTBEATS_TO_START} : {HEARTBEATS_TO_LOSE})"
    return f"({IS_OPEN}) and $lastHeartbeat.unchangedMs >= 1000 * ({heartbeats} * {whole(timing.heartbeat)})"


def wait_seconds(timing: Timing) -> str:
    """Seconds that the workflow waits to be woken: until the next check of the line, or of the session."""
    in_line = f"$min([{line_wait(timing)}, $floor(($line.turn - $millis()) / 1000)])"
    heartbeat = f"$lastHeartbeat.value = '' ? {HEARTBEATS_TO_START} * {whole(timing.heartbeat)} : {safety_wait(timing)}"
    watching = f"$min([{heartbeat}, $ceil(($deadline - $millis()) / 1000)])"
    return f"$max([1, $line.turn > 0 ? {in_line} : {watching}])"


def line_wait(timing: Timing) -> str:
    """Seconds between two checks of a session in line, which may take long: again by the limit of events."""
    return f"$max([{whole(timing.safety)}, {SECONDS_IN_LINE // MAX_CHECKS}])"
