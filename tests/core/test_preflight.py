"""The diagnosis of an object store before a run starts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from raylift.core import object_store, patience
from raylift.core.errors import StorageError, StorageUnavailableError
from raylift.core.preflight import preflight
from raylift.core.storage import Storage
from tests.s3_server import Fault, FaultyProxy

LONG_AGO = (("Date", "Mon, 30 Nov 2020 21:18:20 GMT"),)


@pytest.mark.server
def test_a_store_that_works_passes_and_keeps_nothing(s3: FaultyProxy, tmp_path: Path) -> None:
    folder = Storage.at(s3.bucket) / "works"
    preflight(folder, writes=True)
    assert folder.names() == []
    preflight(Storage.at(tmp_path / "none"), writes=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.server
@pytest.mark.parametrize(
    ("fault", "problem", "remedy"),
    [
        (Fault(status=404, code="NoSuchBucket"), r"there is no bucket 'raylift-\d+'", "AWS_ENDPOINT_URL"),
        (Fault(status=403, code="AccessDenied"), "AccessDenied", "s3:ListBucket"),
        (Fault(status=400, code="ExpiredToken"), "ExpiredToken", "renew the credentials"),
        (Fault(status=403, code="SignatureDoesNotMatch"), "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        (
            Fault(status=403, code="RequestTimeTooSkewed", headers=LONG_AGO),
            r"clock is \d{5,} minutes ahead of the server's",
            "NTP",
        ),
        (
            Fault(status=400, code="IllegalLocationConstraintException"),
            "its bucket is in another region",
            "AWS_DEFAULT_REGION",
        ),
    ],
)
def test_what_cannot_work_is_diagnosed(s3: FaultyProxy, fault: Fault, problem: str, remedy: str) -> None:
    s3.always = fault
    with pytest.raises(StorageError, match=problem) as caught:
        preflight(Storage.at(s3.bucket), writes=False)
    assert remedy in caught.value.remedy
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.server
def test_the_other_region_is_named(s3: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "is_amazon", lambda: True)
    s3.faults.append(Fault(status=403, code="", headers=(("x-amz-bucket-region", "eu-west-1"),)))
    with pytest.raises(StorageError, match="its bucket is in eu-west-1, and the region is us-east-1") as caught:
        preflight(Storage.at(s3.bucket), writes=False)
    assert "AWS_DEFAULT_REGION" in caught.value.remedy


@pytest.mark.server
def test_a_reader_that_may_not_write_is_told_so(s3: FaultyProxy) -> None:
    s3.faults.extend([Fault("slow"), Fault(status=403, code="AccessDenied")])
    with pytest.raises(StorageError, match="AccessDenied") as caught:
        preflight(Storage.at(s3.bucket), writes=True)
    assert "PutObject" in caught.value.remedy


@pytest.mark.server
def test_no_credentials_and_no_answer(s3: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.VARIABLE, "0.02")
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        without.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        with pytest.raises(StorageError, match="credentials") as caught:
            preflight(Storage.at(s3.bucket), writes=False)
        assert "AWS_ACCESS_KEY_ID" in caught.value.remedy
    s3.always = Fault("reset")
    with pytest.raises(StorageUnavailableError):
        preflight(Storage.at(s3.bucket), writes=False)


@pytest.mark.server
def test_a_store_without_conditional_writes_is_named(
    s3: FaultyProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(object_store, "create", lambda bucket, key, data: True)
    with caplog.at_level(logging.WARNING):
        preflight(Storage.at(s3.bucket), writes=True)
    assert "ignores conditional writes" in caplog.text
