"""Secrets in addresses reach neither errors nor what is stored."""

from __future__ import annotations

import pytest

from raylift.core.errors import ConfigError, StorageError
from raylift.core.redaction import holds_secret, redacted
from raylift.core.storage import Storage


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://user:pa/ss?word@db:5432/mlflow", "postgresql://***@db:5432/mlflow"),
        ("postgresql+psycopg://me:secret@db/x?sslmode=require", "postgresql+psycopg://***@db/x?sslmode=require"),
        ("http://user:token@mlflow:5000", "http://***@mlflow:5000"),
        ("https://token@mlflow/x", "https://***@mlflow/x"),
        ("s3://KEY:SECRET@bucket/runs", "s3://***@bucket/runs"),
        ("https://h/x?a=1&X-Amz-Signature=abc&b=2", "https://h/x?a=1&X-Amz-Signature=***&b=2"),
        ("the key AKIAABCDEFGHIJKLMNOP is refused", "the key *** is refused"),
    ],
)
def test_secrets_are_hidden(address: str, shown: str) -> None:
    assert redacted(address) == shown
    assert holds_secret(address)
    assert shown in str(ConfigError(f"cannot use {address}", f"try {address}"))


@pytest.mark.parametrize(
    "address", ["s3://bucket/runs@2", "sqlite:////a/b@c/mlflow.db", "http://mlflow:5000/#/a@b", "/data/a@b", ""]
)
def test_addresses_without_secrets_stay(address: str) -> None:
    assert redacted(address) == address
    assert not holds_secret(address)


@pytest.mark.parametrize("address", ["s3://KEY:SECRET@bucket/x", "s3://bucket/x?endpoint_override=10.0.0.1:9000"])
def test_addresses_that_hold_settings_are_refused(address: str) -> None:
    with pytest.raises(StorageError, match="holds credentials or settings") as caught:
        Storage.at(address)
    assert "AWS_ENDPOINT_URL" in caught.value.remedy
    assert "KEY:SECRET" not in str(caught.value)
    assert "10.0.0.1" not in str(caught.value)
