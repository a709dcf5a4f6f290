"""What a command saves on this machine is there whole or not at all, and nobody else's."""

import resource
from pathlib import Path

import pytest

from tests.support import command
from vigil.errors import InvalidInput
from vigil.folder import claimed, write


def test_files_are_saved_and_those_of_before_are_gone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "stale").write_text("old")
    (tmp_path / "other").write_text("kept")
    write(tmp_path, {"a": "new", "b": "new"}, instead_of=("a", "b", "stale"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new", "other": "kept"}


def test_without_room_for_all_files_everything_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "stale").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        # Python ignores SIGXFSZ: the write fails as one to a full disk does.
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path, {"a": "new", "b": "x" * 100_000}, instead_of=("a", "b", "stale"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "stale": "old"}


def test_one_command_at_a_time_saves_its_files_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    with claimed(folder):
        with (
            pytest.raises(InvalidInput, match="another command saves its files in"),
            claimed(folder),
        ):
            pass
        done = command(None, "vigil", "run", "--out", str(folder))
        assert (done.returncode, done.stdout) == (1, "")
        assert "another command saves its files" in done.stderr
    with claimed(folder):
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [["run"], ["run", "--local"]])
def test_a_folder_that_takes_no_file_is_told_before_anything_starts(words: list[str]) -> None:
    done = command(None, "vigil", *words, "--out", "/proc")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "/proc/" in done.stderr
