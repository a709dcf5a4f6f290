"""Secrets are removed from a text before it is recorded."""

import re
from collections.abc import Iterable, Mapping

REMOVED = "[secret removed]"
SECRET_NAME = r"secret|passw(?:or)?d|passphrase|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|signature"
"""A part of the name of a variable or a field whose value is a secret."""
_SECRETS = (
    # A key's block, also in JSON, where its line breaks are "\n", and also if its end is missing.
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    # JSON Web Tokens.
    re.compile(r"\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]*"),
    # Tokens that begin with their provider's sign: GitHub, GitLab, Slack, Stripe, OpenAI and Anthropic, npm, PyPI,
    # SendGrid, Hugging Face, Google.
    re.compile(
        r"\b(?:gh[oprsu]_|github_pat_|glpat-|xox[a-z]-|[rs]k[-_]|npm_|pypi-|SG\.|hf_|AIza|ya29\.)[\w.-]{16,}", re.ASCII
    ),
    # Any other long word of all three kinds of characters, such as the secret half of AWS's keys.
    re.compile(
        r"(?<![\w/+=])(?=[a-z0-9/+=]*[A-Z])(?=[A-Z0-9/+=]*[a-z])(?=[A-Za-z/+=]*[0-9])[A-Za-z0-9/+=]{40,}", re.ASCII
    ),
)
_NAMED = re.compile(
    rf"""
    ((?:{SECRET_NAME})[\w-]{{0,40}}\\?["']?  # the name, also in JSON, and in JSON that is a text of JSON
    \s{{0,9}}[:=]\s{{0,9}}\\?["']?)
    (?!(?:[\d.]+|null|none|true|false)\b)  # a number of tokens is no secret
    [^\s"'\\,;&{{}}\[\]]{{4,}}
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SCHEME = re.compile(r"\b(bearer|basic)\s+[\w+/.=-]{8,}", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(://[^\s/:@]{1,200}:)[^\s/@]{1,200}(?=@)")


def known_secrets(environ: Mapping[str, str]) -> list[str]:
    """Return the values of the variables in ``environ`` whose names say that they are secrets."""
    named = re.compile(SECRET_NAME, re.IGNORECASE)
    return sorted((value for name, value in environ.items() if named.search(name) and len(value) >= 8), key=len)[::-1]


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Return ``text`` without ``known`` secrets, and without what looks like one."""
    for secret in known:
        text = text.replace(secret, REMOVED)
    for pattern in _SECRETS:
        text = pattern.sub(REMOVED, text)
    text = _SCHEME.sub(rf"\1 {REMOVED}", text)
    text = _NAMED.sub(rf"\1{REMOVED}", text)
    return _IN_ADDRESS.sub(rf"\1{REMOVED}", text)
