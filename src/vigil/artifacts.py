"""Artifacts: the only code that touches the bucket.

The journal names the objects that are a session's artifacts. An object is never overwritten, since its key holds the
hash of its content, and it becomes an artifact only while the session is BUSY. So the artifacts of a session that has
ended never change.
"""

import os
import re
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING

from vigil.errors import InvalidArtifact
from vigil.journal import Journal
from vigil.names import REPORT
from vigil.redact import known_secrets, redact
from vigil.session import check_session_id
from vigil.table import translate_errors
from vigil.text import one_line

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "sessions/"
CHECKPOINT_PREFIX = "checkpoints/"  # of objects that only the session's own agent reads
MAX_ARTIFACT_BYTES = 5 * 1024 * 1024
MAX_HEADLINE = 200  # characters
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CONTENT_TYPES = {
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "svg": "image/svg+xml",
}


class Artifacts:
    """One session's artifacts; a name cannot leave the session's prefix."""

    def __init__(self, s3: "S3Client", bucket: str, journal: Journal, session_id: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._journal = journal
        self._session_id = check_session_id(session_id)

    def uri(self, name: str) -> str:
        """Return the s3:// address of the artifact ``name``; raises InvalidArtifact if there is none."""
        return self.uri_and_headline(name)[0]

    def uri_and_headline(self, name: str) -> tuple[str, str | None]:
        """Return the address of the artifact ``name`` and its headline; raises InvalidArtifact if there is none."""
        if (found := self._journal.artifact(self._session_id, check_name(name))) is None:
            raise InvalidArtifact(f"no artifact {name} in this session")
        return f"s3://{self._bucket}/{found.key}", found.headline

    def write(self, name: str, text: str, *, headline: str = "") -> str:
        """Save ``text`` as ``name`` and return its address.

        The ``headline`` of the report says the essential in a few words, for lists and notifications; nothing else has
        one. Raises InvalidArtifact before anything is written, and SessionEnded unless the session is BUSY.
        """
        if headline and name != REPORT:
            raise InvalidArtifact(f"only {REPORT} has a headline, not {str(name)[:80]!r}")
        key = self._put(check_name(name), text)
        headline = redact(one_line(headline), known_secrets(os.environ))[:MAX_HEADLINE]
        self._journal.save_artifact(self._session_id, name, key, headline)
        return f"s3://{self._bucket}/{key}"

    def read(self, name: str) -> str:
        """Return the text of ``name``, invalid bytes replaced; raises InvalidArtifact if there is none."""
        return self._get(self.uri(name))

    def exists(self, name: str) -> bool:
        """Whether ``name`` has been saved."""
        return self._journal.artifact(self._session_id, check_name(name)) is not None

    def names(self) -> list[str]:
        """Return the names of all artifacts that the session has saved, sorted."""
        # An agent's role may write any name into the table.
        return list(filter(_NAME.fullmatch, self._journal.artifact_names(self._session_id)))

    def keep(self, series: str, day: date, text: str) -> None:
        """Save JSON ``text`` of ``day`` for later sessions of ``series``, which read it if this session completes.

        A session keeps one text a day: a second one replaces its own, and never another session's. Raises as write.
        """
        key = self._put(f"history-{check_name(series)}.json"[-128:], text)
        self._journal.keep(self._session_id, series, day.isoformat(), key)

    def kept_before(self, series: str, day: date) -> Iterator[str]:
        """Yield what completed sessions kept for ``series`` before ``day``, the last day first.

        ``day`` itself is left out: a second session of a day also compares with the analysis of an earlier day.
        """
        for key in self._journal.kept_before(check_name(series), day.isoformat()):
            try:
                yield self._get(f"s3://{self._bucket}/{key}")
            except InvalidArtifact:
                # The next one may be there.
                continue

    def write_checkpoint(self, text: str) -> str:
        """Save the state of the session's agent and return the key of the object; raises AwsUnavailable."""
        body = text.encode()
        key = f"{CHECKPOINT_PREFIX}{self._session_id}/{sha256(body).hexdigest()}"
        with translate_errors(about=f"s3://{self._bucket}/{key}"):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json")
        return key

    def read_checkpoint(self, key: str) -> str:
        """Return what this session saved at ``key``; raises AwsUnavailable, or InvalidArtifact for any other key."""
        if not key.startswith(f"{CHECKPOINT_PREFIX}{self._session_id}/"):
            raise InvalidArtifact(f"{key} is no checkpoint of session {self._session_id}")
        with translate_errors(about=f"s3://{self._bucket}/{key}"):
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read().decode()

    def _put(self, name: str, text: str) -> str:
        body = text.encode(errors="backslashreplace")
        if len(body) > MAX_ARTIFACT_BYTES:
            raise InvalidArtifact(f"artifact {name} is {len(body)} bytes; at most {MAX_ARTIFACT_BYTES} are allowed")
        key = f"{PREFIX}{self._session_id}/{sha256(body).hexdigest()[:16]}/{name}"
        content_type = _CONTENT_TYPES.get(name.rpartition(".")[2], "text/plain; charset=utf-8")
        with translate_errors(about=f"s3://{self._bucket}/{key}"):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)
        return key

    def _get(self, address: str) -> str:
        key = address.removeprefix(f"s3://{self._bucket}/")
        if not key.startswith(PREFIX):
            # An agent's role may write any key into the table.
            raise InvalidArtifact(f"{address} is no artifact")
        with translate_errors(about=address):
            try:
                found = self._s3.get_object(Bucket=self._bucket, Key=key)
            except self._s3.exceptions.NoSuchKey as error:
                raise InvalidArtifact(f"{address} is gone") from error
            if found["ContentLength"] > MAX_ARTIFACT_BYTES:
                raise InvalidArtifact(f"{address} has more than {MAX_ARTIFACT_BYTES} bytes")
            return found["Body"].read().decode(errors="replace")


def check_name(name: object) -> str:
    """Return ``name`` if it names an artifact, else raise InvalidArtifact."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise InvalidArtifact(
        "artifact name must be 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.' or '-',"
        f" not {str(name)[:80]!r}"
    )
