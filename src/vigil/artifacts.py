"""Artifacts: the only code that touches the bucket. A session's artifacts live under ``sessions/<id>/``, and what later
sessions compare theirs with under ``history/<series>/``."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from vigil.errors import AwsUnavailable, InvalidArtifact
from vigil.session import check_session_id

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "sessions/"
HISTORY_PREFIX = "history/"
MAX_ARTIFACT_BYTES = 5 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CONTENT_TYPES = {
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "svg": "image/svg+xml",
}


class Artifacts:
    """One session's artifacts; a name cannot leave the session's prefix."""

    def __init__(self, s3: "S3Client", bucket: str, session_id: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._session_id = check_session_id(session_id)
        self._prefix = f"{PREFIX}{session_id}/"

    def uri(self, name: str) -> str:
        """Return the s3:// address of the artifact ``name``."""
        return f"s3://{self._bucket}/{self._prefix}{check_name(name)}"

    def write(self, name: str, text: str) -> str:
        """Save ``text`` as ``name`` and return its address; raises InvalidArtifact before anything is written."""
        address = self.uri(name)
        self._put(self._prefix + name, text)
        return address

    def _put(self, key: str, text: str) -> None:
        body, name = text.encode(), key.rpartition("/")[2]
        if len(body) > MAX_ARTIFACT_BYTES:
            raise InvalidArtifact(f"artifact {name} is {len(body)} bytes; at most {MAX_ARTIFACT_BYTES} are allowed")
        content_type = _CONTENT_TYPES.get(name.rpartition(".")[2], "text/plain; charset=utf-8")
        with _translated(f"s3://{self._bucket}/{key}"):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)

    def read(self, name: str) -> str:
        """Return the text of ``name``, bytes that are no text replaced; raises InvalidArtifact if there is none."""
        address = self.uri(name)
        with _translated(address):
            try:
                body = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
            except self._s3.exceptions.NoSuchKey as error:
                raise InvalidArtifact(f"no artifact {name} in this session") from error
        return body.decode(errors="replace")

    def exists(self, name: str) -> bool:
        """Whether ``name`` has been saved."""
        address = self.uri(name)
        with _translated(address):
            try:
                self._s3.head_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return False
                raise
        return True

    def keep(self, series: str, day: date, text: str) -> None:
        """Save JSON ``text`` as what the sessions of ``series`` after ``day`` compare theirs with.

        A session keeps one a day: the same again replaces its own, and never that of another session.
        """
        self._put(f"{HISTORY_PREFIX}{check_name(series)}/{day.isoformat()}_{self._session_id}.json", text)

    def kept_before(self, series: str, day: date) -> Iterator[str]:
        """Yield what other sessions kept of ``series`` before ``day``, the last first; of one day the last written.

        Not of ``day`` itself: an event more on a day does not take the last analysis of an earlier one away.
        """
        prefix = f"{HISTORY_PREFIX}{check_name(series)}/"
        own, until = f"_{self._session_id}.json", f"{prefix}{day.isoformat()}"
        with _translated(f"s3://{self._bucket}/{prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            kept = [
                (dated, item["LastModified"], item["Key"])
                for page in pages
                for item in page.get("Contents", ())
                if (dated := item["Key"].rpartition("_")[0]) < until
                and not item["Key"].endswith(own)
                and item["Size"] <= MAX_ARTIFACT_BYTES
            ]
        for _, _, key in sorted(kept, reverse=True):
            with _translated(f"s3://{self._bucket}/{key}"):
                body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            yield body.decode(errors="replace")


def check_name(name: object) -> str:
    """Return ``name`` if it names an artifact, else raise InvalidArtifact."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise InvalidArtifact(
        "artifact name must be 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.' or '-',"
        f" not {str(name)[:80]!r}"
    )


@contextmanager
def _translated(address: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise AwsUnavailable(f"{address}: {error}") from error
