"""``vigil`` and ``python -m vigil``: the command line, or one line that says what of it is not installed."""

import signal
import sys


def main() -> None:
    """Run the command line."""
    # Until it is imported, there is nothing to clean up after Ctrl-C, and nothing to say. An ignored one stays ignored.
    interruption = signal.getsignal(signal.SIGINT)
    if interruption is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from vigil.errors import EnvironmentProblem
    from vigil.extras import require_extras

    try:
        require_extras("cli")
    except EnvironmentProblem as error:
        sys.exit(f"vigil: {error}")
    from vigil.cli import main as run

    signal.signal(signal.SIGINT, interruption)
    run()


if __name__ == "__main__":
    main()
