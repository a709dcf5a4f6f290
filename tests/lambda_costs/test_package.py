"""What goes to AgentCore of this package."""

from infra.lambda_package import SOURCES


def test_the_agents_package_holds_the_prompt_and_no_sample_account() -> None:
    # Not at the top: CDK starts Node, and every test process imports this module.
    from infra.agent_runtime import _sources

    held = {str(path.relative_to(SOURCES / "lambda_costs")) for path in _sources() if "lambda_costs" in path.parts}
    assert {"agent.py", "prompt.md"} <= held
    assert not [name for name in held if name.startswith("sample_account")]
