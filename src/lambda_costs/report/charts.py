"""Charts of the savings as SVG: no script, no font, no address but the namespace; the same bytes for the same data."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lambda_costs.findings import title
from lambda_costs.model.finding import PERIOD_DAYS, Finding, SavingsRange, money
from lambda_costs.model.totals import combined_savings
from vigil.sdk import CHART_STYLE, html, one_line

BY_FINDING, BY_FUNCTION = "savings-by-finding.svg", "savings-by-function.svg"
"""Names of the charts as artifacts."""
MAX_BARS = 15
"""Functions that have a bar of their own; the rest share one."""

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 960, 270, 260, 30, 44
_LABEL = 36
"""Characters of a label; the whole of it stands in the bar's title."""


@dataclass(frozen=True)
class Bar:
    """A bar: from nothing to what is expected, with a line from the least to the most."""

    label: str
    savings: SavingsRange


def by_kind(findings: Iterable[Finding]) -> str | None:
    """Return the chart of savings by kind of finding, or None if ``findings`` is empty."""
    bars = _bars(findings, lambda finding: title(finding.kind))
    return _draw("savings-by-finding", "Savings by kind of finding", bars)


def by_function(findings: Iterable[Finding]) -> str | None:
    """Return the chart of savings by function, or None if ``findings`` is empty."""
    findings = list(findings)
    several = len({finding.region for finding in findings}) > 1
    bars = _bars(findings, lambda item: f"{item.function} ({item.region})" if several else item.function)
    if len(bars) > MAX_BARS:
        rest = bars[MAX_BARS:]
        ends = zip(*((bar.savings.low, bar.savings.expected, bar.savings.high) for bar in rest), strict=True)
        bars = [*bars[:MAX_BARS], Bar(f"{len(rest):,} others", SavingsRange(*map(sum, ends)))]
    return _draw("savings-by-function", "Savings by function", bars)


def _bars(findings: Iterable[Finding], label: Callable[[Finding], str]) -> list[Bar]:
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[label(finding)].append(finding)
    bars = [Bar(name, combined_savings(group)) for name, group in groups.items()]
    return sorted(bars, key=lambda bar: (-round(bar.savings.expected, 2), bar.label))


def _draw(name: str, heading: str, bars: list[Bar]) -> str | None:
    if not bars:
        return None
    least = min(0.0, *(bar.savings.low for bar in bars))
    most = max(0.0, *(bar.savings.high for bar in bars))
    scale = (_WIDTH - _LEFT - _RIGHT) / ((most - least) or 1.0)

    def x(amount: float) -> float:
        return _LEFT + (amount - least) * scale

    height = _TOP + len(bars) * _ROW + 12
    unit = f"US dollars per {PERIOD_DAYS} days"
    told = "; ".join(f"{_text(bar.label)}: {_amount(bar.savings)}" for bar in bars)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" aria-labelledby="{name}-title {name}-desc">',
        f'<title id="{name}-title">{heading}, {unit}</title>',
        f'<desc id="{name}-desc">Expected savings, with the least and the most. {told}.</desc>',
        f"<style>{CHART_STYLE}</style>",
        f'<rect class="back" width="{_WIDTH}" height="{height}" rx="6"/>',
        f'<text x="16" y="26" font-weight="600">{heading}</text>',
        f'<text class="amount" x="{_WIDTH - 16}" y="26" text-anchor="end">{unit}; line: least to most</text>',
    ]
    for row, bar in enumerate(bars):
        middle = _TOP + row * _ROW + _ROW / 2
        low, expected, high = x(bar.savings.low), x(bar.savings.expected), x(bar.savings.high)
        begin, width = min(x(0), expected), abs(expected - x(0))
        ends = "".join(f"M{at:.1f} {middle - 4:.1f}v8" for at in (low, high))
        lines += [
            f"<g><title>{_text(bar.label)}: {_amount(bar.savings)}</title>",
            f'<text x="{_LEFT - 12}" y="{middle + 4:.1f}" text-anchor="end">{_text(_short(bar.label))}</text>',
            f'<rect class="bar" x="{begin:.1f}" y="{middle - 9:.1f}" width="{width:.1f}" height="18" rx="2"/>',
            f'<path class="range" d="M{low:.1f} {middle:.1f}H{high:.1f}{ends}"/>',
            f'<text class="amount" x="{_WIDTH - _RIGHT + 12}" y="{middle + 4:.1f}">{_amount(bar.savings)}</text></g>',
        ]
    lines += [f'<path class="zero" d="M{x(0):.1f} {_TOP}v{len(bars) * _ROW}"/>', "</svg>"]
    return "\n".join(lines) + "\n"


def _amount(savings: SavingsRange) -> str:
    return _text(f"{money(savings.expected)} ({money(savings.low)} to {money(savings.high)})")


def _short(label: str) -> str:
    label = one_line(label)
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"


def _text(text: str) -> str:
    return html(one_line(text))
