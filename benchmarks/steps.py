"""What the steps of a session cost on DynamoDB: ``python -m benchmarks.steps``."""

import argparse
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from boto3.dynamodb.conditions import Key

from benchmarks.report import Report, machine
from benchmarks.waiting import PRICES, TOKEN_BYTES, WRITE_UNIT
from vigil.deployment import Deployment
from vigil.local.stack import LocalStack
from vigil.names import Output
from vigil.session import RECORD_SK, STEP_SK_PREFIX
from vigil.step import MAX_STEP_TEXT
from vigil.watch import SessionOutcome, watch

Item = dict[str, Any]

WRITTEN_AT_END = {"ended_at", "error", "output", "stop_reason", "usage"}
TRANSACTION = 2
"""Write units of each KB begun that is written in a transaction."""
USAGE = {"model": "global.anthropic.claude-sonnet-4-6", "input_tokens": Decimal(12345), "output_tokens": Decimal(1234)}
USAGE |= {"dollars": Decimal("0.0555450"), "price_assumed": False}
"""What a call of a language model uses; the scripted model uses nothing."""


def size(value: Any) -> int:
    """Return the bytes of a value by "DynamoDB item sizes and formats" (Amazon DynamoDB Developer Guide)."""
    match value:
        case str():
            return len(value.encode())
        case bool():
            return 1
        case int() | Decimal():
            return len(Decimal(value).normalize().as_tuple().digits) // 2 + 2
        case dict():
            return 3 + sum(1 + size(name) + size(inner) for name, inner in value.items())
    raise TypeError(f"no item of a session holds a {type(value).__name__}")


def units(item: Item) -> int:
    """Return the write units of an item in a transaction."""
    return TRANSACTION * -(-sum(size(name) + size(value) for name, value in item.items()) // 1024)


def with_full_texts(step: Item) -> Item:
    """Return ``step`` with texts as long as a step keeps, and with the usage of a language model."""
    full: Item = {name: {**step["input"], "text": "x" * MAX_STEP_TEXT} for name in ("input", "output")}
    return {**step, **full, **({"usage": USAGE} if step["operation"] == "chat" else {})}


def written(record: Item, steps: Iterable[Item]) -> tuple[int, int]:
    """Return the write units of the record, and of ``steps``: both are written when a step begins and when it ends."""
    count = of_steps = 0
    for step in steps:
        begun = {name: value for name, value in step.items() if name not in WRITTEN_AT_END}
        of_steps += units(begun) + units(step)
        count += 1
    return 2 * count * units(record), of_steps


def session_items(stack: LocalStack) -> tuple[Item, list[Item]]:
    """Run a session of the cost agent to its end; return its record, with a token as long as AWS's, and its steps."""
    deployment = Deployment(stack.session())
    session_id = deployment.trigger({})
    *_, outcome = watch(deployment, session_id)
    if not isinstance(outcome, SessionOutcome) or not outcome.completed:
        raise RuntimeError(f"the session failed: {outcome}")
    table = stack.session().resource("dynamodb").Table(stack.outputs[Output.TABLE])
    items = table.query(KeyConditionExpression=Key("PK").eq(session_id))["Items"]
    (record,) = (item for item in items if item["SK"] == RECORD_SK)
    return {**record, "task_token": "x" * TOKEN_BYTES}, [i for i in items if str(i["SK"]).startswith(STEP_SK_PREFIX)]


def main() -> None:
    """Run a session, compute, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    arguments = parser.parse_args()
    report = Report("steps")
    report.say(machine())
    with LocalStack.start() as stack:
        record, steps = session_items(stack)
    rows = [
        ("scripted model, as measured", *written(record, steps)),
        (
            f"every text of {MAX_STEP_TEXT:,} characters",
            *written({**record, "usage": USAGE}, map(with_full_texts, steps)),
        ),
    ]
    report.table(
        ("Session of the cost agent", "steps", "write units: record", "steps", "together", "1,000 sessions"),
        (
            (
                name,
                len(steps),
                of_record,
                of_steps,
                of_record + of_steps,
                f"${1000 * (of_record + of_steps) * WRITE_UNIT:.2f}",
            )
            for name, of_record, of_steps in rows
        ),
    )
    report.say(f"{PRICES}, without free tiers: ${WRITE_UNIT * 1e6} per million write units.")
    if arguments.write:
        report.write()


if __name__ == "__main__":
    main()
