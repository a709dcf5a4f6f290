"""Commands that run the whole of Vigil on this machine."""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vigil.cli.common import Agent, AgentEnv, AsJson, Model, console, field
from vigil.deployment import Deployment
from vigil.errors import LocalStackError
from vigil.extras import require_extras
from vigil.local import HOST, lockfile
from vigil.names import Env, Parameter
from vigil.schedule import check_expression, check_input
from vigil.settings import require
from vigil.text import quote, to_json

if TYPE_CHECKING:
    from vigil.local.stack import LocalStack

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on the loopback address; 0 takes a free one.")]
_PARAMETER = typer.Option("--parameter", metavar="NAME=VALUE", help="A parameter of the template; may be repeated.")
Parameters = Annotated[list[str] | None, _PARAMETER]


def up(
    port: Port = 4566,
    parameters: Parameters = None,
    sample_account: Annotated[bool, typer.Option(help="Seed an account to analyse.")] = True,
    agent: Agent = None,
    model: Model = None,
    agent_env: AgentEnv = None,
) -> None:
    """Start the embedded AWS with Vigil in it; stays in the foreground until Ctrl-C."""
    require_extras("cli", "console")
    from vigil.console.server import ConsoleServer

    environment = agent_environment(agent, model, agent_env)
    options = {"port": port, "parameters": _parameters(parameters), "sample_account": sample_account}
    with lockfile.claim() as announce, started(agent_environment=environment, **options) as stack:
        try:
            announce(stack)
            console.print(f"[bold]local stack[/] at {stack.endpoint}, IAM enforced; Ctrl-C stops it")
            for name, value in stack.outputs.items():
                field(f"  {name:<22}", value)
            field(f"  {'the agent logs to':<22}", stack.agent_log)
            with ConsoleServer(Deployment(stack.session())).serving() as link:
                console.say(f"in a browser: {link}")
                console.print("in another terminal: eval $(vigil local env) && vigil run")
                stack.process.wait()
        except KeyboardInterrupt:
            console.print("stopping")
            return
        raise LocalStackError(stack.how_it_died())


def env() -> None:
    """Print exports that lead the AWS CLI, any SDK and vigil to the local stack."""
    for name, value in lockfile.require().environment.items():
        print(f"export {name}={quote(value)};")
    # The machine's proxy must not be used. Programs read one of the two names.
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host not in ("", HOST)]
        print(f"export {name}={quote(','.join([*hosts, HOST]))};")
    # These would override the credentials. The semicolons are for an eval without quotes.
    print("unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN;")


def status(as_json: AsJson = False) -> None:
    """Say whether a local stack runs; fails if none does."""
    stack = lockfile.require()
    if as_json:
        console.write(to_json(dataclasses.asdict(stack)) + "\n")
    else:
        where = f"running at {stack.endpoint} since {stack.started}, process {stack.pid}"
        console.say(f"{where}; the agent logs to {stack.log}")


def down() -> None:
    """Stop the local stack."""
    stack = lockfile.require()
    stack.stop()
    console.say(f"stopped the local stack at {stack.endpoint}")


def agent_environment(agent: str | None, model: str | None, names: list[str] | None) -> dict[str, str]:
    """Return the variables of the agent's process. Raises EnvironmentProblem or MissingSetting if it cannot run."""
    require_extras("cli", "local", "infra")
    from vigil.local.stack import check_agent

    environment = {name: require(os.environ, name) for name in names or ()}
    environment |= {name: value for name, value in ((Env.AGENT, agent), (Env.MODEL, model)) if value}
    check_agent(environment)
    return environment


def _parameters(options: list[str] | None) -> dict[str, str]:
    pairs = [option.partition("=") for option in options or ()]
    parameters = {name: value for name, separator, value in pairs if separator}
    if len(parameters) != len(pairs) or not set(parameters) <= set(Parameter):
        raise LocalStackError(f"--parameter takes NAME=VALUE, each NAME once, of: {', '.join(Parameter)}")
    # CloudFormation knows patterns, which can tell neither JSON nor a day that never comes.
    check_input(parameters.get(Parameter.SCHEDULE_DETAIL, "{}"))
    if expression := parameters.get(Parameter.SCHEDULE):
        check_expression(expression, parameters.get(Parameter.SCHEDULE_TIMEZONE, "UTC"))
    return parameters


@contextmanager
def started(**options: Any) -> Iterator["LocalStack"]:
    """Start a local stack with ``options``, show each step of the start, and stop the stack at the end."""
    from vigil.local.stack import LocalStack

    with ExitStack() as stopping:
        with console.status("") as status:

            def progress(step: str) -> None:
                status.update(f"{step} ...")
                console.print(f"[dim]{step}[/]")

            stack = stopping.enter_context(LocalStack.start(progress=progress, **options))
        yield stack
