"""The laptop and the cloud get one template, byte for byte."""

import json
from pathlib import Path

from botocore.handlers import json_decode_template_body

from vigil.local.stack import LocalStack
from vigil.names import STACK

TEMPLATE = f"{STACK}.template.json"


def test_a_template_with_the_agents_package_built_is_the_same(bundled: Path, assembly: Path) -> None:
    assert (bundled / TEMPLATE).read_bytes() == (assembly / TEMPLATE).read_bytes()


def test_the_package_lies_where_the_template_looks_for_it(bundled: Path) -> None:
    template = json.loads((bundled / TEMPLATE).read_text())
    (runtime,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::BedrockAgentCore::Runtime")
    key = runtime["Properties"]["AgentRuntimeArtifact"]["CodeConfiguration"]["Code"]["S3"]["Prefix"]
    files = json.loads((bundled / f"{STACK}.assets.json").read_text())["files"]
    (asset,) = (file for file in files.values() if any(d["objectKey"] == key for d in file["destinations"].values()))
    assert (bundled / asset["source"]["path"] / "main.py").is_file()


def test_the_local_stack_deploys_that_template(stack: LocalStack, bundled: Path) -> None:
    cloudformation = stack.client("cloudformation")
    # boto3 would parse it and lose the bytes.
    cloudformation.meta.events.unregister("after-call.cloudformation.GetTemplate", json_decode_template_body)
    assert cloudformation.get_template(StackName=STACK)["TemplateBody"] == (bundled / TEMPLATE).read_text()
