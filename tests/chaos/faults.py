"""The faults: what goes wrong, when, and how the session must end. ``docs/faults.md`` shows them as a table."""

import json
import math
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

from tests.chaos.agents import SKEW
from tests.chaos.matrix import LAMBDA_TIMEOUT, OUTAGE, Bound, End, Fault, Item, Run
from tests.support import is_alive, parent_of
from vigil.errors import SessionEnded
from vigil.names import Output

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


def failed(code: str, says: str, step: str = "none") -> End:
    return End("FAILED", code, says, step)


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


def writes(status: str) -> Item:
    """The worker's write of ``status``; heartbeats do not match."""
    return {"call": JOURNAL, "body": rf'":status":\s*{{"S":\s*"{status}"'}


def hangs(call: str, **how: bool) -> Item:
    """One task that has no end for as long as anybody could wait."""
    return {"call": call, "times": 1, "delay": 600, "error": "TooLate", "message": "nobody waits for this", **how}


WORKS = {"agent": "works"}
KILLED = failed("AgentCrashed", "signal SIGKILL")
LATE = failed("DeadlineExceeded", "did not end by its deadline", WORK)
STOPPED = failed("StoppedByOperator", "it costs too much", WORK)
SILENT = failed("AgentLost", "the agent sent no heartbeat after it was invoked")
AGAIN = {"toolUse": {"toolUseId": "again", "name": "journal_set_status", "input": {"status": "BUSY"}}}
STEP = {
    **{"output": {"message": {"role": "assistant", "content": [AGAIN]}}, "stopReason": "tool_use"},
    **{"usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}, "metrics": {"latencyMs": 0}},
}


# What the test itself does to a session.


def then(act: Callable[[Run], Any]) -> Callable[[Run], None]:
    """Let the agent work and the workflow wait; then act."""

    def meet(run: Run) -> None:
        run.wait()
        run.met()
        act(run)

    return meet


def delete(run: Run) -> None:
    run.stage.workflow.table.delete_item(Key=run.stage.workflow.key(run.session_id))


def overwrite(name: str, value: str) -> Callable[[Run], None]:
    def write(run: Run) -> None:
        run.stage.workflow.table.update_item(
            Key=run.stage.workflow.key(run.session_id),
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": value},
        )

    return write


def finish_with_a_stale_token(run: Run) -> None:
    overwrite("task_token", "a-token-of-long-ago")(run)
    run.go()


def finish_when_it_waits(run: Run) -> None:
    run.wait()
    run.go()


def finish_during(rule: Item) -> Callable[[Run], None]:
    def break_and_finish(run: Run) -> None:
        # Just after a heartbeat: so the outage costs no more than two of the four that may be missing.
        last = run.record["heartbeat_at"]
        run.until(lambda: run.record["heartbeat_at"] != last)
        run.arm(rule)
        run.met()
        run.go()

    return break_and_finish


def abort(run: Run) -> None:
    run.stage.workflow.sfn.stop_execution(executionArn=run.executions[0])


def stop(run: Run) -> None:
    run.stage.deployment.stop(run.session_id, "it costs too much")


def stop_when_it_completes(run: Run) -> None:
    """Stop the session while the worker's write of COMPLETED is under way."""
    (number,) = run.rules
    run.go()
    run.until(lambda: run.stage.chaos()[number])
    try:
        stop(run)
    except SessionEnded:
        assert run.fault.end == COMPLETED


def ten_at_once(run: Run) -> None:
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: run.start(), range(10)))


def kill_runtime(how: signal.Signals) -> Callable[[Run], None]:
    def send(run: Run) -> None:
        runtime = parent_of(run.worker)
        os.kill(runtime, how)
        run.until(lambda: not is_alive(runtime))

    return then(send)


def denied(run: Run) -> None:
    """Start without the right to create sessions in the workflow's role, and give it back at the end."""
    iam, machine = run.stage.stack.client("iam"), run.stage.workflow.outputs[Output.STATE_MACHINE]
    role = run.stage.workflow.sfn.describe_state_machine(stateMachineArn=machine)["roleArn"].rpartition("/")[2]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]

    def allow(statements: list[Item]) -> None:
        policy = json.dumps({**document, "Statement": statements})
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=policy)

    allow([statement for statement in document["Statement"] if statement["Action"] != "dynamodb:PutItem"])
    try:
        start_and_end(run)
    finally:
        allow(document["Statement"])


def throttled(run: Run) -> None:
    """Start while the function may not run at all, until that has been noticed."""
    awslambda, name = run.stage.stack.client("lambda"), run.stage.workflow.outputs[Output.INVOKER]
    awslambda.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        run.start()
        (arn,) = run.executions

        def task_failed() -> bool:
            history = run.stage.workflow.sfn.get_execution_history(executionArn=arn)["events"]
            return any(event["type"] == "TaskFailed" for event in history)

        run.until(task_failed)
    finally:
        awslambda.delete_function_concurrency(FunctionName=name)


def start_and_end(run: Run) -> None:
    run.start()
    run.until(lambda: run.ended)


def see_a_fast_clock(run: Run) -> None:
    """Start, and see that the record was ended by that clock, minutes after the workflow was."""
    run.begin()
    run.until(lambda: run.ended)
    execution = run.stage.workflow.sfn.describe_execution(executionArn=run.executions[0])
    ahead = datetime.fromisoformat(run.record["ended_at"]) - execution["stopDate"]
    assert ahead > SKEW / 2, f"the worker's clock was {ahead} ahead"


def start(run: Run) -> None:
    """Start, and wait for nothing: no agent will."""
    with run.stage.starting:
        run.start()


# The longest first, so that all end soon.
FAULTS = [
    # On a stack of its own, one after another.
    Fault("Runtime process killed", "SIGKILL while the agent works", failed("AgentLost", "no heartbeat", WORK), LOST,
          detail=WORKS, meet=kill_runtime(signal.SIGKILL), apart=True),
    Fault("Runtime shut down", "SIGTERM while the agent works", failed("AgentStopped", "was shut down", WORK), AT_ONCE,
          detail=WORKS, meet=kill_runtime(signal.SIGTERM), apart=True),
    Fault("Worker hangs in a tool", "from the first call",
          failed("AgentLost", "last seen at: tool look_away", "tool look_away"), STUCK,
          detail={"agent": "hangs"}, apart=True),
    Fault("Worker frozen", "SIGSTOP before the agent's first step", failed("AgentLost", "made no progress"), STUCK,
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
    Fault("Lambda function answers rubbish", "and has not invoked the agent", SILENT, FIRST_CHECK,
          detail={"lambda": "answers rubbish"}, meet=start, apart=True),
    Fault("Lambda throttles the function", "reserved concurrency 0 at first", COMPLETED, exactly("20 s", 20),
          meet=throttled, apart=True),
    Fault("Workflow's role may not PutItem", "InitializeSession",
          failed("DynamoDB.AmazonDynamoDBException", "not authorized to perform: dynamodb:PutItem"), AT_ONCE,
          meet=denied, apart=True),
    # Together on one stack, each known by its session.
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
    Fault("DynamoDB throttles for ever", "every call of the agent", SILENT, FIRST_CHECK,
          rules=({"call": JOURNAL, **THROTTLED},), meet=start),
    Fault("DynamoDB denies", "every call of the agent", SILENT, FIRST_CHECK,
          rules=({"call": JOURNAL, **REFUSED},), meet=start),
    Fault("PutItem throttled for ever", "InitializeSession",
          failed("DynamoDB.ProvisionedThroughputExceededException", BUSY_TABLE), RETRIED_WRITE,
          rules=({"call": PUT, **TASK_THROTTLED, "hurry": HURRY},), meet=start),
    Fault("AgentCore answers 500 for ever", "InvokeAgentRuntime",
          failed("AgentUnavailable", "InternalServerException"), RETRIED_INVOCATION,
          rules=({"call": INVOKE, "status": 500, "error": "InternalServerException",
                  "message": "An internal error occurred", "hurry": HURRY},), meet=start),
    Fault("Accepted, but no agent is started", "InvokeAgentRuntime", SILENT, FIRST_CHECK,
          rules=({"call": INVOKE, "times": 1, "answer": '{"status": "accepted"}'},), meet=start),
    Fault("Status unknown", "written by hand while the agent works",
          failed("UnknownStatus", "a status that Vigil does not know", WORK), NEXT_LOOK,
          detail=WORKS, meet=then(overwrite("status", "DONE"))),
    Fault("Deadline passes", "the agent works on", LATE, AT_DEADLINE, detail={**WORKS, "deadline_seconds": GIVEN}),
    Fault("Model calls tools for ever", "every Converse", replace(LATE, step=f"{MODEL} or {SET_STATUS} or none"),
          AT_DEADLINE, detail={"deadline_seconds": GIVEN},
          rules=({"call": CONVERSE, "answer": json.dumps(STEP), "delay": 0.5},)),
    Fault("StopRuntimeSession denied", "at the deadline; the worker goes by its next heartbeat", LATE, AT_DEADLINE,
          rules=({"call": STOP, "error": "BedrockAgentCore.AccessDeniedException", "message": DENIED},),
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
    Fault("Worker killed before BUSY", "SIGKILL as it sets BUSY", KILLED, AT_ONCE,
          rules=({**writes("BUSY"), "times": 1, "kill": True},)),
    Fault("Worker killed after BUSY", "SIGKILL", KILLED, AT_ONCE,
          rules=({**writes("BUSY"), "times": 1, "applied": True, "kill": True},)),
    Fault("Worker killed after the report", "SIGKILL when the report is saved",
          replace(KILLED, step="tool storage_write"), AT_ONCE,
          rules=({"call": REPORT, "times": 1, "applied": True, "kill": True},)),
    Fault("Worker killed before COMPLETED", "SIGKILL as it sets COMPLETED", replace(KILLED, step=SET_STATUS), AT_ONCE,
          rules=({**writes("COMPLETED"), "times": 1, "kill": True},)),
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
          rules=({"call": INVOKE, "status": 429, "error": "ThrottlingException", "message": "Rate exceeded",
                  "times": 3},)),
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
