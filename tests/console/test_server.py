"""Where the console finds its stack, what it may do there, and how it opens in the browser."""

import importlib
import os
import socket
import stat
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest

from vigil.console.server import ConsoleServer
from vigil.deployment import Deployment
from vigil.errors import InvalidInput
from vigil.names import Output

# The package has a terminal of the same name.
command = importlib.import_module("vigil.cli.console")
LOCAL = "http://localhost:4566"
KEYS = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
OUTPUTS = {name: f"arn:aws:states:us-east-1:123456789012:{name}" for name in Output}


@pytest.fixture
def deployment() -> Deployment:
    """A stack that is never asked."""
    made = Deployment(boto3.Session(**KEYS))  # type: ignore[arg-type]
    vars(made).update(outputs=OUTPUTS, parameters={})
    return made


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({}, "AWS 123456789012 us-east-1"),
        ({"AWS_ENDPOINT_URL": "https://aws.example"}, "AWS 123456789012 us-east-1"),
        ({"AWS_ENDPOINT_URL_SFN": LOCAL}, "AWS 123456789012 us-east-1"),
        (
            {"AWS_ENDPOINT_URL": LOCAL, "AWS_ENDPOINT_URL_EVENTBRIDGE": "https://x.example"},
            "AWS 123456789012 us-east-1",
        ),
        ({"AWS_ENDPOINT_URL": LOCAL}, "local localhost:4566"),
    ],
)
def test_only_a_stack_that_is_local_as_a_whole_may_be_acted_on_without_being_asked(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], where: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert deployment.where == where
    for allow_actions in (False, True):
        server = ConsoleServer(deployment, allow_actions=allow_actions)
        server._listener.close()
        guard: Any = server.config.app
        assert guard.allow_actions == (allow_actions or where.startswith("local"))


def test_a_port_that_is_taken_leaves_no_socket_open(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(InvalidInput, match="cannot be used"):
            ConsoleServer(deployment, taken.getsockname()[1])
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("opens", [True, False])
def test_the_browser_is_opened_by_a_file_that_only_this_user_can_read(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], opens: bool
) -> None:
    given: list[str] = []
    files: list[Path] = []

    def serve(server: ConsoleServer) -> None:
        (address,) = given
        files.append(Path(unquote(urlsplit(address).path)))
        assert address.startswith("file:///")
        assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
        assert f"url={server.link}" in files[0].read_text()
        assert server.link.partition("token=")[2] not in address
        server._listener.close()

    monkeypatch.setattr(ConsoleServer, "serve_here", serve)
    monkeypatch.setattr(command, "Deployment", lambda: deployment)
    monkeypatch.setattr(webbrowser, "open", lambda *arguments, **_: given.extend(arguments) or opens)
    command.console(show_it=True)
    assert not files[0].exists()
    assert ("open the link yourself" in capsys.readouterr().out) != opens
