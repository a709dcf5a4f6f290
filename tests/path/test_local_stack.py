"""``vigil local``: a server in the foreground that other commands find, and that leaves nothing behind."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.support import BIN, command, until

pytestmark = pytest.mark.takes(50)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start ``vigil local up`` in a folder of its own, where the test runs too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    started: list[subprocess.Popen[str]] = []

    def up(*options: str) -> "subprocess.Popen[str]":
        words = [str(BIN / "vigil"), "local", "up", "--port", "0", "--no-sample-account", *options]
        pipe = subprocess.PIPE
        # A shell lets what it starts in the background ignore Ctrl-C, and these tests with it.
        heeded = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            started.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True))
        finally:
            signal.signal(signal.SIGINT, heeded)
        return started[-1]

    yield up
    for process in started:
        process.kill()
        process.communicate()


def serves(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Wait until the stack serves and return its status."""
    assert process.stdout is not None
    said = "".join(takewhile(lambda line: not line.startswith("in another terminal"), process.stdout))
    assert process.poll() is None, process.communicate()
    assert "IAM enforced; Ctrl-C stops it" in said
    return dict(json.loads(command(None, "vigil", "local", "status", "--json").stdout))


def server_group(process: "subprocess.Popen[str]") -> int:
    """Return the process group of the embedded AWS and all that it starts."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next(group for child in children if (group := os.getpgid(int(child))) == int(child))


def is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_aws_cli_works_on_the_local_stack_and_down_stops_all_of_it(start: Start, tmp_path: Path) -> None:
    process = start()
    endpoint = serves(process)["endpoint"]
    group = server_group(process)
    exports = command(None, "vigil", "local", "env").stdout
    exported = [line.removeprefix("export ").rstrip(";") for line in exports.splitlines() if line.startswith("export ")]
    environment = dict(line.split("=", 1) for line in exported)
    past = command(None, "vigil", "local", "env", NO_PROXY="example.com,127.0.0.1").stdout
    assert "export NO_PROXY=example.com,127.0.0.1;" in past
    assert "export no_proxy=127.0.0.1;" in past
    assert environment["AWS_ENDPOINT_URL"] == endpoint
    outputs = command(None, "aws", "cloudformation", "describe-stacks", "--query", "Stacks[0].Outputs", **environment)
    assert {"StateMachineArn", "TableName", "BucketName"} <= {item["OutputKey"] for item in json.loads(outputs.stdout)}
    assert command(None, "vigil", "sessions", **environment).stdout.strip() == "no sessions"
    second = start()
    told = second.communicate()[1]
    assert second.returncode == 1
    assert told.strip() == "vigil: a local stack runs in this folder already; `vigil local down` stops it"
    assert command(None, "vigil", "local", "down").stdout.strip() == f"stopped the local stack at {endpoint}"
    assert process.wait(30) == 0
    until(lambda: is_gone(group))
    assert command(None, "vigil", "local", "status").returncode == 1


@pytest.mark.parametrize("hows", [[signal.SIGINT, signal.SIGINT, signal.SIGTERM], [signal.SIGKILL]])
def test_however_it_ends_nothing_goes_on_running(start: Start, hows: list[signal.Signals]) -> None:
    process = start("--agent", "examples.hello_agent:hello_agent")
    stack = serves(process)
    folder = Path(stack["log"]).parent
    # With a session's processes running, too.
    assert command(None, "vigil", "run", **stack["environment"]).returncode == 0
    group = server_group(process)
    for how in hows:
        process.send_signal(how)
        time.sleep(0.05)
    assert process.wait(30) == (-how if how == signal.SIGKILL else 0)
    until(lambda: is_gone(group) and not folder.exists())
    assert command(None, "vigil", "local", "env").returncode == 1


def test_dead_server_is_reported_to_all_clients_and_leaves_its_logs(start: Start) -> None:
    process = start()
    stack = serves(process)
    folder = Path(stack["log"]).parent
    # Each run of the tests draws one: a stack takes long to start.
    os.kill(server_group(process), random.choice([signal.SIGKILL, signal.SIGTERM]))
    assert process.wait(30) == 1
    said = re.fullmatch(r"vigil: the embedded AWS ended with exit code (-?\d+), (.*)\n", process.communicate()[1])
    assert said is not None
    assert said[2] == f"and all its sessions are gone; its logs stay in {folder}"
    assert {path.name for path in folder.iterdir()} == {"agent.log", "server.log"}
    shutil.rmtree(folder)
    done = command(None, "vigil", "sessions", **stack["environment"])
    assert done.returncode == 1
    assert "the local stack there is gone, with its sessions: start one with `vigil local up`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_in_use_is_named(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("--port", str(port))
        printed, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert printed == "starting the embedded AWS\n"
    assert told.strip() == f"vigil: port {port} of 127.0.0.1 cannot be used: Address already in use"
