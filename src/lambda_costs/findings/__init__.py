"""The findings: each module of this package declares one kind as ``FINDING``; to add a kind, add a module."""

from importlib import import_module
from pkgutil import iter_modules

from lambda_costs.model.context import FindingKind


def _declared() -> dict[str, FindingKind]:
    kinds: dict[str, FindingKind] = {}
    for name in sorted(module.name for module in iter_modules(__path__)):
        finding = getattr(import_module(f"{__name__}.{name}"), "FINDING", None)
        if not isinstance(finding, FindingKind):
            raise TypeError(f"{__name__}.{name} must declare a FindingKind as FINDING, as every module of this folder")
        if finding.kind in kinds:
            raise ValueError(f"{__name__}.{name} declares the kind {finding.kind!r}, which another module declares too")
        kinds[finding.kind] = finding
    return dict(sorted(kinds.items()))


KINDS = _declared()  # every kind of finding, by its name

URGENT = tuple(finding.kind for finding in KINDS.values() if finding.urgent)  # they break things, whatever they cost


def title(kind: str) -> str:
    """Return what a reader calls findings of ``kind``, also of one that this version does not know."""
    return KINDS[kind].title if kind in KINDS else kind.replace("-", " ").capitalize()
