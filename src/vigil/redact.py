"""Secrets are removed from a text before it is recorded. Each pattern takes time in proportion to the text."""

import json
import re
from collections.abc import Iterable, Mapping

REMOVED = "[secret removed]"
SECRET_NAME = r"secret|passw(?:or)?d|passphrase|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|signature"
"""A part of the name of a variable or a field whose value is a secret."""
NESTING = 3  # how often a text is JSON in a text of JSON: a tool's answer, in a message, in another agent's message
_ESCAPED = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})"  # a character that JSON escapes ends before the word
_WORD = rf"(?:(?<!\w)|{_ESCAPED})"
_SECRETS = (
    # A key's block, also in JSON, where its line breaks are "\n", and also if its end is missing.
    re.compile(
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        re.DOTALL,
    ),
    re.compile(rf"(?:(?<![A-Z0-9])|{_ESCAPED})(?:AKIA|ASIA)[A-Z0-9]{{16}}(?![A-Z0-9])"),
    # JSON Web Tokens, with what stands before them without a separator.
    re.compile(r"(?<![\w-])(?=[\w-]*?eyJ)[\w-]++\.eyJ[\w-]++\.[\w-]*+"),
    # Tokens that begin with their provider's sign: GitHub, GitLab, Slack, Stripe, OpenAI and Anthropic, npm, PyPI,
    # SendGrid, Hugging Face, Google.
    re.compile(
        rf"{_WORD}(?:gh[oprsu]_|github_pat_|glpat-|xox[a-z]-|[rs]k[-_]|npm_|pypi-|SG\.|hf_|AIza|ya29\.)[\w.-]{{16,}}",
        re.ASCII,
    ),
    # Any other long word of all three kinds of characters, such as the secret half of AWS's keys.
    re.compile(
        r"(?<![a-zA-Z0-9/+])(?=[a-z0-9/+]*[A-Z])(?=[A-Z0-9/+]*[a-z])(?=[A-Za-z/+]*[0-9])[A-Za-z0-9/+]{40,}={0,2}"
    ),
)
_SCHEME = re.compile(
    rf"{_WORD}((?i:bearer)\s{{1,9}}|(?i:basic)\s{{1,9}}(?=[a-z+/]*[A-Z0-9=]))[\w+/.=~-]{{8,}}", re.ASCII
)
_NAMED = re.compile(
    rf"""
    arn:aws[\w-]*:[^\s"'\\,;&{{}}\[\]]*  # the name of a secret is none
    |(?P<name>(?P<kind>{SECRET_NAME})[\w-]{{0,40}}\\{{0,9}}["']?  # also in JSON, and in JSON that is a text of JSON
      \s{{0,9}}[:=]\s{{0,9}})
    (?:(?P<quote>\\{{0,9}}["'])(?P<quoted>(?:(?!(?<!\\)(?P=quote)).){{4,}})  # up to the same quote, unless escaped
      |(?P<bare>[^\s"'\\,;&{{}}\[\]]{{4,}}))
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HARMLESS = re.compile(r"null|none|true|false", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(:(?:\\?/){2}[^\s/:@]*:)[^\s/]+(?=@)")


def known_secrets(environ: Mapping[str, str]) -> list[str]:
    """Return the values of the variables in ``environ`` whose names say that they are secrets, also as JSON has them.

    The longest comes first.
    """
    named = re.compile(SECRET_NAME, re.IGNORECASE)
    forms = {value for name, value in environ.items() if named.search(name) and len(value) >= 8}
    for _ in range(NESTING):
        forms |= {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (True, False)}
    return sorted(forms, key=len, reverse=True)


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Return ``text`` without ``known`` secrets, and without what looks like one."""
    for secret in known:
        text = text.replace(secret, REMOVED)
    for pattern in _SECRETS:
        text = pattern.sub(REMOVED, text)
    text = _SCHEME.sub(rf"\1{REMOVED}", text)
    text = _NAMED.sub(_without_value, text)
    return _IN_ADDRESS.sub(rf"\1{REMOVED}", text)


def _without_value(found: re.Match[str]) -> str:
    """Return the name without its value; all of it if that is no secret, such as a number of tokens."""
    bare = found["bare"]
    if found["name"] is None or (bare and _HARMLESS.fullmatch(bare)):
        return found[0]
    if bare and found["kind"].lower() == "token" and re.fullmatch(r"[\d.]+", bare):
        return found[0]
    return f"{found['name']}{found['quote'] or ''}{REMOVED}"
