"""A command saves its files completely or not at all, and replaces no file of the user."""

import os
import resource
from pathlib import Path

import pytest

from tests.support import command
from vigil.errors import EnvironmentProblem, InvalidInput
from vigil.folder import LISTING, claimed, write

pytestmark = pytest.mark.takes(15)


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
        with pytest.raises(EnvironmentProblem, match=f"^{tmp_path}/b was not saved: File too large$"):
            write(tmp_path, {"a": "new", "b": "x" * 100_000}, instead_of=("a", "b", "stale"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "stale": "old"}


def test_name_of_an_existing_folder_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(EnvironmentProblem, match=f"^{tmp_path}/a was not saved: Is a directory$"):
        write(tmp_path, {"a": "new"})
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_umask_decides_who_may_read_what_is_saved(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path, {"a": "new"})
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_saved_files_of_a_command_replace_those_of_an_earlier_one(tmp_path: Path) -> None:
    def there() -> dict[str, str]:
        return {path.name: path.read_text() for path in tmp_path.iterdir() if path.name != LISTING}

    (tmp_path / "mine").write_text("kept")
    for text in ("first", "second"):
        with claimed(tmp_path) as save:
            save({"report": text})
            save({"log": text})
            assert there() == {"report": text, "log": text, "mine": "kept"}
    with claimed(tmp_path) as save:
        assert len(there()) == 3
        save({"log": "third"})
    assert there() == {"log": "third", "mine": "kept"}
    with claimed(tmp_path) as save:
        save({})
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_listing_removes_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "above", folder / "sub" / "below"):
        path.write_text("kept")
    (folder / LISTING).write_text("../above\nsub/below\nsub\n.\n..\n\nnot there\n")
    with claimed(folder) as save:
        save({"report": "new"})
    assert {path.name for path in tmp_path.rglob("*")} == {"out", "sub", "above", "below", "report", LISTING}


def test_one_command_at_a_time_saves_its_files_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    with claimed(folder):
        with pytest.raises(InvalidInput, match="another command saves its files in"), claimed(folder):
            pass
        done = command(None, "vigil", "run", "--out", str(folder))
        assert (done.returncode, done.stdout) == (1, "")
        assert "another command saves its files" in done.stderr
    with claimed(folder):
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [["run"], ["run", "--local"]])
@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("/proc", "--out /proc cannot be used: No such file or directory; it must name a folder in which you may"),
        (__file__, f"--out {__file__} cannot be used: it is not a folder; it must name a folder in which you may"),
        (f"{__file__}/x", f"--out {__file__}/x cannot be used: Not a directory; it must name a folder in which you"),
        ("", "Invalid value for '--out': it must name a folder in which you may create files, such as '.'"),
    ],
)
def test_unwritable_folder_is_reported_before_anything_starts(words: list[str], out: str, said: str) -> None:
    done = command(None, "vigil", *words, "--out", out)
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
