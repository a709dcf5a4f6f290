"""Runs one session for each fault; reports how each ended and which promises were broken."""

import io
import json
import threading
import time
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.chaos import agents, server
from tests.support import Workflow, ask, is_alive, let_go, runtimes, until
from vigil.deployment import Deployment
from vigil.local.deploy import PROJECT, synthesize
from vigil.local.stack import STATE, LocalStack
from vigil.names import Env, Output, Parameter
from vigil.session import RECORD_SK, TERMINAL, Status
from vigil.trace import Trace

HEARTBEAT = 10
SAFETY = 10
PROGRESS = 20
"""On the stack of faults that sessions share; on the other, sessions must outlive outages as long as this."""
OUTAGE = 20
DEADLINE = 300
MARGIN = 90
"""Seconds that the work itself may take beyond what is promised, on a busy machine that runs all faults at once."""
STARTING = 5
"""How many sessions may be starting at once: this is about faults, not about load."""
LOOK_SECONDS = 1.0
LAMBDA_TIMEOUT = 10
WORK_STEP = 2
"""Number of the step in which the agent ``works`` works."""

Item = dict[str, Any]


@dataclass(frozen=True)
class End:
    """How a session must end, or did."""

    status: str
    code: str = ""
    says: str = ""
    """The error's message; of a promise, a part of it."""
    step: str = "none"
    """The step that ran when the session ended, as its trace tells; of a promise, or one of several such steps."""
    attempts: int = 1

    def __str__(self) -> str:
        return " ".join(filter(None, (self.status, self.code)))


@dataclass(frozen=True)
class Bound:
    """Within how long a session must end once the fault is there, of Safety-, Heartbeat- and ProgressSeconds."""

    formula: str
    of: Callable[[int, int, int], float]
    """Of one attempt."""
    strikes: int = 1
    """How many attempts the fault ends."""

    @property
    def seconds(self) -> float:
        """The bound here."""
        return self.strikes * self.of(SAFETY, HEARTBEAT, PROGRESS)

    def __str__(self) -> str:
        return self.formula if self.strikes == 1 else f"{self.strikes} × ({self.formula})"


@dataclass(frozen=True)
class Fault:
    """One row of the matrix."""

    name: str
    when: str
    end: End
    within: Bound
    rules: tuple[Item, ...] = ()
    detail: Item = field(default_factory=dict)
    meet: "Callable[[Run], None]" = lambda run: run.begin()
    """Starts the session and does to it what the rules cannot; returns when the fault is there."""
    apart: bool = False
    """Belongs on the stack where faults break what sessions share, and so are put in place one after another."""


@dataclass(frozen=True)
class FaultOutcome:
    """What became of a fault's session."""

    fault: Fault
    end: End
    seconds: float
    problems: list[str]


class Stage:
    """A local stack on which sessions meet faults."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.workflow = Workflow(stack)
        self.deployment = Deployment(stack.session())
        self.s3 = stack.client("s3")
        self.starting = threading.Semaphore(STARTING)
        self.sessions: set[str] = set()
        self._lock = threading.Lock()
        self._looked = 0.0
        self._seen: tuple[dict[str, Item], dict[str, str]] = ({}, {})

    def look(self) -> tuple[dict[str, Item], dict[str, str]]:
        """Return ({session id: record}, {execution ARN: status}), as they were a moment ago: one look for all."""
        with self._lock:
            if time.monotonic() > self._looked + LOOK_SECONDS:
                scan = self.workflow.table.meta.client.get_paginator("scan")
                pages = scan.paginate(TableName=self.workflow.table.name, ConsistentRead=True)
                items = [item for page in pages for item in page["Items"]]
                machine = self.workflow.outputs[Output.STATE_MACHINE]
                executions = self.workflow.sfn.list_executions(stateMachineArn=machine)["executions"]
                self._seen = (
                    {item["PK"]: item for item in items if item["SK"] == RECORD_SK},
                    {execution["executionArn"]: execution["status"] for execution in executions},
                )
                self._looked = time.monotonic()
            return self._seen

    def chaos(self, rule: Item | None = None) -> Any:
        """Arm a rule, or learn how often each was met."""
        body = None if rule is None else json.dumps(rule).encode()
        with urllib.request.urlopen(self.stack.endpoint + server.PATH, data=body, timeout=30) as answer:
            return json.load(answer)

    def leftovers(self) -> list[str]:
        """Return what is still there that no session needs any more."""
        until(lambda: time.monotonic() > self._looked + LOOK_SECONDS)
        records, executions = self.look()
        left = [f"{arn} is RUNNING" for arn, status in executions.items() if status == "RUNNING"]
        left += [f"session {strange} was never started" for strange in records.keys() - self.sessions]
        # A runtime answers for a moment after its session.
        with suppress(AssertionError):
            until(lambda: not runtimes(self.stack), MARGIN)
        return left + [f"runtime {pid}" for pid in runtimes(self.stack)]


class Run:
    """One session on its way into a fault."""

    def __init__(self, stage: Stage, fault: Fault) -> None:
        self.stage = stage
        self.fault = fault
        self.session_id = str(uuid.uuid4())
        stage.sessions.add(self.session_id)
        self.since = 0.0
        self.executions: list[str] = []
        self.rules: dict[int, Item] = {}
        self.problems: list[str] = []
        self.missed = 0  # how many rules no call has met

    # What a fault's ``meet`` may do.

    def start(self) -> None:
        """Start an execution as the rule does."""
        self.since = self.since or time.monotonic()
        # The id in the detail lets rules know the session's calls of its model.
        detail = {**self.fault.detail, "session": self.session_id}
        self.executions.append(self.stage.workflow.start(self.session_id, detail=detail)[1])

    def begin(self) -> None:
        """Start, and wait until the agent shows that it lives."""
        with self.stage.starting:
            self.start()
            self.until(lambda: "heartbeat_at" in self.record or self.ended)

    def wait(self) -> None:
        """Start, and wait until the agent works and the workflow waits for it."""
        with self.stage.starting:
            self.start()
            seen = ("heartbeat_at", "task_token")
            self.until(lambda: self.record.get("step_count") == WORK_STEP and all(map(self.record.get, seen)))

    def go(self) -> None:
        """Let an agent that works come to its end."""
        let_go(self.stage.workflow.table, self.session_id)

    def arm(self, rule: Item) -> None:
        """Have the session's calls go wrong."""
        self.rules[self.stage.chaos({"session": self.session_id, **rule})["rule"]] = rule

    def met(self) -> None:
        """Say that the fault is there now, and not since the start."""
        self.since = time.monotonic()

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something that the promise allows for."""
        until(condition, self.fault.within.seconds + MARGIN)

    @property
    def record(self) -> Item:
        """The session's record as it was a moment ago; empty if there was none."""
        return self.stage.look()[0].get(self.session_id, {})

    @property
    def worker(self) -> int:
        """The process of the first attempt, which writes its id some time after the session's record is BUSY."""
        written = self._workers / "1"
        self.until(lambda: written.exists() and written.read_text())
        return int(written.read_text())

    @property
    def _workers(self) -> Path:
        return self.stage.stack.folder / agents.WORKERS / self.session_id

    @property
    def ended(self) -> bool:
        """Whether the session and its executions have ended."""
        executions = self.stage.look()[1]
        return self.record.get("status") in TERMINAL and all(
            executions.get(arn, "RUNNING") != "RUNNING" for arn in self.executions
        )

    # What the matrix does with it.

    def place(self) -> None:
        """Start the session and put its fault in place."""
        for rule in self.fault.rules:
            self.arm(rule)
        try:
            self.fault.meet(self)
        except AssertionError as error:
            self.problems.append(str(error))

    def judge(self) -> FaultOutcome:
        """Wait for the session's end and judge it."""
        try:
            self.until(lambda: self.ended)
        except AssertionError as error:
            self.problems.append(str(error))
        seconds = time.monotonic() - self.since
        record = self.record
        error = record.get("error", {})
        step = running_step(Trace.read(self.stage.deployment, self.session_id)) if record else "no record"
        attempts = int(record.get("attempt", 1))
        end = End(record.get("status", "no record"), error.get("code", ""), error.get("message", ""), step, attempts)
        self.problems += self._broken_promises(end, seconds)
        return FaultOutcome(self.fault, end, seconds, self.problems)

    def _broken_promises(self, end: End, seconds: float) -> Iterator[str]:
        promised = self.fault.end
        if (end.status, end.code) != (promised.status, promised.code) or promised.says not in end.says:
            yield f"it ended {end}: {end.says!r}"
        if end.step not in promised.step.split(" or "):
            yield f"its trace says that it ended in step: {end.step}"
        ended = [attempt["code"] for attempt in self.record.get("attempts", [])]
        if end.attempts != promised.attempts or len(ended) != end.attempts - 1:
            yield f"it had {end.attempts} attempts, of which the first ended {ended}"
        if seconds > self.fault.within.seconds + MARGIN:
            yield f"it ended after {seconds:.0f} s"
        for arn in self.executions:
            execution = self.stage.workflow.sfn.describe_execution(executionArn=arn)
            how = (execution["status"], execution.get("error", ""))
            if arn != self.record.get("execution_arn"):
                expected = [("FAILED", "DuplicateSession")]
            elif end.code == "WorkflowEnded":
                expected = [how] if how[0] in ("FAILED", "ABORTED") else []
            else:
                expected = [("SUCCEEDED", "") if end.status == Status.COMPLETED else ("FAILED", end.code)]
            if how not in expected:
                yield f"its execution ended {how}: {execution.get('cause')!r}"
        met = self.stage.chaos() if self.rules else []
        for number, rule in self.rules.items():
            if not met[number] or met[number] != rule.get("times", met[number]):
                self.missed += not met[number]
                yield f"{rule} was met {met[number]} times"
        workers = [int(file.read_text()) for file in self._workers.glob("*")]
        with suppress(AssertionError):
            until(lambda: not any(map(is_alive, workers)), HEARTBEAT + MARGIN)
        yield from (f"its worker {pid} lives on" for pid in filter(is_alive, workers))


def running_step(trace: Trace) -> str:
    """Return the step that ran when the session ended, or the one before it if that had failed."""
    if trace.steps_at_end:
        return ", ".join(f"{step.kind} {step.name}" for step in trace.steps_at_end)
    last = trace.steps[-1] if trace.steps else None
    return f"none after {last.kind} {last.name} failed" if last and last.state == "FAILED" else "none"


class _Broken(LocalStack):
    SERVER = server.__name__


@contextmanager
def stages(kinds: Collection[bool]) -> Iterator[dict[bool, Stage]]:
    """Start the stack of the sessions' own faults (False), and the one of those that sessions share (True)."""
    synthesize(PROJECT / STATE / "synth")
    limits = {Parameter.SAFETY_SECONDS: SAFETY, Parameter.MAX_SESSION_SECONDS: DEADLINE}
    environment = {Env.AGENT: f"{agents.__name__}:chosen", Env.MAX_WORKERS: "100"}

    def start(progress: int) -> Stage:
        seconds = {**limits, Parameter.HEARTBEAT_SECONDS: HEARTBEAT, Parameter.PROGRESS_SECONDS: progress}
        given = {name: str(value) for name, value in seconds.items()}
        return Stage(_Broken.start(agent_environment=environment, parameters=given, sample_account=False))

    with ThreadPoolExecutor() as pool:
        # An outage may be followed by the longest pause between two tries.
        started = {apart: pool.submit(start, PROGRESS if apart else 2 * OUTAGE + MARGIN) for apart in kinds}
    try:
        found = {apart: stage.result() for apart, stage in started.items()}
        if True in found:
            _break_invoker(found[True].stack)
        yield found
    finally:
        for stage in started.values():
            if stage.exception() is None:
                stage.result().stack.stop()


def _perform(stage: Stage, fault: Fault) -> tuple[Run, FaultOutcome]:
    """Let a session meet a fault; another one if the call that was to fail was not made.

    On a busy machine, the workflow may look and stop the agent just before the agent wakes it.
    """
    for tries_left in (2, 1, 0):
        run = Run(stage, fault)
        run.place()
        outcome = run.judge()
        if not tries_left or not run.missed or len(outcome.problems) > run.missed:
            break
    return run, outcome


def run(faults: Sequence[Fault]) -> tuple[list[FaultOutcome], list[str]]:
    """Let a session meet each fault, all at once; return how each ended, and what was left behind."""
    with stages({fault.apart for fault in faults}) as started:
        with ThreadPoolExecutor(len(faults)) as pool:
            ends = {fault.name: pool.submit(_perform, started[False], fault) for fault in faults if not fault.apart}
            for fault in faults:
                if fault.apart:
                    run = Run(started[True], fault)
                    run.place()
                    ends[fault.name] = pool.submit(lambda run=run: (run, run.judge()))
        runs, outcomes = map(list, zip(*(ends[fault.name].result() for fault in faults), strict=True))
        left = [left for stage in started.values() for left in stage.leftovers()]
        for run, outcome in zip(runs, outcomes, strict=True):
            if run.record.get("status") != outcome.end.status:
                left.append(f"session {run.session_id} did not stay {outcome.end.status}")
        folders = [stage.stack.folder for stage in started.values()]
    return outcomes, left + [f"process {pid} of {_command(pid)}" for pid in _processes_of(folders)]


def _break_invoker(stack: LocalStack) -> None:
    """Wrap the handler of the invoker, and give it less time, so that it can be out of it."""
    awslambda, name = stack.client("lambda"), stack.outputs[Output.INVOKER]
    location = awslambda.get_function(FunctionName=name)["Code"]["Location"]
    package = io.BytesIO(ask(stack, "GET", urlsplit(location).path)[1])
    with zipfile.ZipFile(package, "a") as archive:
        archive.write(Path(__file__).with_name("invoker.py"), "broken.py")
    awslambda.update_function_code(FunctionName=name, ZipFile=package.getvalue())
    awslambda.update_function_configuration(FunctionName=name, Handler="broken.handler", Timeout=LAMBDA_TIMEOUT)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _processes_of(folders: Sequence[Path]) -> list[int]:
    """Return the processes that keep their files in one of ``folders``: all that a stack has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = path.read_text(errors="replace").split("\0")
        except OSError:
            continue
        if any(f"TMPDIR={folder}" in environment for folder in folders):
            found.append(int(path.parts[2]))
    return found
