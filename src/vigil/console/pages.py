"""The pages' templates, and how they show values. All text is data: it is escaped, and made visible but in forms."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vigil.attributes import moment
from vigil.console.graph import HEIGHT, WIDTH
from vigil.console.timeline import SHOWN
from vigil.console.views import TABS
from vigil.names import FINDINGS, PAGE, REPORT
from vigil.session import TTL_DAYS, Session, short_id
from vigil.step import Usage, duration
from vigil.text import to_json, visible
from vigil.trace import STATE_TEXT
from vigil.watch import APPEAR_SECONDS

FOLDER = Path(__file__).parent
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"  # what a report may do: open a link in a new tab
GLYPHS = {"INITIATED": "○", "BUSY": "▶", "COMPLETED": "✓", "FAILED": "✕"}
CONSTANTS = {"glyphs": GLYPHS, "tabs": TABS, "sandbox": SANDBOX, "REPORT": REPORT, "FINDINGS": FINDINGS, "PAGE": PAGE}
SIZES = {"ttl_days": TTL_DAYS, "appear_seconds": APPEAR_SECONDS, "width": WIDTH, "height": HEIGHT, "rows": SHOWN}


class Pages:
    """The templates, which all know ``about``: where the console looks, and what it may do."""

    def __init__(self, form_token: str, **about: Any) -> None:
        loader = FileSystemLoader(FOLDER / "templates")
        self._environment = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_shown
        )
        self._environment.filters |= {"at": at, "dollars": dollars, "took": duration, "json": _json, "short": short_id}
        self._environment.globals |= {**CONSTANTS, **SIZES, "clock": clock, "form_token": form_token, **about}

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        """Return the page."""
        base = {"now": datetime.now(UTC), "path": "", "lost": None, "live": False, "problem": "", "session_id": ""}
        return self._environment.get_template(template).render({**base, **context})


def _shown(value: object) -> object:
    """Return ``value`` as text with a code for each invisible character; markup stays."""
    if value is None or isinstance(value, Markup):
        return value or ""
    return visible(str(value))


def _json(session: Session) -> str:
    fields = {name: value for name, value in asdict(session).items() if value}
    # The timeline shows the detail.
    return to_json(fields | {"detail": (session.detail or "")[:STATE_TEXT]}, indent=2)


def at(timestamp: str | None) -> Markup:
    """Return a timestamp of the table as an element; as text if it is none."""
    when = moment(timestamp)
    if not when.timestamp():
        return Markup("{}").format(visible(timestamp or ""))
    return Markup('<time datetime="{}">{}</time>').format(f"{when:%Y-%m-%dT%H:%M:%S.%fZ}", f"{when:%Y-%m-%d %H:%M:%S}")


def clock(since: str | None, until: str | None, now: datetime, *, down: bool = False) -> Markup:
    """Return a time that passes as an element; the page's script lets it go on while ``until`` is None."""
    begun, sign = moment(since, now), -1 if down else 1
    minutes, seconds = divmod(max(0, int(sign * (moment(until, now) - begun).total_seconds())), 60)
    text = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if until:
        return Markup("<span>{}</span>").format(text)
    return Markup('<span data-clock="{}" data-from="{}">{}</span>').format(sign, int(begun.timestamp() * 1000), text)


def dollars(usage: Usage | None) -> str:
    """Return what the model calls have cost; – if no model has answered, ≈ if a price was assumed."""
    return "–" if usage is None else f"{'≈' if usage.price_assumed else ''}${usage.dollars:,.2f}"
