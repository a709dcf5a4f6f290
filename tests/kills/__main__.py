"""Kill the agents of sessions before and after each of their calls, and at random times: ``python -m tests.kills``."""

import argparse
import random
import sys
from collections import Counter

from tests.kills.proof import Verdict, prove, proving

KINDS = {"model", "step", "checkpoint", "file", "artifact", "phase", "history", "status COMPLETED"}
"""What a session changes at least, so that there is a strike at each."""


def main() -> int:
    """Strike, print what became of the sessions, and fail if one of them did not end as if undisturbed."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="strike at only so many calls, drawn at random")
    parser.add_argument("--at-random", type=int, default=200, metavar="N", help="sessions killed at two random times")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of what is drawn")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with proving() as proof:
        at_calls = proof.at_calls()
        drawn = at_calls if arguments.sample is None else rng.sample(at_calls, arguments.sample)
        scenarios = [*drawn, *proof.at_random(rng, arguments.at_random)]
        rng.shuffle(scenarios)
        reference = proof.reference
        print(
            f"seed {arguments.seed}; an undisturbed session makes {len(reference.calls)} changes:"
            f" {', '.join(f'{count} {what}' for what, count in Counter(reference.calls).items())}",
            flush=True,
        )
        assert set(reference.calls) >= KINDS, f"a session changes no {KINDS - set(reference.calls)}"
        ended = 0

        def tell(verdict: Verdict) -> None:
            nonlocal ended
            ended += 1
            for problem in verdict.problems:
                print(f"{proof.describe(verdict.strikes)}: {problem}", flush=True)
            if ended % 50 == 0:
                print(f"{ended} of {len(scenarios)} sessions", flush=True)

        verdicts = prove(proof, scenarios, tell)
        left = proof.leftovers()
    failed = sum(bool(verdict.problems) for verdict in verdicts)
    hits = Counter(verdict.struck for verdict in verdicts)
    print(f"{len(verdicts)} sessions; {', '.join(f'{n} were struck {k} times' for k, n in sorted(hits.items()))}")
    print(f"{failed} did not end as if undisturbed; {len(left)} processes of agents were left")
    return int(failed > 0 or bool(left))


if __name__ == "__main__":
    sys.exit(main())
