"""What the rules have in common: when they abstain, and what all findings have."""

import shlex
from datetime import timedelta
from typing import Any

import pytest

from lambda_costs.collect.report_lines import Key, Outcome, Reports
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.findings import (
    RULES,
    Rule,
    arm64,
    ephemeral_storage,
    errors,
    idle,
    init_cost,
    log_ingestion,
    log_retention,
    memory_high,
    memory_low,
    provisioned_concurrency,
    recursion,
    runtime,
    time_outs,
    timeout_high,
)
from tests.lambda_costs.cases import (
    END,
    GIB,
    abstained,
    claimed,
    daily,
    found,
    function,
    log_group,
    reports,
    tally,
    usage,
)
from tests.lambda_costs.cases import provisioned as on_pc

WITHOUT_COMPUTE = (idle.find, log_retention.find, recursion.find, runtime.find)
ON_COMPUTE = [rule for rule in RULES if rule not in WITHOUT_COMPUTE]
ON_DEMAND = [memory_high.find, memory_low.find, arm64.find, time_outs.find, init_cost.find]
CHEAPER_COMPUTE = [memory_high.find, arm64.find, init_cost.find]


@pytest.mark.parametrize("rule", ON_COMPUTE, ids=lambda rule: rule.__module__)
@pytest.mark.parametrize(
    ("configured", "given", "why"),
    [
        ({}, {"unread": "CloudWatch gave only a part of its data: Duration"}, "only a part of its data: Duration"),
        ({}, {"invocations": daily(49)}, "fewer than 50 invocations"),
        ({}, {"invocations": daily(1e6, 13)}, "less than 14 days of data"),
        ({}, {"reports": None}, "no REPORT lines could be read"),
        ({}, {"reports": reports(days=12)}, "older ones have expired"),
        ({"capacity_provider": True}, {}, "capacity provider"),
    ],
)
def test_nothing_is_said_of_compute_on_thin_data(
    rule: Rule, configured: dict[str, Any], given: dict[str, Any], why: str
) -> None:
    if rule is provisioned_concurrency.find:
        given = {"provisioned": on_pc(daily(0)), **given}
    assert why in abstained(rule, function(ephemeral_mb=1024, **configured), usage(**given))


@pytest.mark.parametrize("rule", ON_DEMAND, ids=lambda rule: rule.__module__)
@pytest.mark.parametrize(
    ("provisioned", "why"), [(on_pc(None), "decide on that first"), (None, "its provisioned concurrency could not be")]
)
def test_provisioned_concurrency_hides_the_price_of_duration(rule: Rule, provisioned: Any, why: str) -> None:
    assert why in abstained(rule, used=usage(provisioned=provisioned))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__module__)
def test_what_the_free_tier_covers_is_not_saved(rule: Rule) -> None:
    if rule in CHEAPER_COMPUTE:
        assert "free tier covers all" in abstained(rule, free=True)
    else:
        assert found(rule, free=True) == found(rule)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__module__)
def test_of_a_function_as_it_should_be_nothing_is_said(rule: Rule) -> None:
    fine = usage(log_group=log_group(GIB, retention_days=30), ingested_bytes=daily(GIB))
    assert found(rule, function(architecture="arm64"), fine) is None


# A name that a shell would run.
NAME = "$(reboot) `id`; 'rm' -rf ~"
GROUP = log_group(GIB, name=f"/aws/lambda/{NAME}", functions=(NAME,))
TIMED_OUT = Reports({Key(END - timedelta(days=day), 1024, Outcome.TIMEOUT): tally(20) for day in range(1, 31)}, 0)
WASTE: dict[Rule, tuple[dict[str, Any], FunctionUsage]] = {
    memory_high.find: ({}, usage(reports=reports(max_used_mb=100))),
    memory_low.find: ({}, usage(reports=reports(max_used_mb=1024))),
    arm64.find: ({}, usage()),
    provisioned_concurrency.find: ({}, usage(provisioned=on_pc(daily(0)))),
    time_outs.find: ({}, usage(reports=TIMED_OUT, errors=daily(1_000_000))),
    init_cost.find: ({"runtime": "java21"}, usage(reports=reports(init_seconds=1, inits=1))),
    ephemeral_storage.find: ({"ephemeral_mb": 1024}, usage()),
    log_retention.find: ({}, usage(log_group=GROUP)),
    log_ingestion.find: ({}, usage(log_group=GROUP, ingested_bytes=daily(99 * GIB))),
    errors.find: ({}, usage(errors=daily(500_000))),
    idle.find: ({}, usage(invocations=None)),
    timeout_high.find: ({"timeout_seconds": 900}, usage()),
    runtime.find: ({"runtime": "python3.8"}, usage()),
    recursion.find: ({}, usage(recursion_allowed=True)),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__module__)
def test_a_finding_is_complete_and_a_name_cannot_leave_its_argument_in_a_command(rule: Rule) -> None:
    configured, used = WASTE[rule]
    of = function(NAME, **configured)
    result = claimed(rule, of, used)
    assert result.id.startswith(f"{result.kind}:{NAME}")
    assert (result.function, result.region, result.arn) == (NAME, of.region, of.arn)
    assert all([result.evidence, result.formula, result.change, result.risk, result.validate])
    assert result.savings.low <= result.savings.expected <= result.savings.high
    for line in result.how_to.splitlines():
        words = shlex.split(line.removeprefix("# "))
        # With an equals sign, lest a name that begins with a hyphen is taken for an option.
        assert words[0] != "aws" or {f"--function-name={NAME}", f"--log-group-name={GROUP.name}"} & set(words)
        assert line.startswith("#") or words[0] == "aws"
