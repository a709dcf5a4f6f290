import json

import pytest

from vigil.agent.agent import PROMPT
from vigil.local.scripted_model import PROSE, Step, answer, procedure


def test_every_step_of_the_prompts_procedure_is_read() -> None:
    steps = procedure(PROMPT)
    numbered = [line for line in PROMPT.splitlines() if line[:1].isdigit()]
    assert len(steps) == len(numbered)
    assert next(step for step in steps if step.tool == "save_report").arguments == {"summary": PROSE}


@pytest.mark.criterion("1.5")
def test_the_prompts_first_step_sets_busy_and_its_last_completed() -> None:
    assert procedure(PROMPT)[0] == Step("journal_set_status", {"status": "BUSY"})
    assert procedure(PROMPT)[-1] == Step("journal_set_status", {"status": "COMPLETED"})


@pytest.mark.parametrize("step", ["1. `f(g())`", "1. `f(1)`", "1. `f(x=)`"])
def test_a_step_that_is_no_literal_call_is_an_error(step: str) -> None:
    request = {"system": [{"text": step}], "messages": [{"role": "user", "content": [{"text": "go"}]}]}
    status, _, body = answer("vigil.stand-in", json.dumps(request).encode())
    assert status == 400
    assert "of the procedure" in json.loads(body)["message"]


def test_another_model_id_is_refused() -> None:
    status, _, body = answer("anthropic.some-model", b"{}")
    assert status == 400
    assert "has no model anthropic.some-model" in json.loads(body)["message"]
