"""What a finding's rule looks at: one function, what it used, and what that costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Function
from lambda_costs.collect.prices import Rates
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.model.compute import MB_PER_GB, Compute
from lambda_costs.model.finding import NOTHING, Finding, Interval, Measure, Scaling
from vigil.sdk import quote


@dataclass(frozen=True)
class Case:
    """One function as a rule sees it."""

    function: Function
    usage: FunctionUsage
    compute: Compute | str
    """What its invocations use, or why that is not known."""
    known_rates: Rates | None
    """What one more unit costs in its region; None if that is not known."""
    label: str
    """The function's name, with its region where the request has several."""
    end: date
    """The day after the window's last."""
    free: bool = False
    """Whether the free tier covers all the compute of the functions that were looked at."""

    def on_demand(self) -> Compute | str:
        """Return ``compute`` if all of it is billed at the price of on-demand duration, else the reason."""
        if self.usage.provisioned is None:
            return "its provisioned concurrency could not be read, and with it the price of its duration"
        if self.usage.provisioned:
            return "has provisioned concurrency, which changes the price of its duration: decide on that first"
        return self.compute

    def billed(self) -> Compute | str:
        """Return ``on_demand()`` if using less of it can save money, else the reason."""
        used = self.on_demand()
        if not isinstance(used, str) and self.free:
            return "the free tier covers all the compute of the functions looked at, so that less of it saves nothing"
        return used

    def silent_days(self) -> int | None:
        """Return for how many days nothing has invoked it; None if that is not known.

        CloudWatch has no datapoint where nothing was invoked: its silence proves something only if the metrics could be
        read, and only for as long as the function is known to exist.
        """
        usage = self.usage
        if usage.unread:
            return None
        last = usage.invocations.last_use if usage.invocations else None
        known_since = last or usage.last_invoked or self.function.last_modified
        return (self.end - known_since).days if known_since else None

    def cost(self, used: Compute) -> float:
        """Return what ``used`` costs on demand, in US dollars per 30 days."""
        return used.gb_seconds * self.price

    @property
    def rates(self) -> Rates:
        """What one more unit costs in its region; only for rules that are asked where that is known."""
        assert self.known_rates is not None
        return self.known_rates

    @property
    def price(self) -> float:
        """US dollars per GB-second of on-demand duration."""
        return self.rates.duration[self.function.architecture]

    @property
    def memory_gb(self) -> float:
        """Today's memory size."""
        return self.function.memory_mb / MB_PER_GB

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
        risk: str,
        validate: str,
        proposed: Mapping[str, int | str] | None = None,
        how_to: str = "",
        as_code: str = "",
        savings: Interval = NOTHING,
        about: str = "",
        scaling: Scaling | None = None,
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
            proposed=proposed or {},
            how_to=how_to,
            as_code=as_code,
            risk=risk,
            validate=validate,
            savings=savings,
            scaling=scaling,
        )

    def command(self, operation: str, options: str) -> str:
        """Return the command of the AWS CLI that does ``operation`` of Lambda to this function."""
        return (
            f"aws lambda {operation} --region {self.function.region}"
            f" --function-name={quote(self.function.name)} {options}"
        ).rstrip()


def as_code(cloudformation: str, cdk: str, resource: str = "AWS::Lambda::Function") -> str:
    """Return properties of ``resource`` for CloudFormation and for the CDK in Python."""
    return f"# CloudFormation, {resource}\n{cloudformation}\n# CDK, Python\n{cdk}"


def compute_evidence(used: Compute) -> dict[str, Measure]:
    """Return the evidence that every finding about compute shares."""
    return {
        "Invocations": Measure(round(used.invocations, 1), "per 30 days"),
        "Mean billed duration": Measure(round(used.billed_seconds, 6), "s"),
        "REPORT lines read": Measure(used.lines, "of a sample" if used.sampled else "of every invocation"),
    }
