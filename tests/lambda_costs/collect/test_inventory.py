from datetime import date
from typing import Any

import pytest

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.inventory import Inventory, list_functions
from lambda_costs.request import CostRequest
from tests.lambda_costs.cases import function
from tests.lambda_costs.conftest import Stubbed
from vigil.errors import AwsUnavailable

SECRET = "hunter2-in-an-environment-variable"
REGIONS = ("us-east-1", "eu-west-1")


class Account:
    """A Lambda client with prepared answers for each region."""

    def __init__(self, stubbed: Stubbed) -> None:
        stubs = {region: stubbed("lambda") for region in REGIONS}
        self.clients = {region: client for region, (client, _) in stubs.items()}
        self.stubs = {region: stub for region, (_, stub) in stubs.items()}

    def client(self, service: str, region: str) -> Any:
        assert service == "lambda"
        return self.clients[region]

    def has(self, region: str, *pages: list[str], **configuration: Any) -> None:
        for number, names in enumerate(pages):
            functions = [{"FunctionName": name, "FunctionArn": f"arn:{name}", "MemorySize": 128,
                          "Environment": {"Variables": {"PASSWORD": SECRET}}, **configuration}
                         for name in names]  # fmt: skip
            more = {"NextMarker": str(number + 1)} if number + 1 < len(pages) else {}
            asked = {"Marker": str(number)} if number else {}
            self.stubs[region].add_response("list_functions", {"Functions": functions, **more}, asked)

    def refuses(self, region: str, code: str) -> None:
        self.stubs[region].add_client_error("list_functions", code, "no")


@pytest.fixture
def account(stubbed: Stubbed) -> Account:
    return Account(stubbed)


def listed(account: Account, functions: str | None = None, regions: tuple[str, ...] = REGIONS[:1]) -> Inventory:
    return list_functions(CostRequest(regions=regions, functions=functions), account.client)


def test_every_page_is_read_and_functions_are_sorted_by_region_and_name(account: Account) -> None:
    names = [f"f{number:03}" for number in range(120)]
    account.has("us-east-1", names[70:], names[20:70], names[:20])
    account.has("eu-west-1", ["z"])
    functions = [(item.region, item.name) for item in listed(account, regions=REGIONS).functions]
    assert functions == [("eu-west-1", "z"), *(("us-east-1", name) for name in names)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (None, ["Orders", "orders-api", "orders-v2", "returns"]),
        ("orders-*", ["orders-api", "orders-v2"]),
        ("orders-v?", ["orders-v2"]),
        ("[or]*", ["orders-api", "orders-v2", "returns"]),
        ("returns", ["returns"]),
        ("orders", []),
    ],
)
def test_a_name_filter_is_a_case_sensitive_glob(account: Account, pattern: str | None, expected: list[str]) -> None:
    account.has("us-east-1", ["returns", "orders-api", "Orders", "orders-v2"])
    assert [item.name for item in listed(account, pattern).functions] == expected


def test_environment_variables_are_never_kept(account: Account) -> None:
    account.has("us-east-1", ["orders"])
    assert SECRET not in repr(listed(account))


def test_what_lambda_leaves_out_has_its_default(account: Account) -> None:
    account.has("us-east-1", ["orders"])
    assert listed(account).functions == (function(arn="arn:orders", runtime=None, memory_mb=128, last_modified=None),)


OWN = "arn:aws:lambda:us-east-1:000000000000:capacity-provider:own"
MEASURING = "arn:aws:lambda:us-east-1:580247275435:layer:LambdaInsightsExtension:53"


@pytest.mark.parametrize(
    ("configuration", "read"),
    [
        ({"MemorySize": 2048, "Timeout": 900, "Runtime": "python3.13"},
         {"memory_mb": 2048, "timeout_seconds": 900, "runtime": "python3.13"}),
        ({"PackageType": "Image", "Architectures": ["arm64"]}, {"package_type": "Image", "architecture": "arm64"}),
        ({"EphemeralStorage": {"Size": 10_240}}, {"ephemeral_mb": 10_240}),
        ({"LoggingConfig": {"LogFormat": "JSON", "LogGroup": "/shared"}}, {"log_group": "/shared", "json_logs": True}),
        ({"LoggingConfig": {"LogFormat": "Text"}}, {}),
        ({"Layers": [{"Arn": "arn:layer"}, {"Arn": "arn:layer:2"}]}, {"layers": 2}),
        ({"Layers": [{"Arn": MEASURING}, {"Arn": "arn:layer"}]}, {"layers": 1, "insights": True}),
        ({"FileSystemConfigs": [{"Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-1",
                                 "LocalMountPath": "/mnt/a"}]}, {"file_system": True}),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, {"snapstart": True}),
        ({"SnapStart": {"ApplyOn": "None"}}, {}),
        ({"LastModified": "2026-03-23T01:02:03.000+0000"}, {"last_modified": date(2026, 3, 23)}),
        ({"LastModified": "some day"}, {}),
        ({"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": OWN}}},
         {"capacity_provider": True}),
    ],
)  # fmt: skip
def test_a_configuration_is_read(account: Account, configuration: dict[str, Any], read: dict[str, Any]) -> None:
    account.has("us-east-1", ["orders"], **configuration)
    base: dict[str, Any] = {"arn": "arn:orders", "runtime": None, "memory_mb": 128, "last_modified": None}
    assert listed(account).functions == (function(**{**base, **read}),)


def test_a_function_on_two_pages_is_listed_once(account: Account) -> None:
    account.has("us-east-1", ["orders", "returns"], ["returns", "stock"])
    assert [item.name for item in listed(account).functions] == ["orders", "returns", "stock"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [("AccessDeniedException", "access denied"), ("UnrecognizedClientException", "not enabled for this account")],
)
def test_a_region_that_refuses_is_a_gap(account: Account, code: str, reason: str) -> None:
    account.refuses("us-east-1", code)
    account.has("eu-west-1", ["orders"])
    inventory = listed(account, regions=REGIONS)
    assert inventory.gaps == (Gap("functions in us-east-1", f"ListFunctions: {reason}"),)
    assert len(inventory.functions) == 1


def test_if_every_region_refuses_there_is_nothing_to_analyse(account: Account) -> None:
    account.refuses("us-east-1", "AccessDeniedException")
    account.refuses("eu-west-1", "AccessDeniedException")
    with pytest.raises(AwsUnavailable, match=r"us-east-1: ListFunctions: access denied; functions in eu-west-1"):
        listed(account, regions=REGIONS)


def test_a_failure_of_the_only_region_is_raised(account: Account) -> None:
    account.refuses("us-east-1", "InternalFailure")
    with pytest.raises(AwsUnavailable, match=r"functions in us-east-1: .*InternalFailure"):
        listed(account)
