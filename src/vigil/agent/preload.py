"""What every worker needs, imported once in the server that workers are forked from."""

import gc

import vigil.agent.agent
import vigil.agent.worker
from vigil.agent.session import aws_session

__all__ = ["vigil"]

# Nobody uses these clients, and nobody's credentials they have; but what they read stays.
_aws = aws_session("us-east-1", "nobody", "nobody")
_aws.resource("dynamodb")
for _service in ("bedrock-runtime", "s3", "stepfunctions"):
    _aws.client(_service)
del _aws
gc.collect()
# What is here now stays, and stays shared: the collector of a worker must not touch, and so copy, its pages.
gc.freeze()
