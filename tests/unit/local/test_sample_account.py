from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from vigil.costs.analysis import Analysis, Analyst
from vigil.costs.request import CostRequest
from vigil.local.sample_account import (
    MAX_FUNCTIONS,
    MIN_FUNCTIONS,
    Planted,
    SampleAccount,
    build,
    seed_account,
)
from vigil.local.stack import LocalStack

OTHER = build(seed=2026, count=60)


def analysed(account: SampleAccount, stack: LocalStack) -> Analysis:
    """Write ``account`` into ``stack`` and analyse just that."""
    now = datetime.now(UTC)
    seed_account(account, stack.client, now)
    session = stack.session()
    request = CostRequest(regions=("us-east-1",))
    return Analyst(
        request, lambda service, region: session.client(service, region_name=region), lambda: now
    ).find_savings()


@pytest.fixture(scope="module", params=[build(), OTHER], ids=["default", "another"])
def account(request: pytest.FixtureRequest) -> SampleAccount:
    return request.param


@pytest.fixture(scope="module")
def analysis(account: SampleAccount) -> Iterator[Analysis]:
    stack = LocalStack._launch(0)
    try:
        yield analysed(account, stack)
    finally:
        stack.stop()


def test_everything_planted_is_found_and_nothing_else(account: SampleAccount, analysis: Analysis) -> None:
    found = [Planted(item.function, item.kind) for item in analysis.findings]
    assert sorted(found) == sorted(account.planted)


def test_every_function_is_looked_at(account: SampleAccount, analysis: Analysis) -> None:
    assert [item.name for item in analysis.functions] == [item.name for item in account.functions]
    assert len(analysis.functions) >= 40
    used = [item for item in account.functions if item.daily_invocations]
    assert analysis.usage.for_model()["with_report_lines"] == len(used)


def test_traps_are_told_as_gaps(account: SampleAccount, analysis: Analysis) -> None:
    told = {gap.what: gap.why for gap in analysis.gaps}
    for item in account.functions:
        if item.image:
            assert "container image" in told[item.name]
        elif item.layer:
            assert "layers" in told[item.name]
        elif item.daily_invocations == 1:
            assert "fewer than 50 invocations" in told[item.name]
        elif item.daily_invocations == 0:
            assert "no Invocations datapoint" in told[item.name]


def test_every_finding_may_save_something_and_the_ends_are_in_order(analysis: Analysis) -> None:
    for item in analysis.findings:
        assert item.savings.low <= item.savings.expected <= item.savings.high
        assert item.savings.high > 0


def test_the_same_seed_gives_the_same_account_and_another_seed_another() -> None:
    assert build(7, 48) == build()
    assert build(8).functions != build().functions


def test_all_kinds_of_waste_are_planted_and_most_functions_are_well() -> None:
    account = build()
    assert {item.kind for item in account.planted} == {
        "memory-too-high",
        "arm64",
        "provisioned-concurrency-unused",
        "log-retention-unset",
    }
    assert len({item.function for item in account.planted}) < len(account.functions) / 2


@pytest.mark.parametrize("count", [MIN_FUNCTIONS, MAX_FUNCTIONS])
def test_an_account_has_as_many_functions_as_asked_for(count: int) -> None:
    assert len({item.name for item in build(count=count).functions}) == count


@pytest.mark.parametrize("count", [MIN_FUNCTIONS - 1, MAX_FUNCTIONS + 1])
def test_an_account_of_another_size_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="count must be 40 to 100"):
        build(count=count)
