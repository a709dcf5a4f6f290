"""arm64: a function on x86_64 that could run on arm64, where a GB-second costs a fifth less."""

from lambda_costs.model import runtimes
from lambda_costs.model.compute import RANGE_OF_INVOCATIONS, Compute
from lambda_costs.model.context import FindingKind, FunctionContext, Results, as_code, compute_evidence, needs_compute
from lambda_costs.model.finding import Basis, Finding, Measurement, money, rate
from lambda_costs.model.power_tuning import tuning_input

ARM64_FASTER, ARM64_SAME, ARM64_SLOWER = 0.75, 1.0, 1.4
"""Duration on arm64 divided by that on x86_64, unmeasured; our own choice. Above 1.25, arm64 costs more; metrics and
logs do not narrow this range."""

INSIGHTS_HOW_TO = (
    "\n# in the same deployment, replace the layer LambdaInsightsExtension by LambdaInsightsExtension-Arm64"
)
INSIGHTS_RISK = (
    " The layer of Lambda Insights is built for x86_64 and fails every invocation on arm64: replace it by that for"
    " arm64, which not every region has."
)

TIMEOUT_RISK = f" At {ARM64_SLOWER} times its duration, the slowest invocation would time out."


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
            f" r = {ARM64_FASTER:g} and {money(saved(ARM64_SLOWER))} at r = {ARM64_SLOWER:g}. It breaks even at"
            f" r = {x86 / arm:.2f}; r has not been measured. {RANGE_OF_INVOCATIONS}"
        ),
        change="Run it on arm64 instead of x86_64",
        proposed={"architecture": "arm64"},
        how_to=(
            "# build the package for arm64 first, with its native dependencies\n"
            + context.command("update-function-code", "--architectures arm64 --zip-file fileb://package.zip --publish")
            + (INSIGHTS_HOW_TO if function.insights else "")
        ),
        as_code=as_code(
            "Architectures: [arm64]" + ("\nLayers: [LambdaInsightsExtension-Arm64]" if function.insights else ""),
            "architecture=lambda_.Architecture.ARM_64",
        ),
        risk="Native dependencies in the package must exist for arm64; some code runs slower there."
        + (INSIGHTS_RISK if function.insights else "")
        + (TIMEOUT_RISK if used.slowest_seconds * ARM64_SLOWER > function.timeout_seconds else ""),
        validate=(
            "Run AWS Lambda Power Tuning on the function and on a copy of it that runs on arm64: it measures $LATEST,"
            " not an alias. Or shift part of the traffic with a weighted alias and compare the billed duration of both"
            f" versions. Go back if arm64 takes {x86 / arm:.2f} times as long or longer."
        ),
        savings=used.share(context.cost(used)).scaled(saved(ARM64_SLOWER), saved(ARM64_SAME), saved(ARM64_FASTER)),
        basis=Basis.TO_TEST,
        test=tuning_input(function.arn, (function.memory_mb,)),
        scaling=used.share(used.gb_seconds * x86, arm / x86),
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
