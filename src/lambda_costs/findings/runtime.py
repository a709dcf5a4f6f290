"""Runtime deprecated: no security updates and, later, no updates of the function. A risk; a change saves nothing."""

from lambda_costs.model import runtimes
from lambda_costs.model.context import FindingKind, FunctionContext, Results
from lambda_costs.model.finding import Finding, Measurement

NOTICE_DAYS = 180
"""Days before its deprecation at which a runtime is reported: AWS announces it so early (Lambda Developer Guide,
"Runtime deprecation policy")."""


def find(context: FunctionContext) -> Results:
    """Yield the finding if the runtime is deprecated, or will be within 180 days."""
    runtime = context.function.runtime
    if runtime is None:  # a container image has its own
        return
    ends = runtimes.DEPRECATED_ON.get(runtime)
    if ends is None:
        yield context.gap(f"runtime {runtime} is not in the table of {runtimes.DATE}")
        return
    left = (ends - context.end).days
    if left > NOTICE_DAYS:
        return
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Runtime": Measurement(runtime),
            "Deprecated on": Measurement(ends.isoformat()),
            "Days left": Measurement(max(0, left), "days"),
        },
        formula=f"Table of {runtimes.DATE} ({runtimes.SOURCE}). A newer runtime alone saves nothing.",
        change=f"Move it from {runtime} to a supported runtime",
        how_to=(
            "# supported runtimes: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html\n# "
            + context.command("update-function-configuration", "--runtime NEWER")
        ),
        risk="There are no security updates; later, Lambda refuses to update the function.",
        validate="Test it on the newer runtime behind an alias.",
    )


FINDING = FindingKind(
    kind="runtime-deprecated", title="Runtime deprecated, or soon to be", rule=find, urgent=True, needs_prices=False
)
