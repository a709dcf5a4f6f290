"""The checks of a document's examples find what is wrong, and let differ what may."""

from pathlib import Path

import pytest

from tests.documents import parse, problems


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("# A\n\n```sh\nfalse\n```\n", "line 4: the block fails with exit status 1"),
        ("```sh\ntrue | false | true\n```\n", "line 2: the block fails with exit status 1"),
        ("```sh\necho one\n```\n\n```text\ntwo\n```\n", "line 6: shown: ['two']\nprinted: ['one']"),
        ("```sh\necho one; echo two\n```\n```text\none\n```\n", "line 5: shown: ['one']"),
        ("```sh\nexit 0\n```\n\n```sh\ntrue\n```\n", "line 6: the block was not run"),
        ("```sh\necho '1.0 s  phase  usage'\n```\n```text\n2.0 s  phase  report\n```\n", "line 5: not printed:"),
    ],
)
def test_a_wrong_block_is_reported_with_its_line(tmp_path: Path, document: str, said: str) -> None:
    (tmp_path / "checkout").mkdir()
    found = problems(parse(document), tmp_path / "checkout")
    assert len(found) == 1
    assert found[0].startswith(said)


def test_blocks_share_a_shell_and_ids_times_and_ports_may_differ(tmp_path: Path) -> None:
    document = (
        "```sh\nx=3f2504e0-4f89-11d3-9a0c-0305e82c3301\n```\n\n```sh\n"
        "printf '%s\\n' $x a 'http://127.0.0.1:1/q' 'at 2026-01-02T03:04:05.678Z' 1.5\\ s\n```\n\n```text\n"
        "8d3c1f6e-0b0e-4c57-8d0c-1f2e3d4c5b6a\n…\nhttp://127.0.0.1:4566/q\nat 2027-11-12T13:14:15Z\n0.2 s\n```\n"
    )
    (tmp_path / "checkout").mkdir()
    assert problems(parse(document), tmp_path / "checkout") == []
