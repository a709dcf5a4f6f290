"""Commands of ``vigil`` as processes of their own that start fast: they are forked from one that has imported the SDK.

Python and the imports take longer than most commands. A forked process has the arguments, the environment, the folder
and the output of its own command, and ends as ``bin/vigil`` does.
"""

import atexit
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib import import_module, reload
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp

import boto3
import botocore.session
from botocore.hooks import EventAliaser

MODULES = (
    "boto3.dynamodb.conditions",
    "boto3.s3.inject",
    "boto3.dynamodb.transform",
    "boto3.dynamodb.table",
    "boto3.resources.factory",
    "botocore.handlers",
    "http.client",
    "rich.console",
    "rich.markdown",
    "rich.table",
    "typer",
    "typer._adapters",
    "vigil.agent.models",
    "vigil.deployment",
    "vigil.doctor",
    "vigil.invoker",
    "vigil.local.lockfile",
    "vigil.trace",
    "vigil.watch",
)
"""What a command imports, without the command line itself: that looks at the environment when it is imported."""
AWS_MODULES = ("awscli.clidriver", "awscli.handlers")
"""What the AWS CLI imports."""
CLIENT = """\
#!{python} -IS
import json, os, socket, sys
words = [{program!r}, *sys.argv[1:]]
try:
    if words[1:3] == ["local", "up"] or "--local" in words:
        raise OSError("this one may have to end with its parent")
    ours, its = socket.socketpair()
    given = json.dumps([words, dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(socket.socket(fileno={link}), [given], [1, 2, its.fileno()])
except OSError:
    os.execv(words[0], words)
its.close()
status = int(ours.recv(16))
sys.exit(status if status >= 0 else 128 - status)
"""
START = (sys.executable, "-P", "-m", __name__)
ADDRESS = "VIGIL_TESTS_COMMANDS"
"""Names in the environment the socket of the process that forks."""


def speed_up_boto3() -> None:
    """Let all sessions of boto3 in this process share what each of them reads and computes: most of their time."""
    botocore.session.create_loader = cache(botocore.session.create_loader)
    alias, aliases = EventAliaser._alias_event_name, dict[str, str]()

    def alias_once(self: EventAliaser, name: str) -> str:
        if name not in aliases:
            aliases[name] = alias(self, name)
        return aliases[name]

    EventAliaser._alias_event_name = alias_once


def start() -> None:
    """Start the process that forks, for this process and those that it starts; it ends with this process."""
    folder = mkdtemp(prefix="vigil-commands-")
    os.environ[ADDRESS] = f"{folder}/socket"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen([*START, os.environ[ADDRESS]], stdin=subprocess.PIPE, env=environment)
    assert process.stdin is not None

    def end() -> None:
        process.stdin.close()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)


@cache
def _server() -> socket.socket:
    """Return a connection to the process that forks."""
    if ADDRESS not in os.environ:
        start()
    link, deadline = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), time.monotonic() + 60
    while link.connect_ex(os.environ[ADDRESS]):
        assert time.monotonic() < deadline, "the server of commands does not start"
        time.sleep(0.05)
    atexit.register(link.close)
    return link


def run(words: list[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run ``vigil`` with ``words``, the first of which is its path, in the current folder."""
    given = json.dumps([words, dict(environment), os.getcwd()]).encode()
    ours, its = socket.socketpair()
    with ours, its, TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        socket.send_fds(_server(), [given], [output.fileno(), errors.fileno(), its.fileno()])
        its.close()
        ours.settimeout(600)
        status = int(ours.recv(16))
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(words, status, output.read(), errors.read())


def install(folder: Path) -> int:
    """Put ``vigil`` and ``aws`` into ``folder`` as programs that let this process's server run them.

    Return the descriptor that they must inherit for it. Without it, they run as usual.
    """
    link = _server().fileno()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vigil", "aws"):
        program = Path(sys.prefix, "bin", name)
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(CLIENT.format(python=sys.executable, program=str(program), link=link))
        (folder / name).chmod(0o755)
    return link


def main(address: str) -> None:
    """Fork a process for each command that comes, until the process that started this one has ended."""
    for module in MODULES:
        import_module(module)
    speed_up_boto3()
    # Never used: it loads the models of the services.
    session = boto3.Session("nobody", "nobody", region_name="us-east-1")
    session.resource("dynamodb").Table("none")
    for service in import_module("vigil.deployment")._SERVICES:
        session.client(service)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    starter = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    links = []
    while starter not in (ready := select.select([starter, listener, *links], [], [])[0]):
        if listener in ready:
            ready.remove(listener)
            links.append(listener.accept()[0])
        for link in ready:
            given, descriptors, _, _ = socket.recv_fds(link, 1 << 20, 3)
            if not given:
                links.remove(link)
                continue
            if json.loads(given)[0][0].endswith("/aws"):
                for module in AWS_MODULES:
                    import_module(module)
            if os.fork() == 0:
                for inherited in (listener, *links):
                    inherited.close()
                os.close(starter)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(given, *descriptors)
                return
            for descriptor in descriptors:
                os.close(descriptor)


def _answer(given: bytes, output: int, errors: int, answer: int) -> None:
    """Fork the command, and send its status. Only the process of the command returns."""
    if command := os.fork():
        _, status = os.waitpid(command, 0)
        os.write(answer, str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    for descriptor in (output, errors, answer):
        os.close(descriptor)
    words, environment, folder = json.loads(given)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.argv[:] = words
    if words[0].endswith("/aws"):
        # It says in the environment where its data is.
        reload(sys.modules["awscli"])
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
