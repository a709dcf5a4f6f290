"""Recursion: a function that may invoke itself without end, or was stopped doing so. What that costs has no bound."""

from collections.abc import Iterator

from lambda_costs.collect.gaps import Gap
from lambda_costs.model.context import Case
from lambda_costs.model.finding import Finding, Measure

KIND = "recursion"


def find(case: Case) -> Iterator[Finding | Gap]:
    """Yield the finding if recursive loops are allowed, or Lambda dropped invocations of one."""
    allowed, dropped = case.usage.recursion_allowed, case.usage.recursions_dropped
    number = dropped.total if dropped else 0.0
    if allowed is None:
        yield case.gap("recursion: its setting could not be read")
    if not allowed and not number:
        return
    yield case.finding(
        KIND,
        evidence={
            "Recursive loops": Measure("not known" if allowed is None else "allowed" if allowed else "stopped"),
            "Invocations dropped": Measure(round(number), "in the window"),
        },
        formula="A loop invokes as often as it can: what it costs is not bounded, and nothing is claimed.",
        change="Find the loop, and let Lambda stop it" if allowed else "Find the loop that Lambda stopped",
        proposed={"recursive_loop": "Terminate"} if allowed else {},
        how_to=case.command("put-function-recursion-config", "--recursive-loop Terminate") if allowed else "",
        risk="The loop may be meant.",
        validate="Watch RecursiveInvocationsDropped.",
    )
