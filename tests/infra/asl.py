"""Prints the state machine's definition of the template on standard input, its references resolved, for a linter."""

import json
import sys

from tests.infra.template import Template
from tests.infra.test_definition import resolved

if __name__ == "__main__":
    template = Template(json.load(sys.stdin))
    machine = template.only("AWS::StepFunctions::StateMachine")
    whole = json.dumps(resolved(json.loads(template.text(machine["DefinitionString"]))))
    # asl-validator takes no empty text in an Assign, as AWS does, unless it is an expression.
    print(whole.replace('""', "\"{% '' %}\""))
