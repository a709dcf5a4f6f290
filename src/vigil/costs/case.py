"""What a finding's rule looks at: one function, what it used, and what that costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from vigil.costs.compute import Compute
from vigil.costs.finding import Finding, Interval, Measure
from vigil.costs.gaps import Gap
from vigil.costs.inventory import Function
from vigil.costs.prices import Rates
from vigil.costs.usage import FunctionUsage


@dataclass(frozen=True)
class Case:
    """One function as a rule sees it."""

    function: Function
    usage: FunctionUsage
    compute: Compute | str
    """What its invocations use, or why that is not known."""
    rates: Rates
    label: str
    """The function's name, with its region where the request has several."""

    def on_demand(self) -> Compute | str:
        """Return ``compute`` if all of it is billed at the price of on-demand duration, else the reason."""
        if self.usage.provisioned is None:
            return "its provisioned concurrency could not be read, and with it the price of its duration"
        if self.usage.provisioned:
            return "has provisioned concurrency, which changes the price of its duration: decide on that first"
        return self.compute

    def gap(self, why: str) -> Gap:
        """Return a gap about this function."""
        return Gap(self.label, why)

    def finding(
        self,
        kind: str,
        *,
        evidence: Mapping[str, Measure],
        formula: str,
        change: str,
        how_to: str,
        risk: str,
        validate: str,
        savings: Interval,
        about: str = "",
        share_of: float | None = None,
    ) -> Finding:
        """Return a finding about this function; ``about`` tells several of one kind apart."""
        return Finding(
            id=":".join(filter(None, (kind, self.label, about))),
            kind=kind,
            function=self.function.name,
            region=self.function.region,
            arn=self.function.arn,
            evidence=evidence,
            formula=formula,
            change=change,
            how_to=how_to,
            risk=risk,
            validate=validate,
            savings=savings,
            share_of=share_of,
        )


def compute_evidence(used: Compute) -> dict[str, Measure]:
    """Return the evidence that every finding about compute shares."""
    return {
        "Invocations": Measure(round(used.invocations, 1), "per 30 days"),
        "Mean billed duration": Measure(round(used.billed_seconds, 6), "s"),
        "REPORT lines read": Measure(used.lines, "of a sample" if used.sampled else "of every invocation"),
    }
