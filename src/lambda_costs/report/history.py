"""Reads the findings.json of an earlier analysis. It is untrusted input.

Anyone who may write to the bucket may have written it. It is used only if it is plausible: its text names settings,
kinds and functions only, and its amounts are consistent and within what Lambda can cost.
"""

import json
from dataclasses import astuple
from datetime import date
from math import fsum
from typing import Annotated, Self

from pydantic import AliasPath, BaseModel, Field, FiniteFloat, model_validator

from lambda_costs.collect.inventory import MAX_MEMORY_MB, MAX_TIMEOUT_SECONDS, MIN_MEMORY_MB
from lambda_costs.findings import KINDS, title
from lambda_costs.model.finding import ComputeShare, Finding, SavingsRange
from lambda_costs.model.volume import MAX_MORE

OLD_FORMAT = "the findings of the last analysis are damaged or from another version"

MAX_GB_SECOND_PRICE = 3e-5  # US dollars; no region's on-demand price is higher ("AWS Lambda Pricing")
MAX_DOLLARS = 1_000 * MAX_MEMORY_MB / 1024 * MAX_GB_SECOND_PRICE * 30 * 86_400
"""US dollars per 30 days: a function of the largest size that always uses a region's whole default concurrency."""
MAX_TOTAL_DOLLARS = 20 * MAX_DOLLARS  # for all findings, per 30 days: more than any known account spends on Lambda
FIRST_DAY = date(2014, 11, 13)  # when AWS announced Lambda
MAX_INVOCATIONS = 1e12  # per 30 days: nearly 400,000 a second
CENT = 0.01  # US dollars by which equal amounts may differ
MAX_COST_FACTOR = MAX_MEMORY_MB / MIN_MEMORY_MB  # of a change to compute at most: more memory makes nothing slower

_Dollars = Annotated[FiniteFloat, Field(ge=-MAX_DOLLARS, le=MAX_DOLLARS)]
_Number = Annotated[int, Field(ge=0, le=1_000_000)]


class _Scaling(BaseModel):
    cost: Annotated[_Dollars, Field(gt=0)]
    fewer: Annotated[FiniteFloat, Field(ge=0, le=1)]
    more: Annotated[FiniteFloat, Field(ge=1, le=MAX_MORE)]


class PreviousFinding(BaseModel):
    """A finding of the earlier analysis."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}(:[A-Za-z0-9_$-]{1,140}){1,3}$")]
    kind: str
    function: str
    region: str
    arn: Annotated[str, Field(pattern=r"^arn:[a-z-]+:lambda:[a-z0-9-]{1,40}:[0-9]{12}:function:[A-Za-z0-9_-]{1,140}$")]
    proposed: dict[str, _Number | str]
    savings: SavingsRange
    scaling: _Scaling | None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.kind not in KINDS:
            raise ValueError("unknown kind")
        settings = KINDS[self.kind].settings
        for name, value in self.proposed.items():
            if name not in settings or (value not in settings[name] if settings[name] else isinstance(value, str)):
                raise ValueError("the finding cannot propose such a setting")
        if (self.region, self.function) != (self.arn.split(":")[3], self.arn.split(":")[6]):
            raise ValueError("the function does not match its ARN")
        low, expected, high = astuple(self.savings)
        if not (low >= -MAX_DOLLARS and low - CENT <= expected <= high + CENT and high <= MAX_DOLLARS):
            raise ValueError("low, expected and high are out of range or not in order")
        if self.scaling is None:
            if high and not {"memory_mb", "architecture"}.isdisjoint(self.proposed):
                raise ValueError("a change to compute must scale its cost")
        elif high > self.scaling.cost * self.scaling.more + CENT or low < -self.scaling.cost * (
            self.scaling.more * MAX_COST_FACTOR
        ):
            raise ValueError("the savings do not fit the cost that they scale")
        return self

    def as_finding(self) -> Finding:
        """Return the finding with what was proposed in the words of this version. It saves at most the whole cost."""
        settings = ", ".join(f"{name} {value}" for name, value in self.proposed.items())
        return Finding(
            **self.model_dump(include={"id", "kind", "function", "region", "arn", "proposed"}),
            evidence={},
            formula="",
            change=f"{title(self.kind)}: {settings}" if settings else title(self.kind),
            risk="",
            validate="",
            savings=self._bounded_savings(),
            scaling=ComputeShare(self.scaling.cost, 0.0, fewer=self.scaling.fewer, more=self.scaling.more)
            if self.scaling
            else None,
        )

    def _bounded_savings(self) -> SavingsRange:
        """Return the savings, each end within what its number of invocations costs, which may be none."""
        low, expected, high = astuple(self.savings)
        if self.scaling is None:
            return SavingsRange(*(min(amount, MAX_DOLLARS) for amount in (low, expected, high)))
        fewer, same, more = (self.scaling.cost * factor for factor in (self.scaling.fewer, 1.0, self.scaling.more))
        return SavingsRange(min(low, fewer), min(expected, same), min(max(high, -MAX_COST_FACTOR * fewer), more))


class PreviousFunction(BaseModel):
    """What a function cost at the time of the earlier analysis, per 30 days."""

    arn: str
    memory_mb: Annotated[int, Field(ge=MIN_MEMORY_MB, le=MAX_MEMORY_MB)]
    invocations: Annotated[FiniteFloat, Field(ge=0, le=MAX_INVOCATIONS)] | None
    cost: Annotated[_Dollars, Field(ge=0)] | None

    @model_validator(mode="after")
    def _can_cost_that(self) -> Self:
        most = self.memory_mb / 1024 * MAX_TIMEOUT_SECONDS * MAX_GB_SECOND_PRICE
        if self.cost is not None and self.invocations is not None and self.cost > self.invocations * most:
            raise ValueError("the cost is too high for the invocations")
        return self


class PreviousFindings(BaseModel):
    """An earlier analysis."""

    end: Annotated[date, Field(ge=FIRST_DAY, validation_alias=AliasPath("window", "end"))]  # of its window
    functions: list[PreviousFunction]
    findings: list[PreviousFinding]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len({finding.id for finding in self.findings}) < len(self.findings):
            raise ValueError("duplicate finding")
        if fsum(max(abs(item.savings.low), abs(item.savings.high)) for item in self.findings) > MAX_TOTAL_DOLLARS:
            raise ValueError("the total is too high")
        scaling = [(finding.arn, finding.kind) for finding in self.findings if finding.scaling]
        if len(set(scaling)) < len(scaling):
            raise ValueError("two findings of one kind scale one cost")
        costs = {function.arn: function.cost for function in self.functions}
        if len(costs) < len(self.functions):
            raise ValueError("duplicate function")
        for finding in self.findings:
            cost = costs.get(finding.arn)
            if finding.scaling and cost is not None and finding.scaling.cost > cost + CENT:
                raise ValueError("a finding scales more than the function costs")
        return self


def read_document(text: str, until: date) -> PreviousFindings | None:
    """Return the parsed ``text``; None if it is not plausible or its window ended after ``until``."""
    try:
        document = PreviousFindings.model_validate(json.loads(text))
    except (ValueError, RecursionError, OverflowError):
        return None
    return document if document.end <= until else None
