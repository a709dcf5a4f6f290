import uuid
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from tests.support import until
from vigil.artifacts import HISTORY_PREFIX, MAX_ARTIFACT_BYTES, Artifacts
from vigil.errors import InvalidArtifact


def test_what_was_written_is_read(artifacts: Artifacts) -> None:
    address = artifacts.write("report.md", "# Übersicht\n")
    assert address.endswith("/report.md")
    assert artifacts.exists("report.md")
    assert artifacts.read("report.md") == "# Übersicht\n"


def test_what_was_not_written_is_not_there(artifacts: Artifacts) -> None:
    assert not artifacts.exists("report.md")
    with pytest.raises(InvalidArtifact, match=r"no artifact report\.md in this session"):
        artifacts.read("report.md")


@pytest.mark.parametrize(
    "name", ["", "../other/report.md", "/etc/passwd", "a/b", ".hidden", "..", "x" * 129, "a\n", "-x"]
)
def test_a_name_cannot_leave_the_session(artifacts: Artifacts, s3: Any, name: str) -> None:
    before = s3.list_objects_v2(Bucket="artifacts").get("KeyCount")
    for use in (lambda: artifacts.write(name, "x"), lambda: artifacts.read(name), lambda: artifacts.exists(name)):
        with pytest.raises(InvalidArtifact, match="artifact name must be"):
            use()
    assert s3.list_objects_v2(Bucket="artifacts").get("KeyCount") == before


def test_an_artifact_that_is_too_large_is_refused_whole(artifacts: Artifacts) -> None:
    with pytest.raises(InvalidArtifact, match=f"at most {MAX_ARTIFACT_BYTES} are allowed"):
        artifacts.write("big.txt", "x" * 10_000_000)
    assert not artifacts.exists("big.txt")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("a.svg", "image/svg+xml"), ("a.html", "text/html; charset=utf-8"), ("a", "text/plain; charset=utf-8")],
)
def test_a_browser_is_told_what_an_artifact_is(artifacts: Artifacts, s3: Any, name: str, content_type: str) -> None:
    bucket, _, key = artifacts.write(name, "x").removeprefix("s3://").partition("/")
    assert s3.head_object(Bucket=bucket, Key=key)["ContentType"] == content_type


# What sessions keep for the ones after them.

JUNE, JULY, AUGUST = (date(2026, month, 1) for month in (6, 7, 8))


def last(artifacts: Artifacts, series: str, day: date) -> str | None:
    return next(artifacts.kept_before(series, day), None)


@pytest.fixture
def series() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def another(s3: Any) -> Callable[[], Artifacts]:
    """Make the artifacts of another session."""
    return lambda: Artifacts(s3, "artifacts", str(uuid.uuid4()))


def test_a_session_finds_what_another_kept_last_and_never_its_own(
    artifacts: Artifacts, another: Callable[[], Artifacts], series: str
) -> None:
    assert last(artifacts, series, AUGUST) is None
    artifacts.keep(series, JULY, "own")
    assert last(artifacts, series, AUGUST) is None
    another().keep(series, JULY, "July")
    another().keep(series, JUNE, "June")
    another().keep(series, AUGUST, "August")
    another().keep(uuid.uuid4().hex, JULY, "of another series")
    assert [list(artifacts.kept_before(series, day)) for day in (JUNE, JULY, AUGUST)] == [
        [],
        ["June"],
        ["July", "June"],
    ]


def test_another_session_of_the_same_day_does_not_take_the_one_of_an_earlier_day_away(
    artifacts: Artifacts, another: Callable[[], Artifacts], series: str
) -> None:
    another().keep(series, JUNE, "June")
    for _ in range(3):
        another().keep(series, JULY, "July")
    assert list(artifacts.kept_before(series, JULY)) == ["June"]


def test_of_one_day_the_session_that_ended_last_counts(
    artifacts: Artifacts, another: Callable[[], Artifacts], s3: Any, series: str
) -> None:
    first, second = sorted((another() for _ in range(2)), key=lambda item: item.uri("x"), reverse=True)
    first.keep(series, JULY, "first")

    def later() -> bool:
        # S3 tells the time in seconds.
        second.keep(series, JULY, "second")
        listed = s3.list_objects_v2(Bucket="artifacts", Prefix=f"{HISTORY_PREFIX}{series}/")["Contents"]
        return len({item["LastModified"] for item in listed}) == 2

    assert until(later)
    assert list(artifacts.kept_before(series, AUGUST)) == ["second", "first"]


def test_keeping_twice_replaces_ones_own_and_nothing_else(
    artifacts: Artifacts, another: Callable[[], Artifacts], s3: Any, series: str
) -> None:
    other = another()
    for kept, text in ((artifacts, "one"), (other, "two"), (artifacts, "three")):
        kept.keep(series, JULY, text)
    assert (last(artifacts, series, AUGUST), last(other, series, AUGUST)) == ("two", "three")
    assert s3.list_objects_v2(Bucket="artifacts", Prefix=f"{HISTORY_PREFIX}{series}/")["KeyCount"] == 2


def test_what_is_too_large_is_neither_kept_nor_read(artifacts: Artifacts, s3: Any, series: str) -> None:
    with pytest.raises(InvalidArtifact, match="at most"):
        artifacts.keep(series, JULY, "x" * (MAX_ARTIFACT_BYTES + 1))
    key = f"{HISTORY_PREFIX}{series}/{JULY}_{uuid.uuid4()}.json"
    s3.put_object(Bucket="artifacts", Key=key, Body=b"x" * (MAX_ARTIFACT_BYTES + 1))
    assert last(artifacts, series, AUGUST) is None


@pytest.mark.parametrize("series", ["", "../sessions", "a/b"])
def test_a_series_cannot_leave_the_history(artifacts: Artifacts, series: str) -> None:
    for use in (lambda: artifacts.keep(series, JULY, "x"), lambda: last(artifacts, series, JULY)):
        with pytest.raises(InvalidArtifact, match="artifact name must be"):
            use()
