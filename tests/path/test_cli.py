"""The command line, as a user types it, against a real local stack."""

import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import commands
from tests.support import BIN, Workflow, command, refused, until
from vigil.cli import app
from vigil.deployment import Deployment
from vigil.folder import LISTING
from vigil.local.stack import LocalStack
from vigil.names import PAGE, REPORT, Env
from vigil.session import Status

pytestmark = pytest.mark.takes(60)

UNKNOWN = str(uuid.UUID(int=1))
LOCAL = ["run", "--local"]
HELLO, FAILING = '{"agent": "hello_agent"}', '{"agent": "says_failed"}'
CHART = '<svg xmlns="http://www.w3.org/2000/svg"><text>a</text></svg>'
PRINTS = '{"agent": "prints", "text": "mine"}'


def saves(artifacts: dict[str, str]) -> str:
    """Return the detail with which an agent saves ``artifacts``."""
    return json.dumps({"agent": "hostile", "text": "x", "artifacts": artifacts})


def triggered(stack: LocalStack, detail: str) -> str:
    """Start a session with ``vigil trigger`` and return its id."""
    return command(stack, "vigil", "trigger", "--detail", detail).stdout.strip()


FULL = "vigil: standard output cannot be written: No space left on device"


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test saves what it saves in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def test_a_failed_session_is_one_red_line_and_an_exit_status(stack: LocalStack) -> None:
    done = command(stack, "vigil", "run", "--detail", FAILING)
    assert done.returncode == 1
    session_id = done.stdout.split()[1]
    assert len(done.stderr.splitlines()) == 1
    assert "FAILED after" in done.stderr
    assert f"AgentFailed: session {session_id}: nothing to look at" in done.stderr
    again = command(stack, "vigil", "watch", session_id)
    assert (again.returncode, again.stderr.partition("s  ")[2]) == (1, done.stderr.partition("s  ")[2])


def test_what_a_failing_agent_printed_outlives_the_stack_of_its_session(
    stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "stack" / "agent.log"

    @contextmanager
    def started(**_: object) -> Iterator[Any]:
        """The stack of the tests as one for this session alone: when it has stopped, its log is gone."""
        log.parent.mkdir()
        log.symlink_to(stack.agent_log)
        try:
            yield SimpleNamespace(session=stack.session, agent_log=log)
        finally:
            log.unlink()

    monkeypatch.setattr("vigil.cli.run.started", started)
    monkeypatch.setattr("vigil.cli.run.agent_environment", lambda *_: {Env.AGENT: "tests.agents:chosen"})
    with pytest.raises(SystemExit, match="1"):
        app([*LOCAL, "--detail", '{"agent": "raises"}'])
    printed = capsys.readouterr().out
    assert "the agent's log: out/agent.log" in printed.splitlines()
    session_id = re.findall(r"^session (\S+)$", printed, re.MULTILINE)[0]
    assert not log.exists()
    assert f" {session_id} RuntimeError: the dependency\n" in Path("out/agent.log").read_text(encoding="utf-8")


def test_a_session_over_budget_fails_before_its_next_model_call(stack: LocalStack, deployment: Deployment) -> None:
    done = command(stack, "vigil", "run", "--detail", '{"agent": "spends"}')
    assert done.returncode == 1
    session_id = done.stdout.split()[1]
    assert done.stdout.splitlines()[-1] == "model: 0 tokens in, 160,000 out, $2.40"
    assert f"BudgetExceeded: session {session_id}: the model calls have cost $2.40 of a budget of $2.00" in done.stderr
    shown = json.loads(command(stack, "vigil", "show", session_id, "--json").stdout)
    assert (shown["status"], shown["error"]["code"]) == ("FAILED", "BudgetExceeded")
    tokens, model = {"input_tokens": 0, "output_tokens": 160_000}, "global.anthropic.claude-sonnet-4-6"
    assert shown["usage"] == {"model": model, **tokens, "dollars": 2.4, "price_assumed": False}
    line = f"{'usage':<14} 0 tokens in, 160,000 out, $2.40, {model}"
    assert line in command(stack, "vigil", "show", session_id).stdout.splitlines()
    assert deployment.artifacts(session_id).read("calls") == "2"


def test_a_session_is_triggered_watched_listed_shown_and_read(stack: LocalStack) -> None:
    session_id = json.loads(command(stack, "vigil", "trigger", "--detail", HELLO, "--json").stdout)["session_id"]
    assert command(stack, "vigil", "watch", session_id).returncode == 0
    listed = json.loads(command(stack, "vigil", "sessions", "--status", "completed", "--json").stdout)
    assert session_id in [session["session_id"] for session in listed]
    assert {session["status"] for session in listed} == {"COMPLETED"}
    assert session_id in command(stack, "vigil", "sessions").stdout
    shown = json.loads(command(stack, "vigil", "show", session_id, "--json").stdout)
    assert (shown["session_id"], shown["status"], shown["phases"]) == (session_id, "COMPLETED", [])
    assert "COMPLETED" in command(stack, "vigil", "show", session_id).stdout
    assert command(stack, "vigil", "report", session_id).stdout == "# Hello"


def test_the_log_of_a_session_holds_what_its_agent_printed_and_no_other(stack: LocalStack) -> None:
    printing, _ = (
        triggered(stack, json.dumps({"agent": "prints", "text": text})) for text in ("mine\x1b[31m", "another's")
    )
    done = command(stack, "vigil", "logs", printing, "--follow")
    assert done.returncode == 0, done.stderr
    again = command(stack, "vigil", "logs", printing)
    # The runtime may log a last line meanwhile.
    assert not Counter(done.stdout.splitlines()) - Counter(again.stdout.splitlines())
    said = [line.partition(" ")[2] for line in done.stdout.splitlines()]
    assert {"mine<U+001B>[31m", "INFO my.module logged by a module"} <= set(said)
    assert "another's" not in done.stdout
    assert "".join(line for line in said if set(line) == {"y"}) == "y" * 25_000
    # What AgentCore's own library logs stands there once.
    written = stack.agent_log.read_text(encoding="utf-8").splitlines()
    assert len([line for line in written if "Invocation completed" in line and printing in line]) == 1


def test_interrupted_command_says_that_the_session_goes_on(stack: LocalStack) -> None:
    session_id = triggered(stack, '{"agent": "waits"}')
    environment = {**os.environ, **stack.environment()}
    words, pipe = [str(BIN / "vigil"), "watch", session_id], subprocess.PIPE
    with subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline()
        watching.send_signal(signal.SIGTERM)  # taken as Ctrl-C, which a test's parent may have ignored
        said = watching.communicate(timeout=60)[1]
    assert watching.returncode == 130
    line = f"session {session_id} goes on: `vigil watch {session_id}` shows it, `vigil stop {session_id}` ends it"
    assert said.splitlines()[0] == line
    assert command(stack, "vigil", "stop", session_id, "--reason", " ").returncode == 0
    assert "StoppedByOperator: no reason was given" in command(stack, "vigil", "show", session_id).stdout


def test_a_session_can_be_stopped_and_followed_though_its_event_is_on_its_way(
    stack: LocalStack, workflow: Workflow
) -> None:
    session_id = str(uuid.uuid4())
    with ThreadPoolExecutor(2) as pool:
        stopping = pool.submit(command, stack, "vigil", "stop", session_id)
        following = pool.submit(command, stack, "vigil", "logs", "--follow", session_id)
        # The commands look several times in this time.
        time.sleep(1)
        assert not stopping.done()
        assert not following.done()
        workflow.start(session_id, detail={"agent": "waits"})
        assert stopping.result().stdout.strip() == f"stopped {session_id}"
        assert following.result().returncode == 0


def test_a_profile_comes_instead_of_the_local_stack_and_its_keys(stack: LocalStack, tmp_path: Path) -> None:
    settings = tmp_path / "config"
    lines = ("[profile ours]", *(f"{name.lower()} = {value}" for name, value in stack.environment().items()))
    settings.write_text("\n".join(lines).replace("aws_region", "region").replace("aws_endpoint_url", "endpoint_url"))
    there = {"AWS_CONFIG_FILE": str(settings), "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "other"}
    assert command(stack, "vigil", "--profile", "ours", "sessions", **there).returncode == 0
    assert "127.0.0.1:9" in refused(stack, "vigil", "sessions", **there)
    assert "no stack Vigil" in command(stack, "vigil", "--aws-region", "eu-west-1", "sessions").stderr


@pytest.fixture
def unread() -> Iterator[int]:
    """The end of a pipe whose reader has closed it, as `head` does when it has read enough."""
    end, written = os.pipe()
    os.close(end)
    yield written
    os.close(written)


Printing = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A ``vigil`` that starts fast, and the descriptor that it must inherit for it."""
    folder = tmp_path_factory.mktemp("bin")
    return folder / "vigil", commands.install(folder)


@pytest.fixture
def printing(stack: LocalStack, link: tuple[Path, int]) -> Printing:
    """Run a command that prints to a descriptor; returns its exit status and what is on standard error."""
    environment = {**os.environ, **stack.environment()}
    given: Any = {"env": environment, "pass_fds": [link[1]], "stderr": subprocess.PIPE, "text": True}

    def run(output: int, *words: str) -> tuple[int, str]:
        done = subprocess.run([link[0], *words], stdout=output, **given)
        return done.returncode, done.stderr

    return run


ALL_PRINT = [["-h"], ["run", "-h"], ["show"], ["show", "--json"], ["logs"], ["sessions"], ["report"], ["doctor"]]


@pytest.mark.parametrize("words", ALL_PRINT, ids=" ".join)
def test_unread_command_ends_as_by_sigpipe(
    stack: LocalStack, printing: Printing, greeted: str, unread: int, words: list[str]
) -> None:
    given = [*words, *([greeted] if words[0] in ("show", "report") else [])]
    if words == ["logs"]:
        given = ["logs", triggered(stack, PRINTS), "--follow"]
    assert printing(unread, *given) == (141, "")


@pytest.mark.parametrize("words", [["-h"], ["sessions"], ["trigger", "--detail", HELLO]], ids=" ".join)
def test_full_disk_is_one_line_and_an_exit_status(printing: Printing, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        assert printing(full.fileno(), *words) == (1, f"{FULL}\n")


def test_a_run_without_a_reader_still_saves_the_report(printing: Printing, unread: int, tmp_path: Path) -> None:
    assert printing(unread, "run", "--detail", HELLO, "--out", str(tmp_path / "unread")) == (0, "")
    assert (tmp_path / "unread" / REPORT).read_text() == "# Hello"
    status, said = printing(unread, "run", "--detail", FAILING)
    assert (status, said.count("\n")) == (1, 1)
    assert "AgentFailed" in said
    assert printing(unread, "watch", said.split("session ")[1].split(":")[0]) == (1, said)
    with Path("/dev/full").open("w") as full:
        ran = printing(full.fileno(), "run", "--detail", HELLO, "--out", str(tmp_path / "full"))
    assert ran == (1, f"{FULL}\n")
    assert (tmp_path / "full" / REPORT).read_text() == "# Hello"


def test_help_and_version_are_where_they_are_looked_for() -> None:
    for word in ("-h", "--help"):
        assert "Usage: vigil report" in command(None, "vigil", "report", word).stdout
    done = command(None, "vigil", "--version")
    assert (done.returncode, done.stdout) == (0, f"vigil {version('vigil')}\n")
    # The shell is the one that the command runs under.
    assert "vigil" in command(None, "/bin/bash", "-c", "vigil --show-completion; true").stdout


def test_retry_is_a_session_with_the_same_input(stack: LocalStack, workflow: Workflow, deployment: Deployment) -> None:
    detail = {"agent": "tells_environment", "text": 'ü "\\ \n <b>', "deadline_seconds": 900, "list": [1, 2.5, None]}
    first = triggered(stack, json.dumps(detail))
    assert command(stack, "vigil", "watch", first).returncode == 0
    again = json.loads(command(stack, "vigil", "retry", first, "--json").stdout)["session_id"]
    assert command(stack, "vigil", "watch", again).returncode == 0
    seen = [json.loads(deployment.artifacts(session_id).read("detail.json")) for session_id in (first, again)]
    assert seen[0] == seen[1] == {name: value for name, value in detail.items() if name != "deadline_seconds"}
    for session_id in (first, again):
        record = json.loads(command(stack, "vigil", "show", session_id, "--json").stdout)
        assert json.loads(record["detail"]) == detail
    # An index does not hold it, and then a list does not say that there is none.
    listed = json.loads(command(stack, "vigil", "sessions", "--json").stdout)
    assert not [session for session in listed if {"detail", "heartbeat_at"} & set(session)]
    workflow.table.update_item(Key=workflow.key(first), UpdateExpression="REMOVE detail")
    assert refused(stack, "vigil", "retry", first) == f"vigil: the record of session {first} holds no input to repeat"


@pytest.fixture(scope="module")
def greeted(stack: LocalStack) -> str:
    """The id of a session whose agent saved a report alone."""
    session_id = triggered(stack, HELLO)
    assert command(stack, "vigil", "watch", session_id).returncode == 0
    return session_id


def test_a_report_without_a_page_is_shown_as_one(stack: LocalStack, greeted: str) -> None:
    page = command(stack, "vigil", "report", greeted, "--format", "html").stdout
    assert page.startswith("<!doctype html>")
    assert "<h1>Hello</h1>" in page


@pytest.mark.parametrize("words", [["--format", "json"], ["--format", "json", "--open"]])
def test_unsaved_findings_are_called_missing(stack: LocalStack, greeted: str, tmp_path: Path, words: list[str]) -> None:
    said = refused(stack, "vigil", "report", greeted, *words, "--out", str(tmp_path))
    assert "no artifact findings.json in this session" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "begins"), [("html", "<!doctype html>"), ("md", "# Hello"), (None, "<!doctype html>")]
)
def test_a_report_is_opened_in_the_browser(
    stack: LocalStack, greeted: str, tmp_path: Path, form: str | None, begins: str
) -> None:
    browser, opened, out = tmp_path / "browser", tmp_path / "opened", tmp_path / "out"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o700)
    words = ("report", greeted, *(("--format", form) if form else ()), "--open", "--out", str(out))
    done = command(stack, "vigil", *words, BROWSER=str(browser))
    path = out / f"{greeted}.{form or 'html'}"
    assert (done.returncode, done.stdout) == (0, f"opened {path}\n")
    assert opened.read_text().strip() == path.as_uri()
    assert path.read_text().startswith(begins)


def test_where_nothing_can_be_opened_the_path_is_said(stack: LocalStack, greeted: str, tmp_path: Path) -> None:
    words = ("report", greeted, "--format", "html", "--open", "--out", str(tmp_path))
    done = command(stack, "vigil", *words, PATH=str(tmp_path))
    path = tmp_path / f"{greeted}.html"
    assert (done.returncode, done.stdout) == (0, f"could not open a browser; the report is in {path}\n")
    assert path.read_text().startswith("<!doctype html>")


def test_an_unknown_format_is_refused_with_those_that_are_known(stack: LocalStack, greeted: str) -> None:
    done = command(stack, "vigil", "report", greeted, "--format", "pdf")
    assert done.returncode == 2
    assert all(form in done.stderr for form in ("--format", "pdf", "md", "html", "json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--aws-region", "mars-1", "sessions"], "AWS has no region 'mars-1': set AWS_REGION, or --aws-region, to one"),
        (["trigger", "--detail", "[1]"], "detail must be a JSON object, not list"),
        (["trigger", "--detail", "{"], "--detail is not JSON"),
        (["trigger", "--detail", json.dumps({"x": "y" * 300_000})[:120_000] + '"}'], "at most 65536 are allowed"),
        (["trigger", "--detail", '{"days": NaN}'], "detail must be JSON, which has no NaN and no Infinity"),
        (["trigger", "--detail", f'{{"x": {"[" * 300}{"]" * 300}}}'], "detail is nested deeper than 200 levels"),
        (["trigger", "--detail", "[" * 60_000], "--detail is not JSON"),
        (["trigger", "--detail", '{"x": "\\ud800"}'], "half a surrogate pair"),
        (["trigger", "--detail", "{}", "--days", "3"], "leave out days"),
        ([*LOCAL, "--detail", '{"deadline_seconds": 0}'], "deadline_seconds must be a whole number"),
        ([*LOCAL, "--detail", "[]"], "detail must be a JSON object, not list"),
        ([*LOCAL, "--agent", "missing:x"], "the agent missing:x cannot be used: VIGIL_AGENT=missing:x is not"),
        ([*LOCAL, "--model", "foo/bar"], "provider/model (providers: anthropic, ollama, openai), not 'foo"),
        ([*LOCAL, "--model", "openai/\x1b[2J"], "(providers: anthropic, ollama, openai), not 'openai/\\x1b[2J'"),
        ([*LOCAL, "--model", "a" * 5000], f"not '{'a' * 256}'"),
        ([*LOCAL, "--model", "openai/gpt-5"], "--model openai/gpt-5 needs a key: set OPENAI_API_KEY, and pass"),
        ([*LOCAL, "--model", ""], "Invalid value for '--model' (env var: 'VIGIL_MODEL'): it must not be empty"),
        (["--aws-region", "", "sessions"], "Invalid value for '--aws-region': it must not be empty"),
        (["local", "up", "--model", "foo/bar"], "--model, VIGIL_MODEL and ModelId take a Bedrock model id or ARN"),
        (["run", "--agent", "examples.hello_agent:hello_agent"], "--agent is for --local"),
        (["run", "--model", "x"], "--model is for --local"),
        (["run", "--agent-env", "HOME"], "--agent-env is for --local"),
        (["local", "up", "--agent", "nothing"], "the agent nothing cannot be used"),
        (["local", "up", "--agent", "examples.hello_agent:no"], "has no attribute 'no'"),
        (["run", "--out", "/dev/null/x"], "--out /dev/null/x cannot be used: Not a directory"),
        (["show", "nonsense"], "session_id must be 33 to 100 letters, digits or '-', not 'nonsense'"),
        (["show", "a" * 40 + "/../x"], "session_id must be 33 to 100 letters"),
        (["watch", "#"], "session_id must be 33 to 100 letters"),
        *(([name, UNKNOWN], f"no session {UNKNOWN}") for name in ("show", "retry", "logs", "report", "stop")),
        (["sessions", "--status", "done"], "status must be one of INITIATED, BUSY, COMPLETED, FAILED, not 'done'"),
        (["sessions", "--status", ""], "status must be one of INITIATED, BUSY, COMPLETED, FAILED, not ''"),
        (["local", "status"], "no local stack runs in this folder"),
        (["local", "up", "--port", "0", "--agent-env", "NO_SUCH_KEY"], "environment variable NO_SUCH_KEY is not set"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_allowed(stack: LocalStack, words: list[str], said: str) -> None:
    assert said in refused(stack, "vigil", *words)


@pytest.mark.parametrize(
    ("name", "value", "said"), [("AWS_ENDPOINT_URL", "foo", "Invalid endpoint: foo"), ("AWS_PROFILE", "nope", "nope")]
)
def test_an_environment_that_leads_nowhere_is_one_line(stack: LocalStack, name: str, value: str, said: str) -> None:
    assert said in refused(stack, "vigil", "sessions", **{name: value})


def test_local_stack_ignores_how_the_machine_reaches_aws(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_PROFILE": "nope", "HTTP_PROXY": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "many"}.items():
        monkeypatch.setenv(name, value)
    assert stack.client("sts").get_caller_identity()["Account"] == "000000000000"


def test_nothing_of_the_session_before_stays_beside_a_report(stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("{}")
    detail = saves({"report.md": "# One", "a.svg": CHART})
    assert command(stack, "vigil", "run", "--detail", detail, "--out", str(tmp_path)).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {REPORT, PAGE, "a.svg", "mine", LISTING}
    assert command(stack, "vigil", "run", "--detail", HELLO, "--out", str(tmp_path)).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {REPORT, PAGE, "mine", LISTING}
    assert "<h1>Hello</h1>" in (tmp_path / PAGE).read_text()
    assert command(stack, "vigil", "run", "--detail", FAILING, "--out", str(tmp_path)).returncode == 1
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_only_report_artifacts_are_saved_and_no_users_file_replaced(stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text("mine")
    artifacts = {"report.md": "# One", "logo.svg": CHART, "requirements.txt": "evil", "AGENTS.md": "x", "a.json": "{}"}
    done = command(stack, "vigil", "run", "--detail", saves(artifacts), "--out", str(tmp_path))
    assert done.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {REPORT, PAGE, "logo.svg", LISTING}
    assert (tmp_path / "logo.svg").read_text() == "mine"
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["AGENTS.md", "a.json", "requirements.txt", "logo.svg"]
    assert all("it stays at s3://" in line for line in lines[:3])
    assert lines[3].endswith("is a file that vigil did not save")


def test_unsaved_report_is_summarised_and_can_be_printed(stack: LocalStack, tmp_path: Path) -> None:
    # No file may get longer than this: a write fails as one to a full disk does.
    done = command(stack, "/bin/sh", "-c", f"ulimit -f 0; exec {BIN / 'vigil'} run --detail '{HELLO}' --out {tmp_path}")
    assert done.returncode == 1
    assert "# Hello" in done.stdout
    assert "COMPLETED after" in done.stdout
    session_id = done.stdout.split()[1]
    again = f"`vigil report {session_id}` prints the report"
    assert done.stderr == f"vigil: {tmp_path / PAGE} was not saved: File too large; {again}\n"
    assert list(tmp_path.iterdir()) == []
    assert command(stack, "vigil", "report", session_id).stdout == "# Hello"


def test_missing_stack_is_named_with_a_remedy(stack: LocalStack) -> None:
    line = refused(stack, "vigil", "trigger", VIGIL_STACK="Elsewhere")
    assert f"no stack Elsewhere in {stack.endpoint}" in line
    assert "make deploy" in line


def test_missing_credentials_and_regions_are_named_with_what_to_do(stack: LocalStack) -> None:
    assert "no AWS region: set AWS_REGION" in refused(None, "vigil", "sessions", AWS_EC2_METADATA_DISABLED="true")
    without = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": stack.endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
    assert "no AWS credentials: set AWS_PROFILE" in refused(None, "vigil", "sessions", **without)


def test_an_aws_that_cannot_be_reached_is_one_line() -> None:
    environment = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "test"}
    assert "http://127.0.0.1:9" in refused(None, "vigil", "sessions", **environment, AWS_SECRET_ACCESS_KEY="test")


def test_a_stopped_workflow_is_watched_to_the_recorded_end(stack: LocalStack, workflow: Workflow) -> None:
    session_id, arn = workflow.start(detail={"agent": "waits"})
    until(lambda: (session := workflow.session(session_id)) and session.status == Status.BUSY)
    workflow.sfn.stop_execution(executionArn=arn)
    done = command(stack, "vigil", "watch", session_id)
    assert done.returncode == 1
    assert "WorkflowEnded: its workflow ended without it: ABORTED" in done.stderr


def test_client_of_a_gone_stack_learns_that_another_answers(stack: LocalStack) -> None:
    done = command(stack, "vigil", "sessions", AWS_ACCESS_KEY_ID="AKIAOFTHEONEBEFORE00")
    assert done.returncode == 1
    said = "another local stack runs there, and the one of this shell is gone, with its sessions"
    assert said in done.stderr
    assert said[1:] in command(stack, "vigil", "doctor", AWS_ACCESS_KEY_ID="AKIAOFTHEONEBEFORE00").stdout


def test_a_session_without_a_report_says_so(stack: LocalStack, workflow: Workflow) -> None:
    _, session = workflow.run(detail={"agent": "says_failed"})
    assert session is not None
    assert "no artifact report.md in this session" in refused(stack, "vigil", "report", session.session_id)
