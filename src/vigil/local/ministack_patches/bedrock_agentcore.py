"""AgentCore: its data plane runs agents, and stops their sessions."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import error_response_json
from ministack.services import bedrock_agentcore, stepfunctions

from vigil.local.ministack_patches import patching
from vigil.local.ministack_patches.patching import at_install, replaces, serves
from vigil.local.ministack_patches.stepfunctions import require_grant

SESSION_HEADER = "x-amzn-bedrock-agentcore-runtime-session-id"
NO_SUCH_SESSION = "no such runtime session"
STOP_ACTION = "bedrock-agentcore:StopRuntimeSession"
ERRORS = {402: "ServiceQuotaExceededException", 429: "ThrottlingException", 500: "InternalServerException"}
"""The error of AgentCore for a status of `LocalAgentCore.invoke`."""


@replaces(bedrock_agentcore, "_create_agent_runtime")
def create_and_prepare(create: Any, body: bytes) -> Any:
    """Import what agents need before the first session waits for it."""
    patching.agents.prepare()
    return create(body)


@replaces(bedrock_agentcore, "_invoke_agent_runtime_in_owner")
def invoke(echo: Any, runtime: dict[str, Any], headers: dict[str, str], body: bytes) -> Any:
    """AWS runs the agent; ministack echoes the request. IAM was asked before."""
    session_id = headers.get(SESSION_HEADER, "")
    status, answer = patching.agents.invoke(runtime, session_id, body)
    if status < 400:
        return 200, {"Content-Type": "application/json", SESSION_HEADER: session_id}, answer
    text = answer.decode(errors="replace")[:1000]
    if status in ERRORS:
        return error_response_json(ERRORS[status], text, status)
    # AgentCore hides the agent's own status behind this error.
    return error_response_json("RuntimeClientError", f"Received error ({status}) from runtime: {text}", 424)


@serves("bedrock-agentcore", "POST", r"/runtimes/.+/stopruntimesession", action=STOP_ACTION)
async def stop(path: str, headers: Mapping[str, str], body: bytes) -> Any:
    """AWS stops a session; ministack has no such operation."""
    session_id = headers.get(SESSION_HEADER, "")
    arn = path.removeprefix("/runtimes/").removesuffix("/stopruntimesession")
    if await asyncio.to_thread(patching.agents.stop_session, arn, session_id):
        return 200, {SESSION_HEADER: session_id}, b"{}"
    return error_response_json("ResourceNotFoundException", NO_SUCH_SESSION, 404)


@replaces(iam_actions, "_agentcore_runtime_arn")
def find_runtime(find: Any, path: str) -> Any:
    """AWS asks IAM about the runtime and its endpoint when a session is stopped; ministack asks about any resource."""
    return find(path.replace("/stopruntimesession", "/invocations"))


@at_install
def know_stop_task() -> None:
    """AWS lets a workflow stop a session by a task of the SDK; ministack does not know that task."""
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::aws-sdk:bedrockagentcore:stopRuntimeSession"] = stop_by_task


def stop_by_task(resource: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Stop a session with the role of the state machine."""
    arn, session_id = arguments["AgentRuntimeArn"], arguments["RuntimeSessionId"]
    require_grant("BedrockAgentCore.AccessDeniedException", STOP_ACTION, arn)
    if not patching.agents.stop_session(arn, session_id):
        raise stepfunctions._ExecutionError("BedrockAgentCore.ResourceNotFoundException", NO_SUCH_SESSION)
    return {"RuntimeSessionId": session_id, "StatusCode": 200}
