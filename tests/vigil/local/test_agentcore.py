"""AgentCore's data plane on a laptop: what it refuses, and what it passes on."""

import json
import subprocess
import sys
from pathlib import Path

# In a process of its own: ministack sets the process up that imports it.
PLACES = """
import pathlib
from vigil.local import agentcore
agentcore.PLACE_SECONDS = 0.01
host = agentcore.AgentHost("http://127.0.0.1:1", "us-east-1", pathlib.Path("/dev/null"), {"VIGIL_MAX_WORKERS": "2"})
host._start = lambda runtime: agentcore._Running(0, "no.sock", "token", runtime)
agentcore._post = lambda *_: (200, b"")
print(*(host.invoke({"agentRuntimeArn": "arn"}, session, b"")[0] for session in ("a", "b", "c", "a")))
"""


def test_it_runs_as_many_sessions_at_once_as_there_are_places(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PLACES], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stdout.strip() == "200 200 402 200", done.stderr


# What runs is started with the first, and says the second of itself.
STARTED = """
import json, os, pathlib, sys, types
from vigil.local import agentcore
told = {}
def server(log, environment, ended):
    told.update(base=environment)
    start = lambda address, environment: told.update(runtime=environment) or 1
    return types.SimpleNamespace(start=start, stop=lambda pid: None)
agentcore.ForkServer = server
host = agentcore.AgentHost("http://127.0.0.1:1", "us-east-1", pathlib.Path("log"), {"PYTHONPATH": "/mine"})
host.invoke({"agentRuntimeArn": "arn", "environmentVariables": json.loads(sys.argv[1])}, "session", b"")
print(json.dumps(told))
"""


def test_a_runtime_says_what_its_agent_reads_and_not_what_runs_or_which_stack_is_asked(tmp_path: Path) -> None:
    given = {
        "LD_PRELOAD": "/tmp/evil.so",
        "PYTHONPATH": "/tmp",
        "PYTHONSTARTUP": "/tmp/evil.py",
        "PATH": "/tmp",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:2",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "of another",
        "DDB_TABLE_NAME": "sessions",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    done = subprocess.run(
        [sys.executable, "-c", STARTED, json.dumps(given)], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    taken = {part: {name for name, value in given.items() if told[part].get(name) == value} for part in told}
    assert taken == {"base": set(), "runtime": {"DDB_TABLE_NAME", "AWS_DEFAULT_REGION"}}
    assert told["base"]["PYTHONPATH"] == told["runtime"]["PYTHONPATH"] == "/mine"
