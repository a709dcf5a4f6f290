"""The accounts that the analysis is scored on."""

import random
from collections.abc import Mapping

from lambda_costs.sample_account import SampleAccount, assemble
from lambda_costs.sample_account.scenarios import ABSTAIN, PLANTED, STACKABLE, TRAPS, Scenario

MIX = {"clean": 45, "planted": 35, "trap": 12, "abstain": 8}  # weights of the groups of scenarios

OFTEN = {"memory": 4, "memory, changed": 2, "memory, Insights": 2, "arm64": 6, "arm64, memory": 3, "idle": 3}
OFTEN |= {"kept warm": 2, "old runtime": 3, "logs kept": 3, "errors": 2}
SELDOM = {"arm64, tmp": 0.5, "starved, cut": 0.5, "loop": 0.5}  # weights of scenarios in PLANTED; others weigh 1

STACKED = {"nothing": 6, "timeout": 3, "tmp": 0.5, "loop": 0.25, "dropped": 0.25}


def random_account(seed: int, count: int) -> SampleAccount:
    """Return an account of ``count`` functions (1 to 1,000), each drawn independently; most have no findings."""
    rng = random.Random(f"{seed}/{count}")
    return assemble(seed, [_scenario(rng) for _ in range(count)])


def free_tier_account(seed: int = 7) -> SampleAccount:
    """Return an account whose compute is inside the free tier, so that using less saves nothing."""
    small = Scenario(memory_mb=1024, timeout_seconds=1, daily_invocations=300, log_lines=150)
    wasteful = [PLANTED["memory"] | small, PLANTED["memory, Insights"] | small, PLANTED["arm64"] | small]
    # An analysis may propose these changes, but must not claim money for them.
    return assemble(seed, [*(scenario.without_labels() for scenario in (*wasteful, *wasteful)), small, small])


def _scenario(rng: random.Random) -> Scenario:
    match _choose(rng, MIX):
        case "planted":
            weights = dict.fromkeys(PLANTED, 1.0) | OFTEN | SELDOM
            scenario = PLANTED[_choose(rng, weights)] if rng.random() < 0.9 else Scenario()
            stacked = _choose(rng, STACKED)
            return _stack(scenario, STACKABLE[stacked]) if stacked in STACKABLE else scenario
        case "trap":
            return TRAPS[rng.choice(list(TRAPS))]
        case "abstain":
            return ABSTAIN[rng.choice(list(ABSTAIN))]
    return Scenario()


def _choose(rng: random.Random, weights: Mapping[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _stack(scenario: Scenario, other: Scenario) -> Scenario:
    # These choices exclude most others.
    exclusive = {"timeout_share", "last_used_days", "provisioned_concurrency", "init_ms"}
    full = exclusive & scenario.choices.keys() and "recursive_loop" not in other.choices
    return scenario if full else scenario | other
