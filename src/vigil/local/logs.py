"""CloudWatch Logs of what agents print: AgentCore writes it there; here it stays in the file that they print to.

FilterLogEvents reads it there, as ``vigil logs`` and ``aws logs tail`` do; other operations do not know the log group.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from ministack.services import bedrock_agentcore, cloudwatch_logs

from vigil.agent_log import log_group, parse_line

PAGE_BYTES = 1_000_000
"""How much of the file one answer looks at; the next begins where it ends."""


def install(log: Path) -> None:
    """Have FilterLogEvents of a runtime's log group read ``log``."""
    answer = cloudwatch_logs._filter_log_events

    def filter_log_events(asked: dict[str, Any]) -> Any:
        groups = {log_group(runtime["agentRuntimeArn"]) for runtime in bedrock_agentcore._runtimes.values()}
        if asked.get("logGroupName") not in groups:
            return answer(asked)
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(page(log, asked)).encode()

    cloudwatch_logs._filter_log_events = filter_log_events


def page(log: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Return one answer of FilterLogEvents: the events of some of the lines, and where the next answer begins."""
    matches = cloudwatch_logs._compile_filter_pattern(asked.get("filterPattern", ""))
    given = str(asked.get("nextToken") or 0)
    events: list[dict[str, Any]] = []
    with log.open("rb") as file:
        at = begins = file.seek(int(given) if given.isdecimal() else 0)
        # What is not ended by a line break is the end, or not written yet.
        while at < begins + PAGE_BYTES and (raw := file.readline()).endswith(b"\n"):
            line = parse_line(raw.decode(errors="replace"))
            if line is not None and matches(str(line)):
                moment = int(datetime.fromisoformat(line.at).timestamp() * 1000)
                if asked.get("startTime", 0) <= moment <= asked.get("endTime", moment):
                    events.append(
                        {"eventId": str(at), "timestamp": moment, "ingestionTime": moment, "message": str(line)}
                    )
            at += len(raw)
        more = {} if at < begins + PAGE_BYTES else {"nextToken": str(at)}
    return {"events": events, "searchedLogStreams": [], **more}
