"""The faults: what goes wrong, when, and how the session must end. ``docs/faults.md`` shows them as a table."""

import json
import math
import signal
from dataclasses import replace

from tests.chaos.acts import (
    abort,
    delete,
    denied,
    finish_during,
    finish_when_it_waits,
    finish_with_a_stale_token,
    freeze_runtime,
    kill_runtime,
    kill_worker_and,
    overwrite,
    see_a_fast_clock,
    start,
    start_and_end,
    stop,
    stop_when_it_completes,
    ten_at_once,
    then,
    throttled,
)
from tests.chaos.matrix import LAMBDA_TIMEOUT, OUTAGE, Bound, End, Fault, Item, Run
from vigil.settings import MAX_ATTEMPTS

HURRY = 10
GIVEN = 30
"""The deadline that some events ask for."""


def exactly(formula: str, seconds: float) -> Bound:
    """A bound that no timing parameter changes."""
    return Bound(formula, lambda s, h, p: seconds)


AT_ONCE = exactly("at once", 0)
NEXT_LOOK = Bound("max(S, 2 H)", lambda s, h, p: max(s, 2 * h))
FIRST_CHECK = Bound("2 H", lambda s, h, p: 2 * h)
# The next look sees the last heartbeat first, and it must then stand still for as many looks as four beats take.
LOST = Bound("max(S, 2 H) + S ⌈4 H / S⌉", lambda s, h, p: max(s, 2 * h) + s * math.ceil(4 * h / s))
GONE = Bound("max(S, 2 H) + 5 H", lambda s, h, p: max(s, 2 * h) + 5 * h)
STUCK = Bound("P + H", lambda s, h, p: p + h)
WITHOUT_TOKEN = Bound("H", lambda s, h, p: h)
AT_DEADLINE = exactly(f"{GIVEN} s, as the event asks", GIVEN)
# Tries that last for ever are hurried.
RETRIED_WRITE = exactly(f"231 s / {HURRY}", 231 / HURRY)
RETRIED_INVOCATION = exactly(f"131 s / {HURRY}", 131 / HURRY)


def outage(seconds: int) -> Bound:
    """The outage, and the longest pause between two tries."""
    return exactly(f"{seconds} s + 20 s", seconds + 20)


def retried(times: int) -> Bound:
    """The pauses before so many tries."""
    return exactly(f"{2**times - 1} s", 2**times - 1)


def given_up(seconds: int) -> Bound:
    """The timeout of a task that hangs, and the pause before its second try."""
    return exactly(f"{seconds} s + 1 s", seconds + 1)


# The steps during which sessions end.
MODEL = "model vigil.scripted-model"
NO_ANSWER = f"none after {MODEL} failed"
WORK = "tool work"
SET_STATUS = "tool journal_set_status"

COMPLETED = End("COMPLETED", step=SET_STATUS)
CONTINUED = replace(COMPLETED, attempts=2)


def failed(code: str, says: str, step: str = "none", attempts: int = 1) -> End:
    return End("FAILED", code, says, step, attempts)


def each(attempts: int, bound: Bound) -> Bound:
    """The bound of a fault that ends so many attempts."""
    return replace(bound, strikes=attempts)


# Errors as the workflow's tasks name them, and as AWS answers the agent and the Lambda function.

BUSY_TABLE = "The level of configured provisioned throughput for the table was exceeded"
DENIED = "is not authorized to perform this on the resource"
TASK_THROTTLED = {"error": "DynamoDB.ProvisionedThroughputExceededException", "message": BUSY_TABLE}
TASK_DENIED = {"error": "DynamoDB.AmazonDynamoDBException", "message": f"User: workflow {DENIED}"}
THROTTLED = {"error": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": BUSY_TABLE}
REFUSED = {"error": "com.amazon.coral.service#AccessDeniedException", "message": f"User: agent {DENIED}"}

PUT = ":dynamodb:putItem$"
GET = ":dynamodb:getItem$"
MARK = "::dynamodb:updateItem$"
WAIT = "updateItem.waitForTaskToken$"
STOP = ":stopRuntimeSession$"
JOURNAL = r"^DynamoDB_20120810\."
WAKE = "SendTaskSuccess$"
INVOKE = "^POST /runtimes/.*/invocations$"
CONVERSE = "^POST /model/.*/converse$"
REPORT = r"^PUT .*/report\.md$"
CHECKPOINT = "^PUT .*/checkpoints/"


def writes(status: str) -> Item:
    """The worker's write of ``status``; heartbeats do not match."""
    return {"call": JOURNAL, "body": rf'":status":\s*{{"S":\s*"{status}"'}


def hangs(call: str, **how: bool) -> Item:
    """One task that has no end for as long as anybody could wait."""
    return {"call": call, "times": 1, "delay": 600, "error": "TooLate", "message": "nobody waits for this", **how}


STOP_DENIED = {"call": STOP, "error": "BedrockAgentCore.AccessDeniedException", "message": DENIED}
AT_THE_LIMIT = {"call": INVOKE, "times": 3, "status": 429, "error": "ThrottlingException", "message": "Rate exceeded"}
WORKS = {"agent": "works"}
KILLED = failed("AgentCrashed", "signal SIGKILL", SET_STATUS)
LATE = failed("DeadlineExceeded", "did not end by its deadline", WORK)
STOPPED = failed("StoppedByOperator", "it costs too much", WORK)
SILENT = failed("AgentLost", "the agent sent no heartbeat after it was invoked", attempts=MAX_ATTEMPTS)
AGAIN = {"toolUse": {"toolUseId": "again", "name": "journal_set_status", "input": {"status": "BUSY"}}}
STEP = {
    **{"output": {"message": {"role": "assistant", "content": [AGAIN]}}, "stopReason": "tool_use"},
    **{"usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}, "metrics": {"latencyMs": 0}},
}


# The longest first, so that all end soon.
FAULTS = [
    # On a stack of its own, one after another.
    Fault("Worker hangs in a tool", "from the second step, in every attempt",
          failed("AgentLost", "last seen at: tool look_away", "tool look_away", 2), each(2, STUCK),
          detail={"agent": "hangs"}, apart=True),
    Fault("Worker frozen", "SIGSTOP before the agent's first step", CONTINUED, STUCK,
          detail={"agent": "freezes"}, apart=True),
    Fault("Lambda function hangs", f"every invocation, until its timeout of {LAMBDA_TIMEOUT} s",
          failed("Sandbox.Timedout", "timed out after"),
          exactly(f"3 × {LAMBDA_TIMEOUT} s + 3 s", 3 * LAMBDA_TIMEOUT + 3),
          detail={"lambda": "hangs"}, meet=start, apart=True),
    Fault("Lambda function dies once", "SIGKILL after it has invoked the agent", COMPLETED, retried(1),
          detail={"lambda": "dies once"}, meet=start_and_end, apart=True),
    Fault("Lambda function dies", "SIGKILL on every invocation", failed("Runtime.ExitError", ""), retried(2),
          detail={"lambda": "dies"}, meet=start, apart=True),
    Fault("Lambda function raises", "before it invokes the agent",
          failed("RuntimeError", "the function is broken"), AT_ONCE,
          detail={"lambda": "raises"}, meet=start, apart=True),
    Fault("Lambda function answers rubbish", "and has not invoked the agent, every time", SILENT,
          each(MAX_ATTEMPTS, FIRST_CHECK),
          detail={"lambda": "answers rubbish"}, meet=start, apart=True),
    Fault("Lambda throttles the function", "reserved concurrency 0 at first", COMPLETED, exactly("20 s", 20),
          meet=throttled, apart=True),
    Fault("Workflow's role may not PutItem", "InitializeSession",
          failed("DynamoDB.AmazonDynamoDBException", "not authorized to perform: dynamodb:PutItem"), AT_ONCE,
          meet=denied, apart=True),
    # Together on one stack, each known by its session.
    Fault("Runtime process killed, StopRuntimeSession hangs", "SIGKILL while the agent works, then StopAgent",
          CONTINUED, Bound(f"{LOST} + 15 s", lambda s, h, p: LOST.of(s, h, p) + 15),
          rules=(hangs(STOP),), detail=WORKS, meet=kill_runtime(signal.SIGKILL)),
    Fault("Runtime process killed", "SIGKILL while the agent works", CONTINUED, LOST,
          detail=WORKS, meet=kill_runtime(signal.SIGKILL)),
    Fault("Runtime frozen, then thawed", "SIGSTOP, until another attempt works; StopRuntimeSession denied", CONTINUED,
          LOST, rules=(STOP_DENIED,), detail=WORKS, meet=then(freeze_runtime)),
    Fault("Runtime process killed, no checkpoint", "SIGKILL while the agent works; S3 denies its checkpoints",
          failed("AgentLost", "no heartbeat", WORK), LOST,
          rules=({"call": CHECKPOINT, "status": 403, "error": "AccessDenied", "message": "Access Denied"},),
          detail=WORKS, meet=kill_runtime(signal.SIGKILL)),
    Fault("Runtime shut down", "SIGTERM while the agent works", CONTINUED, AT_ONCE,
          detail=WORKS, meet=kill_runtime(signal.SIGTERM)),
    Fault("Record deleted", "while the agent works", failed("RecordMissing", "the session record was deleted", WORK),
          GONE, detail=WORKS, meet=then(delete)),
    Fault("GetItem throttled for 30 s", "CheckStatus", COMPLETED, outage(30),
          rules=({"call": GET, "seconds": 30, **TASK_THROTTLED},)),
    Fault("GetItem hangs once", "CheckStatus, while the agent works", COMPLETED, given_up(20),
          rules=(hangs(GET),), detail=WORKS, meet=finish_when_it_waits),
    Fault("PutItem hangs once", "InitializeSession, and is applied", COMPLETED, given_up(20),
          rules=(hangs(PUT, applied=True),)),
    Fault("UpdateItem hangs once", "MarkFailed", failed("AgentNotAccepted", "the agent answered no JSON"),
          given_up(20), rules=({"call": INVOKE, "answer": "<html>"}, hangs(MARK)), meet=start),
    Fault("DynamoDB unreachable for 20 s", "every call of the agent, when its work ends", COMPLETED, outage(OUTAGE),
          detail=WORKS, meet=then(finish_during({"call": JOURNAL, "seconds": OUTAGE, "reset": True}))),
    Fault("DynamoDB throttles for 20 s", "every call of the agent, when its work ends", COMPLETED, outage(OUTAGE),
          detail=WORKS, meet=then(finish_during({"call": JOURNAL, "seconds": OUTAGE, **THROTTLED}))),
    Fault("DynamoDB throttles for ever", "every call of the agent", SILENT, each(MAX_ATTEMPTS, FIRST_CHECK),
          rules=({"call": JOURNAL, **THROTTLED},), meet=start),
    Fault("DynamoDB denies", "every call of the agent", SILENT, each(MAX_ATTEMPTS, FIRST_CHECK),
          rules=({"call": JOURNAL, **REFUSED},), meet=start),
    Fault("PutItem throttled for ever", "InitializeSession",
          failed("DynamoDB.ProvisionedThroughputExceededException", BUSY_TABLE), RETRIED_WRITE,
          rules=({"call": PUT, **TASK_THROTTLED, "hurry": HURRY},), meet=start),
    Fault("AgentCore answers 500 for ever", "InvokeAgentRuntime",
          failed("AgentUnavailable", "InternalServerException"), RETRIED_INVOCATION,
          rules=({"call": INVOKE, "status": 500, "error": "InternalServerException",
                  "message": "An internal error occurred", "hurry": HURRY},), meet=start),
    Fault("Accepted, but no agent is started", "every InvokeAgentRuntime", SILENT, each(MAX_ATTEMPTS, FIRST_CHECK),
          rules=({"call": INVOKE, "answer": '{"status": "accepted"}'},), meet=start),
    Fault("Accepted once, but no agent is started", "the first InvokeAgentRuntime", CONTINUED, FIRST_CHECK,
          rules=({"call": INVOKE, "times": 1, "answer": '{"status": "accepted"}'},), meet=start),
    Fault("Status unknown", "written by hand while the agent works",
          failed("UnknownStatus", "a status that Vigil does not know", WORK), NEXT_LOOK,
          detail=WORKS, meet=then(overwrite("status", "DONE"))),
    Fault("Deadline passes", "the agent works on", LATE, AT_DEADLINE, detail={**WORKS, "deadline_seconds": GIVEN}),
    Fault("Model calls tools for ever", "every Converse", replace(LATE, step=f"{MODEL} or {SET_STATUS} or none"),
          AT_DEADLINE, detail={"deadline_seconds": GIVEN},
          rules=({"call": CONVERSE, "answer": json.dumps(STEP), "delay": 0.5},)),
    Fault("StopRuntimeSession denied", "at the deadline; the worker goes by its next heartbeat", LATE, AT_DEADLINE,
          rules=(STOP_DENIED,),
          detail={**WORKS, "deadline_seconds": GIVEN}),
    Fault("StopRuntimeSession hangs", "after COMPLETED", COMPLETED, exactly("15 s", 15), rules=(hangs(STOP),)),
    Fault("Wake-up denied", "SendTaskSuccess, after the write of COMPLETED", COMPLETED, NEXT_LOOK,
          rules=({"call": WAKE, **REFUSED},), detail=WORKS, meet=then(Run.go)),
    Fault("Wake-up with a stale token", "the token is overwritten while the agent works", COMPLETED, NEXT_LOOK,
          detail=WORKS, meet=then(finish_with_a_stale_token)),
    Fault("Worker killed after COMPLETED", "SIGKILL before it can wake the workflow", COMPLETED, NEXT_LOOK,
          rules=({**writes("COMPLETED"), "times": 1, "applied": True, "kill": True},),
          detail=WORKS, meet=then(Run.go)),
    Fault("Task token cannot be stored", "WaitForChange, every time", COMPLETED, WITHOUT_TOKEN,
          rules=({"call": WAIT, "error": "DynamoDb.DynamoDbException", "message": DENIED},)),
    Fault("Worker killed before BUSY", "SIGKILL as it sets BUSY", CONTINUED, AT_ONCE,
          rules=({**writes("BUSY"), "times": 1, "kill": True},)),
    Fault("Worker killed after BUSY", "SIGKILL", CONTINUED, AT_ONCE,
          rules=({**writes("BUSY"), "times": 1, "applied": True, "kill": True},)),
    Fault("Worker killed after the report", "SIGKILL when the report is saved", CONTINUED, AT_ONCE,
          rules=({"call": REPORT, "times": 1, "applied": True, "kill": True},)),
    Fault("Worker killed before COMPLETED", "SIGKILL as it sets COMPLETED", CONTINUED, AT_ONCE,
          rules=({**writes("COMPLETED"), "times": 1, "kill": True},)),
    Fault("Worker killed twice", "SIGKILL as it sets COMPLETED", replace(COMPLETED, attempts=3), AT_ONCE,
          rules=({**writes("COMPLETED"), "times": 2, "kill": True},)),
    Fault("Worker killed, AgentCore answers 429 three times", "SIGKILL while the agent works, then InvokeAgentRuntime",
          CONTINUED, retried(3), detail=WORKS, meet=kill_worker_and(AT_THE_LIMIT)),
    Fault("Worker killed every time", "SIGKILL as it sets COMPLETED", replace(KILLED, attempts=MAX_ATTEMPTS), AT_ONCE,
          rules=({**writes("COMPLETED"), "kill": True},)),
    Fault("Worker of a function killed", "SIGKILL as it sets COMPLETED", KILLED, AT_ONCE,
          rules=({**writes("COMPLETED"), "times": 1, "kill": True},), detail={"agent": "greets_as_a_function"}),
    Fault("Worker crashes once", "SIGABRT in a tool", CONTINUED, AT_ONCE, detail={"agent": "aborts"}),
    Fault("Worker crashes every time", "exit code 3 in the same tool",
          failed("AgentCrashed", "exit code 3", "tool exit_at_once", 2), AT_ONCE, detail={"agent": "exits"}),
    Fault("Worker out of memory", "RLIMIT_AS", failed("MemoryError", "the agent ran out of memory"), AT_ONCE,
          detail={"agent": "hoards"}),
    Fault("Worker's clock 5 min fast", "from BUSY on", COMPLETED, AT_ONCE,
          detail={"agent": "has_a_fast_clock"}, meet=see_a_fast_clock),
    Fault("Bucket denies", "PutObject of the report", failed("AgentFailed", "AccessDenied", SET_STATUS), AT_ONCE,
          rules=({"call": REPORT, "status": 403, "error": "AccessDenied", "message": "Access Denied"},)),
    Fault("Model unreachable", "every Converse", failed("ConnectionClosedError", "closed before", NO_ANSWER),
          retried(4),
          rules=({"call": CONVERSE, "reset": True},)),
    Fault("Model answers malformed JSON", "every Converse",
          failed("KeyError", "'output' is missing (bedrock.py", NO_ANSWER), AT_ONCE,
          rules=({"call": CONVERSE, "answer": '{"output": {"message": '},)),
    Fault("Invalid input", "the agent refuses the event's detail", failed("InvalidDetail", "account must be"), AT_ONCE,
          detail={"agent": "refuses"}),
    Fault("Budget used up", "after some calls of a model that costs dollars",
          failed("BudgetExceeded", "the model calls have cost"), AT_ONCE, detail={"agent": "spends"}),
    Fault("Operator stops", "while the agent works", STOPPED, AT_ONCE, detail=WORKS, meet=then(stop)),
    Fault("Operator stops before COMPLETED", "while the agent's write is under way",
          replace(STOPPED, step=SET_STATUS), AT_ONCE,
          rules=({**writes("COMPLETED"), "times": 1, "delay": 6},), detail=WORKS, meet=then(stop_when_it_completes)),
    Fault("Operator stops after COMPLETED", "while the answer to the agent's write is under way", COMPLETED, AT_ONCE,
          rules=({**writes("COMPLETED"), "times": 1, "applied": True, "delay": 6},),
          detail=WORKS, meet=then(stop_when_it_completes)),
    Fault("Execution aborted", "while the agent works",
          failed("WorkflowEnded", "its workflow ended without it: ABORTED", WORK), AT_ONCE,
          detail=WORKS, meet=then(abort)),
    Fault("Table missing", "every task of the workflow",
          failed("WorkflowEnded", "DynamoDB.ResourceNotFoundException"), AT_ONCE,
          rules=({"call": ":dynamodb:", "error": "DynamoDB.ResourceNotFoundException",
                  "message": "Requested resource not found"},), meet=start),
    Fault("AgentCore answers rubbish, the end cannot be written", "InvokeAgentRuntime, then MarkFailed",
          failed("WorkflowEnded", "the agent answered no JSON"), AT_ONCE,
          rules=({"call": INVOKE, "answer": "<html>"}, {"call": MARK, **TASK_DENIED}), meet=start),
    Fault("AgentCore answers rubbish", "InvokeAgentRuntime",
          failed("AgentNotAccepted", "the agent answered no JSON"), AT_ONCE,
          rules=({"call": INVOKE, "answer": "<html>"},), meet=start),
    Fault("AgentCore answers 429 three times", "InvokeAgentRuntime", COMPLETED, retried(3),
          rules=(AT_THE_LIMIT,)),
    Fault("AgentCore answers late", "10 s after it has started the agent", COMPLETED, exactly("10 s", 10),
          rules=({"call": INVOKE, "applied": True, "delay": 10, "times": 1},)),
    Fault("Connection to AgentCore reset once", "after it has started the agent", COMPLETED, retried(1),
          rules=({"call": INVOKE, "applied": True, "reset": True, "times": 1},)),
    Fault("PutItem throttled three times", "InitializeSession", COMPLETED, retried(3),
          rules=({"call": PUT, **TASK_THROTTLED, "times": 3},)),
    Fault("Answer to PutItem lost", "InitializeSession", COMPLETED, retried(1),
          rules=({"call": PUT, "applied": True, "times": 1, "error": "DynamoDB.SdkClientException",
                  "message": "Unable to execute HTTP request: Connection reset"},)),
    Fault("Event delivered twice", "while the agent works", COMPLETED, AT_ONCE,
          detail=WORKS, meet=then(lambda run: (run.start(), run.go()))),
    Fault("Event delivered 10 times", "at once", COMPLETED, AT_ONCE, meet=ten_at_once),
]  # fmt: skip
