from tests.requirements import DOCUMENT, criteria, proofs, render

COUNTS = {1: 5, 2: 2, 3: 6, 4: 5, 5: 5, 6: 4, 7: 5, 8: 4}
"""How many criteria each requirement has."""


def test_the_document_holds_every_criterion() -> None:
    expected = [f"{requirement}.{n}" for requirement, count in COUNTS.items() for n in range(1, count + 1)]
    assert list(criteria(DOCUMENT.read_text(encoding="utf-8"))) == expected


def test_every_criterion_has_a_test_and_every_marker_a_criterion() -> None:
    assert set(proofs()) == set(criteria(DOCUMENT.read_text(encoding="utf-8")))


def test_the_document_names_the_tests_that_there_are() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert render(document, proofs()) == document, "run `make requirements`"
