import json

import pytest

from lambda_costs.agent import PROMPT
from vigil.local.model import PROSE, Step, answer, procedure


def test_the_procedure_of_the_prompt_is_read_whole() -> None:
    steps = procedure(PROMPT)
    numbered = [line for line in PROMPT.splitlines() if line[:1].isdigit()]
    assert len(steps) == len(numbered)
    assert next(step for step in steps if step.tool == "save_report").arguments == {"summary": PROSE}


@pytest.mark.criterion("1.5")
def test_the_prompt_tells_the_agent_to_set_busy_before_anything_else() -> None:
    assert procedure(PROMPT)[0] == Step("journal_set_status", {"status": "BUSY"})
    assert procedure(PROMPT)[-1] == Step("journal_set_status", {"status": "COMPLETED"})


@pytest.mark.parametrize("step", ["1. `f(g())`", "1. `f(1)`", "1. `f(x=)`"])
def test_a_step_that_cannot_be_followed_is_an_error_that_shows_it(step: str) -> None:
    request = {"system": [{"text": step}], "messages": [{"role": "user", "content": [{"text": "go"}]}]}
    status, _, body = answer("vigil.stand-in", json.dumps(request).encode())
    assert status == 400
    assert "of the procedure" in json.loads(body)["message"]


def test_another_model_id_is_refused_not_imitated() -> None:
    status, _, body = answer("anthropic.some-model", b"{}")
    assert status == 400
    assert "has no model anthropic.some-model" in json.loads(body)["message"]
