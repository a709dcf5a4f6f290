"""A folder on this machine that a command saves files in: all of them or none, and one command at a time."""

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from vigil.errors import InvalidInput


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold ``folder``, made if it is not there, until this is left.

    Raises InvalidInput if another command holds it, and OSError if no file can be made in it: before there is
    something to save.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(f"another command saves its files in {folder}; name another folder with --out") from None
        with NamedTemporaryFile(dir=folder):
            pass
        yield
    finally:
        os.close(held)


def write(folder: Path, texts: Mapping[str, str], instead_of: Collection[str] = ()) -> None:
    """Save each text under its name, and remove the files ``instead_of`` which they are; only once all are written.

    Raises OSError, with all that was there as it was, if there is no room for them.
    """
    written: dict[str, str] = {}
    try:
        for name, text in texts.items():
            # A new file of a name that nobody can foresee, in place of the one that stands there, even if it is a link.
            with NamedTemporaryFile("w", encoding="utf-8", newline="\n", dir=folder, delete=False) as file:
                written[name] = file.name
                file.write(text)
        for name in set(instead_of) - set(texts):
            (folder / name).unlink(missing_ok=True)
        for name in texts:
            os.replace(written[name], folder / name)
    finally:
        for temporary in written.values():
            with suppress(FileNotFoundError):
                os.unlink(temporary)
