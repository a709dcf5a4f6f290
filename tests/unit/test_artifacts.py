from typing import Any

import pytest

from vigil.artifacts import MAX_ARTIFACT_BYTES, Artifacts
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
