"""Bedrock: the scripted model answers Converse."""

import asyncio
from collections.abc import Mapping
from typing import Any

from vigil.local import scripted_model
from vigil.local.ministack_patches.patching import serves


# The path comes decoded, and the ARN of an inference profile holds a slash.
@serves("bedrock-runtime", "POST", r"/model/.+/converse", action="bedrock:InvokeModel")
async def converse(path: str, headers: Mapping[str, str], body: bytes) -> Any:
    """AWS wants bedrock:InvokeModel and a model answers; ministack wants bedrock:Converse and echoes."""
    model_id = path.removeprefix("/model/").removesuffix("/converse")
    return await asyncio.to_thread(scripted_model.answer, model_id, body)
