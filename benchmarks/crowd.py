"""Many executions of the deployed state machine at once, walked in virtual time against AWS's quotas.

The definition is the deployed one, with its expressions as they stand, and so is the code of the invoker's line.
Simulated is what answers: the table's items, Lambda's concurrency, AgentCore's starts a second and its sessions at
once, and how long each takes.
"""

import heapq
import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from benchmarks.virtual_time import START, caught, chosen, evaluated, iso
from vigil.errors import AgentError, AgentQuotaExceeded, AgentThrottled
from vigil.invoker import admit
from vigil.line import LINE, MOVE, Line, Place
from vigil.session import Status


@dataclass
class Bucket:
    """A token bucket that is full at first."""

    rate: float
    depth: float
    tokens: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.depth

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self.tokens = min(self.depth, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


ANSWER_SECONDS = (0.5, 3.0)  # how long AgentCore takes to start a session and answer


@dataclass(frozen=True)
class Quotas:
    """What AWS allows, by its published default quotas."""

    starts: float = 25  # new sessions that AgentCore starts in a second
    starts_at_once: float = 25  # how many of them may be at the same moment, which is not published
    sessions: int = 5000  # sessions that AgentCore runs at once
    functions: int = 1000  # Lambda functions that run at once
    executions: float = 300  # executions that begin in a second; the first 1,300 at once
    executions_at_once: float = 1300


@dataclass
class Session:
    """What became of one event."""

    number: int
    arrived: float = 0.0
    tries: int = 0  # invocations of the Lambda function, those that Lambda refused included
    asked: int = 0  # calls of AgentCore
    transitions: int = 0
    begun: float = float("inf")  # seconds from the burst until AgentCore took it
    ended: str = ""  # the state in which its execution ended
    seconds: float = 0.0
    error: str = ""
    ends: float = float("inf")  # when its agent writes COMPLETED

    def item(self, now: float) -> dict[str, Any]:
        """Return its record at ``now``, as far as a workflow reads it."""
        if now < self.begun:
            return {"status": {"S": Status.INITIATED}}
        status = Status.BUSY if now < self.ends else Status.COMPLETED
        return {"status": {"S": status}, "heartbeat_at": {"S": str(now // 30)}}


class Crowd:
    """One account and region, in which many events come at once."""

    def __init__(self, definition: dict[str, Any], quotas: Quotas, seconds: float, pace: float, seed: int) -> None:
        self.states = definition["States"]
        self.start = definition["StartAt"]
        self.quotas = quotas
        self.random = random.Random(seed)
        self.seconds = seconds
        self.now = 0.0
        self.table = Table()
        self.line = Line(self.table, Decimal(pace))  # type: ignore[arg-type]
        self.functions = 0
        self.running = 0
        self.most_running = 0
        self.most_functions = 0
        self.starts = Bucket(quotas.starts, quotas.starts_at_once)
        self._heap: list[tuple[float, int, Iterator[float]]] = []
        self._count = 0

    def run(self, events: int) -> list[Session]:
        """Walk ``events`` that come at once to their ends."""
        begins = Bucket(self.quotas.executions, self.quotas.executions_at_once)
        sessions = [Session(number) for number in range(events)]
        for session in sessions:
            ahead = max(0.0, session.number + 1 - begins.depth) / begins.rate
            self._at(ahead + self.random.uniform(0, 0.5), self._walk(session))
        while self._heap:
            self.now, _, process = heapq.heappop(self._heap)
            if (pause := next(process, None)) is not None:
                self._at(self.now + pause, process)
        return sessions

    def _at(self, moment: float, process: Iterator[float]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, process))

    def _millis(self) -> int:
        return START + round(1000 * self.now)

    def _walk(self, session: Session) -> Iterator[float]:
        began, variables = iso(self.now), dict[str, Any]()
        session.arrived = self.now
        given = {"session_id": f"{session.number:036}", "detail": {}}
        name: str | None = self.start
        while name:
            state = self.states[name]
            session.transitions += 1
            context = {
                "Execution": {"Id": "execution", "StartTime": began},
                "State": {"EnteredTime": iso(self.now)},
                "Task": {"Token": "token"},
            }
            states: dict[str, Any] = {"input": given, "context": context}

            def value(node: Any, states: Any = states, variables: Any = variables) -> Any:
                return evaluated(node, states, variables, self._millis)

            follow = state
            if state["Type"] == "Choice":
                follow = chosen(state, value)
            elif state["Type"] == "Wait":
                yield value(state["Seconds"])
            elif state["Type"] == "Task":
                error = yield from self._task(state, session, value, states)
                if error:
                    states["errorOutput"] = {"Error": error, "Cause": "refused"}
                    follow = caught(state, error)
            elif state["Type"] == "Fail":
                session.error = value(state["Error"])
            variables |= value(follow.get("Assign", {}))
            session.ended, name = name, follow.get("Next")
        session.seconds = self.now

    def _task(self, state: Any, session: Session, value: Any, states: dict[str, Any]) -> Generator[float, None, str]:
        arguments, resource = value(state["Arguments"]), state["Resource"]
        error: str = ""
        if resource.endswith("lambda:invoke"):
            error = yield from self._invoke(session, arguments["Payload"], states)
        elif resource.endswith(".waitForTaskToken"):
            timeout = value(state["TimeoutSeconds"])
            error = "States.Timeout" if self.now + timeout < session.ends else ""
            yield max(0.0, min(timeout, session.ends - self.now)) + self.random.uniform(0.005, 0.05)
        else:
            yield self.random.uniform(0.005, 0.05)
            if arguments.get("Key", {}).get("PK") == {"S": LINE}:
                given = arguments["ExpressionAttributeValues"]
                values = {name: int(value["N"]) for name, value in given.items() if "N" in value}
                try:
                    item = self.table.update_item(arguments["UpdateExpression"], values)["Attributes"]
                except ClientError:
                    return "DynamoDB.ConditionalCheckFailedException"
                states["result"] = {"Attributes": {name: {"N": str(number)} for name, number in item.items()}}
            elif resource.endswith("getItem"):
                states["result"] = {"Item": session.item(self.now)}
        return error

    def _invoke(self, session: Session, payload: Any, states: dict[str, Any]) -> Generator[float, None, str]:
        """Do what the invoker does, with a table and an AgentCore of this account."""
        yield self.random.uniform(0.005, 0.05)
        session.tries += 1
        if self.functions >= self.quotas.functions:
            return "Lambda.TooManyRequestsException"
        self.functions += 1
        self.most_functions = max(self.most_functions, self.functions)
        try:
            yield from self._handle(session, Place.from_event(payload))
            states["result"] = {"Payload": {}}
        except AgentError as error:
            return error.code
        finally:
            self.functions -= 1
        return ""

    def _handle(self, session: Session, place: Place) -> Generator[float, None, None]:
        yield self.random.uniform(0.02, 0.1)
        admit(self.line, place, "")
        yield min(1, max(0.0, (place.turn - self._millis()) / 1000)) + self.random.uniform(0.005, 0.05)
        session.asked += 1
        if refusal := self._refusal():
            raise refusal
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        session.begun = self.now
        session.ends = self.now + self.seconds * self.random.uniform(0.5, 1.5)
        self._at(session.ends, self._end())
        yield self.random.uniform(*ANSWER_SECONDS)

    def _refusal(self) -> AgentError | None:
        if self.running >= self.quotas.sessions:
            return AgentQuotaExceeded("no more at once")
        return None if self.starts.take(self.now) else AgentThrottled("no more a second")

    def _end(self) -> Iterator[float]:
        self.running -= 1
        yield from ()


class Table:
    """The line's item, with the two writes that the line makes of it."""

    def __init__(self) -> None:
        self.item: dict[str, int] = {}

    def get_item(self, **_: Any) -> dict[str, Any]:
        """Return the item, if it exists."""
        return {"Item": self.item} if self.item else {}

    def update_item(self, UpdateExpression: str, ExpressionAttributeValues: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Change the item."""
        values = ExpressionAttributeValues
        if UpdateExpression == "ADD issued :tickets":
            self.item["issued"] = self.item.get("issued", 0) + values[":tickets"]
        else:
            assert UpdateExpression == MOVE
            if self.item.get("at", values[":seen"]) != values[":seen"]:
                raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")
            self.item |= {name: values[f":{name}"] for name in ("at", "number", "step")}
        return {"Attributes": dict(self.item)}
