import pytest

from tests.unit.costs.cases import analyse, function, observed, provisioned, usage
from vigil.costs.prose import check_prose
from vigil.errors import InvalidInput

ANALYSIS = analyse(
    {
        function("orders-v2-api"): usage(provisioned=provisioned(observed(10))),
        function("7", log_group="/logs/42-a"): usage(),
        function("three-million"): usage(),
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Memory is what matters most; look at it first, and at arm64 second.",
        "orders-v2-api keeps warm what nobody calls.",
        "(`orders-v2-api`), *orders-v2-api*: 'orders-v2-api'.",
        "Decide on arm64:orders-v2-api before provisioned-concurrency-unused:orders-v2-api:live.",
        "Runs python3.12 in us-east-1, logs to /aws/lambda/orders-v2-api and /logs/42-a.",
        "Ask whether third-party packages exist for arm64, x86_64 or x86; double-check it.",
        "Someone, often, weight, height, freight: none states a number. Tension, network, stone, canine.",
        "Es spart viel; 便宜; naïve – “quoted”.",
    ],
)
def test_prose_without_numbers_passes_as_it_is(text: str) -> None:
    assert check_prose(text, ANALYSIS) == text


@pytest.mark.parametrize(
    "number",
    [
        *("3", "$1,234.50", "50%", "1e6", "v2", "python3.99", "10k", "-5", "x2x"),
        *("٣", "３", "²", "½", "Ⅳ", "Ⓙ5", "三", "①"),
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
        *("tw\u200bo", "t\u00adwo", "ｔｗｏ", "ﬁve", "fi\u2060ve", "tw\ufe0fo", "fi\u0301ve"),
        *("two/three", "**two**", "(two)", "[two]", "“two”", "two…", "two's", "save_two"),
        # Known names let no number through: neither bare ones, nor longer words that hold a name.
        *("7", "three-million", "orders-v2-api-9", "9orders-v2-api", "arm645", "us-east-12"),
    ],
)
def test_a_number_in_prose_is_refused(number: str) -> None:
    with pytest.raises(InvalidInput, match="prose states no numbers"):
        check_prose(f"This saves {number} at best.", ANALYSIS)


def test_the_refusal_names_every_offending_word_once() -> None:
    with pytest.raises(InvalidInput, match=r"rephrase: 5%, two, 5$"):
        check_prose("Saves 5%, two, (two) or 5 at best.", ANALYSIS)


def test_the_refusal_is_short_whatever_the_word() -> None:
    with pytest.raises(InvalidInput, match=r"rephrase: 1{40}$"):
        check_prose("1" * 5000, ANALYSIS)
