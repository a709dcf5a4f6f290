"""The findings: each module of this package declares one kind as ``FINDING``; to add a kind, add a module."""

from importlib import import_module
from pkgutil import iter_modules

from lambda_costs.model.context import FindingKind


def _declared() -> dict[str, FindingKind]:
    names = sorted(module.name for module in iter_modules(__path__))
    findings: list[FindingKind] = [import_module(f"{__name__}.{name}").FINDING for name in names]
    return {finding.kind: finding for finding in sorted(findings, key=lambda finding: finding.kind)}


KINDS = _declared()  # every kind of finding, by its name

URGENT = tuple(finding.kind for finding in KINDS.values() if finding.urgent)  # they break things, whatever they cost


def title(kind: str) -> str:
    """Return what a reader calls findings of ``kind``, also of one that this version does not know."""
    return KINDS[kind].title if kind in KINDS else kind.replace("-", " ").capitalize()
