"""Tracking addresses with credentials: used, and recorded nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raylift.core.errors import ConfigError
from raylift.tracking.address import known_address, tracking_of
from raylift.tracking.delivery import Delivery
from raylift.tracking.mlflow_tracker import MlflowTracker
from raylift.tracking.spool import Spool

SECRET = "http://me:secret@127.0.0.1:9"


def test_the_spool_holds_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlflowTracker, "_send_forever", lambda self: None)
    tracker = MlflowTracker(SECRET, "x", "a run", tmp_path, system_metrics_every_s=0.0, finish_timeout_s=0.0)
    assert tracker._delivery._tracking_uri == SECRET
    tracker.finish()
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert json.loads((tmp_path / "run.json").read_text())["tracking_uri"] == "http://***@127.0.0.1:9"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    spool = Spool(tmp_path)
    with pytest.raises(ConfigError, match="credentials are not recorded"):
        Delivery(spool).send_pending()
    spool.close()


def test_a_recorded_address_is_completed_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "run.json").write_text(json.dumps({"tracking": "http://***@mlflow"}))
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        tracking_of("", [str(tmp_path)])
    assert known_address("http://mlflow") == "http://mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SECRET)
    assert known_address("http://***@mlflow") == SECRET
