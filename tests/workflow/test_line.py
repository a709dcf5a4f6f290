"""Bursts: the definition and the invoker's line in virtual time, and a small burst on a narrow embedded AWS."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.crowd import Crowd, Quotas, Session
from tests.support import Workflow, command, until, workflow_definition
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Env, Output, Parameter
from vigil.session import Status

pytestmark = pytest.mark.takes(50)


def burst(events: int, quotas: Quotas, seconds: float, pace: float = 25, seed: int = 1) -> list[Session]:
    crowd = Crowd(workflow_definition(starts=pace), quotas, seconds, pace, seed)
    sessions = crowd.run(events)
    assert crowd.most_running <= quotas.sessions
    return sessions


def test_session_without_a_refusal_takes_no_extra_transitions() -> None:
    (session,) = burst(1, Quotas(), 60)
    assert (session.tries, session.asked, session.transitions) == (1, 1, 10)


def test_burst_starts_in_order_at_the_pace_of_the_quota() -> None:
    sessions = burst(150, Quotas(), 60)
    assert {session.ended for session in sessions} == {"SessionCompleted"}
    # 25 at once, and then 23.75 a second.
    assert max(session.begun for session in sessions) <= 1.3 * 150 / 25
    assert max(session.tries for session in sessions) <= 3
    assert sum(session.asked for session in sessions) <= 1.2 * 150
    waited = sorted((s for s in sessions if s.tries > 1), key=lambda session: session.begun)
    # Roughly: the first tries of a burst overtake each other.
    assert all(abs(rank - before) <= 40 for rank, before in enumerate(_ranks([s.arrived for s in waited])))


def _ranks(values: list[float]) -> list[int]:
    order = sorted(range(len(values)), key=lambda index: values[index])
    return [order.index(index) for index in range(len(values))]


@settings(max_examples=2, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    starts=st.sampled_from([2, 10, 25]),
    starts_at_once=st.sampled_from([1, 25]),
    sessions=st.integers(3, 60),
    functions=st.integers(1, 40),
    seconds=st.floats(5, 60),
)
def test_no_burst_loses_a_session_whatever_the_quotas(
    seed: int, starts: int, starts_at_once: int, sessions: int, functions: int, seconds: float
) -> None:
    quotas = Quotas(starts=starts, starts_at_once=starts_at_once, sessions=sessions, functions=functions)
    ended = burst(15, quotas, seconds, seed=seed)
    assert {(session.ended, session.error) for session in ended} == {("SessionCompleted", "")}


def test_who_waits_in_line_for_a_day_fails_with_what_refused_it() -> None:
    (session,) = burst(1, Quotas(sessions=0), 60)
    assert (session.ended, session.error) == ("SessionFailed", "AgentQuotaExceeded")
    assert 86_400 <= session.seconds <= 87_000


class Narrow(LocalStack):
    """An embedded AWS that starts 5 sessions a second, one at a time, and runs 2 functions at once."""

    SERVER = "benchmarks.narrow"


@pytest.fixture(scope="module")
def narrow() -> Iterator[LocalStack]:
    environment = {Env.AGENT: "benchmarks.agents:greets", Env.MAX_WORKERS: "100"}
    parameters = {Parameter.STARTS_PER_SECOND: "4"}
    with Narrow.start(agent_environment=environment, parameters=parameters, sample_account=False) as stack:
        yield stack


def test_a_burst_that_is_refused_on_the_embedded_aws_completes(narrow: LocalStack) -> None:
    deployment, workflow = Deployment(narrow.session()), Workflow(narrow)
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: deployment.trigger({}), range(6)))
    waiting = until(lambda: [s for s in deployment.journal.recent(100) if s.waiting_for])
    # The newest, which waits the longest.
    stopped = waiting[0].session_id
    deployment.stop(stopped, "enough")
    assert "waits: " in command(narrow, "vigil", "sessions").stdout
    ended = until(lambda: (found := deployment.journal.recent(100)) and all(s.terminal for s in found) and found, 300)
    assert {s.session_id for s in ended} == set(ids)
    assert {s.session_id for s in ended if s.status != Status.COMPLETED} == {stopped}
    machine = deployment.output(Output.STATE_MACHINE)
    assert len(workflow.sfn.list_executions(stateMachineArn=machine, maxResults=100)["executions"]) == 6
