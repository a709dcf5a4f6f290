import uuid

from lambda_costs.collect.log_groups import LogGroup, describe_log_groups
from tests.lambda_costs.cases import function
from tests.lambda_costs.conftest import Stubbed
from vigil.local.stack import LocalStack


def test_log_groups_are_read_with_all_their_writers(embedded: LocalStack) -> None:
    logs, unique = embedded.client("logs"), uuid.uuid4()
    own, shared, foreign = f"/aws/lambda/own-{unique}", f"/aws/lambda/shared-{unique}", f"/aws/lambda/foreign-{unique}"
    for name in (own, shared, foreign):
        logs.create_log_group(logGroupName=name)
    logs.put_retention_policy(logGroupName=own, retentionInDays=14)
    sharing = [function(name, log_group=shared) for name in ("z", "a")]
    alone = [function(f"{name}-{unique}") for name in ("own", "never-logged")]
    groups = describe_log_groups(logs, [*sharing, *alone])
    assert groups == {own: LogGroup(own, (f"own-{unique}",), 14, 0), shared: LogGroup(shared, ("a", "z"), None, 0)}


def test_log_groups_are_listed_by_their_common_prefix_with_their_class(stubbed: Stubbed) -> None:
    logs, answers = stubbed("logs")
    asked = {"logGroupNamePrefix": "/aws/lambda/order"}
    first = {"logGroups": [{"logGroupName": "/aws/lambda/orders", "storedBytes": 5}], "nextToken": "more"}
    answers.add_response("describe_log_groups", first, asked)
    second = {"logGroupName": "/aws/lambda/order-api", "logGroupClass": "INFREQUENT_ACCESS"}
    answers.add_response("describe_log_groups", {"logGroups": [second]}, {**asked, "nextToken": "more"})
    # Without a common prefix there is none in the request, since an empty one is refused.
    answers.add_response("describe_log_groups", {"logGroups": [{"logGroupName": "custom"}]}, {})
    assert describe_log_groups(logs, [function("orders"), function("order-api")]) == {
        "/aws/lambda/orders": LogGroup("/aws/lambda/orders", ("orders",), None, 5),
        "/aws/lambda/order-api": LogGroup("/aws/lambda/order-api", ("order-api",), None, None, infrequent=True),
    }
    assert set(describe_log_groups(logs, [function("a", log_group="custom"), function("b")])) == {"custom"}
