"""The report's section about what has changed since the last analysis."""

from collections.abc import Iterator

from lambda_costs.analysis import Analysis
from lambda_costs.model.finding import NO_SAVINGS, PERIOD_DAYS, money
from lambda_costs.report.blocks import money_range, name_of, short_list
from lambda_costs.report.comparison import CHANGED_DOLLARS, CHANGED_SHARE, Comparison, Realised
from vigil.sdk import escape


def changes_section(analysis: Analysis, comparison: Comparison) -> Iterator[str]:
    """Yield the findings that came, changed, went and were followed."""
    yield f"## Since {comparison.since}"
    then = comparison.total_then
    yield f"Expected savings at that time: **{money(then.expected)}** per {PERIOD_DAYS} days ({money_range(then)})."
    if comparison.realised:
        rows = [
            (name_of(analysis, item.then[0]), escape("; ".join(finding.change for finding in item.then)), *_saved(item))
            for item in comparison.realised
        ]
        yield from short_list("Realised", ("Function", "Change", "Saves", "Source"), "---|---|---:|---", rows)
    lists = {
        "New": [(item, f"{money(item.savings.expected)} expected") for item in comparison.new],
        "Changed": [
            (item.now, f"{money(item.now.savings.expected)} expected, {money(item.then.savings.expected)} before")
            for item in comparison.changed
        ],
        "Gone": [(item.then, item.why) for item in comparison.gone],
    }
    for title, items in lists.items():
        if items:
            details = [(name_of(analysis, item), escape(item.change), escape(text)) for item, text in items]
            yield from short_list(title, ("Function", "Change", "Detail"), "---|---|---", details)
    if not (comparison.realised or any(lists.values())):
        yield "Nothing has changed."
    yield (
        f"Changed: the proposal differs, or the expected savings differ by more than {CHANGED_SHARE:.0%} and"
        f" {money(CHANGED_DOLLARS)}. Realised: the proposed setting is in place. Measured savings are the difference in"
        " cost per invocation, times the invocations now; the window may include days before the change. Savings that"
        " were only expected do not count as measured."
    )


def _saved(item: Realised) -> tuple[str, str]:
    if all(finding.savings == NO_SAVINGS for finding in item.then):
        return "", "no savings claimed"
    return money(item.dollars), "measured" if item.measured else "expected, not measured"
