"""Many sessions at once, then many in a row, through the real path of events: ``python -m benchmarks.soak``."""

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.report import Report, machine, percentile
from vigil.deployment import Deployment
from vigil.errors import SessionNotFound
from vigil.local.processes import children
from vigil.local.stack import LocalStack
from vigil.names import Env, Output
from vigil.session import Session, Status

LANES = 4
AT_MOST = 1800  # seconds
SAMPLE_SECONDS = 1.0
PARTS = {
    "embedded AWS": "vigil.local.server",
    "functions": "ministack-lambda",
    "agents": "vigil.local.processes",
    "this benchmark": "benchmarks.soak",
}
"""The parts of a stack, and what the command line of their processes says."""


@dataclass
class Soak:
    """What one way of starting sessions came to."""

    name: str
    triggered: dict[str, float]  # when each event was published
    seconds: float
    executions: list[dict[str, Any]]
    sessions: dict[str, Session]
    busy_at: dict[str, str]  # when the agent of each session began its phase
    peak: int  # most memory that all processes had together, in bytes
    cpu: Counter[str]  # CPU time that each part used, in seconds

    @property
    def lost(self) -> int:
        """Events that did not become exactly one execution that succeeded and one session that completed."""
        ran = Counter(_session_id(execution) for execution in self.executions)
        succeeded = {_session_id(execution) for execution in self.executions if execution["status"] == "SUCCEEDED"}
        completed = {s.session_id for s in self.sessions.values() if s.status == Status.COMPLETED}
        return sum(ran[i] != 1 or i not in succeeded & completed for i in self.triggered)

    @property
    def strays(self) -> int:
        """Executions and sessions of no event."""
        return len({_session_id(execution) for execution in self.executions} | set(self.sessions)) - len(self.triggered)

    @property
    def busy_after(self) -> list[float]:
        """Seconds from each event until its session was BUSY."""
        return [datetime.fromisoformat(at).timestamp() - self.triggered[i] for i, at in self.busy_at.items()]


class Bench:
    """A local stack, and what it is asked to run."""

    def __init__(self, stack: LocalStack) -> None:
        self._deployment = Deployment(stack.session())
        self._sfn = stack.client("stepfunctions")

    def soak(self, name: str, count: int, follow: bool) -> Soak:
        """Publish ``count`` events, each lane the next one at once or after its last session has ended."""
        triggered: dict[str, float] = {}

        def one(_: int) -> None:
            at = time.time()
            session_id = self._deployment.trigger({})
            triggered[session_id] = at
            if follow:
                self._until(lambda: (session := self._session(session_id)) and session.terminal, 0.3)

        before = self._executions()
        used = cpu_of_tree(os.getpid())
        with peak_memory() as peak:
            began = time.monotonic()
            with ThreadPoolExecutor(LANES) as pool:
                list(pool.map(one, range(count)))
            self._until(lambda: len(self._executions() - before) >= count and not self._executions("RUNNING"), 0.5)
            seconds = time.monotonic() - began
        cpu = cpu_of_tree(os.getpid())
        cpu.subtract(used)
        executions = [self._sfn.describe_execution(executionArn=arn) for arn in self._executions() - before]
        ids = {_session_id(execution) for execution in executions} | set(triggered)
        sessions = {i: session for i in ids if (session := self._session(i))}
        busy_at = {
            i: task.started_at for i in sessions for task in self._deployment.journal.tasks(i) if task.started_at
        }
        return Soak(name, triggered, seconds, executions, sessions, busy_at, peak[0], cpu)

    def _until(self, condition: Callable[[], object], pause: float) -> None:
        """Wait until ``condition`` is true; what is not so after a long time is lost, and counted so."""
        deadline = time.monotonic() + AT_MOST
        while not condition() and time.monotonic() < deadline:
            time.sleep(pause)

    def _session(self, session_id: str) -> Session | None:
        with suppress(SessionNotFound):
            return self._deployment.journal.get(session_id)
        return None

    def _executions(self, status: str | None = None) -> set[str]:
        wanted = {"statusFilter": status} if status else {}
        workflow = self._deployment.output(Output.STATE_MACHINE)
        pages = self._sfn.get_paginator("list_executions").paginate(stateMachineArn=workflow, **wanted)
        return {execution["executionArn"] for page in pages for execution in page["executions"]}


def _session_id(execution: dict[str, Any]) -> str:
    return str(json.loads(execution["input"])["session_id"])


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Sample the memory of this process and all its descendants; the list holds the most that they had together."""
    peak, over = [0], threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], memory_of_tree(os.getpid()))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        over.set()
        sampler.join()


def memory_of_tree(root: int) -> int:
    """Return the proportional set sizes of ``root`` and all its descendants: pages that they share count once."""
    total = 0
    for pid in _tree(root):
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def cpu_of_tree(root: int) -> Counter[str]:
    """Return the CPU seconds of each part of the tree of ``root``, with those of its children that have ended."""
    used: Counter[str] = Counter()
    for pid in _tree(root):
        with suppress(OSError, StopIteration):
            command = Path(f"/proc/{pid}/cmdline").read_text()
            part = next(part for part, sign in PARTS.items() if sign in command)
            # utime, stime, cutime and cstime of proc(5), without the first two fields.
            ticks = map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:15])
            used[part] += sum(ticks) / os.sysconf("SC_CLK_TCK")
    return used


def _tree(root: int) -> list[int]:
    """Return ``root`` and all its descendants."""
    tree = [root]
    for pid in tree:
        tree += children(pid)
    return tree


def main() -> int:
    """Soak, print, and write if asked to; fails if a session was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--at-once", type=int, default=200, metavar="N", help="how many events to publish at once")
    parser.add_argument("--in-a-row", type=int, default=1000, metavar="N", help=f"how many to run, {LANES} at a time")
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    arguments = parser.parse_args()
    report = Report("soak")
    report.say(machine())
    with LocalStack.start(agent_environment={Env.AGENT: "benchmarks.agents:greets"}, sample_account=False) as stack:
        bench = Bench(stack)
        soaks = [
            bench.soak(f"{arguments.at_once:,} at once", arguments.at_once, follow=False),
            bench.soak(f"{arguments.in_a_row:,} in a row, {LANES} at a time", arguments.in_a_row, follow=True),
        ]
    columns = "seconds", "sessions/s", "lost", "of no event", "event to BUSY: p50", "p95", "most memory"
    report.table(
        ("Sessions", *columns),
        (
            (
                soak.name,
                f"{soak.seconds:.0f}",
                f"{len(soak.triggered) / soak.seconds:.1f}",
                soak.lost,
                soak.strays,
                *(f"{percentile(soak.busy_after, share):.1f} s" for share in (0.5, 0.95)),
                f"{soak.peak / 2**20:,.0f} MiB",
            )
            for soak in soaks
        ),
    )
    report.table(
        ("CPU time of a session, in ms", "all", *PARTS, "of all cores"),
        (
            (
                soak.name,
                *(
                    f"{1000 * seconds / len(soak.triggered):.0f}"
                    for seconds in (soak.cpu.total(), *(soak.cpu[part] for part in PARTS))
                ),
                f"{soak.cpu.total() / soak.seconds / (os.cpu_count() or 1):.0%}",
            )
            for soak in soaks
        ),
    )
    if arguments.write:
        report.write()
    return int(any(soak.lost or soak.strays for soak in soaks))


if __name__ == "__main__":
    sys.exit(main())
