"""Let sessions meet every fault, and write how they ended into docs/faults.md, except with ``--check``."""

import sys

from tests.chaos.document import DOCUMENT, render
from tests.chaos.faults import FAULTS
from tests.chaos.matrix import run

if __name__ == "__main__":
    outcomes, left = run(FAULTS)
    if sys.argv[1:] != ["--check"]:
        DOCUMENT.write_text(render((outcome.fault, outcome) for outcome in outcomes), encoding="utf-8")
    broken = [f"{outcome.fault.name}: {problem}" for outcome in outcomes for problem in outcome.problems]
    sys.exit("\n".join(broken + left) or 0)
