"""AgentCore on a laptop: how many sessions run at once, and which variables a runtime process gets."""

import json
import subprocess
import sys
from pathlib import Path


def run(script: str, folder: Path, *arguments: str) -> str:
    """Return what a script prints; it has a process of its own, since the import of ministack changes its process."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


INVOKE_FOUR_TIMES = """
import pathlib
from vigil.local import agentcore
agentcore.SLOT_SECONDS = 0.01
environment = {"VIGIL_MAX_WORKERS": "2"}
agents = agentcore.LocalAgentCore("http://127.0.0.1:1", "us-east-1", pathlib.Path("/dev/null"), environment)
agents._start = lambda runtime: agentcore._RuntimeProcess(0, "no.sock", "token", runtime)
agentcore._post = lambda *_: (200, b"")
print(*(agents.invoke({"agentRuntimeArn": "arn"}, session, b"")[0] for session in ("a", "b", "c", "a")))
"""


def test_as_many_sessions_run_at_once_as_there_are_slots(tmp_path: Path) -> None:
    assert run(INVOKE_FOUR_TIMES, tmp_path) == "200 200 402 200"


PRINT_ENVIRONMENTS = """
import json, pathlib, sys, types
from vigil.local import agentcore
environments = {}
def fork_server(log, environment, ended):
    environments["fork server"] = environment
    start = lambda address, environment: environments.update(runtime=environment) or 1
    return types.SimpleNamespace(start=start, stop=lambda pid: None, closed=False)
agentcore.ForkServer = fork_server
agents = agentcore.LocalAgentCore("http://127.0.0.1:1", "us-east-1", pathlib.Path("log"), {"PYTHONPATH": "/mine"})
agents.invoke({"agentRuntimeArn": "arn", "environmentVariables": json.loads(sys.argv[1])}, "session", b"")
print(json.dumps(environments))
"""


def test_a_runtime_sets_only_the_variables_that_an_agent_reads(tmp_path: Path) -> None:
    evil = {"LD_PRELOAD": "/tmp/evil.so", "PYTHONPATH": "/tmp", "PYTHONSTARTUP": "/tmp/evil.py", "PATH": "/tmp"}
    aws = {"AWS_ENDPOINT_URL": "http://127.0.0.1:2", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "of another"}
    variables = {**evil, **aws, "DDB_TABLE_NAME": "sessions", "AWS_DEFAULT_REGION": "us-east-1"}
    environments = json.loads(run(PRINT_ENVIRONMENTS, tmp_path, json.dumps(variables)))
    taken = {
        process: {name for name, value in variables.items() if environment.get(name) == value}
        for process, environment in environments.items()
    }
    assert taken == {"fork server": set(), "runtime": {"DDB_TABLE_NAME", "AWS_DEFAULT_REGION"}}
    assert {environment["PYTHONPATH"] for environment in environments.values()} == {"/mine"}
