"""arm64: a function on x86_64 whose runtime and package would run on arm64, where a GB-second costs a fifth less."""

from collections.abc import Iterator

from lambda_costs.collect.gaps import Gap
from lambda_costs.model import runtimes
from lambda_costs.model.context import Case, as_code, compute_evidence
from lambda_costs.model.finding import Finding, Interval, Measure, Scaling, money, rate
from lambda_costs.thresholds import ARM64_FASTER, ARM64_SAME, ARM64_SLOWER

KIND = "arm64"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding for Zip packages without layers whose runtime exists on arm64."""
    function = case.function
    if function.architecture != "x86_64" or function.runtime in runtimes.X86_ONLY:
        return
    used = case.billed()
    if isinstance(used, str):
        yield case.gap(used)
        return
    if (why := _unknown(case)) is not None:
        yield case.gap(f"arm64: {why}")
        return
    x86, arm = case.rates.duration["x86_64"], case.rates.duration["arm64"]

    def saved(ratio: float) -> float:
        return used.gb_seconds * (x86 - ratio * arm)

    yield case.finding(
        KIND,
        evidence={
            "Architecture": Measure(function.architecture),
            "Runtime": Measure(function.runtime or ""),
            "Memory": Measure(function.memory_mb, "MB"),
            "Billed": Measure(round(used.gb_seconds, 3), "GB-seconds per 30 days"),
            **compute_evidence(used),
            "Price on x86_64": Measure(x86, "$ per GB-second"),
            "Price on arm64": Measure(arm, "$ per GB-second"),
        },
        formula=(
            f"{used.gb_seconds:,.0f} GB-s × ({rate(x86)} − r × {rate(arm)}), where r is the duration on arm64 over that"
            f" on x86_64: {money(saved(ARM64_SAME))} at r = {ARM64_SAME:g}, {money(saved(ARM64_FASTER))} at"
            f" r = {ARM64_FASTER:g}."
            f" It breaks even at r = {x86 / arm:.2f}; how it runs on arm64 has not been measured."
        ),
        change="Run it on arm64 instead of x86_64",
        proposed={"architecture": "arm64"},
        how_to=(
            "# build the package for arm64 first: native dependencies must exist for it\n"
            + case.command("update-function-code", "--architectures arm64 --zip-file fileb://package.zip --publish")
        ),
        as_code=as_code("Architectures: [arm64]", "architecture=lambda_.Architecture.ARM_64"),
        risk="Native dependencies in the package must exist for arm64; some code runs slower there.",
        validate=(
            "Shift a part of the traffic with a weighted alias and compare the billed duration of both versions:"
            f" go back if arm64 takes {x86 / arm:.2f} times as long or longer."
        ),
        savings=Interval(saved(ARM64_SLOWER), saved(ARM64_SAME), saved(ARM64_FASTER)),
        scaling=Scaling(used.gb_seconds * x86, used.gb_seconds, repriced=arm / x86),
    )


def _unknown(case: Case) -> str | None:
    """Return why it is not known whether the function would run on arm64, or None if it is."""
    function = case.function
    if function.package_type != "Zip":
        return "deployed as a container image, whose contents are not read"
    if function.layers:
        return "uses layers, which may hold code for x86_64 only"
    if function.runtime not in runtimes.ARM64:
        return f"runtime {function.runtime} is not in the table of {runtimes.DATE}"
    return None
