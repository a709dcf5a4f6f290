"""A folder in which a command saves files: all of them or none, and one command at a time."""

import fcntl
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vigil.errors import EnvironmentProblem, InvalidInput

LISTING = ".vigil-files"  # the file that lists what the last command saved in a folder
Save = Callable[[Mapping[str, str]], None]  # saves texts by the names of their files


def prepare(folder: Path) -> None:
    """Make ``folder`` if it is not there. Raises InvalidInput if no file can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = _temporary(folder)
        new.touch(exist_ok=False)
        new.unlink()
    except OSError as error:
        reason = "it is not a folder" if isinstance(error, FileExistsError) else error.strerror
        raise InvalidInput(
            f"--out {folder} cannot be used: {reason}; it must name a folder in which you may create files"
        ) from error


@contextmanager
def claimed(folder: Path) -> Iterator[Save]:
    """Lock ``folder``, which is made if it is missing, and yield a function that saves texts in it.

    The first save removes all files that the previous command saved there, so that the folder never holds files of two
    commands. Raises InvalidInput if another command has locked the folder, or if no file can be made in it.
    """
    prepare(folder)
    saved: set[str] = set()

    def save(texts: Mapping[str, str]) -> None:
        stale = {LISTING, *_listed(folder)} - saved
        saved.update(texts)
        listing = {LISTING: "".join(f"{name}\n" for name in sorted(saved))} if saved else {}
        write(folder, {**texts, **listing}, instead_of=stale)

    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(f"another command saves its files in {folder}; name another folder with --out") from None
        yield save
    finally:
        os.close(held)


def write(folder: Path, texts: Mapping[str, str], instead_of: Collection[str] = ()) -> None:
    """Save each text under its name, and remove the files ``instead_of``, once all texts are written.

    The umask decides who may read them. If the disk is full, raises EnvironmentProblem and changes nothing.
    """
    written: dict[str, Path] = {}
    try:
        for name, text in texts.items():
            # A new file with a random name, which then replaces the old one, even if that is a link.
            written[name] = _temporary(folder)
            with written[name].open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        for name in set(instead_of) - set(texts):
            (folder / name).unlink(missing_ok=True)
        for name in texts:
            os.replace(written[name], folder / name)
    except OSError as error:
        raise EnvironmentProblem(f"{folder / name} was not saved: {error.strerror}") from error
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)


def not_saved_by_vigil(folder: Path, names: Collection[str]) -> set[str]:
    """Return those of ``names`` that are files in ``folder`` which no command has saved there."""
    return {name for name in names if (folder / name).exists()} - _listed(folder)


def _listed(folder: Path) -> set[str]:
    try:
        names = (folder / LISTING).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    # Only files of this folder: the listing may name others.
    return {name for name in names if name == Path(name).name and (folder / name).is_file()}


def _temporary(folder: Path) -> Path:
    return folder / f".{secrets.token_hex(8)}.tmp"
