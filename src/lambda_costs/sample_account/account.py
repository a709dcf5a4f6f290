"""Sample accounts, each with its ground truth."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from lambda_costs.sample_account.drawing import draw
from lambda_costs.sample_account.function import SampleFunction
from lambda_costs.sample_account.recipes import ABSTAIN, PLANTED, TRAPS, Recipe

FUNCTIONS = 48

_SUBJECTS = (
    *("orders", "invoices", "payments", "customers", "catalog", "inventory", "shipping", "returns", "search"),
    *("billing", "accounts", "sessions", "carts", "coupons", "reviews", "media", "images", "videos", "emails"),
    *("leads", "tickets", "devices", "sensors", "alerts", "reports", "partners", "vendors", "stores", "loyalty"),
)
_TASKS = (
    *("api", "worker", "export", "import", "sync", "notify", "thumbnail", "report", "webhook", "cleanup", "archive"),
    *("audit", "backfill", "index", "validate", "enrich", "dispatch", "router", "scheduler", "ingest", "transform"),
    *("stream", "batch", "replay", "digest", "score", "match", "merge", "split", "publish", "consumer", "authorizer"),
    *("proxy", "migrate", "monitor", "resize"),
)


@dataclass(frozen=True, order=True)
class Planted:
    """A function and what an analysis must find in it."""

    function: str
    kind: str


@dataclass(frozen=True)
class SampleAccount:
    """The functions, and the ground truth: everything that an analysis must find, and nothing else."""

    seed: int
    functions: tuple[SampleFunction, ...]
    planted: frozenset[Planted]
    tolerated: frozenset[Planted] = frozenset()
    """What may be found or not."""
    abstain: frozenset[str] = frozenset()
    """Functions whose data carry no claim: an analysis must say so, and claim no money."""


def build(seed: int = 7) -> SampleAccount:
    """Return the account that the local stack is seeded with; the same seed gives the same account."""
    recipes = [*PLANTED.values(), *TRAPS.values(), *ABSTAIN.values()]
    return assemble(seed, recipes + [Recipe()] * (FUNCTIONS - len(recipes)))


def assemble(seed: int, recipes: Sequence[Recipe]) -> SampleAccount:
    """Return an account with a function of each of ``recipes``, under names drawn from ``seed``."""
    rng = random.Random(seed)
    # Few subjects in a small account, so that each has several functions.
    subjects = _SUBJECTS[: max(9, ceil(len(recipes) / 30))]
    names = [f"{subject}-{task}" for subject in subjects for task in _TASKS]
    cooked = dict(zip(rng.sample(names, len(recipes)), recipes, strict=True))
    # Each by a generator of its own, so that one function more leaves the others as they are.
    functions = (draw(random.Random(f"{seed}/{name}"), name, recipe.choices) for name, recipe in cooked.items())
    return SampleAccount(
        seed,
        tuple(sorted(functions, key=lambda function: function.name)),
        frozenset(Planted(name, kind) for name, recipe in cooked.items() for kind in recipe.kinds),
        frozenset(Planted(name, kind) for name, recipe in cooked.items() for kind in recipe.tolerated),
        frozenset(name for name, recipe in cooked.items() if recipe.abstain),
    )
