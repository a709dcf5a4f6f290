"""How fast and how cheaply the end of a session is seen, beside the plain loop: ``python -m benchmarks.waiting``."""

import argparse
import json
import random
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from benchmarks.report import Report, machine, percentile
from benchmarks.virtual_time import Life, Walk, walk
from infra.workflow import definition
from vigil.attributes import iso
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Env, Output, Parameter
from vigil.session import RECORD_SK, Session, Status

SECONDS = {"safety": "300", "heartbeat": "30", "progress": "900", "session": "27000"}
DEFAULTS: Any = SimpleNamespace(**SECONDS, starts="25", attempts="3")
# Above the largest deadline, 28,500 s, so that sessions of 8 h can be compared.
UNBOUNDED: Any = SimpleNamespace(**{**vars(DEFAULTS), "session": "28800"})
SCALED: Any = SimpleNamespace(**{**vars(DEFAULTS), "safety": "3", "heartbeat": "1", "session": "300"})
LENGTHS = {"1 min": 60, "15 min": 900, "1 h": 3600, "8 h": 28_800}
EVENTS_LIMIT = 25_000

PRICES = "List prices of us-east-1, October 2025"
TRANSITION = 25e-6
WRITE_UNIT, READ_UNIT = 0.625e-6, 0.125e-6
LAMBDA_CALL = 0.2e-6 + 0.25 * 1 * 13.3334e-6  # one second of 256 MB, arm64
TOKEN_BYTES = 1024  # size of a task token on AWS; those of the embedded AWS are 36 bytes long


def loop(table: str, invoker: str, seconds: float) -> dict[str, Any]:
    """Return the state machine that is written everywhere: start, wait, look, decide, and so on."""
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "InvokeAgent",
        "States": {
            "InvokeAgent": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Arguments": {"FunctionName": invoker, "Payload": "{% $states.input %}"},
                "Assign": {"session_id": "{% $states.input.session_id %}"},
                "Next": "Wait",
            },
            "Wait": {"Type": "Wait", "Seconds": seconds, "Next": "GetStatus"},
            "GetStatus": {
                "Type": "Task",
                "Resource": "arn:aws:states:::dynamodb:getItem",
                "Arguments": {
                    "TableName": table,
                    "Key": {"PK": {"S": "{% $session_id %}"}, "SK": {"S": RECORD_SK}},
                    "ConsistentRead": True,
                },
                "Assign": {"status": "{% $states.result.Item.status.S %}"},
                "Next": "Decide",
            },
            "Decide": {
                "Type": "Choice",
                "Choices": [
                    {"Condition": f"{{% $status = '{Status.COMPLETED}' %}}", "Next": "Completed"},
                    {"Condition": f"{{% $status = '{Status.FAILED}' %}}", "Next": "Failed"},
                ],
                "Default": "Wait",
            },
            "Completed": {"Type": "Succeed"},
            "Failed": {"Type": "Fail"},
        },
    }


@dataclass
class Run:
    """One session that was run to its end."""

    session: Session
    started: datetime
    stopped: datetime
    history: list[dict[str, Any]]

    @property
    def latency(self) -> float:
        """Seconds from the terminal write to the end of the execution."""
        return (self.stopped - self._ended).total_seconds()

    @property
    def transitions(self) -> int:
        return sum("stateEnteredEventDetails" in event for event in self.history)

    def life(self, beat: float) -> Life:
        """What became of the session, for a walk of the same length."""
        invoked = next(
            event["timestamp"]
            for event in self.history
            if event.get("stateExitedEventDetails", {}).get("name") == "InvokeAgent"
        )
        invoked_after, ends = ((at - self.started).total_seconds() for at in (invoked, self._ended))
        return Life(invoked=invoked_after, first_beat=invoked_after + 1, beat=beat, ends=ends)

    @property
    def _ended(self) -> datetime:
        return datetime.fromisoformat(self.session.ended_at or "")


class Bench:
    """A local stack with the loop beside the workflow."""

    def __init__(self, stack: LocalStack, loop_seconds: float) -> None:
        self._stack = stack
        self._sfn = stack.client("stepfunctions")
        self._journal = Deployment(stack.session()).journal
        self._table = stack.session().resource("dynamodb").Table(stack.outputs[Output.TABLE])
        self.ours: str = stack.outputs[Output.STATE_MACHINE]
        found = self._sfn.describe_state_machine(stateMachineArn=self.ours)
        self.loop: str = self._sfn.create_state_machine(
            name="loop",
            roleArn=found["roleArn"],
            definition=json.dumps(loop(self._table.name, stack.outputs[Output.INVOKER], loop_seconds)),
        )["stateMachineArn"]

    def run(self, machine_arn: str, seconds: float) -> Run:
        """Run a session that works ``seconds`` to its end."""
        session_id = str(uuid.uuid4())
        if machine_arn == self.loop:
            # Whatever starts a loop writes the record first.
            now = iso(datetime.now().astimezone())
            record = {"status": Status.INITIATED, "start_time": now, "created_at": now}
            self._table.put_item(Item={"PK": session_id, "SK": RECORD_SK, **record})
        arn = self._sfn.start_execution(
            stateMachineArn=machine_arn,
            input=json.dumps({"session_id": session_id, "detail": {"seconds": seconds}}),
        )["executionArn"]
        time.sleep(seconds)
        while (execution := self._sfn.describe_execution(executionArn=arn))["status"] == "RUNNING":
            time.sleep(0.5)
        if execution["status"] != "SUCCEEDED":
            raise RuntimeError(f"{execution['status']}: {execution.get('error')} {execution.get('cause')}")
        pages = self._sfn.get_paginator("get_execution_history").paginate(executionArn=arn)
        history = [event for page in pages for event in page["events"]]
        return Run(self._journal.get(session_id), execution["startDate"], execution["stopDate"], history)

    def record_bytes(self, session_id: str) -> int:
        """Return the size of a session's record, with a token as long as those of AWS."""
        item = self._table.get_item(Key={"PK": session_id, "SK": RECORD_SK})["Item"]
        return sum(len(name) + len(str(value)) for name, value in {**item, "task_token": "x" * TOKEN_BYTES}.items())


def started(timing: Any) -> LocalStack:
    """Start a local stack that is as patient as ``timing`` says."""
    return LocalStack.start(
        agent_environment={Env.AGENT: "benchmarks.agents:works"},
        parameters={
            Parameter.SAFETY_SECONDS: timing.safety,
            Parameter.HEARTBEAT_SECONDS: timing.heartbeat,
            Parameter.MAX_SESSION_SECONDS: timing.session,
        },
        sample_account=False,
    )


def measure_latency(bench: Bench, sessions: int) -> dict[str, list[float]]:
    """Run as many sessions of each kind, of 1 to 11 s, and return how long after each its execution ended."""
    lengths = [random.uniform(1, 11) for _ in range(sessions)]
    with ThreadPoolExecutor(8) as pool:
        # In turn, so that whatever slows one kind down slows down the other.
        runs = [[pool.submit(bench.run, machine, s) for machine in (bench.ours, bench.loop)] for s in lengths]
        ours, plain = zip(*([run.result().latency for run in pair] for pair in runs), strict=True)
    return {"Vigil": list(ours), "loop of 10 s": list(plain)}


def computed(seconds: float) -> tuple[Walk, Walk]:
    """Return walks of a session of that length: ours, and the loop's."""
    ours = definition("sessions", "invoker", "runtime", UNBOUNDED)
    return walk(ours, Life(ends=seconds)), walk(loop("sessions", "invoker", 10), Life(ends=seconds))


def dollars(done: Walk, seconds: float, units: int, *, beats: bool) -> dict[str, float]:
    """Return what a session costs; ``units`` are the write units of its record with a token."""
    # Creating the record writes to the table and to both indexes. A change of its status writes once more, since it
    # moves the record to another place in the index by status. Heartbeats and tokens are in no index.
    writes: float = 3 + 2 * (units + 3)
    heartbeat_units = (seconds // 30 + 1) * units if beats else 0
    writes += done.events.count("TaskSubmitted") * units + heartbeat_units
    return {
        "Step Functions": done.transitions * TRANSITION,
        "DynamoDB": writes * WRITE_UNIT + done.states.count("CheckStatus" if beats else "GetStatus") * READ_UNIT,
        "heartbeats": heartbeat_units * WRITE_UNIT,
        "Lambda": LAMBDA_CALL,
    }


def tell_latency(report: Report, latency: dict[str, list[float]]) -> None:
    columns = "sessions", "mean", "p50", "p95", "p99", "most"
    report.table(
        ("Seconds from the terminal write to the end of the execution", *columns),
        (
            (name, len(v), *(f"{x:.2f}" for x in (sum(v) / len(v), *(percentile(v, p) for p in (0.5, 0.95, 0.99, 1)))))
            for name, v in latency.items()
        ),
    )


def tell_counts(report: Report) -> None:
    def rows() -> Iterable[Iterable[object]]:
        for name, seconds in LENGTHS.items():
            ours, plain = computed(seconds)
            beyond = " (past the limit)" if len(plain.events) > EVENTS_LIMIT else ""
            yield (
                name,
                *(f"{count:,}" for count in (ours.transitions, plain.transitions, len(ours.events))),
                f"{len(plain.events):,}{beyond}",
            )

    report.table(("Session", "transitions: Vigil", "loop of 10 s", "history events: Vigil", "loop of 10 s"), rows())


def tell_check(report: Report, runs: Iterable[tuple[str, Run, dict[str, Any], float]]) -> None:
    def rows() -> Iterable[Iterable[object]]:
        for name, run, walked, beat in runs:
            expected = walk(walked, run.life(beat))
            yield name, expected.transitions, run.transitions, expected.embedded_events, len(run.history)

    report.table(
        ("Session that was run", "transitions: computed", "counted", "events here: computed", "counted"), rows()
    )


def tell_dollars(report: Report, record_bytes: int) -> None:
    def rows() -> Iterable[Iterable[object]]:
        for name, seconds in LENGTHS.items():
            ours, plain = computed(seconds)
            for kind, cost in (
                ("Vigil", dollars(ours, seconds, -(-record_bytes // 1024), beats=True)),
                ("loop of 10 s", dollars(plain, seconds, 1, beats=False)),
            ):
                total = sum(value for part, value in cost.items() if part != "heartbeats")
                yield name, kind, *(f"${1000 * value:,.2f}" for value in (*cost.values(), total))

    report.table(("1,000 sessions", "", "Step Functions", "DynamoDB", "of it heartbeats", "Lambda", "together"), rows())


def main() -> None:
    """Measure, compute, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--sessions", type=int, default=100, help="how many of each kind to time")
    parser.add_argument("--long", type=int, default=288, help="seconds of the long session, 1/100 of its real length")
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    arguments = parser.parse_args()
    report = Report("waiting")
    report.say(machine())
    with started(DEFAULTS) as stack, ThreadPoolExecutor() as pool:
        bench = Bench(stack, 10)
        minute = [pool.submit(bench.run, machine_arn, 60) for machine_arn in (bench.ours, bench.loop)]
        latency = measure_latency(bench, arguments.sessions)
        minutes = [run.result() for run in minute]
        record_bytes = bench.record_bytes(minutes[0].session.session_id)
    tell_latency(report, latency)
    tell_counts(report)
    with started(SCALED) as stack, ThreadPoolExecutor() as pool:
        bench = Bench(stack, 1)
        long = list(pool.map(bench.run, (bench.ours, bench.loop), [arguments.long] * 2))
    ours, scaled = (definition("sessions", "invoker", "runtime", timing) for timing in (DEFAULTS, SCALED))
    tell_check(
        report,
        [
            ("Vigil, 1 min", minutes[0], ours, 30),
            ("loop of 10 s, 1 min", minutes[1], loop("sessions", "invoker", 10), 30),
            (f"Vigil, {arguments.long} s, a hundred times as fast", long[0], scaled, 1),
            (f"loop of 1 s, {arguments.long} s", long[1], loop("sessions", "invoker", 1), 1),
        ],
    )
    tell_dollars(report, record_bytes)
    report.say(
        f"{PRICES}, without free tiers: $25 per million transitions, $0.625 and $0.125 per million write and read"
        f" units, $0.20 per million calls of Lambda and $13.33 per million GB-seconds. A record is {record_bytes:,}"
        f" bytes with a task token of {TOKEN_BYTES:,}: {-(-record_bytes // 1024)} write units."
    )
    if arguments.write:
        report.write()


if __name__ == "__main__":
    main()
