"""The charts: well-formed SVG that shows the findings, whatever functions are called."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_costs.model.finding import Basis, Finding
from lambda_costs.report.charts import MAX_BARS, by_function, by_kind
from tests.hostile import TEXT
from tests.lambda_costs.analyses import finding
from vigil.svg import redrawn

SVG = "{http://www.w3.org/2000/svg}"
FINDINGS = [
    finding("orders", (10, 20, 30), "memory-too-high", cost=100.0),
    finding("orders", (0, 20, 40), "arm64", cost=100.0),
    finding("warm", (5, 6, 7), "provisioned-concurrency-unused"),
]


def parse(svg: str | None) -> ElementTree.Element:
    assert svg is not None
    return ElementTree.fromstring(svg)


def bars(svg: str | None) -> dict[str, str]:
    """Return the amounts beside each bar, by the label in its title."""
    found = {}
    for group in parse(svg).iter(f"{SVG}g"):
        title, amount = group.findtext(f"{SVG}title"), group.findall(f"{SVG}text")[-1].text
        assert title
        label, _, text = title.rpartition(": ")
        assert text == amount
        found[label] = text
    return found


def geometry(svg: str | None) -> list[tuple[float, float, float, float]]:
    """Return the ends of each bar and of its line from low to high."""
    found = []
    for group in parse(svg).iter(f"{SVG}g"):
        bar, line = group.find(f"{SVG}rect"), group.find(f"{SVG}path")
        assert bar is not None
        assert line is not None
        ends = re.match(r"M([\d.]+) [\d.]+H([\d.]+)", line.attrib["d"])
        assert ends
        begin = float(bar.attrib["x"])
        found.append((begin, begin + float(bar.attrib["width"]), float(ends[1]), float(ends[2])))
    return found


def test_each_kind_has_a_bar_best_first() -> None:
    assert bars(by_kind(FINDINGS)) == {
        "Memory set too high": "$20.00 ($10.00 to $30.00)",
        "Runs on x86_64, not on arm64": "$20.00 ($0.00 to $40.00)",
        "Provisioned concurrency unused": "$6.00 ($5.00 to $7.00)",
    }


def test_overlapping_changes_to_one_function_count_once() -> None:
    # 100 × (1 - 0.8 × 0.8), 100 × (1 - 0.9) and 100 × (1 - 0.7 × 0.6)
    assert bars(by_function(FINDINGS)) == {"orders": "$36.00 ($10.00 to $58.00)", "warm": "$6.00 ($5.00 to $7.00)"}


def test_bars_are_to_scale() -> None:
    # From 0 to 58 dollars there are 430 units, from 270 to 700.
    unit = 430 / 58
    expected = [(270, 270 + 36 * unit, 270 + 10 * unit, 700), (270, 270 + 6 * unit, 270 + 5 * unit, 270 + 7 * unit)]
    for drawn, wanted in zip(geometry(by_function(FINDINGS)), expected, strict=True):
        assert drawn == pytest.approx(wanted, abs=0.11)


def test_higher_costs_are_drawn_to_the_left() -> None:
    first, second = geometry(by_function([finding("gains", (0, 5, 10)), finding("costs", (-10, -5, 0))]))
    assert first == pytest.approx((485, 592.5, 485, 700), abs=0.11)
    assert second == pytest.approx((377.5, 485, 270, 485), abs=0.11)


def test_functions_beyond_the_best_share_a_bar() -> None:
    drawn = bars(by_function([finding(f"f{number:02}", (1, 100 - number, 200)) for number in range(MAX_BARS + 10)]))
    assert list(drawn)[-2:] == ["f14", "10 others"]
    # 85 + 84 + ... + 76
    assert drawn["10 others"] == "$805.00 ($10.00 to $2,000.00)"


def test_functions_of_several_regions_have_their_region() -> None:
    there = finding("orders", region="eu-west-1", arn="other")
    assert set(bars(by_function([finding("orders"), there]))) == {"orders (us-east-1)", "orders (eu-west-1)"}


def test_what_is_to_be_tested_is_light_and_what_is_measured_lies_on_it() -> None:
    # To be tested alone, measured alone, and 100 × (1 - 0.8 × 0.8) = 36 of which 20 are measured.
    tested = finding("arm", (0, 58, 58), basis=Basis.TO_TEST)
    both = [finding("both", (10, 20, 30), cost=100.0),
            finding("both", (0, 20, 30), "arm64", cost=100.0, basis=Basis.TO_TEST)]  # fmt: skip
    chart = parse(by_function([tested, finding("known", (5, 6, 7)), *both]))
    parts = {
        str(group.findtext(f"{SVG}title")).partition(":")[0]: [
            ((float(bar.attrib["width"])) / 430 * 58, bar.attrib["opacity"]) for bar in group.iter(f"{SVG}rect")
        ]
        for group in chart.iter(f"{SVG}g")
    }
    assert parts == {
        "arm": [(pytest.approx(58, abs=0.02), "0.4"), (0, "1")],
        "both": [(pytest.approx(36, abs=0.02), "0.4"), (pytest.approx(20, abs=0.02), "1")],
        "known": [(pytest.approx(6, abs=0.02), "1")],
    }
    assert "light: to be tested" in str(by_function([tested]))
    assert "light: to be tested" not in str(by_function(FINDINGS))


def test_chart_has_a_title_and_a_description() -> None:
    chart = parse(by_function(FINDINGS))
    assert chart.attrib["role"] == "img"
    assert {chart.findtext(f"{SVG}title"), chart.findtext(f"{SVG}desc")} == {
        "Savings by function, US dollars per 30 days",
        "Expected savings, with their range. orders: $36.00 ($10.00 to $58.00); warm: $6.00 ($5.00 to $7.00).",
    }
    assert chart.attrib["aria-labelledby"].split() == [child.attrib["id"] for child in chart if "id" in child.attrib]


@pytest.mark.parametrize("draw", [by_kind, by_function])
def test_no_savings_no_chart(draw: object) -> None:
    assert draw([]) is None  # type: ignore[operator]


def test_order_of_findings_does_not_change_the_bytes() -> None:
    assert by_kind(FINDINGS[::-1]) == by_kind(FINDINGS)
    assert by_function(FINDINGS[::-1]) == by_function(FINDINGS)


def named(name: str) -> Finding:
    return finding(name, region=name)


def test_long_name_is_cut_in_the_label_and_whole_in_the_title() -> None:
    svg = by_function([named("x" * 64)])
    assert list(bars(svg)) == ["x" * 64]
    assert f">{'x' * 35}…</text>" in str(svg)


@settings(deadline=None)
@given(st.text(alphabet=st.characters() | st.sampled_from("<>&\"'\x00\x1b\u202e\ufffe\ud800]")))
def test_no_name_can_break_out_of_the_chart(name: str) -> None:
    svg = by_function([named(name), named("other")])
    assert svg is not None
    svg.encode()
    chart = parse(svg)
    kinds = {element.tag.removeprefix(SVG) for element in chart.iter()}
    assert kinds == {"svg", "title", "desc", "style", "rect", "text", "g", "path"}
    assert not any(name.startswith("on") or "href" in name for element in chart.iter() for name in element.attrib)
    assert "\u202e" not in svg


@pytest.mark.parametrize("chart", [by_kind(FINDINGS), by_function(FINDINGS)])
def test_own_chart_stays_unchanged(chart: str) -> None:
    assert redrawn(chart) == chart


@settings(deadline=None, max_examples=50)
@given(TEXT)
def test_own_chart_with_any_name_stays_unchanged(name: str) -> None:
    chart = by_function([named(name), named("other")])
    assert chart is not None
    assert redrawn(chart) == chart
