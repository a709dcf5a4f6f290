import json

import pytest

from vigil.local.scripted_model import answer


@pytest.mark.parametrize("step", ["1. `f(g())`", "1. `f(1)`", "1. `f(x=)`"])
def test_a_step_that_is_no_literal_call_is_an_error(step: str) -> None:
    request = {"system": [{"text": step}], "messages": [{"role": "user", "content": [{"text": "go"}]}]}
    status, _, body = answer("vigil.scripted-model", json.dumps(request).encode())
    assert status == 400
    assert "of the procedure" in json.loads(body)["message"]


def test_another_model_id_is_refused() -> None:
    status, _, body = answer("anthropic.some-model", b"{}")
    assert status == 400
    assert "has no model anthropic.some-model" in json.loads(body)["message"]
