"""Many events at once, more than AWS starts: ``python -m benchmarks.bursts``.

One burst on an embedded AWS that starts few sessions, and larger ones in virtual time against AWS's published quotas.
"""

import argparse
import statistics
import sys
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from benchmarks import narrow
from benchmarks.crowd import Crowd, Quotas
from benchmarks.report import Report, machine
from benchmarks.soak import Bench
from benchmarks.waiting import DEFAULTS
from infra.workflow import definition
from vigil.local.stack import LocalStack
from vigil.names import Env, Parameter

SEED = 20261128
DEFAULT = Quotas()


@dataclass(frozen=True)
class Burst:
    """Events at once, the length of their sessions in seconds, and what AWS allows."""

    what: str
    events: int
    seconds: float
    quotas: Quotas = DEFAULT

    @property
    def ideal(self) -> float:
        """The fewest seconds in which all can begin: the first at once, the others at the rate that AWS allows."""
        by_rate = (self.events - self.quotas.starts_at_once) / self.quotas.starts
        by_room = max(0, self.events - self.quotas.sessions) * self.seconds / self.quotas.sessions
        return max(by_rate, by_room)


BURSTS = (
    Burst("1,000 of 1 min", 1000, 60),
    Burst("1,000 of 1 min, AgentCore starts 1 at a time", 1000, 60, Quotas(starts_at_once=1)),
    Burst("1,000 of 1 min, Lambda runs 10 functions", 1000, 60, Quotas(functions=10)),
    Burst("10,000 of 1 min", 10_000, 60),
    Burst("10,000 of 15 min", 10_000, 900),
    Burst("100,000 of 1 min", 100_000, 60),
)


def displaced(arrived: list[float], begun: list[float]) -> float:
    """Return by how many places a session begins before or after its turn by arrival, on average."""
    turns = sorted(range(len(arrived)), key=arrived.__getitem__)
    began = sorted(range(len(begun)), key=begun.__getitem__)
    place = {session: rank for rank, session in enumerate(turns)}
    return statistics.mean(abs(rank - place[session]) for rank, session in enumerate(began))


def simulated(burst: Burst) -> tuple[object, ...]:
    """Walk the burst in virtual time; return its row, and last how many sessions were lost."""
    starts = str(DEFAULT.starts)
    timing: Any = SimpleNamespace(**{**vars(DEFAULTS), "starts": starts})
    machine = definition("sessions", "invoker", "runtime", timing)
    sessions = Crowd(machine, burst.quotas, burst.seconds, float(starts), SEED).run(burst.events)
    return (
        burst.what,
        f"{burst.ideal:,.0f} s",
        f"{max(session.begun for session in sessions):,.0f} s",
        f"{displaced([s.arrived for s in sessions], [s.begun for s in sessions]):,.0f}",
        f"{statistics.mean(session.asked for session in sessions):.2f}",
        f"{statistics.mean(session.tries for session in sessions):.2f}",
        f"{statistics.mean(session.transitions for session in sessions):.1f}",
        sum(session.ended != "SessionCompleted" for session in sessions),
    )


class Narrow(LocalStack):
    """An embedded AWS with little room."""

    SERVER = "benchmarks.narrow"


def run(events: int) -> tuple[object, ...]:
    """Run a burst on the narrow embedded AWS; return its row, and last how many sessions were lost."""
    environment = {Env.AGENT: "benchmarks.agents:greets", Env.MAX_WORKERS: "100"}
    parameters = {Parameter.STARTS_PER_SECOND: str(narrow.STARTS)}
    with Narrow.start(agent_environment=environment, parameters=parameters, sample_account=False) as stack:
        bench, sfn = Bench(stack), stack.client("stepfunctions")
        soak = bench.soak("burst", events, follow=False)
        states = {
            execution["executionArn"]: [
                event["stateEnteredEventDetails"]["name"]
                for page in sfn.get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
                for event in page["events"]
                if "stateEnteredEventDetails" in event
            ]
            for execution in soak.executions
        }
    begun = {session_id: s.busy_at for session_id, s in soak.sessions.items() if s.busy_at}
    arrived = [soak.triggered[session_id] for session_id in begun]
    return (
        f"{events:,} of some seconds, run here",
        f"{(events - 1) / narrow.STARTS:,.0f} s",
        f"{soak.seconds:,.0f} s",
        f"{displaced(arrived, [datetime.fromisoformat(at).timestamp() for at in begun.values()]):,.0f}",
        "",
        f"{statistics.mean(names.count('InvokeAgent') for names in states.values()):.2f}",
        f"{statistics.mean(map(len, states.values())):.1f}",
        soak.lost + soak.strays,
    )


def main() -> int:
    """Run the bursts, print, and write if asked to; fails if a session was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bursts", description=__doc__)
    parser.add_argument("--run", type=int, default=1000, metavar="N", help="events of the burst that is run")
    parser.add_argument("--at-most", type=int, default=100_000, metavar="N", help="leave out larger simulated bursts")
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    arguments = parser.parse_args()
    report = Report("bursts")
    report.say(machine())
    rows = [run(arguments.run)]
    for burst in BURSTS:
        # It takes long; say how far it is.
        print(*rows[-1], sep=" | ", file=sys.stderr)
        if burst.events <= arguments.at_most:
            rows.append(simulated(burst))
    columns = "ideal", "all begun", "displaced", "calls of AgentCore", "of the invoker", "transitions", "lost"
    report.table(("Events at once", *columns), rows)
    if arguments.write:
        report.write()
    return int(any(row[-1] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
