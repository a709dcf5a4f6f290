"""Which Lambda functions there are, as configured today."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vigil.costs.gaps import Gap, reading
from vigil.costs.request import CostRequest
from vigil.errors import AwsUnavailable

Client = Callable[[str, str], Any]
"""Makes a boto3 client of (service, region)."""

MODEL_ROWS = 100
"""Most rows of one kind that a language model is shown; the report has them all."""


@dataclass(frozen=True)
class Function:
    """A function's configuration ($LATEST). It has no environment variables: they may hold secrets."""

    name: str
    arn: str
    region: str
    runtime: str | None
    """None for container images."""
    architecture: str
    package_type: str
    memory_mb: int
    layers: int
    log_group: str
    json_logs: bool
    capacity_provider: bool
    """Whether it runs on instances of the account's own, which are not billed by the GB-second."""

    @classmethod
    def from_configuration(cls, configuration: dict[str, Any], region: str) -> "Function":
        """Build a Function from Lambda's FunctionConfiguration."""
        name = configuration["FunctionName"]
        logging = configuration.get("LoggingConfig", {})
        return cls(
            name=name,
            arn=configuration["FunctionArn"],
            region=region,
            runtime=configuration.get("Runtime"),
            # Both default to the first value in the API reference.
            architecture=(configuration.get("Architectures") or ["x86_64"])[0],
            package_type=configuration.get("PackageType", "Zip"),
            memory_mb=configuration["MemorySize"],
            layers=len(configuration.get("Layers", [])),
            log_group=logging.get("LogGroup") or f"/aws/lambda/{name}",
            json_logs=logging.get("LogFormat") == "JSON",
            capacity_provider=bool(configuration.get("CapacityProviderConfig")),
        )


@dataclass(frozen=True)
class Inventory:
    """The functions that the request names, by region and name."""

    functions: tuple[Function, ...]
    gaps: tuple[Gap, ...]

    def for_model(self) -> dict[str, Any]:
        """Return a summary that fits a model's context whatever the account's size."""
        return {
            "functions": len(self.functions),
            "by_region": dict(Counter(function.region for function in self.functions)),
            "by_runtime": dict(Counter(function.runtime or "container image" for function in self.functions)),
            "by_architecture": dict(Counter(function.architecture for function in self.functions)),
            "names": [function.name for function in self.functions[:MODEL_ROWS]],
            "not_looked_at": len(self.gaps),
        }


def list_functions(request: CostRequest, client: Client) -> Inventory:
    """List the functions in the request's regions; raises AwsUnavailable if not one region can be listed."""
    functions: list[Function] = []
    gaps: list[Gap] = []
    for region in request.regions:
        with reading(f"functions in {region}", gaps):
            for page in client("lambda", region).get_paginator("list_functions").paginate():
                functions += [Function.from_configuration(item, region) for item in page["Functions"]]
    if len(gaps) == len(request.regions):
        raise AwsUnavailable("; ".join(f"{gap.what}: {gap.why}" for gap in gaps))
    wanted = [function for function in functions if fnmatchcase(function.name, request.functions or "*")]
    return Inventory(tuple(sorted(wanted, key=lambda function: (function.region, function.name))), tuple(gaps))
