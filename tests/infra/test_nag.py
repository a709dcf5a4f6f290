"""Each suppression of a finding of cdk-nag has a reason; ``make check`` compares suppressions with findings."""

from pathlib import Path

from tests.infra.nag import differences, suppressed


def test_every_suppression_has_a_reason(assembly: Path) -> None:
    reasons = suppressed(assembly)
    assert reasons
    assert all(len(reason.split()) >= 4 for reason in reasons.values())


def test_what_is_not_suppressed_or_not_found_is_named() -> None:
    found = {("A", "Stack/One"), ("A", "Stack/Two/Role"), ("B", "Stack/One")}
    assert differences(found, {("A", "Stack/One"), ("A", "Stack/Two"), ("B", "Stack")}) == []
    assert differences(found, {("A", "Stack/One"), ("A", "Stack/Tw"), ("B", "Stack/One"), ("B", "Stack/One/Role")}) == [
        "Stack/One/Role: B is suppressed and not found",
        "Stack/Tw: A is suppressed and not found",
        "Stack/Two/Role: A is not suppressed",
    ]
