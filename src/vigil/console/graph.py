"""A state machine as a graph: where each state is drawn, and which way its execution took."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from vigil.trace import State

# A node's size, the distances between two nodes, and the room on the left, in pixels.
WIDTH, HEIGHT, ACROSS, DOWN, LEFT = 150, 32, 176, 56, 24


class Node(NamedTuple):
    """A state; ``x`` and ``y`` are its upper left corner."""

    name: str
    x: int
    y: int
    visits: int
    current: bool


class Edge(NamedTuple):
    """A transition, as a path of SVG."""

    path: str
    taken: bool
    caught: bool  # whether only an error leads to it


class Graph(NamedTuple):
    """The states of a definition in Amazon States Language, and the transitions; those that were taken come last."""

    nodes: list[Node]
    edges: list[Edge]
    width: int
    height: int

    @classmethod
    def of(cls, definition: Mapping[str, Any], passed: Sequence[State]) -> "Graph":
        """Draw a definition; ``passed`` are the states of an execution in their order."""
        states = definition["States"]
        following = {name: [pair for pair in _following(state) if pair[0] in states] for name, state in states.items()}
        visits = Counter(state.name for state in passed)
        current = passed[-1].name if passed and not passed[-1].exited_at else None
        places = _places(definition["StartAt"], following)
        nodes = [Node(name, x, y, visits[name], name == current) for name, (x, y) in places.items()]
        taken = {(before.name, after.name) for before, after in pairwise(passed)}
        # Of several transitions between two states, an error that is caught is the least important.
        caught = {(name, to): caught for name in states for to, caught in reversed(following[name])}
        edges = [Edge(_path(places[name], places[to]), (name, to) in taken, caught[name, to]) for name, to in caught]
        size = (max(node.x for node in nodes) + WIDTH + 4, max(node.y for node in nodes) + HEIGHT + 4)
        return cls(nodes, sorted(edges, key=lambda edge: edge.taken), *size)


def _following(state: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield the names that may follow, and whether only after an error."""
    chosen = [choice.get("Next") for choice in state.get("Choices", ())]
    yield from ((name, False) for name in (state.get("Next"), *chosen, state.get("Default")) if name)
    yield from ((catch["Next"], True) for catch in state.get("Catch", ()))


def _places(first: str, following: Mapping[str, list[tuple[str, bool]]]) -> dict[str, tuple[int, int]]:
    """Return x and y of each state: below all states before it in the definition that lead to it."""
    order = [*dict.fromkeys([first, *following])]
    rows, seen, edges = dict.fromkeys(order, 0), set(), Counter(order)
    for name in order:
        seen.add(name)
        for to, _ in following[name]:
            edges.update((name, to))
            if to not in seen:
                rows[to] = max(rows[to], rows[name] + 1)
    places, filled = {}, Counter[int]()
    # On the left the states with the most transitions: the way of most executions.
    for name in sorted(order, key=lambda name: (rows[name], -edges[name])):
        places[name] = LEFT + ACROSS * filled[rows[name]], DOWN * rows[name] + 4
        filled[rows[name]] += 1
    return places


def _path(place: tuple[int, int], to: tuple[int, int]) -> str:
    (x, y), (to_x, to_y) = place, to
    if x == to_x and to_y == y + DOWN:
        return f"M{x + WIDTH // 2} {y + HEIGHT}V{to_y}"
    # Through the room on the left of a column.
    start, end = x + WIDTH * (x < to_x), to_x + WIDTH * (to_x < x)
    beside, y, to_y = (start + end) // 2 - LEFT * (x == to_x), y + HEIGHT // 2, to_y + HEIGHT // 2
    return f"M{start} {y}C{beside} {y} {beside} {to_y} {end} {to_y}"
