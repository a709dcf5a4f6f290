# ruff: noqa: E501 - answers of AWS, a resource a line
"""boto3 clients whose calls an account answers: real clients, validation and paginators, without HTTP.

What is not answered here is denied, as a role of the analysis would be.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import RLock
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from benchmarks.field import billing
from benchmarks.field.account import NUMBER, REGION, Account
from benchmarks.field.function import DAY, Function, Provisioned
from benchmarks.field.insights import LogsInsights
from benchmarks.field.logs import Logs, Refused
from benchmarks.field.machine import allocated
from benchmarks.field.metrics import Metrics

Answer = Callable[[Mapping[str, Any]], dict[str, Any]]

PAGE = 50


class Clients:
    """Makes the clients of an account, each once."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.calls: dict[str, int] = {}
        logs, metrics = Logs(account), Metrics(account)
        insights = LogsInsights(logs)
        control = _Lambda(account)
        self._answers: dict[str, Answer] = {
            "GetMetricData": metrics.get_metric_data,
            "ListMetrics": metrics.list_metrics,
            "DescribeLogGroups": logs.describe_log_groups,
            "FilterLogEvents": logs.filter_log_events,
            "StartQuery": insights.start_query,
            "GetQueryResults": insights.get_query_results,
            "StopQuery": lambda asked: {"success": True},
            "GetProducts": _products,
            "GetEnrollmentStatus": lambda asked: {"status": "Active" if account.enrolled else "Inactive"},
            "GetLambdaFunctionRecommendations": control.recommendations,
            "DescribeScheduledActions": control.scheduled_actions,
            "DescribeScalableTargets": control.scalable_targets,
            "DescribeScalingPolicies": control.scaling_policies,
            "ListFunctions": control.functions,
            "ListAliases": control.aliases,
            "ListVersionsByFunction": control.versions,
            "ListProvisionedConcurrencyConfigs": control.provisioned,
            "ListEventSourceMappings": lambda asked: {"EventSourceMappings": []},
            "GetFunctionConcurrency": lambda asked: {},
            "GetFunctionConfiguration": lambda asked: control.configuration(account.named(_name(asked))),
            "GetFunctionRecursionConfig": control.recursion,
            "GetPolicy": control.policy,
        }
        self._made: dict[str, Any] = {}
        # The analysis calls from several threads; what is simulated on demand is simulated once.
        self._lock = RLock()
        self._session: Any = boto3.Session("AKIAFIELD", "secret", region_name=REGION)

    def __call__(self, service: str, region: str) -> Any:
        """Return the client of a service; every region other than the account's is empty."""
        with self._lock:
            if service not in self._made:
                client = self._made[service] = self._session.client(service, region_name=region)
                client.meta.events.register("before-parameter-build", _remember)
                client.meta.events.register("before-call", self._answer)
            return self._made[service]

    def _answer(self, model: Any, context: Mapping[str, Any], **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        with self._lock:
            self.calls[model.name] = self.calls.get(model.name, 0) + 1
            try:
                if model.name not in self._answers:
                    raise Refused("AccessDeniedException")
                given, status = self._answers[model.name](context["field"]), 200
            except Refused as refused:
                status = 400
                given = {"Error": {"Code": str(refused), "Message": f"{model.name} is refused"}}
        given = {**given, "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "field"}}
        return AWSResponse("", status, HTTPHeaders(), None), given


def _remember(params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
    context["field"] = dict(params)


def _name(asked: Mapping[str, Any]) -> str:
    return str(asked["FunctionName"].partition(":function:")[2] or asked["FunctionName"]).partition(":")[0]


def _page(key: str, items: list[Any], asked: Mapping[str, Any], size: int = PAGE) -> dict[str, Any]:
    first = int(asked.get("Marker", 0))
    more = {"NextMarker": str(first + size)} if first + size < len(items) else {}
    return {key: items[first : first + size], **more}


class _Lambda:
    """The control plane: what is configured now."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def functions(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return _page("Functions", [self.configuration(item) for item in self._account.functions], asked)

    def configuration(self, function: Function, version: str = "$LATEST") -> dict[str, Any]:
        second = version == "2" and function.second_version[0]
        changed = self._account.midnight - DAY * min(
            (days for days, _ in function.history), default=function.arrivals.born
        )
        image = function.runtime is None
        shown: dict[str, Any] = {
            "FunctionName": function.name, "FunctionArn": arn(function), "Version": version,
            "PackageType": "Image" if image else "Zip", "Architectures": [function.architecture],
            "MemorySize": function.second_version[1] if second else function.memory_mb, "Timeout": function.timeout_s,
            "EphemeralStorage": {"Size": function.tmp_mb}, "LastModified": _iso(changed),
            "SnapStart": {"ApplyOn": "PublishedVersions" if function.snapstart else "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "JSON" if function.json_logs else "Text", "LogGroup": function.log_group},
            "Role": f"arn:aws:iam::{NUMBER}:role/run", "State": "Active", "TracingConfig": {"Mode": "PassThrough"},
        }  # fmt: skip
        if function.edge:
            # Lambda@Edge writes where it runs, whatever is configured here.
            shown["LoggingConfig"]["LogGroup"] = f"/aws/lambda/{function.name}"
        if not image:
            shown |= {"Runtime": function.runtime, "Handler": "index.handler"}
        if function.layers:
            shown["Layers"] = [{"Arn": layer, "CodeSize": 1} for layer in function.layers]
        if function.managed:
            provider = f"arn:aws:lambda:{REGION}:{NUMBER}:capacity-provider:own"
            shown["CapacityProviderConfig"] = {
                "LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": provider}
            }
        return shown

    def versions(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        function = self._account.named(_name(asked))
        numbers = ["1"] * bool(function.alias_share or function.edge) + ["2"] * bool(function.second_version[0])
        return _page("Versions", [self.configuration(function, number) for number in ("$LATEST", *numbers)], asked)

    def aliases(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        function = self._account.named(_name(asked))
        share = function.second_version[0]
        weights = {"RoutingConfig": {"AdditionalVersionWeights": {"2": share}}} if share else {}
        return _page("Aliases", [
            {"AliasArn": f"{arn(function)}:{name}", "Name": name, "FunctionVersion": "1", **weights}
            for name, _ in function.alias_share
        ], asked)  # fmt: skip

    def provisioned(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        function = self._account.named(_name(asked))
        found = []
        for item in function.provisioned:
            if number := allocated(function, item, self._account.clock, self._account.today):
                found.append({
                    "FunctionArn": f"{arn(function)}:{item.alias}", "Status": "READY",
                    "RequestedProvisionedConcurrentExecutions": number, "AllocatedProvisionedConcurrentExecutions": number,
                    "AvailableProvisionedConcurrentExecutions": number, "LastModified": _iso(self._account.midnight),
                })  # fmt: skip
        return _page("ProvisionedConcurrencyConfigs", found, asked)

    def recursion(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        function = self._account.named(_name(asked))
        return {"RecursiveLoop": "Allow" if function.recursion == "allowed" else "Terminate"}

    def policy(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        function, qualifier = self._account.named(_name(asked)), asked.get("Qualifier")
        qualifier = qualifier or asked["FunctionName"].partition(":function:")[2].partition(":")[2]
        if function.alias_policy and qualifier in dict(function.alias_share):
            service = "events.amazonaws.com"
        elif function.edge and qualifier == "1":
            service = "edgelambda.amazonaws.com"
        else:
            raise Refused("ResourceNotFoundException")
        statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "lambda:InvokeFunction"}
        return {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]}), "RevisionId": "1"}

    def _scaled(self, asked: Mapping[str, Any]) -> list[tuple[str, Provisioned]]:
        wanted = asked.get("ResourceIds") or ([asked["ResourceId"]] if "ResourceId" in asked else None)
        found = [
            (f"function:{function.name}:{item.alias}", item)
            for function in self._account.functions
            for item in function.provisioned
            if asked.get("ServiceNamespace") == "lambda" and (item.by_day or item.tracking)
        ]
        return [pair for pair in found if wanted is None or pair[0] in wanted]

    def scheduled_actions(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"ScheduledActions": [
            {
                **_target(resource), "ScheduledActionName": f"{name}-{resource}", "ScheduledActionARN": f"arn:{name}:{resource}",
                "Schedule": f"cron(0 {hour} ? * MON-FRI *)", "Timezone": "UTC",
                "ScalableTargetAction": {"MinCapacity": number, "MaxCapacity": number},
            }
            for resource, item in self._scaled(asked)
            if item.by_day
            for name, hour, number in (("up", item.hours[0], item.by_day), ("down", item.hours[1], item.executions))
        ]}  # fmt: skip

    def scalable_targets(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"ScalableTargets": [
            {
                **_target(resource), "MinCapacity": item.executions,
                "MaxCapacity": item.tracking or max(item.executions, item.by_day), "RoleARN": f"arn:aws:iam::{NUMBER}:role/scale",
            }
            for resource, item in self._scaled(asked)
        ]}  # fmt: skip

    def scaling_policies(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        metric = {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"}
        return {"ScalingPolicies": [
            {
                **_target(resource), "PolicyName": "follow", "PolicyARN": f"arn:follow:{resource}",
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 0.7, "PredefinedMetricSpecification": metric},
            }
            for resource, item in self._scaled(asked)
            if item.tracking
        ]}  # fmt: skip

    def recommendations(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Tell sizes with a margin of a fifth over what was used: Compute Optimizer knows as little as we show."""
        if not self._account.enrolled:
            raise Refused("OptInRequiredException")
        found = []
        for function in self._account.functions:
            runs = [item for item in self._account.seen(function) if item.at >= -14 * DAY]
            if arn(function) not in asked.get("functionArns", [arn(function)]) or function.edge:
                continue
            told: dict[str, Any] = {"functionArn": f"{arn(function)}:$LATEST", "functionVersion": "$LATEST",
                                    "currentMemorySize": function.memory_mb, "lookbackPeriodInDays": 14.0}  # fmt: skip
            size = max(128, round(max((item.used_mb for item in runs), default=0) * 1.2))
            if len(runs) < 50 or function.memory_mb > 1792:
                reason = "InsufficientData" if len(runs) < 50 else "Inconclusive"
                found.append(told | {"finding": "Unavailable", "findingReasonCodes": [reason]})
            elif size >= function.memory_mb:
                found.append(told | {"finding": "Optimized", "findingReasonCodes": []})
            else:
                option = {"rank": 1, "memorySize": size, "projectedUtilizationMetrics": []}
                told |= {"finding": "NotOptimized", "findingReasonCodes": ["MemoryOverprovisioned"]}
                found.append(told | {"memorySizeRecommendationOptions": [option]})
        return {"lambdaFunctionRecommendations": found}


def arn(function: Function) -> str:
    """Return the unqualified ARN of a function."""
    return f"arn:aws:lambda:{REGION}:{NUMBER}:function:{function.name}"


def _target(resource: str) -> dict[str, str]:
    dimension = "lambda:function:ProvisionedConcurrency"
    return {"ServiceNamespace": "lambda", "ResourceId": resource, "ScalableDimension": dimension}


def _iso(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


_LATER = {"": ((6e9, 0.0000150000), (15e9, 0.0000133334)), "-ARM": ((7.5e9, 0.0000120001), (18.75e9, 0.0000106667))}
"""Later tiers of duration: (from, price)."""


def _products(asked: Mapping[str, Any]) -> dict[str, Any]:
    priced: dict[str, tuple[str, list[tuple[float, float]]]] = {}
    if asked["ServiceCode"] == "AWSLambda":
        for suffix, name in (("", "x86_64"), ("-ARM", "arm64")):
            priced |= {
                f"Lambda-GB-Second{suffix}": ("Lambda-GB-Second", [(0, billing.GB_SECOND[name]), *_LATER[suffix]]),
                f"Lambda-Provisioned-Concurrency{suffix}": ("Lambda-GB-Second", [(0, billing.KEPT_GB_SECOND[name])]),
                f"Lambda-Provisioned-GB-Second{suffix}": ("Lambda-GB-Second", [(0, billing.WARM_GB_SECOND[name])]),
                f"Lambda-Storage-GB-Second{suffix}": ("GB-Seconds", [(0, billing.TMP_GB_SECOND)]),
                f"Request{suffix}": ("Requests", [(0, billing.REQUEST)]),
            }
        priced["Lambda-SnapStart-Cached-GB-S"] = ("Lambda-GB-Second", [(0, billing.SNAPSHOT_GB_SECOND)])
        priced["Lambda-SnapStart-Restored-GB"] = ("GB", [(0, billing.RESTORED_GB)])
    elif asked["ServiceCode"] == "AmazonCloudWatch":
        priced["USE1-DataProcessing-Bytes"] = ("GB", [(0, billing.LOG_GB[False])])
        priced["USE1-DataProcessingIA-Bytes"] = ("GB", [(0, billing.LOG_GB[True])])
        priced["USE1-TimedStorage-ByteHrs"] = ("GB-Mo", [(0, billing.STORED_GB)])
        priced["USE1-DataScanned-Bytes"] = ("GB", [(0, 0.005)])
    return {"PriceList": [_product(usage, unit, tiers) for usage, (unit, tiers) in priced.items()]}


def _product(usage: str, unit: str, tiers: list[tuple[float, float]]) -> str:
    ends = [*(f"{begin:.0f}" for begin, _ in tiers[1:]), "Inf"]
    dimensions = {
        f"T{index}": {
            "unit": unit,
            "beginRange": f"{begin:.0f}",
            "endRange": end,
            "pricePerUnit": {"USD": f"{price:.10f}"},
        }
        for index, ((begin, price), end) in enumerate(zip(tiers, ends, strict=True))
    }
    return json.dumps({
        "product": {"attributes": {"usagetype": usage, "regionCode": REGION}}, "publicationDate": "2025-10-01T00:00:00Z",
        "terms": {"OnDemand": {"T": {"priceDimensions": dimensions}}},
    })  # fmt: skip
