"""Imports what every worker needs, once, before workers are forked.

A custom agent is imported by its worker instead: if that fails or hangs, it fails its session and no other.
"""

import gc
import os
from contextlib import suppress
from importlib import import_module

import anyio._backends._asyncio  # noqa: F401
import uvicorn

import vigil.agent.runtime
import vigil.sdk
from vigil.agent.session import aws_session
from vigil.names import Env
from vigil.settings import DEFAULT_AGENT

if os.environ.get(Env.AGENT, DEFAULT_AGENT) == DEFAULT_AGENT:
    with suppress(ImportError):
        import_module(DEFAULT_AGENT.partition(":")[0])
# These clients are never used: creating them loads botocore's service models, which forked workers then share.
_aws = aws_session("us-east-1", "nobody", "nobody")
_aws.resource("dynamodb").Table("none")
for _service in ("bedrock-runtime", "s3", "stepfunctions"):
    _aws.client(_service)
del _aws
# uvicorn imports its protocols only when it loads its configuration.
uvicorn.Config(vigil.agent.runtime.build, **vigil.agent.runtime.SERVER_OPTIONS).load()
gc.collect()
# A worker's garbage collector must not touch the memory that it shares with this process: that would copy it.
gc.freeze()
