"""The command that serves the console."""

import webbrowser
from contextlib import suppress
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
    if show_it and not webbrowser.open(server.link):
        terminal.say("could not open a browser: open the link yourself")
    with suppress(KeyboardInterrupt):
        server.serve_here()
