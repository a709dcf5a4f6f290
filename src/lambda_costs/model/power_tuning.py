"""Input of AWS Lambda Power Tuning, the state machine that measures a function at several memory sizes."""

from collections.abc import Iterable
from typing import Any

INVOCATIONS = 50  # of each size; at least 5 (aws-lambda-power-tuning, "State machine input"); our own choice


def tuning_input(arn: str, sizes: Iterable[int]) -> dict[str, Any]:
    """Return the input that measures $LATEST of the function ``arn`` at ``sizes`` in MB; the payload is to be filled.

    The state machine sets the memory size of $LATEST and publishes it, and sets it back: it takes no alias's ARN.
    """
    return {
        "lambdaARN": arn,
        "powerValues": sorted(set(sizes)),
        "num": INVOCATIONS,
        "payload": {},
        "parallelInvocation": False,
        "strategy": "cost",
    }
