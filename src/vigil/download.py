"""A session's artifacts as files that are safe to open: nothing in them runs or fetches anything."""

import json

from vigil.artifacts import Artifacts
from vigil.errors import InvalidArtifact
from vigil.names import FINDINGS, PAGE, REPORT
from vigil.page import readable_markdown, render_page
from vigil.svg import redrawn
from vigil.text import to_json

CHART = ".svg"
MAX_CHARTS, MAX_ADDRESSES = 20, 20


def safe_files(artifacts: Artifacts, report: str) -> tuple[dict[str, str], list[str]]:
    """Return ``report``, its page, its charts and its data by name, and a line for each artifact that is left out.

    The report and its page come last. No other kind of artifact is saved: an agent, or its model, chooses the names,
    and a file such as requirements.txt could do harm in the folder of a project.
    """
    files: dict[str, str] = {}
    left_out: list[str] = []
    # The page that the agent saved may hold a script. It is rendered again.
    for name in artifacts.names():
        if name in (REPORT, PAGE):
            continue
        try:
            if len(files) >= MAX_CHARTS or not (name == FINDINGS or name.endswith(CHART)):
                # Each address takes a request.
                where = artifacts.uri(name) if len(left_out) < MAX_ADDRESSES else "its place in the bucket"
                raise InvalidArtifact(f"it stays at {where}")
            files[name] = safe_text(artifacts, name)
        except InvalidArtifact as error:
            left_out.append(str(error) if name in str(error).split() else f"{name}: {error}")
    charts = {name: text for name, text in files.items() if name.endswith(CHART)}
    return {**files, PAGE: render_page(report, charts), REPORT: readable_markdown(report)}, left_out


def safe_text(artifacts: Artifacts, name: str) -> str:
    """Return the report, its data or a chart as text that is safe to save. Raises InvalidArtifact if it cannot be."""
    text = artifacts.read(name)
    if name == REPORT:
        return readable_markdown(text)
    if name != FINDINGS:
        return redrawn(text)
    try:
        return to_json(json.loads(text), indent=2) + "\n"
    except (ValueError, RecursionError) as error:
        raise InvalidArtifact(f"{name} of this session is not JSON: {error}") from error
