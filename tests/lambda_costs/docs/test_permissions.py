import re

from tests.lambda_costs.security.test_grants import GRANTS
from vigil.local.deploy import PROJECT


def test_the_page_of_permissions_lists_what_the_roles_hold() -> None:
    page = (PROJECT / "docs" / "permissions.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \w+ \| (\w+) \| ([a-z0-9-]+:\w+) \| ", page, flags=re.MULTILINE)) == sorted(GRANTS)
