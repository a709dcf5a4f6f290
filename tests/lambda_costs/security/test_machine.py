"""Another user of the machine reaches no file, no socket and no secret of a local stack."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lambda_costs.security.planted import API_KEY
from tests.lambda_costs.security.server import WRITTEN
from tests.support import command, until
from vigil.local.stack import LocalStack

OTHER_USER = """
import json, os, pathlib, socket, sys
places = json.load(sys.stdin)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in places["paths"]:
    try:
        found = os.listdir(path) if pathlib.Path(path).is_dir() else open(path, "rb").read()
        print("read", path, found)
    except OSError:
        pass
for path in places["sockets"]:
    with socket.socket(socket.AF_UNIX) as agent:
        if agent.connect_ex(path) == 0:
            print("connected to", path)
for process in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline"):
        try:
            text = open(f"/proc/{process}/{name}", "rb").read()
        except OSError:
            continue
        for secret in places["secrets"]:
            if secret.encode() in text:
                print("secret in", name, "of", process)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_reaches_no_file_no_socket_and_no_secret(stack: LocalStack) -> None:
    # With the agent's processes running.
    session_id = command(stack, "vigil", "trigger", "--detail", '{"agent": "waits"}').stdout.strip()
    until(lambda: list(stack.folder.glob("agent-*.sock")))
    places = {
        "paths": [str(stack.folder), *(str(path) for path in stack.folder.rglob("*"))],
        "sockets": [str(path) for path in stack.folder.glob("*.sock")],
        "secrets": [stack.secrets.secret_access_key, API_KEY],
    }
    words, given = [sys.executable, "-c", OTHER_USER], json.dumps(places)
    done = subprocess.run(words, input=given, capture_output=True, text=True, cwd="/", timeout=60)
    command(stack, "vigil", "stop", session_id)
    assert (done.stdout, done.stderr) == ("", "")


def test_only_the_port_that_requires_signatures_listens(stack: LocalStack) -> None:
    group = {int(path.name) for path in Path("/proc").glob("[0-9]*") if _in_group(path, stack.process.pid)}
    inodes = set()
    for process in group:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                inodes.add(os.readlink(descriptor))
            except OSError:
                continue
    listening = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            state = "0A" if name.startswith("tcp") else "07"
            if fields[3] == state and f"socket:[{fields[9]}]" in inodes:
                listening.append((name, fields[1]))
    assert listening == [("tcp", f"0100007F:{stack.port:04X}")]


def _in_group(process: Path, group: int) -> bool:
    try:
        return os.getpgid(int(process.name)) == group
    except ProcessLookupError:
        return False


def test_no_api_returns_the_environment_of_the_agent(stack: LocalStack) -> None:
    control = stack.client("bedrock-agentcore-control")
    runtimes = control.list_agent_runtimes()["agentRuntimes"]
    answers = [control.get_agent_runtime(agentRuntimeId=runtime["agentRuntimeId"]) for runtime in runtimes]
    assert answers
    assert API_KEY not in json.dumps(answers, default=str)


def test_stack_writes_only_into_its_own_private_folder(stack: LocalStack) -> None:
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700
    written = set((stack.folder / WRITTEN).read_text().splitlines())
    strange = {path for path in written if not Path(path).is_relative_to(stack.folder) and "__pycache__" not in path}
    assert strange <= {"/dev/null"}
    assert any(Path(path).is_relative_to(stack.folder) for path in written)
