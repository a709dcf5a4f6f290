"""AgentCore's data plane on a laptop: what it refuses."""

import subprocess
import sys

# In a process of its own: ministack sets the process up that imports it.
QUOTA = """
import pathlib, sys, types
from vigil.local import agentcore
now = 100.0
agentcore.time = types.SimpleNamespace(monotonic=lambda: now)
host = agentcore.AgentHost("http://127.0.0.1:1", "us-east-1", pathlib.Path("/dev/null"), {})
host._start = lambda runtime: (types.SimpleNamespace(poll=lambda: None), "no.sock")
invoke = lambda session: host.invoke({"agentRuntimeArn": "arn"}, session, b"")[0]
first = [invoke(f"first-{i}") for i in range(26)]
again = invoke("first-0")
now += 1.0
print(first.count(500), first[-1], again, invoke("later"))
"""


def test_it_takes_25_new_sessions_in_a_second_as_aws_does() -> None:
    done = subprocess.run([sys.executable, "-c", QUOTA], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "25 429 500 500", done.stderr
