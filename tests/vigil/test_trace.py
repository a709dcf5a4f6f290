"""The tree of a session, whatever its items hold, and what `vigil trace` prints of it."""

import json
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import CONTROL, RICH, TEXT
from tests.support import new_state_machine, until
from vigil import cli
from vigil.attributes import moment
from vigil.cli.run import COLOURS
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Output
from vigil.otlp import to_otlp
from vigil.session import Session, Status, Task
from vigil.step import Operation, Step
from vigil.terminal import Terminal
from vigil.text import to_json
from vigil.trace import Span, State, Trace

SECONDS = st.integers(0, 5).map(lambda second: f"2026-11-29T12:00:0{second}.000Z")
ANY = TEXT | st.integers(-(10**20), 10**20) | st.none() | st.lists(TEXT, max_size=1) | st.dictionaries(TEXT, TEXT)
TIME = SECONDS | ANY | st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-29T12:00"])
NUMBER = st.integers(1, 8) | ANY
USAGE = st.fixed_dictionaries({"model": ANY, "input_tokens": NUMBER, "output_tokens": NUMBER, "dollars": NUMBER}) | ANY
STEP = st.fixed_dictionaries(
    {},
    optional={
        **{"number": NUMBER, "parent": NUMBER, "started_at": TIME, "ended_at": TIME, "usage": USAGE, "name": ANY},
        **{"operation": st.sampled_from(["chat", "execute_tool"]) | ANY, "state": st.just("RUNNING") | ANY},
        **dict.fromkeys(("input", "output", "error", "agent", "stop_reason", "provider", "call_id"), ANY),
        "attempt": st.integers(-3, 5) | ANY,
    },
)
PHASE = st.fixed_dictionaries({"SK": ANY}, optional={"state": ANY, "started_at": TIME, "ended_at": TIME})
ATTEMPT = st.fixed_dictionaries({}, optional={"started_at": TIME, "ended_at": TIME, "code": ANY}) | ANY
RECORD = st.fixed_dictionaries(
    {"PK": st.just("s"), "status": st.sampled_from(Status)},
    optional={
        **{"start_time": TIME, "busy_at": TIME, "ended_at": TIME, "error": ANY, "step_count": NUMBER},
        "attempts": st.lists(ATTEMPT, max_size=3) | ANY,
    },
)


def trace_of(record: dict[str, Any], states: list[State], phases: list[Any], steps: list[Any]) -> Trace:
    read = sorted(map(Step.from_item, steps), key=lambda step: step.number)
    return Trace(Session.from_item(record), states, [*map(Task.from_item, phases)], read)


def below(span: Span) -> list[Span]:
    """Return what is within a span, at any depth."""
    return [inner for _, depth, inner in span.lines("") if depth]


@settings(max_examples=50)
@given(RECORD, st.lists(SECONDS), st.lists(PHASE, max_size=4), st.lists(STEP, max_size=8))
def test_any_items_make_a_tree_that_has_each_of_them(
    record: dict[str, Any], entered: list[str], phases: list[Any], steps: list[Any]
) -> None:
    trace = trace_of(record, [State(f"S{n}", at) for n, at in enumerate(entered)], phases, steps)
    root = trace.root
    spans = below(root)
    assert len({id(span) for span in spans}) == len(spans)
    assert {id(step) for step in trace.steps} == {id(span.step) for span in spans if span.step}
    kinds = [span.kind for span in spans]
    attempts = len(trace.session.attempts) + 1
    assert kinds.count("state") == len(entered)
    assert len(phases) <= kinds.count("phase") <= len(phases) * attempts
    assert kinds.count("attempt") in ((0, 1) if attempts == 1 else (attempts,))
    assert all(span.kind in ("state", "attempt") for span in root.within)
    assert [span.name for span in spans if span.kind == "state"] == [
        f"S{n}" for n, _ in sorted(enumerate(entered), key=lambda state: state[1])
    ]
    for span in (root, *(span for span in root.within if span.kind == "attempt")):
        begun = [moment(inner.began_at) for inner in span.within]
        assert begun == sorted(begun)
    for seconds, _, span in root.lines(trace.session.start_time):
        assert seconds >= 0
        assert str(span)
    json.loads(to_json(asdict(trace)), parse_constant=pytest.fail)
    json.loads(to_json(to_otlp(trace)), parse_constant=pytest.fail)


@given(st.lists(st.tuples(SECONDS, SECONDS), max_size=3), st.lists(st.tuples(SECONDS, st.booleans()), max_size=8))
def test_a_step_is_within_the_tool_that_called_its_agent_or_the_last_phase_that_ran(
    phases: list[tuple[str, str]], steps: list[tuple[str, bool]]
) -> None:
    tasks = [
        {"SK": f"TASK#{n:03}#p{n}", "state": "COMPLETED", "started_at": min(times), "ended_at": max(times)}
        for n, times in enumerate(phases)
    ]
    items = [
        {"number": n, "operation": "chat", "started_at": at, "ended_at": at, "parent": n - 1 if nested else None}
        for n, (at, nested) in enumerate(sorted(steps), 1)
    ]
    spans = below(trace_of({"PK": "s", "status": "COMPLETED"}, [], tasks, items).root)
    parents = {id(inner): span for span in spans for inner in span.within}
    for span in spans:
        if span.step is None:
            continue
        parent = parents[id(span)]
        if span.step.parent:
            assert parent.step
            assert parent.step.number == span.step.parent
        else:
            began = span.step.started_at
            run = [task["SK"][9:] for task in tasks if task["started_at"] <= began < task["ended_at"]]
            assert parent.name == (run[-1] if run else "1")


def test_steps_that_name_themselves_or_one_another_or_a_long_chain_as_parents_are_shown() -> None:
    for parents in ({1: 1}, {1: 2, 2: 1}, {n: n - 1 for n in range(2, 3000)}):
        steps = [{"number": n, "operation": "chat", "parent": parent} for n, parent in parents.items()]
        trace = trace_of({"PK": "s", "status": "FAILED"}, [], [], steps)
        assert len([span for span in below(trace.root) if span.step]) == len(steps)
        to_otlp(trace)


def at(second: int) -> str:
    return f"2026-11-29T12:00:0{second}.000Z"


def test_a_phase_that_outlives_its_attempt_is_interrupted_there_and_goes_on_in_the_next() -> None:
    # The workflow ended the second attempt, and does not know when it began.
    ended = [{"code": "A", "message": "a", "started_at": at(1), "ended_at": at(3)}, {"code": "B", "ended_at": at(5)}]
    record = {"PK": "s", "status": "COMPLETED", "start_time": at(0), "busy_at": at(6), "ended_at": at(9)}
    phases = [
        {"SK": "TASK#001#long", "state": "COMPLETED", "started_at": at(2), "ended_at": at(7)},
        {"SK": "TASK#002#short", "state": "FAILED", "message": "so", "started_at": at(3), "ended_at": at(5)},
    ]
    steps = [
        {
            "number": n,
            "operation": "chat",
            "name": "m",
            "started_at": at(begun),
            "ended_at": at(begun),
            "attempt": attempt,
        }
        for n, (begun, attempt) in enumerate([(1, 1), (2, 1), (4, 2), (8, 3), (8, 7)], start=1)
    ]
    root = trace_of({**record, "attempts": ended}, [], phases, steps).root
    assert [f"{depth}{'' if span.step else ' ' + str(span)}" for _, depth, span in root.lines(at(0)) if depth] == [
        *("1 attempt 1, 2.0 s A: a", "2", "2 phase long, 1.0 s interrupted", "3"),
        *("1 attempt 2, 2.0 s B: ", "2 phase long, 2.0 s interrupted", "2 phase short, 2.0 s failed: so", "3"),
        *("1 attempt 3, 3.0 s", "2 phase long, 1.0 s", "2", "2"),
    ]
    assert [span.began_at for span in root.within] == [at(1), at(3), at(6)]


Vigil = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def workflow_arn(embedded: LocalStack) -> str:
    return new_state_machine(
        embedded,
        QueryLanguage="JSONata",
        StartAt="Wait",
        States={"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}},
    )


@pytest.fixture
def vigil(
    embedded: LocalStack, table: Any, workflow_arn: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> Vigil:
    """Run a command in this process; returns its status and what it prints."""
    deployment = Deployment(embedded.session())
    vars(deployment)["outputs"] = {Output.TABLE: table.name, Output.STATE_MACHINE: workflow_arn}
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*words: str) -> tuple[int, str, str]:
        for name, terminal in {"console": Terminal(), "errors": Terminal(stderr=True)}.items():
            for module in (cli, cli.common, cli.records, cli.run, cli.trace):
                monkeypatch.setattr(module, name, terminal, raising=False)
                monkeypatch.setattr(module, "Deployment", lambda: deployment, raising=False)
        monkeypatch.setattr(sys, "argv", ["vigil", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = (stream.decode() for stream in capfdbinary.readouterr())
        assert not CONTROL.search(RICH.sub("", out + err))
        return int(ended.value.code or 0), out, err

    return run


HOSTILE = "x\x1b[2K\u202e\n[red]a[/] \\\\\\"


@pytest.fixture
def written(table: Any, new_session: Callable[..., str], workflow_arn: str) -> str:
    """The id of a session whose execution is gone and whose steps have hostile names."""
    gone = f"{workflow_arn.replace(':stateMachine:', ':execution:')}:gone"
    error = {"code": "Broken", "message": HOSTILE}
    more = {"execution_arn": gone, "ended_at": "2026-01-01T00:00:09.000Z", "busy_at": "2026-01-01T00:00:01.000Z"}
    session_id = new_session(Status.FAILED, error=error, step_count=5, **more)
    begun = {"started_at": "2026-01-01T00:00:02.000Z", "agent": HOSTILE, "name": HOSTILE}
    for step in (
        {**begun, "number": 1, "operation": "chat", "state": "COMPLETED", "ended_at": "2026-01-01T00:00:03.000Z"},
        {
            **begun,
            "number": 2,
            "operation": "execute_tool",
            "state": "RUNNING",
            "input": {"text": HOSTILE, "length": 9},
        },
    ):
        table.put_item(Item={"PK": session_id, "SK": f"STEP#{step['number']:04}", **step})
    phase = {"state": "FAILED", "message": HOSTILE, "started_at": "2026-01-01T00:00:04.000Z"}
    table.put_item(Item={"PK": session_id, "SK": "TASK#001#[b]", **phase})
    return session_id


@pytest.mark.parametrize("colours", [False, True])
def test_a_trace_is_a_line_a_span_with_names_as_text(
    vigil: Vigil, written: str, monkeypatch: pytest.MonkeyPatch, colours: bool
) -> None:
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
    status, out, err = vigil("trace", written)
    name = "x<U+001B>[2K<U+202E> [red]a[/] \\\\\\"
    assert (status, RICH.sub("", out).splitlines()) == (
        0,
        [
            f"     0.0 s  session {written}, 9.0 s",
            "     1.0 s    attempt 1, 8.0 s",
            f"     2.0 s      1 model {name} 1.0 s",
            f"     2.0 s      2 tool {name} 7.0 s interrupted",
            f"     4.0 s      phase [b] … failed: {name}",
            "3 steps between the first and the last are not kept",
            f"FAILED after 5 steps, in 2 tool {name}: Broken: {name}",
        ],
    )
    assert "the workflow's states are gone" in err
    status, out, err = vigil("trace", written, "--step", "2")
    assert (status, err) == (0, "")
    assert "of which the first" not in out
    assert vigil("show", written)[0] == 0


def test_a_trace_for_programs_is_json(vigil: Vigil, written: str) -> None:
    found = json.loads(vigil("trace", written, "--json")[1])
    assert [step["name"] for step in found["steps"]] == [HOSTILE] * 2
    assert json.loads(vigil("trace", written, "--json", "--step", "1")[1]) == found["steps"][0]
    assert len(json.loads(vigil("trace", written, "--otlp")[1])["resourceSpans"][0]["scopeSpans"][0]["spans"]) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{} --step 3", "keeps no step 3"),
        ("{} --step 0", "--step"),
        ("{} --json --otlp", "exclude each other"),
        ("{} --follow --step 1", "no other option but --json"),
        ("no-id\x1b[31m", "session_id must be"),
        ("--follow no-id", "session_id must be"),
        (str(uuid.UUID(int=7)), f"no session {uuid.UUID(int=7)}"),
    ],
)
def test_what_cannot_be_shown_is_one_line(vigil: Vigil, written: str, words: str, said: str) -> None:
    status, out, err = vigil("trace", *words.format(written).split(" "))
    assert status in (1, 2)
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_a_session_that_runs_is_shown_with_the_state_that_its_workflow_is_in(
    vigil: Vigil, embedded: LocalStack, table: Any, workflow_arn: str
) -> None:
    sfn, session_id = embedded.client("stepfunctions"), str(uuid.uuid4())
    arn = sfn.start_execution(stateMachineArn=workflow_arn)["executionArn"]
    try:
        until(lambda: len(sfn.get_execution_history(executionArn=arn)["events"]) > 1)
        now = datetime.now(UTC).isoformat()
        record = {"status": "BUSY", "start_time": now, "busy_at": now, "execution_arn": arn, "step_count": 1}
        table.put_item(Item={"PK": session_id, "SK": "SESSION", **record})
        step = {"number": 1, "operation": "chat", "name": "m", "started_at": now, "state": "RUNNING"}
        table.put_item(Item={"PK": session_id, "SK": "STEP#0001", **step})
        status, out, err = vigil("trace", session_id)
        assert (status, err) == (0, "")
        shown = [line[12:] for line in out.splitlines()]
        assert shown[0] == f"session {session_id} …"
        assert {"  state Wait …", "  attempt 1 …", "    1 model m running"} <= set(shown)
    finally:
        sfn.stop_execution(executionArn=arn)


def test_every_kind_of_step_has_a_colour_whatever_its_operation() -> None:
    kinds = {Step.from_item({"operation": operation}).kind for operation in (*Operation, "[x]", "", None)}
    assert kinds == {"model", "tool", "step"} < COLOURS.keys()
