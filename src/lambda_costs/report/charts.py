"""Charts of the savings as SVG without scripts, fonts or links; the same data give the same bytes."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import astuple
from math import fsum
from typing import NamedTuple

from lambda_costs.findings import title
from lambda_costs.model.finding import PERIOD_DAYS, Basis, Finding, SavingsRange, money
from lambda_costs.model.totals import combined_savings
from vigil.sdk import CHART_STYLE, html, one_line

BY_FINDING, BY_FUNCTION = "savings-by-finding.svg", "savings-by-function.svg"  # names of the charts as artifacts
MAX_BARS = 15  # functions with a bar each; the other functions share one

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 960, 270, 260, 30, 44
_LABEL = 36  # characters of a label; the bar's title has the whole text


class Bar(NamedTuple):
    """A bar from zero to the expected savings, with a line from low to high."""

    label: str
    savings: SavingsRange
    measured: float  # part of the expected savings that is measured; the rest is drawn in a light colour


def by_kind(findings: Iterable[Finding]) -> str | None:
    """Return the chart of savings by kind of finding, or None if ``findings`` is empty."""
    bars = _bars(findings, lambda finding: title(finding.kind))
    return _render_chart("savings-by-finding", "Savings by kind of finding", bars)


def by_function(findings: Iterable[Finding]) -> str | None:
    """Return the chart of savings by function, or None if ``findings`` is empty."""
    findings = list(findings)
    several_regions = len({finding.region for finding in findings}) > 1
    bars = _bars(findings, lambda item: f"{item.function} ({item.region})" if several_regions else item.function)
    if len(bars) > MAX_BARS:
        rest = bars[MAX_BARS:]
        sums = map(sum, zip(*(astuple(bar.savings) for bar in rest), strict=True))
        others = Bar(f"{len(rest):,} others", SavingsRange(*sums), fsum(bar.measured for bar in rest))
        bars = [*bars[:MAX_BARS], others]
    return _render_chart("savings-by-function", "Savings by function", bars)


def _bars(findings: Iterable[Finding], label: Callable[[Finding], str]) -> list[Bar]:
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[label(finding)].append(finding)
    bars = [
        Bar(
            name,
            combined_savings(group),
            combined_savings(item for item in group if item.basis is Basis.MEASURED).expected,
        )
        for name, group in groups.items()
    ]
    return sorted(bars, key=lambda bar: (-round(bar.savings.expected, 2), bar.label))


def _render_chart(name: str, heading: str, bars: list[Bar]) -> str | None:
    if not bars:
        return None
    low_end = min(0.0, *(bar.savings.low for bar in bars))
    high_end = max(0.0, *(bar.savings.high for bar in bars))
    scale = (_WIDTH - _LEFT - _RIGHT) / ((high_end - low_end) or 1.0)

    def x(amount: float) -> float:
        return _LEFT + (amount - low_end) * scale

    height = _TOP + len(bars) * _ROW + 12
    unit = f"US dollars per {PERIOD_DAYS} days"
    titles = [f"{_text(bar.label)}: {_amount(bar.savings)}" for bar in bars]
    light = "; light: to be tested" if any(bar.measured != bar.savings.expected for bar in bars) else ""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" aria-labelledby="{name}-title {name}-desc">',
        f'<title id="{name}-title">{heading}, {unit}</title>',
        f'<desc id="{name}-desc">Expected savings, with their range. {"; ".join(titles)}.</desc>',
        f"<style>{CHART_STYLE}</style>",
        f'<rect class="back" width="{_WIDTH}" height="{height}" rx="6"/>',
        f'<text x="16" y="26" font-weight="600">{heading}</text>',
        f'<text class="amount" x="{_WIDTH - 16}" y="26" text-anchor="end">{unit}{light}; line: low to high</text>',
    ]
    for row, (label, savings, measured) in enumerate(bars):
        middle = _TOP + row * _ROW + _ROW / 2
        low, expected, high = map(x, astuple(savings))
        parts = [(expected, 0.4), (x(measured), 1)] if measured != savings.expected else [(expected, 1)]
        ends = "".join(f"M{at:.1f} {middle - 4:.1f}v8" for at in (low, high))
        lines += [
            f"<g><title>{titles[row]}</title>",
            f'<text x="{_LEFT - 12}" y="{middle + 4:.1f}" text-anchor="end">{_text(_short(label))}</text>',
            *(
                f'<rect class="bar" x="{min(x(0), end):.1f}" y="{middle - 9:.1f}" width="{abs(end - x(0)):.1f}"'
                f' height="18" rx="2" opacity="{opacity:g}"/>'
                for end, opacity in parts
            ),
            f'<path class="range" d="M{low:.1f} {middle:.1f}H{high:.1f}{ends}"/>',
            f'<text class="amount" x="{_WIDTH - _RIGHT + 12}" y="{middle + 4:.1f}">{_amount(savings)}</text></g>',
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
