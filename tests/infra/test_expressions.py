"""Each expression of the state machine, with the JSONata that AWS names (2.0.6) and that of the embedded AWS.

"Transforming data with JSONata" (Step Functions Developer Guide) describes the engine of AWS. Its source is not public,
so two other engines that agree are the best evidence.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.definition import resolved
from infra.states.expressions import RUNTIME_SESSION_ID, SESSION_ID
from tests.infra.test_definition import expressions
from tests.support import BIN
from vigil.errors import InvalidSessionId
from vigil.local.deploy import PROJECT
from vigil.names import DEADLINE_KEY, STACK, TICK_KEY
from vigil.session import (
    MAX_DETAIL_BYTES,
    MAX_DETAIL_DEPTH,
    TICK_PATTERN,
    Status,
    check_session_id,
    runtime_session_id,
    session_id_of,
)
from vigil.settings import LAST_ATTEMPT

Outcomes = dict[str, list[Any]]
"""By expression: [value], or [] where it has none."""
Engine = Callable[[str], Outcomes]

VALID = "0123456789abcdef-0123456789abcdef"
NOW = 1_767_225_600_123  # 2026-01-01, in milliseconds
LINE = {"ticket": 0, "turn": 0, "refusals": 0, "refused": False, "at": 0, "step": 42, "code": "", "message": ""}
PACKAGE = PROJECT / ".venv" / "npm" / "node_modules" / "jsonata"


@pytest.fixture(scope="module")
def found(assembly: Path) -> list[str]:
    """Every expression of the deployed definition."""
    definition = json.loads(resolved(json.loads((assembly / f"{STACK}.template.json").read_text())))
    return list(dict.fromkeys(expressions(definition)))


@pytest.fixture(scope="module")
def named(found: list[str]) -> Iterator[Engine]:
    """The engine that AWS names."""
    assert PACKAGE.is_dir(), "`make test` installs it"
    words, pipe = [BIN / "node", Path(__file__).with_name("expressions.js"), PACKAGE], subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()

    def evaluate(text: str) -> Outcomes:
        assert process.stdout is not None
        ask(text)
        return dict(zip(found, json.loads(process.stdout.readline()), strict=True))

    ask(json.dumps(found))
    with closing(process.stdout), closing(process.stdin):
        yield evaluate
    process.wait()


@pytest.fixture(scope="module")
def embedded(found: list[str]) -> Iterator[Engine]:
    """The engine of the embedded AWS."""
    from jsonata.functions import Functions
    from ministack.services import stepfunctions

    from vigil.local.ministack_patches.stepfunctions import TextEncoder

    # Each case changes few of the variables, and this engine takes long: it evaluates what reads one of them.
    names = {expression: set(re.findall(r"\$(?:states\.)?(\w+)", expression)) for expression in found}
    seen: dict[tuple[str, str], list[Any]] = {}

    def evaluate(text: str) -> Outcomes:
        given = json.loads(text)
        states, now = given.pop("states"), given.pop("millis")
        assert now == NOW
        context, results = {**states["context"], "variables": given}, (states.get("result"), states.get("errorOutput"))
        values = {name: json.dumps(value) for name, value in {**given, "states": states, **states}.items()}

        def outcome(expression: str) -> list[Any]:
            read = expression, "".join(f"{name}={values.get(name)}" for name in sorted(names[expression]))
            if read not in seen:
                try:
                    seen[read] = [stepfunctions._evaluate_jsonata(expression, states["input"], context, *results)]
                except stepfunctions._ExecutionError:
                    seen[read] = []
            return seen[read]

        return {expression: outcome(expression) for expression in found}

    register = stepfunctions._register_sfn_jsonata_functions

    def at_that_time(compiled: Any) -> None:
        register(compiled)
        compiled.register_lambda("millis", lambda: NOW)
        compiled.register_lambda("random", lambda: 0.25)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepfunctions, "_register_sfn_jsonata_functions", at_that_time)
        patch.setattr(Functions, "Encoder", TextEncoder)
        yield evaluate


def variables(given: object, result: object = None, error_output: object = None, **assigned: object) -> str:
    """Return what the states of an execution with the input ``given`` may read, as JSON."""
    context = {
        "Execution": {"Id": "arn:execution", "StartTime": "2026-01-01T00:00:00.000Z"},
        "State": {"EnteredTime": "2026-01-01T00:00:01.5Z"},
        "Task": {"Token": "token"},
    }
    states = {"input": given, "context": context, "result": result, "errorOutput": error_output or {"Error": "E"}}
    usual = {
        **{"session_id": VALID, "valid": True, "detail": {}, "report_uri": "s3://bucket/report.md"},
        **{"otherExecution": False, "status": "BUSY", "deadline": NOW + 1000},
        **{"attempt": 1, "invoked": 1, "taken": True, "mayContinue": True},
        "lastHeartbeat": {"value": "", "since": NOW - 10, "checkedAt": NOW - 5, "unchangedMs": 5},
        "error": {"code": "Lost", "message": "it was lost"},
        "line": LINE,
    }
    return json.dumps({**usual, **assigned, "states": states, "millis": NOW}, allow_nan=False)


def alike(value: Any) -> Any:
    """Return ``value`` as both engines can tell it: JSON has one kind of number, and none that is infinite."""
    if isinstance(value, dict):
        return {name: alike(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [alike(inner) for inner in value]
    if isinstance(value, str) and value[:1] in '{["':
        # What $string made of a value: the engines write a number in their own ways.
        with suppress(ValueError):
            return alike(json.loads(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        # $string keeps 15 digits.
        return float(f"{value:.15g}")
    return value


text = st.text(st.characters(exclude_categories=()))
# JSONata rounds a number to 15 digits when it becomes text: one engine makes infinity of the largest numbers.
finite = st.floats(-1.7e308, 1.7e308)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
time = st.floats(0, 4e12) | st.integers(0, 4 * 10**12)
ids = st.from_regex("[A-Za-z0-9-]{30,40}\n?", fullmatch=True) | st.sampled_from(["0" * 100, "0" * 101, "😀" * 120])
number = st.floats(-2, 30_000) | st.integers(-2, 30_000) | st.integers() | finite
tick = st.from_regex(f"x?{TICK_PATTERN}\n?", fullmatch=True)
asked = {DEADLINE_KEY: anything | number, TICK_KEY: tick | anything}
details = anything | st.fixed_dictionaries({}, optional=asked)
inputs = anything | st.fixed_dictionaries({}, optional={"session_id": ids | anything, "detail": details})
attribute = st.fixed_dictionaries({}, optional={"S": text, "N": text})
failure = st.fixed_dictionaries({"M": st.fixed_dictionaries({}, optional={"code": attribute, "message": attribute})})
status = st.sampled_from([*Status, "", "none"])
attributes: dict[str, Any] = {
    "status": attribute | st.fixed_dictionaries({"S": status}),
    "execution_arn": attribute | st.just({"S": "arn:execution"}),
    **{"error": failure | attribute, "heartbeat_at": attribute, "report_uri": attribute},
    **{"attempt": attribute | st.fixed_dictionaries({"N": st.integers(-1, 12).map(str)}), "worker": attribute},
    "checkpoint": attribute,
}
items = st.fixed_dictionaries({}, optional={"Item": st.fixed_dictionaries({}, optional=attributes)})
raised = st.fixed_dictionaries({}, optional={"errorMessage": anything, "errorType": text}).map(json.dumps)
errors = st.fixed_dictionaries({"Error": text}, optional={"Cause": text | raised})
heartbeat = st.fixed_dictionaries({"value": text, "since": time, "checkedAt": time, "unchangedMs": time})
moment, messages = st.just(0) | time.map(int), {"code": text, "message": text}
counts = {"ticket": st.integers(0, 10**6), "refusals": st.integers(0, 100), "step": st.integers(0, 10_000)}
line = st.fixed_dictionaries({**counts, "turn": moment, "at": moment, "refused": st.booleans(), **messages})
assigned: dict[str, Any] = {
    **{"session_id": text, "detail": details, "valid": st.booleans(), "otherExecution": st.booleans()},
    **{"attempt": st.integers(1, 5), "invoked": st.integers(1, 5)},
    **{"taken": st.booleans(), "mayContinue": st.booleans()},
    **{"status": status, "deadline": time, "lastHeartbeat": heartbeat, "error": st.fixed_dictionaries(messages)},
}
drawn = st.builds(variables, inputs, items, errors, **assigned, line=line)


@settings(max_examples=15, deadline=None)
@given(text=drawn)
def test_both_engines_agree_on_whatever_comes(named: Engine, embedded: Engine, text: str) -> None:
    assert differing(named, embedded, text) == {}


def differing(named: Engine, embedded: Engine, text: str) -> dict[str, Any]:
    """Return the expressions on which the engines differ, with both results."""
    theirs, ours = named(text), embedded(text)
    both = {expression: (alike(theirs[expression]), alike(ours[expression])) for expression in theirs}
    return {expression: said for expression, said in both.items() if said[0] != said[1]}


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


CAUSES = (
    *(None, "", "plain", '{"errorMessage": "it broke", "errorType": "X"}', '{"errorMessage": "it broke"}\n', "{}", "{"),
    *('{"errorMessage":\n"it broke"}', '\n{"errorMessage": "it broke"}', 'x{"errorMessage": "it broke"}'),
    *(f'{{"errorMessage": {value}}}' for value in ("null", "5", "[1, 2]", '{"a": 1}', "true", '"\\ud800"')),
    *('{"x": "\\"errorMessage\\""}', '{"errorMessage": "😀"}', json.dumps({"errorMessage": "😀" * 2000}), "x" * 40_000),
)
DEADLINES = (None, 0, 0.5, 1, 1.0005, 5.0, 27_000, 27_001, -1, 10**30, 1e300, "5", True, [5], [], {}, "", "\ud800")
IDS = (
    *(None, 5, True, [], [VALID], {}, "", "short", VALID, VALID + "\n", "0" * 100, "0" * 101, "0" * 100_000),
    *("\ud800" * 40, "\udc00" + VALID, "😀" * 40, "é" * 40, "\u2028", "a b" * 20),
)
LONG = [{"text": letter * (MAX_DETAIL_BYTES - 11 + more)} for letter in "xЖ😀\ud800" for more in (0, 1)]


CASES = {
    "deadline": [variables({"session_id": VALID, "detail": {DEADLINE_KEY: value}}) for value in DEADLINES],
    "session id": [variables({"session_id": value, "detail": {}}) for value in IDS],
    "tick": [
        variables({"session_id": VALID, "detail": value})
        for tick in ("2026-11-30T08:00:00Z", "2026-11-30T08:00:00Z\n", "", 5, None, ["2026-11-30T08:00:00Z"], "\ud800")
        for value in ({TICK_KEY: tick}, [{TICK_KEY: tick}], {"a": {TICK_KEY: tick}})
    ],
    "detail": [
        variables({"session_id": VALID, "detail": value})
        for value in (None, "x", 5, [], [1], [[]], "\ud800", {"deep": nested(MAX_DETAIL_DEPTH)}, *LONG)
    ],
    "input": [variables(value) for value in (None, {}, [], "x", 5, {"session_id": VALID}, [{"session_id": VALID}])],
    "cause": [variables({}, None, {"Error": "E", **({} if cause is None else {"Cause": cause})}) for cause in CAUSES],
    "ticket": [
        variables({}, {"Attributes": {name: {"N": value} for name, value in item.items()}}, line={**LINE, "turn": turn})
        for item in (
            {"issued": "1"},
            {"issued": "7", "at": "1767225600000", "number": "5", "step": "42"},
            {"issued": "70000", "at": "1767225600000", "number": "5", "step": "60000"},
        )
        for turn in (0, NOW + 5)
    ],
    "turn": [
        variables({}, line={**LINE, "refused": refused, "ticket": 5, "refusals": refusals, "at": at, "turn": at + 7})
        for refused in (True, False)
        for refusals in (1, 2, 5, 30)
        for at in (0, NOW - 5, NOW + 5, NOW + 60_000)
    ],
    "item": [variables({}, item) for item in (None, {}, {"Item": {}}, {"Item": {"error": {"S": "x"}}})],
}


@pytest.mark.parametrize("case", CASES)
def test_both_engines_agree(named: Engine, embedded: Engine, case: str) -> None:
    for text in CASES[case]:
        assert differing(named, embedded, text) == {}, text


@pytest.mark.parametrize("attempt", [1, 2, LAST_ATTEMPT])
def test_workflow_knows_an_attempt_by_the_same_id_as_the_package(named: Engine, embedded: Engine, attempt: int) -> None:
    for engine in (named, embedded):
        (said,) = engine(variables({}, attempt=attempt + 1, invoked=attempt))[f" {RUNTIME_SESSION_ID} "]
        assert said == runtime_session_id(VALID, attempt)


def test_number_beyond_a_float_is_refused_by_one_engine_only(named: Engine, embedded: Engine) -> None:
    """Either way the session fails as InvalidDetail: where it is not refused here, the invoker does."""
    text = variables({"session_id": VALID, "detail": {DEADLINE_KEY: "@"}}).replace('"@"', "1e400")
    (at,) = (said for expression, said in differing(named, embedded, text).items() if "$fromMillis" in expression)
    assert at == ([], ["2026-01-01T07:30:00.000Z"])


@settings(max_examples=15, deadline=None)
@given(
    given=st.fixed_dictionaries(
        {}, optional={"session_id": ids | anything, "detail": details | st.fixed_dictionaries({TICK_KEY: tick})}
    )
)
def test_workflow_knows_a_session_by_the_same_id_as_the_package(
    named: Engine, embedded: Engine, given: dict[str, Any]
) -> None:
    try:
        expected = [check_session_id(session_id_of(given.get("session_id"), given.get("detail")))]
    except InvalidSessionId:
        expected = []
    for engine in (named, embedded):
        assert engine(variables(given))[f" {SESSION_ID} "] == expected
