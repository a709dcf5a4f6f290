"""The findings.json of an earlier analysis, as the next one reads it: untrusted input.

Everybody who may write into the bucket may have written it. A document is used only if it is plausible: its text names
settings, kinds and functions and nothing else, and its amounts fit each other and what Lambda can cost.
"""

import json
from datetime import date
from math import fsum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from lambda_costs.collect.inventory import MAX_MEMORY_MB, MAX_TIMEOUT_SECONDS, MIN_MEMORY_MB
from lambda_costs.findings import KINDS, title
from lambda_costs.model.finding import SavingsRange

OLD_FORMAT = "what the last analysis left behind is damaged or of another version"

DEAREST_GB_SECOND = 3e-5
"""US dollars; no region's on-demand price is higher ("AWS Lambda Pricing")."""
MOST_DOLLARS = 1_000 * MAX_MEMORY_MB / 1024 * DEAREST_GB_SECOND * 30 * 86_400
"""US dollars per 30 days: of a function of the largest size that fills a region's default concurrency all the time."""
MOST_ALTOGETHER = 20 * MOST_DOLLARS
"""US dollars per 30 days that all findings save: no account known spends so much on Lambda."""
FIRST_DAY = date(2014, 11, 13)
"""When AWS announced Lambda."""
MOST_INVOCATIONS = 1e12
"""Per 30 days: nearly 400,000 a second."""
CENT = 0.01
"""US dollars by which amounts may differ that are the same."""
DEARER = MAX_MEMORY_MB / MIN_MEMORY_MB
"""Factor by which a change can make compute dearer: more memory makes nothing slower."""

_Dollars = Annotated[FiniteFloat, Field(ge=-MOST_DOLLARS, le=MOST_DOLLARS)]
_Setting = Literal[
    "architecture",
    "ephemeral_mb",
    "memory_mb",
    "provisioned_concurrency",
    "recursive_loop",
    "retention_days",
    "snapstart",
    "timeout_seconds",
]
_Value = Annotated[int, Field(ge=0, le=1_000_000)] | Literal["arm64", "x86_64", "Terminate"]


class _Then(BaseModel):
    """What is read of the document; whatever else it says is ignored."""

    model_config = ConfigDict(frozen=True)


class _Savings(_Then):
    low: _Dollars
    expected: _Dollars
    high: _Dollars

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low - CENT <= self.expected <= self.high + CENT:
            raise ValueError("low, expected and high are not in order")
        return self


class _Scaling(_Then):
    cost: Annotated[_Dollars, Field(gt=0)]


class FindingThen(_Then):
    """A finding of that time."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}(:[A-Za-z0-9_$-]{1,140}){1,3}$")]
    kind: str
    function: str
    region: str
    arn: Annotated[str, Field(pattern=r"^arn:[a-z-]+:lambda:[a-z0-9-]{1,40}:[0-9]{12}:function:[A-Za-z0-9_-]{1,140}$")]
    proposed: dict[_Setting, _Value] = Field(max_length=4)
    savings: _Savings
    scaling: _Scaling | None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.kind not in KINDS:
            raise ValueError("there is no such kind")
        if (self.region, self.function) != (self.arn.split(":")[3], self.arn.split(":")[6]):
            raise ValueError("the function is not that of its ARN")
        if self.scaling is None:
            if self.savings.high and not {"memory_mb", "architecture"}.isdisjoint(self.proposed):
                raise ValueError("a change of compute saves a share of its cost")
        elif self.savings.high > self.scaling.cost + CENT or self.savings.low < -self.scaling.cost * DEARER:
            raise ValueError("it cannot save more than the whole cost, nor add more than more memory does")
        return self

    @property
    def change(self) -> str:
        """What was proposed, in words of this version."""
        settings = ", ".join(f"{name} {value}" for name, value in self.proposed.items())
        return f"{title(self.kind)}: {settings}" if settings else title(self.kind)

    @property
    def interval(self) -> SavingsRange:
        """What it was to save."""
        return SavingsRange(self.savings.low, self.savings.expected, self.savings.high)


class FunctionThen(_Then):
    """What a function cost at that time, per 30 days."""

    arn: str
    memory_mb: Annotated[int, Field(ge=MIN_MEMORY_MB, le=MAX_MEMORY_MB)]
    invocations: Annotated[FiniteFloat, Field(ge=0, le=MOST_INVOCATIONS)] | None
    cost: Annotated[_Dollars, Field(ge=0)] | None

    @model_validator(mode="after")
    def _can_cost_that(self) -> Self:
        dearest = self.memory_mb / 1024 * MAX_TIMEOUT_SECONDS * DEAREST_GB_SECOND
        if self.cost is not None and self.invocations is not None and self.cost > self.invocations * dearest:
            raise ValueError("so many invocations cannot cost so much")
        return self


class _Window(_Then):
    end: Annotated[date, Field(ge=FIRST_DAY)]


class Document(_Then):
    """An earlier analysis."""

    window: _Window
    functions: list[FunctionThen]
    findings: list[FindingThen]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len({finding.id for finding in self.findings}) < len(self.findings):
            raise ValueError("a finding stands twice")
        if fsum(max(abs(it.savings.low), abs(it.savings.high)) for it in self.findings) > MOST_ALTOGETHER:
            raise ValueError("no account costs so much")
        scaling = [(finding.arn, finding.kind) for finding in self.findings if finding.scaling]
        if len(set(scaling)) < len(scaling):
            raise ValueError("a share of one cost is saved twice")
        costs = {function.arn: function.cost for function in self.functions}
        if len(costs) < len(self.functions):
            raise ValueError("a function stands twice")
        for finding in self.findings:
            cost = costs.get(finding.arn)
            if finding.scaling and cost is not None and finding.scaling.cost > cost + CENT:
                raise ValueError("it cannot save more than the function cost")
        return self


def read_document(text: str, until: date) -> Document | None:
    """Return the document that ``text`` is; None if it is none, or of a window that ended after ``until``."""
    try:
        document = Document.model_validate(json.loads(text))
    except (ValueError, RecursionError, OverflowError):
        return None
    return document if document.window.end <= until else None
