"""Recursion: a function that may invoke itself endlessly, or that Lambda stopped doing so. Its cost has no bound."""

from lambda_costs.model.context import FindingKind, FunctionContext, Results
from lambda_costs.model.finding import Finding, Measurement


def find(context: FunctionContext) -> Results:
    """Yield the finding if recursive loops are allowed, or Lambda dropped invocations in a loop."""
    allowed, dropped = context.usage.recursion_allowed, context.usage.recursions_dropped
    number = dropped.total if dropped else 0.0
    if allowed is None:
        yield context.gap("recursion: its setting could not be read")
    if not allowed and not number:
        return
    yield Finding(
        **context.identity(FINDING.kind),
        evidence={
            "Recursive loops": Measurement("not known" if allowed is None else "allowed" if allowed else "stopped"),
            "Invocations dropped": Measurement(round(number), "in the window"),
        },
        formula="A loop invokes as often as it can: its cost has no bound, and nothing is claimed.",
        change="Find the loop, and let Lambda stop it" if allowed else "Find the loop that Lambda stopped",
        proposed={"recursive_loop": "Terminate"} if allowed else {},
        how_to=context.command("put-function-recursion-config", "--recursive-loop Terminate") if allowed else "",
        risk="The loop may be intentional.",
        validate="Check that RecursiveInvocationsDropped stays at zero.",
    )


FINDING = FindingKind(
    kind="recursion",
    title="Recursion",
    rule=find,
    settings={"recursive_loop": ("Terminate",)},
    urgent=True,
    needs_prices=False,
)
