"""The request of a cost session: the event's detail, validated."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vigil.sdk import InvalidDetail

MAX_REGIONS = 20
MAX_DAYS = 90
SCAN_DOLLARS = 5.0

_ALLOWED = {
    "regions": f"a list of 1 to {MAX_REGIONS} different region names such as us-east-1",
    "days": f"a whole number from 1 to {MAX_DAYS}",
    "functions": "a name filter such as orders-*",
    "max_scan_dollars": "a number from 0 to {:g}, the stack's MaxScanDollars",
}
_KNOWN = ", ".join(_ALLOWED)

Region = Annotated[str, Field(pattern=r"^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}$")]


def _all_different(regions: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(regions)) < len(regions):
        raise ValueError("a region is listed twice")
    return regions


class CostRequest(BaseModel):
    """Which functions to analyse, over which time."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # JSON has lists only, which a strict tuple refuses; the region names stay strict.
    regions: Annotated[
        tuple[Region, ...], Field(strict=False, min_length=1, max_length=MAX_REGIONS), AfterValidator(_all_different)
    ]
    days: int = Field(default=30, ge=1, le=MAX_DAYS)
    functions: Annotated[str, Field(pattern=r"^[A-Za-z0-9_*?\[\]!-]{1,128}$")] | None = None
    """A case-sensitive glob over function names; None takes all."""
    max_scan_dollars: float = Field(default=SCAN_DOLLARS, ge=0, allow_inf_nan=False)  # for reading the data, at most

    def label(self, name: str, region: str) -> str:
        """Return a function's name, with its region if the request has several."""
        return f"{name}:{region}" if len(self.regions) > 1 else name


def parse_request(detail: object, default_region: str, max_scan_dollars: float = SCAN_DOLLARS) -> CostRequest:
    """Return the request in ``detail``, by default for ``default_region``; the stack allows ``max_scan_dollars``.

    Raises InvalidDetail: one line that names every invalid key and what is allowed.
    """
    if not isinstance(detail, dict):
        raise InvalidDetail(f"detail must be an object with {_KNOWN}, not {type(detail).__name__}")
    complete = {"regions": [default_region], "max_scan_dollars": min(SCAN_DOLLARS, max_scan_dollars), **detail}
    try:
        request = CostRequest.model_validate(complete)
        keys = ["max_scan_dollars"] if request.max_scan_dollars > max_scan_dollars else []
    except ValidationError as error:
        keys = list(dict.fromkeys(str(problem["loc"][0]) for problem in error.errors()))
    if not keys:
        return request
    problems = [
        f"{key} must be {_ALLOWED[key].format(max_scan_dollars)}" if key in _ALLOWED else f"{key[:64]!r} is not known"
        for key in keys
    ]
    unknown = f" (known: {_KNOWN})" if any(key not in _ALLOWED for key in keys) else ""
    raise InvalidDetail(f"detail: {'; '.join(problems)}{unknown}")
