"""Whether an object store can be used, asked before anything starts, with a diagnosis if it cannot."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from raylift.core import object_store
from raylift.core.errors import StorageError
from raylift.core.patience import patience_s, patiently, storage_error
from raylift.core.storage import Storage
from raylift.core.storage_faults import Fault, fault_of

logger = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""A store that does not answer at all may have a wrong address, so a new run waits less than one under way."""
PROBE = ".raylift-probe"


def preflight(storage: Storage, writes: bool) -> None:
    """Try what a run will do: list, and with ``writes`` create on a condition and delete. Local folders always pass.

    Raises:
        StorageError: no bucket, another region, no or wrong or expired credentials, no permission, a wrong clock, no
            answer; with the remedy.
    """
    if not storage.is_object_store:
        return
    bucket, prefix = object_store.split(storage.uri)

    def attempt() -> None:
        try:
            _check_region(bucket)
            object_store.client().list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
            if writes:
                _try_writing(bucket, f"{prefix}/" if prefix else "", storage.uri)
        except Exception as error:
            fault = fault_of(error)
            if fault is None or fault.kind not in ("region", "clock", "no bucket"):
                raise
            raise storage_error(_explained(fault, error, bucket), storage.uri, "used") from None

    patiently(attempt, storage.uri, "used", min(PATIENCE_S, patience_s()))
    if writes:
        _remove_stale_uploads(storage)


def _check_region(bucket: str) -> None:
    """Refuse another region's bucket: boto3 would follow it there silently, pyarrow would not."""
    if not (object_store.is_amazon() and object_store.is_region_set()):
        return
    from botocore.exceptions import ClientError

    try:
        answer = object_store.client().head_bucket(Bucket=bucket)
    except ClientError as error:
        # It may say the region all the same; the listing that follows says why it failed.
        answer = error.response
    there, ours = _region_in(answer), object_store.client().meta.region_name
    if there and there != ours:
        raise storage_error(Fault("region", f"its bucket is in {there}, and the region is {ours}"), bucket, "used")


def _try_writing(bucket: str, below: str, where: str) -> None:
    # Each has its own name: two runs may start at once.
    key = f"{below}{PROBE}-{uuid.uuid4().hex}"
    object_store.create(bucket, key, b"first")
    try:
        if object_store.create(bucket, key, b"second"):
            logger.warning(
                "%s ignores conditional writes (If-None-Match): two drivers of one run would not be told apart", where
            )
    finally:
        object_store.delete(bucket, key)


def _explained(fault: Fault, error: Exception, bucket: str) -> Fault:
    """The fault with what the answer tells about it."""
    answer: dict[str, Any] = getattr(error, "response", {})
    if fault.kind == "clock":
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        minutes = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds() / 60 if date else 0.0
        ahead = "ahead of" if minutes > 0 else "behind"
        return Fault("clock", f"this machine's clock is {abs(minutes):.0f} minutes {ahead} the server's")
    if fault.kind == "region":
        there = _region_in(answer)
        return Fault("region", f"its bucket is in {there or 'another region'} ({fault.reason})")
    return Fault("no bucket", f"there is no bucket {bucket!r} ({fault.reason})")


def _region_in(answer: dict[str, Any]) -> str:
    """The bucket's region in an answer; "" if it does not say."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region") or answer.get("Error", {}).get("Region") or "")


def _remove_stale_uploads(storage: Storage) -> None:
    try:
        num_uploads = storage.abort_stale_uploads()
    except StorageError as error:  # it costs money, not correctness
        logger.warning("parts of unfinished uploads are not removed: %s", error.problem)
        return
    if num_uploads:
        logger.warning("removed the parts of %d unfinished uploads in %s", num_uploads, storage.uri)
