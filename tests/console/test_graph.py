"""Any state machine is drawn: each state once, none over another, and the way that an execution took."""

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigil.console.graph import HEIGHT, WIDTH, Graph
from vigil.trace import State

AT = "2026-11-29T12:00:00.000Z"
Definition = dict[str, Any]


def machine(states: Definition, start: str = "") -> Definition:
    return {"StartAt": start or next(iter(states)), "States": states}


def passed_by(*names: str, ended: bool = True) -> list[State]:
    states = [State(name, AT, AT) for name in names]
    return states if ended or not names else [*states[:-1], State(names[-1], AT)]


def transitions(definition: Definition) -> set[tuple[str, str]]:
    """Return the pairs of states of which the second may follow the first."""
    found = set()
    for name, state in definition["States"].items():
        nexts = [state.get("Next"), state.get("Default")]
        nexts += [choice.get("Next") for choice in (*state.get("Choices", ()), *state.get("Catch", ()))]
        found |= {(name, to) for to in nexts if to in definition["States"]}
    return found


def check(definition: Definition, passed: list[State]) -> Graph:
    """Draw the definition, and assert what holds for each drawing."""
    graph = Graph.of(definition, passed)
    order = list(dict.fromkeys([definition["StartAt"], *definition["States"]]))
    nodes = {node.name: node for node in graph.nodes}
    assert sorted(node.name for node in graph.nodes) == sorted(order)
    for node in graph.nodes:
        assert node.x >= 0
        assert node.y >= 0
        assert node.x + WIDTH <= graph.width
        assert node.y + HEIGHT <= graph.height
        assert node.visits == sum(state.name == node.name for state in passed)
    corners = sorted((node.y, node.x) for node in graph.nodes)
    for (y, x), (below, right) in pairwise(corners):
        assert below >= y + HEIGHT or (below == y and right >= x + WIDTH)

    def node_at(x: int, y: int) -> str:
        (found,) = [n.name for n in graph.nodes if n.x <= x <= n.x + WIDTH and n.y <= y <= n.y + HEIGHT]
        return str(found)

    def ends(path: str) -> tuple[str, str]:
        x, y, *rest = [int(number) for number in re.findall(r"-?\d+", path)]
        assert path.startswith("M")
        return node_at(x, y), node_at(*(rest[-2:] if "C" in path else (x, rest[0])))

    drawn = {ends(edge.path): edge for edge in graph.edges}
    assert len(drawn) == len(graph.edges)
    expected = transitions(definition)
    assert set(drawn) == expected
    for before, after in expected:
        if order.index(before) < order.index(after):
            assert nodes[before].y < nodes[after].y
    taken = {(before.name, after.name) for before, after in pairwise(passed)}
    assert {pair for pair, edge in drawn.items() if edge.taken} == taken & expected
    assert [edge.taken for edge in graph.edges] == sorted(edge.taken for edge in graph.edges)
    current = {passed[-1].name} & set(order) if passed and not passed[-1].exited_at else set()
    assert {node.name for node in graph.nodes if node.current} == current
    return graph


def test_a_straight_machine_of_300_states_is_one_column() -> None:
    names = [f"S{number}" for number in range(300)]
    states: Definition = {name: {"Type": "Pass", "Next": to} for name, to in pairwise(names)}
    graph = check(machine({**states, names[-1]: {"Type": "Succeed"}}), passed_by(*names))
    assert len({node.x for node in graph.nodes}) == 1
    assert all(edge.taken for edge in graph.edges)


@pytest.mark.parametrize(
    "states",
    [
        {"A": {"Next": "B"}, "B": {"Next": "C"}, "C": {"Next": "A"}},
        {"A": {"Next": "A"}},
        {"A": {"Next": "B"}, "B": {}, "Unreachable": {"Next": "B"}},
        {"A": {"Next": "Missing", "Catch": [{"Next": "Missing"}]}, "B": {"Choices": [{"Next": "Missing"}]}},
        {"A": {"Choices": [{"Next": "B"}, {"Next": "B"}], "Default": "B", "Catch": [{"Next": "B"}]}, "B": {}},
        {"A": {}},
        {"<script>": {"Next": 'B"'}, 'B"': {"Next": "<script>"}},
    ],
)
@pytest.mark.parametrize(
    "way", [(), ("A",), ("A", "B"), ("A", "B", "C", "A", "B"), ("A", "A"), ("Elsewhere", "A", "?")]
)
def test_odd_machines_are_drawn(states: Definition, way: tuple[str, ...]) -> None:
    for ended in (True, False):
        check(machine(states), passed_by(*way, ended=ended))


def test_an_error_that_is_caught_is_dashed_unless_it_leads_where_success_does() -> None:
    states: Definition = {
        "A": {"Next": "B", "Catch": [{"Next": "B"}, {"Next": "C"}]},
        "B": {"Catch": [{"Next": "C"}]},
        "C": {},
    }
    assert [edge.caught for edge in check(machine(states), []).edges].count(True) == 2


def test_a_start_in_the_middle_is_on_top() -> None:
    graph = check(machine({"A": {}, "B": {"Next": "A"}}, "B"), passed_by("B", "A"))
    assert {node.name: node.y for node in graph.nodes}["B"] == 4


NAMES = st.sampled_from("ABCDEFGH")
STATE = st.fixed_dictionaries(
    {},
    optional={
        "Next": NAMES | st.just("Missing"),
        "Default": NAMES,
        "Choices": st.lists(st.fixed_dictionaries({}, optional={"Next": NAMES}), max_size=3),
        "Catch": st.lists(st.fixed_dictionaries({"Next": NAMES | st.just("Missing")}), max_size=2),
        "End": st.just(True),
    },
)


@given(st.dictionaries(NAMES, STATE, min_size=1), st.data())
def test_any_machine_is_drawn(states: Definition, data: st.DataObject) -> None:
    start = data.draw(st.sampled_from(sorted(states)))
    way = data.draw(st.lists(NAMES | st.just("Elsewhere"), max_size=6))
    check(machine(states, start), passed_by(*way, ended=data.draw(st.booleans())))
