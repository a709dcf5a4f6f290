"""The command that serves the console."""

import os
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import typer

from vigil.cli.common import console as terminal
from vigil.deployment import Deployment
from vigil.extras import require_extras


def console(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on the loopback address; 0 takes a free one.")] = 0,
    show_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    allow_actions: Annotated[
        bool, typer.Option(help="Start and stop sessions on AWS too; on a local stack it may always do that.")
    ] = False,
) -> None:
    """Serve a page that shows the sessions live; stays in the foreground until Ctrl-C."""
    require_extras("cli", "console")
    from vigil.console.server import ConsoleServer

    server = ConsoleServer(Deployment(), port, allow_actions=allow_actions)
    terminal.say(f"console at {server.link}")
    _allow_many_files()
    with suppress(KeyboardInterrupt), _opened(server.link) if show_it else nullcontext():
        server.serve_here()
    # Python itself would wait for the threads that read from AWS, each up to half a minute.
    sys.stdout.flush()
    os._exit(0)


def _allow_many_files() -> None:
    """Allow this process all open files that it may have: each connection of another user takes one."""
    with suppress(ImportError, OSError, ValueError):  # not on Windows; macOS may refuse
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _opened(link: str) -> Iterator[None]:
    """Open ``link`` in the browser, by a file that leads to it, for as long as the console runs.

    Every user of the machine can read the browser's command line. Only this one can read the file.
    """
    with NamedTemporaryFile("w", suffix=".html") as page:
        print(f'<!doctype html><meta http-equiv="refresh" content="0;url={link}">', file=page, flush=True)
        if not webbrowser.open(Path(page.name).as_uri()):
            terminal.say("could not open a browser: open the link yourself")
        yield
