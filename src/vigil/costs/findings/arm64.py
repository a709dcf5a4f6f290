"""arm64: a function on x86_64 whose runtime and package would run on arm64, where a GB-second costs a fifth less."""

from collections.abc import Iterator
from shlex import quote

from vigil.costs.case import Case, compute_evidence
from vigil.costs.finding import Finding, Interval, Measure, money, rate
from vigil.costs.gaps import Gap

KIND = "arm64"

RUNTIMES_DATE = "2026-08"
RUNTIMES = frozenset(
    {
        *("nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x"),
        *("python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"),
        *("java8.al2", "java11", "java17", "java21", "java25"),
        *("dotnet8", "dotnet10"),
        *("ruby3.2", "ruby3.3", "ruby3.4"),
        *("provided.al2", "provided.al2023"),
    }
)
"""Runtimes that exist on arm64 (AWS Lambda Developer Guide, "Lambda runtimes"); older ones can no longer be updated."""
X86_ONLY = frozenset({"go1.x", "java8", "provided", "python3.6", "python3.7", "nodejs10.x", "ruby2.5", "dotnetcore2.1"})

FASTER, SAME, SLOWER = 0.8, 1.0, 1.25
"""Duration on arm64 over duration on x86_64, before anybody has measured it. SLOWER is the break-even of the two
prices; a function that is slower still should go back. Nothing in metrics or logs narrows this range."""


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding for Zip packages without layers whose runtime exists on arm64."""
    function = case.function
    if function.architecture != "x86_64" or function.runtime in X86_ONLY:
        return
    used = case.on_demand()
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
            f" on x86_64: {money(saved(SAME))} at r = {SAME:g}, {money(saved(FASTER))} at r = {FASTER:g}."
            f" It breaks even at r = {x86 / arm:.2f}; how it runs on arm64 has not been measured."
        ),
        change="Run it on arm64 instead of x86_64",
        how_to=(
            "# build the package for arm64 first: native dependencies must exist for it\n"
            f"aws lambda update-function-code --region {function.region} --function-name {quote(function.name)}"
            " --architectures arm64 --zip-file fileb://package.zip --publish"
        ),
        risk="Native dependencies in the package must exist for arm64; some code runs slower there.",
        validate=(
            "Shift a part of the traffic with a weighted alias and compare the billed duration of both versions:"
            f" go back if arm64 takes {x86 / arm:.2f} times as long or longer."
        ),
        savings=Interval(saved(SLOWER), saved(SAME), saved(FASTER)),
        share_of=used.gb_seconds * x86,
    )


def _unknown(case: Case) -> str | None:
    """Return why it is not known whether the function would run on arm64, or None if it is."""
    function = case.function
    if function.package_type != "Zip":
        return "deployed as a container image, whose contents are not read"
    if function.layers:
        return "uses layers, which may hold code for x86_64 only"
    if function.runtime not in RUNTIMES:
        return f"runtime {function.runtime} is not in the table of {RUNTIMES_DATE}"
    return None
