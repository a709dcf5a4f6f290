"""``vigil`` and ``python -m vigil``: the command line, or one line that says what of it is not installed."""

import sys

from vigil.errors import EnvironmentProblem
from vigil.extras import require_extras


def main() -> None:
    """Run the command line."""
    try:
        require_extras("cli")
    except EnvironmentProblem as error:
        sys.exit(f"vigil: {error}")
    from vigil.cli import main as run

    run()


if __name__ == "__main__":
    main()
