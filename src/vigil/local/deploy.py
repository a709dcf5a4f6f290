"""Synthesise the stack and deploy it without the CDK CLI: read the assets, upload them, create the stack."""

import compileall
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import boto3
from botocore.exceptions import WaiterError

from vigil.errors import LocalStackError
from vigil.names import STACK

KEEP_SECONDS = 3600  # how long the assembly of another version stays in the cache; a process may still deploy it
PROJECT = Path(__file__).resolve().parents[3]
_INPUTS = ("app.py", "infra/**/*.py", "src/**/*.py", "src/**/*.md", "requirements/*.txt")


def synthesize(cache: Path) -> Path:
    """Return the cloud assembly of app.py, from ``cache`` if none of its inputs has changed."""
    if not (PROJECT / "app.py").is_file():
        raise LocalStackError(
            "the local stack deploys app.py of a checkout, and this vigil was installed without one:"
            " in a checkout, run `make install`, or `pip install --editable '.[cli,local,infra]'`"
        )
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _INPUTS for path in PROJECT.glob(pattern)}):
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    assembly = cache / digest.hexdigest()[:16]
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        # Stacks that start at the same time share one synthesis.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not assembly.is_dir():
            _synthesize_into(assembly)
            # The file system's clock may differ from this machine's, so compare its times only with each other.
            now = assembly.stat().st_mtime
            for other in cache.iterdir():
                if other.stat().st_mtime < now - KEEP_SECONDS:
                    shutil.rmtree(other, ignore_errors=True)
    return assembly


def _synthesize_into(assembly: Path) -> None:
    partial = assembly.with_name(f"partial-{os.getpid()}")
    # jsii must find the Node of the virtual environment, not the machine's.
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # CDK's validation of the template takes longer than the synthesis; `make check` validates it.
    environment = {**os.environ, "CDK_OUTDIR": str(partial), "PATH": search, "CDK_VALIDATION": "false"}
    done = subprocess.run([sys.executable, "app.py"], cwd=PROJECT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise LocalStackError(f"app.py does not synthesise:\n{done.stderr.strip()[-3000:]}")
    partial.rename(assembly)


def deploy(assembly: Path, session: boto3.Session, parameters: dict[str, str]) -> dict[str, str]:
    """Deploy the assembly's stack with ``session`` and return the stack's outputs."""
    account = session.client("sts").get_caller_identity()["Account"]
    region = str(session.region_name)
    template = _upload_assets(assembly, session.client("s3"), account, region)
    # `cdk bootstrap` creates this parameter, and the template reads it.
    version = "/cdk-bootstrap/hnb659fds/version"
    session.client("ssm").put_parameter(Name=version, Value="30", Type="String", Overwrite=True)
    cloudformation = session.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK,
        # A template in the request may have 51,200 bytes; that of an agent with many permissions has more.
        TemplateURL=f"https://s3.{region}.amazonaws.com/{template}",
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    )
    try:
        attempts: Any = {"Delay": 0.1, "MaxAttempts": 600}  # the types say whole seconds
        cloudformation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig=attempts)
    except WaiterError as error:
        events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
        failed = (event.get("ResourceStatusReason") for event in events if "FAILED" in event["ResourceStatus"])
        raise LocalStackError(f"stack {STACK} was not created: {'; '.join(filter(None, failed)) or error}") from error
    outputs = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def _upload_assets(assembly: Path, s3: Any, account: str, region: str) -> str:
    """Upload the template and the packages of the Lambda functions; return the template's bucket and key."""
    manifest, template = json.loads((assembly / f"{STACK}.assets.json").read_text()), ""
    for asset in manifest["files"].values():
        source = assembly / asset["source"]["path"]
        if source.parent != assembly:
            # The agent's package is not built, as the laptop provides the runtime; its asset names its sources.
            continue
        is_template = source.name == f"{STACK}.template.json"
        for destination in asset["destinations"].values():
            bucket = destination["bucketName"].replace("${AWS::AccountId}", account).replace("${AWS::Region}", region)
            s3.create_bucket(Bucket=bucket)
            body = source.read_bytes() if is_template else _package(source)
            s3.put_object(Bucket=bucket, Key=destination["objectKey"], Body=body)
            template = f"{bucket}/{destination['objectKey']}" if is_template else template
    return template


def _package(folder: Path) -> bytes:
    """Return the package of a Lambda function, zipped, with its bytecode: each start would compile it for 0.3 s."""
    archive = folder.with_name(f"{folder.name}.zip")
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            code = shutil.copytree(folder, f"{temporary}/code")
            # The embedded AWS unpacks it with other times of modification.
            compileall.compile_dir(code, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
            Path(shutil.make_archive(f"{temporary}/code", "zip", code)).rename(archive)
    return archive.read_bytes()
