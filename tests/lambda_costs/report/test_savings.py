"""The two tables of savings: what is measured, and what is to be tested."""

from dataclasses import replace

import pytest

from lambda_costs.model.finding import SavingsRange
from tests.lambda_costs.analyses import analysis
from tests.lambda_costs.report.test_markdown import ANALYSIS, ARM, MEMORY, render, rows, section


def test_measured_and_to_be_tested_have_a_table_and_a_sum_each() -> None:
    _, measured, tested = section(render(), "Savings").split("\n### ")

    def dollars(savings: SavingsRange) -> list[str]:
        return [f"${amount:.2f}" for amount in vars(savings).values()]

    assert measured.startswith("Measured (2)\n")
    assert rows(measured) == [
        ["1", "large", "Set memory", "$10.00", "$20.00", "$30.00"],
        ["2", "warm", "Remove it", "$5.00", "$6.00", "$7.00"],
        ["", "**Total**", "", "$15.00", "$26.00", "$37.01"],
        ["", "**After the free tier**", "", *dollars(ANALYSIS.totals.net)],
    ]
    assert tested.startswith("To be tested (1)\n")
    assert rows(tested) == [
        ["1", "large", "Run it on arm64", "$0.00", "$20.00", "$40.00"],
        ["", "**Total**", "", "$0.00", "$16.00", "$28.00"],
        ["", "**After the free tier**", "", *dollars(ANALYSIS.more.net)],
    ]


def test_without_measured_savings_there_is_one_table() -> None:
    savings = section(render(analysis([ARM])), "Savings")
    assert "### To be tested (1)" in savings
    assert "### Measured" not in savings


@pytest.mark.parametrize(("slowdown", "is_named"), [(2.0, False), (2.5, True)])
def test_a_change_that_may_be_much_slower_says_so(slowdown: float, is_named: bool) -> None:
    table = section(render(analysis([replace(MEMORY, slowdown=slowdown)])), "Savings")
    assert ("Set memory (may take up to 2.5 times as long)" in table) is is_named


def test_a_finding_to_be_tested_has_its_test() -> None:
    test = {"powerValues": [256, 1024], "num": 50}
    text = section(render(analysis([replace(ARM, test=test)])), "large: Run it on arm64")
    block = '```json\n{\n  "powerValues": [\n    256,\n    1024\n  ],\n  "num": 50\n}\n```'
    assert (
        f"**Input of AWS Lambda Power Tuning, which invokes the function: add a typical event as payload:**\n\n{block}"
        in text
    )
    assert "in 30 days ($0.00 to $40.00), to be tested." in text
