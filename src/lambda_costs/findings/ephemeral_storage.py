"""/tmp above 512 MB: what is above is billed for as long as the function runs, used or not."""

from collections.abc import Iterator

from lambda_costs.collect.gaps import Gap
from lambda_costs.model.compute import MB_PER_GB
from lambda_costs.model.context import Case, as_code, compute_evidence
from lambda_costs.model.finding import Finding, Interval, Measure, money, rate

KIND = "ephemeral-storage"

FREE_MB = 512
"""Size of /tmp that is not billed (AWS Lambda pricing)."""


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding for every function with more than 512 MB of /tmp."""
    size, used = case.function.ephemeral_mb, case.compute
    if size <= FREE_MB:
        return
    if isinstance(used, str):
        yield case.gap(used)
        return
    price = case.rates.ephemeral[case.function.architecture]
    seconds = used.invocations * used.billed_seconds
    cost = (size - FREE_MB) / MB_PER_GB * seconds * price
    yield case.finding(
        KIND,
        evidence={
            "Size of /tmp": Measure(size, "MB"),
            **compute_evidence(used),
            "Price": Measure(price, "$ per GB-second"),
        },
        formula=(
            f"({size:,} − {FREE_MB}) MB / 1,024 × {seconds:,.0f} s × {rate(price)} = {money(cost)} at most."
            " How much of it is used, nothing tells: at least nothing is saved, and expected is the middle."
        ),
        change=f"Set /tmp from {size:,} MB to {FREE_MB} MB, if it does not need more",
        proposed={"ephemeral_mb": FREE_MB},
        how_to=case.command("update-function-configuration", f"--ephemeral-storage Size={FREE_MB}"),
        as_code=as_code(f"EphemeralStorage: {{Size: {FREE_MB}}}", f"ephemeral_storage_size=Size.mebibytes({FREE_MB})"),
        risk="A function that writes more fails with 'no space left on device'.",
        validate="Log the size of /tmp at the end of some invocations before the change.",
        savings=Interval(0.0, cost / 2, cost),
    )
