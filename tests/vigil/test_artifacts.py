import uuid
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from boto3.dynamodb.conditions import Key

from vigil.artifacts import MAX_ARTIFACT_BYTES, MAX_HEADLINE, Artifacts
from vigil.errors import InvalidArtifact, SessionEnded
from vigil.journal import Journal
from vigil.journal_reader import HISTORY_PAGE
from vigil.session import Failure, Status


def test_a_written_artifact_can_be_read(artifacts: Artifacts) -> None:
    assert artifacts.write("report.md", "# Übersicht\n").endswith("/report.md")
    assert artifacts.exists("report.md")
    assert artifacts.read("report.md") == "# Übersicht\n"


def test_an_unwritten_artifact_does_not_exist(artifacts: Artifacts) -> None:
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
def test_artifacts_are_saved_with_their_media_type(artifacts: Artifacts, s3: Any, name: str, content_type: str) -> None:
    bucket, _, key = artifacts.write(name, "x").removeprefix("s3://").partition("/")
    assert s3.head_object(Bucket=bucket, Key=key)["ContentType"] == content_type


def test_artifact_can_be_overwritten_and_each_session_has_its_own(
    artifacts: Artifacts, artifacts_of: Callable[[str], Artifacts], new_session: Callable[..., str]
) -> None:
    other = artifacts_of(new_session(Status.BUSY))
    addresses = [artifacts.write("a.txt", "one"), artifacts.write("a.txt", "two"), other.write("a.txt", "two")]
    assert len(set(addresses)) == 3
    assert (artifacts.read("a.txt"), artifacts.uri("a.txt"), other.read("a.txt")) == ("two", addresses[1], "two")


def test_text_that_no_encoding_can_carry_is_saved_with_escapes(artifacts: Artifacts) -> None:
    artifacts.write("a.txt", "caf\udce9")
    assert artifacts.read("a.txt") == "caf\\udce9"


@pytest.mark.parametrize("status", [Status.INITIATED, Status.COMPLETED, Status.FAILED, None])
def test_nothing_becomes_an_artifact_unless_the_session_is_busy(
    artifacts_of: Callable[[str], Artifacts],
    new_session: Callable[..., str],
    journal: Journal,
    table: Any,
    status: Status | None,
) -> None:
    session_id, series = new_session(Status.BUSY), uuid.uuid4().hex
    artifacts = artifacts_of(session_id)
    artifacts.write("report.md", "# Draft")
    task = journal.start_task(session_id, "reading")
    key = {"PK": session_id, "SK": "SESSION"}
    if status is None:
        table.delete_item(Key=key)
    else:
        update: Any = {"UpdateExpression": "SET #s = :s", "ExpressionAttributeNames": {"#s": "status"}}
        table.update_item(Key=key, ExpressionAttributeValues={":s": status}, **update)
    before = table.query(KeyConditionExpression=Key("PK").eq(session_id))["Items"]
    for use in (
        lambda: artifacts.write("report.md", "# Of a zombie"),
        lambda: artifacts.write("other.md", "# Of a zombie"),
        lambda: artifacts.keep(series, JULY, "{}"),
        lambda: journal.end_task(session_id, task, message="by a zombie"),
        lambda: journal.start_task(session_id, "more"),
        lambda: journal.record_progress(session_id, "by a zombie"),
    ):
        with pytest.raises(SessionEnded, match="the session is not BUSY"):
            use()
    assert table.query(KeyConditionExpression=Key("PK").eq(session_id))["Items"] == before
    assert artifacts.read("report.md") == "# Draft"
    assert not artifacts.exists("other.md")
    assert list(artifacts.kept_before(series, AUGUST)) == []


# What sessions keep for the ones after them.

JUNE, JULY, AUGUST = (date(2026, month, 1) for month in (6, 7, 8))


@pytest.fixture
def series() -> str:
    return uuid.uuid4().hex


Kept = Callable[..., str]


@pytest.fixture
def kept(
    artifacts_of: Callable[[str], Artifacts], new_session: Callable[..., str], journal: Journal, series: str
) -> Kept:
    """Keep a text of a day, and end the session."""

    def keep(day: date, text: str, ends: Status = Status.COMPLETED, of: str = series) -> str:
        session_id = new_session(Status.BUSY)
        artifacts_of(session_id).keep(of, day, text)
        if ends is Status.COMPLETED:
            journal.complete(session_id, "s3://any")
        elif ends is Status.FAILED:
            journal.fail(session_id, Failure("Any", "any"))
        return session_id

    return keep


def test_a_session_finds_what_completed_ones_kept_of_days_before(artifacts: Artifacts, kept: Kept, series: str) -> None:
    assert list(artifacts.kept_before(series, AUGUST)) == []
    artifacts.keep(series, JUNE, "own, which is not complete")
    kept(JULY, "July")
    kept(JUNE, "June")
    kept(AUGUST, "August")
    kept(JULY, "of another series", of=uuid.uuid4().hex)
    kept(JULY, "of a session that failed", ends=Status.FAILED)
    kept(JULY, "of a session that is not over", ends=Status.BUSY)
    found = [list(artifacts.kept_before(series, day)) for day in (JUNE, JULY, AUGUST)]
    assert found == [[], ["June"], ["July", "June"]]


def test_sessions_of_the_same_day_do_not_hide_an_earlier_one(artifacts: Artifacts, kept: Kept, series: str) -> None:
    kept(JUNE, "June")
    for number in range(2 * HISTORY_PAGE + 1):
        kept(JULY, f"July {number}", ends=Status.FAILED if number % 2 else Status.COMPLETED)
    assert list(artifacts.kept_before(series, JULY)) == ["June"]
    assert len(list(artifacts.kept_before(series, AUGUST))) == HISTORY_PAGE + 2


def test_what_a_session_keeps_again_replaces_its_own(
    artifacts_of: Callable[[str], Artifacts], busy: str, journal: Journal, series: str
) -> None:
    for text in ("one", "two"):
        artifacts_of(busy).keep(series, JULY, text)
    journal.complete(busy, "s3://any")
    assert list(artifacts_of(busy).kept_before(series, AUGUST)) == ["two"]


def test_missing_large_and_damaged_history_is_skipped(
    artifacts: Artifacts, kept: Kept, s3: Any, table: Any, series: str
) -> None:
    with pytest.raises(InvalidArtifact, match="at most"):
        artifacts.keep(series, JULY, "x" * (MAX_ARTIFACT_BYTES + 1))
    kept(JUNE, "June")
    items = {"PK": f"HISTORY#{series}"}
    for number, key in enumerate(["sessions/gone", 5, None, "sessions/large", ""]):
        session_id = kept(JULY, "July")
        table.put_item(Item={**items, "SK": f"2026-07-01#{session_id}", "key": key, "number": number})
    table.put_item(Item={**items, "SK": "2026-07-02", "key": "sessions/large"})
    s3.put_object(Bucket="artifacts", Key="sessions/large", Body=b"x" * (MAX_ARTIFACT_BYTES + 1))
    assert list(artifacts.kept_before(series, AUGUST)) == ["June"]


@pytest.mark.parametrize("series", ["", "../sessions", "a/b"])
def test_a_series_is_a_name(artifacts: Artifacts, series: str) -> None:
    for use in (lambda: artifacts.keep(series, JULY, "x"), lambda: next(artifacts.kept_before(series, JULY), None)):
        with pytest.raises(InvalidArtifact, match="artifact name must be"):
            use()


def test_history_reads_a_bounded_number_of_items(
    artifacts: Artifacts, kept: Kept, series: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vigil.journal_reader.MOST_HISTORY", 3)
    kept(JUNE, "June")
    for _ in range(2):
        kept(JULY, "of a session that failed", ends=Status.FAILED)
    assert list(artifacts.kept_before(series, AUGUST)) == ["June"]
    kept(JULY, "of a session that failed", ends=Status.FAILED)
    assert list(artifacts.kept_before(series, AUGUST)) == []


def test_a_report_without_a_headline_replaces_one_with_it(artifacts: Artifacts) -> None:
    address = artifacts.write("report.md", "one", headline="  $5\n\u202e")
    assert artifacts.uri_and_headline("report.md") == (address, "$5 <U+202E>")
    address = artifacts.write("report.md", "two")
    assert artifacts.uri_and_headline("report.md") == (address, None)


def test_only_the_report_has_a_headline(artifacts: Artifacts) -> None:
    with pytest.raises(InvalidArtifact, match=r"only report\.md has a headline, not 'data\.json'"):
        artifacts.write("data.json", "{}", headline="$5")
    assert not artifacts.exists("data.json")


def test_a_headline_is_bounded_and_holds_no_secret(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "open sesame")
    artifacts.write("report.md", "one", headline="open sesame " + "x" * 500)
    _, headline = artifacts.uri_and_headline("report.md")
    assert headline is not None
    assert headline.startswith("[secret removed] xxx")
    assert len(headline) == MAX_HEADLINE
