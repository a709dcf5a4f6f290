"""Another user of the machine reaches no file, no socket and no secret of a local stack, and plants nothing in it."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lambda_costs.docs.test_readme import assert_custom_agent_shown, custom_agent
from tests.lambda_costs.security.planted import API_KEY
from tests.lambda_costs.security.server import WRITTEN
from tests.support import BIN, command, until
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


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder with a module of every name that Vigil might import, and a .vigil, as another user may leave it."""
    folder = tmp_path / "shared"
    folder.mkdir()
    found = (path.name for entry in sys.path if os.path.isdir(entry) for path in Path(entry).iterdir())
    names = {name.partition(".")[0] for name in found}
    for name in {*names, *sys.stdlib_module_names, "sitecustomize", "usercustomize", "vigil", "infra", "tests"}:
        if name.isidentifier() and name not in ("__pycache__",):
            (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    (folder / ".vigil").mkdir()
    (folder / ".vigil" / "local.json").symlink_to(tmp_path / "made-through-a-link")
    (folder / "pyvenv.cfg").write_text("home = /nowhere\n")
    return folder


@pytest.mark.slow
def test_custom_agent_runs_as_the_readme_says_and_nothing_is_imported_or_read_from_the_current_folder(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    out = tmp_path / "out"
    done = command(None, "vigil", "run", "--local", *custom_agent(), "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert_custom_agent_shown(done.stdout.replace(str(out), "out"))
    assert (out / "report.md").read_text(encoding="utf-8") == "# Hello"
    for word in ("status", "env", "down"):
        done = command(None, "vigil", "local", word)
        assert done.stderr.strip() == "vigil: no local stack runs in this folder; `vigil local up` starts one"
        assert done.returncode == 1
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "made-through-a-link").exists()


@pytest.mark.slow
def test_state_file_must_belong_to_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    words = [str(BIN / "vigil"), "local", "up", "--port", "0", "--no-sample-account"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as up:
        try:
            files = until(lambda: list((tmp_path / "state" / "vigil").glob("*.json")))
            exports = until(lambda: command(None, "vigil", "local", "env").stdout)
            assert [stat.S_IMODE(path.stat().st_mode) for path in (*files, files[0].parent)] == [0o600, 0o700]
            # A value may hold anything: the shell gets it as one word.
            running = json.loads(files[0].read_text())
            hostile = "us-east-1; touch ran $(touch ran) `touch ran` ' \" \n"
            environment = {**running["environment"], "AWS_REGION": hostile}
            files[0].write_text(json.dumps({**running, "environment": environment}))
            script = f'eval "$({BIN}/vigil local env)"; printf %s "$AWS_REGION"'
            assert subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout == hostile
            files[0].write_text(json.dumps(running))
            assert re.search(r"AWS_SECRET_ACCESS_KEY=\S{40};", exports)
        finally:
            up.terminate()
            up.wait(30)
    assert not (tmp_path / "ran").exists()
    kept = files[0].read_text()
    (tmp_path / "another").write_text(kept)

    def link() -> None:
        files[0].symlink_to(tmp_path / "another")

    def hard_link() -> None:
        files[0].hardlink_to(tmp_path / "another")

    def open_to_all() -> None:
        files[0].write_text(kept)
        files[0].chmod(0o666)

    for make, why in ((link, "cannot be used"), (hard_link, "is open to other"), (open_to_all, "is open to other")):
        files[0].unlink()
        make()
        for words in (("status",), ("env",), ("down",), ("up", "--port", "0")):
            done = command(None, "vigil", "local", *words)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(f"vigil: {files[0]} {why}")
            assert done.stderr.count("\n") == 1
    assert (tmp_path / "another").read_text() == kept
