"""The whole of Vigil on one machine: an embedded AWS, deployed from the same template."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

HOST, REGION = "127.0.0.1", "us-east-1"
AGENT_LOG = "agent.log"  # the file in a local stack's folder that the agent's processes log to


def inherited(*names: str) -> dict[str, str]:
    """Return those of the variables ``names`` that this process's environment has."""
    return {name: os.environ[name] for name in names if name in os.environ}


@dataclass(frozen=True)
class Secrets:
    """What only a local stack and its server know; the server gets it through a pipe."""

    # The key of the account's root, drawn for each stack.
    access_key_id: str = field(default_factory=lambda: f"AKIA{secrets.token_hex(8).upper()}")
    secret_access_key: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)
    # Variables of every agent's process, API keys among them.
    agent_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
