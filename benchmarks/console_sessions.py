"""Sessions for the console's benchmark: a few with workflows, and many that are records only."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from vigil.agent_log import attribute
from vigil.attributes import iso
from vigil.deployment import Deployment
from vigil.journal import MAX_STEPS_AT_ONCE, StepsSoFar
from vigil.local.stack import LocalStack
from vigil.names import Output
from vigil.session import RECORD_SK, Status
from vigil.session_reader import LOG_LINES, LOG_TEXT
from vigil.step import MAX_STEP_TEXT, MAX_STEPS, Excerpt, Step, Usage

FEW, MANY, CHANGED = 10, 1000, 20
MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"


class Sessions:
    """The sessions of the stack: three with workflows, the others as records only."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack, self._deployment = stack, Deployment(stack.session())
        self.journal = self._deployment.journal
        self._table = stack.session().resource("dynamodb").Table(stack.outputs[Output.TABLE])
        self.ended, self.running = self._start(Status.COMPLETED, 1), self._start_small()
        self.busy = self.put(Status.BUSY, FEW - 2)
        self.largest = ""  # a running session of MAX_STEPS steps

    def fill(self) -> None:
        """Let there be MANY sessions, one of them large. A list shows the newest: another small one runs."""
        self.running = self._start_small()
        self.largest = self._start(Status.BUSY, 7200, "x" * 60_000)
        self._write_steps(self.largest, MAX_STEPS, '"')
        lines = "\n".join(f"INFO {number} {'analysed ' * LOG_TEXT}"[:LOG_TEXT] for number in range(LOG_LINES))
        with self._stack.agent_log.open("a") as log:
            log.write(attribute(self.largest, lines))
        # The benchmark ends these.
        self.busy += self.put(Status.BUSY, CHANGED)
        self.put(Status.FAILED, MANY // 10, 3600)
        self.put(Status.COMPLETED, MANY - MANY // 10 - len(self.busy) - 3, 3600)

    def put(self, status: Status, number: int, newest: int = 0) -> list[str]:
        """Write records of sessions, one that began in each second before ``newest`` seconds ago; return their ids."""
        ids = [str(uuid.uuid4()) for _ in range(number)]
        with self._table.batch_writer() as batch:
            for seconds, session_id in enumerate(ids, newest):
                began = datetime.now(UTC) - timedelta(seconds=seconds)
                usage = {"model": MODEL, "input_tokens": 180_000, "output_tokens": 9000, "dollars": Decimal("0.67")}
                record = {"PK": session_id, "SK": RECORD_SK, "status": status, "usage": usage, "attempt": 1}
                record |= dict.fromkeys(("start_time", "created_at", "busy_at", "heartbeat_at"), iso(began))
                record |= {"detail": '{"days": 14}', "progress": "reads the metrics of 250 functions"}
                if status != Status.BUSY:
                    record |= {
                        "ended_at": iso(began + timedelta(minutes=4)),
                        "report_uri": f"s3://artifacts/{session_id}",
                    }
                if status == Status.FAILED:
                    record["error"] = {"code": "BudgetExceeded", "message": "the model calls have cost $2.00"}
                batch.put_item(Item=record)
        return ids

    def _start_small(self) -> str:
        session_id = self._start(Status.BUSY, 7200)
        self._write_steps(session_id, 30, '{"name": "orders"}')
        return session_id

    def _start(self, status: Status, seconds: int, comment: str = "") -> str:
        """Start a session that works so long, and return its id when it has ``status``."""
        session_id = self._deployment.trigger({"seconds": seconds, "comment": comment})
        while not any(found.status == status for found in self.journal.records([session_id]).values()):
            time.sleep(0.2)
        return session_id

    def _write_steps(self, session_id: str, steps: int, text: str) -> None:
        for phase in ("inventory", "metrics", "findings"):
            self.journal.end_task(session_id, self.journal.start_task(session_id, phase))
        usage, excerpt = Usage(MODEL, 4500, 220, Decimal("0.0168")), Excerpt.of(text * (MAX_STEP_TEXT // len(text)))
        for first in range(1, steps + 1, MAX_STEPS_AT_ONCE):
            part = []
            for number in range(first, min(first + MAX_STEPS_AT_ONCE, steps + 1)):
                what: Any = ("chat", MODEL) if number % 2 else ("execute_tool", "find_savings")
                texts: Any = {"input": excerpt, "output": excerpt, "usage": usage if number % 2 else None}
                part.append(Step(number, *what, "agent", now := iso(datetime.now(UTC)), "COMPLETED", now, **texts))
            self.journal.write_steps(session_id, part, StepsSoFar(number, number, usage))
