import re

from tests.lambda_costs.security.principals import DOCUMENT, render
from tests.lambda_costs.security.test_grants import GRANTS


def test_the_page_of_permissions_lists_what_the_roles_hold() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \w+ \| (\w+) \| ([a-z0-9-]+:\w+) \| ", page, flags=re.MULTILINE)
    assert sorted(rows) == sorted(GRANTS)


def test_the_page_of_permissions_tells_who_may_do_what_as_it_is_measured() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert render(page) == page, "python -m tests.lambda_costs.security.principals writes it"
