"""/tmp above 512 MB: the excess is billed while the function runs, used or not."""

from lambda_costs.model.compute import MB_PER_GB, RANGE_OF_INVOCATIONS, Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, compute_evidence, needs_compute
from lambda_costs.model.finding import Basis, Finding, Measurement, money, rate

FREE_MB = 512  # size of /tmp that is not billed (AWS Lambda pricing)


@needs_compute()
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding for every function with more than 512 MB of /tmp."""
    size = context.function.ephemeral_mb
    if size <= FREE_MB:
        return
    price = context.rates.ephemeral[context.function.architecture]
    seconds = used.invocations.expected * used.billed_seconds
    cost = (size - FREE_MB) / MB_PER_GB * seconds * price
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Size of /tmp": Measurement(size, "MB"),
            **compute_evidence(used),
            "Price": Measurement(price, "$ per GB-second"),
        },
        formula=(
            f"({size:,} − {FREE_MB}) MB / 1,024 × {seconds:,.0f} s × {rate(price)} = {money(cost)} at most."
            " How much of it is used is not known: at least nothing is saved, and the middle is expected."
            f" {RANGE_OF_INVOCATIONS}"
        ),
        change=f"Set /tmp from {size:,} MB to {FREE_MB} MB, if it does not need more",
        proposed={"ephemeral_mb": FREE_MB},
        how_to=context.command("update-function-configuration", f"--ephemeral-storage Size={FREE_MB}"),
        as_code=as_code(f"EphemeralStorage: {{Size: {FREE_MB}}}", f"ephemeral_storage_size=Size.mebibytes({FREE_MB})"),
        risk="A function that writes more fails with 'no space left on device'.",
        validate="Log how much of /tmp is used at the end of some invocations before the change.",
        savings=used.share(context.cost(used)).scaled(0.0, cost / 2, cost),
        basis=Basis.TO_TEST,
    )


FINDING = FindingKind(
    kind="ephemeral-storage", title="More /tmp than is free", rule=find, settings={"ephemeral_mb": ()}
)
