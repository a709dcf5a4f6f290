"""The package of the Lambda functions: a few modules of Vigil, and the AWS SDK in the version that was tested.

Lambda's own SDK may be a year old and lack ``StopRuntimeSession``, which came with botocore 1.40.47.
"""

import importlib.metadata
import shutil
from pathlib import Path, PurePath

SOURCES = Path(__file__).resolve().parents[1] / "src"
MODULES = [
    *("__init__", "attempt", "attributes", "dead_letter", "errors", "invoker", "journal", "journal_reader", "line"),
    *("names", "notifier", "reconciler", "redact", "session", "settings", "step", "table", "text"),
]
SDK = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
"""boto3 and all that it requires, each of them pure Python."""
SERVICES = ("bedrock-agentcore", "dynamodb", "sns", "sqs", "stepfunctions")
"""Those that the functions call. The SDK's data of all the others would be 30 MB."""


def write(folder: Path) -> None:
    """Write the package into ``folder``: the SDK is the one that is installed here, as locked."""
    files = {folder / "vigil" / f"{module}.py": SOURCES / "vigil" / f"{module}.py" for module in MODULES}
    for name in SDK:
        installed = importlib.metadata.distribution(name).files or ()
        files |= {folder / file: Path(str(file.locate())) for file in installed if _needed(file)}
    for target, source in files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    let_all_read(folder)


def let_all_read(folder: Path) -> None:
    """Give everything in ``folder`` the modes that AWS asks for, whatever the umask: it runs code as another user."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _needed(file: PurePath) -> bool:
    top, *below = file.parts
    if top == ".." or top.endswith(".dist-info") or "__pycache__" in below or below[:1] == ["examples"]:
        return False
    # What lies in the folder itself is of all services, such as their endpoints.
    return below[:1] != ["data"] or len(below) == 2 or below[1] in SERVICES
