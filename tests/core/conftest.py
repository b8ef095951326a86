"""An S3 server behind a faulty proxy, for the storage tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raylift.core import patience
from tests.s3_server import FaultyProxy, s3_behind_a_proxy


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyProxy]:
    with s3_behind_a_proxy() as proxy:
        yield proxy


@pytest.fixture
def s3(server: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """The server without faults, and pauses that tests can afford."""
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.01)
    server.faults.clear()
    server.always = None
    yield server
    server.always = None
