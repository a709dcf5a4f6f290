"""What a rule sees of one function, and what it needs to build a finding."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import wraps
from typing import Any

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Function
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.prices import Rates
from lambda_costs.collect.report_lines import Reports
from lambda_costs.collect.usage import FunctionUsage, Window
from lambda_costs.model.compute import MB_PER_GB, Compute, NoClaim
from lambda_costs.model.finding import Finding, Measurement
from vigil.sdk import quote


@dataclass(frozen=True)
class FunctionContext:
    """One function, what it used, and what that costs."""

    function: Function
    usage: FunctionUsage
    compute: Compute | NoClaim
    known_rates: Rates | None  # prices in its region; None if they are not known
    label: str  # the function's name, with its region where the request has several
    window: Window
    free: bool = False  # whether the free tier covers the compute of all functions of the request

    @property
    def end(self) -> date:
        """The day after the window's last."""
        return self.window.end.date()

    def on_demand(self) -> Compute | NoClaim:
        """Return ``compute`` if all of it is billed at the on-demand price, else why not."""
        if self.usage.provisioned is None:
            return NoClaim("its provisioned concurrency could not be read, and with it the price of its duration")
        if self.usage.provisioned:
            return NoClaim("has provisioned concurrency, which changes the price of its duration: decide on that first")
        return self.compute

    def billed(self) -> Compute | NoClaim:
        """Return ``on_demand()`` if using less of it can save money, else why not."""
        used = self.on_demand()
        if self.free and isinstance(used, Compute):
            return NoClaim("the free tier covers the compute of all functions analysed, so using less saves nothing")
        return used

    def silent_days(self) -> int | None:
        """Return for how many days nothing has invoked it; None if that is not known.

        CloudWatch has no datapoints of a day without invocations. Missing datapoints prove silence only if the metrics
        could be read, and only since the function is known to exist.
        """
        if self.usage.unread:
            return None
        last = self.usage.invocations.last_use if self.usage.invocations else None
        known_since = last or self.usage.last_invoked or self.function.last_modified
        return (self.end - known_since).days if known_since else None

    def cost(self, used: Compute) -> float:
        """Return what ``used`` costs on demand, in US dollars per 30 days."""
        return used.gb_seconds * self.price

    @property
    def rates(self) -> Rates:
        """Prices in its region; only for rules that need prices, which run only where they are known."""
        assert self.known_rates is not None
        return self.known_rates

    @property
    def reports(self) -> Reports:
        """Its REPORT lines; only for rules that need compute, as ``invocations``."""
        assert self.usage.reports is not None
        return self.usage.reports

    @property
    def invocations(self) -> Daily:
        """Its invocations by day."""
        assert self.usage.invocations is not None
        return self.usage.invocations

    @property
    def price(self) -> float:
        """US dollars per GB-second of on-demand duration."""
        return self.rates.duration[self.function.architecture]

    @property
    def memory_gb(self) -> float:
        """Today's memory size in GB."""
        return self.function.memory_mb / MB_PER_GB

    def gap(self, reason: str) -> Gap:
        """Return a gap about this function."""
        return Gap(self.label, reason)

    def identity(self, kind: str, about: str = "") -> dict[str, Any]:
        """Return the fields of a Finding that identify it; ``about`` distinguishes several of one kind."""
        return {
            "id": ":".join(filter(None, (kind, self.label, about))),
            "kind": kind,
            "function": self.function.name,
            "region": self.function.region,
            "arn": self.function.arn,
        }

    def command(self, operation: str, options: str) -> str:
        """Return the AWS CLI command for Lambda's ``operation`` on this function."""
        return (
            f"aws lambda {operation} --region {self.function.region}"
            f" --function-name={quote(self.function.name)} {options}"
        ).rstrip()

    def logs_command(self, operation: str, options: str) -> str:
        """Return the AWS CLI command for ``operation`` on this function's log group."""
        group = quote(self.function.log_group)
        return f"aws logs {operation} --region {self.function.region} --log-group-name={group} {options}"


def as_code(cloudformation: str, cdk: str, resource: str = "AWS::Lambda::Function") -> str:
    """Return properties of ``resource`` for CloudFormation and for the CDK in Python."""
    return f"# CloudFormation, {resource}\n{cloudformation}\n# CDK, Python\n{cdk}"


def compute_evidence(used: Compute) -> dict[str, Measurement]:
    """Return the evidence that all findings about compute show."""
    return {
        "Invocations": Measurement(
            f"{used.invocations.low:,.0f} to {used.invocations.high:,.0f}, {used.invocations.expected:,.0f} expected",
            "in the next 30 days",
        ),
        "Mean billed duration": Measurement(round(used.billed_seconds, 6), "s"),
        "REPORT lines read": Measurement(used.lines, "of a sample" if used.sampled else "of every invocation"),
    }


Results = Iterator[Finding | Gap]  # findings about one function, and a Gap where the data support no claim
Rule = Callable[[FunctionContext], Results]
ComputeRule = Callable[[FunctionContext, Compute], Results]


def needs_compute(
    read: Callable[[FunctionContext], Compute | NoClaim] = lambda context: context.compute,
) -> Callable[[ComputeRule], Rule]:
    """Make a Rule that yields a Gap where ``read`` returns no Compute, else what the decorated rule yields."""

    def decorate(rule: ComputeRule) -> Rule:
        @wraps(rule)
        def checked(context: FunctionContext) -> Results:
            used = read(context)
            return iter((context.gap(used.reason),)) if isinstance(used, NoClaim) else rule(context, used)

        return checked

    return decorate


@dataclass(frozen=True, kw_only=True)
class FindingKind:
    """A kind of finding: each module of ``lambda_costs.findings`` declares one and names it ``FINDING``."""

    kind: str  # in ids and in findings.json
    title: str  # in the report
    rule: Rule
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Settings that the rule may propose. Each has the texts that it may be set to; no texts stand for a number."""
    urgent: bool = False  # whether the function fails or will fail, whatever that costs
    needs_prices: bool = True  # if not, the rule also looks at functions in regions without known prices
