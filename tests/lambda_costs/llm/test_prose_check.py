import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_costs.llm.prose_check import MAX_CHARACTERS, check_prose, check_names_and_numbers
from tests.lambda_costs.cases import analyse, daily, function, provisioned, usage
from vigil.errors import InvalidInput
from vigil.local.model import PROSE

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
NAMES, MARKUP, NUMBERS = "prose names and quotes only", "without markup", "prose states no numbers"


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
        "Ask whether third-party packages exist for arm64, x86_64 or x86; double-check it.",
        "Someone, often, weight, height, freight: none states a number. Tension, network, stone, canine.",
        "The provisioned concurrency on `live` of `orders-v2-api` is the most expensive item. It is kept warm day and"
        " night although it is rarely called; if cold starts are acceptable, remove it.",
        "Most of the savings come from over-provisioned memory. `orders-export` and `ordersImport` are read-only,"
        " I/O-bound jobs, so right-sizing them is low-risk; validate with a load-test before the roll-out.",
        "Lambda is pay-as-you-go, yet log groups that never expire aren't. Set a retention that the team's compliance"
        " people agree to — e.g. with CloudFormation — and keep what's customer-facing…",
        "Moving CPU-heavy Node.js and Python workloads to Graviton is a quick win once native dependencies have been"
        " checked. Re-measure under- and over-sized functions step-by-step, and roll back if it's slower.",
        "No urgent problems were found: no time-outs, no errors and/or throttles. The account's APIs are well-tuned,"
        " event-driven and cost-effective; CloudWatch and DynamoDB aren't in scope.",
        "orders-export's duration is a long-tail, latency-sensitive trade-off; arm64-compatible layers exist.",
        "- Start with `invoices`.\n- Then look at the rest: GB-seconds are what is billed on $LATEST.",
        "Naïve façades aside, that is a low-risk change.",
    ],
)
def test_prose_as_people_write_it_passes_as_it_is(text: str) -> None:
    assert check_prose(text, ANALYSIS) == text


@pytest.mark.parametrize(
    "number",
    [
        *("3", "$1,234.50", "50%", "1e6", "10k", "-5", "3x", "2024-01-01"),
        *("٣", "３", "²", "½", "Ⅳ", "Ⓙ5", "①"),
        *(
            "one",
            "Two",
            "THREE",
            "twelve",
            "thirteenth",
            "twenty",
            "twenty-five",
            "twentyfive",
            "forty–two",
            "twenties",
        ),
        *("ninetieth", "sixth", "hundred", "thousands", "million", "millionths", "dozens", "zero-cost", "tenfold"),
        *("half", "halved", "halving", "a third", "quarters", "two-thirds", "twice", "double", "doubling", "tripled"),
        *("ﬁve", "fi\u0301ve", "two/three", "(two)", "“two”", "`two`", "two…", "two's", "save_two", "two-based"),
        # Known names let no number through: neither bare ones, nor longer words that hold a name.
        *("7", "`7`", "three-million", "9orders-v2-api"),
    ],
)
def test_a_number_in_prose_is_refused(number: str) -> None:
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
        # Known but for case, accents, or what stands between.
        *(
            "Orders-Export",
            "ORDERS-EXPORT",
            "ordersimport",
            "OrdersImport",
            "órders-export",
            "ínvoices",
            "orders_export",
        ),
        *("`orders-export", "orders-export`", "_invoices_", "invoices.example", "someone@invoices"),
    ],
)
def test_a_name_that_the_tools_have_not_told_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=NAMES):
        check_prose(f"Look at {name} first.", ANALYSIS)


@pytest.mark.parametrize(
    "text",
    [
        *("https://example.com/x", "ftp://invoices", "[invoices](invoices)", "![a](b)", "<b>invoices</b>", "&lt;b&gt;"),
        *("**invoices**", "# Summary", "a | b", "~~a~~", "\\invoices", "invoices = idle", "{invoices}"),
        # Look-alikes, and what nobody sees.
        *("orders\u2011export", "оrders-export", "invоices", "ɑrm", "𝐢nvoices", "ｉnvoices", "便宜", "💰"),
        *(
            "invoi\u200bces",
            "orders-\u2060export",
            "t\u00adwo",
            "invoices\u202e",
            "invoices\ufe0f",
            "a\x1b[2J",
            "a\x00",
        ),
    ],
)
def test_what_is_not_plain_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=MARKUP):
        check_prose(f"See {text} there.", ANALYSIS)


def test_the_refusal_names_every_word_to_mend_once_and_what_comes_close() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_prose("Saves 5%, two, (two) or 5: see `orders-exporter`, orders-exporter and <b>.", ANALYSIS)
    assert str(refused.value) == (
        "mend and try again: prose states no numbers, since the report renders them from the findings: 5%, two, 5."
        " prose is plain English, without markup, links and special characters: <b>."
        " prose names and quotes only what the tools have told, spelled as there; other words have no digit,"
        " underscore, hyphen or capital letter within: orders-exporter; names that come close:"
        ' {"untrusted_account_data": {"orders-exporter": ["orders-export", "arm64:orders-export",'
        ' "ordersImport"]}}'
    )


def test_the_refusal_shows_what_nobody_sees() -> None:
    with pytest.raises(InvalidInput, match=r"special characters: invoi\\u200bces$"):
        check_prose("invoi\u200bces", ANALYSIS)


@settings(deadline=None)
@given(st.text(max_size=3000))
def test_whatever_a_model_writes_is_passed_or_refused_in_short(text: str) -> None:
    try:
        assert check_prose(text, ANALYSIS) == text
    except InvalidInput as refused:
        assert len(str(refused)) < 6_000  # noqa: PT017 - either is right


WORD = st.sampled_from(["the", "function", "is", "rarely", "used", "read-only", "`orders-export`", "invoices", "arm64"])


@settings(deadline=None)
@given(st.lists(WORD), st.sampled_from(["5", "two", "orders-exporter", "`x`", "<i>", "\u200b"]), st.lists(WORD))
def test_one_bad_word_is_found_wherever_it_stands(before: list[str], bad: str, after: list[str]) -> None:
    good = " ".join([*before, *after])
    assert check_prose(good, ANALYSIS) == good
    with pytest.raises(InvalidInput):
        check_prose(" ".join([*before, bad, *after]), ANALYSIS)


def test_prose_is_short() -> None:
    with pytest.raises(InvalidInput, match="prose has at most 2,000 characters, not 2,001"):
        check_names_and_numbers("a" * (MAX_CHARACTERS + 1), ())


def test_text_that_the_evidence_shows_may_be_named() -> None:
    assert check_prose("Its `Architecture` is `x86_64`.", ANALYSIS)
