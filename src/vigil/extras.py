"""What the parts of Vigil need beside its own dependencies, as its package declares it."""

import re
from importlib.metadata import PackageNotFoundError, distribution, requires

from vigil.errors import EnvironmentProblem


def require_extras(*extras: str) -> None:
    """Raise EnvironmentProblem with the name of the first of ``extras`` that is not completely installed."""
    for requirement in requires("vigil") or ():
        match = re.fullmatch(r"""([\w.-]+).*; *extra == ["'](\w+)["']""", requirement)
        if match is None or match[2] not in extras:
            continue
        try:
            distribution(match[1])
        except PackageNotFoundError:
            raise EnvironmentProblem(
                f"vigil is installed without its extra {match[2]!r} ({match[1]} is missing): in a checkout, run"
                f" `make install`, or `pip install --editable '.[{','.join(extras)}]'`"
            ) from None
