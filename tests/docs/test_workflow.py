""".github/workflows/check.yml runs what a developer runs."""

import re

import yaml

from vigil.local.deploy import PROJECT

WORKFLOW = yaml.safe_load((PROJECT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8"))


def test_every_command_of_the_workflow_is_a_make_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]
    assert commands == re.findall(r"^make .*", (PROJECT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"make check", "make test"} <= {*commands}
    assert {command.split()[1] for command in commands} <= targets


def test_the_workflow_may_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [name for name, job in WORKFLOW["jobs"].items() if "permissions" in job]
