"""Kills the agents of sessions at each of their calls of AWS, and checks that each session ends as if nobody had."""

import json
import random
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from boto3.dynamodb.conditions import Attr, Key

from tests.kills import server
from tests.kills.server import FROZEN, RUNTIME, WORKER, Plan, Strike
from tests.support import Workflow, is_alive, runtimes, until
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Parameter
from vigil.session import HISTORY_PK_PREFIX, RECORD_SK, Status
from vigil.step import Operation

AT_ONCE = 8  # sessions
HEARTBEAT = 5
"""Long for a laptop: an agent that is slow, since many run at once, must not be taken for a lost one."""
TIMING = {Parameter.HEARTBEAT_SECONDS: str(HEARTBEAT), Parameter.SAFETY_SECONDS: str(HEARTBEAT)}
LOOK_SECONDS = 0.5
SECONDS = 300  # the longest that a session may take

DETAIL = {"days": 7, "functions": "orders-*"}
"""Half of the default, with the same findings: most of a session's time is reading the log lines of each day."""

Item = dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """A session that nobody disturbed."""

    calls: list[str]  # what its worker has changed, in order
    seconds: float  # from its worker's first call to its last
    findings: str
    artifacts: list[str]
    phases: list[tuple[str, str]]
    models: int  # how many model calls it made
    tools: list[str]  # the tools that it called, in order


@dataclass(frozen=True)
class Verdict:
    """What became of a session whose attempts were struck."""

    strikes: Sequence[Strike]
    struck: int  # how many strikes have hit
    seconds: float
    problems: list[str]


class _Killing(LocalStack):
    SERVER = server.__name__


class Proof:
    """A local stack on which sessions of the cost agent are struck."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.workflow = Workflow(stack)
        self.deployment = Deployment(stack.session())
        self.reference = self._refer()

    def at_calls(self) -> list[list[Strike]]:
        """Return every way to strike the first attempt once: each victim, before and after each call."""
        return [
            [Strike(victim, call, applied, deaf=deaf)]
            for call in range(len(self.reference.calls))
            for applied in (False, True)
            for victim, deaf in ((WORKER, False), (RUNTIME, False), (RUNTIME, True), (FROZEN, True))
        ]

    def at_random(self, rng: random.Random, count: int) -> Iterator[list[Strike]]:
        """Yield the strikes of ``count`` sessions whose worker or runtime is killed at two random times."""
        for _ in range(count):
            first = rng.uniform(0, self.reference.seconds)
            second = rng.uniform(0, self.reference.seconds - first)
            yield [Strike(rng.choice((WORKER, RUNTIME)), after=after) for after in (first, second)]

    def describe(self, strikes: Sequence[Strike]) -> str:
        """Return the strikes of a session for a person."""
        return ", then ".join(
            f"{strike.victim} after {strike.after:.2f} s"
            if strike.after is not None
            else f"{strike.victim} {'after' if strike.applied else 'before'} call {strike.call}"
            f" ({self.reference.calls[strike.call]}){', no stop' if strike.deaf else ''}"
            for strike in strikes
        )

    def judge(self, strikes: Sequence[Strike]) -> Verdict:
        """Run a session, and strike its attempts."""
        began = time.monotonic()
        session_id, arn = self._start(strikes)
        problems = []
        try:
            self._wait(session_id, arn)
            problems += self._problems(session_id, arn)
            problems += self._thaw(session_id) if any(strike.victim == FROZEN for strike in strikes) else []
        except AssertionError as error:
            problems.append(f"it did not end: {error}")
        return Verdict(strikes, self._seen(session_id)["struck"], time.monotonic() - began, problems)

    def leftovers(self) -> list[int]:
        """Return the processes of agents that still run when all sessions have ended."""
        with suppress(AssertionError):
            # A runtime answers for a moment after its session.
            until(lambda: not runtimes(self.stack), SECONDS)
        return runtimes(self.stack)

    def _start(self, strikes: Sequence[Strike]) -> tuple[str, str]:
        session_id = str(uuid.uuid4())
        self._ask(server.PATH, asdict(Plan(session_id, list(strikes))))
        return self.workflow.start(session_id, detail=DETAIL)

    def _refer(self) -> Reference:
        began = time.monotonic()
        session_id, arn = self._start([])
        self._wait(session_id, arn)
        view, seen = self._view(session_id), self._seen(session_id)
        assert view["record"]["status"] == Status.COMPLETED, view["record"]
        return Reference(
            [call["what"] for call in seen["calls"]],
            time.monotonic() - began,
            self._findings(session_id),
            sorted(view["artifacts"]),
            list(map(_phase, view["phases"])),
            sum(step["operation"] == Operation.CHAT for step in view["steps"]),
            [step["name"] for step in view["steps"] if step["operation"] == Operation.EXECUTE_TOOL],
        )

    def _wait(self, session_id: str, arn: str) -> None:
        """Wait until the session and its execution have ended."""

        def ended() -> bool:
            time.sleep(LOOK_SECONDS)
            session = self.workflow.session(session_id)
            execution = self.workflow.sfn.describe_execution(executionArn=arn)
            return execution["status"] != "RUNNING" and session is not None and session.terminal

        until(ended, SECONDS)

    def _problems(self, session_id: str, arn: str) -> Iterator[str]:
        """Yield how the session differs from one that nobody disturbed."""
        view, seen, reference = self._view(session_id), self._seen(session_id), self.reference
        record, struck = view["record"], seen["struck"]
        if record["status"] != Status.COMPLETED:
            yield f"it ended {record['status']}: {record.get('error')}, {record.get('attempts')}"
            return
        execution = self.workflow.sfn.describe_execution(executionArn=arn)
        if execution["status"] != "SUCCEEDED":
            yield f"its execution ended {execution['status']}"
        # A worker may complete the session before it learns that its runtime was killed.
        may_complete = struck > 0 and seen["plan"][struck - 1]["victim"] == RUNTIME
        if len(record.get("attempts", ())) not in (struck, struck - may_complete):
            yield f"{struck} strikes have hit, and it had these attempts before the last: {record.get('attempts')}"
        if self._findings(session_id) != reference.findings:
            yield "its findings.json differs"
        if sorted(view["artifacts"]) != reference.artifacts:
            yield f"its artifacts are {sorted(view['artifacts'])}"
        phases = list(map(_phase, view["phases"]))
        if phases != reference.phases:
            yield f"its phases are {phases}"
        done = [step for step in view["steps"] if step["state"] == "COMPLETED"]
        tools = [step for step in done if step["operation"] == Operation.EXECUTE_TOOL]
        repeated = [call for call, count in Counter(step["call_id"] for step in tools).items() if count > 1]
        if repeated:
            yield f"completed tool calls were repeated: {repeated}"
        models = sum(step["operation"] == Operation.CHAT for step in view["steps"])
        if models > reference.models + struck:
            yield f"{models} model calls, and {reference.models} without {struck} kills"
        yield from self._late_writes(seen)

    def _late_writes(self, seen: Item) -> Iterator[str]:
        """Yield what a worker has changed after the next one had begun."""
        newest = 0
        for call in seen["calls"]:
            newest = max(newest, call["attempt"])
            # An object alone is nothing that a reader sees, and neither is an answer of the model.
            if call["attempt"] < newest and call["done"] and call["what"] not in ("model", "checkpoint", "file"):
                yield f"attempt {call['attempt'] + 1} wrote {call['what']} during attempt {newest + 1}"

    def _thaw(self, session_id: str) -> Iterator[str]:
        """Let the frozen processes go on; yield what they change."""
        before = {**self._view(session_id), "history": self._history(session_id)}
        frozen = self._seen(session_id)["frozen"]
        self._ask(server.THAW, session_id)
        until(lambda: not any(map(is_alive, frozen)), SECONDS)
        after = {**self._view(session_id), "history": self._history(session_id)}
        yield from (f"a worker that woke up has changed its {part}" for part in before if before[part] != after[part])

    def _view(self, session_id: str) -> dict[str, Any]:
        """Return all that a reader sees of the session."""
        client, name = self.workflow.table.meta.client, self.workflow.table.name
        mine = {"KeyConditionExpression": Key("PK").eq(session_id), "ConsistentRead": True}
        pages = client.get_paginator("query").paginate(TableName=name, **mine)
        own = sorted((item for page in pages for item in page["Items"]), key=lambda item: item["SK"])

        def of(kind: str) -> list[Item]:
            return [item for item in own if item["SK"].startswith(kind)]

        artifacts = self.deployment.artifacts(session_id)
        return {
            "record": of(RECORD_SK)[0],
            "steps": sorted(of("STEP#"), key=lambda step: step["number"]),
            "phases": of("TASK#"),
            "artifacts": {name: artifacts.read(name) for name in self.deployment.journal.artifact_names(session_id)},
        }

    def _history(self, session_id: str) -> list[Item]:
        """Return what the session has kept for later ones."""
        kept = Attr("PK").begins_with(HISTORY_PK_PREFIX) & Attr("SK").contains(session_id)
        scan = self.workflow.table.meta.client.get_paginator("scan")
        pages = scan.paginate(TableName=self.workflow.table.name, ConsistentRead=True, FilterExpression=kept)
        return [item for page in pages for item in page["Items"]]

    def _findings(self, session_id: str) -> str:
        return self.deployment.artifacts(session_id).read("findings.json").replace(session_id, "ID")

    def _seen(self, session_id: str) -> Item:
        seen: Item = self._ask(f"{server.PATH}?{session_id}")
        return seen

    def _ask(self, path: str, given: object = None) -> Any:
        body = None if given is None else json.dumps(given).encode()
        with urllib.request.urlopen(self.stack.endpoint + path, data=body, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def proving() -> Iterator[Proof]:
    """Start a local stack, and run an undisturbed session on it."""
    with _Killing.start(parameters=TIMING) as stack:
        yield Proof(stack)


def prove(
    proof: Proof, scenarios: Sequence[Sequence[Strike]], told: Callable[[Verdict], None] = lambda verdict: None
) -> list[Verdict]:
    """Run a session for each scenario, AT_ONCE at a time."""

    def one(strikes: Sequence[Strike]) -> Verdict:
        verdict = proof.judge(strikes)
        told(verdict)
        return verdict

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, scenarios))


def _phase(item: Item) -> tuple[str, str]:
    """Return the name and the state of a work phase. After a kill, a number may be left out."""
    return item["SK"].rpartition("#")[2], item["state"]
