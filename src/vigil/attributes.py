"""Attributes of the table's items as values of plain types: an agent's role may write anything into its items."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeGuard

EPOCH = datetime.fromtimestamp(0, UTC)
_MAX_NUMBER = 10**15


def iso(at: datetime) -> str:
    """Return ``at`` as ISO 8601 in UTC with milliseconds, the form of every timestamp in the table."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(timestamp: str | None, otherwise: datetime = EPOCH) -> datetime:
    """Return the moment that a timestamp of the table names, or ``otherwise`` if it names none."""
    try:
        return datetime.fromisoformat(timestamp or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return otherwise


def as_text(value: object) -> str:
    """Return ``value`` as text; "" for None."""
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else str(value)
    except (TypeError, ValueError, RecursionError):
        # Bytes, a number of too many digits, or a list in a list in a list ...
        return f"({type(value).__name__})"


def texts_of(record: type[Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the dataclass ``record`` that are texts, as ``item`` gives them."""
    given = {field: item.get(field.name) for field in fields(record) if field.type in (str, str | None)}
    return {f.name: None if value is None and f.type is not str else as_text(value) for f, value in given.items()}


def is_number(value: object) -> TypeGuard[int | Decimal]:
    """Whether ``value`` is a number that every program can show."""
    return isinstance(value, int | Decimal) and Decimal(value).is_finite() and abs(Decimal(value)) < _MAX_NUMBER


def whole(value: object) -> int | None:
    """Return ``value`` as a whole number; None if it is no number."""
    return int(value) if is_number(value) else None
