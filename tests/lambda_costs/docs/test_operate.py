"""What docs/operate.md names exists; test_guides.py runs its blocks."""

import re

from vigil.local.deploy import PROJECT
from vigil.names import Parameter

TEXT = (PROJECT / "docs" / "operate.md").read_text(encoding="utf-8")


def test_the_guide_has_every_parameter_and_names_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", TEXT.partition("| Parameter |")[2].partition("\n\n")[0], re.MULTILINE)
    assert sorted(listed) == sorted(Parameter)
    assert set(re.findall(r"--parameters? '?(\w+)=", TEXT)) <= set(Parameter)
