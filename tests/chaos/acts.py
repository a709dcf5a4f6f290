"""What the test itself does to sessions, so that they meet their faults."""

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from tests.chaos.agents import SKEW
from tests.chaos.matrix import Item, Run
from tests.support import is_alive, parent_of
from vigil.errors import SessionEnded
from vigil.names import Output
from vigil.session import Status


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
        assert run.fault.end.status == Status.COMPLETED


def ten_at_once(run: Run) -> None:
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: run.start(), range(10)))


def kill_runtime(how: signal.Signals) -> Callable[[Run], None]:
    """Send a signal to the runtime, and let the next attempt come to its end."""

    def send(run: Run) -> None:
        processes = run.worker, parent_of(run.worker)
        os.kill(processes[1], how)
        run.until(lambda: not any(map(is_alive, processes)))
        run.go()

    return then(send)


def kill_worker_and(rule: Item) -> Callable[[Run], None]:
    """Kill the worker, after which calls meet ``rule``, and let the next attempt come to its end."""

    def kill(run: Run) -> None:
        worker = run.worker
        run.arm(rule)
        os.kill(worker, signal.SIGKILL)
        run.until(lambda: not is_alive(worker))
        run.go()

    return then(kill)


def freeze_runtime(run: Run) -> None:
    """Stop the processes of the first attempt, and let them go on together with the second one."""
    processes = run.worker, parent_of(run.worker)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    run.until(lambda: run.record.get("attempt") == 2 and "heartbeat_at" in run.record)
    for process in processes:
        os.kill(process, signal.SIGCONT)
    run.go()


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
