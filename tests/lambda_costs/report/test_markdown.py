"""The report in Markdown: what stands where, and that text of the account is never read as markup."""

import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from lambda_costs.analysis import Analysis
from lambda_costs.collect.compute_optimizer import Recommendation
from lambda_costs.collect.gaps import Gap
from lambda_costs.model.finding import Measurement, SavingsRange
from lambda_costs.report.comparison import Changed, Comparison, Gone, Realised, Told
from lambda_costs.report.markdown import MAX_GAP_NAMES, MAX_KIND_ROWS, MAX_ROWS, MAX_SECTIONS, render_report
from lambda_costs.request import CostRequest
from tests.lambda_costs.analyses import analysis, finding, observation, used
from tests.lambda_costs.cases import function
from vigil.errors import InvalidInput
from vigil.text import escape, fence

MEMORY = finding("large", (10, 20, 30), "memory-too-high", cost=100.0, change="Set memory", proposed={"memory_mb": 256})
ARM = finding("large", (0, 20, 40), "arm64", cost=100.0, change="Run it on arm64")
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
NOTHING = analysis((), [function("fine")])
MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def render(of: Analysis = ANALYSIS, summary: str = "Start with memory.", **given: object) -> str:
    return render_report(of, summary=summary, written_by="the stand-in", **given)  # type: ignore[arg-type]


def sections(report: str) -> list[str]:
    return re.findall(r"^## (.*)", report, re.MULTILINE)


def section(report: str, start: str) -> str:
    return report.split(f"## {start}")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the first table in ``text``, without its head."""
    lines = text.partition("\n|")[2].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("pattern", "gaps", "said"),
    [
        ("none-*", (), "no function in eu-west-1, us-east-1 matches the filter `none-*`."),
        (
            "none-*",
            (Gap("us-east-1", "denied"),),
            "no function in eu-west-1, us-east-1 of those that could be listed matches the filter `none-*`.",
        ),
        (None, (), "no function was found in eu-west-1, us-east-1."),
    ],
)
def test_a_report_about_no_function_says_so_and_not_that_there_is_nothing_to_save(
    pattern: str | None, gaps: tuple[Gap, ...], said: str
) -> None:
    request = CostRequest(regions=("eu-west-1", "us-east-1"), functions=pattern)
    report = render(replace(analysis((), []), request=request, gaps=gaps))
    assert f"**Nothing was analysed:** {said}" in section(report, "Summary")
    assert f"**Nothing was analysed:** {said}" in section(report, "What was not looked at")
    for claim in ("would save a cent", "nothing was left out", "Nothing was left out"):
        assert claim not in report


def test_the_parts_come_in_their_order() -> None:
    assert sections(render(comparison=COMPARISON)) == [
        "Summary",
        "What can be saved",
        "Since 2026-06-01",
        "Risks and other observations",
        "large: Set memory",
        "warm: Remove it",
        "large: Run it on arm64",
        "What was not looked at, and why",
        "Prices, and what this analysis cost",
        "How to read the numbers",
    ]


def test_the_summary_says_what_can_be_saved_what_is_urgent_and_how_sure_it_is() -> None:
    report = render()
    assert "4 functions in us-east-1, 2026-06-01 up to 2026-07-01 (UTC, 30 days)." in report
    assert "the prose was written by the stand-in" in report
    summary = section(report, "Summary")
    # 100 × (1 - 0.8 × 0.8) = 36, 100 × (1 - 0.9) = 10 and 100 × (1 - 0.7 × 0.6) = 58, and 6, 5 and 7 beside them.
    assert "**$42.00** per 30 days can be expected to be saved ($15.00 to $65.01)" in summary
    assert "by 3 changes to 2 of 4 functions" in summary
    net = ANALYSIS.totals.net
    assert f"After the free tier: **${net.expected:.2f}** (${net.low:.2f} to ${net.high:.2f})." in summary
    assert re.findall(r"^\d\. .*", summary, re.MULTILINE) == [
        "1. large: Set memory, $10.00 to $30.00",
        "2. warm: Remove it, $5.00 to $7.00",
        "3. large: Run it on arm64, $0.00 to $40.00",
    ]
    assert "- **Urgent:** runtime deprecated, or soon to be in 1 function (orders)." in summary
    assert "- **Since the last analysis:** there is none of the same functions on record." in summary
    assert "$15.00 at least, if every change turns out at its worst; the data of 1 of 4 functions" in summary
    assert "$100.00 per 30 days (provisioned concurrency is not in it); 1 thing not looked at." in summary
    assert "> Start with memory." in summary


def test_the_table_is_ranked_by_what_is_saved_at_least_and_does_not_add_up_overlaps() -> None:
    assert rows(section(render(), "What can be saved")) == [
        ["1", "large", "Set memory", "$10.00", "$20.00", "$30.00"],
        ["2", "warm", "Remove it", "$5.00", "$6.00", "$7.00"],
        ["3", "large", "Run it on arm64", "$0.00", "$20.00", "$40.00"],
        ["", "**All together**", "", "$15.00", "$42.00", "$65.01"],
        ["", "**After the free tier**", "", *(f"${amount:.2f}" for amount in vars(ANALYSIS.totals.net).values())],
    ]


def test_what_is_worth_less_than_a_cent_is_counted_and_what_claims_no_money_is_an_observation() -> None:
    report = render()
    assert "Too small to matter: 1 finding worth less than $0.01 each." in section(report, "What can be saved")
    observations = section(report, "Risks and other observations")
    assert re.findall(r"^### (.*)", observations, re.MULTILINE) == [
        "Runtime deprecated, or soon to be (1)",
        "Idle (1)",
    ]
    assert ["orders", "Move on", "Runtime: python3.7"] in rows(observations)
    assert "$0.00" not in observations


def test_a_change_that_costs_money_says_so() -> None:
    costs = finding(savings=(-4, -3, 1), kind="memory-too-low", change="Set memory")
    text = section(render(analysis([costs])), "orders: Set memory")
    assert "Costs **$3.00** more per 30 days (−$4.00 to $1.00)." in text


def test_each_finding_has_evidence_change_commands_risk_and_validation() -> None:
    item = finding(
        evidence={
            "Price": Measurement(0.0000166667, "$"),
            "Count": Measurement(12345),
            "Half": Measurement(0.5, "s"),
            "Name": Measurement("a|b"),
        }
    )
    text = section(render(analysis([item])), "orders: Change it")
    for row in ("| Price | 0.0000166667 $ |", "| Count | 12,345 |", "| Half | 0.5 s |", r"| Name | a\|b |"):
        assert row in text
    for part in (
        "`arm64:orders`",
        "**Computed:** 2 × 1",
        "**How:**\n\n```sh\naws lambda change\n```\n",
        "**As code:**\n\n```yaml\n# CDK\nchange: it\n```\n",
        "**Risk:** It may break.",
        "**Validate:** Look at it.",
    ):
        assert part in text


def test_what_cannot_be_run_has_no_empty_block() -> None:
    text = section(render(analysis([finding(how_to="", as_code="")])), "orders: Change it")
    assert "```" not in text
    assert "**How" not in text


def test_compute_optimizer_stands_beside_our_own_proposal_of_memory_only() -> None:
    said = Recommendation("NotOptimized", ("MemoryOverprovisioned",), 512, 12.5, 14.0)
    report = render(replace(ANALYSIS, recommendations={MEMORY.arn: said}))
    told = "**AWS Compute Optimizer says:** NotOptimized, MemoryOverprovisioned, 512 MB, $12.50 a month, from 14 days"
    assert told in section(report, "large: Set memory")
    assert report.count("Compute Optimizer says") == 1


def test_several_regions_are_told_apart() -> None:
    request = CostRequest(regions=("us-east-1", "eu-west-1"))
    report = render(replace(ANALYSIS, request=request))
    assert "1. large (us-east-1): Set memory" in report
    assert "## large (us-east-1): Set memory" in report
    there = observation(kind="timeouts", id="timeouts:orders:eu-west-1", region="eu-west-1", arn="there")
    both = analysis([observation(kind="timeouts"), there], request=request)
    assert "timeouts occurring in 2 functions (orders, orders)" in render(both)


def test_what_was_not_looked_at_stands_with_its_reason() -> None:
    assert "- fewer than 50 invocations: rare\n" in section(render(), "What was not looked at, and why")
    assert "Nothing was left out." in section(render(NOTHING), "What was not looked at")


def test_a_reason_that_many_share_names_some_and_counts_the_rest() -> None:
    gaps = tuple(Gap(f"f{number:04}", "access denied") for number in range(1500))
    not_looked_at = section(render(replace(NOTHING, gaps=gaps)), "What was not looked at")
    assert "f0019 and 1,480 more\n" in not_looked_at
    assert not_looked_at.count("f0") == MAX_GAP_NAMES


def test_prices_have_their_source_and_the_analysis_its_cost() -> None:
    prices = section(render(), "Prices, and what this analysis cost")
    assert "- us-east-1: a table of 2025-10\n" in prices
    assert "$0.01 by our estimate, of $1.00 that were allowed: 12 metrics of CloudWatch, and 1.00 GB" in prices


def test_a_report_without_findings_says_so_and_shows_no_chart() -> None:
    report = render(NOTHING, summary="All is well.")
    assert "Nothing was found that would save a cent." in section(report, "Summary")
    assert "**Urgent:** nothing was found" in report
    assert "> All is well." in report
    assert ".svg" not in report


def test_the_model_orders_the_sections_and_not_the_table() -> None:
    report = render(order=["arm64:large", "provisioned-concurrency-unused:warm", "arm64:large"])
    told = re.findall(r"`([\w-]+:\w+)`\.$", report, re.MULTILINE)
    assert told == ["arm64:large", "provisioned-concurrency-unused:warm", "memory-too-high:large"]
    assert rows(section(report, "What can be saved")) == rows(section(render(), "What can be saved"))


def test_a_note_stands_with_its_finding_and_its_author() -> None:
    report = render(notes={"arm64:large": "Check the\nnative parts.", "idle:warm": "Look at it."})
    note = "> **Note by the stand-in.** Check the native parts."
    assert note in section(report, "large: Run it on arm64")
    assert "> **Note by the stand-in.** warm: Look at it." in section(report, "Risks and other observations")
    assert report.count("Note by") == 2


@pytest.mark.parametrize("given", [{"order": ["arm64:nobody"]}, {"notes": {"arm64:nobody": "Look."}}])
def test_an_unknown_finding_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="arm64:nobody"):
        render(**given)


def test_prose_that_states_a_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match="5"):
        render(summary="Saves 5 dollars.")
    with pytest.raises(InvalidInput, match="half"):
        render(notes={"arm64:large": "Saves half."})


# Since the last analysis.


def told(item: str, *savings: float) -> Told:
    kind, _, name = item.partition(":")
    return Told(item, name, "us-east-1", f"Follow {kind}", SavingsRange(*savings))


COMPARISON = Comparison(
    since=ANALYSIS.start,
    total_then=SavingsRange(50, 60, 70),
    new=(told("arm64:large", 0, 20, 40),),
    changed=(Changed(told("memory-too-high:large", 1, 2, 3), told("memory-too-high:large", 10, 20, 30)),),
    realised=(
        Realised((told("arm64:small", 0, 2, 4), told("memory-too-high:small", 1, 2, 3)), 2.5, measured=True),
        Realised((told("log-retention-unset:small", 1, 1, 1),), 1.0, measured=False),
    ),
    gone=(Gone(told("arm64:deleted", 0, 1, 2), "gone, with its function"),),
)


def test_what_has_changed_is_told_in_brief_and_in_full() -> None:
    report = render(comparison=COMPARISON)
    assert (
        "- **Since 2026-06-01:** 1 new, 1 changed, 1 gone, 2 realised (1 of them not measured), which saves **$2.50**"
        " per 30 days as measured."
    ) in section(report, "Summary")
    since = section(report, "Since 2026-06-01")
    assert "Then **$60.00** per 30 days could be expected to be saved ($50.00 to $70.00)." in since
    for row in (
        "| small | Follow arm64; Follow memory-too-high | $2.50 | measured |",
        "| small | Follow log-retention-unset | $1.00 | expected then, not measured |",
        "| large | Follow arm64 | $20.00 expected |",
        "| large | Follow memory-too-high | $20.00 expected, $2.00 then |",
        "| deleted | Follow arm64 | gone, with its function |",
    ):
        assert row in since


def test_no_comparison_says_why_and_no_change_says_so() -> None:
    assert "- **Since the last analysis:** no comparison, it is damaged." in render(comparison="it is damaged")
    same = replace(COMPARISON, new=(), changed=(), realised=(), gone=())
    assert "Nothing has changed." in section(render(comparison=same), "Since 2026-06-01")


# Large accounts.


def test_a_large_account_has_a_report_that_can_be_read() -> None:
    names = [f"function-{number:04}" for number in range(1000)]
    large = analysis(
        [
            *(finding(name, (1, 2, 3)) for name in names),
            *(observation(name, "runtime-deprecated") for name in names[:300]),
            *(finding(name, (1, 1, 1), "log-retention-unset") for name in names[:500]),
        ]
    )
    report = render(large, notes={"arm64:function-0999": "Look."})
    assert len(report) < 200_000
    assert len(rows(section(report, "What can be saved"))) == MAX_ROWS + 3
    assert "| | 1,400 more | in `findings.json` | | | |" in report
    assert len(rows(section(report, "Risks and other observations"))) == MAX_KIND_ROWS
    assert "And 275 more" in report
    assert len(re.findall(r"^## .*: Change it", report, re.MULTILINE)) == MAX_SECTIONS
    further = section(report, "Further savings")
    assert "1,470 findings more that save less" in further
    assert "> **Note by the stand-in.** function-0999: Look." in further


def test_the_same_data_give_the_same_bytes() -> None:
    again = analysis(reversed(ANALYSIS.findings), reversed(ANALYSIS.functions), cost=ANALYSIS.cost, gaps=ANALYSIS.gaps)
    assert render(again) == render()


# Text of the account.

EVIL = "<script>x</script> | ![a](b) **c** `d` _e_ ~~f~~ &amp; \\| \n# g\n```\n````\n\u202eh\x1b[0m\x00"


def named(name: str) -> str:
    """Return a report that has ``name`` wherever text from outside may stand."""
    text = {"change": name, "formula": name, "how_to": name, "as_code": name, "risk": name, "validate": name}
    evidence = {name: Measurement(name, name)}
    memory = finding(name, kind="memory-too-high", proposed={"memory_mb": 1}, evidence=evidence, **text)
    odd = finding(name, kind="odd-kind", region=name, **text)
    old = observation(name, "runtime-deprecated", evidence=evidence, **text)
    about = Told(name, name, name, name, SavingsRange(1, 2, 3))
    compared = Comparison(
        ANALYSIS.start,
        SavingsRange(1, 2, 3),
        (about,),
        (Changed(about, about),),
        (Realised((about,), 1.0, True),),
        (Gone(about, name),),
    )
    of = analysis(
        [memory, odd, old],
        [function(name)],
        gaps=(Gap(name, name),),
        prices={name: name},
        recommendations={memory.arn: Recommendation(name, (name,), 512, None, None)},
        compute={function(name).arn: used(1)},
    )
    return render_report(of, summary="Look.", written_by=name, comparison=compared)


def test_a_name_cannot_become_markup() -> None:
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
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    assert MARKDOWN.render(f"Name: {escape(text)}.") == f"<p>Name: {as_html(text)}.</p>\n"


@settings(deadline=None)
@given(st.text(alphabet=MARKS).filter(str.strip))
@example("1. a")
@example("123) a")
@example("1.")
def test_escaped_text_that_begins_a_line_is_shown_as_it_is(text: str) -> None:
    assert MARKDOWN.render(f"> {escape(text)}") == f"<blockquote>\n<p>{as_html(text)}</p>\n</blockquote>\n"


@settings(deadline=None)
@given(st.text())
def test_escaped_text_is_one_line_of_characters_that_are_drawn(text: str) -> None:
    assert escape(text).isprintable()


@settings(deadline=None)
@given(st.text(alphabet="a`~\n").filter(str.strip))
def test_a_fenced_block_ends_where_it_should(text: str) -> None:
    (block,) = MARKDOWN.parse("\n".join(fence(text, "sh")))
    assert (block.type, block.content) == ("fence", f"{text}\n")
