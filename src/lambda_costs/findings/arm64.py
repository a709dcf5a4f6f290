"""arm64: a function on x86_64 that could run on arm64, where a GB-second costs a fifth less."""

from lambda_costs.model import runtimes
from lambda_costs.model.compute import Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, compute_evidence, needs_compute
from lambda_costs.model.finding import ComputeShare, Finding, Measurement, SavingsRange, money, rate

ARM64_FASTER, ARM64_SAME, ARM64_SLOWER = 0.8, 1.0, 1.25
"""Duration on arm64 divided by that on x86_64, unmeasured; our own choice. At 1.25, the prices break even; metrics and
logs do not narrow this range."""


@needs_compute(FunctionContext.billed)
def find(context: FunctionContext, used: Compute) -> Results:
    """Yield the finding for Zip packages without layers whose runtime exists on arm64."""
    function = context.function
    if function.architecture != "x86_64" or function.runtime in runtimes.X86_ONLY:
        return
    if reason := _unknown(context):
        yield context.gap(f"arm64: {reason}")
        return
    x86, arm = context.rates.duration["x86_64"], context.rates.duration["arm64"]

    def saved(ratio: float) -> float:
        return used.gb_seconds * (x86 - ratio * arm)

    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Architecture": Measurement(function.architecture),
            "Runtime": Measurement(function.runtime or ""),
            "Memory": Measurement(function.memory_mb, "MB"),
            "Billed": Measurement(round(used.gb_seconds, 3), "GB-seconds per 30 days"),
            **compute_evidence(used),
            "Price on x86_64": Measurement(x86, "$ per GB-second"),
            "Price on arm64": Measurement(arm, "$ per GB-second"),
        },
        formula=(
            f"{used.gb_seconds:,.0f} GB-s × ({rate(x86)} − r × {rate(arm)}), where r is the duration on arm64 divided"
            f" by that on x86_64: {money(saved(ARM64_SAME))} at r = {ARM64_SAME:g}, {money(saved(ARM64_FASTER))} at"
            f" r = {ARM64_FASTER:g}. It breaks even at r = {x86 / arm:.2f}; r has not been measured."
        ),
        change="Run it on arm64 instead of x86_64",
        proposed={"architecture": "arm64"},
        how_to=(
            "# build the package for arm64 first, with its native dependencies\n"
            + context.command("update-function-code", "--architectures arm64 --zip-file fileb://package.zip --publish")
        ),
        as_code=as_code("Architectures: [arm64]", "architecture=lambda_.Architecture.ARM_64"),
        risk="Native dependencies in the package must exist for arm64; some code runs slower there.",
        validate=(
            "Shift part of the traffic with a weighted alias and compare the billed duration of both versions:"
            f" go back if arm64 takes {x86 / arm:.2f} times as long or longer."
        ),
        savings=SavingsRange(saved(ARM64_SLOWER), saved(ARM64_SAME), saved(ARM64_FASTER)),
        scaling=ComputeShare(used.gb_seconds * x86, used.gb_seconds, repriced=arm / x86),
    )


def _unknown(context: FunctionContext) -> str | None:
    """Return why the function may not run on arm64, or None if it would."""
    function = context.function
    if function.package_type != "Zip":
        return "deployed as a container image, whose contents are not read"
    if function.layers:
        return "uses layers, which may hold code for x86_64 only"
    if function.runtime not in runtimes.ARM64:
        return f"runtime {function.runtime} is not in the table of {runtimes.DATE}"
    return None


FINDING = FindingKind(
    kind="arm64", title="Runs on x86_64, not on arm64", rule=find, settings={"architecture": ("arm64",)}
)
