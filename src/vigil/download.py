"""A session's artifacts as files that are safe to open: nothing in them runs, or makes a viewer fetch something."""

import json

from vigil.artifacts import Artifacts
from vigil.errors import InvalidArtifact
from vigil.names import PAGE, REPORT
from vigil.page import readable_markdown, render_page
from vigil.svg import redrawn
from vigil.text import to_json, visible

MAX_FILES = 100


def safe_files(artifacts: Artifacts, ending: str = "") -> tuple[dict[str, str], list[str]]:
    """Return a session's files by name, and a line for each artifact that is left out.

    ``ending`` takes only artifacts of that kind, such as ``.svg``; the report and its page are always there, and come
    last. Raises InvalidArtifact if there is no report.
    """
    report = artifacts.read(REPORT)
    files: dict[str, str] = {}
    left_out: list[str] = []
    # The page that the agent saved may hold a script. It is rendered again.
    names = [name for name in artifacts.names() if name.endswith(ending) and name not in (REPORT, PAGE)]
    for name in names[:MAX_FILES]:
        try:
            files[name] = safe_text(artifacts, name)
        except InvalidArtifact as error:
            left_out.append(str(error) if name in str(error) else f"{name}: {error}")
    if len(names) > MAX_FILES:
        left_out.append(f"{len(names) - MAX_FILES} more artifacts")
    svgs = {name: text for name, text in files.items() if name.endswith(".svg")}
    return {**files, PAGE: render_page(report, svgs), REPORT: readable_markdown(report)}, left_out


def safe_text(artifacts: Artifacts, name: str) -> str:
    """Return the artifact ``name`` as text that is safe to save under that name.

    Raises InvalidArtifact if it is not there, or of a kind that cannot be made safe, such as HTML.
    """
    match name.rpartition(".")[2]:
        case "md":
            return readable_markdown(artifacts.read(name))
        case "svg":
            return redrawn(artifacts.read(name))
        case "json":
            try:
                return to_json(json.loads(artifacts.read(name)), indent=2) + "\n"
            except (ValueError, RecursionError) as error:
                raise InvalidArtifact(f"{name} of this session is not JSON: {error}") from error
        case "txt":
            return visible(artifacts.read(name))
    raise InvalidArtifact(f"it is not .md, .svg, .json or .txt; {artifacts.uri(name)} is its address")
