"""Which Lambda functions there are, as configured today."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Any

from lambda_costs.collect.gaps import Gap, record_gap_if_denied
from lambda_costs.request import CostRequest
from vigil.sdk import AwsUnavailable

Client = Callable[[str, str], Any]  # makes a boto3 client of (service, region)

MIN_MEMORY_MB, MAX_MEMORY_MB = 128, 10_240
MAX_TIMEOUT_SECONDS = 900  # what Lambda allows (Developer Guide, "Lambda quotas")

INSIGHTS_LAYER = ":layer:LambdaInsightsExtension"  # in the ARN of the Lambda Insights layer (CloudWatch User Guide)


@dataclass(frozen=True)
class Function:
    """A function's configuration ($LATEST), without its environment variables: they may hold secrets."""

    name: str
    arn: str
    region: str
    runtime: str | None  # None for container images
    architecture: str
    package_type: str
    memory_mb: int
    timeout_seconds: int
    ephemeral_mb: int  # size of /tmp
    last_modified: date | None
    layers: int  # layers other than that of Lambda Insights
    insights: bool  # whether Lambda Insights measures it
    file_system: bool
    snapstart: bool
    log_group: str
    json_logs: bool
    capacity_provider: bool  # whether it runs on the account's own instances, which are not billed by the GB-second

    @property
    def uses_default_log_group(self) -> bool:
        """Whether it writes to its default log group, to which other functions may write as well."""
        return self.log_group == default_log_group(self.name)

    @classmethod
    def from_configuration(cls, configuration: dict[str, Any], region: str) -> "Function":
        """Build a Function from Lambda's FunctionConfiguration."""
        name = configuration["FunctionName"]
        logging = configuration.get("LoggingConfig", {})
        layers = [layer.get("Arn", "") for layer in configuration.get("Layers", [])]
        measuring = [arn for arn in layers if INSIGHTS_LAYER in arn]
        return cls(
            name=name,
            arn=configuration["FunctionArn"],
            region=region,
            runtime=configuration.get("Runtime"),
            # The default of the API reference.
            architecture=(configuration.get("Architectures") or ["x86_64"])[0],
            package_type=configuration.get("PackageType", "Zip"),
            memory_mb=configuration["MemorySize"],
            timeout_seconds=configuration.get("Timeout", 3),
            ephemeral_mb=configuration.get("EphemeralStorage", {}).get("Size", 512),
            last_modified=_date(configuration.get("LastModified")),
            layers=len(layers) - len(measuring),
            insights=bool(measuring),
            file_system=bool(configuration.get("FileSystemConfigs")),
            snapstart=configuration.get("SnapStart", {}).get("ApplyOn", "None") != "None",
            log_group=logging.get("LogGroup") or default_log_group(name),
            json_logs=logging.get("LogFormat") == "JSON",
            capacity_provider=bool(configuration.get("CapacityProviderConfig")),
        )


def default_log_group(name: str) -> str:
    """Return the log group that Lambda gives to the function ``name``."""
    return f"/aws/lambda/{name}"


def _date(moment: str | None) -> date | None:
    try:
        return datetime.fromisoformat(moment or "").date()
    except ValueError:
        return None


@dataclass(frozen=True)
class Inventory:
    """The functions that the request names, by region and name."""

    functions: tuple[Function, ...]
    gaps: tuple[Gap, ...]


def list_functions(request: CostRequest, client: Client) -> Inventory:
    """List the functions in the request's regions; raises AwsUnavailable if not one region can be listed."""
    functions: list[Function] = []
    gaps: list[Gap] = []
    for region in request.regions:
        with record_gap_if_denied(f"functions in {region}", gaps):
            for page in client("lambda", region).get_paginator("list_functions").paginate():
                functions += [Function.from_configuration(item, region) for item in page["Functions"]]
    if len(gaps) == len(request.regions):
        raise AwsUnavailable("; ".join(f"{gap.subject}: {gap.reason}" for gap in gaps))
    # A function may be on two pages if others were added or deleted meanwhile.
    wanted = {item.arn: item for item in functions if fnmatchcase(item.name, request.functions or "*")}.values()
    return Inventory(tuple(sorted(wanted, key=lambda function: (function.region, function.name))), tuple(gaps))
