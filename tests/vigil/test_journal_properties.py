"""The session record under every interleaving of its writers: the journal's and the workflow's own writes, on a table.

Each write is one conditional update, so an interleaving is an order of writes. An answer may be lost: then the write is
repeated as botocore and Step Functions repeat it, after others have written meanwhile.
"""

import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from benchmarks.virtual_time import evaluated
from tests.support import workflow_states
from vigil.errors import SessionEnded, SessionTaken
from vigil.journal import Journal
from vigil.local.stack import LocalSession, LocalStack
from vigil.session import ALLOWED_FROM, TERMINAL, Failure, Status

TASKS = {"begins": "InitializeSession", "stores a token": "WaitForChange", "marks failed": "MarkFailed"}
OWN, OTHER = "execution:own", "execution:of-the-duplicate"
EXECUTIONS = {"workflow": OWN, "duplicate": OTHER}

LEGAL = {(None, Status.INITIATED), (None, Status.FAILED)} | {
    (before, after) for after, allowed in ALLOWED_FROM.items() for before in allowed
}
SKEWS = {"A": 300, "supervisor of A": -300, "B": -290, "supervisor of B": 120, "operator": 7, "reconciler": -60}
"""Seconds by which each writer's clock is wrong."""

BEFORE_THE_AGENT = [
    *("operator fails", "reconciler closes own", "reconciler closes other"),
    *("duplicate begins", "duplicate marks failed"),
]
LIVING = [
    *["workflow stores a token"] * 6,
    *(f"{worker} is busy" for worker in "AAABBB"),
    *(f"{worker} {does}" for worker in "AAB" for does in ("starts a task", "notes", "beats")),
    "duplicate begins",
]
ENDING = [
    *BEFORE_THE_AGENT,
    "workflow marks failed",
    *(f"{worker} {does}" for worker in "AAB" for does in ("completes", "completes", "fails")),
    *(f"{worker} fails as supervisor" for worker in "AABBBB"),
]
ACTION = st.sampled_from([*LIVING * 8, *ENDING])
"""Most orders are to hold some life before the session ends."""


class Writers(RuleBasedStateMachine):
    """One session record and all who write to it; checks every write."""

    def __init__(self, table: Any, client: Any) -> None:
        super().__init__()
        self._table, self._client = table, client
        clients = (client, table.meta.client)
        self._refusals = [c.exceptions.ConditionalCheckFailedException for c in clients]
        self._refusals += [c.exceptions.TransactionCanceledException for c in clients]
        self.name = table.name
        self.meta = SimpleNamespace(client=SimpleNamespace(transact_write_items=self.transact_write_items))
        self.session_id = str(uuid.uuid4())
        self.record: dict[str, Any] = {}
        self.tokens: list[str] = []
        self.woken: list[str] = []
        self.writer = ""
        self.must_wake = False
        self.meanwhile: list[str] | None = None

    # -- the table, as the journal and the workflow reach it

    def update_item(self, **request: Any) -> Any:
        return self._write(partial(self._table.update_item, **request))

    def put_item(self, **request: Any) -> Any:
        return self._write(partial(self._table.put_item, **request))

    def transact_write_items(self, **request: Any) -> Any:
        return self._write(partial(self._table.meta.client.transact_write_items, **request))

    def _write(self, call: Callable[[], Any]) -> Any:
        if self.meanwhile is not None:
            others, self.meanwhile = self.meanwhile, None
            with suppress(*self._refusals):
                self._observed(call)
            for action in others:
                self._do(action)
        return self._observed(call)

    def _observed(self, call: Callable[[], Any]) -> Any:
        answer = call()
        before, self.record = self.record, self._read()
        status = before.get("status"), self.record.get("status")
        assert status[0] == status[1] or status in LEGAL
        if status[0] in TERMINAL:
            assert self.record == before
        elif status[1] in TERMINAL:
            # No workflow waits if it ends the session itself or has ended before the reconciler closes the session.
            self.must_wake = self.writer not in ("workflow", "duplicate", "reconciler")
        if self.writer == "duplicate" and before.get("execution_arn") == OWN:
            assert self.record == before
        if "worker" in before:
            assert self.record["worker"] == before["worker"]
        if status[1] == Status.BUSY:
            assert "worker" in self.record
        token = self.record.get("task_token")
        if token != before.get("task_token"):
            assert token, "a token has vanished"
            self.tokens.append(token)
        return answer

    def _read(self) -> dict[str, Any]:
        key = {"PK": self.session_id, "SK": "SESSION"}
        return dict(self._table.get_item(Key=key, ConsistentRead=True).get("Item", {}))

    # -- the writers

    def _journal(self, writer: str) -> Journal:
        skew = timedelta(seconds=SKEWS[writer])
        return Journal(self, self.woken.append, now=lambda: datetime.now(UTC) + skew)  # type: ignore[arg-type]

    def _do(self, action: str) -> None:
        if action == "workflow stores a token" and self.record.get("execution_arn", OWN) != OWN:
            # RouteByStatus has sent it elsewhere: the record is another execution's.
            return
        interrupted, (self.writer, _, does) = self.writer, action.partition(" ")
        if self.writer in EXECUTIONS:
            self._task(TASKS[does], EXECUTIONS[self.writer])
        elif self.writer == "reconciler":
            self._reconciler(does)
        else:
            self._journaled(does)
        self.writer = interrupted

    def _journaled(self, does: str) -> None:
        """Let a worker, its supervisor or the operator write as it does."""
        writer = self.writer
        supervises = does.endswith("supervisor") or does == "beats"
        journal = self._journal(f"supervisor of {writer}" if supervises else writer)
        own = journal.acting_for(writer)
        failure = Failure("Broken", f"{writer} {does}")
        try:
            {
                "is busy": lambda: own.mark_busy(self.session_id),
                "completes": lambda: journal.complete(self.session_id, f"s3://bucket/{writer}"),
                "fails": lambda: journal.fail(self.session_id, failure),
                "fails as supervisor": lambda: own.fail(self.session_id, failure),
                "starts a task": lambda: journal.start_task(self.session_id, "phase"),
                "notes": lambda: journal.record_progress(self.session_id, f"{writer} works"),
                "beats": lambda: own.heartbeat(self.session_id),
            }[does]()
        except (SessionEnded, SessionTaken):
            return
        if does == "is busy":
            assert self.record["worker"] == writer
        if supervises:
            assert self.record.get("worker", writer) == writer

    def _reconciler(self, does: str) -> None:
        execution = OWN if does == "closes own" else OTHER
        failure = Failure("WorkflowEnded", "aborted")
        closed = self._journal("reconciler").fail_orphaned(self.session_id, execution, failure)
        assert not closed or (self.record["status"], self.record["execution_arn"]) == (Status.FAILED, execution)

    def _task(self, state: str, execution: str) -> None:
        """Write as the task ``state`` of ``execution`` does."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        state_of = {"State": {"EnteredTime": now}, "Task": {"Token": str(uuid.uuid4())}}
        context = {"Execution": {"Id": execution, "StartTime": now}, **state_of}
        given = {"input": {"session_id": self.session_id, "detail": {}}, "context": context}
        line = {"ticket": 0, "turn": 0, "refusals": 0, "code": "", "message": ""}
        error = {"code": "AgentLost", "message": "no heartbeat"}
        variables = {"session_id": self.session_id, "deadline": 1_800_000_100_000, "line": line, "error": error}
        variables["attempt"] = self.record.get("attempt", 1)
        request = evaluated(workflow_states()[state]["Arguments"], given, variables, lambda: 1_800_000_000_000)
        write = self._client.put_item if "Item" in request else self._client.update_item
        with suppress(*self._refusals):
            self._write(partial(write, **request))

    # -- the orders

    @initialize(
        begins=st.sampled_from([True] * 9 + [False]),
        meanwhile=st.none() | st.lists(st.sampled_from(BEFORE_THE_AGENT), max_size=2),
    )
    def begin(self, begins: bool, meanwhile: list[str] | None) -> None:
        if begins:
            self.meanwhile = meanwhile
            self._do("workflow begins")

    @rule(action=ACTION, meanwhile=st.none() | st.lists(ACTION, max_size=3))
    def write(self, action: str, meanwhile: list[str] | None) -> None:
        """Let ``action`` happen; with ``meanwhile``, its answer is lost, and this happens before it is repeated."""
        self.meanwhile = meanwhile
        self._do(action)

    @invariant()
    def whoever_waits_is_woken(self) -> None:
        if self.must_wake and self.tokens:
            assert self.tokens[-1] in self.woken
        assert set(self.woken) <= set(self.tokens[-1:])

    def teardown(self) -> None:
        """See that whatever has not ended can be ended, even if the answer is lost."""
        for action in ("B fails as supervisor", "operator fails"):
            self.write(action, meanwhile=[])
            self.whoever_waits_is_woken()
        assert not self.record or self.record["status"] in TERMINAL


@pytest.mark.criterion("1.4")
@pytest.mark.parametrize(("dynamodb", "orders"), [("embedded", 12), ("moto", 4)])
def test_no_order_of_writes_breaks_the_record_or_loses_a_wake_up(
    dynamodb: str, orders: int, table: Any, embedded: LocalStack, moto_table: Any, moto: LocalSession
) -> None:
    where = (table, embedded.client("dynamodb")) if dynamodb == "embedded" else (moto_table, moto.client("dynamodb"))
    checks = [HealthCheck.too_slow]
    drawn = settings(max_examples=orders, stateful_step_count=12, deadline=None, suppress_health_check=checks)
    # A dozen writes are few enough to read, and each costs too much to try fewer for minutes.
    run_state_machine_as_test(
        partial(Writers, *where), settings=settings(drawn, phases=[Phase.generate], database=None)
    )


def test_no_workflow_waits_on_the_record_of_another_execution(table: Any, embedded: LocalStack) -> None:
    """Its token would overwrite the token of the other execution, which then would not wake."""
    writers = Writers(table, embedded.client("dynamodb"))
    writers._do("duplicate begins")
    writers._task("WaitForChange", OWN)
    assert "task_token" not in writers.record
    writers._task("WaitForChange", OTHER)
    assert "task_token" in writers.record
