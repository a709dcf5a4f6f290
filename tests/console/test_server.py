"""Where the console finds its stack, what it may do there, and how it opens in the browser."""

import importlib
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
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
def deployment(monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A stack that is never asked."""
    for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]:
        monkeypatch.delenv(name)
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

    def leave(status: int) -> None:
        assert status == 0
        assert not files[0].exists()

    monkeypatch.setattr(ConsoleServer, "serve_here", serve)
    monkeypatch.setattr(command, "Deployment", lambda: deployment)
    monkeypatch.setattr(webbrowser, "open", lambda *arguments, **_: given.extend(arguments) or opens)
    monkeypatch.setattr(os, "_exit", leave)
    command.console(show_it=True)
    assert not files[0].exists()
    assert ("open the link yourself" in capsys.readouterr().out) != opens


def test_the_console_may_open_as_many_files_as_the_system_allows(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found: list[tuple[int, int]] = []

    def serve(server: ConsoleServer) -> None:
        found.append(resource.getrlimit(resource.RLIMIT_NOFILE))
        server._listener.close()

    monkeypatch.setattr(ConsoleServer, "serve_here", serve)
    monkeypatch.setattr(command, "Deployment", lambda: deployment)
    monkeypatch.setattr(os, "_exit", found.append)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        command.console()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == [(hard, hard), 0]


class Silence(StreamRequestHandler):
    """AWS that accepts a connection and never answers."""

    asked = threading.Event()

    def handle(self) -> None:
        self.asked.set()
        with suppress(ConnectionError):
            self.rfile.read()


@pytest.mark.parametrize("signals", [1, 2])
def test_the_console_ends_at_once_although_aws_does_not_answer(tmp_path: Path, signals: int) -> None:
    Silence.asked.clear()
    with ThreadingTCPServer(("127.0.0.1", 0), Silence) as aws:
        aws.daemon_threads = True
        threading.Thread(target=aws.serve_forever, args=(0.01,), daemon=True).start()
        code = (
            "import importlib, sys, types; from vigil.deployment import Deployment; from vigil.names import Output\n"
            "class Known(Deployment):\n"
            "    outputs = {name: f'arn:aws:states:us-east-1:123456789012:{name}' for name in Output}\n"
            "    parameters = {}\n"
            "command = importlib.import_module('vigil.cli.console'); command.Deployment = Known\n"
            "sys.argv = ['vigil', 'console', '--open']\n"
            "from vigil.cli import main; main()\n"
        )
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "BROWSER": "true %s", "HOME": str(tmp_path)}
        environment |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server_address[1]}", "AWS_REGION": "us-east-1"}
        environment |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as process:
            link = process.stdout.readline().split()[-1]
            port, token = urlsplit(link).port, link.partition("token=")[2]
            with socket.create_connection(("127.0.0.1", port or 0)) as browser:
                head = f"GET /sessions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: vigil-{port}={token}\r\n"
                browser.sendall(f"{head}Accept: text/event-stream\r\n\r\n".encode())
                assert Silence.asked.wait(10)
                assert list(tmp_path.glob("*.html"))
                began = time.monotonic()
                for _ in range(signals):
                    process.send_signal(signal.SIGINT)
                    time.sleep(0.1)
                assert process.wait(60) == 0
                assert time.monotonic() - began < 4
            assert process.stderr.read() == ""
        aws.shutdown()
    assert not list(tmp_path.glob("*.html"))
