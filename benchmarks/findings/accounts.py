"""The accounts that the analysis is scored on."""

import random
from collections.abc import Mapping

from lambda_costs.sample_account import SampleAccount, assemble
from lambda_costs.sample_account.recipes import ABSTAIN, PLANTED, STACKABLE, TRAPS, Recipe

MIX = {"clean": 45, "planted": 35, "trap": 12, "abstain": 8}
"""Of a hundred functions."""

OFTEN = {"memory": 4, "memory, changed": 2, "memory, Insights": 2, "arm64": 6, "arm64, memory": 3, "idle": 3}
OFTEN |= {"kept warm": 2, "old runtime": 3, "logs kept": 3, "errors": 2}
SELDOM = {"arm64, tmp": 0.5, "starved, cut": 0.5, "loop": 0.5}
"""How often a kind of waste is planted, if not once."""

STACKED = {"nothing": 6, "timeout": 3, "tmp": 0.5, "loop": 0.25, "dropped": 0.25}


def random_account(seed: int, count: int) -> SampleAccount:
    """Return an account of ``count`` functions (1 to 1,000), each drawn on its own: most are well."""
    rng = random.Random(f"{seed}/{count}")
    return assemble(seed, [_recipe(rng) for _ in range(count)])


def free_tier_account(seed: int = 7) -> SampleAccount:
    """Return an account whose whole use lies inside the free tier, so that no change of compute saves anything."""
    small = Recipe({"memory_mb": 1024, "timeout_seconds": 1, "daily_invocations": 300, "log_lines": 150})
    wasteful = [PLANTED["memory"] | small, PLANTED["memory, Insights"] | small, PLANTED["arm64"] | small]
    # To name a change that saves nothing is neither right nor wrong; to claim money for it is.
    return assemble(seed, [*(recipe.without_labels() for recipe in (*wasteful, *wasteful)), small, small])


def _recipe(rng: random.Random) -> Recipe:
    match _choose(rng, MIX):
        case "planted":
            weights = dict.fromkeys(PLANTED, 1.0) | OFTEN | SELDOM
            recipe = PLANTED[_choose(rng, weights)] if rng.random() < 0.9 else Recipe()
            stacked = _choose(rng, STACKED)
            return _stack(recipe, STACKABLE[stacked]) if stacked in STACKABLE else recipe
        case "trap":
            return TRAPS[rng.choice(list(TRAPS))]
        case "abstain":
            return ABSTAIN[rng.choice(list(ABSTAIN))]
    return Recipe()


def _choose(rng: random.Random, weights: Mapping[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _stack(recipe: Recipe, other: Recipe) -> Recipe:
    # A function that times out, is idle, kept warm or to be started from a snapshot has no room for these.
    full = {"timeout_share", "last_used_days", "provisioned", "init_ms"}
    return recipe if full & recipe.choices.keys() and "recursive_loop" not in other.choices else recipe | other
