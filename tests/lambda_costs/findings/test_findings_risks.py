"""What fails, hangs, idles or will break: nearly all of it claims no money."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from lambda_costs.collect.gaps import Gap
from lambda_costs.collect.metrics import Daily
from lambda_costs.collect.report_lines import Key, Outcome, Reports
from lambda_costs.collect.usage import FunctionUsage
from lambda_costs.findings import errors, idle, recursion, runtime, time_outs, timeout_high
from lambda_costs.model.finding import NOTHING, Finding, Measure
from tests.lambda_costs.cases import (
    END,
    GIB,
    abstained,
    amounts,
    case,
    claimed,
    daily,
    found,
    function,
    provisioned,
    tally,
    usage,
)


def failing(failed: dict[int, int], calls: int = 100, **given: Any) -> FunctionUsage:
    """Return 30 days of ``calls`` lines of 0.5 s, of which ``failed`` ran into the time-out of 3 s, by days ago."""
    lines = {}
    for ago in range(1, 31):
        day, timed_out = END - timedelta(days=ago), failed.get(ago, 0)
        lines[Key(day, 1024, Outcome.SUCCESS)] = tally(calls - timed_out)
        if timed_out:
            lines[Key(day, 1024, Outcome.TIMEOUT)] = tally(timed_out, seconds=3)
    every = {END - timedelta(days=ago): float(failed.get(ago, 0)) for ago in range(1, 31)}
    milliseconds = {day: 500 * (calls - number) + 3000 * number for day, number in every.items()}
    return usage(
        **{
            "invocations": daily(30 * calls),
            "duration_ms": Daily(milliseconds, END),
            "errors": Daily(every, END),
            "reports": Reports(lines, 0),
            **given,
        }
    )


def test_time_outs_cost_what_they_run_longer_than_the_others() -> None:
    # 20 of 100 invocations a day, 600 of 3,000: × 3 s × 1 GB × $0.0000166667 is $0.03000006 in all, at most; if they
    # ended after 0.5 s as the others do, 2.5 s each or $0.02500005 would be saved.
    result = claimed(time_outs.find, used=failing(dict.fromkeys(range(1, 31), 20)))
    assert amounts(result.savings) == pytest.approx((0, 0.02500005, 0.03000006))
    # The mean is 0.8 × 0.5 + 0.2 × 3 = 1 s: 3,000 GB-s.
    assert result.scaling
    assert (result.scaling.cost, result.scaling.gb_seconds) == pytest.approx((3000 * 0.0000166667, 3000))
    assert result.evidence["Time-outs"] == Measure(600, "per 30 days")
    assert result.evidence["Timed out on it"] == Measure(20.0, "%")
    assert result.proposed == {}


def test_where_everything_times_out_all_of_it_is_lost() -> None:
    result = claimed(time_outs.find, used=failing(dict.fromkeys(range(1, 31), 100)))
    # 3,000 × 3 s × $0.0000166667
    assert amounts(result.savings) == pytest.approx((0, 0.1500003, 0.1500003))


@pytest.mark.parametrize(
    ("failed", "calls", "is_found"),
    [
        ({1: 10}, 100, False),  # exactly 10 %
        ({1: 11}, 100, True),
        ({7: 11}, 100, True),
        ({8: 11}, 100, False),  # longer ago than the last 7 days
        ({1: 5}, 19, False),  # one of so few lines is a large share
        ({1: 3}, 20, True),
        ({}, 100, False),
    ],
)
def test_time_outs_and_errors_are_told_above_10_percent_on_one_of_the_last_7_days(
    failed: dict[int, int], calls: int, is_found: bool
) -> None:
    assert (found(time_outs.find, used=failing(failed, calls)) is not None) is is_found
    # The same number of errors that are no time-outs.
    others = failing({}, calls, errors=failing(failed, calls).errors)
    assert (found(errors.find, used=others) is not None) is is_found


@pytest.mark.parametrize(("errors_a_day", "is_found"), [(0, False), (10, False), (15, True)])
def test_there_are_no_more_time_outs_than_errors(errors_a_day: int, is_found: bool) -> None:
    # 20 of 100 lines a day say so, of 9 s each; but the time-out is 3 s.
    used = failing(dict.fromkeys(range(1, 31), 20), errors=daily(30 * errors_a_day))
    lines = {
        key: replace(item, billed_ms=9000 * item.lines) if key.outcome == Outcome.TIMEOUT else item
        for key, item in (used.reports.tallies if used.reports else {}).items()
    }
    result = found(time_outs.find, used=replace(used, reports=Reports(lines, 0)))
    assert (result is not None) is is_found
    if is_found:
        # 450 × 3 s × $0.0000166667
        assert isinstance(result, Finding)
        assert result.savings.high == pytest.approx(0.022500045)


@pytest.mark.parametrize(("failed", "is_found"), [(30, False), (31, True)])
def test_a_time_out_is_no_error_besides(failed: int, is_found: bool) -> None:
    # 20 of 100 invocations timed out, which the metric Errors counts as well.
    used = failing({1: 20}, errors=Daily({END - timedelta(days=1): failed}, END))
    assert (found(errors.find, used=used) is not None) is is_found


def test_a_sample_without_lines_of_the_last_days_tells_their_time_outs_all_the_same() -> None:
    used = failing(dict.fromkeys(range(1, 31), 20))
    week = END - timedelta(days=8)
    early = {key: item for key, item in (used.reports.tallies if used.reports else {}).items() if key.day < week}
    result = claimed(time_outs.find, used=replace(used, reports=Reports(early, 0)))
    assert result.evidence["Timed out on it"] == Measure(20.0, "%, by the whole window's lines")
    assert found(errors.find, used=replace(used, reports=Reports(early, 0))) is None


@pytest.mark.parametrize(("timed_out", "is_found"), [({1: 20}, False), ({}, True)])
def test_of_a_day_with_few_lines_nobody_knows_how_many_errors_are_time_outs(
    timed_out: dict[int, int], is_found: bool
) -> None:
    used = failing(timed_out, errors=Daily({END - timedelta(days=3): 40}, END))
    few = {
        key: replace(item, lines=5) if key.day == END - timedelta(days=3) else item
        for key, item in (used.reports.tallies if used.reports else {}).items()
    }
    result = found(errors.find, used=replace(used, reports=Reports(few, 0)))
    assert (result is not None) is is_found


def test_errors_claim_no_money() -> None:
    result = claimed(errors.find, used=usage(errors=daily(250_000)))
    assert (result.savings, result.proposed) == (NOTHING, {})
    # A quarter of $8.33335
    assert result.evidence["Billed for failed invocations"] == Measure("about $2.08", "per 30 days")
    assert "Errors datapoint" in abstained(errors.find, used=usage(errors=None))


def p99(seconds: float, once: float | None = None) -> FunctionUsage:
    by_day = {END - timedelta(days=day): seconds * 1000 for day in range(1, 31)}
    return usage(p99_ms=Daily(by_day | ({END - timedelta(days=5): once * 1000} if once else {}), END))


@pytest.mark.parametrize(
    ("timeout", "used", "proposed"),
    [
        (10, p99(4.999), 10),
        (10, p99(5.0), None),  # exactly half
        (9, p99(0.1), None),  # short enough
        (900, p99(0.1), 1),
        (900, p99(2.1), 5),  # twice 2.1 s
        (100, p99(1.0, once=50.0), None),  # one slow day
        (100, p99(1.0, once=49.0), 98),
    ],
)
def test_a_timeout_is_high_above_twice_the_slowest_days_p99(
    timeout: int, used: FunctionUsage, proposed: int | None
) -> None:
    result = found(timeout_high.find, function(timeout_seconds=timeout), used)
    if proposed is None:
        assert result is None
    else:
        assert isinstance(result, Finding)
        assert (result.savings, result.proposed) == (NOTHING, {"timeout_seconds": proposed})
        assert f"--timeout {proposed}" in result.how_to


def test_a_timeout_is_not_judged_without_p99() -> None:
    assert "99th percentile" in abstained(timeout_high.find, used=usage(p99_ms=None))


DAYS_AGO = {number: END - timedelta(days=number) for number in (29, 30, 100, 400)}


@pytest.mark.parametrize(
    ("last_modified", "used", "silent"),
    [
        (DAYS_AGO[30], {}, 30),
        (DAYS_AGO[100], {"invocations": daily(0)}, 100),
        (DAYS_AGO[400], {"last_invoked": DAYS_AGO[100]}, 100),
        (DAYS_AGO[29], {"last_invoked": DAYS_AGO[30]}, 30),  # its configuration was changed since
    ],
)
def test_a_function_is_idle_after_30_days_of_proven_silence(
    last_modified: date, used: dict[str, Any], silent: int
) -> None:
    result = claimed(idle.find, function(last_modified=last_modified), usage(**{"invocations": None, **used}))
    assert (result.savings, result.proposed) == (NOTHING, {})
    assert result.evidence["Silent for at least"] == Measure(silent, "days")
    assert "Yearly jobs and functions for disaster recovery" in result.risk


@pytest.mark.parametrize(
    ("last_modified", "used", "why"),
    [
        (DAYS_AGO[29], {}, "no proof that it is older than 30 days"),
        (None, {}, "no proof that it is older than 30 days"),
        (DAYS_AGO[400], {"last_invoked": DAYS_AGO[29]}, "invoked within the last 30 days"),
        (DAYS_AGO[400], {"ingested_bytes": daily(GIB)}, "its log group grew"),
    ],
)
def test_silence_without_proof_is_not_idleness(last_modified: date | None, used: dict[str, Any], why: str) -> None:
    silent = usage(**{"invocations": None, **used})
    assert why in abstained(idle.find, function(last_modified=last_modified), silent)


@pytest.mark.parametrize(("ago", "is_found"), [(29, False), (30, True)])
def test_a_function_is_idle_whatever_it_did_early_in_a_long_window(ago: int, is_found: bool) -> None:
    once = Daily({END - timedelta(days=ago): 1_000.0}, END)
    assert (found(idle.find, used=usage(invocations=once, ingested_bytes=once)) is not None) is is_found


@pytest.mark.parametrize("used", [usage(), usage(invocations=None, unread="its metrics could not be read: no")])
def test_unread_metrics_are_not_idleness(used: FunctionUsage) -> None:
    assert found(idle.find, used=used) is None


@pytest.mark.parametrize(
    ("triggers", "told"),
    [
        (None, "not known"),
        ((), "nothing but a direct call"),
        (("arn:aws:sqs:q", "events.amazonaws.com"), "arn:aws:sqs:q, events.amazonaws.com"),
    ],
)
def test_an_idle_function_tells_what_may_invoke_it(triggers: tuple[str, ...] | None, told: str) -> None:
    used = usage(invocations=None, triggers=triggers, provisioned=provisioned(None))
    evidence = claimed(idle.find, used=used).evidence
    assert evidence["May be invoked by"] == Measure(told)
    assert evidence["Last invoked"] == Measure("never in 455 days")
    assert evidence["Provisioned concurrency"] == Measure(1, "configurations")


@pytest.mark.parametrize(
    ("name", "today", "left"),
    [
        # Python 3.12 until 2028-10-31: 180 days before is 2028-05-04.
        ("python3.12", date(2028, 5, 3), None),
        ("python3.12", date(2028, 5, 4), 180),
        ("python3.12", date(2028, 10, 31), 0),
        ("python3.8", date(2026, 7, 1), 0),
        (None, date(2026, 7, 1), None),  # a container image brings its own
    ],
)
def test_a_runtime_is_told_from_180_days_before_its_deprecation_on(
    name: str | None, today: date, left: int | None
) -> None:
    yielded = list(runtime.find(replace(case(function(runtime=name)), end=today)))
    assert [(item.savings, item.evidence["Days left"].value) for item in yielded if isinstance(item, Finding)] == (
        [] if left is None else [(NOTHING, left)]
    )


def test_an_unknown_runtime_is_a_gap() -> None:
    assert "runtime cobol85 is not in the table" in abstained(runtime.find, function(runtime="cobol85"))


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
def test_recursion_is_told_if_allowed_or_stopped(
    allowed: bool | None, dropped: Daily | None, gaps: list[Gap], proposed: dict[str, str] | None
) -> None:
    yielded = list(recursion.find(case(used=usage(recursion_allowed=allowed, recursions_dropped=dropped))))
    findings = [item for item in yielded if isinstance(item, Finding)]
    assert [item for item in yielded if isinstance(item, Gap)] == gaps
    assert [item.proposed for item in findings] == ([] if proposed is None else [proposed])
    assert all(item.savings == NOTHING for item in findings)
