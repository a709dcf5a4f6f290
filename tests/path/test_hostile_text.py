"""Hostile text through every command and every view of a real stack: it is shown, and nothing else happens."""

import json
import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.hostile import CONTROL, PIECES, RICH, TEXT
from tests.pages import Page
from tests.support import Workflow, command
from tests.vigil.test_svg import ROOT
from vigil import cli
from vigil.artifacts import PREFIX
from vigil.deployment import Deployment
from vigil.folder import LISTING
from vigil.local.stack import LocalStack
from vigil.names import FINDINGS, PAGE, REPORT, Output
from vigil.session import ARTIFACT_SK_PREFIX
from vigil.terminal import Terminal

BY_FINDING, BY_FUNCTION = "by-finding.svg", "by-function.svg"

Vigil = Callable[..., tuple[int, str, str]]
EVERYTHING = "".join(PIECES)
NOT_JSON = (b"", b"{", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 100_000, b'"\x1b"', b"\xff", b"<script>")


@pytest.fixture
def vigil(
    stack: LocalStack, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any, tmp_path: Path
) -> Vigil:
    """Run a command in this process, twice: into a pipe and, with ``FORCE_COLOR``, as on a terminal."""
    for name, value in {**stack.environment(), "TERM": "xterm-256color", "COLUMNS": "80", "BROWSER": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    # Its clients take longest to make.
    for module in (cli.records, cli.run, cli.trace):
        monkeypatch.setattr(module, "Deployment", lambda: deployment)

    def once(*words: str) -> tuple[int, str, str]:
        for name, terminal in {"console": Terminal(), "errors": Terminal(stderr=True)}.items():
            for module in (cli, cli.common, cli.local, cli.records, cli.run, cli.trace):
                monkeypatch.setattr(module, name, terminal, raising=False)
        monkeypatch.setattr(sys, "argv", ["vigil", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = (stream.decode() for stream in capfdbinary.readouterr())
        return int(ended.value.code or 0), out, err

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setenv("FORCE_COLOR", "1")
        for written in once(*words)[1:]:
            assert not CONTROL.search(RICH.sub("", written)), (words, written)
        monkeypatch.delenv("FORCE_COLOR")
        status, out, err = once(*words)
        for written in (out, err):
            assert not CONTROL.search(written), (words, written)
        return status, out, err

    capfdbinary.readouterr()
    return run


@pytest.fixture(scope="module")
def ended(workflow: Workflow) -> tuple[str, str]:
    """The id of a session that has failed with hostile text, and the ARN of its execution."""
    session_id, arn = workflow.start(detail={"agent": "hostile", "text": EVERYTHING})
    assert workflow.ended(arn)["status"] == "FAILED"
    return session_id, arn


fuzz = settings(
    max_examples=3,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=(HealthCheck.function_scoped_fixture, HealthCheck.too_slow),
)
# What the table cannot hold as a key or as text are halves of surrogate pairs; ``TEXT`` has none.
FIELD = TEXT | st.integers(-(10**30), 10**30) | st.lists(TEXT, max_size=2) | st.dictionaries(TEXT, TEXT, max_size=2)
FIELDS = ("created_at", "updated_at", "ended_at", "error", "usage", "deadline_at", "heartbeat_at", "report_uri")
RECORD = st.fixed_dictionaries({}, optional=dict.fromkeys((*FIELDS, "progress", "expires_at", "execution_arn"), FIELD))
PHASE_FIELDS = ("state", "started_at", "ended_at", "message")
STEP_FIELDS = ("number", "parent", "operation", "name", "agent", "error", "input", "output", "usage")
PHASES = st.dictionaries(
    st.sampled_from(("TASK#001#", "TASK#x", "TASK#", "TASK#002#", "STEP#1", "STEP#")).flatmap(
        lambda key: TEXT.map(lambda text: f"{key}{text}")
    ),
    st.fixed_dictionaries({}, optional=dict.fromkeys((*PHASE_FIELDS, *STEP_FIELDS), FIELD)),
    max_size=4,
)


def test_every_dead_letter_is_shown_as_one_line(stack: LocalStack, vigil: Vigil) -> None:
    queue, sqs = stack.outputs[Output.DEAD_LETTERS], stack.client("sqs")
    event = {"id": EVERYTHING, "time": EVERYTHING, "source": "vigil", "detail-type": "Run Agent"}
    for body in [json.dumps(event), json.dumps({"id": EVERYTHING, "time": [EVERYTHING]}), "[" * 100_000]:
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    try:
        status, out, _ = vigil("lost")
        assert (status, len(out.splitlines())) == (0, 3)
        status, out, _ = vigil("lost", "--json")
        assert len(json.loads(out, parse_constant=pytest.fail)) == 3
        status, out, err = vigil("lost", "--resend")
        assert (status, out, len(err.splitlines())) == (1, "", 3)
    finally:
        sqs.purge_queue(QueueUrl=queue)


def test_records_and_dead_letters_reach_a_terminal_as_plain_text(
    stack: LocalStack, workflow: Workflow, vigil: Vigil, ended: tuple[str, str]
) -> None:
    session_id, arn = ended
    queue, sqs = stack.outputs[Output.DEAD_LETTERS], stack.client("sqs")

    @fuzz
    @given(RECORD, PHASES, st.sampled_from(["FAILED", "COMPLETED"]), TEXT)
    def check(record: dict[str, Any], phases: dict[str, Any], status: str, text: str) -> None:
        newest = {**workflow.key(session_id), "start_time": f"9999{text}", "status": status, "execution_arn": arn}
        workflow.table.put_item(Item={**newest, **record})
        items = [{**item, "PK": session_id, "SK": key} for key, item in phases.items()]
        for item in items:
            workflow.table.put_item(Item=item)
        sqs.purge_queue(QueueUrl=queue)
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"id": text, "time": [text]}))
        for body in ("[" * 100_000, "no JSON" + re.sub("[^\t -~]", "", text)):
            sqs.send_message(QueueUrl=queue, MessageBody=body)
        try:
            assert vigil("watch", session_id)[0] == (status == "FAILED")
            status_, out, _ = vigil("show", session_id)
            assert status_ == 0
            # One line a field, and one a phase.
            assert all(line[:15].strip() in {*FIELDS, *names} for line in out.splitlines()), out
            status_, out, _ = vigil("show", session_id, "--json")
            assert json.loads(out, parse_constant=pytest.fail)["session_id"] == session_id
            status_, out, _ = vigil("trace", session_id)
            assert status_ == 0
            assert all(re.match(r" *[\d.]+ s  |\d+ steps|[A-Z]+ after \d+ steps", line) for line in out.splitlines()), (
                out
            )
            for form in ("--json", "--otlp"):
                json.loads(vigil("trace", session_id, form)[1], parse_constant=pytest.fail)
            status_, out, err = vigil("sessions", "--limit", "1")
            assert (status_, len(err.splitlines())) == (0, 1)
            status_, out, _ = vigil("sessions", "--limit", "1", "--json")
            assert json.loads(out, parse_constant=pytest.fail)[0]["session_id"] == session_id
            assert vigil("report", session_id)[0] == 1
            assert vigil("stop", session_id, "--reason", text)[0] == 1
        finally:
            for item in items:
                workflow.table.delete_item(Key={"PK": item["PK"], "SK": item["SK"]})

    names = {
        "session_id",
        "status",
        "start_time",
        "execution_arn",
        "progress",
        "expires_at",
        "phase",
        "step",
        "all steps",
    }
    try:
        check()
    finally:
        workflow.table.delete_item(Key=workflow.key(session_id))
        sqs.purge_queue(QueueUrl=queue)


@fuzz
@given(text=TEXT.filter(lambda text: "\0" not in text))
def test_what_is_typed_is_repeated_as_text_in_one_line(vigil: Vigil, text: str) -> None:
    options = (("sessions", "--status"), ("sessions", "--limit"), ("trigger", "--detail"))
    for words in (
        *((*before, f"x{text}") for before in ((), ("show",), ("watch",), ("trace",), *options)),
        *(("show", f"--x{text}"), ("report", f"x{text}", "--out", text)),
        ("report", str(uuid.UUID(int=1)), "--format", text),
    ):
        status, out, err = vigil(*words)
        assert status in (1, 2)
        assert out == ""
        assert err.count("\n") == 1


def saved(stack: LocalStack, workflow: Workflow, session_id: str, artifacts: dict[str, bytes]) -> None:
    for name, content in artifacts.items():
        key = f"{PREFIX}{session_id}/any/{name}"
        stack.client("s3").put_object(Bucket=stack.outputs[Output.BUCKET], Key=key, Body=content)
        workflow.table.put_item(Item={"PK": session_id, "SK": f"{ARTIFACT_SK_PREFIX}{name}", "key": key})


def test_artifacts_are_text_in_any_view(stack: LocalStack, workflow: Workflow, vigil: Vigil, tmp_path: Path) -> None:
    session_id = str(uuid.uuid4())
    workflow.table.put_item(Item={**workflow.key(session_id), "status": "COMPLETED"})

    @fuzz
    @given(TEXT, TEXT, st.sampled_from(NOT_JSON))
    def check(text: str, name: str, findings: bytes) -> None:
        report = f"# {text}\n\n![x]({BY_FINDING})\n\n![x]({BY_FUNCTION})\n\n{name}".encode() + b"\xff\xc0"
        label = json.dumps(text)[1:-1].replace("<", "&lt;").replace("&#", "")
        charts = {BY_FINDING: name.encode(), BY_FUNCTION: f"{ROOT} onload='x()'><text>{label}</text></svg>".encode()}
        saved(stack, workflow, session_id, {REPORT: report, PAGE: report, FINDINGS: findings, **charts})
        status, out, _ = vigil("report", session_id)
        assert status == 0
        status, out, _ = vigil("report", session_id, "--format", "html")
        harmless(out)
        status, out, err = vigil("report", session_id, "--format", "json")
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert "findings.json of this session is not JSON" in err
        for form in ("md", "html"):
            assert vigil("report", session_id, "--format", form, "--open", "--out", str(tmp_path))[0] == 0
        harmless((tmp_path / f"{session_id}.html").read_text())
        assert not CONTROL.search((tmp_path / f"{session_id}.md").read_text())
        saved(stack, workflow, session_id, {FINDINGS: json.dumps({text: [name]}, ensure_ascii=False).encode()})
        assert json.loads(vigil("report", session_id, "--format", "json")[1]) == {text: [name]}

    check()


def harmless(html: str) -> None:
    """Fail if a page runs or fetches something, or holds what its policy would have to stop."""
    page = Page(html)
    assert "default-src 'none'" in html
    active = {"script", "iframe", "object", "embed", "link", "base", "form", "img"}
    assert not {tag for tag, _ in page.elements} & active
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name in ("src", "style", "xlink:href") for name in attributes)
        assert re.match(r"(?i)(https?|mailto):|#", attributes.get("href") or "#")
    assert html.count("<style>") <= 1
    assert not CONTROL.search(html)


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test saves what it saves in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_session_that_fails_with_hostile_text_forges_no_line(stack: LocalStack, environment: dict[str, str]) -> None:
    detail = json.dumps({"agent": "hostile", "text": EVERYTHING})
    done = command(stack, "vigil", "run", "--detail", detail, **environment)
    assert done.returncode == 1
    printed = done.stdout + done.stderr
    assert not CONTROL.search(RICH.sub("", printed) if "FORCE_COLOR" in environment else printed)
    lines = RICH.sub("", done.stdout).splitlines()
    assert not [line for line in lines if line.startswith("COMPLETED") or re.match(r"\s*[\d.]+ s +session +COMP", line)]
    assert len(done.stderr.splitlines()) == 1
    # Read with a pager or `tail`, it must do as little.
    log = stack.agent_log.read_bytes().decode()
    assert "<U+001B>" in log
    assert not CONTROL.search(log)


def test_a_run_saves_what_a_custom_agent_saved_as_text(stack: LocalStack, tmp_path: Path) -> None:
    script = "<script>fetch('http://127.0.0.1:9/x')</script>"
    artifacts = {
        REPORT: f"# Hi\n\n{script}\n\n![By]({BY_FUNCTION}) [m](ms-msdt:/id) \x1b[31mred",
        PAGE: f"<!doctype html>{script}",
        BY_FUNCTION: f"{ROOT} onload='x()'><image href='http://127.0.0.1:9/svg'/><text>\u202eA</text></svg>",
        BY_FINDING: f"<!DOCTYPE svg [<!ENTITY a 'b'>]>{ROOT}/>",
        FINDINGS: "{NaN",
    }
    detail = json.dumps({"agent": "hostile", "text": "hi", "artifacts": artifacts})
    done = command(stack, "vigil", "run", "--detail", detail, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {REPORT, PAGE, BY_FUNCTION, LISTING}
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["left out"] * 2
    harmless((tmp_path / PAGE).read_text())
    assert (tmp_path / BY_FUNCTION).read_text() == f"{ROOT}><text>&lt;U+202E&gt;A</text></svg>\n"
    assert "<svg" in (tmp_path / PAGE).read_text()
    said, _, fence, *_ = (tmp_path / REPORT).read_text().splitlines()
    assert (said, fence) == ("This report is shown as text, because it holds HTML.", "```")
    assert "\x1b" not in done.stdout + (tmp_path / REPORT).read_text()
