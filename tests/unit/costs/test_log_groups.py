import uuid
from datetime import UTC, datetime, time, timedelta

from tests.unit.costs.cases import function
from vigil.costs.log_groups import LogGroup, describe_log_groups, observe_ingestion
from vigil.local.stack import LocalStack


def test_log_groups_are_told_with_all_their_writers(embedded: LocalStack) -> None:
    logs, unique = embedded.client("logs"), uuid.uuid4()
    own, shared, foreign = f"/aws/lambda/own-{unique}", f"/aws/lambda/shared-{unique}", f"/aws/lambda/foreign-{unique}"
    for name in (own, shared, foreign):
        logs.create_log_group(logGroupName=name)
    logs.put_retention_policy(logGroupName=own, retentionInDays=14)
    groups = describe_log_groups(
        logs,
        [
            function(f"own-{unique}"),
            function("z", log_group=shared),
            function("a", log_group=shared),
            function(f"never-logged-{unique}"),
        ],
    )
    assert groups == {
        own: LogGroup(own, (f"own-{unique}",), 14, 0, None),
        shared: LogGroup(shared, ("a", "z"), None, 0, None),
    }


def test_log_groups_of_unlike_names_are_found(embedded: LocalStack) -> None:
    logs, unique = embedded.client("logs"), uuid.uuid4()
    logs.create_log_group(logGroupName=f"custom-{unique}")
    functions = [function("a", log_group=f"custom-{unique}"), function("b")]
    assert set(describe_log_groups(logs, functions)) == {f"custom-{unique}"}


def test_ingestion_is_that_of_the_last_30_days(embedded: LocalStack) -> None:
    cloudwatch, name = embedded.client("cloudwatch"), f"/aws/lambda/{uuid.uuid4()}"
    midnight = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    cloudwatch.put_metric_data(
        Namespace="AWS/Logs",
        MetricData=[
            {
                "MetricName": "IncomingBytes",
                "Dimensions": [{"Name": "LogGroupName", "Value": name}],
                "Timestamp": midnight - timedelta(days=days),
                "Value": 1000.0,
            }
            for days in (0, 1, 2)
        ],
    )
    ingested = observe_ingestion(cloudwatch, [name, "/aws/lambda/silent"], midnight)
    assert {group: (seen.total, seen.days) for group, seen in ingested.items()} == {name: (2000, 2)}
