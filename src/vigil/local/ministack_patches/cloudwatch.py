"""CloudWatch: how long metrics are kept, and how fast they are found."""

import types
from typing import Any

from ministack.services import cloudwatch

from vigil.local.ministack_patches.patching import at_install, replaces


@at_install
def keep_metrics() -> None:
    """AWS keeps hourly and daily values for 455 days; ministack deletes every value after two weeks."""
    cloudwatch.TWO_WEEKS_SECONDS = 455 * 86_400


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
