"""Sample accounts, each with its ground truth."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from lambda_costs.sample_account.function import SampleFunction, generate
from lambda_costs.sample_account.scenarios import ABSTAIN, PLANTED, TRAPS, Scenario

FUNCTIONS = 48

_SUBJECTS = """
orders invoices payments customers catalog inventory shipping returns search billing accounts sessions carts coupons
reviews media images videos emails leads tickets devices sensors alerts reports partners vendors stores loyalty
"""
_TASKS = """
api worker export import sync notify thumbnail report webhook cleanup archive audit backfill index validate enrich
dispatch router scheduler ingest transform stream batch replay digest score match merge split publish consumer
authorizer proxy migrate monitor resize
"""


class Planted(NamedTuple):
    """A function and what an analysis must find in it."""

    function: str
    kind: str


@dataclass(frozen=True)
class SampleAccount:
    """The functions and the ground truth: what an analysis must find, and nothing else."""

    seed: int
    functions: tuple[SampleFunction, ...]
    planted: frozenset[Planted]
    tolerated: frozenset[Planted] = frozenset()  # may be found or not
    abstain: frozenset[str] = frozenset()  # functions whose data support no claim: it must say so and claim no money


def build(seed: int = 7) -> SampleAccount:
    """Return the account of the local stack; the same seed gives the same account."""
    scenarios = [*PLANTED.values(), *TRAPS.values(), *ABSTAIN.values()]
    return assemble(seed, scenarios + [Scenario()] * (FUNCTIONS - len(scenarios)))


def assemble(seed: int, scenarios: Sequence[Scenario]) -> SampleAccount:
    """Return an account with one function for each of ``scenarios``, named by ``seed``."""
    rng = random.Random(seed)
    # Few subjects in a small account, so that each has several functions.
    subjects = _SUBJECTS.split()[: max(9, ceil(len(scenarios) / 30))]
    names = [f"{subject}-{task}" for subject in subjects for task in _TASKS.split()]
    built = dict(zip(rng.sample(names, len(scenarios)), scenarios, strict=True))
    # Each has its own random generator, so that another function does not change it.
    functions = (generate(random.Random(f"{seed}/{name}"), name, scenario.choices) for name, scenario in built.items())
    return SampleAccount(
        seed,
        tuple(sorted(functions, key=lambda function: function.name)),
        frozenset(Planted(name, kind) for name, scenario in built.items() for kind in scenario.kinds),
        frozenset(Planted(name, kind) for name, scenario in built.items() for kind in scenario.tolerated),
        frozenset(name for name, scenario in built.items() if scenario.abstain),
    )
