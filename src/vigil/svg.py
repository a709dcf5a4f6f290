"""Redraws charts that an agent saved, with shapes and text only."""

import re
from xml.parsers import expat

from vigil.errors import InvalidArtifact
from vigil.text import html

CHART_STYLE = (
    "svg.chart{color-scheme:light dark;font:13px system-ui,sans-serif}"
    ".chart .back{fill:#fff}.chart text{fill:#1f2328}.chart .amount{fill:#59636e}"
    ".chart .bar{fill:#4c8bf5}.chart .range,.chart .zero{fill:none;stroke:#1f2328;stroke-width:1.5}"
    ".chart .zero{stroke-opacity:.4;stroke-width:1}"
    "@media (prefers-color-scheme:dark){"
    ".chart .back{fill:#14171c}.chart text{fill:#e6edf3}.chart .amount{fill:#9aa4af}"
    ".chart .bar{fill:#3b6fd1}.chart .range,.chart .zero{stroke:#e6edf3}}"
    "@media print{.chart .back{fill:#fff}.chart text,.chart .amount{fill:#000}"
    ".chart .range,.chart .zero{stroke:#000}}"
)
"""The one style sheet that a chart may have. A page that embeds charts allows it by its hash."""

MAX_CHARACTERS = 256 * 1024  # many times the size of a chart of the cost report
_NAMESPACE = "http://www.w3.org/2000/svg"
_SHAPES = {"circle", "ellipse", "line", "path", "polygon", "polyline", "rect"}
_WITHIN = {
    None: {"svg"},
    "svg": {"title", "desc", "style", "text", "g", *_SHAPES},
    "g": {"title", "desc", "text", "g", *_SHAPES},
    "text": {"tspan"},
}
"""Elements that may be inside an element; the other elements hold text or nothing."""
_WORDS = {"text", "tspan", "title", "desc"}  # elements that hold text
_ATTRIBUTES = {
    *("aria-labelledby", "class", "cx", "cy", "d", "dx", "dy", "fill", "fill-opacity", "font-size", "font-weight"),
    *("height", "id", "opacity", "points", "r", "role", "rx", "ry", "stroke", "stroke-dasharray", "stroke-linecap"),
    *("stroke-opacity", "stroke-width", "text-anchor", "transform", "viewBox", "width", "x", "x1", "x2", "xmlns"),
    *("y", "y1", "y2"),
}
_NAMES = {"aria-labelledby", "class", "id", "role", "xmlns"}
_FETCHES = re.compile(r"url|\\", re.IGNORECASE)
"""A part of a value that refers to something else, such as a gradient; the backslash starts an escape of CSS."""
_BREAKS = re.compile(r"[\t\n\r]")  # what XML reads as a space in an attribute unless it is escaped


def redrawn(svg: str) -> str:
    """Return the shapes and the text of ``svg`` with their plain attributes; charts of the cost report stay unchanged.

    Raises InvalidArtifact if it is too long, not well-formed SVG, or declares entities or a type.
    """
    if len(svg) > MAX_CHARACTERS:
        raise InvalidArtifact(f"it has more than {MAX_CHARACTERS:,} characters")
    drawing = _Drawing()
    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.StartElementHandler = drawing.start
    parser.EndElementHandler = drawing.end
    parser.CharacterDataHandler = drawing.data
    parser.StartDoctypeDeclHandler = drawing.doctype
    try:
        parser.Parse(svg.encode(errors="replace"), True)
    except expat.ExpatError as error:
        raise InvalidArtifact(f"not well-formed SVG: {error}") from error
    return "".join(drawing.written) + "\n"


class _Drawing:
    """The handlers of the parser, and what they write."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self._open: list[str] = []
        self._skipped = 0  # depth inside an element that is left out
        self._style = ""

    def start(self, tag: str, pairs: list[str]) -> None:
        within = self._open[-1] if self._open else None
        if self._skipped or tag not in _WITHIN.get(within, ()):
            if within is None:
                raise InvalidArtifact("its root is not svg")
            self._skipped += 1
            return
        attributes = dict(zip(pairs[::2], pairs[1::2], strict=True))
        if within is None and attributes.get("xmlns") != _NAMESPACE:
            raise InvalidArtifact(f"its root is not of the namespace {_NAMESPACE}")
        self._open.append(tag)
        if tag != "style":
            kept = "".join(
                f' {name}="{html(_BREAKS.sub(" ", value))}"'
                for name, value in attributes.items()
                if name in _ATTRIBUTES and (name in _NAMES or not _FETCHES.search(value))
            )
            self.written.append(f"<{tag}{kept}{'/' if tag in _SHAPES else ''}>")

    def end(self, tag: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        self._open.pop()
        if tag == "style":
            # Any other style sheet could fetch something.
            self.written.append(f"<style>{CHART_STYLE}</style>" if self._style == CHART_STYLE else "")
            self._style = ""
        elif tag not in _SHAPES:
            self.written.append(f"</{tag}>")

    def data(self, text: str) -> None:
        within = self._open[-1] if self._open else None
        if self._skipped or within in _SHAPES:
            return
        if within == "style":
            self._style += text
        elif within in _WORDS or text.isspace():
            self.written.append(html(text))

    def doctype(self, *_: object) -> None:
        raise InvalidArtifact("it declares a type, and perhaps entities")
