"""Secrets that are planted in a text leave it, wherever they stand; what only looks a little like one stays."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigil.redact import REMOVED, known_secrets, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
BASE64 = "MIIEpAIBAAKCAQEA7bq3sHn5uC2kZk3dVdqv0w9v"
PLANTED = {
    "key id": ("AKIAIOSFODNN7EXAMPLE", "{}"),
    "secret key": ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "{}"),
    "secret key in a shell": ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "export K={}"),
    "JWT": (JWT, "{}"),
    "bearer": ("opaque-7c2f.9~x_1", "Authorization: Bearer {}"),
    "basic": ("dXNlcjpwYXNzd29yZA==", "authorization: basic {}"),
    "GitHub": ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "{}"),
    "OpenAI": ("sk-proj-abc_DEF-123456789012345", "{}"),
    "PEM": (BASE64, f"-----BEGIN RSA PRIVATE KEY-----\n{BASE64}\n{{}}\n-----END RSA PRIVATE KEY-----"),
    "PEM cut": (BASE64, "-----BEGIN PRIVATE KEY-----\n{}"),
    "PGP": ("lQOYBGRk", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{}\n-----END PGP PRIVATE KEY BLOCK-----"),
    "address": ("hunter22", "postgres://app:{}@db.example:5432/x"),
    "address with @": ("hun@ter22", "postgres://app:{}@db.example/x"),
    "address without user": ("hunter22", "redis://:{}@cache.example"),
    "long password in address": ("h" * 700, "postgres://app:{}@db.example"),
    "assignment": ("hunter22", "DB_PASSWORD={}"),
    "date": ("2024-Summer!", "password: {}"),
    "true": ("true-love-4ever", "password={}"),
    "digits": ("90210417", "password={}"),
    "digits in JSON": ("90210417", '{{"password": "{}"}}'),
    "phrase in JSON": ("correct horse, battery; staple", '{{"passphrase": "{}"}}'),
    "quote in JSON": ('ab\\"cdefgh\\\\', '{{"db_password": "{}", "n": 1}}'),
    "repr": ("hunter22", "{{'api_key': '{}'}}"),
}
SURROUNDING = st.text(st.sampled_from("\n\t \x00\x1bé\u2028\\\"'.,:;=/-_@{}[]()aZ5"), max_size=12)


@given(st.sampled_from(sorted(PLANTED)), SURROUNDING, SURROUNDING, st.lists(st.booleans(), max_size=3))
def test_a_planted_secret_leaves_any_text_and_json_in_json(
    name: str, before: str, after: str, levels: list[bool]
) -> None:
    secret, place = PLANTED[name]
    # A separator stands on each side: nobody could tell a key id within a longer word.
    text, hidden = f"{before}\n{place.format(secret)}\n{after}", secret
    for ascii_only in levels:
        text = json.dumps({"text": text}, ensure_ascii=ascii_only)
        hidden = json.dumps(hidden, ensure_ascii=ascii_only)[1:-1]
    kept = redact(text)
    assert hidden not in kept
    # Nor is a part of it left.
    assert not [part for part in re.findall(r"[\w!]{5,}", secret) if part in kept]


SECRET = st.text(min_size=8, max_size=30).filter(lambda secret: secret not in REMOVED)


@given(SECRET, SURROUNDING, SURROUNDING, st.lists(st.booleans(), max_size=3))
def test_the_secrets_of_the_environment_leave_any_text_and_json_in_json(
    secret: str, before: str, after: str, levels: list[bool]
) -> None:
    known = known_secrets({"DB_PASSWORD": secret, "HOME": "/home/me-and-you", "MY_TOKEN": "short"})
    text = before + secret + after
    for ascii_only in levels:
        text, secret = (json.dumps(value, ensure_ascii=ascii_only) for value in (text, secret))
        secret = secret[1:-1]
    assert secret not in redact(text, known)
    assert not {"/home/me-and-you", "short"} & set(known)


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:states:us-east-1:123456789012:execution:VigilStack-WorkflowC1A2B3-xYz:0b0ff4a5-7d3e-4a5f-8f0a-1c2d3e",
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf",
        "session 0b0ff4a5-7d3e-4a5f-8f0a-1c2d3e4f5a6b is BUSY",
        "s3://bucket/sessions/0b0ff4a5-7d3e-4a5f-8f0a-1c2d3e4f5a6b/markdown/report.md",
        "1,234,567 tokens in, 12,345 out; max_tokens=4096, 'input_tokens': 123456, token_ratio: 0.12345",
        '{"inputTokens": 12345, "password": null, "has_token": false, "secret": none}',
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "MD5 D41D8CD98F00B204E9800998ECF8427ED41D8CD98F00B204",
        "basic knowledge of https://example.com:443/path and user@example.com",
        "http://localhost:4566/@scope/package",
        "2026-11-29T12:00:00.000Z",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert redact(text) == redact(json.dumps(text, ensure_ascii=False))[1:-1].replace('\\"', '"') == text


def test_what_is_around_a_secret_stays() -> None:
    given = '{"user": "me", "password": "p, q; \\"r", "n": 1} https://me:pass@host/x Bearer abcdefgh1 end'
    kept = f'{{"user": "me", "password": "{REMOVED}", "n": 1}} https://me:{REMOVED}@host/x Bearer {REMOVED} end'
    assert redact(given) == kept == redact(kept)


LINEAR = """
from vigil.redact import redact
for piece in ("eyJ-", "-eyJ", "eyJa.", "eyJ.eyJ.", "-----BEGIN PRIVATE KEY-----", "-----BEGIN A ", "sk-", "_sk-",
              "token", "token ", "token=", 'token="', "token\\\\", 'token:\\\\"a', "bearer ", "basic a", "://", "://a:",
              "://a:b", "a" , "aA1-", "aA/", "A", "arn:aws:", "passwd: \\\\'", "@", "[", "AKIA", "\\\\", "\\\\u0041"):
    redact(piece * (250_000 // len(piece)))
"""


def test_a_long_text_takes_no_time_that_grows_faster_than_the_text() -> None:
    # A pattern whose time grew with the square of the text would take hours.
    subprocess.run([sys.executable, "-c", LINEAR], check=True, timeout=60)
