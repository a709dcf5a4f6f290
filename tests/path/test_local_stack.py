"""``vigil local``: a server in the foreground that its user's commands alone find, and that leaves nothing behind."""

import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.documents import difference, parse, stack_of
from tests.support import BIN, command, until
from vigil.errors import LocalStackError
from vigil.local.deploy import PROJECT
from vigil.local.stack import LocalStack

pytestmark = pytest.mark.takes(50)

README, GUIDE = ((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "LOCAL_DEVELOPMENT.md"))

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
    """Wait until the stack serves, as LOCAL_DEVELOPMENT.md shows, and return its status."""
    assert process.stdout is not None
    said = ""
    while line := process.stdout.readline():
        said += line
        if line.startswith("in another terminal"):
            break
    assert process.poll() is None, process.communicate()
    block = stack_of(parse(GUIDE))
    assert block is not None
    shown = block.text.partition("\n")[2].replace(" and seeding the sample account", "")
    assert difference(shown, said) is None
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


def test_aws_cli_works_on_the_local_stack_and_nothing_remains_of_it(start: Start, tmp_path: Path) -> None:
    process = start()
    stack = serves(process)
    endpoint, folder, group = stack["endpoint"], Path(stack["log"]).parent, server_group(process)
    (kept,) = (tmp_path / "state" / "vigil").glob("*.json")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (kept, kept.parent)] == [0o600, 0o700]
    exports = command(None, "vigil", "local", "env").stdout
    assert re.search(r"AWS_SECRET_ACCESS_KEY=\S{40};", exports)
    exported = [line.removeprefix("export ").rstrip(";") for line in exports.splitlines() if line.startswith("export ")]
    environment = dict(line.split("=", 1) for line in exported)
    past = command(None, "vigil", "local", "env", NO_PROXY="example.com,127.0.0.1").stdout
    assert "export NO_PROXY=example.com,127.0.0.1;" in past
    assert "export no_proxy=127.0.0.1;" in past
    # A value may hold anything: the shell gets it as one word.
    text = kept.read_text()
    hostile = "us-east-1; touch ran $(touch ran) `touch ran` ' \" \n"
    kept.write_text(json.dumps({**stack, "environment": {**stack["environment"], "AWS_REGION": hostile}}))
    (tmp_path / "exports").write_text(command(None, "vigil", "local", "env").stdout)
    script = 'eval "$(cat exports)"; printf %s "$AWS_REGION"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout == hostile
    assert not (tmp_path / "ran").exists()
    kept.write_text(text)
    assert environment["AWS_ENDPOINT_URL"] == endpoint
    outputs = command(None, "aws", "cloudformation", "describe-stacks", "--query", "Stacks[0].Outputs", **environment)
    assert {"StateMachineArn", "TableName", "BucketName"} <= {item["OutputKey"] for item in json.loads(outputs.stdout)}
    assert command(None, "vigil", "sessions", **environment).stdout.strip() == "no sessions"
    second = command(None, "vigil", "local", "up", "--port", "0", "--no-sample-account")
    assert second.returncode == 1
    assert second.stderr == "vigil: a local stack runs in this folder already; `vigil local down` stops it\n"
    # Each run of the tests draws one: a stack takes long to start.
    if random.random() < 0.5:
        assert command(None, "vigil", "local", "down").stdout.strip() == f"stopped the local stack at {endpoint}"
    else:
        for how in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            process.send_signal(how)
            time.sleep(0.05)
    assert process.wait(30) == 0
    until(lambda: is_gone(group) and not folder.exists())
    assert command(None, "vigil", "local", "status").returncode == 1
    foreign_state_is_refused(kept, text, tmp_path)


def foreign_state_is_refused(state: Path, text: str, folder: Path) -> None:
    """Every command refuses a file that another user could have made, and leaves it alone."""
    (folder / "another").write_text(text)

    def link() -> None:
        state.symlink_to(folder / "another")

    def hard_link() -> None:
        state.hardlink_to(folder / "another")

    def open_to_all() -> None:
        state.write_text(text)
        state.chmod(0o666)

    for make, why in ((link, "cannot be used"), (hard_link, "is open to other"), (open_to_all, "is open to other")):
        state.unlink()
        make()
        for words in (("status",), ("env",), ("down",), ("up", "--port", "0")):
            done = command(None, "vigil", "local", *words)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(f"vigil: {state} {why}")
            assert done.stderr.count("\n") == 1
    assert (folder / "another").read_text() == text


def test_custom_agent_runs_as_the_readme_says_and_a_killed_stack_leaves_nothing_running(start: Start) -> None:
    (block,) = (block for block in parse(README) if block.text.startswith("make run ARGS="))
    (arguments,) = re.findall(r'"(.*)"', block.text)
    process = start(*arguments.split())
    stack = serves(process)
    folder = Path(stack["log"]).parent
    # With a session's processes running, too.
    done = command(None, "vigil", "run", **stack["environment"])
    assert done.returncode == 0
    assert difference(block.shown or "", done.stdout) is None
    assert Path("out/report.md").read_text() == "# Hello"
    group = server_group(process)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
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


def test_a_refusal_of_the_embedded_aws_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = ClientError({"Error": {"Code": "ValidationError", "Message": "no\nsuch thing"}}, "CreateStack")
    stopped: list[bool] = []

    def deploy(*_: object) -> None:
        raise refusal

    launched = SimpleNamespace(_deploy=deploy, how_it_died=lambda: "", stop=lambda: stopped.append(True))
    monkeypatch.setattr(LocalStack, "launch", lambda *_: launched)
    monkeypatch.setattr("vigil.local.stack.synthesize", lambda cache: cache)
    with pytest.raises(
        LocalStackError, match=r"^the embedded AWS could not be set up: .*CreateStack.*: no such thing$"
    ):
        LocalStack.start(sample_account=False)
    assert stopped == [True]
