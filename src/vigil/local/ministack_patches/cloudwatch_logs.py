"""CloudWatch Logs of agents: AgentCore writes there what agents print; here it stays in the file that they print to.

FilterLogEvents reads that file, for ``vigil logs`` and ``aws logs tail``; other operations do not know the log group.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from ministack.core.responses import json_response
from ministack.services import bedrock_agentcore, cloudwatch_logs

from vigil.agent_log import log_group, parse_line
from vigil.local.ministack_patches import patching
from vigil.local.ministack_patches.patching import replaces

PAGE_BYTES = 1_000_000  # how much of the file one answer reads; the next answer begins where it ends


@replaces(cloudwatch_logs, "_filter_log_events")
def filter_log_events(filter_stored: Any, request: dict[str, Any]) -> Any:
    """AWS has a log group for each runtime; ministack has none."""
    groups = {log_group(runtime["agentRuntimeArn"]) for runtime in bedrock_agentcore._runtimes.values()}
    if request.get("logGroupName") not in groups:
        return filter_stored(request)
    return json_response(read_page(patching.agents.log, request))


def read_page(log: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return one answer of FilterLogEvents: the matching events of one page, and the token of the next page."""
    matches = cloudwatch_logs._compile_filter_pattern(request.get("filterPattern", ""))
    token = str(request.get("nextToken") or 0)
    events: list[dict[str, Any]] = []
    with log.open("rb") as file:
        offset = start = file.seek(int(token) if token.isdecimal() else 0)
        # A line without a line break is the end of the file, or not yet written in full.
        while offset < start + PAGE_BYTES and (raw := file.readline()).endswith(b"\n"):
            line = parse_line(raw.decode(errors="replace"))
            if line is not None and matches(str(line)):
                time = int(datetime.fromisoformat(line.at).timestamp() * 1000)
                if request.get("startTime", 0) <= time <= request.get("endTime", time):
                    event = {"eventId": str(offset), "timestamp": time, "ingestionTime": time, "message": str(line)}
                    events.append(event)
            offset += len(raw)
        next_page = {} if offset < start + PAGE_BYTES else {"nextToken": str(offset)}
    return {"events": events, "searchedLogStreams": [], **next_page}
