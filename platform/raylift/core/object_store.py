"""S3 by boto3: what pyarrow's file system cannot do, or hides.

pyarrow takes a missing bucket for an empty folder, repeats requests silently, cannot write on a condition, and may
complete the upload of a writer that failed. So whole objects go through boto3, one request each; pyarrow reads the
columns of shards. Every function makes one attempt: ``core.patience`` repeats it.

Endpoint, region and credentials come from the standard AWS variables and profiles, and from nowhere else.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pyarrow.fs as pafs

from raylift.core.errors import StorageError
from raylift.core.redaction import holds_secret

SCHEME = "s3://"
_BLOCK = 1 << 22
MULTIPART_BYTES = 16 << 20
"""Larger objects are uploaded in parts of this size."""
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


@dataclass(frozen=True)
class ObjectInfo:
    """An object as a listing describes it.

    Attributes:
        name: below the listed prefix.
        size: in bytes.
        modified: by the server's clock.
    """

    name: str
    size: int
    modified: datetime


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` address; the key of a bucket itself is "" ."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return bucket, key.strip("/")


def settings() -> tuple[tuple[str, str], ...]:
    """The AWS variables, as a key: tests and notebooks change them within a process."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


def check_address(address: str) -> None:
    """Refuse a storage address that holds what belongs in the environment: addresses are logged and stored.

    Raises:
        StorageError: it holds credentials, or an object store's settings.
    """
    if holds_secret(address) or (address.startswith(SCHEME) and "?" in address):
        raise StorageError(
            f"the address {address.partition('?')[0]} holds credentials or settings",
            "use s3://bucket/prefix, and AWS_PROFILE or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL,"
            " AWS_DEFAULT_REGION",
        )


def client() -> Any:
    """The boto3 client for the present AWS variables; threads may share it."""
    return _client(settings())


@lru_cache(maxsize=16)
def _client(_: tuple[tuple[str, str], ...]) -> Any:
    import boto3
    from botocore.config import Config

    # A session of its own, since boto3's default one is not for several threads. pyarrow reads AWS_REGION, too.
    session = boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=16,
    )
    return session.client("s3", region_name=session.region_name or "us-east-1", config=config)


def is_region_set() -> bool:
    """Whether a variable or the profile names a region."""
    import boto3

    return bool(os.environ.get("AWS_REGION") or boto3.session.Session().region_name)


def is_amazon() -> bool:
    """Whether the endpoint is AWS's own, whose buckets have regions."""
    return (urlparse(client().meta.endpoint_url).hostname or "").endswith(_AMAZON)


def arrow_filesystem(bucket: str) -> pafs.FileSystem:
    """pyarrow's view of the same store, for parquet files."""
    if is_amazon() and not is_region_set():
        return _arrow(settings(), _region_of(bucket))
    return _arrow(settings(), client().meta.region_name)


@lru_cache(maxsize=64)
def _region_of(bucket: str) -> str:
    return str(pafs.resolve_s3_region(bucket))


@lru_cache(maxsize=16)
def _arrow(_: tuple[tuple[str, str], ...], region: str) -> pafs.FileSystem:
    endpoint = None if is_amazon() else client().meta.endpoint_url
    return pafs.S3FileSystem(
        region=region,
        endpoint_override=endpoint,
        scheme=urlparse(client().meta.endpoint_url).scheme,
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=READ_TIMEOUT_S,
        # `core.patience` repeats, and says so.
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def read(bucket: str, key: str) -> bytes:
    """The content of an object."""
    content: bytes = client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def blocks(bucket: str, key: str) -> Iterator[bytes]:
    """The content of an object in blocks of 4 MiB."""
    yield from client().get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_BLOCK)


def write(bucket: str, key: str, data: bytes) -> None:
    """Write an object. It appears whole, or not at all."""
    if len(data) <= MULTIPART_BYTES:
        client().put_object(Bucket=bucket, Key=key, Body=data)
    else:
        _upload(io.BytesIO(data), bucket, key)


def upload(source: Path, bucket: str, key: str) -> None:
    """Write an object from a local file."""
    with source.open("rb") as stream:
        _upload(stream, bucket, key)


def _upload(stream: Any, bucket: str, key: str) -> None:
    from boto3.s3.transfer import TransferConfig

    parts = TransferConfig(multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES, max_concurrency=4)
    # On an error boto3 aborts the upload, so that no parts are left that are paid for.
    client().upload_fileobj(stream, bucket, key, Config=parts)


def create(bucket: str, key: str, data: bytes) -> bool:
    """Write an object unless it exists (``If-None-Match: *``); returns whether it is ours.

    An answer may be lost after the object was made, so an existing one with the same content counts as ours.
    """
    from botocore.exceptions import ClientError

    try:
        client().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 412:
            raise
        return read(bucket, key) == data
    return True


def delete(bucket: str, key: str) -> None:
    """Delete an object, which may be missing."""
    client().delete_object(Bucket=bucket, Key=key)


def listing(bucket: str, prefix: str) -> list[ObjectInfo]:
    """The objects directly below a prefix ("" or ending in "/"), sorted by name."""
    pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    return [
        ObjectInfo(found["Key"].removeprefix(prefix), int(found["Size"]), found["LastModified"])
        for page in pages
        for found in page.get("Contents", [])
        if found["Key"] != prefix
    ]


def info(bucket: str, key: str) -> ObjectInfo | None:
    """One object; None if it is missing. A listing, since the answer to HEAD does not say why it failed."""
    for found in client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", []):
        if found["Key"] == key:
            return ObjectInfo(key.rpartition("/")[2], int(found["Size"]), found["LastModified"])
    return None


def age_s(bucket: str, key: str) -> float | None:
    """Seconds since an object was written, both by the server's clock; None if it is missing."""
    found = client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
    for one in found.get("Contents", []):
        if one["Key"] == key:
            return max(0.0, float((now - one["LastModified"]).total_seconds()))
    return None


def abort_uploads(bucket: str, prefix: str, older_than_s: float) -> int:
    """Abort the multipart uploads below a prefix that started this long ago; returns how many.

    Their parts are invisible, and paid for.
    """
    before = datetime.now(UTC) - timedelta(seconds=older_than_s)
    pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    stale = [found for page in pages for found in page.get("Uploads", []) if found["Initiated"] <= before]
    for found in stale:
        client().abort_multipart_upload(Bucket=bucket, Key=found["Key"], UploadId=found["UploadId"])
    return len(stale)
