"""Credentials of a role for what the embedded AWS runs with it: Lambda functions and agents."""

import secrets
from datetime import datetime

from ministack.services import sts


def draw_role_credentials(role: str, session_name: str, expires: datetime | None = None) -> dict[str, str]:
    """Return new credentials of ``role``, an ARN, by the names of AWS's container credentials.

    AWS assumes the role as a service, which no caller of AssumeRole can be. So this registers the session itself.
    """
    account, role_name = role.split(":")[4], role.rsplit("/", 1)[-1]
    drawn = {
        "AccessKeyId": f"ASIA{secrets.token_hex(8).upper()}",
        "SecretAccessKey": secrets.token_urlsafe(30),
        "Token": secrets.token_urlsafe(60),
    }
    session: dict[str, object] = {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}",
        "UserId": f"{role_name}:{session_name}",
        "SecretAccessKey": drawn["SecretAccessKey"],
        "SessionToken": drawn["Token"],
    }
    if expires is not None:
        session["Expiration"] = expires.timestamp()
        drawn["Expiration"] = expires.isoformat()
    sts.register_session(drawn["AccessKeyId"], session)
    return drawn
