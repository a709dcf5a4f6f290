import pytest

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.metrics import Daily
from lambda_costs.findings.recursion import find
from lambda_costs.model.finding import NO_SAVINGS, Finding
from tests.lambda_costs.cases import Example, context, daily, usage

EXAMPLE = Example({}, usage(recursion_allowed=True))

NOT_READ = Gap("orders", "recursion: its setting could not be read")


@pytest.mark.parametrize(
    ("allowed", "dropped", "gaps", "proposed"),
    [
        (False, None, [], None),
        (False, daily(0), [], None),
        (False, daily(5), [], {}),
        (True, None, [], {"recursive_loop": "Terminate"}),
        (None, None, [NOT_READ], None),
        (None, daily(5), [NOT_READ], {}),
    ],
)
def test_recursion_is_found_if_allowed_or_stopped(
    allowed: bool | None, dropped: Daily | None, gaps: list[Gap], proposed: dict[str, str] | None
) -> None:
    yielded = list(find(context(used=usage(recursion_allowed=allowed, recursions_dropped=dropped))))
    findings = [item for item in yielded if isinstance(item, Finding)]
    assert [item for item in yielded if isinstance(item, Gap)] == gaps
    assert [item.proposed for item in findings] == ([] if proposed is None else [proposed])
    assert all(item.savings == NO_SAVINGS for item in findings)
