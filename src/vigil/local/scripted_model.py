"""A scripted fake of the language model.

It reads the procedure in the system prompt and calls the tools that the procedure names, in that order, until one tool
fails or the procedure ends. A step is a numbered line with a call in backticks: ``3. Learn what is there:
`list_functions()` ``. Arguments are Python literals; ``<...>`` stands for prose, for which it puts one fixed text about
itself.
"""

import ast
import json
import re
from dataclasses import dataclass
from typing import Any

from vigil.agent.models import SCRIPTED_MODEL

PROSE = (
    "No language model ran here: a script followed the agent's procedure."
    " Everything below was computed by code from the account's own data."
)

_STEP = re.compile(r"^\d+\. [^`\n]*`(\w+\([^`]*\))`", re.MULTILINE)
_PROSE = re.compile(r"<[^<>]*>")
_QUOTED = re.compile(r'\{"untrusted_account_data": ("(?:[^"\\]|\\.)*")\}')
"""How the cost agent's tools quote the reason of a failure to the model."""


@dataclass(frozen=True)
class Step:
    """One tool call of a procedure."""

    tool: str
    arguments: dict[str, Any]


def procedure(prompt: str) -> list[Step]:
    """Return the steps that ``prompt`` numbers; raises ValueError for a step that is no call with literal arguments."""
    steps = []
    for source in _STEP.findall(prompt):
        try:
            call = ast.parse(_PROSE.sub(repr(PROSE), source), mode="eval").body
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
                raise ValueError("not a call with keyword arguments")
            arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"step `{source}` of the procedure: {error}") from error
        steps.append(Step(call.func.id, arguments))
    return steps


def converse(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a Converse request (Bedrock Runtime API) with the procedure's next call or its end; raises ValueError."""
    blocks = [block for message in request["messages"] for block in message["content"]]
    errors = [error for block in blocks if (error := _error_text(block))]
    done = sum("toolUse" in block for block in blocks)
    steps = procedure("\n".join(block.get("text", "") for block in request.get("system", [])))
    tools = {tool["toolSpec"]["name"] for tool in request.get("toolConfig", {}).get("tools", []) if "toolSpec" in tool}

    if errors:
        # As the prompt asks: set the status FAILED with the reason, once, and stop.
        give_up = Step("journal_set_status", {"status": "FAILED", "message": errors[0][:800]})
        last = next(block["toolUse"] for block in reversed(blocks) if "toolUse" in block)
        step = None if last["input"] == give_up.arguments or give_up.tool not in tools else give_up
    else:
        step = steps[done] if done < len(steps) else None
    if step and step.tool not in tools:
        raise ValueError(f"the procedure calls {step.tool}, which the agent does not offer")
    content: dict[str, Any] = {"text": "The procedure has ended."}
    if step:
        content = {"toolUse": {"toolUseId": f"step-{done + 1}", "name": step.tool, "input": step.arguments}}
    return {
        "output": {"message": {"role": "assistant", "content": [content]}},
        "stopReason": "tool_use" if step else "end_turn",
        "usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
        "metrics": {"latencyMs": 0},
    }


def _error_text(block: dict[str, Any]) -> str:
    """Return the error of a failed tool, else "". Strands sends its status to few models, so this reads the text."""
    text = " ".join(part.get("text", "") for part in block.get("toolResult", {}).get("content", []))
    if not text.startswith("Error: "):
        return ""
    return _QUOTED.sub(lambda match: str(json.loads(match[1])), text.removeprefix("Error: "))


def answer(model_id: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Answer the HTTP request ``POST /model/{model_id}/converse`` as (status, headers, body)."""
    headers = {"Content-Type": "application/json"}
    try:
        if model_id != SCRIPTED_MODEL:
            raise ValueError(f"the local stack has no model {model_id}; it answers as {SCRIPTED_MODEL}")
        return 200, headers, json.dumps(converse(json.loads(body))).encode()
    except (ValueError, KeyError) as error:
        headers["x-amzn-errortype"] = "ValidationException"
        return 400, headers, json.dumps({"message": str(error)}).encode()
