"""CONTRIBUTING.md: its example of a tool passes its own test."""

import re
from typing import Any

from vigil.local.deploy import PROJECT


def test_the_example_of_a_tool_passes_its_test() -> None:
    page = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page.partition("## Add a tool")[2].partition("\n## ")[0], re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    names["test_the_tool_counts_the_functions_of_every_page"]()
