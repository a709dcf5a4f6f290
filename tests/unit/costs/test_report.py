import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.unit.costs.cases import GIB, analyse, finding, function, log_group, observed, provisioned, reports, usage
from vigil.costs.analysis import Analysis
from vigil.costs.finding import Measure
from vigil.costs.gaps import Gap
from vigil.costs.report import MAX_GAP_NAMES, escape, findings_json, render_report
from vigil.errors import InvalidInput

WASTE = {
    function(): usage(reports=reports(200), log_group=log_group(10 * GIB, observed(GIB))),
    function("large", memory_mb=3008): usage(reports=reports(200, memory_mb=3008)),
    function("warm", architecture="arm64"): usage(provisioned=provisioned(observed(10))),
    function("fine", architecture="arm64"): usage(),
    function("rare"): usage(invocations=observed(3)),
}
ANALYSIS = analyse(WASTE)
NOTHING = analyse({function("fine", architecture="arm64"): usage()})

MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def render(
    analysis: Analysis = ANALYSIS,
    summary: str = "Start with memory.",
    order: Sequence[str] = (),
    notes: dict[str, str] | None = None,
) -> str:
    return render_report(analysis, summary=summary, order=order, notes=notes, written_by="the stand-in")


def sections(report: str) -> list[str]:
    return re.findall(r"^## (.*)", report, re.MULTILINE)


def section(report: str, start: str) -> str:
    return report.split(f"## {start}")[1].split("\n## ")[0]


def rows(report: str) -> list[list[str]]:
    """Return the cells of the table of savings."""
    lines = [line for line in section(report, "What can be saved").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_summary_comes_first_and_says_who_wrote_it() -> None:
    report = render()
    assert sections(report)[:2] == ["Summary", "What can be saved"]
    assert "5 functions in us-east-1, 2026-06-01 up to 2026-07-01 (UTC, 30 days)." in report
    assert "the prose was written by the stand-in" in report
    summary = section(report, "Summary")
    assert "6 findings in 3 of 5 functions" in summary
    assert "> Start with memory." in summary
    assert re.findall(r"^(\d)\. (\w+): ", summary, re.MULTILINE) == [("1", "large"), ("2", "warm"), ("3", "orders")]


def test_the_table_is_ranked_by_what_is_saved_at_least_and_does_not_add_up_overlaps() -> None:
    *findings, total = rows(render())
    assert [row[0] for row in findings] == ["1", "2", "3", "4", "5", "6"]
    assert [(row[1], row[3]) for row in findings] == [
        ("large", "$10.08"),  # 8.33335 × (3,008 − 1,769) / 1,024
        ("warm", "$5.86"),  # 2,592,000 × 0.0000033334 − 500,000 × (0.0000133334 − 0.0000077778)
        ("orders", "$0.04"),  # 9 GB × 0.15 × 0.03
        ("large", "$0.00"),
        ("orders", "$0.00"),
        ("orders", "$0.00"),
    ]
    assert total[1] == "**All together**"
    most = sum(float(row[5].strip("$")) for row in findings)
    assert float(total[5].strip("$")) < most


def test_each_finding_has_evidence_change_command_risk_and_validation() -> None:
    report = render()
    for item in ANALYSIS.findings:
        text = section(report, f"{item.function}: {item.change}")
        for name in item.evidence:
            assert f"| {name} | " in text
        assert "| Evidence | |" in text
        assert item.how_to in text
        for part in (f"`{item.id}`", "**Computed:** ", "**How:**", "**Risk:** ", "**Validate:** "):
            assert part in text


def test_numbers_of_the_evidence_keep_their_digits() -> None:
    item = finding(evidence={"Price": Measure(0.0000166667, "$"), "Count": Measure(12345), "Half": Measure(0.5, "s"),
                             "Name": Measure("a|b")})  # fmt: skip
    report = render(replace(ANALYSIS, findings=(item,)))
    for row in ("| Price | 0.0000166667 $ |", "| Count | 12,345 |", "| Half | 0.5 s |", r"| Name | a\|b |"):
        assert row in report


def test_what_was_not_looked_at_stands_with_its_reason() -> None:
    not_looked_at = section(render(), "What was not looked at, and why")
    assert "- fewer than 50 invocations in the window: rare\n" in not_looked_at
    assert "- has provisioned concurrency, which changes the price of its duration: decide on that first: warm" in (
        not_looked_at
    )
    assert "Nothing was left out." in section(render(NOTHING), "What was not looked at")


def test_a_reason_that_many_share_names_some_and_counts_the_rest() -> None:
    gaps = tuple(Gap(f"f{number:04}", "access denied") for number in range(1500))
    not_looked_at = section(render(replace(NOTHING, gaps=gaps)), "What was not looked at")
    assert "f0019 and 1,480 more\n" in not_looked_at
    assert not_looked_at.count("f0") == MAX_GAP_NAMES


def test_prices_have_a_date_and_a_source() -> None:
    prices = section(render(), "Prices")
    assert "AWS Price List, services AWSLambda and AmazonCloudWatch, 2025-10." in prices
    assert "free tier" in prices


def test_a_report_without_findings_says_so() -> None:
    report = render(NOTHING, summary="All is well.")
    assert "Nothing was found." in report
    assert "> All is well." in report
    assert sections(report) == ["Summary", "What can be saved", "What was not looked at, and why", "Prices"]


def test_the_model_orders_the_sections_and_the_rest_follow_by_savings() -> None:
    ids = [item.id for item in ANALYSIS.findings]
    order = [ids[4], ids[1], ids[4]]
    told = re.findall(r"`([\w-]+:[\w:-]+)`\.$", render(order=order), re.MULTILINE)
    assert told == [ids[4], ids[1], ids[0], ids[2], ids[3], ids[5]]
    assert rows(render(order=order)) == rows(render())


def test_a_note_stands_in_its_section_with_its_author() -> None:
    report = render(notes={"arm64:orders": "Check the\nnative <b>parts</b>."})
    assert "> **Note by the stand-in.** Check the native &lt;b&gt;parts&lt;/b&gt;." in section(report, "orders: Run it")
    assert report.count("Note by") == 1


@pytest.mark.parametrize("given", [{"order": ["arm64:nobody"]}, {"notes": {"arm64:nobody": "Look."}}])
def test_an_unknown_finding_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="no finding is called 'arm64:nobody'"):
        render(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("prose", ["Saves 5 dollars.", "Saves half.", "Saves a hundred."])
def test_prose_that_states_a_number_is_refused(prose: str) -> None:
    with pytest.raises(InvalidInput, match="prose states no numbers"):
        render(summary=prose)
    with pytest.raises(InvalidInput, match="prose states no numbers"):
        render(notes={"arm64:orders": prose})


def test_findings_are_json_that_holds_all_that_the_report_says() -> None:
    document = json.loads(findings_json(ANALYSIS))
    assert document["request"] == {"regions": ["us-east-1"], "days": 30, "functions": None}
    assert document["window"] == {"start": "2026-06-01", "end": "2026-07-01"}
    assert document["functions"] == 5
    assert document["prices"]["date"] == "2025-10"
    assert [item["id"] for item in document["findings"]] == [item.id for item in ANALYSIS.findings]
    first = document["findings"][0]
    assert first["savings"] == vars(ANALYSIS.findings[0].savings)
    assert first["evidence"]["Memory today"] == {"value": 3008, "unit": "MB"}
    assert document["total"] == vars(ANALYSIS.total)
    assert document["gaps"] == [vars(gap) for gap in ANALYSIS.gaps]


def test_the_same_data_give_the_same_bytes() -> None:
    again = analyse(dict(reversed(WASTE.items())))
    assert findings_json(again) == findings_json(ANALYSIS)
    assert render(again) == render()
    assert json.dumps(json.loads(findings_json(again)), indent=2, sort_keys=True, ensure_ascii=False) + "\n" == (
        findings_json(ANALYSIS)
    )


EVIL = "<script>x</script> | ![a](b) **c** `d` _e_ ~~f~~ &amp; \\| \n# g\n```\n"


def named(name: str) -> str:
    """Return a report that has ``name`` wherever text from outside may stand."""
    waste = {function(name, memory_mb=3008): usage(reports=reports(200, memory_mb=3008))}
    analysis = replace(analyse(waste), gaps=(Gap(name, name),))
    return render(analysis, summary=name, notes={f"arm64:{name}": name})


def test_a_name_cannot_become_markup() -> None:
    parsed, plain = MARKDOWN.parse(named(EVIL)), MARKDOWN.parse(named("x"))
    assert [block.type for block in parsed] == [block.type for block in plain]
    for evil, harmless in zip(parsed, plain, strict=True):
        assert kinds(evil) == kinds(harmless)
    headings = [parsed[at + 1] for at, block in enumerate(parsed) if block.type == "heading_open"]
    assert sum(" ".join(EVIL.split()) in shown(heading) for heading in headings) == 2


def kinds(block: Token) -> list[str]:
    """Return what kinds of markup a block holds, in order."""
    return [child.type for child in block.children or () if child.type not in ("text", "text_special")]


def shown(block: Token) -> str:
    """Return what a reader sees of a block."""
    return "".join(child.content for child in block.children or ())


def as_html(text: str) -> str:
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


MARKS = "ab _*`~#<>&[]()!|\\-+=.:\n\t$"


@settings(deadline=None)
@given(st.text(alphabet=MARKS + "12"))
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    assert MARKDOWN.render(f"Name: {escape(text)}.") == f"<p>Name: {as_html(text)}.</p>\n"


@settings(deadline=None)
@given(st.text(alphabet=MARKS).filter(str.strip))
def test_escaped_text_that_begins_a_line_is_shown_as_it_is(text: str) -> None:
    assert MARKDOWN.render(f"> {escape(text)}") == f"<blockquote>\n<p>{as_html(text)}</p>\n</blockquote>\n"
