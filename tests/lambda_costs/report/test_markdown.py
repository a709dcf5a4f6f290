"""The report in Markdown: its sections, and that text of the account never becomes markup."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from lambda_costs.analysis import Analysis
from lambda_costs.collect.compute_optimizer import Recommendation
from lambda_costs.collect.gaps import Gap
from lambda_costs.model.finding import Basis, Finding, Measurement, SavingsRange
from lambda_costs.report.comparison import Changed, Comparison, Gone, Realised
from lambda_costs.report.markdown import MAX_GAP_NAMES, MAX_KIND_ROWS, MAX_ROWS, MAX_SECTIONS, render_report
from lambda_costs.request import CostRequest
from tests.lambda_costs.analyses import analysis, finding, observation, used
from tests.lambda_costs.cases import function
from vigil.errors import InvalidInput
from vigil.text import escape, fence

MEMORY = finding("large", (10, 20, 30), "memory-too-high", cost=100.0, change="Set memory", proposed={"memory_mb": 256})
ARM = finding("large", (0, 20, 40), "arm64", cost=100.0, change="Run it on arm64", basis=Basis.TO_TEST)
WARM = finding("warm", (5, 6, 7), "provisioned-concurrency-unused", change="Remove it")
LOGS = finding("orders", (0, 0.004, 0.009), "log-retention-unset")
OLD = observation("orders", "runtime-deprecated", change="Move on", evidence={"Runtime": Measurement("python3.7")})
IDLE = observation("warm", "idle", change="Remove it")
ANALYSIS = analysis(
    [MEMORY, ARM, WARM, LOGS, OLD, IDLE],
    [function("large"), function("orders"), function("warm"), function("rare")],
    cost={function("large").arn: 100.0},
    gaps=(Gap("rare", "fewer than 50 invocations"),),
)
NO_SAVINGS = analysis((), [function("fine")])
MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def render(analysed: Analysis = ANALYSIS, summary: str = "Start with memory.", **options: Any) -> str:
    return render_report(analysed, summary=summary, written_by="the script", **options)


def sections(report: str) -> list[str]:
    return re.findall(r"^## (.*)", report, re.MULTILINE)


def section(report: str, start: str) -> str:
    return report.split(f"## {start}")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the first table in ``text``, without its head."""
    lines = text.partition("\n|")[2].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


NO_MATCH = "no function in eu-west-1, us-east-1 matches the filter `none-*`"


@pytest.mark.parametrize(
    ("pattern", "gaps", "reason"),
    [
        ("none-*", (), f"{NO_MATCH}."),
        ("none-*", (Gap("us-east-1", "denied"),), f"{NO_MATCH} (some functions could not be listed)."),
        (None, (), "no function was found in eu-west-1, us-east-1."),
    ],
)
def test_empty_report_says_why_and_claims_nothing(pattern: str | None, gaps: tuple[Gap, ...], reason: str) -> None:
    request = CostRequest(regions=("eu-west-1", "us-east-1"), functions=pattern)
    report = render(replace(analysis((), []), request=request, gaps=gaps))
    assert f"**Nothing was analysed:** {reason}" in section(report, "Summary")
    assert f"**Nothing was analysed:** {reason}" in section(report, "Skipped items")
    for claim in ("No savings", "nothing was skipped", "Nothing was skipped"):
        assert claim not in report


def test_sections_have_a_fixed_order() -> None:
    assert sections(render(comparison=COMPARISON)) == [
        "Summary",
        "Savings",
        "Since 2026-06-01",
        "Risks and other observations",
        "large: Set memory",
        "warm: Remove it",
        "large: Run it on arm64",
        "Skipped items",
        "Prices and cost of this analysis",
        "How to read the numbers",
    ]


def test_summary_states_savings_urgent_problems_and_confidence() -> None:
    report = render()
    assert "4 functions in us-east-1, 2026-06-01 up to 2026-07-01 (UTC, 30 days)." in report
    assert "the prose was written by the script" in report
    summary = section(report, "Summary")
    # 20 + 6, 10 + 5 and 30 + 7, and less than a cent of logs.
    assert "Measured savings in the coming 30 days: **$26.00** ($15.00 to $37.01), from 2 changes." in summary
    # Of 100, both leave 0.8 × 0.8 and at least 0.7 × 0.6: 36 - 20 and 58 - 30 more.
    assert "1 change to be tested could add up to $28.00 ($16.00 is expected)." in summary
    net = ANALYSIS.totals.net
    assert f"After the free tier: **${net.expected:.2f}** (${net.low:.2f} to ${net.high:.2f})." in summary
    assert re.findall(r"^\d\. .*", summary, re.MULTILINE) == [
        "1. large: Set memory, $10.00 to $30.00",
        "2. warm: Remove it, $5.00 to $7.00",
        "3. large: Run it on arm64, $0.00 to $40.00",
    ]
    assert "- **Urgent:** runtime deprecated, or soon to be in 1 function (orders)." in summary
    assert "- **Since the last analysis:** first analysis of these functions." in summary
    said = "at least $15.00 if every measured change has its worst outcome; on-demand compute cost is known for 1 of 4"
    assert said in summary
    assert "functions: $100.00 per 30 days, without provisioned concurrency; 1 item skipped." in summary
    assert "> Start with memory." in summary


def test_findings_below_a_cent_are_counted_and_those_without_money_listed() -> None:
    report = render()
    assert "Not listed: 1 finding of less than $0.01 each, see `findings.json`." in section(report, "Savings")
    observations = section(report, "Risks and other observations")
    assert re.findall(r"^### (.*)", observations, re.MULTILINE) == ["Runtime deprecated, or soon to be (1)", "Idle (1)"]
    assert ["orders", "Move on", "Runtime: python3.7"] in rows(observations)
    assert "$0.00" not in observations


def test_change_that_costs_money_says_so() -> None:
    costs = finding(savings=(-4, -3, 1), kind="memory-too-low", change="Set memory")
    text = section(render(analysis([costs])), "orders: Set memory")
    assert "Costs **$3.00** more in 30 days (−$4.00 to $1.00), measured." in text


def test_section_has_evidence_change_commands_risk_and_validation() -> None:
    numbers = {"Price": Measurement(0.0000166667, "$"), "Count": Measurement(12345), "Half": Measurement(0.5, "s")}
    item = finding(evidence={**numbers, "Name": Measurement("a|b")})
    text = section(render(analysis([item])), "orders: Change it")
    for row in ("| Price | 0.0000166667 $ |", "| Count | 12,345 |", "| Half | 0.5 s |", r"| Name | a\|b |"):
        assert row in text
    for part in (
        "`arm64:orders`",
        "**Calculation:** 2 × 1",
        "**How:**\n\n```sh\naws lambda change\n```\n",
        "**As code:**\n\n```yaml\n# CDK\nchange: it\n```\n",
        "**Risk:** It may break.",
        "**Validate:** Look at it.",
    ):
        assert part in text


def test_finding_without_commands_has_no_empty_block() -> None:
    text = section(render(analysis([finding(how_to="", as_code="")])), "orders: Change it")
    assert "```" not in text
    assert "**How" not in text


def test_compute_optimizer_is_quoted_at_memory_proposals_only() -> None:
    ends = {"LowerBound": 480.0, "Expected": 500.0, "UpperBound": 1530.4}
    recommendation = Recommendation("NotOptimized", ("MemoryOverprovisioned",), 512, 12.5, 14.0, "Low", ends)
    report = render(replace(ANALYSIS, recommendations={MEMORY.arn: recommendation}))
    quoted = (
        "**AWS Compute Optimizer says:** NotOptimized, MemoryOverprovisioned, 512 MB, $12.50 a month, projected"
        " duration Expected 500 ms, LowerBound 480 ms, UpperBound 1,530 ms, performance risk Low, from 14 days"
    )
    assert quoted in section(report, "large: Set memory")
    assert report.count("Compute Optimizer says") == 1


def test_functions_have_their_region_if_there_are_several() -> None:
    request = CostRequest(regions=("us-east-1", "eu-west-1"))
    report = render(replace(ANALYSIS, request=request))
    assert "1. large (us-east-1): Set memory" in report
    assert "## large (us-east-1): Set memory" in report
    there = observation(kind="timeouts", id="timeouts:orders:eu-west-1", region="eu-west-1", arn="there")
    both = analysis([observation(kind="timeouts"), there], request=request)
    assert "timeouts occurring in 2 functions (orders, orders)" in render(both)


def test_skipped_items_have_their_reason() -> None:
    assert "- fewer than 50 invocations: rare\n" in section(render(), "Skipped items")
    assert "Nothing was skipped." in section(render(NO_SAVINGS), "Skipped items")


def test_reason_of_many_items_names_some_and_counts_the_rest() -> None:
    gaps = tuple(Gap(f"f{number:04}", "access denied") for number in range(1500))
    skipped = section(render(replace(NO_SAVINGS, gaps=gaps)), "Skipped items")
    assert "f0019 and 1,480 more\n" in skipped
    assert skipped.count("f0") == MAX_GAP_NAMES


def test_prices_have_a_source_and_the_analysis_has_a_cost() -> None:
    prices = section(render(), "Prices and cost of this analysis")
    assert "- us-east-1: a table of 2025-10\n" in prices
    assert "cost of reading the data: $0.01 (limit $1.00), for 12 CloudWatch metrics and 1.00 GB scanned" in prices


def test_report_without_findings_says_so_and_has_no_chart() -> None:
    report = render(NO_SAVINGS, summary="All is well.")
    assert "No savings found." in section(report, "Summary")
    assert "**Urgent:** none." in report
    assert "> All is well." in report
    assert ".svg" not in report


def test_model_orders_the_sections_and_not_the_table() -> None:
    report = render(order=["arm64:large", "provisioned-concurrency-unused:warm", "arm64:large"])
    ids = re.findall(r"`([\w-]+:\w+)`\.$", report, re.MULTILINE)
    assert ids == ["arm64:large", "provisioned-concurrency-unused:warm", "memory-too-high:large"]
    assert rows(section(report, "Savings")) == rows(section(render(), "Savings"))


def test_note_is_beside_its_finding_and_names_its_author() -> None:
    report = render(notes={"arm64:large": "Check the\nnative parts.", "idle:warm": "Look at it."})
    assert "> **Note by the script.** Check the native parts." in section(report, "large: Run it on arm64")
    assert "> **Note by the script.** warm: Look at it." in section(report, "Risks and other observations")
    assert report.count("Note by") == 2


@pytest.mark.parametrize("options", [{"order": ["arm64:nobody"]}, {"notes": {"arm64:nobody": "Look."}}])
def test_unknown_finding_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="arm64:nobody"):
        render(**options)


def test_prose_with_a_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match="5"):
        render(summary="Saves 5 dollars.")
    with pytest.raises(InvalidInput, match="half"):
        render(notes={"arm64:large": "Saves half."})


def then(finding_id: str, *savings: float) -> Finding:
    kind, _, name = finding_id.partition(":")
    return finding(name, savings, kind, change=f"Follow {kind}")  # type: ignore[arg-type]


COMPARISON = Comparison(
    since=ANALYSIS.start,
    total_then=SavingsRange(50, 60, 70),
    new=(then("arm64:large", 0, 20, 40),),
    changed=(Changed(then("memory-too-high:large", 1, 2, 3), then("memory-too-high:large", 10, 20, 30)),),
    realised=(
        Realised((then("arm64:small", 0, 2, 4), then("memory-too-high:small", 1, 2, 3)), 2.5, measured=True),
        Realised((then("log-retention-unset:small", 1, 1, 1),), 1.0, measured=False),
    ),
    gone=(Gone(then("arm64:deleted", 0, 1, 2), "the function was deleted"),),
)


def test_changes_are_counted_in_the_summary_and_listed_below() -> None:
    report = render(comparison=COMPARISON)
    said = "1 new, 1 changed, 1 gone, 2 realised (1 not measured); measured savings: **$2.50** per 30 days."
    assert f"- **Since 2026-06-01:** {said}" in section(report, "Summary")
    since = section(report, "Since 2026-06-01")
    assert "Expected savings at that time: **$60.00** per 30 days ($50.00 to $70.00)." in since
    for row in (
        "| small | Follow arm64; Follow memory-too-high | $2.50 | measured |",
        "| small | Follow log-retention-unset | $1.00 | expected, not measured |",
        "| large | Follow arm64 | $20.00 expected |",
        "| large | Follow memory-too-high | $20.00 expected, $2.00 before |",
        "| deleted | Follow arm64 | the function was deleted |",
    ):
        assert row in since


def test_missing_comparison_and_missing_changes_are_stated() -> None:
    assert "- **Since the last analysis:** no comparison, because it is damaged." in render(comparison="it is damaged")
    same = replace(COMPARISON, new=(), changed=(), realised=(), gone=())
    assert "Nothing has changed." in section(render(comparison=same), "Since 2026-06-01")


def test_report_of_a_large_account_is_bounded() -> None:
    names = [f"function-{number:04}" for number in range(1000)]
    findings = [finding(name, (1, 2, 3)) for name in names]
    findings += [observation(name, "runtime-deprecated") for name in names[:300]]
    findings += [finding(name, (1, 1, 1), "log-retention-unset") for name in names[:500]]
    report = render(analysis(findings), notes={"arm64:function-0999": "Look."})
    assert len(report) < 200_000
    assert len(rows(section(report, "Savings"))) == MAX_ROWS + 3
    assert "|  | 1,400 more | in `findings.json` |  |  |  |" in report
    assert len(rows(section(report, "Risks and other observations"))) == MAX_KIND_ROWS
    assert "And 275 more" in report
    assert len(re.findall(r"^## .*: Change it", report, re.MULTILINE)) == MAX_SECTIONS
    further = section(report, "Further savings")
    assert "1,470 more findings with lower savings" in further
    assert "> **Note by the script.** function-0999: Look." in further


def test_same_data_give_the_same_bytes() -> None:
    again = analysis(reversed(ANALYSIS.findings), reversed(ANALYSIS.functions), cost=ANALYSIS.cost, gaps=ANALYSIS.gaps)
    assert render(again) == render()


EVIL = "<script>x</script> | ![a](b) **c** `d` _e_ ~~f~~ &amp; \\| \n# g\n```\n````\n\u202eh\x1b[0m\x00"


def texts(text: str) -> dict[str, str]:
    """Return ``text`` for every field of a finding that is prose or a command."""
    return dict.fromkeys(("change", "formula", "how_to", "as_code", "risk", "validate"), text)


def named(name: str) -> str:
    """Return a report that has ``name`` in every place for text of the account."""
    evidence = {name: Measurement(name, name)}
    memory = finding(name, kind="memory-too-high", proposed={"memory_mb": 1}, evidence=evidence, **texts(name))
    odd = finding(name, kind="odd-kind", region=name, **texts(name))
    old = observation(name, "runtime-deprecated", evidence=evidence, **texts(name))
    lists = (odd,), (Changed(odd, odd),), (Realised((odd,), 1.0, True),), (Gone(odd, name),)
    compared = Comparison(ANALYSIS.start, SavingsRange(1, 2, 3), *lists)
    analysed = analysis(
        [memory, odd, old],
        [function(name)],
        gaps=(Gap(name, name),),
        prices={name: name},
        recommendations={memory.arn: Recommendation(name, (name,), 512, None, None)},
        compute={function(name).arn: used(1)},
    )
    return render_report(analysed, summary="Look.", written_by=name, comparison=compared)


def test_name_cannot_become_markup() -> None:
    parsed, plain = MARKDOWN.parse(named(EVIL)), MARKDOWN.parse(named("x"))
    assert [block.type for block in parsed] == [block.type for block in plain]
    for evil, harmless in zip(parsed, plain, strict=True):
        assert kinds(evil) == kinds(harmless)
    headings = [parsed[at + 1] for at, block in enumerate(parsed) if block.type == "heading_open"]
    assert sum("# g ``` ```` <U+202E>h<U+001B>[0m<U+0000>" in shown(heading) for heading in headings) == 2
    assert not re.search("[\u202e\x1b\x00]", named(EVIL))


def kinds(block: Token) -> list[str]:
    """Return what kinds of markup a block holds, in order."""
    return [child.type for child in block.children or () if child.type not in ("text", "text_special")]


def shown(block: Token) -> str:
    """Return what a reader sees of a block."""
    return "".join(child.content for child in block.children or ())


def as_html(text: str) -> str:
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


MARKS = "ab1 _*`~#<>&[]()!|\\-+=.:\n\t$"


@settings(deadline=None)
@given(st.text(alphabet=MARKS))
def test_escaped_text_is_shown_unchanged(text: str) -> None:
    assert MARKDOWN.render(f"Name: {escape(text)}.") == f"<p>Name: {as_html(text)}.</p>\n"


@settings(deadline=None)
@given(st.text(alphabet=MARKS).filter(str.strip))
@example("1. a")
@example("123) a")
@example("1.")
def test_escaped_text_at_the_start_of_a_line_is_shown_unchanged(text: str) -> None:
    assert MARKDOWN.render(f"> {escape(text)}") == f"<blockquote>\n<p>{as_html(text)}</p>\n</blockquote>\n"


@settings(deadline=None)
@given(st.text())
def test_escaped_text_is_one_line_of_printable_characters(text: str) -> None:
    assert escape(text).isprintable()


@settings(deadline=None)
@given(st.text(alphabet="a`~\n").filter(str.strip))
def test_fenced_block_ends_after_its_text(text: str) -> None:
    (block,) = MARKDOWN.parse("\n".join(fence(text, "sh")))
    assert (block.type, block.content) == ("fence", f"{text}\n")
