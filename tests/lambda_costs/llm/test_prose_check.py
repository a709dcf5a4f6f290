"""Prose of a language model: no number, no markup, no link and no unknown name passes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_costs.llm.prose_check import MAX_CHARACTERS, check_names_and_numbers, check_prose
from tests.lambda_costs.cases import analyse, daily, function, provisioned, usage
from vigil.errors import InvalidInput
from vigil.local.scripted_model import PROSE

ANALYSIS = analyse(
    {
        function("orders-v2-api"): usage(provisioned=provisioned(daily(10))),
        function("orders-export"): usage(),
        function("ordersImport"): usage(),
        function("invoices"): usage(),
        function("7", log_group="/logs/42-a"): usage(),
        function("three-million"): usage(),
    }
)
NAMES, MARKUP, NUMBERS = "write names", "no markup", "no numbers"


@pytest.mark.parametrize(
    "text",
    [
        "",
        PROSE,
        "Memory is what matters most; look at it first, and at arm64 second.",
        "orders-v2-api keeps warm what nobody calls.",
        "(`orders-v2-api`), “orders-v2-api”: 'orders-v2-api'.",
        "Decide on arm64:orders-export before provisioned-concurrency-unused:orders-v2-api:live.",
        "Runs python3.12 in us-east-1, logs to /aws/lambda/orders-v2-api and /logs/42-a.",
        "Ask whether external packages exist for arm64, x86_64 or x86; check it again.",
        "Someone, often, weight, height, freight: none states a number. Tension, network, stone, canine.",
        "The provisioned concurrency on `live` of `orders-v2-api` is the most expensive item. It is kept warm day and"
        " night although it is rarely called; if cold starts are acceptable, remove it.",
        "Most of the savings come from memory. `orders-export` and `ordersImport` wait for I/O, so a smaller size is"
        " safe; validate with a load test before the rollout.",
        "Lambda bills on-demand use, yet log groups that never expire aren't. Set a retention that the team's"
        " compliance people agree to — e.g. with CloudFormation — and keep what's needed…",
        "No urgent problems were found: no timeouts, no errors. The account's APIs are fine; CloudWatch and DynamoDB"
        " aren't in scope. orders-export's duration varies; Node.js layers for arm64 exist.",
        "- Start with `invoices`.\n- Then look at the rest: GB-seconds are what is billed on $LATEST.",
        "Naïve façades aside, that is a safe change.",
    ],
)
def test_plain_prose_passes_unchanged(text: str) -> None:
    assert check_prose(text, ANALYSIS) == text


@pytest.mark.parametrize(
    "number",
    [
        *("3", "$1,234.50", "50%", "1e6", "10k", "-5", "3x", "2024-01-01"),
        *("٣", "３", "²", "½", "Ⅳ", "Ⓙ5", "①"),
        *("one", "Two", "THREE", "twelve", "thirteenth"),
        *("twenty", "twenty-five", "twentyfive", "forty–two", "twenties"),
        *("ninetieth", "sixth", "hundred", "thousands", "million", "millionths", "dozens", "zero-cost", "tenfold"),
        *("half", "halved", "halving", "a third", "quarters", "two-thirds", "twice", "double", "doubling", "tripled"),
        *("ﬁve", "fi\u0301ve", "two/three", "(two)", "“two”", "`two`", "two…", "two's", "save_two", "two-based"),
        # Known names let no number through: neither bare ones, nor longer words that hold a name.
        *("7", "`7`", "three-million", "9orders-v2-api"),
    ],
)
def test_number_in_prose_is_refused(number: str) -> None:
    with pytest.raises(InvalidInput, match=NUMBERS):
        check_prose(f"This saves {number} at best.", ANALYSIS)


@pytest.mark.parametrize(
    "name",
    [
        # No such function, finding, alias, log group, region or runtime.
        *("orders-exporter", "read-orders", "billing_sync", "billingSync", "BillingSync", "`billing`", '"billing"'),
        *("‘billing’", "“Big Report”", "'orders export'", "arm64:orders", "arm64:invoices:live", "`beta`", "v2"),
        *("/aws/lambda/billing", "/billing", "aws/lambda/invoices", "eu-west-1", "us-east-12", "python3.99", "arm645"),
        *("arn:aws:lambda:us-east-1:000000000000:function:invoices", "orders-v2-api-9", "orders-export-eu"),
        # Known but for case, accents, or punctuation.
        *("Orders-Export", "ORDERS-EXPORT", "ordersimport", "OrdersImport"),
        *("órders-export", "ínvoices", "orders_export"),
        *("`orders-export", "orders-export`", "_invoices_", "invoices.example", "someone@invoices"),
        # A hyphen or a slash inside a word is allowed in known names only.
        *("over-provisioned", "read-only", "arm64-compatible", "and/or"),
    ],
)
def test_name_that_no_tool_returned_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=NAMES):
        check_prose(f"Look at {name} first.", ANALYSIS)


@pytest.mark.parametrize(
    "text",
    [
        *("https://example.com/x", "ftp://invoices", "[invoices](invoices)", "![a](b)", "<b>invoices</b>", "&lt;b&gt;"),
        *("**invoices**", "# Summary", "a | b", "~~a~~", "\\invoices", "invoices = idle", "{invoices}"),
        # Letters that look alike, and invisible characters.
        *("orders\u2011export", "оrders-export", "invоices", "ɑrm", "𝐢nvoices", "ｉnvoices", "便宜", "💰"),
        *("invoi\u200bces", "orders-\u2060export", "t\u00adwo", "invoices\u202e"),
        *("invoices\ufe0f", "a\x1b[2J", "a\x00"),
    ],
)
def test_markup_links_and_lookalike_letters_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=MARKUP):
        check_prose(f"See {text} there.", ANALYSIS)


def test_refusal_names_every_word_to_fix_once_and_similar_names() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_prose("Saves 5%, two, (two) or 5: see `orders-exporter`, orders-exporter and <b>.", ANALYSIS)
    assert str(refused.value) == (
        "fix these and call the tool again: write no numbers, the report renders them from the findings: 5%, two, 5."
        " write no markup, no links and no special characters: <b>."
        " write names and quoted words exactly as the tools return them; other words have no digit, underscore,"
        " hyphen, slash or capital letter inside: orders-exporter; similar names:"
        ' {"untrusted_account_data": {"orders-exporter": ["orders-export", "arm64:orders-export",'
        ' "ordersImport"]}}'
    )


def test_refusal_shows_invisible_characters_as_escapes() -> None:
    with pytest.raises(InvalidInput, match=r"special characters: invoi\\u200bces$"):
        check_prose("invoi\u200bces", ANALYSIS)


@settings(deadline=None)
@given(st.text(max_size=3000))
def test_any_text_passes_unchanged_or_is_refused_in_short(text: str) -> None:
    try:
        assert check_prose(text, ANALYSIS) == text
    except InvalidInput as refused:
        assert len(str(refused)) < 6_000  # noqa: PT017 - either is right


WORD = st.sampled_from(["the", "function", "is", "rarely", "used", "often", "`orders-export`", "invoices", "arm64"])


@settings(deadline=None)
@given(st.lists(WORD), st.sampled_from(["5", "two", "orders-exporter", "`x`", "<i>", "\u200b"]), st.lists(WORD))
def test_one_bad_word_is_found_anywhere(before: list[str], bad: str, after: list[str]) -> None:
    good = " ".join([*before, *after])
    assert check_prose(good, ANALYSIS) == good
    with pytest.raises(InvalidInput):
        check_prose(" ".join([*before, bad, *after]), ANALYSIS)


def test_prose_has_a_maximum_length() -> None:
    with pytest.raises(InvalidInput, match="prose has at most 2,000 characters, not 2,001"):
        check_names_and_numbers("a" * (MAX_CHARACTERS + 1), ())


def test_text_of_the_evidence_may_be_named() -> None:
    assert check_prose("Its `Architecture` is `x86_64`.", ANALYSIS)
