"""What every worker needs, imported once, before workers are forked."""

import gc

import anyio._backends._asyncio
import uvicorn

import lambda_costs.agent
import vigil.agent.runtime
from vigil.agent.session import aws_session

__all__ = ["anyio", "vigil"]

# Nobody uses these clients, and nobody's credentials they have; but what they read stays.
_aws = aws_session("us-east-1", "nobody", "nobody")
_aws.resource("dynamodb").Table("none")
for _service in ("bedrock-runtime", "s3", "stepfunctions"):
    _aws.client(_service)
del _aws
# So is what uvicorn imports once it knows how it will serve.
uvicorn.Config(vigil.agent.runtime.build).load()
gc.collect()
# What is here now stays, and stays shared: the collector of a worker must not touch, and so copy, its pages.
gc.freeze()
