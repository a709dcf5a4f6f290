"""What all commands share: the terminal, the types of their options, and what they print about sessions."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vigil.names import Env
from vigil.terminal import Terminal
from vigil.text import one_line

console, errors = Terminal(), Terminal(stderr=True)


def not_empty(text: str | None) -> str | None:
    """Refuse an empty text, which the shell makes of a variable that is not set."""
    if text == "":
        raise typer.BadParameter("it must not be empty")
    return text


def _local(text: str, variable: str | None = None, **settings: Any) -> Any:
    """Return an option of the local stack, which may come from a variable of the environment."""
    callback = not_empty if variable else None
    return typer.Option(help=f"Local stack: {text}", envvar=variable, callback=callback, **settings)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Detail = Annotated[str | None, typer.Option(help="The agent's whole input as a JSON object.")]
Regions = Annotated[list[str] | None, typer.Option("--region", help="A region to analyse; may be repeated.")]
Days = Annotated[int | None, typer.Option(help="How many days back to look.")]
Functions = Annotated[str | None, typer.Option(help="Only functions whose name matches, such as 'orders-*'.")]
Agent = Annotated[str | None, _local("factory of the agent, package.module:factory.", Env.AGENT)]
Model = Annotated[str | None, _local("Bedrock model id, or provider/model of Strands.", Env.MODEL)]
AgentEnv = Annotated[
    list[str] | None, _local("pass this variable on to the agent, such as an API key.", metavar="NAME")
]


def folder(name: str | Path) -> Path:
    """Refuse an empty name, which Path takes for the current folder."""
    if not str(name):
        raise typer.BadParameter("it must name a folder in which you may create files, such as '.'")
    return Path(name)


Out = Annotated[Path, typer.Option(parser=folder, metavar="<path>", help="Folder for the files that are saved.")]


def field(name: str, value: object) -> None:
    """Print one line of a record."""
    console.print(f"{name:<14} {one_line(str(value))}", markup=False)
