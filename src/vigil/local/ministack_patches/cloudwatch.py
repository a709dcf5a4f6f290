"""CloudWatch: how long metrics are kept, how fast they are found, and alarms on several metrics."""

import types
from typing import Any

from ministack.services import cloudwatch
from ministack.services.cloudformation import provisioners

from vigil.local.ministack_patches.patching import at_install, replaces


@at_install
def keep_metrics() -> None:
    """AWS keeps hourly and daily values for 455 days; ministack deletes every value after two weeks."""
    cloudwatch.TWO_WEEKS_SECONDS = 455 * 86_400


@replaces(provisioners, "_cw_metric_alarm_record")
def keep_alarm_on_expression(record: Any, name: str, properties: dict[str, Any]) -> Any:
    """AWS alarms on an expression of metrics; ministack refuses it, so this keeps an alarm on the first metric."""
    stats = [query["MetricStat"] for query in properties.get("Metrics", []) if "MetricStat" in query]
    first = {**stats[0]["Metric"], "Statistic": stats[0]["Stat"], "Period": stats[0]["Period"]} if stats else {}
    return record(name, {**properties, **first, "Metrics": None})


@replaces(cloudwatch, "_get_metric_data")
def look_metrics_up(get: Any, params: Any, request: dict[str, Any], *protocol: bool) -> Any:
    """AWS finds a metric by its name; ministack searches all metrics for every query.

    That takes minutes for the 7,000 metrics of a thousand functions. The answers are the same.
    """
    metrics = [query.get("MetricStat", {}).get("Metric", {}) for query in request.get("MetricDataQueries", [])]
    if not all(metric.get("Dimensions") for metric in metrics):
        return get(params, request, *protocol)
    found = {}
    for metric in metrics:
        dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(metric["Dimensions"]))
        key = (metric.get("Namespace", ""), metric.get("MetricName", ""), dimensions)
        if (points := cloudwatch._metrics.get(key)) is not None:
            found[key] = points
    # The same function over fewer metrics. Other threads do not see the smaller table.
    narrowed = types.FunctionType(get.__code__, {**get.__globals__, "_metrics": found}, argdefs=get.__defaults__)
    return narrowed(params, request, *protocol)
