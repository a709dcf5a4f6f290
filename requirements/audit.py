"""Ask whether any locked dependency has a known vulnerability: ``python requirements/audit.py LOCK...``.

Fails if one has. A machine that reaches package registries only has nobody to ask; then this says that it has not
audited, and passes.
"""

import json
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Audit the locks that the command line names."""
    pip_audit = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    locks = [word for lock in sys.argv[1:] for word in ("--requirement", lock)]
    done = subprocess.run([*pip_audit, *locks, "--format", "json"], capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        packages = []
    asked = [package for package in packages if "vulns" in package]
    vulnerable = [package for package in asked if package["vulns"]]
    for package in vulnerable:
        for found in package["vulns"]:
            versions = ", ".join(found["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {versions}", file=sys.stderr)
    if vulnerable:
        return 1
    if not packages or len(asked) < len(packages):
        reasons = {package["skip_reason"].split(":")[0] for package in packages if "skip_reason" in package}
        reason = "; ".join(sorted(reasons)) or (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"NOT AUDITED: {len(packages) - len(asked)} of {len(packages)} packages: {reason}", file=sys.stderr)
    else:
        print(f"{len(asked)} packages of {', '.join(Path(lock).name for lock in sys.argv[1:])}: no known vulnerability")
    return 0


if __name__ == "__main__":
    sys.exit(main())
