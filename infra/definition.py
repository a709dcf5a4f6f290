"""The state machine's definition as plain JSON, for linters: ``python -m infra.definition TEMPLATE``.

A definition in a template is a join of text and references, which no linter of the States Language reads.
"""

import json
import sys
from pathlib import Path
from typing import Any


def resolved(template: dict[str, Any]) -> str:
    """Return the definition with parameters at their defaults and resources by names that look like theirs."""

    def text(value: Any) -> str:
        if isinstance(value, str):
            return value
        [(function, argument)] = value.items()
        match function:
            case "Fn::Join":
                return str(argument[0]).join(map(text, argument[1]))
            case "Fn::If":
                return text(argument[1])
            case "Fn::GetAtt":
                return f"arn:aws:lambda:us-east-1:123456789012:function:{argument[0]}"
            case "Ref":
                return str(template["Parameters"].get(argument, {}).get("Default", argument))
        raise ValueError(f"{function} in a definition is not known here")

    [machine] = (r for r in template["Resources"].values() if r["Type"] == "AWS::StepFunctions::StateMachine")
    return text(machine["Properties"]["DefinitionString"])


if __name__ == "__main__":
    print(resolved(json.loads(Path(sys.argv[1]).read_text())))
