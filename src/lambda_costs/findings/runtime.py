"""Runtime deprecated: no security updates and, later, no more updates of the function. A risk; it saves nothing."""

from collections.abc import Iterator

from lambda_costs.collect.gaps import Gap
from lambda_costs.model import runtimes
from lambda_costs.model.context import Case
from lambda_costs.model.finding import Finding, Measure
from lambda_costs.thresholds import RUNTIME_DAYS

KIND = "runtime-deprecated"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if the runtime is deprecated, or will be within 180 days."""
    runtime = case.function.runtime
    if runtime is None:  # a container image brings its own
        return
    ends = runtimes.DEPRECATED_ON.get(runtime)
    if ends is None:
        yield case.gap(f"runtime {runtime} is not in the table of {runtimes.DATE}")
        return
    left = (ends - case.end).days
    if left > RUNTIME_DAYS:
        return
    yield case.finding(
        KIND,
        evidence={
            "Runtime": Measure(runtime),
            "Deprecated on": Measure(ends.isoformat()),
            "Days left": Measure(max(0, left), "days"),
        },
        formula=f"Table of {runtimes.DATE} ({runtimes.SOURCE}). A newer runtime saves nothing by itself.",
        change=f"Move it from {runtime} to a supported runtime",
        how_to=(
            "# which runtimes are supported: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html\n# "
            + case.command("update-function-configuration", "--runtime NEWER")
        ),
        risk="No security updates; some time after the deprecation the function can no longer be updated.",
        validate="Test it on the newer runtime behind an alias.",
    )
