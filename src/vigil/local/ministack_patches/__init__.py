"""Where ministack, the embedded AWS, differs from AWS in a way that a session would notice, these patches correct it.

One module for each service. Each patch is small, written for one version of ministack, and has a conformance test.
``docs/verification.md`` lists the differences that remain.
"""

from importlib import import_module
from importlib.metadata import version
from pkgutil import iter_modules

from vigil.errors import LocalStackError
from vigil.local.agentcore import LocalAgentCore
from vigil.local.ministack_patches import patching

PATCHED_VERSION = "1.5.33"


def install(agents: LocalAgentCore) -> None:
    """Apply every patch, before the server starts."""
    if (found := version("ministack")) != PATCHED_VERSION:
        raise LocalStackError(f"the local stack needs ministack {PATCHED_VERSION}, not {found}: run make install")
    patching.agents = agents
    for module in iter_modules(__path__, f"{__name__}."):
        import_module(module.name)
    for change in patching.changes:
        change()
    for owner, name, replacement in patching.replacements:
        if isinstance(owner, dict):
            owner[name] = patching.bind(replacement, owner[name])
        else:
            setattr(owner, name, patching.bind(replacement, getattr(owner, name)))
